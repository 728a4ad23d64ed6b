"""MeshGraphNets: flow past cylinders and airfoils on triangle meshes, TFRecord files (Pfaff et al. 2021, 2010.03409).

Layout: ``<root>/meta.json`` and ``<root>/{train,valid,test}.tfrecord``, one ``tf.Example`` per trajectory. Each feature
is the raw bytes of an array whose dtype, shape and type stand in ``meta.json``: ``static`` arrays have one frame,
``dynamic`` ones all, of ``dynamic_varlen`` ones ``length_<name>`` says how many rows each frame has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.datasets.base import CaseProblem, existing_file, existing_root, one_of
from meshops.datasets.formats.tfrecord import TFRecordFile, parse_example
from meshops.datasets.mesh_graph_nets.files import SPLITS, cylinder_case, write_mesh_graph_nets
from meshops.datasets.mesh_trajectory import NODE_TYPES, MeshSpec, MeshTrajectoryDataset, MeshWindow
from meshops.datasets.registry import register_dataset
from meshops.errors import InputError, MissingDataError, listing
from meshops.io import read_json

ADVICE = (
    "get it with meshgraphnets/download_dataset.sh of github.com/google-deepmind/deepmind-research, e.g. the set "
    "cylinder_flow, and give the folder that holds meta.json"
)
FIELDS = ("velocity", "pressure", "density")  # taken where meta.json has them, in this order
UNITS = {"velocity": "m/s", "world_pos": "m"}
# Reference code: cfd_model.py and cfd_eval.py learn and update NORMAL (0) and OUTFLOW (5) nodes only; the others are
# OBSTACLE 1, AIRFOIL 2, HANDLE 3, INFLOW 4, WALL 6.
FORCED = (1, 2, 3, 4, 6)
Array = np.ndarray[Any, Any]


@register_dataset("mesh_graph_nets", layout=("train.tfrecord", "valid.tfrecord", "test.tfrecord"))
class MeshGraphNets(MeshTrajectoryDataset):
    """One set of MeshGraphNets with triangles in the plane: ``cylinder_flow``, ``airfoil``.

    Files are mapped into memory; of a trajectory only the frames asked for are copied.

    Args:
        root: Folder with ``meta.json``.
        split: ``"train"``, ``"valid"`` (or ``"val"``), ``"test"`` or ``"all"`` (the files that are there).
        fields: Features that make the state, in this order; None: velocity, pressure, density, those there are.
        forced: Node types that a rollout takes from the data.
        weights: Weight of each field in the loss; None: 1 each (the reference code learns the velocity alone).
        verify: Compare the checksum of a trajectory the first time it is read.

    Raises:
        MissingDataError: The folder or its files are not there.
        InputError: ``meta.json`` or a file is damaged, or the set is of another kind.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        fields: list[str] | None = None,
        forced: tuple[int, ...] = FORCED,
        weights: tuple[float, ...] | None = None,
        verify: bool = True,
    ) -> None:
        split = "valid" if split == "val" else one_of("split", split, (*SPLITS, "val", "all"))
        self.root = existing_root(root, "MeshGraphNets", ADVICE)
        self.meta = _Meta(existing_file(self.root / "meta.json", "MeshGraphNets", ADVICE))
        names = tuple(name for name in FIELDS if name in self.meta.features) if fields is None else tuple(fields)
        weights = (1.0,) * len(names) if weights is None else weights
        if not names or len(weights) != len(names):
            raise InputError(
                f"{self.root}: {len(weights)} weights for the fields {listing(names)}; give fields among "
                f"{listing(self.meta.features)} and one weight each"
            )
        self.spec = MeshSpec(
            fields=names, sizes=tuple(self.meta.channels(name) for name in names),
            units=tuple(UNITS.get(name, "") for name in names), time_step=self.meta.time_step,
            forced=tuple(forced), weights=tuple(weights),
        )  # fmt: skip
        for name, size in (("cells", 3), ("mesh_pos", 2), ("node_type", 1)):
            if self.meta.channels(name) != size:
                raise InputError(
                    f"{self.meta.path}: '{name}' has {self.meta.channels(name)} columns, expected {size}; only sets of "
                    "triangles in the plane are read (cylinder_flow, airfoil)"
                )
        paths = [self.root / f"{part}.tfrecord" for part in (SPLITS if split == "all" else (split,))]
        paths = [path for path in paths if split != "all" or path.is_file()]
        if not paths:
            raise MissingDataError(f"MeshGraphNets: no {{{','.join(SPLITS)}}}.tfrecord in {self.root}; {ADVICE}")
        files = [TFRecordFile(existing_file(path, "MeshGraphNets", ADVICE), verify=verify) for path in paths]
        self._place = [(file, number) for file in files for number in range(len(file))]
        self.cases = tuple(f"{file.path.stem}/{number}" for file, number in self._place)
        self.lengths = (self.meta.steps,) * len(self.cases)

    def window(self, index: int, start: int, length: int) -> MeshWindow:
        """See the base class."""
        index = self.position(index)
        self.check_window(index, start, length)
        file, number = self._place[index]
        where = f"{file.path}: record {number}"
        record = parse_example(file[number], where)
        times = range(start, start + length)
        pos = _stack(self.meta.frames(record, "mesh_pos", times, where), f"{where}: 'mesh_pos'")
        n = pos.shape[1]
        kinds = _stack(self.meta.frames(record, "node_type", times, where), f"{where}: 'node_type'", n)[..., 0]
        values = [
            _stack(self.meta.frames(record, name, times, where), f"{where}: '{name}'", n) for name in self.spec.fields
        ]
        if kinds.min() < 0 or kinds.max() >= NODE_TYPES:
            raise InputError(
                f"{where}: 'node_type' holds {kinds.min()} to {kinds.max()}, allowed are 0 to {NODE_TYPES - 1}"
            )
        return MeshWindow(
            pos=torch.from_numpy(pos).float(),
            state=torch.from_numpy(np.concatenate(values, axis=-1)).float(),
            node_type=torch.from_numpy(kinds.astype(np.int64)),
            triangles=self._triangles(self.meta.frames(record, "cells", times, where), n, where),
        )

    def check(self) -> Iterator[CaseProblem]:
        """Read every trajectory, with its checksum, and report what is wrong; nothing is raised."""
        for file in {id(file): file for file, _ in self._place}.values():
            file.verify = True
        if not self.cases:
            yield CaseProblem(self.root.name, None, "no trajectory in the split; download the files again")
        yield from super().check()

    @classmethod
    def standin(cls, root: str | Path, num: int = 4, *, frames: int = 12) -> Path:
        """Analytic wakes, not solutions: :func:`meshops.datasets.mesh_graph_nets.files.cylinder_case`.

        At least three trajectories, one each to validate and to test.
        """
        runs = [cylinder_case(seed, frames=frames) for seed in range(max(num, 3))]
        return write_mesh_graph_nets({"train": runs[:-2], "valid": runs[-2:-1], "test": runs[-1:]}, root)

    @staticmethod
    def _triangles(frames: list[Array], n: int, where: str) -> tuple[Tensor, ...]:
        """Cells of each frame; the same tensor where the frames are the same array."""
        made: dict[int, Tensor] = {}
        for cells in frames:
            if id(cells) in made:
                continue
            if cells.size and (cells.min() < 0 or cells.max() >= n):
                raise InputError(
                    f"{where}: 'cells' name nodes from {cells.min()} to {cells.max()}, the mesh has {n} (0 to {n - 1})"
                )
            made[id(cells)] = torch.from_numpy(cells.astype(np.int64))
        return tuple(made[id(cells)] for cells in frames)


