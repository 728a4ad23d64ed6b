"""Median-split tree on the CPU: quickselect on ``torch.get_num_threads()`` threads, compiled by Numba on first use.

Rows are moved together with their index, so that every pass over a segment reads memory in order. Segments that are
large beside the number of threads are split by all threads together (two pivots around the median from a sample, count,
move, select among what lies between); then each thread takes whole subtrees and goes depth first, in its cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.ops.kernels.compile import njit
from meshops.ops.kernels.threads import even_cuts, in_threads, thread_count

SERIAL_BELOW = 50_000  # points; starting threads would take longer than they save
SHARED_ABOVE = 100_000  # points of a segment that all threads split together
SAMPLE = 4096
BLOCK = 64  # rows looked at before any is moved
SMALL = 96  # rows; fewer are searched without a sample
SPREAD = 0.8  # distance of the pivots from the median, in square roots of the sample


def median_split_numba(
    pos: Tensor, ptr: Tensor, levels: Sequence[int], cyclic: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Same result as :func:`meshops.ops.tree.median_split`, bit for bit."""
    rows = pos.detach().contiguous().numpy().copy()
    n = rows.shape[0]
    index = np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)
    level = np.asarray(levels, dtype=np.int64)
    num_leaves = 2**level
    leaf_start = np.concatenate([[0], num_leaves.cumsum()])
    inner_start = leaf_start - np.arange(level.size + 1)
    bounds = np.full(leaf_start[-1] + 1, n, dtype=np.int64)
    axis = np.zeros(inner_start[-1], dtype=np.int64)
    value = np.zeros(inner_start[-1], dtype=rows.dtype)
    # A task is a node to be split to the bottom: first point, last point, levels left, place in the heap, graph.
    graphs = np.arange(level.size)
    tasks = np.stack([ptr.numpy()[:-1], ptr.numpy()[1:], level, np.zeros_like(level), graphs], 1)
    threads = thread_count(n, SERIAL_BELOW)
    arrays = (rows, index, leaf_start, inner_start, bounds, axis, value, cyclic)
    if threads > 1:
        tasks = _split_large(tasks, arrays, threads)
    _over_tasks(_subtrees, (tasks, *arrays), tasks, n, threads)
    perm = _sorted_leaves(index, bounds, threads)
    return torch.from_numpy(perm), torch.from_numpy(bounds), torch.from_numpy(axis), torch.from_numpy(value)


