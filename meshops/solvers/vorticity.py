"""Two-dimensional incompressible flow in a periodic square: vorticity equation, pseudo-spectral.

    dw/dt + u . grad w = nu lap w + f,     lap psi = -w,     u = (dpsi/dy, -dpsi/dx)

Products in space, dealiased by the two-thirds rule (Orszag 1971); viscosity by an integrating factor, the rest by the
classical fourth-order Runge-Kutta method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.solvers.checks import check_settings, checked_times
from meshops.solvers.integrating_factor import integrating_factor_step
from meshops.solvers.simulation import Simulation


@torch.no_grad()
def solve_vorticity(
    start: Tensor,
    times: Sequence[float] | Tensor,
    *,
    viscosity: float,
    extent: float = 2 * math.pi,
    forcing: Tensor | None = None,
    cfl: float = 0.5,
) -> Tensor:
    """Vorticity at the given times, ``[t, n, n]`` float64.

    Args:
        start: ``[n, n]`` vorticity at time 0, 1/s; first axis x.
        times: Ascending, s.
        viscosity: Kinematic, m^2/s.
        extent: Side of the square, m.
        forcing: ``[n, n]`` constant source of vorticity, 1/s^2.
        cfl: Courant number.

    Raises:
        InputError: The field is not square, or the solution blows up.
    """
    if start.dim() != 2 or start.shape[0] != start.shape[1]:
        raise InputError(f"the vorticity must be [n, n], got {tuple(start.shape)}")
    if viscosity < 0:
        raise InputError(f"viscosity must not be negative, got {viscosity}")
    flow = _Spectral(start.shape[0], extent, viscosity, start.device)
    source = 0.0 if forcing is None else torch.fft.rfft2(forcing.double()) * flow.keep
    wave = torch.fft.rfft2(start.double()) * flow.keep
    now, out = 0.0, []
    for time in checked_times(times, cfl=cfl):
        while now < time * (1 - 1e-12):
            u, v = flow.velocity(wave)
            fastest = max(float(u.abs().max() + v.abs().max()), 1e-12)
            if not math.isfinite(fastest):
                raise InputError(f"the flow blew up at time {now:.4g}; raise the viscosity or lower cfl")
            dt = min(cfl * extent / start.shape[0] / fastest, 0.05, time - now)
            wave = flow.step(wave, dt, source)
            now += dt
        out.append(torch.fft.irfft2(wave, s=start.shape))
    return torch.stack(out)


class _Spectral:
    """Wave numbers and what is done in them."""

    def __init__(self, n: int, extent: float, viscosity: float, device: torch.device) -> None:
        unit = 2 * math.pi / extent
        self.n = n
        self.kx = (torch.fft.fftfreq(n, 1 / n, device=device).double() * unit).view(-1, 1)
        self.ky = (torch.fft.rfftfreq(n, 1 / n, device=device).double() * unit).view(1, -1)
        square = self.kx.square() + self.ky.square()
        self.decay = viscosity * square
        self.inverse = torch.where(square > 0, 1 / square, 0.0)
        self.keep = ((self.kx.abs() < n / 3 * unit) & (self.ky < n / 3 * unit)).double()

    def velocity(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity components ``[n, n]``, m/s."""
        stream = wave * self.inverse
        return self._real(1j * self.ky * stream), self._real(-1j * self.kx * stream)

    def change(self, wave: Tensor, source: Tensor | float) -> Tensor:
        """Advection and forcing."""
        u, v = self.velocity(wave)
        carried = u * self._real(1j * self.kx * wave) + v * self._real(1j * self.ky * wave)
        out: Tensor = -torch.fft.rfft2(carried) * self.keep + source
        return out

    def step(self, wave: Tensor, dt: float, source: Tensor | float) -> Tensor:
        """The field after ``dt``."""
        return integrating_factor_step(wave, dt, change=lambda w: self.change(w, source), decay=self.decay)

    def _real(self, wave: Tensor) -> Tensor:
        out: Tensor = torch.fft.irfft2(wave, s=(self.n, self.n))
        return out


def _random_field(n: int, generator: torch.Generator) -> Tensor:
    """Gaussian random field ``[n, n]`` of up to 10 waves a side; the same field at every resolution from 32."""
    most = 10
    wave = torch.arange(-most, most + 1, dtype=torch.float64)
    square = 4 * math.pi**2 * (wave.view(-1, 1).square() + wave.view(1, -1).square())
    amplitude = 7**1.5 * (square + 49) ** -1.25
    amplitude[most, most] = 0
    noise = torch.randn(2, len(wave), len(wave), generator=generator, dtype=torch.float64) * amplitude
    held = wave.abs() < n / 2
    place = 2 * math.pi * (torch.arange(n, dtype=torch.float64) + 0.5).view(-1, 1) / n * wave[held]
    turn = torch.polar(torch.ones_like(place), place)
    coefficients = torch.complex(noise[0], noise[1])[held][:, held]
    return (turn @ coefficients @ turn.T).real


def vorticity(
    seed: int = 0, *, resolution: int = 128, frames: int = 50, t_end: float = 10.0, viscosity: float = 1e-3,
    forcing: bool = True,
) -> Simulation:  # fmt: skip
    """Random smooth vorticity in a square of side 1 m, stirred by 0.1 (sin + cos)(2 pi (x + y)) as in Li et al. 2020.

    Args:
        seed: Of the initial field: a Gaussian random field with spectrum (4 pi^2 k^2 + 49)^-2.5.
        resolution: Cells along each axis.
        frames: Number of frames from 0 to ``t_end``.
        t_end: Last time, s.
        viscosity: m^2/s.
        forcing: Stir, else the flow decays.
    """
    check_settings(resolution=resolution, frames=frames, t_end=t_end)
    n = resolution
    start = _random_field(n, torch.Generator().manual_seed(seed))
    axis = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    angle = 2 * math.pi * (axis.view(-1, 1) + axis.view(1, -1))
    source = 0.1 * (torch.sin(angle) + torch.cos(angle)) if forcing else None
    time = torch.linspace(0, t_end, frames, dtype=torch.float64)
    solution = solve_vorticity(start, time, viscosity=viscosity, extent=1.0, forcing=source)
    flow = _Spectral(n, 1.0, viscosity, start.device)
    velocity = torch.stack([torch.stack(flow.velocity(torch.fft.rfft2(w)), -1) for w in solution])
    return Simulation(
        {"vorticity": solution.float(), "velocity": velocity.float()}, time, (0.0, 0.0), (1.0, 1.0),
        ("periodic", "periodic"), {"seed": float(seed), "viscosity": viscosity}, velocity="velocity",
    )  # fmt: skip
