"""Neighbour search in plain PyTorch, for any device: groups of queries against the leaves of a tree.

Points and queries are cut into compact groups of at most ``LEAF`` by median-split trees. All groups walk down the tree
of the points together, level by level, and keep the nodes whose box is within reach: the radius, or for k nearest the
smallest distance that surely holds k points. What is left are pairs of a group and a leaf. A tree and not a grid of
equal cells, because meshes are graded: a boundary layer would put most of its points into a few cells.

The pairs are evaluated here entry by entry, or by the Triton kernels of :mod:`meshops.ops.kernels.neighbors_triton`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from meshops.ops.distance import squared_distance
from meshops.ops.tree import MedianSplit, median_split, node_boxes

LEAF = 32  # points or queries of a group at most
CHUNK = 2**23  # distances held at a time
SLACK = 1 + 1e-12  # box distances are rounded otherwise than those of points


class Groups(NamedTuple):
    """Points or queries in groups: those of group i are ``perm[ptr[i]:ptr[i + 1]]``."""

    split: MedianSplit
    low: Tensor
    high: Tensor
    graph: Tensor

    @property
    def perm(self) -> Tensor:
        """``[n]`` rows, group after group."""
        return self.split.perm

    @property
    def ptr(self) -> Tensor:
        """``[g + 1]``."""
        return self.split.ptr


class Pairs(NamedTuple):
    """Groups of queries and leaves of points within reach, sorted by group, nearest leaf first.

    Attributes:
        ptr: ``[g + 1]`` pairs of each group of queries.
        leaf: ``[m]`` leaf of the points.
        reach: ``[m]`` squared distance of the leaf's box from the group's.
    """

    ptr: Tensor
    leaf: Tensor
    reach: Tensor


def knn(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, k: int, skip_self: bool,
    period: Sequence[float],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Same as the definition in :mod:`meshops.ops.neighbors`, bit for bit."""
    leaves, groups = groups_of(points, points_ptr), groups_of(queries, queries_ptr)
    pairs = pairs_within_reach(leaves, groups, period, k=k + skip_self)
    bound = torch.full((queries.shape[0],), torch.inf, dtype=torch.float64, device=points.device)
    # The nearest leaves that hold enough points give each query its own reach; then all leaves within it.
    size = leaves.ptr.diff()[pairs.leaf]
    before = size.cumsum(0) - size
    group = torch.repeat_interleave(pairs.ptr.diff(), output_size=pairs.leaf.numel())
    first = before - before[pairs.ptr[group]] < k + skip_self
    for query, point, distance in _entries(points, leaves, queries, groups, _subset(pairs, group, first), period):
        keep = query != point if skip_self else slice(None)
        query, point, distance = sort_entries(query[keep], point[keep], distance[keep])
        start = torch.searchsorted(query, query)
        last = torch.arange(query.numel(), device=query.device) - start == k - 1
        bound[query[last]] = distance[last]
    farthest = torch.zeros(groups.ptr.numel() - 1, dtype=torch.float64, device=points.device)
    owner = torch.repeat_interleave(groups.ptr.diff(), output_size=queries.shape[0])
    farthest = farthest.scatter_reduce(0, owner, bound[groups.perm], "amax")
    pairs = _subset(pairs, group, pairs.reach <= farthest[group] * SLACK)
    index = points_ptr.new_zeros((queries.shape[0], k))
    squared = torch.zeros((queries.shape[0], k), dtype=torch.float64, device=points.device)
    for query, point, distance in _entries(points, leaves, queries, groups, pairs, period):
        keep = distance <= bound[query]
        if skip_self:
            keep &= query != point
        query, point, distance = sort_entries(query[keep], point[keep], distance[keep])
        column = torch.arange(query.numel(), device=query.device) - torch.searchsorted(query, query)
        near = column < k
        index[query[near], column[near]] = point[near]
        squared[query[near], column[near]] = distance[near]
    return index, squared


