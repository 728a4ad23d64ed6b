"""Compressible Euler equations on regular grids of one to three dimensions: finite volumes, second order.

    d/dt (rho, rho u, E) + div (rho u, rho u u + p I, (E + p) u) = 0,     E = p / (gamma - 1) + rho |u|^2 / 2

Limited linear reconstruction of the primitive values (monotonized central, van Leer 1977), HLLC fluxes (Toro, Spruce,
Speares 1994; wave speeds of Einfeldt 1988), Heun's two-stage Runge-Kutta (SSP, Shu and Osher 1988).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.solvers.checks import checked_times

BOUNDARIES = ("periodic", "open", "wall")


@torch.no_grad()
def solve_euler(
    primitive: Tensor,
    times: Sequence[float] | Tensor,
    *,
    extent: Sequence[float],
    gamma: float = 1.4,
    boundary: Sequence[str] | None = None,
    cfl: float = 0.4,
) -> Tensor:
    """States at the given times, ``[t, d + 2, *grid]`` float64.

    Args:
        primitive: ``[d + 2, *grid]`` density (kg/m^3), velocity components (m/s), pressure (Pa) at time 0.
        times: Ascending, s; 0 gives the initial state back.
        extent: Length of the domain along each axis, m.
        gamma: Ratio of specific heats.
        boundary: ``"periodic"``, ``"open"`` (zero gradient) or ``"wall"`` (reflecting) for each axis; default open.
        cfl: Courant number, at most 0.5 is stable in practice.

    Raises:
        InputError: Shapes or names that do not fit, or the state becomes unphysical (time and cell are named).
    """
    state = primitive.detach().double()
    dim = state.dim() - 1
    kinds = tuple(boundary or ("open",) * dim)
    if not 1 <= dim <= 3 or state.shape[0] != dim + 2 or len(extent) != dim or len(kinds) != dim:
        raise InputError(
            f"primitive must be [d + 2, *grid] with extent and boundary per axis, got {tuple(state.shape)}, "
            f"{len(extent)} extents and {len(kinds)} boundaries"
        )
    if any(kind not in BOUNDARIES for kind in kinds):
        raise InputError(f"boundary must be one of {', '.join(BOUNDARIES)} for each axis, got {kinds}")
    moments = checked_times(times, cfl=cfl)
    step = [length / n for length, n in zip(extent, state.shape[1:], strict=True)]
    _check(state, 0.0)
    now, out = 0.0, []
    conserved = _conserved(state, gamma)
    for time in moments:
        while now < time * (1 - 1e-12) - 1e-300:
            state = _primitive(conserved, gamma)
            dt = min(_time_step(state, step, gamma, cfl), time - now)
            first = conserved + dt * _rate(conserved, step, kinds, gamma)
            second = first + dt * _rate(first, step, kinds, gamma)
            conserved = 0.5 * (conserved + second)
            now += dt
            _check(_primitive(conserved, gamma), now)
        out.append(_primitive(conserved, gamma))
    return torch.stack(out)


def _conserved(state: Tensor, gamma: float) -> Tensor:
    density, velocity, pressure = state[:1], state[1:-1], state[-1:]
    energy = pressure / (gamma - 1) + 0.5 * density * velocity.square().sum(0, keepdim=True)
    return torch.cat([density, density * velocity, energy])


def _primitive(conserved: Tensor, gamma: float) -> Tensor:
    density, momentum, energy = conserved[:1], conserved[1:-1], conserved[-1:]
    velocity = momentum / density
    pressure = (gamma - 1) * (energy - 0.5 * (momentum * velocity).sum(0, keepdim=True))
    return torch.cat([density, velocity, pressure])


def _check(state: Tensor, time: float) -> None:
    bad = ~((state[0] > 0) & (state[-1] > 0) & torch.isfinite(state).all(0))
    if bool(bad.any()):
        cell = tuple(bad.nonzero()[0].tolist())
        values = [f"{v:.3g}" for v in state[(slice(None), *cell)].tolist()]
        raise InputError(
            f"density or pressure is not positive at time {time:.4g} in cell {cell} (state {', '.join(values)}); "
            "lower cfl, or use a milder initial state"
        )


def _time_step(state: Tensor, step: Sequence[float], gamma: float, cfl: float) -> float:
    sound = (gamma * state[-1] / state[0]).sqrt()
    rate = sum(((state[1 + axis].abs() + sound) / h for axis, h in enumerate(step)), torch.zeros_like(sound))
    return cfl / float(rate.max())


def _rate(conserved: Tensor, step: Sequence[float], kinds: Sequence[str], gamma: float) -> Tensor:
    state = _primitive(conserved, gamma)
    rate = torch.zeros_like(conserved)
    for axis, (h, kind) in enumerate(zip(step, kinds, strict=True)):
        padded = with_ghosts(state, axis, kind)
        left, right = faces(padded, axis)
        flux = _hllc(left, right, axis, gamma)
        rate -= flux.diff(dim=axis + 1) / h
    return rate


def with_ghosts(state: Tensor, axis: int, kind: str) -> Tensor:
    """Two cells more at both ends of an axis."""
    dim, n = axis + 1, state.shape[axis + 1]
    if kind == "periodic":
        index = torch.arange(-2, n + 2, device=state.device) % n
        return state.index_select(dim, index)
    place = torch.arange(-2, n + 2, device=state.device)
    if kind == "open":
        return state.index_select(dim, place.clamp(0, n - 1))
    mirrored = torch.where(place < 0, -1 - place, torch.where(place >= n, 2 * n - 1 - place, place)).clamp(0, n - 1)
    padded = state.index_select(dim, mirrored)
    ends = torch.ones(n + 4, dtype=state.dtype, device=state.device)
    ends[:2] = ends[-2:] = -1
    padded[1 + axis] *= ends.view([-1 if a == axis else 1 for a in range(state.dim() - 1)])
    return padded


def faces(padded: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """States on both sides of the n + 1 faces along an axis; within the range of their neighbors, so positive."""
    dim = axis + 1
    difference = padded.diff(dim=dim)
    n = padded.shape[dim]
    before, after = difference.narrow(dim, 0, n - 2), difference.narrow(dim, 1, n - 2)
    centre = 0.5 * (before + after)
    least = torch.minimum(torch.minimum(2 * before.abs(), 2 * after.abs()), centre.abs())
    slope = torch.where(before * after > 0, centre.sign() * least, 0.0)
    middle = padded.narrow(dim, 1, n - 2)
    low, high = middle - 0.5 * slope, middle + 0.5 * slope
    return high.narrow(dim, 0, n - 3), low.narrow(dim, 1, n - 3)


def _hllc(left: Tensor, right: Tensor, axis: int, gamma: float) -> Tensor:
    """Flux through faces normal to an axis."""
    sides = []
    for side in (left, right):
        density, pressure, speed = side[0], side[-1], side[1 + axis]
        sides.append((density, pressure, speed, (gamma * pressure / density).sqrt(), _conserved(side, gamma)))
    (rl, pl, ul, cl, ql), (rr, pr, ur, cr, qr) = sides
    root_l, root_r = rl.sqrt(), rr.sqrt()
    mean = (root_l * ul + root_r * ur) / (root_l + root_r)
    spread = (root_l * cl**2 + root_r * cr**2) / (root_l + root_r)
    spread = (spread + 0.5 * root_l * root_r / (root_l + root_r) ** 2 * (ur - ul) ** 2).sqrt()
    sl, sr = torch.minimum(ul - cl, mean - spread), torch.maximum(ur + cr, mean + spread)
    contact = (pr - pl + rl * ul * (sl - ul) - rr * ur * (sr - ur)) / (rl * (sl - ul) - rr * (sr - ur))
    fl, fr = _flux(left, ql, axis), _flux(right, qr, axis)
    star_l = fl + sl * (_star(left, ql, sl, contact, axis) - ql)
    star_r = fr + sr * (_star(right, qr, sr, contact, axis) - qr)
    flux = torch.where(contact >= 0, star_l, star_r)
    return torch.where(sl >= 0, fl, torch.where(sr <= 0, fr, flux))


def _flux(state: Tensor, conserved: Tensor, axis: int) -> Tensor:
    speed, pressure = state[1 + axis], state[-1]
    flux = conserved * speed
    flux[1 + axis] += pressure
    flux[-1] += pressure * speed
    return flux


def _star(state: Tensor, conserved: Tensor, wave: Tensor, contact: Tensor, axis: int) -> Tensor:
    """Conserved state between a wave and the contact."""
    density, speed, pressure = state[0], state[1 + axis], state[-1]
    star = conserved * ((wave - speed) / (wave - contact))
    factor = density * (wave - speed) / (wave - contact)
    star[1 + axis] = factor * contact
    energy = conserved[-1] / density + (contact - speed) * (contact + pressure / (density * (wave - speed)))
    star[-1] = factor * energy
    return star
