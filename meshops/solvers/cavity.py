"""Lid-driven cavity: incompressible flow in a box whose upper wall moves; finite differences on a staggered grid.

    du/dt + div (u u) = -grad p + nu lap u,     div u = 0

Harlow and Welch's marker-and-cell grid (1965), second-order central differences, Chorin's projection; the pressure
equation is solved exactly by cosine transforms. Heun's method in time.
"""

from __future__ import annotations

import math

import torch
from scipy.fft import dctn, idctn
from torch import Tensor

from meshops.errors import InputError
from meshops.solvers.checks import check_settings, checked_times
from meshops.solvers.simulation import Simulation


@torch.no_grad()
def solve_cavity(
    times: Tensor, *, resolution: int, lid: float, viscosity: float, width: float = 1.0, height: float = 1.0
) -> Tensor:
    """Velocity at cell centres, ``[t, nx, ny, 2]`` float64, from rest.

    Args:
        times: Ascending, s.
        resolution: Cells along each axis.
        lid: Velocity of the wall at high y, m/s.
        viscosity: Kinematic, m^2/s.
        width: Of the box along x, m.
        height: Of the box along y, m.

    Raises:
        InputError: The cells are too coarse for the boundary layer, so that the flow blows up.
    """
    n, dx, dy = resolution, width / resolution, height / resolution
    u = torch.zeros(n + 1, n, dtype=torch.float64)  # on faces normal to x
    v = torch.zeros(n, n + 1, dtype=torch.float64)
    poisson = _poisson_eigenvalues(n, dx, dy)
    dt = 0.4 * min(0.25 * min(dx, dy) ** 2 / viscosity, min(dx, dy) / abs(lid), 4 * viscosity / lid**2)
    now, out = 0.0, []
    for time in checked_times(times):
        steps = max(0, math.ceil((time - now) / dt - 1e-9))
        h = (time - now) / max(steps, 1)
        for _ in range(steps):
            u1, v1 = _projected(u, v, _change(u, v, lid, viscosity, dx, dy), h, poisson, dx, dy)
            change = _change(u1, v1, lid, viscosity, dx, dy)
            u2, v2 = _projected(u1, v1, change, h, poisson, dx, dy)
            u, v = 0.5 * (u + u2), 0.5 * (v + v2)
        if not bool(torch.isfinite(u).all()):
            raise InputError(f"the flow blew up before time {time:.4g}; use more cells or a larger viscosity")
        now = time
        out.append(torch.stack([0.5 * (u[1:] + u[:-1]), 0.5 * (v[:, 1:] + v[:, :-1])], -1))
    return torch.stack(out)


def _change(u: Tensor, v: Tensor, lid: float, viscosity: float, dx: float, dy: float) -> tuple[Tensor, Tensor]:
    """Advection and friction on inner faces, ``[n - 1, n]`` and ``[n, n - 1]``."""
    below, above = -u[:, :1], 2 * lid - u[:, -1:]  # ghosts: the wall's velocity is the mean
    wide_u = torch.cat([below, u, above], 1)
    wide_v = torch.cat([-v[:1], v, -v[-1:]], 0)
    corner_u = 0.5 * (wide_u[:, 1:] + wide_u[:, :-1])  # [n + 1, n + 1] corners
    corner_v = 0.5 * (wide_v[1:] + wide_v[:-1])
    cross = corner_u * corner_v
    centre_u, centre_v = 0.5 * (u[1:] + u[:-1]), 0.5 * (v[:, 1:] + v[:, :-1])
    carried_u = centre_u.square().diff(dim=0) / dx + cross[1:-1].diff(dim=1) / dy
    carried_v = centre_v.square().diff(dim=1) / dy + cross[:, 1:-1].diff(dim=0) / dx
    rub_u = u.diff(n=2, dim=0) / dx**2 + wide_u[1:-1].diff(n=2, dim=1) / dy**2
    rub_v = v.diff(n=2, dim=1) / dy**2 + wide_v[:, 1:-1].diff(n=2, dim=0) / dx**2
    return viscosity * rub_u - carried_u, viscosity * rub_v - carried_v


def _projected(
    u: Tensor, v: Tensor, change: tuple[Tensor, Tensor], dt: float, poisson: Tensor, dx: float, dy: float
) -> tuple[Tensor, Tensor]:
    """One explicit step, then the nearest velocity without sources."""
    u, v = u.clone(), v.clone()
    u[1:-1] += dt * change[0]
    v[:, 1:-1] += dt * change[1]
    source = u.diff(dim=0) / dx + v.diff(dim=1) / dy
    waves = torch.from_numpy(dctn(source.numpy(), type=2)) * poisson
    potential = torch.from_numpy(idctn(waves.numpy(), type=2))
    u[1:-1] -= potential.diff(dim=0) / dx
    v[:, 1:-1] -= potential.diff(dim=1) / dy
    return u, v


def _poisson_eigenvalues(n: int, dx: float, dy: float) -> Tensor:
    """Inverse eigenvalues of the five-point Laplacian with closed walls; 0 for the constant."""
    place = torch.arange(n, dtype=torch.float64)
    wave = 2 * torch.cos(math.pi * place / n) - 2
    values = wave.view(-1, 1) / dx**2 + wave.view(1, -1) / dy**2
    return torch.where(values < 0, 1 / values, 0.0)


def lid_driven_cavity(
    seed: int = 0, *, resolution: int = 64, frames: int = 20, t_end: float = 2.0, reynolds: float | None = None
) -> Simulation:
    """A cavity with random lid velocity (1 to 3 m/s), side (0.5 to 1.5 m) and Reynolds number (50 to 400).

    Parameters are named as in CFDBench: ``vel_top`` (m/s), ``density`` (kg/m^3), ``viscosity`` (dynamic, Pa s),
    ``height`` and ``width`` (m).

    Args:
        seed: Of the parameters.
        resolution: Cells along each axis.
        frames: Number of frames from 0 to ``t_end``.
        t_end: Last time, in units of height over lid velocity.
        reynolds: lid * height / kinematic viscosity; None: random.
    """
    check_settings(resolution=resolution, frames=frames, t_end=t_end, reynolds=1 if reynolds is None else reynolds)
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    lid, side, density = 1 + 2 * draw[0], 0.5 + draw[1], 1 + 4 * draw[2]
    number = 50 + 350 * draw[3] if reynolds is None else reynolds
    viscosity = lid * side / number
    time = torch.linspace(0, t_end * side / lid, frames, dtype=torch.float64)
    solution = solve_cavity(time, resolution=resolution, lid=lid, viscosity=viscosity, width=side, height=side)
    parameters = {"vel_top": lid, "density": density, "viscosity": viscosity * density, "height": side, "width": side}
    return Simulation(
        {"velocity": solution.float()}, time, (0.0, 0.0), (side, side), ("wall", "wall"), parameters,
        velocity="velocity",
    )  # fmt: skip
