"""Linear octree (quadtree in the plane, binary tree on a line): cells of at most ``capacity`` points, as sorted codes.

Only leaves that hold points are kept, in Morton order, without pointers (Gargantini 1982; Sundar, Sampath and Biros
2008). No loop over cells: with w_j the depth of the smallest cell that holds both the sorted points j and
j + capacity, every cell of that depth or less around both is too full, so the leaf of point i has depth

    1 + max(w_j for j = i - capacity .. i)

Departure: a node on the far face of the bounding cube belongs to the last cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.errors import InputError
from meshops.ops.checks import check_index, check_positions
from meshops.ops.curves import (
    MAX_DEPTH,
    cells_in_cube,
    check_depth,
    common_depth,
    curve_order,
    grid_positions,
    morton_decode,
    morton_encode,
    search_segments,
    shared_with_previous,
)
from meshops.partition.checks import checked_positions, graph_ptr, positions_of
from meshops.partition.partition import Hierarchy, Partition
from meshops.partition.registry import register_partitioner


class Octree(BaseTransform):  # type: ignore[misc]
    """Group the nodes of a graph, or of each graph of a batch, by the leaves of an octree over its bounding cube.

    A cell with more than ``capacity`` nodes is split into 2, 4 or 8, by the space dimension; empty cells are dropped.
    The order of the nodes does not matter. A graph without nodes has no leaves.

    Args:
        capacity: Largest number of nodes in a leaf. More are left together only at ``max_depth``, where nodes coincide
            or nearly so.
        max_depth: Largest depth of a leaf; None: as deep as codes of 63 bits go, 62, 31 or 21 in 1, 2 or 3 dimensions.
        min_depth: Smallest depth of a leaf.
        balance: Split leaves until those that share a face differ by at most one level, next to the deepest leaves
            first.

    Example:
        >>> graph = Octree(capacity=2)(MeshGraph(pos=torch.tensor([[0.0, 0.0], [0.1, 0.1], [0.3, 0.0], [1.0, 1.0]])))
        >>> Partition.of(graph).size.tolist(), graph.patch_level.tolist()
        ([2, 1, 1], [2, 2, 1])
    """

    def __init__(
        self, capacity: int = 32, *, max_depth: int | None = None, min_depth: int = 0, balance: bool = False
    ) -> None:
        if capacity < 1:
            raise InputError(f"capacity must be at least 1, got {capacity}")
        most = max(MAX_DEPTH.values()) if max_depth is None else max_depth
        if not 0 <= most <= max(MAX_DEPTH.values()):
            raise InputError(f"max_depth must be 0 to {max(MAX_DEPTH.values())}, got {max_depth}")
        if not 0 <= min_depth <= most:
            raise InputError(f"min_depth must be 0 to max_depth ({most}), got {min_depth}")
        self.capacity = capacity
        self.max_depth = max_depth
        self.min_depth = min_depth
        self.balance = balance

    def forward(self, data: Any) -> Any:
        """Store the leaves on (a shallow copy of) the graph; read them with ``Partition.of``."""
        ptr = graph_ptr(data)
        part = self.partition(positions_of(data), ptr)
        data = part.store(data)
        num_graphs = 1 if ptr is None else ptr.shape[0] - 1
        data.patch_count = torch.bincount(part.batch, minlength=num_graphs)  # the last graphs may have no leaves
        return data

    def partition(self, pos: Tensor, ptr: Tensor | None = None) -> Partition:
        """Leaves for positions ``[n, d]``; graph i of a batch owns rows ``ptr[i]:ptr[i + 1]``.

        Raises:
            InputError: Positions are not finite, not ``[n, d]`` or have more than three coordinates, or a depth does
                not fit their number.
        """
        return self.tree(pos, ptr).partition

    def hierarchy(self, pos: Tensor, ptr: Tensor | None = None) -> Hierarchy:
        """All levels of the tree, see :meth:`LinearOctree.hierarchy`."""
        return self.tree(pos, ptr).hierarchy()

    @torch.no_grad()
    def tree(self, pos: Tensor, ptr: Tensor | None = None) -> LinearOctree:
        """Leaves with their places in space; arguments and errors as for :meth:`partition`."""
        pos, ptr = checked_positions(pos, ptr)
        ptr, n, dim = ptr.to(pos.device), pos.shape[0], pos.shape[1]
        check_depth(0, dim)
        depth = MAX_DEPTH[dim] if self.max_depth is None else self.max_depth
        check_depth(max(depth, self.min_depth), dim)
        grid = grid_positions(pos, ptr, depth)
        code = morton_encode(grid.cells)
        order = curve_order(code, ptr)
        points = _Points.of(code[order], ptr, dim, depth)
        level = points.levels(self.capacity).clamp_(self.min_depth, depth)
        if self.balance:
            level = points.balanced(level)
        start = points.shared < level
        first = start.nonzero()[:, 0]
        leaf = start.cumsum(0).sub_(1)
        perm = torch.sort(leaf * n + order).values - leaf * n  # ascending within a leaf
        bounds = torch.cat([first, first.new_full((1,), n)])
        level = level[first].long()
        part = Partition.from_order(pos, perm, bounds, level=level, batch=points.graph[first])
        corner = _corner(points.code[first], level, dim, depth)
        return LinearOctree(part, pos, corner, grid.origin, grid.side, depth)

    def __repr__(self) -> str:
        return (
            f"Octree(capacity={self.capacity}, max_depth={self.max_depth}, min_depth={self.min_depth}, "
            f"balance={self.balance})"
        )


@register_partitioner("octree")
def octree(
    patch_size: int | None = None, *, num_patches: int | None = None, max_depth: int | None = None, min_depth: int = 0,
    balance: bool = False,
) -> Octree:  # fmt: skip
    """Leaves of at most ``patch_size`` nodes; other arguments as for :class:`Octree`.

    Raises:
        InputError: A number of patches is asked for.
    """
    if num_patches is not None or patch_size is None:
        raise InputError("an octree has as many leaves as it needs: give patch_size, the nodes of a leaf at most")
    return Octree(patch_size, max_depth=max_depth, min_depth=min_depth, balance=balance)


@dataclass(frozen=True, eq=False)
class LinearOctree:
    """Leaves of the octrees of a batch, graph after graph, each in Morton order.

    Attributes:
        partition: Nodes of each leaf; its ``level`` is the depth of the leaf.
        pos: ``[n, d]`` node positions, m.
        code: ``[p]`` int64 Morton code of the lower corner, of ``d * depth`` bits.
        origin: ``[b, d]`` float64 lower corner of the cube of each graph, m.
        side: ``[b]`` float64 side of the cube, m.
        depth: Number of halvings of the cube that codes resolve.
    """

    partition: Partition
    pos: Tensor
    code: Tensor
    origin: Tensor
    side: Tensor
    depth: int

    @property
    def level(self) -> Tensor:
        """``[p]`` depth of each leaf."""
        return self.partition.level

    @property
    def batch(self) -> Tensor:
        """``[p]`` graph of each leaf."""
        return self.partition.batch

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return self.pos.shape[1]

    @property
    def ptr(self) -> Tensor:
        """``[b + 1]`` graph i has leaves ``ptr[i]:ptr[i + 1]``."""
        count = torch.bincount(self.batch, minlength=self.side.shape[0])
        return torch.cat([count.new_zeros(1), count.cumsum(0)])

    def cell_origin(self) -> Tensor:
        """``[p, d]`` float64 lower corner of each leaf, m."""
        finest = self.side[self.batch] * 2.0**-self.depth
        return self.origin[self.batch] + morton_decode(self.code, self.dim).double() * finest.unsqueeze(1)

    def cell_size(self) -> Tensor:
        """``[p]`` float64 side of each leaf, m."""
        return self.side[self.batch] * 2.0**-self.depth * (1 << (self.depth - self.level)).double()

    @torch.no_grad()
    def locate(self, pos: Tensor, batch: Tensor | None = None) -> Tensor:
        """Leaf that covers each position, -1 where none does: outside of the cube or in a cell without nodes.

        Args:
            pos: ``[q, d]`` positions, m.
            batch: ``[q]`` graph of each; None where there is one graph only.

        Raises:
            InputError: Positions are not finite, not of the tree's dimension, or their graph is missing or unknown.
        """
        check_positions(pos, "position")
        if pos.shape[1] != self.dim:
            raise InputError(f"positions must have {self.dim} coordinates like the tree, got {pos.shape[1]}")
        if batch is None:
            if self.side.shape[0] != 1:
                raise InputError(
                    f"the tree is of {self.side.shape[0]} graphs: give 'batch', the graph of each position"
                )
            batch = torch.zeros(pos.shape[0], dtype=torch.long, device=pos.device)
        if batch.shape != pos.shape[:1]:
            raise InputError(f"batch must be [{pos.shape[0]}], one graph per position, got {tuple(batch.shape)}")
        check_index(batch, self.side.shape[0], "batch")
        exact, origin, side = pos.double(), self.origin[batch], self.side[batch]
        offset = exact - origin
        inside = ((offset >= 0) & (offset <= side.unsqueeze(1))).all(1)
        cells = cells_in_cube(torch.where(inside.unsqueeze(1), exact, origin), origin, side, self.depth)
        leaf = _covering(self.code, self.level, self.ptr, morton_encode(cells), batch, self.dim, self.depth)
        return leaf.masked_fill(~inside, -1)

    @torch.no_grad()
    def face_neighbors(self, periodic: Sequence[bool] | None = None) -> Tensor:
        """``[2, e]`` leaves of the same graph that share a face, across levels: both directions, sorted, once each.

        Args:
            periodic: For each axis, whether opposite faces of the cube are the same place; None: none. Of use for axes
                along which the nodes fill the cube, those of the largest extent.
        """
        wrap = (False,) * self.dim if periodic is None else tuple(periodic)
        if len(wrap) != self.dim:
            raise InputError(f"periodic must have one entry per axis ({self.dim}), got {len(wrap)}")
        p = self.code.shape[0]
        beside, exists = _face_cells(self.code, self.level, self.dim, self.depth, wrap)
        own = exists.nonzero()[:, 1]
        other = _covering(self.code, self.level, self.ptr, beside[exists], self.batch[own], self.dim, self.depth)
        # a leaf that starts in the corner of the cell beside but is smaller need not touch; it looks back by itself
        touch = (other >= 0) & (other != own) & (self.level[other] <= self.level[own])
        own, other = own[touch], other[touch]
        pairs = torch.unique(torch.cat([own * p + other, other * p + own]))
        return torch.stack([pairs // max(p, 1), pairs % max(p, 1)])

    @torch.no_grad()
    def hierarchy(self) -> Hierarchy:
        """From the leaves, which come first, up to one patch per graph, by joining sibling cells depth by depth.

        The partition at depth l joins all leaves in the same cell of depth l; shallower leaves stay as they are.
        Depths at which nothing joins are left out. Nodes of a coarser patch lie leaf after leaf.
        """
        fine = self.partition
        shared = shared_with_previous(self.code, self.batch, self.dim, self.depth)
        partitions = [fine]
        for depth in sorted(set(shared.unique().tolist()) - {-1}, reverse=True):
            first = shared < depth
            ptr = torch.cat([fine.ptr[:-1][first], fine.ptr[-1:]])
            level = self.level[first].clamp(max=depth)
            partitions.append(Partition.from_order(self.pos, fine.perm, ptr, level=level, batch=self.batch[first]))
        return Hierarchy.from_partitions(partitions)

    def to_pyvista(self) -> Any:
        """Boxes of the leaves as a PyVista grid of lines, quads or voxels: see it with ``tree.to_pyvista().plot()``.

        Cell arrays: ``level``, ``size`` (m), ``batch`` and ``count``, the number of nodes.
        """
        import pyvista as pv  # importing VTK takes a second

        corners = torch.tensor(list(product((0.0, 1.0), repeat=self.dim)), dtype=torch.float64).flip(1)  # x runs first
        kind = {1: pv.CellType.LINE, 2: pv.CellType.QUAD, 3: pv.CellType.VOXEL}[self.dim]
        if self.dim == 2:
            corners = corners[[0, 1, 3, 2]]
        size = self.cell_size().cpu()
        points = self.cell_origin().cpu().unsqueeze(1) + corners * size.view(-1, 1, 1)
        points = torch.nn.functional.pad(points.flatten(0, 1), (0, 3 - self.dim))
        cells = torch.arange(points.shape[0]).view(-1, corners.shape[0])
        grid = pv.UnstructuredGrid({kind: cells.numpy()}, points.numpy())
        for name, values in (
            ("level", self.level),
            ("size", size),
            ("batch", self.batch),
            ("count", self.partition.size),
        ):
            grid.cell_data[name] = values.cpu().numpy()
        return grid


@dataclass(frozen=True, eq=False)
class _Points:
    """Points of a batch in the order of their codes, graph after graph."""

    code: Tensor
    graph: Tensor
    ptr: Tensor
    shared: Tensor
    dim: int
    depth: int

    @classmethod
    def of(cls, code: Tensor, ptr: Tensor, dim: int, depth: int) -> _Points:
        graph = torch.repeat_interleave(ptr.diff(), output_size=code.shape[0])
        return cls(code, graph, ptr, shared_with_previous(code, graph, dim, depth), dim, depth)

    def levels(self, capacity: int) -> Tensor:
        """``[n]`` int8 depth of the leaf of each point, see the equation in the docstring of the module."""
        n = self.code.shape[0]
        width = min(capacity, n)
        crowded = torch.full((n,), -1, dtype=torch.int8, device=self.code.device)
        together = common_depth(self.code[: n - width], self.code[width:], self.dim, self.depth)
        same_graph = self.graph[: n - width] == self.graph[width:]
        crowded[: n - width] = torch.where(same_graph, together, -1).to(torch.int8)
        span = 1
        while span < width + 1:  # crowded[i] is the maximum over i - span + 1 .. i
            step = min(span, width + 1 - span)
            crowded = torch.cat([crowded[:step], torch.maximum(crowded[step:], crowded[:-step])])
            span += step
        return crowded + 1

    def balanced(self, level: Tensor) -> Tensor:
        """Split until leaves that share a face differ by at most one level, next to the deepest leaves first.

        A leaf that touches one of level l must itself be of level l - 1 or deeper, so it is split around the cell of
        level l on its side of the face. Leaves of level l are final when their turn comes: later ones split less deep.
        """
        level = level.clone()
        for fine in range(int(level.max()) if level.numel() else 0, 1, -1):
            start = self.shared < level
            first = start.nonzero()[:, 0]
            beside, graph = self._beside(first[level[first] == fine], fine)
            bounds = torch.searchsorted(self.graph[first], torch.arange(self.ptr.shape[0], device=first.device))
            corner = _corner(self.code[first], level[first], self.dim, self.depth)
            leaf = _covering(corner, level[first], bounds, beside, graph, self.dim, self.depth)
            coarse = (leaf >= 0) & (level[first[leaf]] < fine - 1)
            if not bool(coarse.any()):
                continue
            split = torch.zeros_like(first, dtype=torch.bool)
            split[leaf[coarse]] = True
            points = split[start.cumsum(0) - 1].nonzero()[:, 0]
            reach = self._reach(points, beside[coarse], graph[coarse]) + 1
            level[points] = torch.maximum(level[points], reach.clamp_(max=fine - 1).to(torch.int8))
        return level

    def _beside(self, first: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Codes and graphs of the cells of a level that share a face with the cells around some points."""
        levels = torch.full_like(first, level)
        code, exists = _face_cells(self.code[first], levels, self.dim, self.depth, (False,) * self.dim)
        return code[exists], self.graph[first].expand_as(code)[exists]

    def _reach(self, points: Tensor, code: Tensor, graph: Tensor) -> Tensor:
        """Depth to which each point shares its cell with any of the codes of its graph; -1 for none."""
        counts = torch.bincount(graph, minlength=self.ptr.shape[0] - 1)
        ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        by_graph = torch.sort(graph, stable=True).indices
        code = code[by_graph][curve_order(code[by_graph], ptr)]
        own, own_graph = self.code[points], self.graph[points]
        place = search_segments(code, ptr, own, own_graph)
        reach = torch.full_like(own, -1)
        for near in (place - 1, place):  # the longest common prefix is with a neighbour in the order
            valid = (near >= ptr[own_graph]) & (near < ptr[own_graph + 1])
            near_code = code[near.clamp(0, code.shape[0] - 1)]
            shared = common_depth(own, near_code, self.dim, self.depth)
            reach = torch.where(valid, torch.maximum(reach, shared), reach)
        return reach


