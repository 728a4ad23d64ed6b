"""Which way a surface faces: consistent winding across shared edges, normals out of the body.

Two faces that share an edge agree when they run along it in opposite directions. That relation is spread over each
connected component by splitting every face into a kept and a flipped copy and joining the copies that agree: the
connected components of this doubled graph are the consistent orientations. The sign of the enclosed volume then
tells inside from outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from meshops.data.cells import Array, Mesh, as_polygons, cells_of, segment_sum
from meshops.data.polygons import next_entry, polygon_geometry
from meshops.errors import warn

# Below this ratio of net to gross flux a patch is too flat for its own centroid to tell inside from outside.
FLAT = 0.05


@dataclass(frozen=True)
class Edges:
    """Edges of a polygon mesh.

    Attributes:
        pairs: ``[e, 2]`` the two cells of each manifold edge.
        same: ``[e]`` True where both run along the edge in the same direction, so that one must be flipped.
        free: ``[f]`` cell of each edge that belongs to one cell only.
        num_branching: Number of edges shared by more than two cells.
    """

    pairs: Array
    same: Array
    free: Array
    num_branching: int


def orient_outward(mesh: Mesh, *, label: str = "surface") -> Array:
    """``[c]`` +1 or -1: factor that turns the normal of each cell out of the body.

    Closed components are turned by the sign of the volume they enclose, each as a body of its own. Open ones are
    turned so that most of their area faces away from their centroid; a patch too flat for that, away from the centroid
    of the whole surface. A surface in one plane keeps its majority direction.

    Args:
        mesh: Surface of triangles, quads or polygons; other cells get +1.
        label: How warnings call it.

    Warns:
        DataWarning: The surface is open, has edges shared by more than two cells, or cannot be oriented.
    """
    size, nodes = as_polygons(cells_of(mesh))
    points = np.asarray(mesh.points, dtype=np.float64)
    centers, vectors = polygon_geometry(points, size, nodes)
    edges = find_edges(size, merge_points(points)[nodes])
    component, sign, num_one_sided = spread(edges, size.size)
    count = int(component.max()) + 1 if component.size else 0
    is_open = np.zeros(count, dtype=bool)
    is_open[component[edges.free]] = True
    faces = size > 2
    flat = _is_flat(points[nodes])
    sign = sign * _outward(centers, vectors * sign[:, None], component, count, is_open)
    _report(edges, num_one_sided, int(is_open[np.unique(component[faces])].sum()), flat, label)
    return np.where(faces, sign, 1).astype(np.int8)


def merge_points(points: Array) -> Array:
    """``[m]``: for each point the id shared by all points at exactly the same place."""
    order = np.lexsort(points.T)
    ordered = points[order]
    new = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)] if order.size else np.zeros(0, dtype=bool)
    out = np.empty(order.size, dtype=np.int64)
    out[order] = np.cumsum(new) - 1
    return out


def find_edges(size: Array, nodes: Array) -> Edges:
    """Sort the edges of polygons by how many cells share them; edges of no length are left out."""
    owner = np.repeat(np.arange(size.size), size)
    start, stop = nodes, nodes[next_entry(size)]
    real = (start != stop) & (size[owner] > 2)
    start, stop, owner = start[real], stop[real], owner[real]
    key = np.minimum(start, stop) * (int(nodes.max()) + 1 if nodes.size else 1) + np.maximum(start, stop)
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0]) if key.size else np.zeros(0, dtype=np.int64)
    count = np.diff(np.r_[first, key.size])
    two = first[count == 2]
    a, b = order[two], order[two + 1]
    return Edges(
        pairs=np.stack([owner[a], owner[b]], axis=1),
        same=start[a] == start[b],
        free=owner[order[first[count == 1]]],
        num_branching=int((count > 2).sum()),
    )


def spread(edges: Edges, num_cells: int) -> tuple[Array, Array, int]:
    """Orient each connected component consistently.

    Returns:
        Component of each cell, the sign (+1, -1) that makes its component consistent, and the number of one-sided
        components; those are cut open along as few edges as a spanning tree allows.
    """
    pairs, same = edges.pairs, edges.same
    _, component = connected_components(_graph(pairs[:, 0], pairs[:, 1], num_cells), directed=False)
    sign, clash = _doubled(pairs, same, num_cells)
    if not clash.any():
        return component, sign, 0
    bad = np.zeros(num_cells, dtype=bool)
    bad[clash] = True
    weight = coo_matrix((1.0 + same, (pairs[:, 0], pairs[:, 1])), shape=(num_cells, num_cells)).tocsr()
    weight.data = np.minimum(weight.data, 2.0)
    tree = minimum_spanning_tree(weight).tocoo()
    tree_sign, _ = _doubled(np.stack([tree.row, tree.col], axis=1), tree.data > 1.5, num_cells)
    return component, np.where(bad, tree_sign, sign), int(np.unique(component[bad]).size)


def _doubled(pairs: Array, same: Array, count: int) -> tuple[Array, Array]:
    """Sign of each cell from the doubled graph, and the cells whose two copies are joined (one-sided)."""
    a, b = pairs[:, 0], pairs[:, 1]
    shift = np.where(same, count, 0)
    rows = np.concatenate([a, a + count])
    columns = np.concatenate([b + shift, b + count - shift])
    _, copy = connected_components(_graph(rows, columns, 2 * count), directed=False)
    kept, flipped = copy[:count], copy[count:]
    # The copy with the smaller label was met first: it holds the first cell of the component unflipped.
    return np.where(kept <= flipped, 1, -1), np.flatnonzero(kept == flipped)


def _graph(rows: Array, columns: Array, count: int) -> coo_matrix:
    return coo_matrix((np.ones(rows.size, dtype=np.int8), (rows, columns)), shape=(count, count)).tocsr()


def _outward(centers: Array, vectors: Array, component: Array, count: int, is_open: Array) -> Array:
    """``[c]`` sign of each cell's component: positive flux of (center - centroid) through it means outward."""
    areas = np.linalg.norm(vectors, axis=1)
    total = np.bincount(component, weights=areas, minlength=count)
    middle = segment_sum(centers * areas[:, None], component, count) / np.where(total > 0, total, np.inf)[:, None]
    flux, gross = _flux(centers - middle[component], vectors, component, count)
    # A single face has its centroid on itself: its flux is rounding.
    flat = is_open & ((np.abs(flux) <= FLAT * gross) | (gross <= 1e-3 * total**1.5))
    if flat.any():
        whole = (centers * areas[:, None]).sum(axis=0) / max(float(areas.sum()), np.finfo(float).tiny)
        far_flux, far_gross = _flux(centers - whole, vectors, component, count)
        flux = np.where(flat, np.where(np.abs(far_flux) > 1e-6 * far_gross, far_flux, 0.0), flux)
    return np.where(flux < 0, -1, 1)[component]


def _flux(arm: Array, vectors: Array, component: Array, count: int) -> tuple[Array, Array]:
    net = np.einsum("ij,ij->i", arm, vectors)
    gross = np.linalg.norm(arm, axis=1) * np.linalg.norm(vectors, axis=1)
    return segment_sum(net, component, count), segment_sum(gross, component, count)


def _is_flat(points: Array) -> bool:
    if points.shape[0] == 0:
        return True
    extent = points.max(axis=0) - points.min(axis=0)
    return bool(extent.min() <= 1e-9 * extent.max())


def _report(edges: Edges, num_one_sided: int, num_open: int, flat: bool, label: str) -> None:
    notes = []
    if num_open and not flat:
        notes.append(
            f"the surface is open ({edges.free.size} free edges in {num_open} parts): "
            "normals were turned away from the centroid; close it if forces matter"
        )
    if edges.num_branching:
        notes.append(f"{edges.num_branching} edges are shared by more than two cells and were ignored for orientation")
    if num_one_sided:
        notes.append(f"{num_one_sided} parts are one-sided (like a Moebius strip), their normals cannot all agree")
    if notes:
        warn(f"{label}: " + "; ".join(notes))
