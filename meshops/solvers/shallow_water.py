"""Shallow water on a flat bed: finite volumes, second order.

    d/dt (h, h u, h v) + div (h u, h u u + g h^2 / 2 I) = 0

The same scheme as for the Euler equations: limited linear reconstruction, HLLC fluxes, Heun's method. With
p = g h^2 / 2 these are the equations of a gas with gamma = 2 and uniform entropy, which need no energy equation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.solvers.checks import check_settings, checked_times
from meshops.solvers.euler import BOUNDARIES, faces, with_ghosts
from meshops.solvers.simulation import Simulation


@torch.no_grad()
def solve_shallow_water(
    state: Tensor,
    times: Sequence[float] | Tensor,
    *,
    extent: Sequence[float],
    gravity: float = 1.0,
    boundary: Sequence[str] | None = None,
    cfl: float = 0.4,
) -> Tensor:
    """Depth and velocity at the given times, ``[t, 1 + d, *grid]`` float64.

    Args:
        state: ``[1 + d, *grid]`` depth (m, positive) and velocity (m/s) at time 0; one or two axes.
        times: Ascending, s.
        extent: Length of the domain along each axis, m.
        gravity: m/s^2.
        boundary: ``"periodic"``, ``"open"`` or ``"wall"`` for each axis; default open.
        cfl: Courant number.

    Raises:
        InputError: Shapes or names do not fit, or the bed falls dry.
    """
    state = state.detach().double()
    dim = state.dim() - 1
    kinds = tuple(boundary or ("open",) * dim)
    if dim not in (1, 2) or state.shape[0] != dim + 1 or len(extent) != dim or len(kinds) != dim:
        raise InputError(f"state must be [1 + d, *grid] with extent and boundary per axis, got {tuple(state.shape)}")
    if any(kind not in BOUNDARIES for kind in kinds):
        raise InputError(f"boundary must be one of {', '.join(BOUNDARIES)} for each axis, got {kinds}")
    step = [length / n for length, n in zip(extent, state.shape[1:], strict=True)]
    now, out = 0.0, []
    conserved = torch.cat([state[:1], state[:1] * state[1:]])
    for time in checked_times(times, cfl=cfl):
        while now < time * (1 - 1e-12):
            state = torch.cat([conserved[:1], conserved[1:] / conserved[:1]])
            if not bool((state[0] > 0).all()):
                cell = tuple((~(state[0] > 0)).nonzero()[0].tolist())
                raise InputError(
                    f"the bed falls dry at time {now:.4g} in cell {cell}; this solver needs water everywhere"
                )
            wave = (gravity * state[0]).sqrt()
            rate = sum(((state[1 + a].abs() + wave) / h for a, h in enumerate(step)), torch.zeros_like(wave))
            dt = min(cfl / float(rate.max()), time - now)
            first = conserved + dt * _rate(conserved, step, kinds, gravity)
            conserved = 0.5 * (conserved + first + dt * _rate(first, step, kinds, gravity))
            now += dt
        out.append(torch.cat([conserved[:1], conserved[1:] / conserved[:1]]))
    return torch.stack(out)


def _rate(conserved: Tensor, step: Sequence[float], kinds: Sequence[str], gravity: float) -> Tensor:
    state = torch.cat([conserved[:1], conserved[1:] / conserved[:1]])
    rate = torch.zeros_like(conserved)
    for axis, (h, kind) in enumerate(zip(step, kinds, strict=True)):
        left, right = faces(with_ghosts(state, axis, kind), axis)
        rate -= _flux(left, right, axis, gravity).diff(dim=axis + 1) / h
    return rate


def _flux(left: Tensor, right: Tensor, axis: int, gravity: float) -> Tensor:
    """HLLC: the two outer waves and the contact that carries the velocity along the face."""
    (hl, ul), (hr, ur) = ((side[0], side[1 + axis]) for side in (left, right))
    cl, cr = (gravity * hl).sqrt(), (gravity * hr).sqrt()
    middle = 0.5 * (ul + ur) + cl - cr
    wave = (0.5 * (cl + cr) + 0.25 * (ul - ur)).clamp(min=0)
    sl, sr = torch.minimum(ul - cl, middle - wave), torch.maximum(ur + cr, middle + wave)
    contact = (sl * hr * (ur - sr) - sr * hl * (ul - sl)) / (hr * (ur - sr) - hl * (ul - sl))
    sides = []
    for side, speed, s in ((left, ul, sl), (right, ur, sr)):
        depth = side[0]
        q = torch.cat([side[:1], side[:1] * side[1:]])
        f = q * speed
        f[1 + axis] += 0.5 * gravity * depth.square()
        star_depth = depth * (s - speed) / (s - contact)
        star = torch.cat([torch.ones_like(side[:1]), side[1:]]) * star_depth
        star[1 + axis] = star_depth * contact
        sides.append((f, f + s * (star - q)))
    (fl, star_l), (fr, star_r) = sides
    inner = torch.where(contact >= 0, star_l, star_r)
    return torch.where(sl >= 0, fl, torch.where(sr <= 0, fr, inner))


def radial_dam_break(seed: int = 0, *, resolution: int = 128, frames: int = 101, t_end: float = 1.0) -> Simulation:
    """A column of water 2 m deep in water of 1 m on a square of side 5 m, as PDEBench: radius 0.3 to 0.7 m, g = 1."""
    check_settings(resolution=resolution, frames=frames, t_end=t_end)
    generator = torch.Generator().manual_seed(seed)
    radius = 0.3 + 0.4 * float(torch.rand((), generator=generator, dtype=torch.float64))
    axis = (torch.arange(resolution, dtype=torch.float64) + 0.5) / resolution * 5 - 2.5
    inside = axis.view(-1, 1).square() + axis.view(1, -1).square() <= radius**2
    depth = torch.where(inside, 2.0, 1.0).double()
    state = torch.stack([depth, torch.zeros_like(depth), torch.zeros_like(depth)])
    time = torch.linspace(0, t_end, frames, dtype=torch.float64)
    solution = solve_shallow_water(state, time, extent=(5.0, 5.0)).float()
    return Simulation(
        {"h": solution[:, 0], "velocity": solution[:, 1:].movedim(1, -1).contiguous()}, time, (-2.5, -2.5), (5.0, 5.0),
        ("open", "open"), {"seed": float(seed), "radius": radius}, velocity="velocity",
    )  # fmt: skip
