"""What can be integrated over the surface of one case: area, volume, shadows, and every field times the normal.

    P_f = sum_i f_i n_i A_i   (scalars),      T_f = sum_i f_i A_i   (vectors)

n is the outward normal, A the area of a cell. Forces of any sign, unit or reference follow from these few numbers
(:mod:`meshops.aero.audit`), so that a case has to be read once only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions
from meshops.aero.silhouette import projected_area
from meshops.data.cells import running_sum
from meshops.data.mesh_graph import MeshGraph
from meshops.data.polygons import polygon_geometry
from meshops.errors import InputError

Array = NDArray[np.float64]
AXES = np.eye(3)
SURFACE_TYPES = (5, 6, 7, 9)  # VTK: triangle, strip, polygon, quad


@dataclass(frozen=True, eq=False)
class SurfaceIntegrals:
    """Integrals over a surface in the axes of its file.

    Attributes:
        area, volume: Of the surface and enclosed (m^2, m^3 if the file is in metres).
        closure: ``[3]`` sum of n A over the area: zero for a closed surface.
        low, high: ``[3]`` corners of its box.
        shadow, hull: ``[3]`` projected area along x, y, z, and that of the convex hull.
        of_normal: Scalar field -> ``[3]`` integral of f n.
        of_vector: Vector field -> ``[3]`` integral of f.
        front: Scalar field -> ``[3]`` mean normal where it is highest (a fiftieth of the area).
        odd: ``[3]`` how far the surface is from its mirror image across the middle of its box, by odd moments.
        height: ``[3, 2]`` spread of the places, along each axis, of what faces down and up it, over the extent.
        along: Projected areas along the free stream, where it is not an axis: ``(shadow, hull)``.
    """

    area: float
    volume: float
    closure: Array
    low: Array
    high: Array
    shadow: Array
    hull: Array
    of_normal: Mapping[str, Array]
    of_vector: Mapping[str, Array]
    front: Mapping[str, Array]
    odd: Array
    height: Array
    along: tuple[float, float] | None = None

    @property
    def closed(self) -> bool:
        """No more than a thousandth of the area is missing along any axis."""
        return bool(np.abs(self.closure).max() < 1e-3)

    @property
    def half_of(self) -> int | None:
        """Axis across which this is one half of a body cut at its mirror plane; None: it is not.

        The missing side shows in the closure, and all of the surface lies on one side of the cut.
        """
        axis = int(np.abs(self.closure).argmax())
        others = np.delete(np.abs(self.closure), axis)
        missing = float(np.abs(self.closure[axis]) * self.area)
        if missing < 0.2 * self.shadow[axis] or others.max() > 0.25 * np.abs(self.closure[axis]):
            return None
        return axis

    @classmethod
    def of(cls, graph: MeshGraph, flow: FlowConditions | None = None) -> SurfaceIntegrals | None:
        """Integrals of a case; None where it is no surface in space.

        Args:
            graph: Nodes at cells or points of a surface, fields in ``y``.
            flow: Its free stream, for projected areas where that is no axis.
        """
        surface = surface_cells(graph)
        if surface is None:
            return None
        points, center, vector, used = surface
        area = np.linalg.norm(vector, axis=1)
        total = float(area.sum())
        if not total > 0:
            return None
        middle = (points[used].min(0) + points[used].max(0)) / 2
        of_normal, of_vector = _integrate(graph, vector, area)
        triangles = fans(graph)
        shadows = np.array([_shadows(points, triangles, axis) for axis in AXES])
        return cls(
            total,
            float(((center - middle) * vector).sum() / 3),
            vector.sum(0) / total,
            points[used].min(0),
            points[used].max(0),
            shadows[:, 0],
            shadows[:, 1],
            of_normal,
            of_vector,
            _front(graph, vector, area),
            _oddness((center - middle) / np.linalg.norm(np.ptp(points[used], axis=0)), area / total),
            _heights(center / np.maximum(np.ptp(points[used], axis=0), 1e-300), vector, area),
            None if flow is None or _is_axis(flow.flow) else _shadows(points, triangles, np.array(flow.flow)),
        )


def surface_cells(graph: MeshGraph) -> tuple[Array, Array, Array, NDArray[np.int64]] | None:
    """Points, centres and outward vector areas of the cells, points in use; None where a case is no surface."""
    normal, size = graph.get("normal"), graph.get("cell_size")
    if normal is None or size is None or graph.pos.shape[1] != 3 or not len(size):
        return None
    if not np.isin(graph.cell_type.numpy(), SURFACE_TYPES).all():
        return None
    stored = graph.pos if graph.get("points") is None else graph.points
    points = stored.double().numpy()
    sizes, nodes = graph.cell_size.numpy(), graph.cell_nodes.numpy()
    center, vector = polygon_geometry(points, sizes, nodes)
    vector = vector * _outward(graph, vector, sizes, nodes)[:, None]
    return points, center, vector, np.unique(nodes)


def fans(graph: MeshGraph) -> NDArray[np.int64]:
    """``[t, 3]`` triangles of the polygons of a graph."""
    size, nodes = graph.cell_size.numpy(), graph.cell_nodes.numpy()
    start, count = running_sum(size)[:-1], np.maximum(size - 2, 0)
    first = np.repeat(start, count)
    step = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([nodes[first], nodes[first + step + 1], nodes[first + step + 2]], 1)


def per_cell(graph: MeshGraph, values: Array) -> Array:
    """Node values on the cells: as they are, or the mean of the points of each cell."""
    if graph.location == "cell":
        return values
    size, nodes = graph.cell_size.numpy(), graph.cell_nodes.numpy()
    rows = values.reshape(len(values), -1)[nodes]
    means = np.add.reduceat(rows, running_sum(size)[:-1], axis=0) / size[:, None]
    return np.asarray(means[:, 0] if values.ndim == 1 else means)


def _outward(graph: MeshGraph, vector: Array, size: Array, nodes: Array) -> Array:
    """``[c]`` sign that turns the vector areas along the outward normals of the nodes."""
    normal = per_cell(graph, graph.normal.double().numpy())
    return np.where((normal * vector).sum(1) < 0, -1.0, 1.0)


def _integrate(graph: MeshGraph, vector: Array, area: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    scalars: dict[str, Array] = {}
    vectors: dict[str, Array] = {}
    for name in graph.fields if graph.get("y") is not None else ():
        values = graph.field(name).double().numpy()
        rows = per_cell(graph, values)
        if rows.ndim == 1:
            scalars[name] = np.asarray((rows[:, None] * vector).sum(0))
        elif rows.ndim == 2 and rows.shape[1] == 3:
            vectors[name] = np.asarray((rows * area[:, None]).sum(0))
    return scalars, vectors


def _front(graph: MeshGraph, vector: Array, area: Array) -> dict[str, Array]:
    """Mean normal of the fiftieth of the area with the highest values of each scalar."""
    out = {}
    for name in graph.fields if graph.get("y") is not None else ():
        values = graph.field(name).double().numpy()
        if values.ndim > 1:
            continue
        rows = per_cell(graph, values)
        order = np.argsort(-rows, kind="stable")
        top = order[np.cumsum(area[order]) <= 0.02 * area.sum()]
        out[name] = np.asarray(vector[top].sum(0) / max(float(area[top].sum()), 1e-300))
    return out


def _oddness(arm: Array, share: Array) -> Array:
    """Odd moments in each coordinate: zero where the surface is its own mirror image."""
    out = np.zeros(3)
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        even = [np.ones(len(arm)), arm[:, axis] ** 2, *(arm[:, k] for k in others), *(arm[:, k] ** 2 for k in others)]
        out[axis] = np.sqrt(sum(float(share @ (arm[:, axis] * term)) ** 2 for term in even))
    return out


def _heights(place: Array, vector: Array, area: Array) -> Array:
    out = np.full((3, 2), np.nan)
    for axis in range(3):
        for k, sign in enumerate((-1.0, 1.0)):
            facing = sign * vector[:, axis] > 0.7 * area
            if facing.any():
                weight = area[facing] / area[facing].sum()
                off = place[facing, axis] - weight @ place[facing, axis]
                out[axis, k] = np.sqrt(weight @ off**2)
    return out


def _shadows(points: Array, triangles: NDArray[np.int64], direction: Array) -> tuple[float, float]:
    along = np.asarray(direction, dtype=np.float64)
    up = AXES[int(np.abs(along).argmin())]
    up = up - (up @ along) * along
    up = up / np.linalg.norm(up)
    out = []
    for rule in ("silhouette", "hull"):
        flow = FlowConditions(flow=_triple(along), up=_triple(up), area_rule=rule)  # type: ignore[arg-type]
        try:
            out.append(projected_area(points, triangles, flow))
        except InputError:  # flat across this axis
            out.append(0.0)
    return out[0], out[1]


def _is_axis(vector: tuple[float, float, float]) -> bool:
    return max(abs(v) for v in vector) > 1 - 1e-9


def _triple(vector: Array) -> tuple[float, float, float]:
    return (float(vector[0]), float(vector[1]), float(vector[2]))
