"""Loops of :mod:`meshops.solvers.transonic`, compiled at the first call.

Median-dual finite volumes on the points of a triangle mesh: HLLC fluxes between values extrapolated along the edges
with the limiter of van Albada (1982), and symmetric Gauss-Seidel sweeps after Yoon and Jameson (1988) on the way to the
steady state. Values are density, velocity (2) and pressure in units of the free stream's density and speed of
sound.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from meshops.ops.kernels.compile import njit

Array = np.ndarray[Any, Any]
GAMMA = 1.4
SMOOTH = 1e-4  # added to the squares of the limiter, so that the steady state is reached


@njit()
def hllc(left: Array, right: Array, nx: float, ny: float, out: Array) -> None:
    """Flux ``[4]`` along the normal (nx, ny), which need not be of length 1."""
    length = np.sqrt(nx * nx + ny * ny)
    nx /= length
    ny /= length
    rl, pl, rr, pr = left[0], left[3], right[0], right[3]
    ul, ur = left[1] * nx + left[2] * ny, right[1] * nx + right[2] * ny
    cl, cr = np.sqrt(GAMMA * pl / rl), np.sqrt(GAMMA * pr / rr)
    wl, wr = np.sqrt(rl), np.sqrt(rr)
    mean = (wl * ul + wr * ur) / (wl + wr)
    spread = np.sqrt((wl * cl * cl + wr * cr * cr) / (wl + wr) + 0.5 * wl * wr / (wl + wr) ** 2 * (ur - ul) ** 2)
    sl, sr = min(ul - cl, mean - spread), max(ur + cr, mean + spread)
    middle = (pr - pl + rl * ul * (sl - ul) - rr * ur * (sr - ur)) / (rl * (sl - ul) - rr * (sr - ur))
    if middle >= 0:
        side, speed, wave = left, ul, sl
    else:
        side, speed, wave = right, ur, sr
    rho, p = side[0], side[3]
    energy = p / (GAMMA - 1) + 0.5 * rho * (side[1] ** 2 + side[2] ** 2)
    out[0] = rho * speed
    out[1] = rho * speed * side[1] + p * nx
    out[2] = rho * speed * side[2] + p * ny
    out[3] = (energy + p) * speed
    if sl < 0 < sr:
        factor = rho * (wave - speed) / (wave - middle)
        out[0] += wave * (factor - rho)
        out[1] += wave * (factor * (side[1] + (middle - speed) * nx) - rho * side[1])
        out[2] += wave * (factor * (side[2] + (middle - speed) * ny) - rho * side[2])
        star = factor * (energy / rho + (middle - speed) * (middle + p / (rho * (wave - speed))))
        out[3] += wave * (star - energy)
    out *= length


@njit()
def gradients(state: Array, edges: Array, normals: Array, rim: Array, rim_normals: Array, volume: Array) -> Array:
    """``[n, 4, 2]`` by Green and Gauss, exact for linear values on the dual cells.

    ``rim [b, 2]`` are the sides of the boundary with outward normals, shared out to their ends with weights 5/6, 1/6.
    """
    out = np.zeros((state.shape[0], 4, 2))
    for e in range(edges.shape[0]):
        i, j = edges[e, 0], edges[e, 1]
        for k in range(4):
            mean = 0.5 * (state[i, k] + state[j, k])
            for d in range(2):
                out[i, k, d] += mean * normals[e, d]
                out[j, k, d] -= mean * normals[e, d]
    for b in range(rim.shape[0]):
        i, j = rim[b, 0], rim[b, 1]
        for k in range(4):
            for d in range(2):
                out[i, k, d] += 0.5 * rim_normals[b, d] * (5 * state[i, k] + state[j, k]) / 6
                out[j, k, d] += 0.5 * rim_normals[b, d] * (5 * state[j, k] + state[i, k]) / 6
    for i in range(state.shape[0]):
        out[i] /= volume[i]
    return out


@njit()
def _limited(ahead: float, back: float) -> float:
    if ahead * back <= 0:
        return 0.0
    a, b = ahead * ahead + SMOOTH, back * back + SMOOTH
    return (a * back + b * ahead) / (a + b)


@njit()
def residual(
    state: Array, points: Array, edges: Array, normals: Array, rim: Array, rim_normals: Array, wall: Array,
    stream: Array, volume: Array, order: int,
) -> Array:  # fmt: skip
    """``[n, 4]`` flowing out of each dual cell; ``order`` 1 or 2, ``wall [b]``: sides that let nothing through."""
    out = np.zeros((state.shape[0], 4))
    slope = gradients(state, edges, normals, rim, rim_normals, volume) if order == 2 else np.zeros((1, 4, 2))
    left, right, flux = np.empty(4), np.empty(4), np.empty(4)
    for e in range(edges.shape[0]):
        i, j = edges[e, 0], edges[e, 1]
        left[:], right[:] = state[i], state[j]
        if order == 2:
            dx, dy = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
            for k in range(4):
                step = state[j, k] - state[i, k]
                left[k] += 0.5 * _limited(2 * (slope[i, k, 0] * dx + slope[i, k, 1] * dy) - step, step)
                right[k] -= 0.5 * _limited(2 * (slope[j, k, 0] * dx + slope[j, k, 1] * dy) - step, step)
        hllc(left, right, normals[e, 0], normals[e, 1], flux)
        out[i] += flux
        out[j] -= flux
    for b in range(rim.shape[0]):
        nx, ny = 0.5 * rim_normals[b, 0], 0.5 * rim_normals[b, 1]
        for end in range(2):
            i, j = rim[b, end], rim[b, 1 - end]
            if wall[b]:
                pressure = (5 * state[i, 3] + state[j, 3]) / 6
                out[i, 1] += pressure * nx
                out[i, 2] += pressure * ny
            else:
                hllc(state[i], stream, nx, ny, flux)
                out[i] += flux
    return out


@njit()
def _change(state: Array, step: Array, nx: float, ny: float, out: Array) -> None:
    """Difference of the fluxes along a normal after a step of the conserved values and before."""
    for turn in range(2):
        rho, u, v, p = state[0], state[1], state[2], state[3]
        if turn == 1:
            energy = p / (GAMMA - 1) + 0.5 * rho * (u * u + v * v) + step[3]
            mx, my = rho * u + step[1], rho * v + step[2]
            rho = max(rho + step[0], 1e-3)
            u, v = mx / rho, my / rho
            p = max((GAMMA - 1) * (energy - 0.5 * rho * (u * u + v * v)), 1e-3)
        energy = p / (GAMMA - 1) + 0.5 * rho * (u * u + v * v)
        through, sign = u * nx + v * ny, 2.0 * turn - 1.0
        out[0] += sign * rho * through
        out[1] += sign * (rho * through * u + p * nx)
        out[2] += sign * (rho * through * v + p * ny)
        out[3] += sign * (energy + p) * through


@njit()
def sweep(
    state: Array, flow: Array, starts: Array, ends: Array, away: Array, rim_size: Array, cfl: float, rounds: int
) -> Array:
    """Steps ``[n, 4]`` of the conserved values by sweeps forth and back over the points.

    Args:
        state: ``[n, 4]`` values.
        flow: ``[n, 4]`` of :func:`residual`.
        starts: ``[n + 1]``, ``ends [2 e]``, ``away [2 e, 2]``: neighbors of each point and normals toward them.
        ends: See ``starts``.
        away: See ``starts``.
        rim_size: ``[n]`` length of the boundary of each dual cell.
        cfl: Courant number of the local time step.
        rounds: Pairs of sweeps.
    """
    n = state.shape[0]
    step, waves, change = np.zeros((n, 4)), np.empty(ends.shape[0]), np.empty(4)
    diagonal = np.zeros(n)
    for i in range(n):
        sound = np.sqrt(GAMMA * state[i, 3] / state[i, 0])
        total = rim_size[i] * (np.sqrt(state[i, 1] ** 2 + state[i, 2] ** 2) + sound)
        for k in range(starts[i], starts[i + 1]):
            j = ends[k]
            nx, ny = away[k, 0], away[k, 1]
            u, v = 0.5 * (state[i, 1] + state[j, 1]), 0.5 * (state[i, 2] + state[j, 2])
            other = np.sqrt(GAMMA * state[j, 3] / state[j, 0])
            waves[k] = abs(u * nx + v * ny) + 0.5 * (sound + other) * np.sqrt(nx * nx + ny * ny)
            total += waves[k]
        diagonal[i] = total * (1.0 / cfl + 0.5)
    for turn in range(2 * rounds):
        for place in range(n):
            i = place if turn % 2 == 0 else n - 1 - place
            change[:] = 0
            for k in range(starts[i], starts[i + 1]):
                j = ends[k]
                if turn > 0 or j < i:  # the others have no step yet
                    _change(state[j], step[j], away[k, 0], away[k, 1], change)
                    for c in range(4):
                        change[c] -= waves[k] * step[j, c]
            for c in range(4):
                step[i, c] = (-flow[i, c] - 0.5 * change[c]) / diagonal[i]
    return step


@njit()
def advance(state: Array, step: Array) -> float:
    """Add steps of the conserved values in place, held back where density or pressure would fall by half."""
    largest = 0.0
    for i in range(state.shape[0]):
        rho, u, v, p = state[i]
        energy = p / (GAMMA - 1) + 0.5 * rho * (u * u + v * v)
        share = 1.0
        for _ in range(12):
            new = rho + share * step[i, 0]
            mx, my = rho * u + share * step[i, 1], rho * v + share * step[i, 2]
            if new > 0.5 * rho:
                pressure = (GAMMA - 1) * (energy + share * step[i, 3] - 0.5 * (mx * mx + my * my) / new)
                if pressure > 0.5 * p:
                    state[i, 0], state[i, 1], state[i, 2], state[i, 3] = new, mx / new, my / new, pressure
                    break
            share *= 0.5
        largest = max(largest, abs(step[i, 0]))
    return largest
