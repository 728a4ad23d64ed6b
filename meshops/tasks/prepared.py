"""What models see of cases, kept on disk: computed once, read in bounded memory, by many processes.

The nodes of a case lie shuffled, so that consecutive rows are a random subset and a training step reads one stretch
of the file. A case that is read whole comes in its own order, so that what is learnt of it is what is learnt from the
files, to the bit. Statistics are kept beside them and merge to those of all nodes. One folder per set of features
(``KEY``, a hash of what they depend on); a case that is there is not computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshops.aero.cases import Case
from meshops.aero.conditions import FlowConditions
from meshops.aero.features import frame_of
from meshops.aero.frame import Frame
from meshops.aero.prepare import placed, prepare, surface_of, with_body
from meshops.data.folder_lock import writing
from meshops.data.graph_store import opened, read_graph, read_rows, write_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.data.normalize import Statistics
from meshops.data.shape import shape_numbers
from meshops.datasets.base import CaseDataset, num_bytes
from meshops.folders import available_memory
from meshops.tasks.fields_spec import FieldsSpec
from meshops.tasks.known import known_values

VERSION = 1  # of the features: another one computes them again
LEARNING = ("nodes", "surface_share", "loss", "weights", "number_weight", "metrics", "hide")  # not of the features
IN_MEMORY = 2 * 1024**3  # bytes of cases that are held
WHOLE = 262_144  # nodes up to which a case is read whole, larger ones by stretches
NODE_KEYS = ("pos", "x", "y", "y_use", "in_volume", "place", "node_number", "area")
BOUND_KEYS = ("edge_index", "cluster", "grid_shape", "spacing", "periodic")
CASE_KEYS = ("conditions", "numbers", "time", "case_shape")


def features_key(spec: FieldsSpec) -> str:
    """Name of the folder of a set of features."""
    told = {key: value for key, value in spec.to_dict().items() if key not in LEARNING}
    return hashlib.sha256(json.dumps([VERSION, told], sort_keys=True, default=str).encode()).hexdigest()[:16]


class Held:
    """Cases in memory, those that came first, while there is room; shared by all parts of a data set.

    Args:
        most: Bytes; None: :data:`IN_MEMORY`, or a quarter of what is free where that is less.
    """

    def __init__(self, most: float | None = None) -> None:
        self.most = min(IN_MEMORY, available_memory() / 4) if most is None else most
        self.bytes = 0
        self.graphs: dict[int, MeshGraph] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process reads its own."""
        return Held, (self.most,)

    def put(self, number: int, graph: MeshGraph) -> None:
        """Hold a case where there is room."""
        size = num_bytes(graph)
        if len(graph.pos) <= WHOLE and self.bytes + size <= self.most:
            self.graphs[number], self.bytes = graph, self.bytes + size


