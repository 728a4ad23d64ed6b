"""Faces that a surface has more than once: copies of merged parts, surfaces with two sides.

Two faces are one when they have the same points. Sides of a thin plate that close it (a baffle with a value on either
side) and the walls where two bodies touch are no copies: there both faces are needed, or cancel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from meshops.data.cells import Array, gather_ranges, running_sum
from meshops.data.polygons import next_entry


@dataclass(frozen=True)
class Doubled:
    """Which faces are the same.

    Attributes:
        first: ``[c]`` the first cell that is the same face; itself where there is no other.
        against: ``[c]`` True where a cell runs around its face in the other direction than the first.
        share: ``[c]`` 1 over the number of cells that are this face.
        plate: ``[c]`` True for the two sides of a thin plate and for walls where bodies touch.
    """

    first: Array
    against: Array
    share: Array
    plate: Array

    @property
    def num_faces(self) -> int:
        """Faces with several cells."""
        return int(np.unique(self.first[self.share < 1]).size)


def find_doubled(size: Array, nodes: Array) -> Doubled:
    """Find the faces with several cells. ``nodes``: ids that points at the same place share."""
    first = np.arange(size.size)
    against = np.zeros(size.size, dtype=bool)
    index = _candidates(size, nodes)
    start = running_sum(size)[:-1]
    for count in np.unique(size[index]) if index.size else ():
        some = index[size[index] == count]
        rims = nodes[start[some][:, None] + np.arange(count)]
        sorted_rims = np.sort(rims, axis=1)
        order = np.lexsort((some, *sorted_rims.T))
        new = np.r_[True, (sorted_rims[order][1:] != sorted_rims[order][:-1]).any(axis=1)]
        lead = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
        first[some[order]] = some[lead]
        turned = np.take_along_axis(rims, (rims.argmin(axis=1)[:, None] + np.arange(count)) % count, axis=1)
        against[some[order]] = turned[order, 1] != turned[lead, 1]
    plate = _plates(size, nodes, first, against)
    first = np.where(plate, np.arange(size.size), first)
    copies = np.bincount(first, minlength=size.size)
    return Doubled(first, against & ~plate, 1.0 / np.maximum(copies[first], 1), plate)


def _candidates(size: Array, nodes: Array) -> Array:
    """Faces whose sums of scrambled point ids are not their own alone."""
    if nodes.size == 0:
        return np.zeros(0, dtype=np.int64)
    x = nodes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(29)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(32)
    filled = np.flatnonzero(size > 2)
    sums = np.add.reduceat(x, running_sum(size)[:-1][filled]) if filled.size else x[:0]
    order = np.argsort(sums, kind="stable")
    same = sums[order][1:] == sums[order][:-1]
    return np.sort(filled[order[np.r_[same, False] | np.r_[False, same]]])


def _plates(size: Array, nodes: Array, first: Array, against: Array) -> Array:
    """``[c]``: opposite pairs of which one alone would leave the surface with a free or a third edge.

    The pairs are judged by connected patches.
    """
    lead = first == np.arange(size.size)
    copies = np.bincount(first, minlength=size.size)
    opposite = np.bincount(first, weights=against, minlength=size.size) * 2 == copies
    paired = np.flatnonzero(lead & opposite & (copies == 2))
    if paired.size == 0:
        return np.zeros(size.size, dtype=bool)
    alone = np.flatnonzero(lead & (size > 2))
    some = size[alone]
    rims = nodes[gather_ranges(running_sum(size)[:-1][alone], some)]
    low, high = np.minimum(rims, rims[next_entry(some)]), np.maximum(rims, rims[next_entry(some)])
    _, edge, count = np.unique(low * (int(nodes.max()) + 1) + high, return_inverse=True, return_counts=True)
    owner = np.repeat(alone, some)
    is_paired = np.zeros(size.size, dtype=bool)
    is_paired[paired] = True
    mine = is_paired[owner]
    ones = np.ones(int(mine.sum()))
    number = np.searchsorted(paired, owner[mine])
    graph = coo_matrix((ones, (number, paired.size + edge[mine])), shape=(paired.size + count.size,) * 2)
    patch = connected_components(graph.tocsr(), directed=False)[1][: paired.size]
    odd = np.zeros(int(patch.max()) + 1, dtype=bool)
    odd[patch[number[count[edge[mine]] != 2]]] = True
    keep_both = np.zeros(size.size, dtype=bool)
    keep_both[paired[odd[patch]]] = True
    out: Array = keep_both[first]
    return out
