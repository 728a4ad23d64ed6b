"""Vorticity, Gray-Scott, shallow water and the cavity against analytic and published solutions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.solvers.cavity import lid_driven_cavity, solve_cavity
from meshops.solvers.gray_scott import solve_gray_scott
from meshops.solvers.registry import GENERATORS, generate
from meshops.solvers.shallow_water import radial_dam_break, solve_shallow_water
from meshops.solvers.simulation import Simulation
from meshops.solvers.vorticity import _Spectral, solve_vorticity, vorticity


def test_taylor_green_vortices_decay_as_they_should() -> None:
    angle = (torch.arange(32, dtype=torch.float64) + 0.5) / 32 * 2 * math.pi
    start = 2 * torch.cos(angle).view(-1, 1) * torch.cos(angle).view(1, -1)
    found = solve_vorticity(start, [0.0, 1.0, 2.0], viscosity=0.05)
    for time, frame in zip((0, 1, 2), found, strict=True):
        assert_close(frame, start * math.exp(-2 * 0.05 * time), atol=1e-12, rtol=1e-12)


def test_flow_without_friction_keeps_its_energy_and_has_no_sources() -> None:
    start = vorticity(3, resolution=32, frames=1, t_end=0.0).fields["vorticity"][0].double()
    flow = _Spectral(32, 1.0, 0.0, start.device)
    frames = solve_vorticity(start, [0.0, 1.0], viscosity=0.0, extent=1.0)
    energy = [sum(float(c.square().sum()) for c in flow.velocity(torch.fft.rfft2(w))) for w in frames]
    assert abs(energy[1] / energy[0] - 1) < 1e-6
    u, v = flow.velocity(torch.fft.rfft2(frames[1]))
    source = torch.fft.irfft2(1j * flow.kx * torch.fft.rfft2(u) + 1j * flow.ky * torch.fft.rfft2(v))
    assert float(source.abs().max()) < 1e-10
    turn = torch.fft.irfft2(1j * flow.kx * torch.fft.rfft2(v) - 1j * flow.ky * torch.fft.rfft2(u))
    assert_close(turn, frames[1], atol=1e-8, rtol=1e-6)


def test_an_even_mixture_follows_the_reaction_alone() -> None:
    feed, kill = 0.03, 0.06
    exact = solve_ivp(
        lambda _, s: [feed * (1 - s[0]) - s[0] * s[1] ** 2, s[0] * s[1] ** 2 - (feed + kill) * s[1]], (0, 50),
        [0.6, 0.4], rtol=1e-10, atol=1e-12,
    ).y[:, -1]  # fmt: skip
    full = torch.ones(8, 8, dtype=torch.float64)
    a, b = solve_gray_scott(0.6 * full, 0.4 * full, torch.tensor([50.0]), feed=feed, kill=kill, time_step=0.5)
    assert_close(a[0], exact[0] * full, atol=1e-4, rtol=0)
    assert_close(b[0], exact[1] * full, atol=1e-4, rtol=0)


def test_a_wave_diffuses_as_it_should() -> None:
    x = torch.arange(16, dtype=torch.float64) / 16
    wave = 0.1 * torch.cos(2 * math.pi * x).view(-1, 1).expand(16, 16)
    a, _ = solve_gray_scott(1 + wave, 0 * wave, torch.tensor([100.0]), feed=0.0, kill=0.0, diffusion=(1e-3, 1e-3))
    assert_close(a[0], 1 + wave * math.exp(-1e-3 * math.pi**2 * 100), atol=1e-12, rtol=1e-12)


def stoker(h_l: float, h_r: float) -> tuple[float, float]:
    """Depth and speed between the waves of a dam break, g = 1 (Stoker 1957)."""

    def jump(h: float) -> float:
        return 2 * (math.sqrt(h_l) - math.sqrt(h)) - (h - h_r) * math.sqrt(0.5 * (h + h_r) / (h * h_r))

    depth = brentq(jump, h_r, h_l)
    return depth, 2 * (math.sqrt(h_l) - math.sqrt(depth))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_dam_break_has_stokers_plateau(axis: int) -> None:
    n = 200
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    depth = torch.where(x < 0.5, 2.0, 1.0).view(-1, 1).expand(n, 3)
    depth = depth if axis == 0 else depth.T
    still = torch.zeros_like(depth)
    end = solve_shallow_water(torch.stack([depth, still, still]), [0.1], extent=(1.0, 1.0))[0].movedim(1 + axis, 1)
    expected = stoker(2.0, 1.0)
    assert_close(end[0, 110, 1], torch.tensor(expected[0], dtype=torch.float64), rtol=1e-3, atol=0)
    assert_close(end[1 + axis, 110, 1], torch.tensor(expected[1], dtype=torch.float64), rtol=2e-3, atol=0)


def test_water_at_rest_stays_and_volume_is_kept() -> None:
    lake = torch.zeros(3, 8, 9, dtype=torch.float64)
    lake[0] = 1.3
    assert torch.equal(solve_shallow_water(lake, [1.0], extent=(1.0, 1.0))[0], lake)
    run = radial_dam_break(0, resolution=32, frames=5)
    depth = run.fields["h"]
    assert_close(depth.sum((1, 2)), depth[0].sum().expand(5), rtol=1e-5, atol=0)
    assert_close(depth[-1], depth[-1].T)
    with pytest.raises(InputError, match=r"falls dry at time 0 in cell \(0, 0\)"):
        solve_shallow_water(lake * 0, [1.0], extent=(1.0, 1.0))


GHIA_100 = {0.9531: 0.68717, 0.8516: 0.23151, 0.7344: 0.00332, 0.6172: -0.13641, 0.5: -0.20581, 0.4531: -0.21090,
            0.2813: -0.15662, 0.1719: -0.10150}  # fmt: skip


def test_cavity_agrees_with_ghia() -> None:
    """Ghia, Ghia and Shin 1982, table I, Re = 100: u along the vertical line through the centre."""
    n = 32
    flow = solve_cavity(torch.tensor([20.0]), resolution=n, lid=1.0, viscosity=0.01)[0]
    u = 0.5 * (flow[n // 2 - 1, :, 0] + flow[n // 2, :, 0]).numpy()
    y = (np.arange(n) + 0.5) / n
    for place, published in GHIA_100.items():
        assert abs(float(np.interp(place, y, u)) - published) < 0.012


def test_cavity_has_no_sources_and_walls_hold() -> None:
    run = lid_driven_cavity(1, resolution=24, frames=3, t_end=0.5)
    velocity = run.fields["velocity"][-1].double()
    assert float(velocity[..., 0].sum(1).abs().max()) < 0.05 * float(velocity[..., 0].abs().sum(1).max())
    assert set(run.parameters) == {"vel_top", "density", "viscosity", "height", "width"}


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_every_generator_runs_by_name_and_repeats(name: str) -> None:
    options = {"resolution": {"blast_3d": 12, "shallow_water": 48}.get(name, 16), "frames": 3}
    short = {"gray_scott": 20, "kelvin_helmholtz": 0.2, "rayleigh_benard": 2, "taylor_green": 2}
    if name in short:
        options["t_end"] = short[name]
    first, again, other = (generate(name, seed, **options) for seed in (5, 5, 6))
    assert len(first.time) == 3 and first.parameters == again.parameters
    assert all(torch.equal(first.fields[key], again.fields[key]) for key in first.fields)
    assert any(not torch.equal(first.fields[key], other.fields[key]) for key in first.fields)
    assert len(first.coordinates()) == first.dim


def test_random_vorticity_is_the_same_at_every_resolution() -> None:
    coarse, fine = (vorticity(2, resolution=n, frames=1, t_end=0.0).fields["vorticity"][0] for n in (40, 120))
    assert_close(coarse, fine[1::3, 1::3], atol=1e-5, rtol=1e-5)


def test_settings_are_checked() -> None:
    for name in GENERATORS:
        for bad in ({"resolution": 0}, {"resolution": 1.5}, {"frames": 0}, {"t_end": -1.0}):
            with pytest.raises(InputError, match=r"must be a whole number|must not be negative"):
                generate(name, **bad)
    lake = torch.ones(2, 8, dtype=torch.float64)
    with pytest.raises(InputError, match="cfl must be above 0"):
        solve_shallow_water(lake, [1.0], extent=(1.0,), cfl=0.0)
    with pytest.raises(InputError, match="times must ascend, got 2 before 1"):
        solve_shallow_water(lake, [2.0, 1.0], extent=(1.0,))
    with pytest.raises(InputError, match="viscosity must not be negative"):
        solve_vorticity(torch.zeros(8, 8), [1.0], viscosity=-1.0)
    with pytest.raises(InputError, match="reynolds must be positive"):
        lid_driven_cavity(reynolds=0.0)


def test_unknown_names_and_unphysical_fields_are_explained() -> None:
    with pytest.raises(InputError, match="no generator 'lorenz'; there are: 'blast_2d'"):
        generate("lorenz")
    with pytest.raises(InputError, match="unknown option 'cells'; allowed: 'resolution'"):
        generate("riemann_2d", cells=4)
    with pytest.raises(InputError, match="must start with shape"):
        Simulation({"p": torch.zeros(2, 4)}, torch.zeros(3).double(), (0.0,), (1.0,), ("open",))
    with pytest.raises(InputError, match="not finite"):
        Simulation({"p": torch.full((1, 4), math.nan)}, torch.zeros(1).double(), (0.0,), (1.0,), ("open",))


def test_gray_scott_has_as_many_spots_in_an_area() -> None:
    runs = [generate("gray_scott", 0, resolution=n, frames=2, t_end=1.0, extent=n / 64) for n in (128, 64)]
    assert runs[0].extent == (2.0, 2.0) and runs[1].extent == (1.0, 1.0) and runs[1].origin == (-0.5, -0.5)
    peaks = []
    for run in runs:
        start = run.fields["B"][:1]
        wrapped = torch.nn.functional.pad(start.unsqueeze(0), (2, 2, 2, 2), mode="circular")
        highest = torch.nn.functional.max_pool2d(wrapped, 5, stride=1)[0]
        peaks.append(int(((start == highest) & (start > 0.4)).sum()))
    assert 3 <= peaks[1] <= 5 < 12 <= peaks[0] <= 20  # 5 per square metre, some in each other
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="extent must be a positive length"):
            generate("gray_scott", 0, resolution=16, frames=2, t_end=1.0, extent=wrong)
