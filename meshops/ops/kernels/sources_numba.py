"""Sums over many sources at many places on the CPU: a tree of the places, Chebyshev points in its boxes.

What far sources do varies slowly within a box: it is summed at a few points of the box and interpolated (the local half
of a black-box fast multipole method, Fong and Darve 2009). From a box its halves take over what is known, and the
sources that are still too near; in a leaf these are summed one by one. A Gaussian is smooth at the scale of its radius,
whatever the distance: one box is enough, and sources much farther away than the nearest are left out.

The number of points follows the extent of a box along each axis, so that plates and lines cost what they are.
Results do not depend on the number of threads: the tree is always cut into the same tasks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.ops.kernels.compile import njit
from meshops.ops.kernels.threads import even_cuts, in_threads, thread_count
from meshops.ops.tree import median_split

FAST = {"reassoc", "contract", "arcp", "nsz"}  # not those that forbid infinity
LEAF = 48  # places, about, of a box that is not split
SPLIT = 4  # levels of the tree above the tasks
SERIAL_BELOW = 4_000  # places
MOST = 5  # Chebyshev points along an axis
FAR = 4.0  # sources are far at this many half diagonals from the middle of a box
FLAT = (1e-4, 0.03, 0.2)  # half extents over the half diagonal up to which 1, 2, 3 points are enough; 4 beyond
SMOOTH = (1e-4, 0.02, 0.1, 0.25, 0.4)  # half extents over the length of change, for 1 to 5 points; beyond: split
NOTHING = 16.0  # exponent from which a Gaussian is nothing
NODES = np.zeros((MOST + 1, MOST))  # Chebyshev points of each number of them, in [-1, 1]
for _count in range(2, MOST + 1):
    NODES[_count, :_count] = np.cos((2 * np.arange(_count) + 1) * np.pi / (2 * _count))


def gaussian_means(
    pos: Tensor, sources: Tensor, weight: Tensor, vectors: Tensor, radius: float
) -> tuple[Tensor, Tensor]:
    """Same as :func:`meshops.ops.gaussian_means` to about ``1e-4`` of the radius, and of the vectors."""
    columns = np.concatenate([_doubles(sources), _doubles(weight)[:, None], _doubles(vectors)], 1)
    out = _over_tree(_means, pos, columns, 6, (float(radius),))
    return out[:, :3], out[:, 3:]


def source_velocity(pos: Tensor, sources: Tensor, strength: Tensor, soft: Tensor) -> Tensor:
    """Same as :func:`meshops.ops.source_velocity` to about ``1e-4`` of the largest value."""
    columns = np.concatenate([_doubles(sources), _doubles(strength)[:, None], _doubles(soft)[:, None]], 1)
    return _over_tree(_velocity, pos, columns, 3, ())


def _doubles(values: Tensor) -> Any:
    return values.detach().double().numpy()


def _over_tree(work: Any, pos: Tensor, columns: Any, channels: int, more: tuple[float, ...]) -> Tensor:
    n = len(pos)
    levels = max(0, (max(n, 1) - 1) // LEAF).bit_length()
    split = median_split(pos, torch.tensor([0, n]), levels)
    rows = pos.detach()[split.perm].double().numpy()
    out = np.empty((n, channels))
    tasks = 1 << min(levels, SPLIT)
    cuts = even_cuts(tasks, thread_count(n, SERIAL_BELOW))
    in_threads(work, (rows, split.ptr.numpy(), tasks, columns, *more, out), cuts)
    result = torch.empty(n, channels, dtype=pos.dtype)
    result[split.perm] = torch.from_numpy(out).to(pos.dtype)
    return result


@njit(nogil=True, fastmath=FAST)
def _velocity(rows, ptr, tasks, columns, out, first, last):  # type: ignore[no-untyped-def]
    leaves = (ptr.size - 1) // tasks
    depth_of = 1
    while (1 << depth_of) <= leaves:
        depth_of += 1
    size = MOST**3
    near = np.empty((depth_of + 1, len(columns)), np.int32)  # those still too near, of the box being worked on
    far, flat = np.empty(len(columns), np.int32), np.empty((5, len(columns)), np.float32)
    num_near = np.zeros(depth_of + 1, np.int64)
    boxes, counts = np.empty((depth_of + 1, 2, 3)), np.ones((depth_of + 1, 3), np.int64)
    values, points = np.empty((depth_of + 1, size, 3)), np.empty((size, 3))
    stack, weights = np.empty((64, 3), np.int64), np.empty((3, MOST))
    for task in range(first, last):
        for j in range(len(columns)):
            near[0, j] = j
        num_near[0] = len(columns)
        stack[0] = task * leaves, leaves, 1
        top = 1
        while top:
            top -= 1
            leaf, count, d = stack[top]
            start, end = ptr[leaf], ptr[leaf + count]
            if start == end:
                continue
            middle, half = boxes[d]
            reach = _box(rows, start, end, middle, half)
            total = 1
            for a in range(3):
                extent = half[a] / max(reach, 1e-300)
                counts[d, a] = 1 + (extent > FLAT[0]) + (extent > FLAT[1]) + (extent > FLAT[2])
                total *= counts[d, a]
            few = end - start <= total and reach > 0
            limit = np.inf if few else (FAR * reach) ** 2
            _grid(middle, half, counts[d], points)
            if not few:
                for k in range(total):
                    values[d, k] = 0
                    if d > 1:
                        _interpolate(points[k], boxes[d - 1], counts[d - 1], values[d - 1], weights, values[d, k])
            num = num_far = 0
            for m in range(num_near[d - 1]):
                j = near[d - 1, m]
                if few or _square(middle, columns[j]) < limit:
                    near[d, num] = j
                    num += 1
                else:
                    far[num_far] = j
                    num_far += 1
            num_near[d] = num
            if num_far:
                _flatten(columns, far, num_far, middle, flat)
                for k in range(total):
                    _add(points[k], middle, flat, num_far, values[d, k])
            if count > 1 and not few:
                stack[top] = leaf + count // 2, count - count // 2, d + 1
                stack[top + 1] = leaf, count // 2, d + 1
                top += 2
                continue
            known = d - 1 if few else d
            _flatten(columns, near[d], num, middle, flat)
            for i in range(start, end):
                out[i] = 0
                if known > 0:
                    _interpolate(rows[i], boxes[known], counts[known], values[known], weights, out[i])
                _add(rows[i], middle, flat, num, out[i])


@njit(nogil=True, fastmath=FAST)
def _means(rows, ptr, tasks, columns, radius, out, first, last):  # type: ignore[no-untyped-def]
    leaves = (ptr.size - 1) // tasks
    depth_of = 1
    while (1 << depth_of) <= leaves:
        depth_of += 1
    near = np.empty((depth_of + 1, len(columns)), np.int32)
    num_near = np.zeros(depth_of + 1, np.int64)
    box, counts, size = np.empty((2, 3)), np.ones(3, np.int64), MOST**3
    values, points = np.empty((size, 7)), np.empty((size, 3))
    stack, weights, total, square = (
        np.empty((64, 3), np.int64),
        np.empty((3, MOST)),
        np.empty(7),
        np.empty(len(columns)),
    )
    middle, half = box
    rate = 0.5 / radius**2
    for task in range(first, last):
        for j in range(len(columns)):
            near[0, j] = j
        num_near[0] = len(columns)
        stack[0] = task * leaves, leaves, 1
        top = 1
        while top:
            top -= 1
            leaf, count, d = stack[top]
            start, end = ptr[leaf], ptr[leaf + count]
            if start == end:
                continue
            _box(rows, start, end, middle, half)
            away = _prune(columns, near, num_near, d, middle, half, NOTHING / rate, square)
            change = radius * min(1.0, radius / max(np.sqrt(away), 1e-300))
            grid = 1
            for a in range(3):
                extent, c = half[a] / change, 1
                while c <= MOST and extent > SMOOTH[c - 1]:
                    c += 1
                counts[a] = c
                grid *= c
            smooth = max(counts[0], counts[1], counts[2]) <= MOST
            if not smooth and count > 1:
                stack[top] = leaf + count // 2, count - count // 2, d + 1
                stack[top + 1] = leaf, count // 2, d + 1
                top += 2
                continue
            if smooth and 2 * grid <= end - start:
                _grid(middle, half, counts, points)
                lowest = np.inf
                for m in range(num_near[d]):
                    lowest = min(lowest, _square(middle, columns[near[d, m]]))
                for k in range(grid):
                    values[k] = 0
                    _sum(points[k], middle, lowest, columns, near[d], num_near[d], rate, values[k])
                for i in range(start, end):
                    total[:] = 0
                    _interpolate(rows[i], box, counts, values, weights, total)
                    _divide(total, middle, rows[i], out[i])
                continue
            for i in range(start, end):
                lowest = np.inf
                for m in range(num_near[d]):
                    lowest = min(lowest, _square(rows[i], columns[near[d, m]]))
                total[:] = 0
                _sum(rows[i], middle, lowest, columns, near[d], num_near[d], rate, total)
                _divide(total, middle, rows[i], out[i])


@njit(nogil=True, fastmath=FAST)
def _prune(columns, near, num_near, d, middle, half, nothing, square):  # type: ignore[no-untyped-def]
    """Keep the sources that count somewhere in the box; the square of how far the nearest may be from a place."""
    best = np.inf
    for m in range(num_near[d - 1]):
        least = most = 0.0
        for a in range(3):
            gap = abs(columns[near[d - 1, m], a] - middle[a])
            least += max(gap - half[a], 0.0) ** 2
            most += (gap + half[a]) ** 2
        square[m] = least
        best = min(best, most)
    num = 0
    for m in range(num_near[d - 1]):
        if square[m] <= best + nothing:
            near[d, num] = near[d - 1, m]
            num += 1
    num_near[d] = num
    return best


@njit(nogil=True, fastmath=FAST)
def _sum(point, middle, lowest, columns, chosen, num, rate, out):  # type: ignore[no-untyped-def]
    """Add weights, weighted places about the middle, and weighted vectors, ``[7]``."""
    for m in range(num):
        source = columns[chosen[m]]
        exponent = (lowest - _square(point, source)) * rate
        if exponent < -2 * NOTHING:
            continue
        w = source[3] * np.exp(exponent)
        out[0] += w
        for a in range(3):
            out[1 + a] += w * (source[a] - middle[a])
            out[4 + a] += w * source[4 + a]


@njit(nogil=True, fastmath=FAST)
def _divide(total, middle, row, out):  # type: ignore[no-untyped-def]
    scale = 1 / max(total[0], 1e-20)
    for a in range(3):
        out[a] = total[1 + a] * scale + middle[a] - row[a]
        out[3 + a] = total[4 + a] * scale


@njit(nogil=True, fastmath=FAST)
def _square(point, source):  # type: ignore[no-untyped-def]
    return (point[0] - source[0]) ** 2 + (point[1] - source[1]) ** 2 + (point[2] - source[2]) ** 2


@njit(nogil=True)
def _flatten(columns, chosen, num, middle, flat):  # type: ignore[no-untyped-def]
    """Some sources column by column in single precision, about the middle of a box, so that vector units add them."""
    for m in range(num):
        source = columns[chosen[m]]
        for a in range(3):
            flat[a, m] = source[a] - middle[a]
        flat[3, m], flat[4, m] = source[3], source[4]


@njit(nogil=True, fastmath=FAST)
def _add(point, middle, flat, num, out):  # type: ignore[no-untyped-def]
    x, y, z = np.float32(point[0] - middle[0]), np.float32(point[1] - middle[1]), np.float32(point[2] - middle[2])
    u = v = w = np.float32(0)
    xs, ys, zs, strength, soft = flat[0], flat[1], flat[2], flat[3], flat[4]
    for m in range(num):
        dx, dy, dz = x - xs[m], y - ys[m], z - zs[m]
        square = max(dx * dx + dy * dy + dz * dz + soft[m], np.float32(1e-12))
        decay = strength[m] / (square * np.sqrt(square))
        u += decay * dx
        v += decay * dy
        w += decay * dz
    out[0] += u
    out[1] += v
    out[2] += w


@njit(nogil=True, fastmath=FAST)
def _box(rows, start, end, middle, half):  # type: ignore[no-untyped-def]
    """Middle and half extents of some places; returns the half diagonal."""
    square = 0.0
    for a in range(3):
        low = high = rows[start, a]
        for i in range(start + 1, end):
            low, high = min(low, rows[i, a]), max(high, rows[i, a])
        middle[a], half[a] = (low + high) / 2, (high - low) / 2
        square += half[a] ** 2
    return np.sqrt(square)


@njit(nogil=True)
def _grid(middle, half, counts, points):  # type: ignore[no-untyped-def]
    k = 0
    for i in range(counts[0]):
        for j in range(counts[1]):
            for m in range(counts[2]):
                points[k, 0] = middle[0] + half[0] * NODES[counts[0], i]
                points[k, 1] = middle[1] + half[1] * NODES[counts[1], j]
                points[k, 2] = middle[2] + half[2] * NODES[counts[2], m]
                k += 1


@njit(nogil=True, fastmath=FAST)
def _interpolate(point, box, counts, values, weights, out):  # type: ignore[no-untyped-def]
    """Add the interpolant through the Chebyshev points of a box; weights in the form of Fong and Darve, eq. 4."""
    for a in range(3):
        count = counts[a]
        x = (point[a] - box[0, a]) / box[1, a] if count > 1 else 0.0
        for k in range(count):
            node, weight, before, now = NODES[count, k], 1.0, 1.0, x
            t_before, t_now = 1.0, node
            for _ in range(1, count):
                weight += 2 * now * t_now
                before, now = now, 2 * x * now - before
                t_before, t_now = t_now, 2 * node * t_now - t_before
            weights[a, k] = weight / count
    k = 0
    for i in range(counts[0]):
        for j in range(counts[1]):
            for m in range(counts[2]):
                w = weights[0, i] * weights[1, j] * weights[2, m]
                for c in range(out.size):
                    out[c] += w * values[k, c]
                k += 1
