"""A case as a surrogate needs it: the mesh as it was read, its graph, and the way back to the original cells."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions
from meshops.aero.forces import Forces, integrate_forces
from meshops.aero.frame import Frame
from meshops.aero.silhouette import projected_area
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import DataWarning, InputError, listing, warn
from meshops.tasks.envelope import describe
from meshops.tasks.steady import SteadySpec

Array = NDArray[Any]
COARSE = 2.5  # cells this many times longer than those of the training meshes are refined


@dataclass(frozen=True, eq=False)
class BodySurface:
    """A surface for integration: cells with outward normals, and triangles for its silhouette.

    Attributes:
        center, normal, area: ``[c, 3]``, ``[c, 3]``, ``[c]``.
        points, triangles: ``[m, 3]``, ``[t, 3]``.
        cell_points: Mean number of points of a cell.
    """

    center: Array
    normal: Array
    area: Array
    points: Array
    triangles: Array
    cell_points: float

    @classmethod
    def of(cls, mesh: Any, label: str = "surface") -> BodySurface:
        """From a PyVista surface; ``label`` names it in warnings."""
        from meshops.data.surface import cell_geometry, orient_outward  # VTK

        center, normal, area = cell_geometry(mesh)
        normal = normal * orient_outward(mesh, label=label)[:, None]
        triangles = fan_triangles(mesh)
        cell_points = len(triangles) / max(len(area), 1) + 2
        return cls(center, normal, area, np.asarray(mesh.points, dtype=np.float64), triangles, cell_points)

    def resolution(self, conditions: FlowConditions) -> tuple[float, float]:
        """Median edge length over the length of the body, and points per cell."""
        edge = float(np.median(np.sqrt(self.area * 2 / (self.cell_points - 2))))
        return edge / self.length(conditions), self.cell_points

    def length(self, conditions: FlowConditions) -> float:
        """Extent along the flow, m."""
        return float(np.ptp(self.points[np.unique(self.triangles)] @ np.array(conditions.flow)))

    def frontal_area(self, conditions: FlowConditions) -> float:
        """Reference area: fixed by the conditions, or the silhouette, m^2."""
        if conditions.frontal_area is not None:
            return conditions.frontal_area
        return projected_area(self.points, self.triangles, conditions)

    def descriptors(self, conditions: FlowConditions) -> Array:
        """See :func:`meshops.tasks.envelope.describe`."""
        used = self.points[np.unique(self.triangles)]
        return describe(self.center, self.normal, self.area, used, self.frontal_area(conditions), conditions)


@dataclass(eq=False)
class Case:
    """One opened file.

    Attributes:
        mesh: PyVista mesh, cleaned: the cells predictions are written on.
        graph: Nodes the model works on, moved near the origin; cells of a refined mesh when ``parents`` is set.
        location: Where fields live on ``mesh``.
        label: The file, for messages.
        truth: Fields of the file, at ``location``.
        conditions: Flow past this case.
        body: The surface forces are integrated on (the mesh itself, moved as ``graph``), None for volumes.
        parents: ``[n]`` original cell of each refined cell, None when not refined.
        notes: What was changed or assumed, for the user.
        prepared: Filled by the first prediction: features take longer than the network.
        lopsided: With it: share of the area without mirror image, see :func:`meshops.aero.symmetry.lopsided_share`.
    """

    mesh: Any
    graph: MeshGraph
    location: Literal["cell", "point"]
    label: str
    truth: dict[str, Array] = field(default_factory=dict)
    body: BodySurface | None = None
    parents: Array | None = None
    notes: list[str] = field(default_factory=list)
    prepared: tuple[MeshGraph, Frame] | None = None
    lopsided: float = 0.0
    conditions: FlowConditions = field(default_factory=FlowConditions)

    @property
    def refined(self) -> bool:
        """True when the graph is finer than the mesh."""
        return self.parents is not None

    @property
    def used(self) -> Array:
        """``[n]`` True where a node belongs to a cell."""
        unused = self.graph.get("node_type")
        rows = self.mesh.n_cells if self.location == "cell" else self.mesh.n_points
        if unused is None or self.location == "cell":
            return np.ones(rows, dtype=bool)
        return np.asarray(unused == 0)

    def to_mesh(self, values: Array) -> Array:
        """Node values on the cells (or points) of ``mesh``: averaged by area over refined cells."""
        if self.parents is None:
            return np.asarray(values)
        from meshops.data.surface import average_to_parents

        area = self.graph.area.numpy()
        return np.asarray(average_to_parents(values, area, self.parents, self.mesh.n_cells), dtype=np.float32)

    def forces(self, fields: Mapping[str, Array], spec: SteadySpec) -> Forces | None:
        """Integrate node fields; None without a surface, a pressure or stated conditions."""
        if self.body is None or spec.pressure is None or spec.pressure not in fields or not spec.conditions_stated:
            return None
        pressure = self._per_cell(fields[spec.pressure])
        shear = None if spec.shear is None or spec.shear not in fields else self._per_cell(fields[spec.shear])
        normal, area = self.body.normal, self.body.area
        if self.parents is not None:
            normal, area = self.graph.normal.numpy(), self.graph.area.numpy()
        frontal = self.body.frontal_area(self.conditions)
        return integrate_forces(normal, area, pressure, self.conditions, frontal_area=frontal, shear=shear)

    def _per_cell(self, values: Array) -> Array:
        """Point values averaged over the points of each cell; cell values as they are."""
        if self.location == "cell":
            return np.asarray(values, dtype=np.float64)
        size, nodes = self.graph.cell_size.numpy(), self.graph.cell_nodes.numpy()
        starts = np.concatenate([[0], np.cumsum(size)[:-1]])
        rows = np.asarray(values, dtype=np.float64)[nodes]
        return np.asarray(np.add.reduceat(rows, starts, axis=0) / (size if rows.ndim == 1 else size[:, None]))


def open_case(
    source: Any,
    spec: SteadySpec,
    *,
    scale: float | None = None,
    region: str | None = None,
    cell_size: float | None = None,
    names: Mapping[str, str] | None = None,
    conditions: FlowConditions | None = None,
) -> Case:
    """Read a file for a task: clean it, orient it, refine it if it is too coarse, and make its graph.

    Args:
        source: Path, or a PyVista mesh.
        spec: Domain, location and fields.
        scale: Factor that brings the coordinates to metres; None: they are.
        region: Boundary patch of an OpenFOAM case.
        cell_size: Typical edge over body length of the training meshes; None: never refine.
        names: Field of the model -> array of the file that holds its truth, where the names differ.
        conditions: Flow past it; default: those of the training.

    Raises:
        InputError: The file cannot be used.
    """
    from meshops.data.clean import clean_mesh  # VTK
    from meshops.data.readers import read_mesh
    from meshops.data.surface import is_surface

    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        label = str(source) if isinstance(source, (str, os.PathLike)) else "mesh"
        mesh = read_mesh(Path(source), region=region) if label != "mesh" else source.copy()
        if scale is not None and scale != 1.0:
            mesh.points = np.asarray(mesh.points, dtype=np.float64) * scale
            notes.append(f"coordinates multiplied by {scale:g}")
        for name, array in (names or {}).items():
            _rename(mesh, array, name, label)
        present = [name for name in spec.fields if name in mesh.cell_data or name in mesh.point_data]
        complete = len(present) == len(spec.fields)
        mesh = clean_mesh(mesh, label=label, fields=present if complete else ()).mesh
        _check_domain(is_surface(mesh), spec, label)
        _check_extent(mesh, label)
        case = _make_case(mesh, spec, label, complete, cell_size, spec.at(conditions))
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            notes.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if present and not complete:
        missing = [name for name in spec.fields if name not in present]
        notes.append(f"the file has {present} but not {missing}: no errors are computed")
    case.notes = list(dict.fromkeys(notes))
    return case


def fan_triangles(mesh: Any) -> Array:
    """``[t, 3]`` triangles of a surface, polygons cut into fans (VTK's own filter drops thin polygons)."""
    from meshops.data.cells import as_polygons, cells_of

    size, nodes = as_polygons(cells_of(mesh))
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    count = np.maximum(size - 2, 0)
    first = np.repeat(start, count)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([nodes[first], nodes[first + step + 1], nodes[first + step + 2]], 1)


def attach_body(graph: MeshGraph, mesh: Any) -> MeshGraph:
    """Store the body inside a volume mesh on its graph: ``body_pos``, ``body_normal``, ``body_area``."""
    from meshops.data.surface import cell_geometry, extract_body

    center, normal, area = cell_geometry(extract_body(mesh))
    graph.body_pos = torch.as_tensor(center, dtype=torch.float32)
    graph.body_normal = torch.as_tensor(normal, dtype=torch.float32)
    graph.body_area = torch.as_tensor(area, dtype=torch.float32)
    return graph


def _make_case(
    mesh: Any, spec: SteadySpec, label: str, truth: bool, cell_size: float | None, conditions: FlowConditions
) -> Case:
    from meshops.data.convert import from_pyvista
    from meshops.data.surface import refine

    fields = spec.fields if truth else ()
    near = _near_origin(mesh, conditions)
    graph = from_pyvista(near, fields=fields, location=spec.location, label=label)
    known = {name: graph.field(name).numpy() for name in fields}
    for name, size in zip(spec.fields, spec.sizes, strict=True):
        if name in known and known[name].size != size * len(graph.pos):
            channels = known[name].size // len(graph.pos)
            raise InputError(f"{label}: field '{name}' has {channels} channels, the model predicts {size}")
    if spec.domain == "volume":
        return Case(mesh, attach_body(graph, near), spec.location, label, known, conditions=conditions)
    body = BodySurface.of(near, label)
    case = Case(mesh, graph, spec.location, label, known, body, conditions=conditions)
    if cell_size is not None and spec.location == "cell":
        length = float(np.ptp(near.points @ np.array(conditions.flow)))
        limit = COARSE * cell_size * length
        edge = np.sqrt(2 * body.area / (body.cell_points - 2))
        if body.area[edge > limit].sum() > 0.01 * body.area.sum():
            fine, parents = refine(near, limit)
            warn(
                f"{label}: cells up to {edge.max():.3g} m are much larger than those of the training meshes; split to "
                f"{fine.n_cells} triangles of at most {limit:.3g} m, results averaged back on the {mesh.n_cells} cells"
            )
            case.graph = from_pyvista(fine, location="cell", label=label)
            case.parents = np.asarray(parents)
    return case


def _near_origin(mesh: Any, conditions: FlowConditions) -> Any:
    """Copy of a mesh with its middle at the origin: far from it, single precision is too coarse for nodes.

    With a ground the height stays, so that the ground need not move.
    """
    points = np.asarray(mesh.points, dtype=np.float64)
    middle = (points.min(0) + points.max(0)) / 2
    if conditions.ground is not None:
        up = np.array(conditions.up)
        middle -= (middle @ up) * up
    near = mesh.copy()
    near.points = points - middle
    return near


def _rename(mesh: Any, array: str, name: str, label: str) -> None:
    for data in (mesh.cell_data, mesh.point_data):
        if array in data:
            data[name] = data[array]
            return
    present = [*mesh.cell_data, *mesh.point_data]
    raise InputError(f"{label}: no array '{array}' to compare '{name}' with; arrays: {listing(present)}")


def _check_extent(mesh: Any, label: str) -> None:
    low, high = np.min(mesh.points, axis=0), np.max(mesh.points, axis=0)
    flat = (high - low) <= 1e-6 * (high - low).max()
    if flat.any():
        axis = "xyz"[int(flat.argmax())]
        raise InputError(
            f"{label}: a flat (2-D) mesh, without extent along {axis}; the model was trained on 3-D bodies, give one"
        )


def _check_domain(surface: bool, spec: SteadySpec, label: str) -> None:
    if spec.domain == "surface" and not surface:
        raise InputError(
            f"{label}: a volume mesh, but the model predicts surface fields; give the surface (STL, VTP), "
            "or for an OpenFOAM case its patch with --region"
        )
    if spec.domain == "volume" and surface:
        raise InputError(
            f"{label}: a surface mesh, but the model predicts volume fields; give the volume mesh (VTU, OpenFOAM case)"
        )