def _corner(code: Tensor, level: Tensor, dim: int, depth: int) -> Tensor:
    """Code of the lower corner of the cell of a level around each code."""
    return code & -(1 << dim * (depth - level.long()))


def _face_cells(code: Tensor, level: Tensor, dim: int, depth: int, periodic: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Code ``[2 d, m]`` of the cells of the same level across each face of some cells, and whether there is one."""
    cells, size = morton_decode(_corner(code, level, dim, depth), dim), 1 << (depth - level.long())
    codes, exists = [], []
    for axis, wrap in enumerate(periodic):
        for step in (-size, size):
            beside = cells.clone()
            beside[:, axis] += step
            inside = torch.ones_like(size, dtype=torch.bool) if wrap else (beside[:, axis] >> depth) == 0
            codes.append(morton_encode(beside & 2**depth - 1))
            exists.append(inside)
    return torch.stack(codes), torch.stack(exists)


def _covering(
    leaf_code: Tensor, leaf_level: Tensor, leaf_ptr: Tensor, code: Tensor, graph: Tensor, dim: int, depth: int
) -> Tensor:
    """Leaf that covers the cell of full depth with each code; -1 for none."""
    if leaf_code.shape[0] == 0:
        return torch.full_like(code, -1)
    place = search_segments(leaf_code, leaf_ptr, code, graph, right=True) - 1
    inside = place >= leaf_ptr[graph]
    place = place.clamp_(min=0)
    inside &= common_depth(leaf_code[place], code, dim, depth) >= leaf_level[place]
    return place.masked_fill_(~inside, -1)
