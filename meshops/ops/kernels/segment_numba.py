"""Segment reductions on the CPU, compiled by Numba on first use: one pass over the rows, in their order.

A long segment is cut into pieces of ``PIECE`` rows, whatever the number of threads, so that the threads share it and
the sum keeps its bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.ops.kernels.compile import njit
from meshops.ops.kernels.threads import in_threads, thread_count

PIECE = 16_384  # rows that one thread adds up
SERIAL_BELOW = 200_000  # numbers; starting threads would take longer than they save
HUGE = 2**25  # bytes; the allocator reuses smaller blocks and takes larger ones from the system every time
NO_ORDER = np.zeros(0, dtype=np.int64)


def segment_sum(values: Tensor, ptr: Tensor, perm: Tensor | None = None) -> Tensor:
    """Same as :func:`meshops.ops.segment_sum` up to rounding."""
    rows, bounds, order = _arrays(values, ptr, perm)
    pieces = _pieces(bounds)
    out = _empty(values, pieces.size - 1, rows.shape[1])
    _over_segments(_sum, (rows, pieces, order, out), pieces, rows.size)
    if pieces.size != bounds.size:
        partial, bounds = out, np.searchsorted(pieces, bounds)
        out = _empty(values, bounds.size - 1, rows.shape[1])
        _sum(partial, bounds, NO_ORDER, out, 0, bounds.size - 1)
    return torch.from_numpy(out).view(out.shape[0], *values.shape[1:])


def segment_spread(values: Tensor, ptr: Tensor, perm: Tensor | None, num_rows: int) -> Tensor:
    """Same as :func:`meshops.ops.segment_spread`."""
    rows, bounds, order = _arrays(values, ptr, perm)
    out = _empty(values, num_rows, rows.shape[1])
    pieces = _pieces(bounds)
    owner = np.searchsorted(bounds, pieces[:-1], side="right") - 1
    _over_segments(_spread, (rows, owner, pieces, order, out), pieces, out.size)
    return torch.from_numpy(out).view(out.shape[0], *values.shape[1:])


def segment_extreme(values: Tensor, ptr: Tensor, perm: Tensor | None, largest: bool) -> tuple[Tensor, Tensor]:
    """Extreme of each segment and the first row that holds it."""
    rows, bounds, order = _arrays(values, ptr, perm)
    shape = (bounds.size - 1, rows.shape[1])
    out, place = np.zeros(shape, dtype=rows.dtype), np.full(shape, -1, dtype=np.int64)
    _over_segments(_extreme, (rows, bounds, order, out, place, largest), bounds, rows.size)
    full = (shape[0], *values.shape[1:])
    return torch.from_numpy(out).view(full), torch.from_numpy(place).view(full)


def sort_index(index: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    """Counting sort, stable."""
    perm = np.empty(index.numel(), dtype=np.int64)
    ptr = np.zeros(num_segments + 1, dtype=np.int64)
    _count_into_order(index.contiguous().numpy(), perm, ptr)
    return torch.from_numpy(perm), torch.from_numpy(ptr)


def _arrays(values: Tensor, ptr: Tensor, perm: Tensor | None) -> tuple[Any, Any, Any]:
    rows = values.detach().contiguous().view(values.shape[0], math.prod(values.shape[1:])).numpy()
    order = NO_ORDER if perm is None else perm.contiguous().numpy()
    return rows, ptr.contiguous().numpy(), order


def _empty(values: Tensor, *shape: int) -> Any:
    """Array for the result. Large ones come from NumPy, which asks for huge pages: a third of the time at 150 MB."""
    if math.prod(shape) * values.element_size() >= HUGE:
        return np.empty(shape, dtype=values.detach()[:0].numpy().dtype)
    return values.new_empty(shape).numpy()


def _pieces(bounds: Any) -> Any:
    """Boundaries that cut every segment into pieces of at most ``PIECE`` rows."""
    size = np.diff(bounds)
    if size.size == 0 or size.max() <= PIECE:
        return bounds
    return np.union1d(bounds, np.arange(0, bounds[-1], PIECE))


def _over_segments(work: Any, arrays: tuple[Any, ...], bounds: Any, numbers: int) -> None:
    """Share segments among threads so that each has about as many rows."""
    threads = thread_count(numbers, SERIAL_BELOW)
    cuts = np.searchsorted(bounds, [bounds[-1] * i // threads for i in range(1, threads)])
    in_threads(work, arrays, [0, *cuts.tolist(), bounds.size - 1])


@njit(nogil=True)
def _sum(rows, bounds, order, out, first, last):  # type: ignore[no-untyped-def]
    channels = rows.shape[1]
    for s in range(first, last):
        total = out[s]
        for c in range(channels):
            total[c] = 0
        for k in range(bounds[s], bounds[s + 1]):
            row = rows[order[k] if order.size else k]
            for c in range(channels):
                total[c] += row[c]


@njit(nogil=True)
def _spread(rows, owner, bounds, order, out, first, last):  # type: ignore[no-untyped-def]
    channels = rows.shape[1]
    for s in range(first, last):
        row = rows[owner[s]]
        for k in range(bounds[s], bounds[s + 1]):
            target = out[order[k] if order.size else k]
            for c in range(channels):
                target[c] = row[c]


@njit(nogil=True)
def _extreme(rows, bounds, order, out, place, largest, first, last):  # type: ignore[no-untyped-def]
    channels = rows.shape[1]
    for s in range(first, last):
        for k in range(bounds[s], bounds[s + 1]):
            i = order[k] if order.size else k
            for c in range(channels):
                new, best = rows[i, c], out[s, c]
                better = new > best if largest else new < best
                if place[s, c] < 0 or better or (new != new and best == best):
                    out[s, c] = new
                    place[s, c] = i


@njit(nogil=True)
def _count_into_order(index, perm, ptr):  # type: ignore[no-untyped-def]
    for i in range(index.size):
        ptr[index[i] + 1] += 1
    for s in range(1, ptr.size):
        ptr[s] += ptr[s - 1]
    free = ptr[:-1].copy()
    for i in range(index.size):
        s = index[i]
        perm[free[s]] = i
        free[s] += 1
