"""Irregular triangle meshes without a mesh generator: centroidal points and their Delaunay triangles.

Boundary points stand in the wanted spacing; inner points are sampled and moved to the centres of their Voronoi cells
a few times (Lloyd; Du, Faber and Gunzburger 1999). Cells are measured with random samples, as many for each, and
weighted to the density ``size ** -4``, for which the spacing of a centroidal tessellation of the plane is proportional
to ``size``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.spatial import Delaunay, cKDTree

from meshops.errors import InputError

Array = np.ndarray[Any, Any]
Size = Callable[[Array], Array]  # [n, 2] -> [n], relative length of the edges

ROUNDS = 25
SAMPLES = 30  # per inner point
MIN_ANGLE = 15.0  # degrees; a mesh with a sharper triangle is made again from other samples
ATTEMPTS = 6
GRID = 300  # squares along each axis for areas and samples


def square_mesh(num_points: int, generator: torch.Generator, *, size: Size | None = None) -> tuple[Array, Array]:
    """Irregular triangles of the unit square.

    Args:
        num_points: n, corners and sides included.
        generator: Source of the samples.
        size: Relative edge length at points; None: the same everywhere.

    Returns:
        Points ``[n, 2]`` float64, those of the boundary first and exactly on the sides, and triangles ``[f, 3]``
        int64, counter-clockwise.

    Raises:
        InputError: Too few points for a mesh.
    """
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    return region_mesh(corners, None, num_points, generator, size=size)


def cell_mesh(
    num_points: int, radius_fn: Callable[[Array], Array], generator: torch.Generator, *, size: Size | None = None
) -> tuple[Array, Array]:
    """Irregular triangles of the unit square less a void about its centre.

    Args:
        num_points: n.
        radius_fn: Angles ``[k]`` in radians -> distance ``[k]`` of the edge of the void from (0.5, 0.5).
        generator: Source of the samples.
        size: Relative edge length at points; None: the same everywhere.

    Returns:
        As :func:`square_mesh`; the sides come first, then the points of the void.

    Raises:
        InputError: The void reaches a side, or there are too few points.
    """
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    curve = 0.5 + radius_fn(angle)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    if curve.min() <= 0.02 or curve.max() >= 0.98:
        raise InputError("the void must stay 0.02 away from the sides of the unit square; make its radius smaller")
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    return region_mesh(corners, [curve], num_points, generator, size=size)


def region_mesh(
    corners: Array, hole: list[Array] | None, num_points: int, generator: torch.Generator, *, size: Size | None = None
) -> tuple[Array, Array]:
    """Irregular triangles of a convex polygon less one hole.

    Args:
        corners: ``[k, 2]``, counter-clockwise; all become points.
        hole: Finely sampled curves ``[m, 2]`` that together surround the hole, each from where the one before ends; the
            first point of each becomes a point of the mesh.
        num_points: n.
        generator: Source of the samples.
        size: Relative edge length at points; None: the same everywhere.

    Returns:
        As :func:`square_mesh`: points of the polygon, then of the hole, then inner ones.

    Raises:
        InputError: Too few points.
    """
    size = size or (lambda points: np.ones(len(points)))
    sides = [np.linspace(a, b, 2000) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
    curves = [np.vstack([a, b[:1]]) for a, b in zip(hole or [], (hole or [])[1:] + (hole or [])[:1], strict=True)]
    unit = _unit_length(corners, sides, curves, num_points, size)
    outer = np.vstack([_spaced(side, unit, size) for side in sides])
    inner = np.vstack([_spaced(curve, unit, size) for curve in curves]) if curves else np.zeros((0, 2))
    boundary = np.vstack([outer, inner])
    if num_points - len(boundary) < len(boundary) // 4:
        raise InputError(f"num_points={num_points} leaves too few inside of {len(boundary)} boundary points; use more")
    for _ in range(ATTEMPTS):
        points = _filled(boundary, corners, inner, num_points - len(boundary), generator, size)
        triangles = _triangles(points, inner)
        used = len(np.unique(triangles)) == num_points
        if used and smallest_angle(points, triangles) > MIN_ANGLE and _closed(triangles, len(outer), len(inner)):
            return points, triangles
    raise InputError(f"no good mesh of {num_points} points found for this shape; use more points")


def smallest_angle(points: Array, triangles: Array) -> float:
    """Smallest angle of all triangles, degrees."""
    corner = points[triangles]
    ahead, back = np.roll(corner, -1, 1) - corner, np.roll(corner, 1, 1) - corner
    cross = ahead[..., 0] * back[..., 1] - ahead[..., 1] * back[..., 0]
    return float(np.degrees(np.arctan2(cross, (ahead * back).sum(-1))).min())


def within(points: Array, polygon: Array) -> Array:
    """``[n]`` bool: points inside a polygon ``[m, 2]``, by counting the sides above them."""
    a, b = polygon, np.roll(polygon, -1, 0)
    x, y = points[:, None, 0], points[:, None, 1]
    spans = (a[:, 0] > x) != (b[:, 0] > x)
    slope = (b[:, 1] - a[:, 1]) / np.where(a[:, 0] == b[:, 0], 1.0, b[:, 0] - a[:, 0])
    inside: Array = (spans & (y < a[:, 1] + slope * (x - a[:, 0]))).sum(1) % 2 == 1
    return inside


def random_void(generator: torch.Generator, *, low: float = 0.2, high: float = 0.4) -> Callable[[Array], Array]:
    """Smooth random radius of a void, between ``low`` and ``high``, m: a squashed random Fourier series.

    The void of Geo-FNO's elasticity (Li et al. 2023, section 4.1), whose series is another one.
    """
    modes = 6
    waves = np.arange(modes + 1)
    weight = torch.randn(2, modes + 1, generator=generator, dtype=torch.float64).numpy() / (1 + (waves / 2) ** 2)

    def radius(angle: Array) -> Array:
        phase = angle[..., None] * waves
        series = (weight[0] * np.cos(phase) + weight[1] * np.sin(phase)).sum(-1)
        squashed: Array = low + (high - low) / (1 + np.exp(-series))
        return squashed

    return radius


def _unit_length(corners: Array, sides: list[Array], curves: list[Array], num_points: int, size: Size) -> float:
    """Edge length where ``size`` is 1, from Euler's formula: triangles = 2 n - boundary points - 2 + 2 holes."""
    low, extent = corners.min(0), np.ptp(corners, axis=0)
    grid = np.stack(np.meshgrid(*[(np.arange(GRID) + 0.5) / GRID] * 2, indexing="ij"), -1).reshape(-1, 2) * extent + low
    if curves:
        grid = grid[~within(grid, np.vstack([c[:-1:20] for c in curves]))]
    cells = np.prod(extent) / GRID**2 * (size(grid) ** -2.0).sum() * 4 / np.sqrt(3)  # times unit ** -2: triangles
    border = sum(_count(curve, size) for curve in sides + curves)  # times 1 / unit: boundary points
    total = 2 * num_points - 2 + (2 if curves else 0)
    return float((border + np.sqrt(border**2 + 4 * total * cells)) / (2 * total))


