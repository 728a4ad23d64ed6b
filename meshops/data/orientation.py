"""Which way a surface faces: consistent winding across shared edges, normals out of the body.

Two faces that share an edge agree when they run along it in opposite directions. That relation is spread over each
connected component by splitting every face into a kept and a flipped copy and joining the copies that agree: the
connected components of this doubled graph are the consistent orientations. How the file winds most of a component is
kept, unless the volume it encloses says that it faces inward as a whole. Whatever is turned is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from meshops.data.cells import Array, Mesh, as_polygons, cells_of, gather_ranges, running_sum, segment_sum
from meshops.data.doubled_faces import Doubled, find_doubled
from meshops.data.nesting import ClosedParts, wound_inward
from meshops.data.polygons import next_entry, polygon_geometry
from meshops.errors import warn

# An open part whose volume, holes closed in thought, is below this times its area^1.5 is too flat to have an inside.
FLAT = 3e-3
# A closed part below this has none for sure.
ROUNDING = 1e-9
# Open parts together: net over gross flux through them from their centroid that leaves no doubt.
CLEAR = 0.2


@dataclass(frozen=True)
class Edges:
    """Edges of a polygon mesh.

    Attributes:
        pairs: ``[e, 2]`` the two cells of each manifold edge.
        same: ``[e]`` True where both run along the edge in the same direction, so that one must be flipped.
        free: ``[f]`` cell of each edge that belongs to one cell only.
        num_branching: Number of edges shared by more than two cells.
        rim: ``[r, 3]`` cell, start and end of every edge of a cell that is not one of ``pairs``.
    """

    pairs: Array
    same: Array
    free: Array
    num_branching: int
    rim: Array


@dataclass(frozen=True)
class Orientation:
    """Which way the cells of a surface face.

    Attributes:
        sign: ``[c]`` +1 or -1: factor that turns the normal of each cell out of the body.
        share: ``[c]`` part of the area that counts: 1 over the number of cells that are the same face.
        remarks: What was turned, kept or found twice, a sentence each.
    """

    sign: Array
    share: Array
    remarks: tuple[str, ...] = ()


def orient_outward(mesh: Mesh, *, label: str = "surface") -> Array:
    """``[c]`` +1 or -1: factor that turns the normal of each cell out of the body, see :func:`orient`."""
    return orient(mesh, label=label).sign


def orient(mesh: Mesh, *, label: str = "surface") -> Orientation:
    """Find which way the cells of a surface face.

    Winding that is consistent is trusted. Closed parts that lie in no other and enclose a negative volume are turned,
    with all that lies in them; cavities stay. Open parts are turned when the volume with their holes closed in thought
    (of several: the flux from their centroid) says that they face inward. A surface in one plane keeps its majority.
    Cells that are one face face the same way and share its area.

    Args:
        mesh: Surface of triangles, quads or polygons; other cells get +1.
        label: How warnings call it.

    Warns:
        DataWarning: The surface is open, has edges shared by more than two cells, or cannot be oriented.
    """
    size, nodes = as_polygons(cells_of(mesh))
    points = np.asarray(mesh.points, dtype=np.float64)
    ids = merge_points(points)[nodes]
    doubled = find_doubled(size, ids)
    index = np.flatnonzero((doubled.first == np.arange(size.size)) & (size > 2) & ~doubled.plate)
    entries = gather_ranges(running_sum(size)[:-1][index], size[index])
    surface = _Surface(points, size[index], nodes[entries], ids[entries])
    sign = np.ones(size.size, dtype=np.int8)
    sign[index] = surface.outward()
    sign = np.where(doubled.against, -sign[doubled.first], sign[doubled.first]).astype(np.int8)
    # Both sides of a plate are as the file winds them, as the bodies around are.
    sign[doubled.plate] = -1 if 2 * float(surface.area[sign[index] < 0].sum()) > float(surface.area.sum()) else 1
    sign[size <= 2] = 1
    problems = surface.problems()
    if problems:
        warn(f"{label}: " + "; ".join(problems))
    return Orientation(sign, doubled.share, tuple(_remarks(sign, doubled, surface)))


def copied_faces(mesh: Mesh) -> Array | None:
    """``[c]`` for each cell the first cell that is the same face; None where every face is there once."""
    size, nodes = as_polygons(cells_of(mesh))
    doubled = find_doubled(size, merge_points(np.asarray(mesh.points, dtype=np.float64))[nodes])
    return doubled.first if doubled.num_faces else None


def _remarks(sign: Array, doubled: Doubled, surface: _Surface) -> list[str]:
    out = []
    turned = int((sign < 0).sum())
    if turned:
        out.append(f"{turned} of {sign.size} normals were turned to point out of the body")
    if surface.num_cavity:
        out.append(f"{surface.num_cavity} cells face into a body they lie in and were kept as walls of a cavity")
    if doubled.num_faces:
        cells = int((doubled.share < 1).sum())
        out.append(f"{doubled.num_faces} faces are there more than once ({cells} cells): each counts once")
    return out


class _Surface:
    """Polygons without copies, on their way to a consistent orientation."""

    def __init__(self, points: Array, size: Array, nodes: Array, ids: Array) -> None:
        self.points, self.size, self.nodes = points, size, nodes
        self.centers, self.vectors = polygon_geometry(points, size, nodes)
        self.area = np.linalg.norm(self.vectors, axis=1)
        self.edges = find_edges(size, ids)
        self.component, self.sign, self.num_one_sided = spread(self.edges, size.size)
        self.count = int(self.component.max()) + 1 if size.size else 0
        against = np.bincount(self.component, weights=self.area * self.sign, minlength=self.count) < 0
        self.sign = np.where(against[self.component], -self.sign, self.sign)
        self.open = np.zeros(self.count, dtype=bool)
        self.open[self.component[self.edges.rim[:, 0]]] = True
        self.num_cavity = 0
        self.place = np.zeros(int(ids.max()) + 1 if ids.size else 0, dtype=np.int64)
        self.place[ids] = nodes  # a point of each id
        self.doubtful = 0

    def outward(self) -> Array:
        """``[c]`` sign of each cell."""
        if self.count == 0:
            return self.sign
        volume = self._volumes()
        turn = np.zeros(self.count, dtype=bool)
        closed = ~self.open
        total = np.bincount(self.component, weights=self.area, minlength=self.count)
        volume = np.where(closed & (np.abs(volume) <= ROUNDING * total**1.5), 0.0, volume)
        if (closed & (volume < 0)).any():
            parts = ClosedParts(self.points, self.size, self.nodes, self.component, self.count)
            turn, cavity = wound_inward(parts, volume, closed)
            self.num_cavity = int(cavity[self.component].sum())
        turn |= self.open & self._open_inward(volume)
        return np.where(turn[self.component], -self.sign, self.sign)

    def _volumes(self) -> Array:
        """``[p]`` volume each component encloses as it is wound, holes closed by fans around their middles."""
        vectors = self.vectors * self.sign[:, None]
        total = np.bincount(self.component, weights=self.area, minlength=self.count)
        middle = segment_sum(self.centers * self.area[:, None], self.component, self.count)
        middle /= np.where(total > 0, total, np.inf)[:, None]
        flux = np.einsum("ij,ij->i", self.centers - middle[self.component], vectors)
        volume = np.bincount(self.component, weights=flux, minlength=self.count)
        rim = self.edges.rim
        if rim.size:
            owner = self.component[rim[:, 0]]
            start, stop = (self.points[self.place[rim[:, i]]] - middle[owner] for i in (1, 2))
            hub = _hubs(owner, rim, start)
            fan = np.einsum("ij,ij->i", hub, np.cross(stop, start)) / 2  # six times the volume of a tetrahedron, thrice
            volume += np.bincount(owner, weights=fan * self.sign[rim[:, 0]], minlength=self.count)
        return volume / 3.0

    def _open_inward(self, volume: Array) -> Array:
        """``[p]`` open components that face inward."""
        total = np.bincount(self.component, weights=self.area, minlength=self.count)
        flat = np.abs(volume) <= FLAT * total**1.5
        by_volume = ~flat & (volume < 0)
        which = self.open[self.component]
        if int(self.open.sum()) < 2:
            return by_volume
        area = np.where(which, self.area, 0.0)
        whole = (self.centers * area[:, None]).sum(axis=0) / max(float(area.sum()), np.finfo(float).tiny)
        arm = self.centers - whole
        net = np.einsum("ij,ij->i", arm, self.vectors) * self.sign
        gross = np.linalg.norm(arm, axis=1) * self.area
        share = float(net[which].sum()) / max(float(gross[which].sum()), np.finfo(float).tiny)
        far, far_gross = (np.bincount(self.component, weights=x, minlength=self.count) for x in (net, gross))
        single = np.where(flat, far < -1e-6 * far_gross, by_volume)
        if abs(share) > CLEAR:
            self.doubtful = int((single[self.open] != (share < 0)).sum())
            return np.full(self.count, share < 0)
        return single

    def problems(self) -> list[str]:
        """What a user should know before relying on forces."""
        out = []
        num_open = int(np.unique(self.component[self.edges.free]).size)
        if num_open and not _is_flat(self.points[self.nodes]):
            doubt = f", {self.doubtful} of them against their own shape" if self.doubtful else ""
            out.append(
                f"the surface is open ({self.edges.free.size} free edges in {num_open} parts): normals were taken as "
                f"wound or turned by the volume behind them{doubt}; close it if forces matter"
            )
        if self.edges.num_branching:
            out.append(
                f"{self.edges.num_branching} edges are shared by more than two cells and were ignored for orientation"
            )
        if self.num_one_sided:
            out.append(
                f"{self.num_one_sided} parts are one-sided (like a Moebius strip), their normals cannot all agree"
            )
        return out


def _hubs(owner: Array, rim: Array, start: Array) -> Array:
    """``[r, 3]`` middle of the hole each edge of a rim belongs to."""
    width = int(rim[:, 1:].max()) + 1
    ends = np.stack([owner * width + rim[:, 1], owner * width + rim[:, 2]])
    names, ends = np.unique(ends, return_inverse=True)
    ends = ends.reshape(2, -1)
    hole = connected_components(_graph(ends[0], ends[1], names.size), directed=False)[1][ends[0]]
    sums = segment_sum(start, hole, int(hole.max()) + 1)
    out: Array = (sums / np.maximum(np.bincount(hole), 1)[:, None])[hole]
    return out


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
    paired = np.zeros(key.size, dtype=bool)
    paired[a] = paired[b] = True
    return Edges(
        pairs=np.stack([owner[a], owner[b]], axis=1),
        same=start[a] == start[b],
        free=owner[order[first[count == 1]]],
        num_branching=int((count > 2).sum()),
        rim=np.stack([owner, start, stop], axis=1)[~paired],
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


def _is_flat(points: Array) -> bool:
    if points.shape[0] == 0:
        return True
    extent = points.max(axis=0) - points.min(axis=0)
    return bool(extent.min() <= 1e-9 * extent.max())
