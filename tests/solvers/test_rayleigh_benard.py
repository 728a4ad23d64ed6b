"""Convection against linear theory and the equations themselves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshops.cli.main import main
from meshops.datasets.the_well.dataset import TheWell
from meshops.errors import DataWarning, InputError
from meshops.solvers.rayleigh_benard import rayleigh_benard, solve_rayleigh_benard

CRITICAL = 27 * math.pi**4 / 4  # Rayleigh 1916, at the wave number pi / sqrt(2)
WIDTH = 2 * math.sqrt(2)  # holds one such wave


def conduction(nx: int, ny: int) -> Tensor:
    return 1 - ((torch.arange(ny, dtype=torch.float64) + 0.5) / ny).expand(nx, ny)


def cell(nx: int, ny: int, shape: str) -> Tensor:
    """One wave along x and a half wave across, sin(pi y) cos(k x) or with sin(k x)."""
    x = 2 * math.pi * (torch.arange(nx, dtype=torch.float64) + 0.5) / nx
    y = math.pi * (torch.arange(ny, dtype=torch.float64) + 0.5) / ny
    return (x.cos() if shape == "cos" else x.sin()).view(-1, 1) * y.sin()


def random_start(nx: int, ny: int, strength: float) -> Tensor:
    noise = torch.randn(nx, ny, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return conduction(nx, ny) + strength * noise


def test_conduction_is_steady() -> None:
    still = conduction(16, 8)
    buoyancy, pressure, velocity = solve_rayleigh_benard(still, [0.0, 3.0], rayleigh=1e6)
    y = (torch.arange(8, dtype=torch.float64) + 0.5) / 8
    assert_close(buoyancy[1], still, atol=1e-15, rtol=0)
    assert_close(pressure[1], (y - y.square() / 2 - 1 / 3).expand(16, 8), atol=1e-15, rtol=0)
    assert float(velocity.abs().max()) == 0


def test_one_weak_cell_follows_linear_theory() -> None:
    """d/dt (b, v) of one mode, from rest: [[-kappa q^2, 1], [k^2 / q^2, -nu q^2]]."""
    rayleigh, prandtl, k, weak = 3000.0, 0.7, 2 * math.pi / WIDTH, 1e-7
    square = k**2 + math.pi**2
    kappa, nu = (rayleigh * prandtl) ** -0.5, (rayleigh / prandtl) ** -0.5
    matrix = torch.tensor([[-kappa * square, 1.0], [k**2 / square, -nu * square]], dtype=torch.float64)
    b, v = torch.linalg.matrix_exp(4 * matrix)[:, 0].tolist()
    shape = cell(16, 8, "cos")
    buoyancy, _, velocity = solve_rayleigh_benard(
        conduction(16, 8) + weak * shape, [4.0], rayleigh=rayleigh, prandtl=prandtl, width=WIDTH
    )
    assert_close((buoyancy[0] - conduction(16, 8)) / weak, b * shape, atol=1e-6, rtol=0)
    assert_close(velocity[0, ..., 1] / weak, v * shape, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rayleigh", [0.9 * CRITICAL, CRITICAL, 1.1 * CRITICAL])
def test_noise_decays_below_the_critical_rayleigh_number_and_grows_above(rayleigh: float) -> None:
    """The fastest mode has rate k / q - q^2 / sqrt(Rayleigh) at Prandtl number 1, with q^2 = 3 pi^2 / 2."""
    square = 1.5 * math.pi**2
    theory = 1 / math.sqrt(3) - square / math.sqrt(rayleigh)
    _, _, velocity = solve_rayleigh_benard(
        random_start(16, 8, 1e-6), [40.0, 50.0], rayleigh=rayleigh, width=WIDTH, max_step=0.2
    )
    size = velocity.square().mean((1, 2, 3)).sqrt()
    rate = math.log(float(size[1] / size[0])) / 10
    assert abs(rate - theory) < 1e-5
    assert (rate > 1e-3) == (rayleigh > 1.05 * CRITICAL) and (rate < -1e-3) == (rayleigh < 0.95 * CRITICAL)


def slopes(values: Tensor, parity: int, order: tuple[int, int] = (0, 0), width: float = 4.0) -> Tensor:
    """Derivative of the given orders along x and y of a field that is even (1) or odd (-1) at both plates."""
    nx, ny = values.shape[-2:]
    whole = torch.cat([values, parity * values.flip(-1)], -1)
    kx = 2j * math.pi / width * torch.fft.fftfreq(nx, 1 / nx, dtype=torch.float64)
    ky = 1j * math.pi * torch.fft.fftfreq(2 * ny, 1 / (2 * ny), dtype=torch.float64)
    waves = torch.fft.fft2(whole) * (kx ** order[0]).view(-1, 1) * ky ** order[1]
    return torch.fft.ifft2(waves).real[..., :ny]


def test_frames_satisfy_the_equations() -> None:
    """Continuity, momentum with the pressure, and buoyancy in the middle of five frames, of a flow at full strength."""
    rayleigh, prandtl, gap = 2000.0, 2.0, 0.02
    times = [12 + gap * i for i in range(5)]
    start = conduction(64, 20) + 0.1 * cell(64, 20, "cos") + 0.02 * cell(64, 20, "sin").roll(5, 0)
    buoyancy, pressure, velocity = solve_rayleigh_benard(start, times, rayleigh=rayleigh, prandtl=prandtl)
    assert float(velocity[2].abs().max()) > 0.25
    excess = buoyancy - conduction(64, 20)
    u, v, s = velocity[2, ..., 0], velocity[2, ..., 1], excess[2]
    y = (torch.arange(20, dtype=torch.float64) + 0.5) / 20
    p = pressure[2] - (y - y.square() / 2 - 1 / 3)
    assert float((slopes(u, 1, (1, 0)) + slopes(v, -1, (0, 1))).abs().max()) < 1e-12
    nu, kappa = math.sqrt(prandtl / rayleigh), 1 / math.sqrt(rayleigh * prandtl)

    def left(frames: Tensor, parity: int, diffusion: float) -> Tensor:
        rate = (frames[0] - 8 * frames[1] + 8 * frames[3] - frames[4]) / (12 * gap)
        now = frames[2]
        carried = u * slopes(now, parity, (1, 0)) + v * slopes(now, parity, (0, 1))
        return rate + carried - diffusion * (slopes(now, parity, (2, 0)) + slopes(now, parity, (0, 2)))

    assert_close(left(velocity[..., 0], 1, nu), -slopes(p, 1, (1, 0)), atol=1e-8, rtol=0)
    assert_close(left(velocity[..., 1], -1, nu), s - slopes(p, 1, (0, 1)), atol=1e-8, rtol=0)
    assert_close(left(excess, -1, kappa), v, atol=1e-8, rtol=0)


def test_seeds_repeat_and_do_not_depend_on_the_cells() -> None:
    first, again, other = (rayleigh_benard(s, resolution=8, frames=2, t_end=0.5).fields for s in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in ("buoyancy", "pressure", "velocity"))
    assert not torch.equal(first["buoyancy"], other["buoyancy"])
    coarse, fine = (rayleigh_benard(3, resolution=n, frames=2, t_end=0.5).fields["buoyancy"] for n in (9, 27))
    assert_close(coarse, fine[:, 1::3, 1::3], atol=1e-5, rtol=0)


def test_generated_files_read_back(tmp_path: Path) -> None:
    out = tmp_path / "layer"
    command = ["generate", "rayleigh_benard", "--num", "2", "--resolution", "8", "--frames", "3", "--t-end", "0.5"]
    assert main([*command, "--train", "1", "--test", "1", "--option", "rayleigh=1e4", "--out", str(out)]) == 0
    data = TheWell(out, "test")
    run = rayleigh_benard(1, resolution=8, frames=3, t_end=0.5, rayleigh=1e4)
    assert data.spec.channels == ("buoyancy", "pressure", "velocity_x", "velocity_y")
    assert data.spec.periodic == (True, False) and data.shapes[0] == (32, 8)
    window = data.window(0, 0, 3)
    assert torch.equal(window[:, 0], run.fields["buoyancy"]) and torch.equal(window[:, 1], run.fields["pressure"])
    assert torch.equal(window[:, 2:].movedim(1, -1), run.fields["velocity"])
    assert data.parameters(0) == {"seed": 1, "Rayleigh": 1e4, "Prandtl": 1}


def test_too_few_cells_are_told() -> None:
    with pytest.warns(DataWarning, match="8 cells are too coarse for Rayleigh number 1e\\+08; use more cells"):
        rayleigh_benard(resolution=8, frames=2, t_end=4.0, rayleigh=1e8, noise=0.03)


def test_bad_settings_are_explained() -> None:
    with pytest.raises(InputError, match="resolution must be at least 7 to hold the first waves, got 6"):
        rayleigh_benard(resolution=6)
    for name in ("rayleigh", "prandtl", "noise"):
        with pytest.raises(InputError, match=f"{name} must be positive, got 0"):
            rayleigh_benard(**{name: 0})
    with pytest.raises(InputError, match=r"must be \[nx, ny\] with at least 4 cells a side, got \(8, 2\)"):
        solve_rayleigh_benard(torch.zeros(8, 2), [1.0], rayleigh=1e4)
    with pytest.raises(InputError, match="width must be positive, got -1"):
        solve_rayleigh_benard(torch.zeros(8, 8), [1.0], rayleigh=1e4, width=-1)
