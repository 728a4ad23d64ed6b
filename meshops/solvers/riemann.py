"""Compressible flows to learn from: the 2-D Riemann problem of AMR-Transformer, Kelvin-Helmholtz layers, blasts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.solvers.checks import check_settings
from meshops.solvers.euler import solve_euler
from meshops.solvers.simulation import Simulation

# Configuration 3 of Schulz-Rinne, Collins and Glaz (1993), as Kurganov and Tadmor (2002) number it:
# density, velocity x, velocity y, pressure for x high y high, x low y high, x low y low, x high y low.
CONFIGURATION_3 = (
    (1.5, 0.0, 0.0, 1.5),
    (0.5323, 1.206, 0.0, 0.3),
    (0.138, 1.206, 1.206, 0.029),
    (0.5323, 0.0, 1.206, 0.3),
)


def riemann_2d(
    seed: int = 0,
    *,
    resolution: int = 128,
    frames: int = 200,
    t_end: float = 0.3,
    perturbation: float = 0.2,
    split: float = 0.5,
    gamma: float = 1.4,
) -> Simulation:
    """Four constant states that meet in a point of the unit square and make shocks; open boundaries.

    AMR-Transformer (2503.10257, sec. 4.3): configuration 3, every number of the states varied by up to 20 %, 200 frames
    to t = 0.3 on 128 x 128 cells.

    Args:
        seed: Of the perturbation.
        resolution: Cells along each axis.
        frames: Number of frames, evenly spaced from 0 to ``t_end``.
        t_end: Last time, s.
        perturbation: Largest relative change of each number.
        split: Place of the point on both axes, m.
        gamma: Ratio of specific heats.
    """
    check_settings(resolution=resolution, frames=frames, t_end=t_end, gamma=gamma - 1)
    generator = torch.Generator().manual_seed(seed)
    states = torch.tensor(CONFIGURATION_3, dtype=torch.float64)
    states = states * (1 + perturbation * (2 * torch.rand(4, 4, generator=generator, dtype=torch.float64) - 1))
    x, y = _centres(resolution, 2)
    high_x, high_y = x > split, y > split
    quadrant = torch.where(high_y, torch.where(high_x, 0, 1), torch.where(high_x, 3, 2))
    return _run(
        states[quadrant].movedim(-1, 0), frames, t_end, (1.0, 1.0), ("open", "open"), gamma,
        {"seed": float(seed), "perturbation": perturbation, "gamma": gamma},
    )  # fmt: skip


def kelvin_helmholtz(
    seed: int = 0, *, resolution: int = 128, frames: int = 50, t_end: float = 2.0, gamma: float = 1.4
) -> Simulation:
    """A dense band that moves against the fluid around it, in a periodic unit square; smooth layers, random waves."""
    check_settings(resolution=resolution, frames=frames, t_end=t_end)
    generator = torch.Generator().manual_seed(seed)
    amplitude = 0.02 * (2 * torch.rand(2, 4, generator=generator, dtype=torch.float64) - 1)
    phase = 2 * math.pi * torch.rand(2, 4, generator=generator, dtype=torch.float64)
    x, y = _centres(resolution, 2)
    width = 0.025
    band = 0.5 * (torch.tanh((y - 0.25) / width) - torch.tanh((y - 0.75) / width))
    across = torch.zeros_like(x)
    for layer, place in enumerate((0.25, 0.75)):
        near = torch.exp(-((y - place) ** 2) / (2 * (2 * width) ** 2))
        for wave in range(4):
            angle = 2 * math.pi * (wave + 1) * x + phase[layer, wave]
            across = across + amplitude[layer, wave] * torch.sin(angle) * near
    state = torch.stack([1 + band, band - 0.5, across, torch.full_like(x, 2.5)])
    return _run(
        state, frames, t_end, (1.0, 1.0), ("periodic", "periodic"), gamma, {"seed": float(seed), "gamma": gamma}
    )


def blast(
    seed: int = 0,
    *,
    dim: int = 2,
    resolution: int = 128,
    frames: int = 50,
    t_end: float = 0.2,
    gamma: float = 1.4,
    boundary: str = "open",
) -> Simulation:
    """A ball of high pressure at rest in the unit square or cube; random centre, radius and pressure ratio, 5 to 20."""
    if dim not in (1, 2, 3):
        raise InputError(f"dim must be 1, 2 or 3, got {dim}")
    check_settings(resolution=resolution, frames=frames, t_end=t_end)
    generator = torch.Generator().manual_seed(seed)
    centre = 0.35 + 0.3 * torch.rand(dim, generator=generator, dtype=torch.float64)
    radius = 0.08 + 0.07 * float(torch.rand((), generator=generator, dtype=torch.float64))
    ratio = 5 + 15 * float(torch.rand((), generator=generator, dtype=torch.float64))
    axes = _centres(resolution, dim)
    distance = torch.stack([a - c for a, c in zip(axes, centre.tolist(), strict=True)]).norm(dim=0)
    inside = 0.5 * (1 - torch.tanh((distance - radius) * resolution / 2))
    still = torch.zeros_like(inside)
    state = torch.stack([torch.ones_like(inside), *[still] * dim, 0.1 * (1 + (ratio - 1) * inside)])
    parameters = {"seed": float(seed), "gamma": gamma, "radius": radius, "pressure_ratio": ratio}
    return _run(state, frames, t_end, (1.0,) * dim, (boundary,) * dim, gamma, parameters)


def _centres(resolution: int, dim: int) -> tuple[Tensor, ...]:
    axis = (torch.arange(resolution, dtype=torch.float64) + 0.5) / resolution
    return torch.meshgrid(*[axis] * dim, indexing="ij")


def _run(
    state: Tensor, frames: int, t_end: float, extent: tuple[float, ...], boundary: tuple[str, ...], gamma: float,
    parameters: dict[str, float],
) -> Simulation:  # fmt: skip
    time = torch.linspace(0, t_end, frames, dtype=torch.float64)
    solution = solve_euler(state, time, extent=extent, gamma=gamma, boundary=boundary).float()
    fields = {
        "density": solution[:, 0],
        "pressure": solution[:, -1],
        "velocity": solution[:, 1:-1].movedim(1, -1).contiguous(),
    }
    return Simulation(fields, time, (0.0,) * len(extent), extent, boundary, parameters, velocity="velocity")
