"""Faults put into sound data sets on purpose: what the doctor is measured with, and how to test checks of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshops.aero.conditions import FlowConditions
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset, GraphCache
from meshops.errors import InputError

Edit = Callable[[MeshGraph], MeshGraph]
Rows = dict[str, float]


class Altered(CaseDataset):
    """A data set with some of its cases changed.

    Args:
        base: Sound cases.
        order: Case of ``base`` behind each case; None: all, once.
        edits: Case -> what is done to its graph.
        rows: Case -> values that replace those of its table, by name.
        files: Case -> files that replace its own.
    """

    def __init__(
        self, base: CaseDataset, *, order: list[int] | None = None, edits: Mapping[int, Edit] | None = None,
        rows: Mapping[int, Rows] | None = None, files: Mapping[int, Path] | None = None,
    ) -> None:  # fmt: skip
        self.base, self.order = base, list(range(len(base))) if order is None else order
        self.edits, self.rows, self.new_files = dict(edits or {}), dict(rows or {}), dict(files or {})
        names = [base.cases[k] for k in self.order]
        self.cases = tuple(n if n not in names[:i] else f"{n}_copy" for i, n in enumerate(names))
        self.fields, self.units, self.flow, self.flow_stated = base.fields, base.units, base.flow, base.flow_stated
        self.quantity_units, self.transform, self.cache = base.quantity_units, None, GraphCache(False)

    def read(self, index: int) -> MeshGraph:
        """The case, changed."""
        graph = self.base[self.order[index]].clone_shallow()
        return self.edits[index](graph) if index in self.edits else graph

    def files(self, index: int) -> dict[str, Path]:
        """As before, or those given."""
        if index in self.new_files:
            return {"mesh": self.new_files[index]}
        return self.base.files(self.order[index])

    def flow_of(self, index: int) -> FlowConditions:
        """As before."""
        return self.base.flow_of(self.order[index])

    def conditions_of(self, index: int) -> dict[str, float]:
        """As before, or those given."""
        return self._row(index, self.base.conditions_of(self.order[index]))

    def numbers_of(self, index: int) -> dict[str, float]:
        """As before, or those given."""
        return self._row(index, self.base.numbers_of(self.order[index]))

    def parameters(self, index: int) -> dict[str, float]:
        """As before, or those given."""
        return self._row(index, self.base.parameters(self.order[index]))

    def _row(self, index: int, row: Rows) -> Rows:
        new = self.rows.get(index, {})
        return {name: new.get(name, value) for name, value in row.items()}

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """There is none: give a data set.

        Raises:
            InputError: Always.
        """
        raise InputError("an altered data set has no stand-in of its own; alter that of another")


@dataclass(frozen=True)
class Fault:
    """A data set with one fault in it.

    Attributes:
        name: What was done.
        data: The set.
        kinds: Findings that name it.
        cases: Cases it may be named at.
    """

    name: str
    data: CaseDataset
    kinds: tuple[str, ...]
    cases: tuple[str, ...]


def moved_by(vector: Tensor) -> Edit:
    """Add a vector to the coordinates."""
    return lambda graph: _coordinates(graph, lambda pos: pos + vector.to(pos))


def scaled_by(factor: float) -> Edit:
    """Multiply the coordinates, as in another unit."""

    def edit(graph: MeshGraph) -> MeshGraph:
        graph = _coordinates(graph, lambda pos: pos * factor)
        if graph.get("area") is not None:
            graph.area = graph.area * factor**2
        return graph

    return edit


def turned_by(matrix: Tensor) -> Edit:
    """Turn (or mirror) coordinates, normals and vector fields."""

    def edit(graph: MeshGraph) -> MeshGraph:
        graph = _coordinates(graph, lambda pos: pos @ matrix.to(pos).T)
        if graph.get("normal") is not None:
            graph.normal = graph.normal @ matrix.to(graph.normal).T
        d = len(matrix)
        y = graph.y.clone()
        for part in graph.field_slices().values():
            if part.stop - part.start == d:
                y[..., part] = y[..., part] @ matrix.to(y).T
        graph.y = y
        return graph

    return edit


def field_changed(name: str, change: Callable[[Tensor], Tensor]) -> Edit:
    """Replace the values of one field."""

    def edit(graph: MeshGraph) -> MeshGraph:
        y = graph.y.clone()
        part = graph.field_slices()[name]
        y[..., part] = change(y[..., part])
        graph.y = y
        return graph

    return edit


def field_of(other: MeshGraph) -> Edit:
    """Take all fields from another case, cut or repeated to the number of nodes."""

    def edit(graph: MeshGraph) -> MeshGraph:
        graph.y = other.y[torch.arange(len(graph.pos)) % len(other.y)]
        return graph

    return edit


def truncated(graph: MeshGraph) -> MeshGraph:
    """A file that ends early."""
    raise InputError(f"{graph.label}: the file ends after 61 % of its bytes; copy it again")


def without_field(name: str) -> Edit:
    """A case that lacks a field."""

    def edit(graph: MeshGraph) -> MeshGraph:
        raise InputError(f"{graph.label}: there is no array '{name}'; cell arrays: 'other'")

    return edit


def quarter_turn(dim: int, degrees: float = 90.0) -> Tensor:
    """``[d, d]`` turn in the plane of the first two axes."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.eye(dim, dtype=torch.float64)
    matrix[:2, :2] = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return matrix