def radius(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, limit: float, most: int,
    skip_self: bool, period: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Same as the definition in :mod:`meshops.ops.neighbors`, bit for bit."""
    leaves, groups = groups_of(points, points_ptr), groups_of(queries, queries_ptr)
    pairs = pairs_within_reach(leaves, groups, period, limit=limit * limit)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for query, point, distance in _entries(points, leaves, queries, groups, pairs, period):
        keep = distance <= limit * limit
        if skip_self:
            keep &= query != point
        kept.append((query[keep], point[keep], distance[keep]))
    none = points_ptr.new_zeros(0)
    columns = zip((none, none, none.double()), *kept, strict=True)
    query, point, distance = (torch.cat(column) for column in columns)
    return compressed(query, point, distance, queries.shape[0], most)


def compressed(
    query: Tensor, point: Tensor, distance: Tensor, num_queries: int, most: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sort entries and cut them: ``ptr``, ``index``, squared distance and the number found of each query."""
    query, point, distance = sort_entries(query, point, distance)
    found = torch.bincount(query, minlength=num_queries)
    if most:
        keep = torch.arange(query.numel(), device=query.device) - torch.searchsorted(query, query) < most
        point, distance = point[keep], distance[keep]
    kept = found.clamp(max=most) if most else found
    return torch.cat([kept.new_zeros(1), kept.cumsum(0)]), point, distance, found.clone()


def sort_entries(query: Tensor, point: Tensor, distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By query, then distance, then point."""
    order = torch.argsort(point)
    order = order[torch.argsort(distance[order], stable=True)]
    order = order[torch.argsort(query[order], stable=True)]
    return query[order], point[order], distance[order]


def groups_of(pos: Tensor, ptr: Tensor) -> Groups:
    """Compact groups of at most ``LEAF`` rows, none across graphs."""
    sizes = ptr.diff().tolist()
    split = median_split(pos, ptr, [max(0, (-(-size // LEAF) - 1).bit_length()) for size in sizes])
    low, high = node_boxes(pos, split)
    leaves = torch.tensor([2**level for level in split.levels], device=pos.device)
    graph = torch.repeat_interleave(torch.arange(len(sizes), device=pos.device), leaves)
    return Groups(split, low.double(), high.double(), graph)


def pairs_within_reach(
    leaves: Groups, groups: Groups, period: Sequence[float], *, limit: float = torch.inf, k: int = 0
) -> Pairs:
    """Leaves within ``limit`` (squared) of each group, or within the distance that surely holds ``k`` points."""
    device = groups.ptr.device
    levels = torch.tensor(leaves.split.levels, dtype=torch.long, device=device)
    leaf_start = (2**levels).cumsum(0) - 2**levels
    node_start = 2 * leaf_start - torch.arange(levels.numel(), device=device)
    count = _node_counts(leaves.split)
    group_low, group_high = _leaf_boxes(groups)
    num_groups = groups.graph.numel()
    bound = torch.full((num_groups,), limit, dtype=torch.float64, device=device)
    group = (groups.ptr.diff() > 0).nonzero()[:, 0]
    heap = torch.zeros_like(group)
    for depth in range(max(leaves.split.levels, default=-1) + 1):
        graph = groups.graph[group]
        node = node_start[graph] + heap
        near, far = _box_distances(group_low[group], group_high[group], leaves.low[node], leaves.high[node], period)
        if k:
            enough = count[node] >= k
            bound = bound.scatter_reduce(0, group[enough], far[enough] * SLACK, "amin")
        keep = (near <= bound[group] * SLACK) & (count[node] > 0)
        group, heap, near, graph = group[keep], heap[keep], near[keep], graph[keep]
        if depth < max(leaves.split.levels):
            inner = heap < 2 ** levels[graph] - 1
            children = 1 + inner.long()
            first = children.cumsum(0) - children
            group = group.repeat_interleave(children)
            second = torch.zeros_like(group)
            second[(first + 1)[inner]] = 1
            is_inner = inner.repeat_interleave(children)
            heap = torch.where(
                is_inner, 2 * heap.repeat_interleave(children) + 1 + second, heap.repeat_interleave(children)
            )
    order = torch.argsort(near, stable=True)
    order = order[torch.argsort(group[order], stable=True)]
    group, leaf = group[order], (leaf_start[graph] + heap - 2 ** levels[graph] + 1)[order]
    ptr = torch.searchsorted(group, torch.arange(num_groups + 1, device=device))
    return Pairs(ptr, leaf, near[order])


def _node_counts(split: MedianSplit) -> Tensor:
    """Points of every node, in the order of :func:`meshops.ops.node_boxes`."""
    out = [split.ptr.new_zeros(0)]
    for leaves in split.ptr.diff().split([2**level for level in split.levels]):
        rows = [leaves]
        while rows[-1].numel() > 1:
            rows.append(rows[-1].view(-1, 2).sum(1))
        out.extend(reversed(rows))
    return torch.cat(out)


def _leaf_boxes(groups: Groups) -> tuple[Tensor, Tensor]:
    """Boxes of the leaves alone: the last rows of each graph's heap."""
    levels = groups.split.levels
    parts = [2 ** (level + 1) - 1 for level in levels]
    low, high = (
        torch.cat([boxes[:0], *(part[2**level - 1 :] for part, level in zip(boxes.split(parts), levels, strict=True))])
        for boxes in (groups.low, groups.high)
    )
    return low, high


def _box_distances(
    low: Tensor, high: Tensor, other_low: Tensor, other_high: Tensor, period: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Smallest and largest squared distance between points of two boxes; infinite for an empty one."""
    near, far = torch.zeros_like(low[:, 0]), torch.zeros_like(low[:, 0])
    for axis, length in enumerate(period):
        a, b, c, d = low[:, axis], high[:, axis], other_low[:, axis], other_high[:, axis]
        gap = torch.maximum(c - b, a - d).clamp(min=0.0)
        most = torch.maximum(d - a, b - c)
        if length > 0:
            half = ((b - a) + (d - c)) / 2
            between = (a + b) / 2 - (c + d) / 2
            between = (between - length * torch.round(between / length)).abs()
            gap = (between - half - 1e-9 * length).clamp(min=0.0)
            most = most.clamp(max=length / 2)
        near, far = near + gap * gap, far + most * most
    empty = other_low[:, 0] > other_high[:, 0]
    return near.masked_fill(empty, torch.inf), far.masked_fill(empty, torch.inf)


def _subset(pairs: Pairs, group: Tensor, keep: Tensor) -> Pairs:
    ptr = torch.searchsorted(group[keep], torch.arange(pairs.ptr.numel(), device=group.device))
    return Pairs(ptr, pairs.leaf[keep], pairs.reach[keep])


def _entries(
    points: Tensor, leaves: Groups, queries: Tensor, groups: Groups, pairs: Pairs, period: Sequence[float]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Query, point and squared distance of all pairs of rows, in chunks of whole groups."""
    size = leaves.ptr.diff()[pairs.leaf]
    total = torch.cat([size.new_zeros(1), size.cumsum(0)])
    candidates = total[pairs.ptr[1:]] - total[pairs.ptr[:-1]]  # points near each group
    work = (candidates * groups.ptr.diff()).cumsum(0).tolist()
    start, done = 0, 0
    for group, so_far in enumerate(work):
        if so_far - done < CHUNK and group + 1 < len(work):
            continue
        chosen = torch.arange(start, group + 1, device=points.device)
        start, done = group + 1, so_far
        # Points near each chosen group, group after group.
        first, last = int(pairs.ptr[chosen[0]]), int(pairs.ptr[chosen[-1] + 1])
        leaf_size = size[first:last]
        leaf_first = leaves.ptr[pairs.leaf[first:last]].repeat_interleave(leaf_size)
        step = torch.arange(leaf_first.numel(), device=points.device)
        near = leaves.perm[leaf_first + step - (leaf_size.cumsum(0) - leaf_size).repeat_interleave(leaf_size)]
        # Each query of a group against all of them.
        rows = slice(int(groups.ptr[chosen[0]]), int(groups.ptr[chosen[-1] + 1]))
        own = torch.repeat_interleave(chosen, groups.ptr.diff()[chosen]) - chosen[0]
        each = candidates[chosen][own]
        query = groups.perm[rows].repeat_interleave(each)
        near_first = (candidates[chosen].cumsum(0) - candidates[chosen])[own].repeat_interleave(each)
        column = torch.arange(query.numel(), device=points.device) - (each.cumsum(0) - each).repeat_interleave(each)
        point = near[near_first + column]
        yield query, point, squared_distance(queries[query], points[point], period)
