"""Steady transonic flow without friction past an aerofoil on one mesh: a front that moves with angle and Mach.

    div (rho u, rho u u + p I, (E + p) u) = 0,     E = p / (gamma - 1) + rho |u|^2 / 2

Second order away from shocks, see :mod:`meshops.solvers.transonic_kernels`. The free stream is given on a box of
:data:`FAR` chords about the aerofoil, so that the lift is some percent below that of an unbounded stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import reverse_cuthill_mckee

from meshops.errors import InputError
from meshops.solvers.unstructured import Size, region_mesh

Array = np.ndarray[Any, Any]
GAMMA = 1.4
FAR = 5.0  # chords from the aerofoil to the edge of the domain
THICKNESS = 0.12  # of the aerofoil, in chords
GROWTH = 10.0  # of the edges with the distance from the aerofoil, per chord
MOST_STEPS, LOOK, TOLERANCE = 2500, 100, 5e-4
FIRST_ORDER, ROUNDS = 30, 2  # steps without slopes at the start; pairs of sweeps in each step
PRESSURE, DENSITY = 101_325.0, 1.225  # of the free stream, Pa and kg/m^3


@dataclass(frozen=True, eq=False)
class DualMesh:
    """Dual cells around the points of a triangle mesh.

    Attributes:
        points: ``[n, 2]``, m, in an order that keeps neighbors together.
        triangles: ``[f, 3]`` counter-clockwise.
        edges: ``[e, 2]`` point pairs; ``normals [e, 2]`` of the faces between their cells, from first to second, m.
        normals: See ``edges``.
        volume: ``[n]``, m^2.
        rim: ``[b, 2]`` sides of the boundary; ``rim_normals [b, 2]`` outward, m; ``wall [b]`` bool.
        rim_normals: See ``rim``.
        wall: See ``rim``.
        starts: ``[n + 1]`` where the neighbors of each point begin in ``ends [2 e]``; ``away [2 e, 2]`` normals.
        ends: See ``starts``.
        away: See ``starts``.
        rim_size: ``[n]`` length of boundary that belongs to each point, m.
    """

    points: Array
    triangles: Array
    edges: Array
    normals: Array
    volume: Array
    rim: Array
    rim_normals: Array
    wall: Array
    starts: Array
    ends: Array
    away: Array
    rim_size: Array

    @classmethod
    def of(cls, points: Array, triangles: Array, wall: Any) -> DualMesh:
        """Dual cells of a mesh.

        Args:
            points: ``[n, 2]``.
            triangles: ``[f, 3]`` counter-clockwise.
            wall: Function of the middles ``[b, 2]`` of the sides of the boundary that says which let nothing through.
        """
        points, triangles = _renumbered(points, triangles)
        n = len(points)
        corner = points[triangles]
        centre = corner.mean(1)
        sides = np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        face = np.tile(centre, (3, 1)) - points[sides].mean(1)  # from the middle of a side to the centre, left of it
        normal = np.stack([face[:, 1], -face[:, 0]], 1)
        forth = sides[:, 0] < sides[:, 1]
        edges, where, count = np.unique(np.sort(sides, 1), axis=0, return_inverse=True, return_counts=True)
        where = where.reshape(-1)
        signed = np.where(forth[:, None], normal, -normal)
        normals = np.stack([np.bincount(where, signed[:, d], len(edges)) for d in range(2)], 1)
        first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        area = 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
        volume = np.bincount(triangles.ravel(), np.repeat(area, 3) / 3, n)
        rim = sides[count[where] == 1]
        along = points[rim[:, 1]] - points[rim[:, 0]]
        rim_normals = np.stack([along[:, 1], -along[:, 0]], 1)
        tails, heads = np.r_[edges[:, 0], edges[:, 1]], np.r_[edges[:, 1], edges[:, 0]]
        order = np.lexsort([heads, tails])
        starts = np.r_[0, np.cumsum(np.bincount(tails, minlength=n))]
        size = np.bincount(rim.ravel(), np.repeat(np.hypot(*rim_normals.T), 2) / 2, n)
        return cls(
            points, triangles, edges, normals, volume, rim, rim_normals, wall(points[rim].mean(1)), starts,
            heads[order], np.vstack([normals, -normals])[order], size,
        )  # fmt: skip


def _renumbered(points: Array, triangles: Array) -> tuple[Array, Array]:
    pairs = np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    graph = coo_matrix((np.ones(2 * len(pairs)), np.vstack([pairs, pairs[:, ::-1]]).T), (len(points),) * 2).tocsr()
    order = reverse_cuthill_mckee(graph, symmetric_mode=True)
    place = np.empty(len(points), dtype=np.int64)
    place[order] = np.arange(len(points))
    return points[order], place[triangles]


def aerofoil_mesh(num_points: int, generator: torch.Generator) -> DualMesh:
    """Dual cells around a NACA 0012 section from (0, 0) to (1, 0), fine near it."""
    s = (1 + np.cos(np.linspace(0, np.pi, 2001)[:-1])) / 2  # from the trailing edge to the nose
    depth = THICKNESS / 0.2 * (0.2969 * np.sqrt(s) - 0.126 * s - 0.3516 * s**2 + 0.2843 * s**3 - 0.1036 * s**4)
    upper = np.stack([s, depth], 1)
    lower = np.vstack([[[0.0, 0.0]], upper[:0:-1] * [1, -1]])
    corners = np.array([[-FAR, -FAR], [FAR + 1, -FAR], [FAR + 1, FAR], [-FAR, FAR]])
    points, triangles = region_mesh(corners, [upper, lower], num_points, generator, size=_sizes())
    return DualMesh.of(points, triangles, lambda middle: np.abs(middle - [0.5, 0]).max(1) < 0.9)


def _sizes() -> Size:
    """Relative edge lengths, growing with the distance from the chord."""

    def size(at: Array) -> Array:
        x, y = at.T
        relative: Array = 1 + GROWTH * np.hypot(np.maximum(np.abs(x - 0.5) - 0.5, 0), y)
        return relative

    return size


def steady_flow(
    mesh: DualMesh, mach: float, angle: float, *, start: Array | None = None, tolerance: float = TOLERANCE
) -> Array:
    """State ``[n, 4]`` at rest: density, velocity, pressure, in units of the free stream's density and speed of sound.

    Args:
        mesh: Dual cells.
        mach: Speed of the free stream over that of sound.
        angle: Of attack, degrees; the stream comes from below for positive ones.
        start: State to begin with; None: the free stream.
        tolerance: Of the change of the pressure in a hundred steps, over its difference to that of the free stream;
            what is left to change is then about half of it.

    Raises:
        InputError: A number makes no sense, or the steady state is not reached.
    """
    from meshops.solvers.transonic_kernels import advance, residual, sweep

    if not (0 < mach < 5 and abs(angle) < 45):
        raise InputError(f"mach must be in (0, 5) and angle within 45 degrees, got {mach} and {angle}")
    stream = free_stream(mach, angle)
    geometry = (mesh.points, mesh.edges, mesh.normals, mesh.rim, mesh.rim_normals, mesh.wall, stream, mesh.volume)
    neighbors = (mesh.starts, mesh.ends, mesh.away, mesh.rim_size)
    state = np.tile(stream, (len(mesh.points), 1)) if start is None else start.copy()
    before, change = state[:, 3].copy(), np.inf
    for number in range(MOST_STEPS):
        flow = residual(state, *geometry, 1 if start is None and number < FIRST_ORDER else 2)
        advance(state, sweep(state, flow, *neighbors, 2 * 1.3 ** min(number, 32), ROUNDS))
        if number % LOOK == LOOK - 1:
            size = float(np.linalg.norm(state[:, 3] - stream[3]))
            change = float(np.linalg.norm(state[:, 3] - before)) / max(size, 1e-12 * len(before))
            if change < tolerance and number > FIRST_ORDER:
                return state
            before = state[:, 3].copy()
    raise InputError(
        f"no steady flow at Mach {mach:g}, {angle:g} degrees after {MOST_STEPS} steps (it still changes by "
        f"{change:.1e} in {LOOK}); use a milder Mach number or angle, or another number of points"
    )


def free_stream(mach: float, angle: float) -> Array:
    """``[4]`` density, velocity and pressure far away."""
    turn = np.radians(angle)
    return np.array([1.0, mach * np.cos(turn), mach * np.sin(turn), 1 / GAMMA])


def front_study(
    cases: int, seed: int = 0, *, num_points: int = 3000, mach: tuple[float, float] = (0.72, 0.82),
    angle: tuple[float, float] = (0.0, 3.0),
) -> tuple[DualMesh, Array, Iterator[tuple[int, Array, Array]]]:  # fmt: skip
    """One mesh, angles and Mach numbers spread evenly, and the flows as they are solved.

    Args:
        cases: Number of flows.
        seed: Of the mesh and the parameters.
        num_points: n.
        mach: Lowest and highest.
        angle: Lowest and highest, degrees.

    Returns:
        Mesh, ``[cases, 2]`` angle and Mach number, and an iterator of (case, pressure ``[n]`` Pa, velocity ``[n, 2]``
        m/s); cases come in an order in which each starts from a near one.

    Raises:
        InputError: A number makes no sense.
    """
    if cases < 1:
        raise InputError(f"cases must be at least 1, got {cases}")
    mesh = aerofoil_mesh(num_points, torch.Generator().manual_seed(seed))
    draw = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed).draw(cases, dtype=torch.float64).numpy()
    low, high = np.array([angle[0], mach[0]]), np.array([angle[1], mach[1]])
    parameters = np.round(low + draw * (high - low), 4)
    return mesh, parameters, _flows(mesh, parameters, draw)


def _flows(mesh: DualMesh, parameters: Array, draw: Array) -> Iterator[tuple[int, Array, Array]]:
    sound = np.sqrt(GAMMA * PRESSURE / DENSITY)
    solved: list[tuple[int, Array]] = []
    for case in _path(draw):
        near = min(solved, key=lambda found: float(np.abs(draw[found[0]] - draw[case]).sum()), default=None)
        angle, mach = parameters[case]
        state = steady_flow(mesh, float(mach), float(angle), start=None if near is None else near[1])
        solved.append((case, state))
        yield case, state[:, 3] * GAMMA * PRESSURE, state[:, 1:3] * sound


def _path(places: Array) -> Sequence[int]:
    """Order of the places in which the next is always the nearest to any before, from the lowest on."""
    left = list(range(len(places)))
    order = [min(left, key=lambda i: float(places[i].sum()))]
    left.remove(order[0])
    distance = np.abs(places - places[order[0]]).sum(1)
    while left:
        best = min(left, key=lambda i: float(distance[i]))
        left.remove(best)
        order.append(best)
        distance = np.minimum(distance, np.abs(places - places[best]).sum(1))
    return order