class PreparedGraphs(Sequence[MeshGraph]):
    """Prepared cases of a data set that keeps them.

    Args:
        cases: With a folder in ``keeps``.
        spec: What is learnt.
        index: Cases that are meant.

    Attributes:
        hidden: Columns of the inputs that are not shown (NaN).
    """

    def __init__(self, cases: CaseDataset, spec: FieldsSpec, index: Sequence[int]) -> None:
        assert cases.keeps is not None
        self.folder = cases.keeps / features_key(spec)
        self.numbers = tuple(cases.number_of(i) for i in index)
        self.hidden = slice(0)
        self._told: dict[int, dict[str, Any]] = {}
        self._held = Held()

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> MeshGraph: ...
    @overload
    def __getitem__(self, index: slice) -> PreparedGraphs: ...
    def __getitem__(self, index: int | slice) -> MeshGraph | PreparedGraphs:
        """A case, its nodes in their own order; kept in memory while there is room."""
        if isinstance(index, slice):
            return self.taken(range(len(self))[index])
        number = self.numbers[index]
        if number not in self._held.graphs:
            graph = read_kept(self.folder, number)
            graph.x[:, self.hidden] = torch.nan
            self._held.put(number, graph)
            return graph
        return self._held.graphs[number]

    def __iter__(self) -> Iterator[MeshGraph]:
        return (self[i] for i in range(len(self)))

    def taken(self, rows: Sequence[int]) -> PreparedGraphs:
        """Some of the cases, none of them read."""
        part = copy(self)
        part.numbers = tuple(self.numbers[i] for i in rows)
        return part

    def subset(self, index: int, size: int, generator: torch.Generator) -> MeshGraph | None:
        """``size`` random nodes of a large case: a stretch from a random place on; None: read it whole."""
        told = self.told(index)
        n = int(told["nodes"])
        if n <= max(WHOLE, size) or told["whole"]:
            return None
        start = int(torch.randint(n, (), generator=generator))
        path = case_folder(self.folder, self.numbers[index])
        parts = [slice(start, min(start + size, n))]
        if start + size > n:
            parts.append(slice(0, start + size - n))
        rows = [read_rows(path, NODE_KEYS, part) for part in parts]
        out = MeshGraph(**{key: torch.cat([part[key] for part in rows]) for key in rows[0]})
        out.x[:, self.hidden] = torch.nan
        group, _ = opened(path)
        for key in CASE_KEYS:
            if key in told["keys"]:
                out[key] = torch.from_numpy(np.asarray(group[key][...]))
        return out

    def told(self, index: int) -> dict[str, Any]:
        """What is kept beside the arrays of a case."""
        number = self.numbers[index]
        if number not in self._told:
            self._told[number] = dict(opened(case_folder(self.folder, number))[1]["more"])
        return self._told[number]

    def statistics(self, key: str) -> list[Statistics]:
        """Of every case: ``x``, ``pos``, or ``y 0``, ``y 1``, ... of the fields."""
        return [_statistics(self.told(i)["statistics"][key]) for i in range(len(self))]

    def have(self, key: str) -> list[bool]:
        """Which cases hold a tensor, without reading them."""
        return [key in self.told(i)["keys"] for i in range(len(self))]

    def sizes(self) -> list[int]:
        """Nodes of every case, without reading them."""
        return [int(self.told(i)["nodes"]) for i in range(len(self))]


def case_flow(cases: CaseDataset, index: int, spec: FieldsSpec) -> FlowConditions:
    """Flow of a case, folded as the task is; that of the training where either states none."""
    return spec.at(cases.flow_of(index) if spec.flow_stated and cases.flow_stated else None)


def case_folder(folder: Path, number: int) -> Path:
    """Group of a case."""
    return folder / f"{number:06d}.zarr"


def prepare_case(cases: CaseDataset, index: int, spec: FieldsSpec) -> str:
    """Compute what models see of a case and keep it; ``"kept"`` where it is there, else ``"written"``."""
    assert cases.keeps is not None
    folder = cases.keeps / features_key(spec)
    path = case_folder(folder, cases.number_of(index))
    if path.is_dir():
        return "kept"
    graph, flow = placed(with_body(cases[index], spec), spec), case_flow(cases, index, spec)
    made, _ = prepare(graph, spec, flow, cases.conditions_of(index), cases.numbers_of(index))
    bound = [key for key in BOUND_KEYS if made.get(key) is not None]  # to the order of the nodes
    joint = made.get("in_volume") is not None
    more: dict[str, Any] = {"nodes": len(made.pos), "bound": bool(bound), "whole": bool(bound) or joint}
    if spec.domain == "surface":
        body = surface_of(graph)
        more |= {"descriptors": body.descriptors(flow).tolist(), "resolution": list(body.resolution(flow)),
                 "place": list(body.middle(flow))}  # fmt: skip
    found = {"x": Statistics.of(made.x), "pos": Statistics.of(made.pos)}
    for key in ("conditions", "numbers"):
        if made.get(key) is not None:
            found[key] = Statistics.of(made[key])
    for k, channels in enumerate(spec.slices().values() if made.get("y") is not None else ()):
        found[f"y {k}"] = Statistics.of(known_values(made, k, channels))
    more["statistics"] = {key: {k: _plain(v) for k, v in asdict(value).items()} for key, value in found.items()}
    more["conditions"] = made.conditions[0].tolist() if spec.conditions else []
    more["shape"] = shape_numbers(made.pos, made.get("area")).tolist() if spec.domain == "graph" else []
    order = torch.arange(len(made.pos)) if bound else shuffled(len(made.pos), cases.number_of(index))
    kept = MeshGraph(**{key: made[key][order] for key in NODE_KEYS if made.get(key) is not None})
    for key in (*CASE_KEYS, *bound):
        if made.get(key) is not None:
            kept[key] = made[key]
    kept.name = cases.cases[index]
    more["keys"] = list(kept.to_dict())
    write_graph(path, kept, more)
    return "written"


