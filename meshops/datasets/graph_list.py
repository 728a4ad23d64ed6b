"""A list of PyG ``Data`` as a data set: one's own graphs, from Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor
from torch_geometric.data import Data

from meshops.aero.conditions import FlowConditions
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset, GraphCache
from meshops.errors import InputError, listing


def graphs_of(data: Sequence[Data]) -> list[Data]:
    """The graphs of a list, a tuple or a PyG dataset.

    Raises:
        InputError: It is something else.
    """
    listed = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if not listed or isinstance(data, str | bytes | Mapping | Tensor | Data):
        raise InputError(
            f"the data are a {type(data).__name__}; give a data set or a list of torch_geometric.data.Data"
        )
    return [data[index] for index in range(len(data))]


def named_numbers(graph: Data, key: str, label: str) -> dict[str, float]:
    """``conditions`` or ``numbers`` of a graph.

    Raises:
        InputError: They are no dictionary of finite numbers.
    """
    values = graph.get(key)
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InputError(f"{label}: {key} must be a dictionary of numbers, got {type(values).__name__}")
    out = {}
    for name, value in values.items():
        try:
            out[str(name)] = float(value)
        except (TypeError, ValueError):
            out[str(name)] = math.nan
        if not math.isfinite(out[str(name)]):
            raise InputError(f"{label}: {key}: '{name}' must be a number, got {value!r}")
    return out


class GraphList(CaseDataset):
    """Graphs from memory: ``pos [n, d]``, fields ``y [n, c]``, optional inputs ``x [n, f]`` and ``edge_index``.

    ``y_names``, ``y_sizes`` and ``y_units`` name the fields (else they are one field ``y``), ``x_names`` the inputs.
    ``conditions`` and ``numbers`` are dictionaries of named numbers, ``flow`` a :class:`FlowConditions`.

    Args:
        graphs: At least one.
        first: Number of the first, for messages.

    Raises:
        InputError: A graph lacks ``pos``, or the graphs differ in dimension, inputs or fields.
    """

    def __init__(self, graphs: Sequence[Data], *, first: int = 0) -> None:
        if not graphs:
            raise InputError("the list of graphs is empty; give at least one PyG Data with pos and y")
        self.transform, self.cache = None, GraphCache(False)
        self.first = first
        self.graphs = [self._converted(graph, first + i) for i, graph in enumerate(graphs)]
        given = [str(graph.name) for graph in self.graphs]
        self.cases = tuple(f"{n}_{first + i}" if given.count(n) > 1 else n for i, n in enumerate(given))
        self.fields = self.graphs[0].fields
        self.units = tuple(self.graphs[0].get("y_units") or ("",) * len(self.fields))
        flow = graphs[0].get("flow")
        self.flow_stated = isinstance(flow, FlowConditions)
        self.flow = flow if isinstance(flow, FlowConditions) else FlowConditions()
        self._check_alike()

    def _converted(self, data: Data, number: int) -> MeshGraph:
        label = f"graph {number} of the list"
        if not isinstance(data, Data):
            raise InputError(f"{label} is a {type(data).__name__}; give torch_geometric.data.Data with pos and y")
        pos = data.get("pos")
        if not isinstance(pos, Tensor):
            raise InputError(f"{label} has no positions; set data.pos to a float tensor [n, d] in metres")
        for key in ("x", "y"):
            if not isinstance(data.get(key), Tensor | None):
                raise InputError(f"{label}: {key} is a {type(data[key]).__name__}; set data.{key} to a tensor [n, c]")
        if isinstance(data, MeshGraph):
            named = _named(data.clone_shallow())
            named.name = data.get("name") or f"graph_{number}"
            return named.validate()
        kept = {key: value for key, value in data.to_dict().items() if key not in ("conditions", "numbers", "flow")}
        graph = MeshGraph(**kept)
        graph.pos = pos.float()
        y = data.get("y")
        if isinstance(y, Tensor):
            if y.dim() > 2:
                raise InputError(f"{label}: y is {list(y.shape)}: a trajectory [n, t, c] is for kind: rollout")
            graph.y = (y.unsqueeze(1) if y.dim() == 1 else y).float()
        x = data.get("x")
        if isinstance(x, Tensor):
            graph.x = (x.unsqueeze(1) if x.dim() == 1 else x).float()
        for key in ("conditions", "numbers", "flow"):
            if data.get(key) is not None:
                graph[key] = data[key]
        graph.name = data.get("name") or f"graph_{number}"
        return _named(graph).validate()

    def _check_alike(self) -> None:
        def form(graph: MeshGraph) -> tuple[object, ...]:
            x = graph.get("x")
            sizes = tuple(graph.get("y_sizes") or ())
            return graph.pos.shape[1], 0 if x is None else x.shape[1], graph.fields, sizes

        names = ("dimensions", "input channels", "fields", "channels of the fields")
        wanted = form(self.graphs[0])
        for number, graph in enumerate(self.graphs):
            for name, a, b in zip(names, wanted, form(graph), strict=True):
                if a != b:
                    raise InputError(
                        f"the graphs differ: {name} of graph {self.first} are {a}, of graph {self.first + number} {b}; "
                        "give graphs that hold the same"
                    )

    def read(self, index: int) -> MeshGraph:
        """The graph."""
        return self.graphs[index]

    def files(self, index: int) -> dict[str, Path]:
        """No files."""
        self.position(index)
        return {}

    def flow_of(self, index: int) -> FlowConditions:
        """Flow of the graph, else that of the first."""
        flow = self.graphs[self.position(index)].get("flow")
        return flow if isinstance(flow, FlowConditions) else self.flow

    def conditions_of(self, index: int) -> dict[str, float]:
        """Named conditions of the graph."""
        return self._numbers(index, "conditions")

    def numbers_of(self, index: int) -> dict[str, float]:
        """Named results of the graph."""
        return self._numbers(index, "numbers")

    def _numbers(self, index: int, key: str) -> dict[str, float]:
        return named_numbers(self.graphs[self.position(index)], key, self.cases[index])

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """There is nothing on disk to stand in for."""
        raise InputError(f"a list of graphs has no files; got {root} for {listing(range(num))}")


def _named(graph: MeshGraph) -> MeshGraph:
    """The graph with its values as one field ``y`` where it names none."""
    y = graph.get("y")
    if y is None or graph.get("y_names"):
        return graph
    out = graph.clone_shallow()
    out.y_names, out.y_sizes = ("y",), (y.flatten(1).shape[1],)
    return out