class _Meta:
    """What ``meta.json`` says about the arrays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            meta = read_json(path, "download it again")
            self.features: dict[str, dict[str, Any]] = dict(meta["features"])
            self.steps = int(meta["trajectory_length"])
            self.time_step = float(meta.get("dt") or 0.0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: is no description of a set ({type(error).__name__}: {error}); it needs features and "
                "trajectory_length, download it again"
            ) from None

    def channels(self, name: str) -> int:
        """Columns of a feature."""
        return int(self._entry(name)[1][-1])

    def frames(self, record: dict[str, list[memoryview]], name: str, times: range, where: str) -> list[Array]:
        """``[rows, columns]`` of a feature in each of some frames, views of the file; one array where it stays."""
        kind, shape, dtype = self._entry(name)
        values = self._values(record, name, dtype, where)
        if kind == "dynamic_varlen":
            lengths = self._values(record, f"length_{name}", np.dtype("<i4"), where)
            if len(lengths) != self.steps or int(lengths.sum()) * shape[-1] != values.size:
                raise InputError(
                    f"{where}: 'length_{name}' has {len(lengths)} entries for {int(lengths.sum())} rows, expected "
                    f"{self.steps} for {values.size // shape[-1]}"
                )
            bounds = np.concatenate([[0], lengths.cumsum()])
            rows = values.reshape(-1, shape[-1])
            return [rows[bounds[time] : bounds[time + 1]] for time in times]
        known = math.prod(size for size in shape if size != -1)
        fits = values.size % known == 0 if -1 in shape else values.size == known
        if len(shape) != 3 or not fits or shape[0] != (1 if kind == "static" else self.steps):
            raise InputError(
                f"{where}: '{name}' has {values.size} values, which do not make the shape {list(shape)} of "
                f"{self.path.name} ({kind}, {self.steps} frames); the files do not belong together"
            )
        array = values.reshape(shape)
        return [array[0]] * len(times) if kind == "static" else [array[time] for time in times]

    def _entry(self, name: str) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
        """Type, shape and dtype of a feature."""
        if name not in self.features:
            raise InputError(f"{self.path}: no feature '{name}'; it has {listing(self.features)}")
        entry = self.features[name]
        # The published sets of changing size write <dtype: 'float32'>.
        dtype = re.search(r"float(?:32|64)|u?int(?:8|32|64)", str(entry.get("dtype")))
        shape = entry.get("shape")
        kind = str(entry.get("type"))
        whole = isinstance(shape, list) and len(shape) > 1 and all(isinstance(size, int) for size in shape)
        if kind not in ("static", "dynamic", "dynamic_varlen") or dtype is None or not whole:
            raise InputError(
                f"{self.path}: '{name}' is {entry}; expected a type static, dynamic or dynamic_varlen, a shape and a "
                "dtype"
            )
        return kind, tuple(shape or ()), np.dtype(dtype.group()).newbyteorder("<")

    @staticmethod
    def _values(record: dict[str, list[memoryview]], name: str, dtype: np.dtype[Any], where: str) -> Array:
        if not record.get(name):
            raise InputError(f"{where}: no feature '{name}'; it holds {listing(sorted(record))}")
        parts = record[name]
        content = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
        if len(content) % dtype.itemsize:
            raise InputError(f"{where}: '{name}' has {len(content)} bytes, which are no whole number of {dtype.name}")
        return np.frombuffer(content, dtype)


def _stack(frames: list[Array], what: str, n: int | None = None) -> Array:
    """``[t, n, columns]``, a copy; all frames must have as many nodes."""
    sizes = {len(frame) for frame in frames}
    if len(sizes) > 1:
        raise InputError(f"{what} has {min(sizes)} to {max(sizes)} nodes; meshes whose nodes change are not read")
    if n is not None and sizes != {n}:
        raise InputError(f"{what} has {sizes.pop()} nodes, 'mesh_pos' has {n}; the record is damaged")
    return np.stack(frames)
