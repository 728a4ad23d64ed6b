"""Polygons as lists of rims: areas, centroids, winding, faces that occur once."""

from __future__ import annotations

import numpy as np

from meshops.data.cells import Array, running_sum, segment_sum


def polygon_geometry(points: Array, size: Array, nodes: Array) -> tuple[Array, Array]:
    """Centroids ``[c, 3]`` and vector areas ``[c, 3]`` of polygons given as node lists."""
    count = size.size
    owner = np.repeat(np.arange(count), size)
    corners = points[nodes]
    mean = segment_sum(corners, owner, count) / np.maximum(size, 1)[:, None]
    first = corners - mean[owner]
    last = first[next_entry(size)]
    cross = 0.5 * _cross(first, last)
    vectors = segment_sum(cross, owner, count)
    weight = np.einsum("ij,ij->i", cross, vectors[owner])
    total = np.bincount(owner, weights=weight, minlength=count)
    shift = segment_sum(weight[:, None] * (first + last) / 3.0, owner, count)
    return mean + shift / np.where(total > 0, total, np.inf)[:, None], vectors


def next_entry(size: Array) -> Array:
    """For each entry of a list of rims, the position of the entry that follows it on its rim."""
    ptr = running_sum(size)
    out = np.arange(1, int(ptr[-1]) + 1)
    filled = size > 0
    out[ptr[1:][filled] - 1] = ptr[:-1][filled]
    return out


def reverse_rims(size: Array, nodes: Array, which: Array) -> Array:
    """Reverse the rims of the polygons ``which`` (their first node stays first)."""
    ptr = running_sum(size)
    step = np.arange(nodes.size) - np.repeat(ptr[:-1], size)
    turned = np.repeat(ptr[:-1], size) + (-step) % np.repeat(size, size)
    return np.where(np.repeat(which, size), nodes[turned], nodes)


def outer_faces(size: Array, nodes: Array) -> Array:
    """``[f]``: faces that occur once. Two faces are the same when their smallest, largest, sum and size agree."""
    start = running_sum(size)[:-1]
    low, high = np.minimum.reduceat(nodes, start), np.maximum.reduceat(nodes, start)
    rest = np.add.reduceat(nodes, start) - low - high
    square = np.add.reduceat(nodes * nodes, start)
    order = np.lexsort((square, rest, high, low))
    keys = np.stack([low, high, rest, square, size])[:, order]
    new = np.r_[True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)]
    counts = np.diff(np.r_[np.flatnonzero(new), size.size])
    out = np.empty(size.size, dtype=bool)
    out[order] = np.repeat(counts == 1, counts)
    return out


def _cross(a: Array, b: Array) -> Array:
    """Cross product of rows; ``np.cross`` takes three times as long."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
