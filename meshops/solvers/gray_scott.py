"""Gray-Scott reaction and diffusion in a periodic square (Pearson 1993).

    dA/dt = D_A lap A - A B^2 + F (1 - A),     dB/dt = D_B lap B + A B^2 - (F + k) B

Diffusion exactly in Fourier space, reaction by two-stage Runge-Kutta, joined by Strang splitting: second order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.solvers.checks import check_settings, checked_times
from meshops.solvers.simulation import Simulation


@torch.no_grad()
def solve_gray_scott(
    a: Tensor,
    b: Tensor,
    times: Tensor,
    *,
    feed: float,
    kill: float,
    diffusion: tuple[float, float] = (2e-5, 1e-5),
    extent: float = 2.0,
    time_step: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Both concentrations at the given times, ``[t, n, n]`` float64.

    Args:
        a: ``[n, n]`` first concentration at time 0.
        b: ``[n, n]`` second.
        times: Ascending, s.
        feed: F, 1/s.
        kill: k, 1/s.
        diffusion: Of a and b, m^2/s.
        extent: Side of the square, m.
        time_step: Largest step, s.

    Raises:
        InputError: Shapes differ or are not square, or the solution blows up.
    """
    if a.shape != b.shape or a.dim() != 2 or a.shape[0] != a.shape[1]:
        raise InputError(f"both concentrations must be [n, n], got {tuple(a.shape)} and {tuple(b.shape)}")
    n = a.shape[0]
    waves = torch.fft.fftfreq(n, 1 / n).double() * 2 * math.pi / extent
    square = waves.view(-1, 1).square() + waves[: n // 2 + 1].view(1, -1).square()
    state = torch.stack([a.double(), b.double()])
    rates = torch.tensor(diffusion, dtype=torch.float64).view(2, 1, 1) * square
    now, out = 0.0, []
    for time in checked_times(times):
        steps = max(0, math.ceil((time - now) / time_step - 1e-9))
        dt = (time - now) / max(steps, 1)
        half = torch.exp(-rates * dt / 2)
        for _ in range(steps):
            state = torch.fft.irfft2(torch.fft.rfft2(state) * half, s=(n, n))
            middle = state + dt / 2 * _reaction(state, feed, kill)
            state = state + dt * _reaction(middle, feed, kill)
            state = torch.fft.irfft2(torch.fft.rfft2(state) * half, s=(n, n))
        if not bool(torch.isfinite(state).all()):
            raise InputError(f"the reaction blew up before time {time:.4g}; lower time_step")
        now = time
        out.append(state)
    solution = torch.stack(out)
    return solution[:, 0], solution[:, 1]


def _reaction(state: Tensor, feed: float, kill: float) -> Tensor:
    a, b = state
    eaten = a * b * b
    return torch.stack([feed * (1 - a) - eaten, eaten - (feed + kill) * b])


def gray_scott(
    seed: int = 0, *, resolution: int = 128, frames: int = 50, t_end: float = 5000.0, feed: float = 0.029,
    kill: float = 0.057, extent: float = 2.0,
) -> Simulation:  # fmt: skip
    """Random Gaussian spots that grow into a pattern; D_A 2e-5 and D_B 1e-5 m^2/s, as in The Well.

    Args:
        seed: Of the spots.
        resolution: Cells along each axis.
        frames: Number of frames from 0 to ``t_end``.
        t_end: Last time, s.
        feed: F; with ``kill`` it decides on the pattern (0.029 and 0.057: mazes).
        kill: k.
        extent: Side of the square, m; The Well: 2 with 128 cells. A pattern repeats every 0.14 m: at least 8 cells.
    """
    check_settings(resolution=resolution, frames=frames, t_end=t_end)
    if not 0 < extent < math.inf:
        raise InputError(f"extent must be a positive length in m, got {extent}")
    generator = torch.Generator().manual_seed(seed)
    axis = (torch.arange(resolution, dtype=torch.float64) + 0.5) / resolution * extent
    spots = max(1, round(5 * extent**2))
    b = torch.zeros(resolution, resolution, dtype=torch.float64)
    for cx, cy, width in torch.rand(spots, 3, generator=generator, dtype=torch.float64).tolist():
        dx, dy = ((axis - extent * (c - 0.5)).remainder(extent) - extent / 2 for c in (cx, cy))
        spot = torch.exp(-(dx.view(-1, 1).square() + dy.view(1, -1).square()) / (2 * (0.03 + 0.05 * width) ** 2))
        b = torch.maximum(b, 0.5 * spot)
    time = torch.linspace(0, t_end, frames, dtype=torch.float64)
    first, second = solve_gray_scott(1 - b, b, time, feed=feed, kill=kill, extent=extent)
    return Simulation(
        {"A": first.float(), "B": second.float()}, time, (-extent / 2,) * 2, (extent,) * 2, ("periodic", "periodic"),
        {"seed": float(seed), "F": feed, "k": kill},
    )  # fmt: skip
