"""Neighbour search on the CPU: a median-split tree with bounding boxes, one depth-first walk per query.

Distances are squared in float64, axis after axis, as the definition does; a box is left out only when it is farther
than the last kept neighbour, not when it is as far, so that ties are resolved by index like everywhere else. The box
distance is computed with the same operations in the same order as that of a point; rounding is monotone, so it never
exceeds the distance of a point inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.ops.kernels.compile import njit
from meshops.ops.kernels.threads import even_cuts, in_threads, thread_count
from meshops.ops.kernels.tree_numba import median_split_numba

LEAF = 16  # points of a leaf at most
SERIAL_BELOW = 2_000  # queries; starting threads would take longer than they save
SHORT = 64  # neighbours; fewer are sorted by insertion


class Tree:
    """Points in the order of the leaves of one tree per graph, with the boxes of all nodes."""

    def __init__(self, points: Tensor, ptr: Tensor, leaf_size: int = LEAF) -> None:
        sizes = ptr.diff().tolist()
        self.levels = np.array([max(0, (-(-size // leaf_size) - 1).bit_length()) for size in sizes], dtype=np.int64)
        perm, bounds, axis, value = (
            array.numpy() for array in median_split_numba(points, ptr, self.levels.tolist(), False)
        )
        self.perm, self.bounds, self.axis, self.value = perm, bounds, axis, value
        self.columns = np.ascontiguousarray(points.detach().numpy().T[:, perm])
        self.leaf_start = np.concatenate([[0], (2**self.levels).cumsum()])
        self.node_start = 2 * self.leaf_start - np.arange(len(sizes) + 1)
        d = points.shape[1]
        self.low = np.full((self.node_start[-1], d), np.inf, dtype=self.columns.dtype)
        self.high = np.full((self.node_start[-1], d), -np.inf, dtype=self.columns.dtype)
        _boxes(self.columns, bounds, self.levels, self.leaf_start, self.node_start, self.low, self.high)

    def arrays(self) -> tuple[Any, ...]:
        """What the compiled walks need."""
        return self.columns, self.perm, self.bounds, self.levels, self.leaf_start, self.node_start, self.low, self.high


def knn(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, k: int, skip_self: bool,
    period: Sequence[float],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """``index [q, k]`` and squared ``distance [q, k]`` in float64."""
    tree = Tree(points, points_ptr)
    rows = queries.detach().contiguous().numpy()
    order, graph = _query_order(tree, rows, queries_ptr.numpy(), skip_self)
    index = np.empty((rows.shape[0], k), dtype=np.int64)
    distance = np.empty((rows.shape[0], k), dtype=np.float64)
    lengths = np.array(period, dtype=np.float64)
    arrays = (*tree.arrays(), rows, order, graph, skip_self, lengths, index, distance)
    _over_queries(_knn, arrays, rows.shape[0])
    return torch.from_numpy(index), torch.from_numpy(distance)


def radius(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, limit: float, most: int,
    skip_self: bool, period: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """``ptr``, ``index``, squared ``distance`` and the number of points inside before truncation to ``most``."""
    tree = Tree(points, points_ptr)
    rows = queries.detach().contiguous().numpy()
    order, graph = _query_order(tree, rows, queries_ptr.numpy(), skip_self)
    lengths = np.array(period, dtype=np.float64)
    found = np.zeros(rows.shape[0], dtype=np.int64)
    nothing, none = np.zeros(0, dtype=np.int64), np.zeros(0)
    head = (*tree.arrays(), rows, order, graph, skip_self, lengths, float(limit) * float(limit))
    _over_queries(_radius, (*head, 0, found, nothing, nothing, none), rows.shape[0])
    kept = np.minimum(found, most) if most else found
    ptr = np.concatenate([[0], kept.cumsum()])
    index, distance = np.empty(ptr[-1], dtype=np.int64), np.empty(ptr[-1], dtype=np.float64)
    _over_queries(_radius, (*head, int(found.max(initial=0)), found, ptr, index, distance), rows.shape[0])
    return tuple(torch.from_numpy(array) for array in (ptr, index, distance, found))  # type: ignore[return-value]


def farthest_points(points: Tensor, ptr: Tensor, counts: Sequence[int], starts: Sequence[int]) -> Tensor:
    """Same as :func:`meshops.ops.farthest_point_sampling`; leaves that a new point leaves as they are, are skipped."""
    tree = Tree(points, ptr, leaf_size=64)
    ends = np.cumsum([0, *counts])
    out = np.empty(ends[-1], dtype=np.int64)
    _farthest(*tree.arrays(), points.detach().contiguous().numpy(), np.array(starts, dtype=np.int64), ends, out)
    return torch.from_numpy(out)


def _over_queries(work: Any, arrays: tuple[Any, ...], count: int) -> None:
    threads = thread_count(count, SERIAL_BELOW)
    in_threads(work, arrays, even_cuts(count, threads))


def _query_order(tree: Tree, rows: Any, ptr: Any, are_points: bool) -> tuple[Any, Any]:
    """Queries in the order of the leaves they fall into, which keeps the walks in the cache, and their graphs."""
    graph = np.repeat(np.arange(ptr.size - 1), np.diff(ptr))
    if are_points:
        return tree.perm, graph
    leaf = np.empty(rows.shape[0], dtype=np.int64)
    _leaf_of(rows, graph, tree.levels, tree.leaf_start, tree.axis, tree.value, leaf)
    return np.argsort(leaf, kind="stable"), graph


@njit(nogil=True)
def _boxes(columns, bounds, levels, leaf_start, node_start, low, high):  # type: ignore[no-untyped-def]
    d = columns.shape[0]
    for g in range(levels.size):
        leaves = 1 << levels[g]
        for leaf in range(leaves):
            node = node_start[g] + leaves - 1 + leaf
            for a in range(d):
                for j in range(bounds[leaf_start[g] + leaf], bounds[leaf_start[g] + leaf + 1]):
                    x = columns[a, j]
                    low[node, a] = x if x < low[node, a] else low[node, a]
                    high[node, a] = x if x > high[node, a] else high[node, a]
        for heap in range(leaves - 2, -1, -1):
            node = node_start[g] + heap
            first = node_start[g] + 2 * heap + 1
            for a in range(d):
                low[node, a] = min(low[first, a], low[first + 1, a])
                high[node, a] = max(high[first, a], high[first + 1, a])


@njit(nogil=True)
def _leaf_of(rows, graph, levels, leaf_start, axis, value, leaf):  # type: ignore[no-untyped-def]
    for q in range(rows.shape[0]):
        g = graph[q]
        start = leaf_start[g] - g
        node = 0
        for _ in range(levels[g]):
            node = 2 * node + 1 + (rows[q, axis[start + node]] >= value[start + node])
        leaf[q] = leaf_start[g] + node - ((1 << levels[g]) - 1)


@njit()
def _box_distance(query, low, high, node, period):  # type: ignore[no-untyped-def]
    """Squared distance of a query from a box; infinite for an empty one."""
    total = 0.0
    if low[node, 0] > high[node, 0]:
        return np.inf
    for a in range(query.size):
        below, above = np.float64(low[node, a]), np.float64(high[node, a])
        if period[a] > 0:
            half = 0.5 * (above - below)
            gap = query[a] - (below + half)
            gap = abs(gap - period[a] * np.rint(gap / period[a])) - half
            gap = max(gap - 1e-9 * period[a], 0.0)  # this is rounded otherwise than the distance of a point
        elif query[a] < below:
            gap = below - query[a]
        elif query[a] > above:
            gap = query[a] - above
        else:
            gap = 0.0
        total += gap * gap
    return total


@njit()
def _leaf_distances(query, columns, start, end, period, out):  # type: ignore[no-untyped-def]
    """Squared distances of the points ``start:end``, axis after axis."""
    for j in range(end - start):
        out[j] = 0.0
    for a in range(query.size):
        x = query[a]
        if period[a] > 0:
            for j in range(end - start):
                gap = x - np.float64(columns[a, start + j])
                gap = gap - period[a] * np.rint(gap / period[a])
                out[j] += gap * gap
        else:
            for j in range(end - start):
                gap = x - np.float64(columns[a, start + j])
                out[j] += gap * gap


@njit(nogil=True)
def _knn(  # type: ignore[no-untyped-def]
    columns, perm, bounds, levels, leaf_start, node_start, low, high, rows, order, graph, skip_self, period,
    index, distance, first, last,
):  # fmt: skip
    k = index.shape[1]
    query = np.empty(rows.shape[1], dtype=np.float64)
    buffer = np.empty(np.max(np.diff(bounds)) if bounds.size > 1 else 0, dtype=np.float64)
    best, who = np.empty(k, dtype=np.float64), np.empty(k, dtype=np.int64)
    stack, reach = np.empty(70, dtype=np.int64), np.empty(70, dtype=np.float64)
    for t in range(first, last):
        i = order[t]
        for a in range(query.size):
            query[a] = rows[i, a]
        g = graph[i]
        inner = (1 << levels[g]) - 1
        best[:] = np.inf
        who[:] = np.iinfo(np.int64).max
        worst = np.inf
        stack[0], reach[0] = 0, 0.0
        top = 1
        while top:
            top -= 1
            heap = stack[top]
            if reach[top] > worst:
                continue
            while heap < inner:
                left = node_start[g] + 2 * heap + 1
                near, far = (
                    _box_distance(query, low, high, left, period),
                    _box_distance(query, low, high, left + 1, period),
                )
                heap = 2 * heap + 1
                other = heap + 1
                if far < near:
                    heap, other = other, heap
                    near, far = far, near
                if far <= worst and far < np.inf:
                    stack[top], reach[top] = other, far
                    top += 1
                if near > worst:
                    heap = -1
                    break
            if heap < 0:
                continue
            leaf = leaf_start[g] + heap - inner
            start, end = bounds[leaf], bounds[leaf + 1]
            _leaf_distances(query, columns, start, end, period, buffer)
            for j in range(end - start):
                if buffer[j] > worst:
                    continue
                p = perm[start + j]
                if (buffer[j] == worst and p > who[k - 1]) or (skip_self and p == i):
                    continue
                _insert(best, who, k, buffer[j], p)
                worst = best[k - 1]
        index[i] = who
        distance[i] = best


@njit()
def _insert(best, who, size, value, point):  # type: ignore[no-untyped-def]
    """Put a neighbour in its place among ``size`` sorted ones; the last falls out."""
    slot = size - 1
    while slot > 0 and (best[slot - 1] > value or (best[slot - 1] == value and who[slot - 1] > point)):
        best[slot], who[slot] = best[slot - 1], who[slot - 1]
        slot -= 1
    best[slot], who[slot] = value, point


@njit(nogil=True)
def _radius(  # type: ignore[no-untyped-def]
    columns, perm, bounds, levels, leaf_start, node_start, low, high, rows, order, graph, skip_self, period, limit,
    most_found, found, ptr, index, distance, first, last,
):  # fmt: skip
    """Count (``most_found`` = 0), or fill the places that ``ptr`` gives, nearest first."""
    query = np.empty(rows.shape[1], dtype=np.float64)
    buffer = np.empty(np.max(np.diff(bounds)) if bounds.size > 1 else 0, dtype=np.float64)
    near, who = np.empty(most_found, dtype=np.float64), np.empty(most_found, dtype=np.int64)
    stack = np.empty(70, dtype=np.int64)
    for t in range(first, last):
        i = order[t]
        for a in range(query.size):
            query[a] = rows[i, a]
        g = graph[i]
        inner = (1 << levels[g]) - 1
        count = 0
        stack[0] = 0
        top = 1
        while top:
            top -= 1
            heap = stack[top]
            if _box_distance(query, low, high, node_start[g] + heap, period) > limit:
                continue
            if heap < inner:
                stack[top], stack[top + 1] = 2 * heap + 2, 2 * heap + 1
                top += 2
                continue
            leaf = leaf_start[g] + heap - inner
            start, end = bounds[leaf], bounds[leaf + 1]
            _leaf_distances(query, columns, start, end, period, buffer)
            for j in range(end - start):
                if buffer[j] <= limit and not (skip_self and perm[start + j] == i):
                    if most_found:
                        near[count], who[count] = buffer[j], perm[start + j]
                    count += 1
        if most_found == 0:
            found[i] = count
        else:
            _write_sorted(near[:count], who[:count], index[ptr[i] : ptr[i + 1]], distance[ptr[i] : ptr[i + 1]])


@njit()
def _write_sorted(near, who, index, distance):  # type: ignore[no-untyped-def]
    """The nearest, by distance and then index, as many as there is room for."""
    if near.size <= SHORT:
        for j in range(1, near.size):
            _insert(near, who, j + 1, near[j], who[j])
        index[:] = who[: index.size]
        distance[:] = near[: index.size]
        return
    by_index = np.argsort(who)
    order = by_index[np.argsort(near[by_index], kind="mergesort")]
    for j in range(index.size):
        index[j], distance[j] = who[order[j]], near[order[j]]


@njit(nogil=True)
def _farthest(  # type: ignore[no-untyped-def]
    columns, perm, bounds, levels, leaf_start, node_start, low, high, rows, starts, ends, out
):  # fmt: skip
    d = rows.shape[1]
    period = np.zeros(d)
    nearest = np.full(perm.size, np.inf)
    query = np.empty(d, dtype=np.float64)
    buffer = np.empty(np.max(np.diff(bounds)) if bounds.size > 1 else 0, dtype=np.float64)
    for g in range(levels.size):
        leaves = range(leaf_start[g], leaf_start[g + 1])
        inner = (1 << levels[g]) - 1
        largest = np.full(leaf_start[g + 1] - leaf_start[g], np.inf)
        who = np.full(largest.size, -1, dtype=np.int64)
        chosen = starts[g]
        for k in range(ends[g], ends[g + 1]):
            out[k] = chosen
            for a in range(d):
                query[a] = rows[chosen, a]
            last, farthest, chosen = chosen, -1.0, -1
            for leaf in leaves:
                own = leaf - leaf_start[g]
                start, end = bounds[leaf], bounds[leaf + 1]
                if start == end:
                    continue
                if _box_distance(query, low, high, node_start[g] + inner + own, period) <= largest[own]:
                    _leaf_distances(query, columns, start, end, period, buffer)
                    largest[own] = -1.0
                    for j in range(end - start):
                        if perm[start + j] == last:
                            nearest[start + j] = -1.0
                        elif buffer[j] < nearest[start + j]:
                            nearest[start + j] = buffer[j]
                        if nearest[start + j] > largest[own]:  # points of a leaf ascend: the first of equals stays
                            largest[own], who[own] = nearest[start + j], perm[start + j]
                if largest[own] > farthest or (largest[own] == farthest and who[own] < chosen):
                    farthest, chosen = largest[own], who[own]
