"""Median-split tree on the CPU: quickselect on ``torch.get_num_threads()`` threads, compiled by Numba on first use.

Rows are moved together with their index, so that every pass over a segment reads memory in order. The threads are
plain ones that live as long as the call: Numba's own pool (OpenMP) kills the forked workers of a data loader.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from meshops.ops.tree import MedianSplit

SERIAL_BELOW = 50_000  # points; starting threads would take longer than they save


def median_split_numba(pos: Tensor, ptr: Tensor, levels: int) -> MedianSplit:
    """Same result as :func:`meshops.ops.tree.median_split`, bit for bit."""
    rows = pos.detach().contiguous().numpy().copy()
    index = np.arange(rows.shape[0], dtype=np.int64)
    num_graphs = ptr.numel() - 1
    num_inner = 2**levels - 1
    axis = np.zeros((num_graphs, num_inner), dtype=np.int64)
    value = np.zeros((num_graphs, num_inner), dtype=rows.dtype)
    bounds = ptr.numpy().astype(np.int64)
    num_threads = torch.get_num_threads() if rows.shape[0] > SERIAL_BELOW else 1
    with ThreadPoolExecutor(num_threads) as pool:
        for level in range(levels):
            nodes = slice(2**level - 1, 2 ** (level + 1) - 1)
            bounds, level_axis, level_value = _split_level(pool, num_threads, rows, index, bounds)
            axis[:, nodes] = level_axis.reshape(num_graphs, -1)
            value[:, nodes] = level_value.reshape(num_graphs, -1)
    _sort_leaves(index, bounds)
    return MedianSplit(*(torch.from_numpy(array) for array in (index, bounds, axis, value)))


def _split_level(pool: Executor, num_threads: int, rows: Any, index: Any, bounds: Any) -> tuple[Any, Any, Any]:
    num_segments = bounds.size - 1
    axis = np.zeros(num_segments, dtype=np.int64)
    value = np.zeros(num_segments, dtype=rows.dtype)
    children = np.empty(2 * num_segments + 1, dtype=np.int64)
    children[-1] = bounds[-1]
    _share(pool, num_threads, num_segments, _split_segments, rows, index, bounds, axis, value, children)
    return children, axis, value


def _share(pool: Executor, num_threads: int, num_segments: int, work: Callable[..., None], *arrays: Any) -> None:
    """Call ``work(*arrays, first, last)`` on ranges of segments, one per thread."""
    if num_threads == 1 or num_segments == 1:
        work(*arrays, 0, num_segments)
        return
    cuts = [num_segments * i // num_threads for i in range(num_threads + 1)]
    tasks = [pool.submit(work, *arrays, first, last) for first, last in pairwise(cuts) if first < last]
    for task in tasks:
        task.result()


@numba.njit(nogil=True, cache=True)
def _split_segments(rows, index, bounds, axis, value, children, first, last):  # type: ignore[no-untyped-def]
    for s in range(first, last):
        start, end = bounds[s], bounds[s + 1]
        size = end - start
        middle = start + size // 2
        children[2 * s], children[2 * s + 1] = start, middle
        if size == 0:
            continue
        widest = _widest_axis(rows, start, end)
        axis[s] = widest
        right = rows[middle, widest]
        if size > 1:
            _select(rows, index, start, end, middle, widest)
            left, right = rows[start, widest], rows[middle, widest]
            for i in range(start + 1, middle):
                left = max(left, rows[i, widest])
            halfway = rows.dtype.type(left + (right - left) / 2)
            right = halfway if halfway > left else right
        value[s] = right


@numba.njit(cache=True)
def _widest_axis(rows, start, end):  # type: ignore[no-untyped-def]
    widest, largest = 0, rows.dtype.type(-1)
    for a in range(rows.shape[1]):
        low = high = rows[start, a]
        for i in range(start + 1, end):
            low = min(low, rows[i, a])
            high = max(high, rows[i, a])
        if high - low > largest:
            widest, largest = a, high - low
    return widest


@numba.njit(cache=True)
def _tie_before(rows, index, i, j, axis):  # type: ignore[no-untyped-def]
    """Order of two rows that agree along ``axis``: next coordinates cyclically, then index."""
    d = rows.shape[1]
    for shift in range(1, d):
        k = (axis + shift) % d
        if rows[i, k] != rows[j, k]:
            return rows[i, k] < rows[j, k]
    return index[i] < index[j]


@numba.njit(cache=True, inline="always")
def _swap(rows, index, i, j):  # type: ignore[no-untyped-def]
    for k in range(rows.shape[1]):
        rows[i, k], rows[j, k] = rows[j, k], rows[i, k]
    index[i], index[j] = index[j], index[i]


@numba.njit(cache=True)
def _select(rows, index, start, end, middle, axis):  # type: ignore[no-untyped-def]
    """Quickselect: element ``middle`` in place, smaller ones before it. Floyd and Rivest 1975 for large segments."""
    low, high = start, end - 1
    while high > low:
        if high - low > 600:
            n, i = high - low + 1, middle - low + 1
            z = math.log(n)
            s = 0.5 * math.exp(2.0 * z / 3.0)
            sd = 0.5 * math.sqrt(z * s * (n - s) / n) * (1.0 if i - n / 2 > 0 else -1.0)
            _select(
                rows, index, max(low, int(middle - i * s / n + sd)),
                min(high, int(middle + (n - i) * s / n + sd)) + 1, middle, axis,
            )  # fmt: skip
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


@numba.njit(nogil=True, cache=True)
def _sort_leaves(index, bounds):  # type: ignore[no-untyped-def]
    """Ascending order in each leaf: hand the points out to their leaves again, the first point first."""
    leaf = np.empty(index.size, dtype=np.int32)
    for s in range(bounds.size - 1):
        for k in range(bounds[s], bounds[s + 1]):
            leaf[index[k]] = s
    free = bounds[:-1].copy()
    for i in range(index.size):
        s = leaf[i]
        index[free[s]] = i
        free[s] += 1