def _over_tasks(work: Any, arrays: tuple[Any, ...], tasks: Any, n: int, threads: int) -> None:
    cuts = np.searchsorted(tasks[:, 0], [n * i // threads for i in range(1, threads)])
    in_threads(work, arrays, [0, *cuts.tolist(), len(tasks)])


def _sorted_leaves(index: Any, bounds: Any, threads: int) -> Any:
    """Order with the points of each leaf ascending: points are handed out to the leaves again, a range a thread."""
    n, leaves = index.size, bounds.size - 1
    leaf, perm = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int64)
    cuts, counts = np.array(even_cuts(n, threads)), np.zeros((threads, leaves), dtype=np.int64)
    in_threads(_leaf_of_points, (index, bounds, cuts, leaf, counts), even_cuts(leaves, threads))
    free = bounds[:-1] + counts.cumsum(0) - counts
    in_threads(_hand_out, (leaf, cuts, free, perm), range(threads + 1))
    return perm


def _split_large(tasks: Any, arrays: tuple[Any, ...], threads: int) -> Any:
    """Split nodes with all threads until no node is so large that threads would wait for it."""
    n = arrays[0].shape[0]
    done, queue = [], [task.copy() for task in tasks]
    while queue:
        task = queue.pop(0)
        size = task[1] - task[0]
        if task[2] == 0 or size <= SHARED_ABOVE or size * threads <= n + SHARED_ABOVE:
            done.append(task)
            continue
        queue += _split_together(task, arrays, threads)
    done.sort(key=lambda task: (task[0], task[1], task[4], task[3]))
    return np.array(done).reshape(-1, 5)


def _split_together(task: Any, arrays: tuple[Any, ...], threads: int) -> list[Any]:
    rows, index, _, inner_start, _, axes, values, cyclic = arrays
    start, end, left, heap, graph = task.tolist()
    part_rows, part_index = rows[start:end], index[start:end]
    size, d = part_rows.shape
    cuts = even_cuts(size, threads)
    axis = (heap + 1).bit_length() - 1
    if cyclic:
        axis %= d
    else:
        boxes = np.empty((threads, 2, d), dtype=rows.dtype)
        in_threads(_box, (part_rows, np.array(cuts), boxes), range(threads + 1))
        axis = int((boxes[:, 1].max(0) - boxes[:, 0].min(0)).argmax())
    middle = size // 2
    low, high = _pivots(part_rows[:, axis], middle)
    counts = np.zeros((threads, 3), dtype=np.int64)
    in_threads(_count, (part_rows, np.array(cuts), axis, low, high, counts), range(threads + 1))
    total = counts.sum(0)
    offset = counts.cumsum(0) - counts + (total.cumsum() - total)
    moved_rows, moved_index = np.empty_like(part_rows), np.empty_like(part_index)
    in_threads(
        _move, (part_rows, part_index, np.array(cuts), axis, low, high, offset, moved_rows, moved_index),
        range(threads + 1),
    )  # fmt: skip
    region = int(np.searchsorted(total.cumsum(), middle, side="right"))
    first, last = int(total[:region].sum()), int(total[: region + 1].sum())
    offsets, sample = np.empty((2, BLOCK), dtype=np.int64), np.empty(SAMPLE, dtype=rows.dtype)
    _select(moved_rows, moved_index, first, last, middle, axis, offsets, sample)
    in_threads(_copy, (part_rows, part_index, moved_rows, moved_index), cuts)
    node = inner_start[graph] + heap
    axes[node] = axis
    right = part_rows[middle, axis]
    values[node] = _halfway(part_rows[:middle, axis].max(), right) if middle else right
    children = [(start, start + middle, 2 * heap + 1), (start + middle, end, 2 * heap + 2)]
    return [np.array([first, last, left - 1, place, graph]) for first, last, place in children]


def _pivots(column: Any, middle: int) -> tuple[Any, Any]:
    """Two values that most likely lie just below and above the median, from an even sample."""
    sample = np.sort(column[:: max(1, column.size // SAMPLE)])
    spread = 2 * math.sqrt(sample.size)
    place = middle * sample.size / column.size
    low, high = int(place - spread), int(place + spread)
    return sample[max(low, 0)], sample[min(high, sample.size - 1)]


@njit(nogil=True)
def _box(rows, cuts, boxes, first, last):  # type: ignore[no-untyped-def]
    for part in range(first, last):
        _extent(rows, cuts[part], cuts[part + 1], boxes[part, 0], boxes[part, 1])


@njit(nogil=True)
def _count(rows, cuts, axis, low, high, counts, first, last):  # type: ignore[no-untyped-def]
    for part in range(first, last):
        below = above = 0
        for i in range(cuts[part], cuts[part + 1]):
            key = rows[i, axis]
            below += key < low
            above += key > high
        counts[part, 0], counts[part, 2] = below, above
        counts[part, 1] = cuts[part + 1] - cuts[part] - below - above


@njit(nogil=True)
def _move(rows, index, cuts, axis, low, high, offset, to_rows, to_index, first, last):  # type: ignore[no-untyped-def]
    for part in range(first, last):
        for i in range(cuts[part], cuts[part + 1]):
            key = rows[i, axis]
            region = (1 if key <= high else 2) if key >= low else 0
            k = offset[part, region]
            offset[part, region] = k + 1
            for a in range(rows.shape[1]):
                to_rows[k, a] = rows[i, a]
            to_index[k] = index[i]


@njit(nogil=True)
def _copy(rows, index, from_rows, from_index, first, last):  # type: ignore[no-untyped-def]
    rows[first:last] = from_rows[first:last]
    index[first:last] = from_index[first:last]


@njit(nogil=True)
def _subtrees(tasks, rows, index, leaf_start, inner_start, bounds, axes, values, cyclic, first, last):  # type: ignore[no-untyped-def]
    """Split tasks ``first:last`` down to their leaves, depth first."""
    d = rows.shape[1]
    low, high = np.empty(d, rows.dtype), np.empty(d, rows.dtype)
    offsets, sample = np.empty((2, BLOCK), dtype=np.int64), np.empty(SAMPLE, dtype=rows.dtype)
    stack = np.empty((40, 4), dtype=np.int64)
    for t in range(first, last):
        graph = tasks[t, 4]
        node_start = inner_start[graph]
        for k in range(4):
            stack[0, k] = tasks[t, k]
        top = 1
        while top:
            top -= 1
            start, end, left, heap = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
            size = end - start
            if size and (left or heap % 2):
                _extent(rows, start, end, low, high)
            if heap % 2 and heap != tasks[t, 3] and size:  # a left child: the largest point left of its parent's split
                parent = node_start + heap // 2
                values[parent] = _halfway(high[axes[parent]], values[parent])
            if left == 0:
                bounds[leaf_start[graph] + heap - (inner_start[graph + 1] - node_start)] = start
                continue
            middle = start + size // 2
            axis = 0
            if cyclic:
                while (2 << axis) <= heap + 1:
                    axis += 1
                axis %= d
            elif size:
                for a in range(1, d):
                    if high[a] - low[a] > high[axis] - low[axis]:
                        axis = a
            axes[node_start + heap] = axis
            if size:
                _select(rows, index, start, end, middle, axis, offsets, sample)
                values[node_start + heap] = rows[middle, axis]  # of the right part; the left child adds its part
            stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3] = middle, end, left - 1, 2 * heap + 2
            top += 1
            stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3] = start, middle, left - 1, 2 * heap + 1
            top += 1


@njit()
def _halfway(left, right):  # type: ignore[no-untyped-def]
    """Between the two middle points, rounded towards the right one."""
    halfway = left + (right - left) / type(right)(2)  # in its own precision, as the definition, subnormal numbers too
    return halfway if halfway > left else right


@njit()
def _extent(rows, start, end, low, high):  # type: ignore[no-untyped-def]
    """Least and largest coordinates; one pass in 3-D, where most of the points of this world are."""
    if rows.shape[1] == 3:
        x0 = x1 = rows[start, 0]
        y0 = y1 = rows[start, 1]
        z0 = z1 = rows[start, 2]
        for i in range(start + 1, end):
            x, y, z = rows[i, 0], rows[i, 1], rows[i, 2]
            x0, y0, z0 = x if x < x0 else x0, y if y < y0 else y0, z if z < z0 else z0
            x1, y1, z1 = x if x > x1 else x1, y if y > y1 else y1, z if z > z1 else z1
        low[0], low[1], low[2] = x0, y0, z0
        high[0], high[1], high[2] = x1, y1, z1
        return
    for a in range(rows.shape[1]):
        least = most = rows[start, a]
        for i in range(start + 1, end):
            x = rows[i, a]
            least = x if x < least else least
            most = x if x > most else most
        low[a], high[a] = least, most


@njit()
def _tie_before(rows, index, i, j, axis):  # type: ignore[no-untyped-def]
    """Order of two rows that agree along ``axis``: next coordinates cyclically, then index."""
    d = rows.shape[1]
    for shift in range(1, d):
        k = (axis + shift) % d
        if rows[i, k] != rows[j, k]:
            return rows[i, k] < rows[j, k]
    return index[i] < index[j]


@njit(inline="always")
def _swap(rows, index, i, j):  # type: ignore[no-untyped-def]
    for k in range(rows.shape[1]):
        rows[i, k], rows[j, k] = rows[j, k], rows[i, k]
    index[i], index[j] = index[j], index[i]


@njit()
def _select(rows, index, start, end, middle, axis, offsets, sample):  # type: ignore[no-untyped-def]
    """Row ``middle`` in place, rows that come before it on its left.

    Floyd and Rivest 1975: two pivots from a sample enclose the median; what lies between them is searched on.
    """
    while end - start > SMALL:
        size = end - start
        sample_size = min(int(2 * math.sqrt(size)), SAMPLE)
        for k in range(sample_size):
            sample[k] = rows[start + k * size // sample_size, axis]
        _sort(sample, sample_size)
        place = (middle - start) * sample_size / size
        spread = SPREAD * math.sqrt(sample_size)
        low = sample[max(int(place - spread), 0)]
        high = sample[min(int(place + spread) + 1, sample_size - 1)]
        below = _partition(rows, index, start, end, axis, low, False, offsets)
        if middle < below:
            end = below
            continue
        above = _partition(rows, index, below, end, axis, high, True, offsets)
        if middle >= above:
            start = above
        elif above - below == size:  # every row lies between the pivots: many are equal
            break
        else:
            start, end = below, above
    _select_small(rows, index, start, end, middle, axis)


@njit()
def _sort(values, count):  # type: ignore[no-untyped-def]
    """Sort the first ``count`` values in place; Shell's method, quick for a few hundred."""
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap:
        for i in range(gap, count):
            value, k = values[i], i
            while k >= gap and values[k - gap] > value:
                values[k] = values[k - gap]
                k -= gap
            values[k] = value
        gap //= 3


@njit()
def _partition(rows, index, start, end, axis, pivot, inclusive, offsets):  # type: ignore[no-untyped-def]
    """Rows below the pivot (or equal to it) first; returns their end. Edelkamp and Weiss 2016: blocks, no branches."""
    i, j = start, end
    num_left = num_right = left = right = 0
    while j - i > 2 * BLOCK:
        if num_left == 0:
            left = 0
            for k in range(BLOCK):
                key = rows[i + k, axis]
                offsets[0, num_left] = i + k
                num_left += not (key < pivot or (inclusive and key == pivot))
        if num_right == 0:
            right = 0
            for k in range(BLOCK):
                key = rows[j - 1 - k, axis]
                offsets[1, num_right] = j - 1 - k
                num_right += key < pivot or (inclusive and key == pivot)
        pairs = min(num_left, num_right)
        for k in range(pairs):
            _swap(rows, index, offsets[0, left + k], offsets[1, right + k])
        num_left -= pairs
        num_right -= pairs
        left += pairs
        right += pairs
        i += BLOCK if num_left == 0 else 0
        j -= BLOCK if num_right == 0 else 0
    while True:  # what is left, one by one; a block that was looked at already is looked at again
        while i < j and (rows[i, axis] < pivot or (inclusive and rows[i, axis] == pivot)):
            i += 1
        while i < j and not (rows[j - 1, axis] < pivot or (inclusive and rows[j - 1, axis] == pivot)):
            j -= 1
        if i >= j:
            return i
        _swap(rows, index, i, j - 1)
        i += 1
        j -= 1


@njit()
def _select_small(rows, index, start, end, middle, axis):  # type: ignore[no-untyped-def]
    """Quickselect in the full order, ties included."""
    low, high = start, end - 1
    while high > low:
        # Hoare partition around the element at `middle`, which is parked at `low`.
        _swap(rows, index, low, middle)
        key = rows[low, axis]
        i, j = low + 1, high
        while True:
            while i <= high and (
                rows[i, axis] < key or (rows[i, axis] == key and _tie_before(rows, index, i, low, axis))
            ):
                i += 1
            while rows[j, axis] > key or (rows[j, axis] == key and _tie_before(rows, index, low, j, axis)):
                j -= 1
            if i >= j:
                break
            _swap(rows, index, i, j)
            i += 1
            j -= 1
        _swap(rows, index, low, j)
        if j <= middle:
            low = j + 1
        if j >= middle:
            high = j - 1


@njit(nogil=True)
def _leaf_of_points(index, bounds, cuts, leaf, counts, first, last):  # type: ignore[no-untyped-def]
    """Leaf of each point, and how many points of each range between ``cuts`` the leaves ``first:last`` hold."""
    for s in range(first, last):
        for k in range(bounds[s], bounds[s + 1]):
            i = index[k]
            leaf[i] = s
            part = 0
            while i >= cuts[part + 1]:
                part += 1
            counts[part, s] += 1


@njit(nogil=True)
def _hand_out(leaf, cuts, free, perm, first, last):  # type: ignore[no-untyped-def]
    """Points of the ranges ``first:last`` to the free places of their leaves, the first point first."""
    for part in range(first, last):
        for i in range(cuts[part], cuts[part + 1]):
            s = leaf[i]
            perm[free[part, s]] = i
            free[part, s] += 1
