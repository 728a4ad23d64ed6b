"""Triangles of even size on planes and cylinders: unroll, place points, Delaunay, roll back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.spatial import Delaunay, cKDTree

Array = np.ndarray[Any, Any]

SMOOTHING_STEPS = 8
# Lattice points nearer than this to a boundary point (in edges) are left out: they would make flat triangles.
CLEARANCE = 0.75
# Triangles smaller than this (in edge^2) lie between points of one straight boundary line.
SLIVER = 1e-9


class Chart(Protocol):
    """Maps a piece of surface to the plane without stretching, and back."""

    def unroll(self, points: Array) -> Array:
        """``[n, 3] -> [n, 2]``."""
        ...

    def roll(self, points: Array) -> Array:
        """``[n, 2] -> [n, 3]``."""
        ...


@dataclass(frozen=True)
class Plane:
    """Flat piece: ``origin + a * u + b * v`` with orthonormal u and v."""

    origin: Array
    u: Array
    v: Array

    @classmethod
    def through(cls, first: Array, second: Array, third: Array) -> Plane:
        """Plane of three points; u runs from the first to the second, the origin is half way between them."""
        u = (second - first) / np.linalg.norm(second - first)
        v = (third - first) - ((third - first) @ u) * u
        return cls(origin=(first + second) / 2, u=u, v=v / np.linalg.norm(v))

    def unroll(self, points: Array) -> Array:
        """Coordinates along u and v."""
        return np.stack([(points - self.origin) @ self.u, (points - self.origin) @ self.v], axis=1)

    def roll(self, points: Array) -> Array:
        """Back into space."""
        rolled: Array = self.origin + points[:, :1] * self.u + points[:, 1:] * self.v
        return rolled


@dataclass(frozen=True)
class Cylinder:
    """Round piece: turns from ``start`` to ``end`` (unit vectors) about ``axis`` through ``center``."""

    center: Array
    radius: float
    start: Array
    end: Array
    axis: Array

    def unroll(self, points: Array) -> Array:
        """Coordinates along the axis and along the arc."""
        offset = points - self.center
        angle = np.arctan2(offset @ self.end, offset @ self.start)
        return np.stack([offset @ self.axis, self.radius * angle], axis=1)

    def roll(self, points: Array) -> Array:
        """Back into space."""
        angle = points[:, 1:] / self.radius
        turned = self.radius * (np.cos(angle) * self.start + np.sin(angle) * self.end)
        rolled: Array = self.center + turned + points[:, :1] * self.axis
        return rolled


def fill(loop: Array, chart: Chart, edge: float) -> tuple[Array, Array]:
    """Triangulate a piece that is convex when unrolled.

    Args:
        loop: ``[n, 3]`` boundary points in turn; kept to the last bit.
        chart: Unrolls the piece.
        edge: Wanted edge length, m.

    Returns:
        points ``[m, 3]``, the loop first; triangles ``[t, 3]``, orientation unspecified.
    """
    boundary = chart.unroll(loop)
    inner = _lattice(boundary, edge)
    for _ in range(SMOOTHING_STEPS):
        inner = _smooth(boundary, inner)
    flat = np.concatenate([boundary, inner])
    triangles = Delaunay(flat).simplices
    a, b, c = flat[triangles].transpose(1, 0, 2)
    area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    return np.concatenate([loop, chart.roll(inner)]), triangles[area > SLIVER * edge**2]


def orient_convex(points: Array, triangles: Array) -> Array:
    """Turn the triangles ``[t, 3]`` of a convex body outward."""
    a, b, c = points[triangles].transpose(1, 0, 2)
    center = points.mean(axis=0)
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), (a + b + c) / 3 - center) < 0
    oriented: Array = np.where(inward[:, None], triangles[:, ::-1], triangles)
    return oriented


def _lattice(boundary: Array, edge: float) -> Array:
    """Points of an equilateral lattice inside the boundary."""
    low, high = boundary.min(axis=0), boundary.max(axis=0)
    middle = (low + high) / 2
    rows = np.arange(-int((high - low)[1] / edge) - 1, int((high - low)[1] / edge) + 2)
    columns = np.arange(-int((high - low)[0] / edge) - 1, int((high - low)[0] / edge) + 2)
    # Rows are a little closer than equilateral where the height asks for it, so that they fit without a gap.
    count = max(1, round((high - low)[1] / (edge * np.sqrt(0.75))))
    step = (high - low)[1] / count
    v = rows * step + (0.0 if count % 2 == 0 else step / 2)
    u = columns[None, :] * edge + np.where(rows[:, None] % 2 == 0, 0.0, edge / 2)
    points = np.stack([middle[0] + u, middle[1] + np.broadcast_to(v[:, None], u.shape)], axis=-1).reshape(-1, 2)
    points = points[Delaunay(boundary).find_simplex(points) >= 0]
    distance, _ = cKDTree(boundary).query(points)
    kept: Array = points[distance > CLEARANCE * edge]
    return kept


def _smooth(boundary: Array, inner: Array) -> Array:
    """Move every inner point to the mean of its Delaunay neighbors."""
    if len(inner) == 0:
        return inner
    points = np.concatenate([boundary, inner])
    start, neighbors = Delaunay(points).vertex_neighbor_vertices
    sums = np.add.reduceat(points[neighbors], start[:-1], axis=0)
    means: Array = sums / np.diff(start)[:, None]
    return means[len(boundary) :]