def mirror(dim: int, axis: int) -> Tensor:
    """``[d, d]`` mirror along an axis."""
    matrix = torch.eye(dim, dtype=torch.float64)
    matrix[axis, axis] = -1
    return matrix


def flattened(graph: MeshGraph) -> MeshGraph:
    """A plane case among those in space, or one in space among plane ones."""
    if graph.pos.shape[1] == 3:
        graph.pos = graph.pos[:, :2].contiguous()
        for key in ("normal", "points"):
            if key in graph:
                del graph[key]
    else:
        graph.pos = torch.cat([graph.pos, 0.1 * graph.pos[:, :1]], 1)
    return graph


def one_value(value: float, place: int = 7) -> Callable[[Tensor], Tensor]:
    """Put one value into a field."""

    def change(values: Tensor) -> Tensor:
        values = values.clone()
        values[place % len(values)] = value
        return values

    return change


def swapped(data: CaseDataset, i: int, j: int, names: tuple[str, ...] = ()) -> dict[int, Rows]:
    """Rows of two cases, exchanged; of some columns only where names are given."""
    rows = [{**data.parameters(k), **data.conditions_of(k), **data.numbers_of(k)} for k in (i, j)]
    rows = [{n: v for n, v in row.items() if not names or n in names} for row in rows]
    return {i: rows[1], j: rows[0]}


def write_history(path: Path, *, converged: bool, seed: int = 0, length: int = 300) -> Path:
    """A history of residuals and drag as solvers write it: settled, or still drifting at its end."""
    rng = np.random.default_rng(seed)
    steps = np.arange(length)
    rate = length / (18 if converged else 1.2)
    drag = 0.3 + 0.2 * np.exp(-steps / rate) + 0.002 * rng.normal(size=length) * np.exp(-steps / 100)
    residual = np.maximum(10 ** (-6.0 * steps / length * (2 if converged else 0.4)), 1e-6)
    lines = [
        "iteration,residual,drag",
        *(f"{i},{r:.4e},{d:.6f}" for i, r, d in zip(steps, residual, drag, strict=True)),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _coordinates(graph: MeshGraph, change: Callable[[Tensor], Tensor]) -> MeshGraph:
    graph.pos = change(graph.pos)
    points = graph.get("points")
    if points is not None:
        flat = graph.pos.shape[1]
        graph.points = torch.cat([change(points[:, :flat]), points[:, flat:]], 1)
    return graph
