"""The body in a volume mesh: outer faces that are no outer wall of the domain.

Outer walls are the faces on the convex hull of the domain: boxes turned or not, O-grids, C-grids, spheres. What is left
falls into connected sheets. A sheet is a body when it bulges into the fluid and touches at most three outer walls (it
floats, or stands on the ground, or spans the tunnel); one that touches more may be a wall that is not convex, such as
a curved roof. Where that is all there is, the user is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyvista as pv
from scipy.spatial import ConvexHull, KDTree, QhullError

from meshops.data.cells import Array, Mesh, as_polygons, cell_faces, cells_of, make_cells, mesh_of, segment_sum
from meshops.data.orientation import find_edges, spread
from meshops.data.polygons import next_entry, outer_faces, polygon_geometry, reverse_rims
from meshops.errors import InputError, warn

LARGE_PLANES, NEAR_FACETS = 64, 12
MOST_WALLS = 3  # outer walls that a body may touch: a bump between two side walls touches the ground too
CONVEX = 0.05  # net over gross flux above which a sheet bulges out of the domain

ASK = (
    "give the faces of the body with --region: the patches of an OpenFOAM case or the groups or markers of a .msh or "
    ".su2 mesh beside the volume ('internal,car'), or predict on the surface of the body itself"
)


@dataclass(frozen=True)
class Faces:
    """Outer faces of a volume: rims seen from inside out of the fluid, the cell of each, centers and vector areas."""

    size: Array
    nodes: Array
    owner: Array
    center: Array
    vector: Array

    def take(self, keep: Array) -> Faces:
        """The faces where ``keep`` is True."""
        nodes = self.nodes[np.repeat(keep, self.size)]
        return Faces(self.size[keep], nodes, self.owner[keep], self.center[keep], self.vector[keep])


@dataclass(frozen=True)
class Hull:
    """Convex hull of the domain.

    Attributes:
        planes: ``[p, 4]`` the largest planes: unit normal out of the domain, offset.
        facets, facet_tree: Planes of all facets, and a tree of their centers.
        slack: Distance that still counts as on the hull.
    """

    planes: Array
    facets: Array
    facet_tree: KDTree
    slack: float

    def depth(self, points: Array) -> tuple[Array, Array]:
        """Distance of points to the hull, and the normal of the plane there."""
        best = np.full(len(points), np.inf)
        normal = np.zeros((len(points), 3))
        for plane in self.planes:
            _nearer(best, normal, -(points @ plane[:3] + plane[3]), plane[:3])
        _, near = self.facet_tree.query(points, k=min(NEAR_FACETS, len(self.facets)))
        for column in np.asarray(near).reshape(len(points), -1).T:
            planes = self.facets[column]
            _nearer(best, normal, -(np.einsum("ij,ij->i", points, planes[:, :3]) + planes[:, 3]), planes[:, :3])
        return best, normal


def _nearer(best: Array, normal: Array, depth: Array, of: Array) -> None:
    closer = depth < best
    best[closer] = depth[closer]
    normal[closer] = np.broadcast_to(of, normal.shape)[closer]


def extract_body(
    mesh: pv.UnstructuredGrid,
    *,
    label: str = "mesh",
    tolerance: float = 1e-6,
    walls: Mesh | None = None,
    chosen: Mesh | None = None,
) -> pv.PolyData:
    """Cut the body out of a volume mesh: outer faces that are no outer wall of the domain.

    Normals point out of the body, into the fluid. Cell arrays come from the cells next to the body, point arrays from
    the points.

    Args:
        mesh: Volume mesh.
        label: How messages call it.
        tolerance: Distance from the hull of the domain that still counts as on it, relative to its diagonal.
        walls: Faces that the file calls walls: only they can be the body.
        chosen: Faces that the user named: they are the body.

    Raises:
        InputError: No volume cells, no body inside, or it cannot be told from the outer walls (says how to name it).

    Warns:
        DataWarning: The domain is not a box along the axes, or faces that are no flat outer wall were left out.
    """
    points = np.asarray(mesh.points, dtype=np.float64)
    faces = _outer(mesh, points, label)
    if chosen is not None:
        keep = _among(faces, chosen)
        if not keep.any():
            raise InputError(f"{label}: the chosen faces are no outer faces of the volume; choose boundary patches")
    else:
        allowed = np.ones(faces.size.size, dtype=bool) if walls is None else _among(faces, walls)
        keep = _guess(points, faces, allowed, tolerance, label)
    return _surface(mesh, faces.take(keep))


def body_parts(mesh: pv.UnstructuredGrid, walls: Mesh, *, label: str = "mesh") -> tuple[int, ...]:
    """Which parts of the walls of a volume are its body.

    Args:
        mesh: Volume mesh.
        walls: With the cell array ``part``.
        label: How messages call the mesh.

    Raises:
        InputError: There is no body, it cannot be told from the outer walls, or one part is both.
    """
    body = extract_body(mesh, label=label, walls=walls)
    size, nodes = as_polygons(cells_of(walls))
    center, vector = polygon_geometry(np.asarray(walls.points, dtype=np.float64), size, nodes)
    inside = _among(Faces(size, nodes, nodes, center, vector), body)
    part = np.asarray(walls.cell_data["part"])
    found = np.unique(part[inside])
    if np.isin(part[~inside], found).any():
        raise InputError(
            f"{label}: one patch of type wall holds the body and outer walls; split it (topoSet, createPatch), or give "
            "the surface of the body itself"
        )
    return tuple(int(i) for i in found)


def _outer(mesh: pv.UnstructuredGrid, points: Array, label: str) -> Faces:
    """Outer faces, turned out of the fluid."""
    cells = cells_of(mesh)
    owner, size, nodes = cell_faces(cells, label)
    if owner.size == 0:
        raise InputError(f"{label}: holds no volume cells; a body can only be cut out of a volume mesh")
    keep = outer_faces(size, nodes)
    nodes, owner, size = nodes[np.repeat(keep, size)], owner[keep], size[keep]
    center, vector = polygon_geometry(points, size, nodes)
    cell_points = segment_sum(points[cells.nodes], cells.owner, cells.size.size) / np.maximum(cells.size, 1)[:, None]
    out = np.einsum("ij,ij->i", center - cell_points[owner], vector)
    # A concave cell may see one of its faces from behind: let the connected faces decide together.
    component, sign, _ = spread(find_edges(size, nodes), size.size)
    sign = np.where(np.bincount(component, weights=sign * out)[component] > 0, sign, -sign)
    return Faces(size, reverse_rims(size, nodes, sign < 0), owner, center, vector * sign[:, None])


def _guess(points: Array, faces: Faces, allowed: Array, tolerance: float, label: str) -> Array:
    """``[f]`` which outer faces are the body."""
    hull = _hull(points, faces, tolerance)
    corner_depth = np.zeros(len(points))
    used = np.unique(faces.nodes)
    corner_depth[used] = hull.depth(points[used])[0]
    outside = _on_hull(faces, hull, corner_depth)
    candidates = allowed & ~outside
    if not candidates.any():
        raise InputError(
            f"{label}: all outer faces lie on the bounding box or a convex outer wall, so there is no body inside; "
            "give the surface mesh of the body itself"
        )
    sure, doubtful = _sheets(points, faces.take(candidates), hull, corner_depth)
    if not sure.any():
        raise InputError(
            f"{label}: the body cannot be told from the outer walls ({int(candidates.sum())} faces are on no flat or "
            f"convex outer wall); {ASK}"
        )
    keep = np.zeros(faces.size.size, dtype=bool)
    keep[np.flatnonzero(candidates)[sure]] = True
    _say(points, faces, outside, keep, candidates, doubtful, hull, label)
    return keep


def _say(
    points: Array, faces: Faces, outside: Array, keep: Array, candidates: Array, doubtful: Array, hull: Hull, label: str
) -> None:
    left = int((candidates & ~keep).sum())
    flat = _on_box(points, faces.take(outside), hull.slack)
    if left:
        warn(
            f"{label}: {int(keep.sum())} outer faces were taken for the body, {left} for outer walls that are not flat "
            f"or convex; if that is wrong, {ASK}"
        )
    elif doubtful.any() or not flat:
        warn(
            f"{label}: the domain is no box along the axes; the {int(keep.sum())} faces that are on no flat or convex "
            f"outer wall were taken for the body; if that is wrong, {ASK}"
        )


def _on_box(points: Array, faces: Faces, slack: float) -> bool:
    """Whether each face lies on a plane of the bounding box of them all."""
    corners = points[faces.nodes]
    low, high = corners.min(axis=0), corners.max(axis=0)
    start = np.cumsum(faces.size) - faces.size
    below = np.maximum.reduceat(corners, start, axis=0) <= low + slack
    above = np.minimum.reduceat(corners, start, axis=0) >= high - slack
    return bool((below | above).any(axis=1).all())


def _hull(points: Array, faces: Faces, tolerance: float) -> Hull:
    used = points[np.unique(faces.nodes)]
    low, high = used.min(axis=0), used.max(axis=0)
    slack = tolerance * float(np.linalg.norm(high - low))
    try:
        hull = ConvexHull(used - low)
    except (QhullError, ValueError):  # flat to rounding: its bounding box
        box = np.concatenate([np.c_[np.eye(3), -high], np.c_[-np.eye(3), low]])
        return Hull(box, box, KDTree(np.tile((low + high) / 2, (6, 1))), slack)
    equations = hull.equations.copy()
    equations[:, 3] -= equations[:, :3] @ low
    corners = used[hull.simplices]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    size = np.abs(high - low).max()
    key = np.round(np.c_[equations[:, :3], (equations[:, 3] + equations[:, :3] @ low) / size], 6)
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    total = np.bincount(group.reshape(-1), weights=area)
    largest = np.argsort(-total, kind="stable")[:LARGE_PLANES]
    return Hull(equations[first[largest]], equations, KDTree(corners.mean(axis=1)), slack)


def _on_hull(faces: Faces, hull: Hull, corner_depth: Array) -> Array:
    """``[f]``: faces with all corners on the hull that follow it: not those between two outer walls."""
    start = np.cumsum(faces.size) - faces.size
    corners = np.maximum.reduceat(corner_depth[faces.nodes], start) <= hull.slack
    depth, normal = hull.depth(faces.center)
    area = np.linalg.norm(faces.vector, axis=1)
    along = np.einsum("ij,ij->i", faces.vector, normal) > 0.5 * area
    out: Array = corners & along & (depth <= 0.1 * np.sqrt(area) + hull.slack)
    return out


def _sheets(points: Array, faces: Faces, hull: Hull, corner_depth: Array) -> tuple[Array, Array]:
    """Which of the faces belong to bodies for sure, and which may as well be outer walls."""
    component, _, _ = spread(find_edges(faces.size, faces.nodes), faces.size.size)
    count = int(component.max()) + 1
    area = np.linalg.norm(faces.vector, axis=1)
    total = np.bincount(component, weights=area, minlength=count)
    middle = segment_sum(faces.center * area[:, None], component, count) / np.where(total > 0, total, 1)[:, None]
    arm = faces.center - middle[component]
    net = np.bincount(component, weights=np.einsum("ij,ij->i", arm, faces.vector), minlength=count)
    gross = np.bincount(component, weights=np.linalg.norm(arm, axis=1) * area, minlength=count)
    bulges_out = net > CONVEX * gross
    touched = _walls_touched(points, faces, component, count, hull, corner_depth)
    doubtful = ~bulges_out & (touched > MOST_WALLS)
    sure = ~bulges_out & ~doubtful
    return sure[component], (doubtful | (touched == MOST_WALLS))[component]


def _walls_touched(points: Array, faces: Faces, component: Array, count: int, hull: Hull, corner_depth: Array) -> Array:
    """Number of planes of the hull that the rim of each sheet touches along a line."""
    start, stop = faces.nodes, faces.nodes[next_entry(faces.size)]
    owner = np.repeat(component, faces.size)
    key = np.minimum(start, stop) * (int(faces.nodes.max()) + 1) + np.maximum(start, stop)
    _, back, times = np.unique(key, return_inverse=True, return_counts=True)
    rim = (times[back.reshape(-1)] == 1) & (corner_depth[start] <= hull.slack) & (corner_depth[stop] <= hull.slack)
    out = np.zeros(count, dtype=np.int64)
    for plane in hull.planes:
        on = [np.abs(points[ends[rim]] @ plane[:3] + plane[3]) <= hull.slack for ends in (start, stop)]
        out[np.unique(owner[rim][on[0] & on[1]])] += 1
    return out


def _among(faces: Faces, wanted: Mesh) -> Array:
    """``[f]``: outer faces with the same center as one of a surface."""
    size, nodes = as_polygons(cells_of(wanted))
    center, _ = polygon_geometry(np.asarray(wanted.points, dtype=np.float64), size, nodes)
    distance, _ = KDTree(center[size > 0]).query(faces.center)
    out: Array = distance <= 1e-6 * np.sqrt(np.linalg.norm(faces.vector, axis=1))
    return out


def _surface(mesh: pv.UnstructuredGrid, faces: Faces) -> pv.PolyData:
    """Faces as a mesh with normals out of the body and the arrays of cells and points."""
    nodes = reverse_rims(faces.size, faces.nodes, np.ones(faces.size.size, dtype=bool))
    used, nodes = np.unique(nodes, return_inverse=True)
    kind = np.where(faces.size == 3, 5, np.where(faces.size == 4, 9, 7))
    body = mesh_of(np.asarray(mesh.points)[used], make_cells(faces.size, nodes.reshape(-1), kind))
    for name in mesh.cell_data:
        body.cell_data[name] = np.asarray(mesh.cell_data[name])[faces.owner]
    for name in mesh.point_data:
        body.point_data[name] = np.asarray(mesh.point_data[name])[used]
    return body
