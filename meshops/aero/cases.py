"""One finished simulation: the mesh as it was read, its graph, what is known of it, and the way back to its cells."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.aero.body_surface import BodySurface
from meshops.aero.case_forces import case_forces
from meshops.aero.case_spec import CaseSpec
from meshops.aero.conditions import FlowConditions
from meshops.aero.forces import Forces
from meshops.aero.frame import Frame
from meshops.aero.prepare import placed
from meshops.data.mesh_graph import JUDGED, MeshGraph
from meshops.errors import InputError, listing

if TYPE_CHECKING:
    from meshops.data.cells import Mesh

Array = NDArray[np.float32]
Source: TypeAlias = "str | os.PathLike[str] | Mesh"


@dataclass(eq=False)
class Case:
    """One opened case.

    Attributes:
        mesh: PyVista mesh, cleaned: the cells predictions are written on; None for a graph from memory.
        graph: Nodes the model works on, bodies moved near the origin; cells of a refined mesh when ``parents`` is set.
        location: Where fields live on ``mesh``.
        label: The file, for messages.
        truth: Known fields, at ``location``.
        flow: Flow past this case.
        conditions: Named conditions.
        numbers: Known named results.
        body: The surface forces are integrated on (the mesh itself, moved as ``graph``); None for others.
        parents: ``[n]`` original cell of each refined cell, None when not refined.
        notes: What was changed or assumed, for the user.
        prepared: Filled by the first prediction: features take longer than the network. No frame: not a body.
        lopsided: With it: share of the area without mirror image, see :func:`meshops.aero.symmetry.lopsided_share`.
        keeping: Makes ``prepared`` from what is kept on disk; None: nothing is.
        source: File or case folder it was read from.
        parts: Names of the parts that were read, where the file has some.
        cell_part: ``[c]`` place in ``parts`` of the part of each cell of ``mesh``.
        copies: ``[c]`` for each cell the first that is the same face; None: no face is there twice.
    """

    mesh: Mesh | None
    graph: MeshGraph
    location: Literal["cell", "point"]
    label: str
    truth: dict[str, Array] = field(default_factory=dict)
    flow: FlowConditions = field(default_factory=FlowConditions)
    conditions: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    body: BodySurface | None = None
    parents: NDArray[np.int64] | None = None
    notes: list[str] = field(default_factory=list)
    prepared: tuple[MeshGraph, Frame | None] | None = None
    lopsided: float = 0.0
    keeping: Callable[[], tuple[MeshGraph, Frame | None]] | None = None
    source: Path | None = None
    parts: tuple[str, ...] = ()
    cell_part: NDArray[np.int64] | None = None
    copies: NDArray[np.int64] | None = None

    @property
    def refined(self) -> bool:
        """True when the graph is finer than the mesh."""
        return self.parents is not None

    @property
    def rows(self) -> int:
        """Number of values of a field."""
        if self.mesh is None:
            return len(self.graph.pos)
        return int(self.mesh.n_cells if self.location == "cell" else self.mesh.n_points)

    @property
    def used(self) -> NDArray[np.bool_]:
        """``[n]`` True where a node belongs to a cell."""
        unused = self.graph.get("node_type")
        if unused is None or self.location == "cell" or self.body is None:
            return np.ones(self.rows, dtype=bool)
        return np.asarray(unused == 0)

    def original(self) -> Mesh:
        """The mesh predictions are written on."""
        if self.mesh is not None:
            return self.mesh
        from meshops.data.convert import to_pyvista  # VTK

        return to_pyvista(self.graph)

    def to_mesh(self, values: Array) -> Array:
        """Node values on the cells (or points) of ``mesh``: averaged by area over refined cells, and over copies."""
        from meshops.data.surface import average_to_parents

        out = np.asarray(values)
        if self.parents is not None:
            area = self.graph.area.numpy()
            out = np.asarray(average_to_parents(values, area, self.parents, self.rows), dtype=np.float32)
        if self.copies is not None and self.location == "cell":
            _, first = np.unique(self.copies, return_inverse=True)
            ones = np.ones(len(first))
            out = np.asarray(average_to_parents(out, ones, first, int(first.max()) + 1)[first], dtype=np.float32)
        return out

    def forces(self, fields: Mapping[str, Array], spec: CaseSpec) -> Forces | None:
        """Integrate node fields; None without a surface, a pressure that is known everywhere, or a stated flow."""
        return case_forces(self, fields, spec, mesh=False)

    def true_forces(self, spec: CaseSpec) -> Forces | None:
        """As :meth:`forces`, of the known fields, on the cells of the file."""
        return case_forces(self, self.truth, spec, mesh=True)


def graph_case(
    graph: MeshGraph, spec: CaseSpec, *, flow: FlowConditions | None = None,
    conditions: Mapping[str, float] | None = None, numbers: Mapping[str, float] | None = None,
) -> Case:  # fmt: skip
    """A graph of a data set or from memory as a case: what it has of the fields is the truth.

    Of a body it is brought to where the model has its nodes, at cells or points.
    """
    given, graph = graph, placed(graph, spec)
    truth = {name: _known(graph, name) for name in spec.fields if name in graph.fields}
    body = None
    mesh = None
    if spec.bodies:
        from meshops.data.convert import to_pyvista  # VTK

        mesh = to_pyvista(graph)
        body = BodySurface.of(mesh, graph.label) if spec.domain == "surface" else None
    out = Case(
        mesh, graph, spec.location, graph.label, truth, spec.at(flow), dict(conditions or {}), dict(numbers or {}), body
    )
    if graph is not given:
        out.notes.append(f"fields are given at the {spec.location}s, where the surrogate has them")
    return out


def _known(graph: MeshGraph, name: str) -> Array:
    """A field of a graph, NaN where it has no value that errors count."""
    values, use = graph.field(name), graph.get("y_use")
    if use is not None:
        values = values.clone()
        values[use[:, graph.fields.index(name)] != JUDGED] = torch.nan
    return values.numpy()


def check_conditions(given: Mapping[str, float], spec: CaseSpec) -> None:
    """See that the model knows the conditions a prediction is asked for.

    Raises:
        InputError: It was not trained with one, or one is not finite.
    """
    unknown = [name for name in given if name not in spec.conditions]
    if unknown:
        raise InputError(
            f"the model was not trained with the condition {listing(unknown)}; it takes {listing(spec.conditions)}; "
            "leave it out, or train on cases that state it"
        )
    for name, value in given.items():
        if not math.isfinite(value):
            raise InputError(f"the condition '{name}' must be a finite number, got {value}")
