"""Which closed parts of a surface lie inside which others: crossings of a ray, in a frame turned at random."""

from __future__ import annotations

import numpy as np

from meshops.data.cells import Array, running_sum

# An orthogonal matrix along no edge that anyone draws: a ray along its third row meets no edge or corner.
TURN = np.linalg.qr(np.array([[0.61, 0.37, 0.29], [-0.23, 0.83, 0.41], [0.19, -0.53, 0.71]]))[0]
MOST_TESTS = 4000


class ClosedParts:
    """Closed parts of a surface of polygons.

    Args:
        points: ``[m, 3]``.
        size, nodes: Polygons.
        part: ``[c]`` part of each polygon.
        count: Number of parts.
    """

    def __init__(self, points: Array, size: Array, nodes: Array, part: Array, count: int) -> None:
        self.points = points @ TURN.T
        self.size, self.nodes = size, nodes
        self.order = np.argsort(part, kind="stable")
        self.bounds = np.searchsorted(part[self.order], np.arange(count + 1))
        self.start = running_sum(size)[:-1]
        corner = self.points[nodes]
        self.low, self.high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
        owner = np.repeat(part, size)
        for axis in range(3):
            np.minimum.at(self.low[:, axis], owner, corner[:, axis])
            np.maximum.at(self.high[:, axis], owner, corner[:, axis])
        self.triangles: dict[int, Array] = {}
        self.tests = 0

    def may_contain(self, outer: int) -> Array:
        """``[p]`` parts whose box lies in the box of ``outer``; not itself."""
        inside: Array = ((self.low >= self.low[outer]) & (self.high <= self.high[outer])).all(axis=1)
        inside[outer] = False
        return inside

    def contains(self, outer: int, inner: int) -> bool:
        """Whether a point of ``inner`` lies inside ``outer``."""
        self.tests += 1
        point = self.points[self.nodes[self.start[self.order[self.bounds[inner]]]]]
        a, b, c = self._corners(outer)
        low, high = np.minimum(np.minimum(a, b), c)[:, :2], np.maximum(np.maximum(a, b), c)[:, :2]
        near = ((low <= point[:2]) & (point[:2] <= high)).all(axis=1)
        a, b, c = a[near] - point, b[near] - point, c[near] - point
        weights = np.stack([_cross(b, c), _cross(c, a), _cross(a, b)], axis=1)
        total = weights.sum(axis=1)
        hit = (weights >= 0).all(axis=1) | (weights <= 0).all(axis=1)
        height = (weights * np.stack([a[:, 2], b[:, 2], c[:, 2]], axis=1)).sum(axis=1)
        above = hit & (total != 0) & (height * np.sign(total) > 0)
        return bool(above.sum() % 2)

    def _corners(self, part: int) -> tuple[Array, Array, Array]:
        if part not in self.triangles:
            cells = self.order[self.bounds[part] : self.bounds[part + 1]]
            count = self.size[cells] - 2
            first = np.repeat(self.start[cells], count)
            step = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
            ids = np.stack([self.nodes[first], self.nodes[first + step + 1], self.nodes[first + step + 2]], axis=0)
            self.triangles[part] = self.points[ids]
        a, b, c = self.triangles[part]
        return a, b, c


def wound_inward(parts: ClosedParts, volume: Array, closed: Array) -> tuple[Array, Array]:
    """``[p]`` parts to turn, and parts that are cavities of others.

    A part that lies in no other must enclose a positive volume; what lies in it is turned with it. A part that lies in
    another and faces into it is a cavity and stays.
    """
    turn, cavity = np.zeros(volume.size, dtype=bool), np.zeros(volume.size, dtype=bool)
    negative = np.flatnonzero(closed & (volume < 0))
    if negative.size == int(closed.sum()):
        turn[negative] = True
        return turn, cavity
    for inner in negative:
        root = _outermost(parts, volume, closed, int(inner))
        turn[inner] = root is None or volume[root] < 0
        cavity[inner] = not turn[inner]
    for outer in np.flatnonzero(turn):
        for inner in np.flatnonzero(parts.may_contain(int(outer)) & closed & (volume > 0)):
            if parts.tests < MOST_TESTS and parts.contains(int(outer), int(inner)):
                turn[inner] = cavity[inner] = True
    return turn, cavity


def _outermost(parts: ClosedParts, volume: Array, closed: Array, inner: int) -> int | None:
    around = (parts.low <= parts.low[inner]) & (parts.high >= parts.high[inner])
    candidates = np.flatnonzero(around.all(axis=1) & closed)
    for outer in candidates[np.argsort(-np.abs(volume[candidates]), kind="stable")]:
        if outer == inner or abs(volume[outer]) <= abs(volume[inner]):
            continue
        if parts.tests < MOST_TESTS and parts.contains(int(outer), inner):
            return int(outer)
    return None


def _cross(a: Array, b: Array) -> Array:
    out: Array = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return out