def _count(curve: Array, size: Size) -> float:
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    return float((steps / size((curve[1:] + curve[:-1]) / 2)).sum())


def _spaced(curve: Array, unit: float, size: Size) -> Array:
    """Points ``unit * size`` apart along a curve ``[m, 2]``, its start included, its end not."""
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1) / (unit * size((curve[1:] + curve[:-1]) / 2))
    place = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0, place[-1], max(3, round(place[-1])), endpoint=False)
    return np.stack([np.interp(wanted, place, curve[:, axis]) for axis in range(2)], 1)


def _filled(boundary: Array, corners: Array, hole: Array, count: int, generator: torch.Generator, size: Size) -> Array:
    """Boundary points and ``count`` inner ones in the middle of their Voronoi cells, ``[n, 2]``."""
    samples = _sampled(corners, hole, SAMPLES * count, generator, size)
    weight = size(samples) ** -2.0
    start = _sampled(corners, hole, 2 * count + 20, generator, size)
    inner = start[cKDTree(boundary).query(start)[0].argsort()[len(start) // 20 :]]  # not on the boundary
    inner = inner[torch.randperm(len(inner), generator=generator).numpy()[:count]]
    for _ in range(ROUNDS):
        owner = cKDTree(np.vstack([boundary, inner])).query(samples)[1] - len(boundary)
        mine = owner >= 0
        total, *moment = (
            np.bincount(owner[mine], values[mine], count) for values in (weight, *(samples * weight[:, None]).T)
        )
        some = total > 0
        inner[some] = np.stack(moment, 1)[some] / total[some, None]
    return np.vstack([boundary, inner])


def _sampled(corners: Array, hole: Array, count: int, generator: torch.Generator, size: Size) -> Array:
    """``[count, 2]`` random points of the region with density ``size ** -2``, even within squares of a fine grid."""
    low, extent = corners.min(0), np.ptp(corners, axis=0)
    squares = np.stack(np.meshgrid(*[np.arange(GRID)] * 2, indexing="ij"), -1).reshape(-1, 2) / GRID
    share = np.cumsum(size((squares + 0.5 / GRID) * extent + low) ** -2.0)
    found: list[Array] = []
    while sum(map(len, found)) < count:
        draw = torch.rand(2 * count, 3, generator=generator, dtype=torch.float64).numpy()
        points = squares[np.searchsorted(share, draw[:, 2] * share[-1])] + draw[:, :2] / GRID
        points = points * extent + low
        found.append(points[~within(points, hole)] if len(hole) else points)
    return np.vstack(found)[:count]


def _triangles(points: Array, hole: Array) -> Array:
    """Delaunay triangles ``[f, 3]`` outside the hole, counter-clockwise."""
    triangles = Delaunay(points).simplices.astype(np.int64)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    twice = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    triangles = np.where(twice[:, None] > 0, triangles, triangles[:, [0, 2, 1]])
    keep = np.abs(twice) > 1e-12
    if len(hole):
        keep &= ~within((a + b + c) / 3, hole)
    kept: Array = triangles[keep]
    return kept


def _closed(triangles: Array, outer: int, hole: int) -> bool:
    """Whether the sides that belong to one triangle are just the edges of the polygon and of the hole."""
    sides = np.sort(np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    unique, count = np.unique(sides, axis=0, return_counts=True)
    rings = [(np.arange(n) + start, (np.arange(n) + 1) % n + start) for start, n in ((0, outer), (outer, hole)) if n]
    wanted = np.unique(np.vstack([np.sort(np.stack(ring, 1), 1) for ring in rings]), axis=0)
    return bool(np.array_equal(unique[count == 1], wanted))
