"""Polygons as lists of rims: areas, centroids, winding, faces that occur once."""

from __future__ import annotations

import numpy as np

from meshops.data.cells import Array, running_sum


def polygon_geometry(points: Array, size: Array, nodes: Array) -> tuple[Array, Array]:
    """Centroids ``[c, 3]`` and vector areas ``[c, 3]`` of polygons given as node lists.

    The vector area is that of Newell. The centroid is that of the fan of triangles around the mean of the corners,
    weighted by their areas along the normal; a polygon without area gets the mean of its corners.
    """
    centers, vectors = np.zeros((size.size, 3)), np.zeros((size.size, 3))
    start = running_sum(size)[:-1]
    for count in np.unique(size[size > 0]):
        index = np.flatnonzero(size == count)
        corners = points[nodes[start[index][:, None] + np.arange(count)]]  # [c, count, 3]
        mean = corners.mean(axis=1)
        first = corners - mean[:, None]
        last = np.roll(first, -1, axis=1)
        cross = 0.5 * _cross(first, last)
        vectors[index] = vector = cross.sum(axis=1)
        weight = np.einsum("cki,ci->ck", cross, vector)
        total = weight.sum(axis=1)
        moment = np.einsum("ck,cki->ci", weight, first + last) / 3.0
        centers[index] = mean + moment / np.where(total > 0, total, np.inf)[:, None]
    return centers, vectors


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
    """Cross product of vectors ``[..., 3]``; ``np.cross`` takes three times as long."""
    out = np.empty_like(a)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        out[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return out