def prepare_lacking(cases: CaseDataset, spec: FieldsSpec, each: Iterable[int]) -> int:
    """Prepare the cases that are not kept yet, one process at a time; returns how many were."""
    assert cases.keeps is not None
    folder = cases.keeps / features_key(spec)
    lacking = {i for i in range(len(cases)) if not case_folder(folder, cases.number_of(i)).is_dir()}
    with writing(folder, wait=True) if lacking else nullcontext():
        states = [prepare_case(cases, i, spec) if i in lacking else "kept" for i in each]
    return states.count("kept")


def shuffled(nodes: int, number: int) -> Tensor:
    """``[n]`` order in which the nodes of a case lie."""
    return torch.randperm(nodes, generator=torch.Generator().manual_seed(number))


def read_kept(folder: Path, number: int) -> MeshGraph:
    """What models see of a case, from disk, its nodes in their own order."""
    out, told = read_graph(case_folder(folder, number))
    if not told["bound"]:
        back = torch.argsort(shuffled(int(told["nodes"]), number))
        for key in NODE_KEYS:
            if out.get(key) is not None:
                out[key] = out[key][back]
    return out


def kept_case(cases: CaseDataset, index: int, spec: FieldsSpec, case: Case) -> tuple[MeshGraph, Frame | None]:
    """What models see of a case, from disk, its nodes in the order of the case; computed where it lacks."""
    assert cases.keeps is not None
    number = cases.number_of(index)
    try:
        prepare_case(cases, index, spec)
    except PermissionError:  # a store that is read only gives what it has
        return prepare(case.graph, spec, case.flow, case.conditions, case.numbers)
    out = read_kept(cases.keeps / features_key(spec), number)
    frame = None if spec.features is None else frame_of(case.graph, case.flow, spec.domain)
    return out, frame


def taken(graphs: Sequence[MeshGraph], rows: Sequence[int]) -> Sequence[MeshGraph]:
    """Some of the cases; of those on disk none is read."""
    return graphs.taken(rows) if isinstance(graphs, PreparedGraphs) else [graphs[i] for i in rows]


def have(graphs: Sequence[MeshGraph], key: str) -> list[bool]:
    """Which cases hold a tensor."""
    return graphs.have(key) if isinstance(graphs, PreparedGraphs) else [g.get(key) is not None for g in graphs]


def sizes_of(graphs: Sequence[MeshGraph]) -> list[int]:
    """Nodes of every case."""
    return graphs.sizes() if isinstance(graphs, PreparedGraphs) else [len(graph.pos) for graph in graphs]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value


def _statistics(values: dict[str, Any]) -> Statistics:
    parts = (torch.tensor(values[k], dtype=torch.float64) for k in ("mean", "deviation", "low", "high"))
    return Statistics(int(values["count"]), *parts)


def conditions_of(graphs: Sequence[MeshGraph]) -> NDArray[np.float64]:
    """``[s, k]`` conditions the model is told of each case."""
    if isinstance(graphs, PreparedGraphs):
        return table_of(graphs, "conditions")
    rows = [[] if (row := graph.get("conditions")) is None else row[0].tolist() for graph in graphs]
    return np.array(rows, dtype=np.float64).reshape(len(graphs), -1)


def shapes_of(graphs: Sequence[MeshGraph]) -> NDArray[np.float64]:
    """``[s, v]`` numbers of the shape of each case that is no body."""
    if isinstance(graphs, PreparedGraphs):
        return table_of(graphs, "shape")
    return np.array([shape_numbers(graph.pos, graph.get("area")).tolist() for graph in graphs], dtype=np.float64)


def limits_of(graphs: Sequence[MeshGraph], columns: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``[s, f]`` smallest and largest value of some features of each case."""
    if isinstance(graphs, PreparedGraphs):
        found = [(part.low, part.high) for part in graphs.statistics("x")]
    else:
        found = [(graph.x.double().amin(0), graph.x.double().amax(0)) for graph in graphs]
    low, high = (torch.stack(ends).numpy()[:, list(columns)] for ends in zip(*found, strict=True))
    return low, high


def table_of(graphs: PreparedGraphs, key: str) -> NDArray[np.float64]:
    """``[s, k]`` numbers that are kept beside the cases."""
    return np.array([graphs.told(i)[key] for i in range(len(graphs))], dtype=np.float64).reshape(len(graphs), -1)
