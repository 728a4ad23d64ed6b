"""Rayleigh-Benard convection: a layer heated from below, two-dimensional, in the Boussinesq approximation.

    db/dt + u . grad b = kappa lap b,     du/dt + u . grad u = -grad p + b e_y + nu lap u,     div u = 0
    kappa = (Rayleigh Prandtl)^(-1/2),     nu = (Rayleigh / Prandtl)^(-1/2)

Equations, numbers and fields as in ``rayleigh_benard`` of The Well: lengths in heights H of the layer, buoyancy b in
its difference B between the plates, times in free-fall times (H / B)^(1/2), velocity in (H B)^(1/2). Periodic in x;
plates at y = 0 (b = 1) and y = 1 (b = 0).

Departure: the plates are free of stress (v = 0, du/dy = 0), those of The Well hold the fluid (u = v = 0). So sines and
cosines in y satisfy every boundary condition exactly, and linear theory is in closed form (Rayleigh 1916): convection
sets in at Rayleigh number 27 pi^4 / 4 = 657.5, against 1708. There is no net flow along the layer.

Solved for the vorticity w and the difference from conduction s = b - (1 - y), with u = (dpsi/dy, -dpsi/dx):

    dw/dt + u . grad w = nu lap w + ds/dx,     ds/dt + u . grad s = kappa lap s + v,     lap psi = -w

Products in space, dealiased by the two-thirds rule; diffusion by an integrating factor, the rest by the classical
fourth-order Runge-Kutta method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from meshops.errors import InputError, warn
from meshops.solvers.checks import check_settings, checked_times
from meshops.solvers.integrating_factor import integrating_factor_step
from meshops.solvers.simulation import Simulation

LOW_WAVES = 8  # of the noise, along x
LOW_HALF_WAVES = 2  # and from plate to plate
FEWEST_CELLS = 7  # from plate to plate: so many hold the noise after the two-thirds rule
OVERSHOOT = 0.05  # of the buoyancy beyond that of the plates, which it cannot leave


@torch.no_grad()
def solve_rayleigh_benard(
    buoyancy: Tensor,
    times: Sequence[float] | Tensor,
    *,
    rayleigh: float,
    prandtl: float = 1.0,
    width: float = 4.0,
    cfl: float = 0.5,
    max_step: float = 0.05,
) -> tuple[Tensor, Tensor, Tensor]:
    """Buoyancy ``[t, nx, ny]``, pressure ``[t, nx, ny]`` (mean 0) and velocity ``[t, nx, ny, 2]``, float64.

    Args:
        buoyancy: ``[nx, ny]`` at time 0 in cell centres, in units of the difference between the plates; the fluid is
            at rest.
        times: Ascending, in free-fall times.
        rayleigh: Buoyancy against friction and conduction.
        prandtl: Viscosity over thermal diffusivity.
        width: Of the layer along x, in heights.
        cfl: Courant number.
        max_step: Largest step, in free-fall times.

    Raises:
        InputError: A shape or number is out of range, or the solution blows up.
    """
    if buoyancy.dim() != 2 or min(buoyancy.shape) < 4:
        raise InputError(f"the buoyancy must be [nx, ny] with at least 4 cells a side, got {tuple(buoyancy.shape)}")
    for name, value in (("rayleigh", rayleigh), ("prandtl", prandtl), ("width", width), ("max_step", max_step)):
        if not value > 0:
            raise InputError(f"{name} must be positive, got {value}")
    layer = _Modes(buoyancy.shape[0], buoyancy.shape[1], width, buoyancy.device)
    warmth = layer.to_sines(buoyancy.double() - layer.conduction)
    state = torch.stack([torch.zeros_like(warmth), warmth])
    diffusion = torch.tensor([math.sqrt(prandtl / rayleigh), 1 / math.sqrt(rayleigh * prandtl)], dtype=torch.float64)
    decay = diffusion.to(buoyancy.device).view(2, 1, 1) * layer.square
    now, frames = 0.0, []
    for time in checked_times(times, cfl=cfl):
        while now < time * (1 - 1e-12):
            rate = max(float((layer.velocity(state).abs() / layer.spacing).sum(-1).max()), 1e-12)
            if not math.isfinite(rate):
                raise InputError(f"the flow blew up at time {now:.4g}; use more cells or a smaller Rayleigh number")
            dt = min(cfl / rate, max_step, time - now)
            state = integrating_factor_step(state, dt, change=layer.change, decay=decay)
            now += dt
        frames.append((layer.buoyancy(state), layer.pressure(state), layer.velocity(state)))
    first, second, third = (torch.stack(parts) for parts in zip(*frames, strict=True))
    return first, second, third


class _Modes:
    """Waves in x, sines or cosines of m pi y in y.

    A state is ``[2, kept waves, kept sines]``, vorticity and difference of the buoyancy from conduction.
    These, the stream function and v are sines, u and the pressure cosines.
    """

    def __init__(self, nx: int, ny: int, width: float, device: torch.device) -> None:
        y = (torch.arange(ny, dtype=torch.float64, device=device) + 0.5) / ny
        m = torch.arange(
            math.ceil(2 * ny / 3), dtype=torch.float64, device=device
        )  # half waves: 2 ny cells hold m whole ones
        waves = torch.arange(math.ceil(nx / 3), dtype=torch.float64, device=device)
        self.nx, self.ny = nx, ny
        self.spacing = torch.tensor([width / nx, 1 / ny], dtype=torch.float64, device=device)
        self.ik = 2j * math.pi / width * waves.view(-1, 1)
        self.m = math.pi * m[1:]  # of sines; cosines have 0 before
        self.square = self.ik.imag.square() + self.m.square()
        self.sines = torch.sin(math.pi * y.view(-1, 1) * m[1:])
        self.cosines = torch.cos(math.pi * y.view(-1, 1) * m)
        self.conduction = 1 - y
        self.hydrostatic = y - y.square() / 2 - 1 / 3

    def from_sines(self, modes: Tensor) -> Tensor:
        """Values on the grid."""
        out: Tensor = torch.fft.irfft(modes, n=self.nx, dim=-2) @ self.sines.T
        return out

    def from_cosines(self, modes: Tensor) -> Tensor:
        """Values on the grid; the last columns of the cosines when the constant is left out."""
        out: Tensor = torch.fft.irfft(modes, n=self.nx, dim=-2) @ self.cosines[:, -modes.shape[-1] :].T
        return out

    def to_sines(self, values: Tensor) -> Tensor:
        """Coefficients of the waves and sines kept."""
        modes: Tensor = torch.fft.rfft(values @ self.sines * (2 / self.ny), dim=-2)
        return modes[..., : len(self.ik), :]

    def to_cosines(self, values: Tensor) -> Tensor:
        """Coefficients of the waves and cosines kept, the constant first."""
        modes: Tensor = torch.fft.rfft(values @ self.cosines * (2 / self.ny), dim=-2)
        modes[..., 0] /= 2
        return modes[..., : len(self.ik), :]

    def velocity(self, state: Tensor) -> Tensor:
        """``[nx, ny, 2]``."""
        stream = state[0] / self.square
        return torch.stack([self.from_cosines(self.m * stream), self.from_sines(-self.ik * stream)], -1)

    def buoyancy(self, state: Tensor) -> Tensor:
        """``[nx, ny]``."""
        return self.conduction + self.from_sines(state[1])

    def change(self, state: Tensor) -> Tensor:
        """Advection, buoyancy that turns the fluid, and lifting of the conductive profile."""
        stream = state[0] / self.square
        lift = -self.ik * stream
        u, *slopes_y = self.from_cosines(self.m * torch.stack([stream, *state]))
        v, *slopes_x = self.from_sines(torch.stack([lift, *(self.ik * state)]))
        carried = u * torch.stack(slopes_x) + v * torch.stack(slopes_y)
        return torch.stack([self.ik * state[1], lift]) - self.to_sines(carried)

    def pressure(self, state: Tensor) -> Tensor:
        """``[nx, ny]``: lap p = db/dy - div (u . grad u), with dp/dy = b at the plates."""
        stream = state[0] / self.square
        u, u_x, v_y = self.from_cosines(self.m * torch.stack([stream, self.ik * stream, -self.ik * stream]))
        v, v_x, u_y = self.from_sines(
            -torch.stack([self.ik * stream, self.ik.square() * stream, self.m.square() * stream])
        )
        source = -self.ik * self.to_cosines(u * u_x + v * u_y)
        source[:, 1:] += self.m * (state[1] - self.to_sines(u * v_x + v * v_y))
        square = torch.cat([self.ik.imag.square(), self.square], -1)
        return self.hydrostatic + self.from_cosines(torch.where(square > 0, -source / square, 0.0))


def _noise(nx: int, ny: int, generator: torch.Generator) -> Tensor:
    """Random smooth field ``[nx, ny]`` of rms 1 that vanishes at the plates; the same at every resolution."""
    place = 2 * math.pi * (torch.arange(nx, dtype=torch.float64) + 0.5).view(-1, 1) / nx
    waves = place * torch.arange(1, LOW_WAVES + 1, dtype=torch.float64)
    y = (torch.arange(ny, dtype=torch.float64) + 0.5).view(-1, 1) / ny
    sines = torch.sin(math.pi * y * torch.arange(1, LOW_HALF_WAVES + 1, dtype=torch.float64))
    amplitude = torch.randn(2 * LOW_WAVES, LOW_HALF_WAVES, generator=generator, dtype=torch.float64)
    values = torch.cat([waves.cos(), waves.sin()], 1) @ amplitude @ sines.T
    return values / values.square().mean().sqrt()


def rayleigh_benard(
    seed: int = 0, *, resolution: int = 32, frames: int = 50, t_end: float = 25.0, rayleigh: float = 5e4,
    prandtl: float = 1.0, noise: float = 0.01,
) -> Simulation:  # fmt: skip
    """A layer four times as wide as high, at rest and conducting but for a little random buoyancy.

    Everything is without unit: heights of the layer, free-fall times and the buoyancy difference of the plates.

    Args:
        seed: Of the noise: random waves, at most 8 along x and 2 half waves between the plates.
        resolution: Cells from plate to plate, at least 7; four times as many along x. The Well has 128. 28 against 84,
            seed 0, relative l2 of the buoyancy at 25: 0.2 % at Rayleigh number 5e4, 0.6 % at 1e5.
        frames: Number of frames from 0 to ``t_end``.
        t_end: Last time, in free-fall times.
        rayleigh: Rayleigh number; convection sets in near 657.5, and more needs more cells.
        prandtl: Prandtl number, viscosity over thermal diffusivity.
        noise: Its rms in units of the buoyancy difference.
    """
    check_settings(
        resolution=resolution, frames=frames, t_end=t_end, rayleigh=rayleigh, prandtl=prandtl, noise=noise
    )  # fmt: skip
    if resolution < FEWEST_CELLS:
        raise InputError(f"resolution must be at least {FEWEST_CELLS} to hold the first waves, got {resolution}")
    generator = torch.Generator().manual_seed(seed)
    start = 1 - (torch.arange(resolution, dtype=torch.float64) + 0.5) / resolution
    start = start + noise * _noise(4 * resolution, resolution, generator)
    time = torch.linspace(0, t_end, frames, dtype=torch.float64)
    buoyancy, pressure, velocity = solve_rayleigh_benard(start, time, rayleigh=rayleigh, prandtl=prandtl)
    beyond = float((buoyancy - 0.5).abs().max()) - 0.5
    if beyond > max(OVERSHOOT, float((start - 0.5).abs().max()) - 0.5):
        warn(
            f"the buoyancy leaves that of the plates by {beyond:.2g}, which shows that {resolution} cells are too "
            f"coarse for Rayleigh number {rayleigh:.3g}; use more cells or a smaller number"
        )
    return Simulation(
        {"buoyancy": buoyancy.float(), "pressure": pressure.float(), "velocity": velocity.float()}, time, (0.0, 0.0),
        (4.0, 1.0), ("periodic", "wall"), {"seed": float(seed), "Rayleigh": float(rayleigh), "Prandtl": float(prandtl)},
        velocity="velocity",
    )  # fmt: skip
