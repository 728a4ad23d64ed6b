"""Geometry of surface meshes: normals that point out of the body, areas, refinement, the body in a volume mesh."""

from __future__ import annotations

import numpy as np
import pyvista as pv

from meshops.data.cells import (
    Array,
    Mesh,
    as_polygons,
    cell_faces,
    cells_of,
    make_cells,
    mesh_of,
    running_sum,
    segment_sum,
)
from meshops.data.orientation import Orientation, orient, orient_outward
from meshops.data.polygons import next_entry, polygon_geometry
from meshops.data.volume_body import extract_body
from meshops.errors import InputError
from meshops.folders import available_memory

# A prediction takes about 0.7 kB a cell; more triangles than this take hours.
BYTES_PER_TRIANGLE, MOST_TRIANGLES = 700, 20_000_000

__all__ = [
    "average_to_parents",
    "cell_geometry",
    "extract_body",
    "is_surface",
    "orient_outward",
    "oriented_geometry",
    "outward_geometry",
    "refine",
    "volume_geometry",
]


Geometry = tuple[Array, Array, Array, Orientation]  # centres, outward normals, areas, how they were turned


def is_surface(mesh: Mesh) -> bool:
    """Whether the cells of highest dimension are faces: triangles, quads, polygons."""
    dimension = cells_of(mesh).dimension
    return bool(dimension.size) and int(dimension.max()) == 2


def cell_geometry(mesh: Mesh) -> tuple[Array, Array, Array]:
    """Centers ``[c, 3]`` (m), unit normals ``[c, 3]`` as the cells are wound, and areas ``[c]`` (m^2), all float64.

    Normal and area come from the vector area (Newell), the exact integral of the normal over any surface spanned by
    the rim. Zero-area cells have a zero normal; cells that are no faces have no area.
    """
    size, nodes = as_polygons(cells_of(mesh))
    centers, vectors = polygon_geometry(np.asarray(mesh.points, dtype=np.float64), size, nodes)
    areas = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return centers, vectors / np.where(areas > 0, areas, np.inf)[:, None], areas


def outward_geometry(mesh: Mesh, *, label: str = "surface") -> tuple[Array, Array, Array]:
    """As :func:`cell_geometry`, with the normals turned out of the body (:func:`meshops.data.orientation.orient`).

    Cells that are the same face share its area.
    """
    return oriented_geometry(mesh, label=label)[:3]


def oriented_geometry(mesh: Mesh, *, label: str = "surface") -> Geometry:
    """As :func:`outward_geometry`, and what was found about the orientation."""
    centers, normals, areas = cell_geometry(mesh)
    found = orient(mesh, label=label)
    return centers, normals * found.sign[:, None], areas * found.share, found


def volume_geometry(mesh: Mesh, *, label: str = "mesh") -> tuple[Array, Array]:
    """Centroids ``[c, 3]`` (m) and volumes ``[c]`` (m^3) of volume cells, from pyramids over their faces.

    The faces of a polyhedron need not be wound consistently: its pyramids count by magnitude, which is exact for
    cells that are star-shaped about the mean of their points. Cells of lower dimension have volume 0.
    """
    cells = cells_of(mesh)
    points = np.asarray(mesh.points, dtype=np.float64)
    count = cells.size.size
    owner, size, nodes = cell_faces(cells, label)
    middle = segment_sum(points[cells.nodes], cells.owner, count) / np.maximum(cells.size, 1)[:, None]
    face_centers, vectors = polygon_geometry(points, size, nodes)
    pyramids = np.einsum("ij,ij->i", face_centers - middle[owner], vectors) / 3.0
    pyramids = np.where(cells.num_faces[owner] > 0, np.abs(pyramids), pyramids)
    volumes = np.bincount(owner, weights=pyramids, minlength=count)
    moments = segment_sum(pyramids[:, None] * 0.75 * (face_centers - middle[owner]), owner, count)
    centers = middle + moments / np.where(volumes != 0, volumes, np.inf)[:, None]
    return centers, np.abs(volumes)


def refine(mesh: pv.PolyData, max_edge: float) -> tuple[pv.PolyData, Array]:
    """Split a surface into triangles until no edge is longer than ``max_edge``.

    Edges are halved, each once for all triangles that share it, so the result is conforming. Quads are cut along
    their shorter diagonal first, polygons into triangles around their centroid.

    Args:
        mesh: Surface of triangles, quads or polygons.
        max_edge: Longest edge allowed, m.

    Returns:
        Triangles and, for each, the id of the cell of ``mesh`` it lies in.

    Raises:
        InputError: ``max_edge`` is not positive, or the result would take more memory or time than there is.
    """
    if not max_edge > 0:
        raise InputError(f"max_edge must be positive (metres), got {max_edge}")
    points, triangles, parent = _triangulate(mesh)
    most = min(MOST_TRIANGLES, int(available_memory() / (2 * BYTES_PER_TRIANGLE)))
    # Halving leaves edges between a half and the whole of the longest: about 4 triangles in a square of that side.
    estimate = 4 * float(_areas(points, triangles).sum()) / max_edge**2
    while True:
        if max(estimate, len(triangles)) > most:
            raise InputError(
                f"splitting the surface to edges of {max_edge:g} m would give about "
                f"{max(estimate, len(triangles)):.1e} triangles; memory and time allow {most:.1e}. "
                "Predict on the cells as they are (--no-refine), or choose longer edges"
            )
        marked, middle, points = _halve(points, triangles, max_edge)
        if not marked.any():
            break
        triangles, source = _split_triangles(points, triangles, middle)
        parent = parent[source]
    kind = np.full(parent.size, 5)
    return mesh_of(points, make_cells(np.full(parent.size, 3), triangles.reshape(-1), kind)), parent


