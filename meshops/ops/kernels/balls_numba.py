"""Centres and radii of patches on the CPU, compiled by Numba on first use: each patch is gathered once."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from meshops.ops.kernels.compile import njit
from meshops.ops.kernels.threads import in_threads, thread_count

SERIAL_BELOW = 50_000  # nodes; starting threads would take longer than they save


def patch_balls(pos: Tensor, ptr: Tensor, perm: Tensor) -> tuple[Tensor, Tensor]:
    """Same as :func:`meshops.ops.patch_balls` up to the last bit of double precision."""
    rows, bounds, order = pos.detach().contiguous().numpy(), ptr.contiguous().numpy(), perm.contiguous().numpy()
    center = np.zeros((bounds.size - 1, rows.shape[1]), dtype=rows.dtype)
    radius = np.zeros(bounds.size - 1, dtype=rows.dtype)
    threads = thread_count(len(rows), SERIAL_BELOW)
    cuts = np.searchsorted(bounds, [len(rows) * i // threads for i in range(1, threads)])
    in_threads(_balls, (rows, bounds, order, center, radius), [0, *cuts.tolist(), radius.size])
    return torch.from_numpy(center), torch.from_numpy(radius)


@njit(nogil=True)
def _balls(rows, bounds, order, center, radius, first, last):  # type: ignore[no-untyped-def]
    d = rows.shape[1]
    total = np.empty(d)
    for p in range(first, last):
        start, end = bounds[p], bounds[p + 1]
        if start == end:
            continue
        if d == 3:  # most points of this world
            radius[p] = _ball_3d(rows, order, start, end, center[p])
            continue
        total[:] = 0
        for k in range(start, end):
            row = rows[order[k]]
            for a in range(d):
                total[a] += row[a]
        for a in range(d):
            center[p, a] = total[a] / (end - start)
        farthest = 0.0
        for k in range(start, end):
            row, square = rows[order[k]], 0.0
            for a in range(d):
                away = np.float64(row[a]) - np.float64(center[p, a])
                square += away * away
            farthest = max(farthest, square)
        radius[p] = math.sqrt(farthest)


@njit()
def _ball_3d(rows, order, start, end, center):  # type: ignore[no-untyped-def]
    x = y = z = farthest = 0.0
    for k in range(start, end):
        i = order[k]
        x += rows[i, 0]
        y += rows[i, 1]
        z += rows[i, 2]
    size = end - start
    center[0], center[1], center[2] = x / size, y / size, z / size
    x, y, z = np.float64(center[0]), np.float64(center[1]), np.float64(center[2])
    for k in range(start, end):
        i = order[k]
        dx, dy, dz = rows[i, 0] - x, rows[i, 1] - y, rows[i, 2] - z
        square = dx * dx + dy * dy + dz * dz
        if square > farthest:
            farthest = square
    return math.sqrt(farthest)
