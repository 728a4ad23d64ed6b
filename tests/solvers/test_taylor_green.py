"""The three-dimensional spectral solver against exact solutions and the balance of energy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshops.cli.main import main
from meshops.datasets.the_well.dataset import TheWell
from meshops.errors import InputError
from meshops.solvers.taylor_green import _vortex, solve_navier_stokes, taylor_green


def centres(n: int) -> tuple[Tensor, ...]:
    axis = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 * math.pi / n
    return torch.meshgrid(axis, axis, axis, indexing="ij")


def slope(values: Tensor, axis: int) -> Tensor:
    """Derivative along one of the last three axes."""
    n = values.shape[-1]
    k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64).round()
    k = torch.where(k.abs() < n / 2, k, 0.0).view([-1 if a == axis else 1 for a in range(3)])
    return torch.fft.ifft(1j * k * torch.fft.fft(values, dim=axis - 3), dim=axis - 3).real


def divergence(velocity: Tensor) -> Tensor:
    return sum((slope(velocity[..., a, :, :, :], a) for a in range(3)), torch.zeros(()).double())


def enstrophy(velocity: Tensor) -> float:
    u, v, w = velocity
    curl = (slope(w, 1) - slope(v, 2), slope(u, 2) - slope(w, 0), slope(v, 0) - slope(u, 1))
    return 0.5 * sum(float(part.square().mean()) for part in curl)


def sheared(n: int, time: float, viscosity: float) -> Tensor:
    """Vortices that do not change along z, carried along x at 1 m/s: exact for all times."""
    x, y, _ = centres(n)
    decay = math.exp(-2 * viscosity * time)
    along = 1 + decay * (x - time).sin() * y.cos()
    return torch.stack([along, -decay * (x - time).cos() * y.sin(), torch.zeros_like(x)])


def test_two_dimensional_vortices_decay_as_they_should() -> None:
    x, y, z = centres(12)
    for turned in ((x, y, (0, 1)), (y, z, (1, 2)), (z, x, (2, 0))):
        start = torch.zeros(3, 12, 12, 12, dtype=torch.float64)
        start[turned[2][0]] = turned[0].sin() * turned[1].cos()
        start[turned[2][1]] = -turned[0].cos() * turned[1].sin()
        velocity, pressure = solve_navier_stokes(start, [0.0, 2.0], viscosity=0.05)
        assert_close(velocity[1], start * math.exp(-2 * 0.05 * 2), atol=1e-8, rtol=0)
        exact = ((2 * turned[0]).cos() + (2 * turned[1]).cos()) / 4
        assert_close(pressure[1], exact * math.exp(-4 * 0.05 * 2), atol=1e-8, rtol=0)


def test_error_falls_with_the_fourth_power_of_the_step() -> None:
    errors = []
    for step in (0.2, 0.1, 0.05):
        found, _ = solve_navier_stokes(sheared(8, 0.0, 0.1), [1.0], viscosity=0.1, cfl=1.0, max_step=step)
        errors.append(float((found[0] - sheared(8, 1.0, 0.1)).abs().max()))
    assert errors[2] < 1e-6
    assert 14 < errors[0] / errors[1] < 18 and 14 < errors[1] / errors[2] < 18


def test_pressure_of_the_vortex_is_that_of_taylor_and_green() -> None:
    x, y, z = centres(12)
    _, pressure = solve_navier_stokes(_vortex(12, (0.0, 0.0, 0.0)), [0.0], viscosity=0.1)
    assert_close(pressure[0], ((2 * x).cos() + (2 * y).cos()) * ((2 * z).cos() + 2) / 16, atol=1e-14, rtol=0)


def test_flow_has_no_sources_and_energy_falls_at_the_rate_of_the_enstrophy() -> None:
    """Over a short time E(b) - E(a) = -2 nu times the integral of the enstrophy, by Simpson's rule."""
    start = taylor_green(1, resolution=16, frames=1, t_end=0.0, perturbation=0.3).fields["velocity"][0]
    velocity, _ = solve_navier_stokes(
        start.double().movedim(-1, 0), [0.0, 1.95, 2.0, 2.05], viscosity=0.02, max_step=0.025
    )  # fmt: skip
    assert float(divergence(velocity).abs().max()) < 1e-12
    energy = 0.5 * velocity.square().sum(1).mean((1, 2, 3))
    first, middle, last = (enstrophy(frame) for frame in velocity[1:])
    lost = 2 * 0.02 * 0.1 / 6 * (first + 4 * middle + last)
    assert abs(float(energy[1] - energy[3]) / lost - 1) < 1e-7


def test_without_friction_energy_stays() -> None:
    start = taylor_green(2, resolution=12, frames=1, t_end=0.0).fields["velocity"][0].double().movedim(-1, 0)
    velocity, _ = solve_navier_stokes(start, [0.0, 1.0], viscosity=0.0, max_step=0.05)
    energy = velocity.square().sum(1).mean((1, 2, 3))
    assert abs(float(energy[1] / energy[0]) - 1) < 1e-8


def test_seeds_repeat_move_the_vortex_and_do_not_depend_on_the_cells() -> None:
    first, again, other = (taylor_green(s, resolution=9, frames=2, t_end=0.5).fields for s in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in ("velocity", "pressure"))
    assert not torch.equal(first["velocity"], other["velocity"])
    coarse, fine = (taylor_green(3, resolution=n, frames=1, t_end=0.0).fields["velocity"][0] for n in (9, 27))
    assert_close(coarse, fine[1::3, 1::3, 1::3], atol=1e-6, rtol=0)
    alone = taylor_green(3, resolution=9, frames=1, t_end=0.0, perturbation=0.0).fields["velocity"][0]
    assert_close((coarse - alone).square().sum(-1).mean().sqrt(), 0.1 * alone.square().sum(-1).mean().sqrt())


def test_generated_files_read_back(tmp_path: Path) -> None:
    out = tmp_path / "vortex"
    command = ["generate", "taylor_green", "--num", "2", "--resolution", "8", "--frames", "3", "--t-end", "0.5"]
    assert (
        main([*command, "--train", "1", "--test", "1", "--seed", "5", "--option", "reynolds=50", "--out", str(out)])
        == 0
    )
    data = TheWell(out, "test")
    run = taylor_green(6, resolution=8, frames=3, t_end=0.5, reynolds=50)
    assert data.spec.channels == ("pressure", "velocity_x", "velocity_y", "velocity_z")
    assert data.spec.periodic == (True, True, True) and data.spec.velocity == (1, 2, 3)
    window = data.window(0, 0, 3)
    assert torch.equal(window[:, 0], run.fields["pressure"])
    assert torch.equal(window[:, 1:].movedim(1, -1), run.fields["velocity"])
    assert data.parameters(0)["Reynolds"] == 50


def test_bad_settings_are_explained() -> None:
    with pytest.raises(InputError, match="resolution must be at least 7 to hold the first waves, got 6"):
        taylor_green(resolution=6)
    with pytest.raises(InputError, match="reynolds must be positive, got -1"):
        taylor_green(reynolds=-1.0)
    with pytest.raises(InputError, match=r"perturbation must not be negative, got -0\.1"):
        taylor_green(perturbation=-0.1)
    with pytest.raises(InputError, match=r"must be \[3, n, n, n\], got \(3, 8, 8, 9\)"):
        solve_navier_stokes(torch.zeros(3, 8, 8, 9), [1.0], viscosity=0.1)
    with pytest.raises(InputError, match="viscosity must not be negative and max_step positive, got -1"):
        solve_navier_stokes(torch.zeros(3, 8, 8, 8), [1.0], viscosity=-1.0)