def average_to_parents(values: Array, areas: Array, parents: Array, num_parents: int) -> Array:
    """Area-weighted mean of the parts of each parent: ``[m] -> [num_parents]`` or ``[m, k] -> [num_parents, k]``.

    Raises:
        InputError: A parent has no part with an area.
    """
    total = np.bincount(parents, weights=areas, minlength=num_parents)
    if not bool((total > 0).all()):
        first = int(np.argmin(total > 0))
        raise InputError(f"cell {first} has no refined part with an area; drop zero-area cells first")
    weighted = values * (areas if values.ndim == 1 else areas[:, None])
    sums = segment_sum(weighted, parents, num_parents)
    return sums / (total if values.ndim == 1 else total[:, None])


def _triangulate(mesh: pv.PolyData) -> tuple[Array, Array, Array]:
    """Points (with the centroids of polygons added), triangles ``[t, 3]`` and the cell of each."""
    size, nodes = as_polygons(cells_of(mesh))
    points = np.asarray(mesh.points, dtype=np.float64)
    start = running_sum(size)[:-1]
    three, four, many = (np.flatnonzero(which) for which in (size == 3, size == 4, size > 4))
    quads = nodes[start[four][:, None] + np.arange(4)]
    diagonals = [np.linalg.norm(points[quads[:, i + 2]] - points[quads[:, i]], axis=1) for i in (0, 1)]
    quads = np.where((diagonals[0] <= diagonals[1])[:, None], quads, np.roll(quads, -1, axis=1))
    centers, _ = polygon_geometry(points, size, nodes)
    owner = np.repeat(np.arange(size.size), size)
    rim = np.flatnonzero(size[owner] > 4)
    center_id = np.zeros(size.size, dtype=np.int64)
    center_id[many] = points.shape[0] + np.arange(many.size)
    fans = np.stack([center_id[owner[rim]], nodes[rim], nodes[next_entry(size)[rim]]], axis=1)
    triangles = [nodes[start[three][:, None] + np.arange(3)], quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], fans]
    parent = np.concatenate([three, four, four, owner[rim]])
    order = np.argsort(parent, kind="stable")
    return np.concatenate([points, centers[many]]), np.concatenate(triangles)[order], parent[order]


def _areas(points: Array, triangles: Array) -> Array:
    a, b, c = (points[triangles[:, i]] for i in range(3))
    out: Array = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return out


def _halve(points: Array, triangles: Array, max_edge: float) -> tuple[Array, Array, Array]:
    """Midpoints of the edges that are too long: ``middle [t, 3]`` holds their ids, -1 where an edge stays."""
    ends = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2)
    length = np.linalg.norm(points[ends[..., 0]] - points[ends[..., 1]], axis=2)
    marked = length > max_edge
    low, high = ends.min(axis=2)[marked], ends.max(axis=2)[marked]
    keys, first, inverse = np.unique(low * points.shape[0] + high, return_index=True, return_inverse=True)
    middle = np.full(triangles.shape, -1, dtype=np.int64)
    middle[marked] = points.shape[0] + inverse
    added = 0.5 * (points[low[first]] + points[high[first]])
    return marked, middle, np.concatenate([points, added]) if keys.size else points


def _split_triangles(points: Array, triangles: Array, middle: Array) -> tuple[Array, Array]:
    """Triangles after their marked edges were halved, and the old triangle of each."""
    count = (middle >= 0).sum(axis=1)
    # Turn each triangle so that its marked edges come first: edge 0 if one is marked, edges 0 and 1 if two are.
    turn = np.zeros(count.size, dtype=np.int64)
    turn[count == 1] = (middle[count == 1] >= 0).argmax(axis=1)
    turn[count == 2] = ((middle[count == 2] < 0).argmax(axis=1) + 1) % 3
    columns = (np.arange(3) + turn[:, None]) % 3
    (a, b, c), (ab, bc, ca) = (np.take_along_axis(x, columns, axis=1).T for x in (triangles, middle))
    parts: list[tuple[Array, tuple[Array, Array, Array]]] = [(count == 0, (a, b, c))]
    parts += [(count == 1, part) for part in ((a, ab, c), (ab, b, c))]
    ids = np.where(count == 2, ab, 0), np.where(count == 2, bc, 0)
    short = np.linalg.norm(points[a] - points[ids[1]], axis=1) <= np.linalg.norm(points[c] - points[ids[0]], axis=1)
    parts += [(count == 2, (ab, b, bc))]
    parts += [((count == 2) & short, part) for part in ((a, ab, bc), (a, bc, c))]
    parts += [((count == 2) & ~short, part) for part in ((a, ab, c), (ab, bc, c))]
    parts += [(count == 3, part) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    source = np.concatenate([np.flatnonzero(which) for which, _ in parts])
    out = np.concatenate([np.stack(part, axis=1)[which] for which, part in parts])
    order = np.argsort(source, kind="stable")
    return out[order], source[order]
