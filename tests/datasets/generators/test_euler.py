from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.testing import assert_close

from meshops.datasets.generators.euler import solve_euler
from meshops.datasets.generators.riemann import CONFIGURATION_3, blast, kelvin_helmholtz, riemann_2d
from meshops.errors import InputError

GAMMA = 1.4
SOD = ((1.0, 0.0, 1.0), (0.125, 0.0, 0.1))
STRONG = ((1.0, 0.0, 1000.0), (1.0, 0.0, 0.01))


def exact_riemann(left: tuple[float, ...], right: tuple[float, ...], speeds: Tensor) -> Tensor:
    """Density, velocity, pressure along x / t (Toro 2009, sec. 4.5), one ray at a time."""
    sound = {side: math.sqrt(GAMMA * side[2] / side[0]) for side in (left, right)}

    def change(pressure: float, side: tuple[float, ...]) -> float:
        density, _, before = side
        if pressure > before:
            return (pressure - before) * math.sqrt(
                2 / ((GAMMA + 1) * density) / (pressure + (GAMMA - 1) / (GAMMA + 1) * before)
            )
        return 2 * sound[side] / (GAMMA - 1) * ((pressure / before) ** ((GAMMA - 1) / (2 * GAMMA)) - 1)

    star = brentq(lambda p: change(p, left) + change(p, right) + right[1] - left[1], 1e-8, 1e5, xtol=1e-13)
    middle = 0.5 * (left[1] + right[1] + change(star, right) - change(star, left))

    def sample(speed: float) -> tuple[float, float, float]:
        # The right half is the mirror image of a left one.
        sign, side = (1, left) if speed <= middle else (-1, right)
        density, velocity, pressure = side[0], sign * side[1], side[2]
        speed, inner, c = sign * speed, sign * middle, sound[side]
        ratio = star / pressure
        if star > pressure:
            shock = velocity - c * math.sqrt((GAMMA + 1) / (2 * GAMMA) * ratio + (GAMMA - 1) / (2 * GAMMA))
            if speed < shock:
                return density, sign * velocity, pressure
            weight = (GAMMA - 1) / (GAMMA + 1)
            return density * (ratio + weight) / (weight * ratio + 1), middle, star
        if speed < velocity - c:
            return density, sign * velocity, pressure
        if speed > inner - c * ratio ** ((GAMMA - 1) / (2 * GAMMA)):
            return density * ratio ** (1 / GAMMA), middle, star
        fan = 2 / (GAMMA + 1) + (GAMMA - 1) / ((GAMMA + 1) * c) * (velocity - speed)
        within = 2 / (GAMMA + 1) * (c + (GAMMA - 1) / 2 * velocity + speed)
        return density * fan ** (2 / (GAMMA - 1)), sign * within, pressure * fan ** (2 * GAMMA / (GAMMA - 1))

    return torch.tensor([sample(float(s)) for s in speeds], dtype=torch.float64).T


def centres(n: int) -> Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def tube(left: tuple[float, ...], right: tuple[float, ...], n: int) -> Tensor:
    return torch.where(centres(n) < 0.5, torch.tensor(left)[:, None].double(), torch.tensor(right)[:, None].double())


def sod_error(n: int) -> float:
    density = solve_euler(tube(*SOD, n), [0.2], extent=(1.0,))[0, 0]
    return float((density - exact_riemann(*SOD, (centres(n) - 0.5) / 0.2)[0]).abs().mean())


def test_exact_solver_against_toro():
    """Table 4.3 of Toro 2009: star pressure and velocity of tests 1 and 3."""
    assert exact_riemann(*SOD, torch.tensor([0.5]))[1:, 0].tolist() == pytest.approx([0.92745, 0.30313], abs=1e-5)
    assert exact_riemann(*STRONG, torch.tensor([1.0]))[1:, 0].tolist() == pytest.approx([19.5975, 460.894], rel=1e-5)


def test_sod_tube():
    errors = [sod_error(n) for n in (100, 200, 400)]
    assert errors[1] < 4.0e-3
    order = math.log2(errors[0] / errors[2]) / 2
    assert 0.8 < order < 1.2


def test_strong_shock_tube():
    n, time = 400, 0.012
    solution = solve_euler(tube(*STRONG, n), [time], extent=(1.0,))[0]
    exact = exact_riemann(*STRONG, (centres(n) - 0.5) / time)
    assert float((solution[2] - exact[2]).abs().mean() / exact[2].mean()) < 0.01
    assert float((solution[1] - exact[1]).abs().mean() / exact[1].mean()) < 0.02


def test_entropy_wave_is_second_order():
    def error(n: int) -> float:
        x, y = torch.meshgrid(centres(n), centres(n), indexing="ij")
        wave = 1 + 0.2 * torch.sin(2 * math.pi * (x + y))
        start = torch.stack([wave, torch.full_like(x, 1.0), torch.full_like(x, -0.5), torch.ones_like(x)])
        end = solve_euler(start, [0.4], extent=(1.0, 1.0), boundary=("periodic",) * 2)[0]
        assert_close(end[1:], start[1:], rtol=0, atol=1e-12)
        exact = 1 + 0.2 * torch.sin(2 * math.pi * (x + y - 0.5 * 0.4))
        return float((end[0] - exact).abs().mean())

    coarse, middle, fine = error(16), error(32), error(64)
    assert math.log2(middle / fine) > 1.8
    assert fine < 2e-3 < coarse


def test_isentropic_wave_is_second_order():
    """A simple wave: Riemann invariants u -+ 2c / (gamma - 1) are carried along characteristics."""

    def error(n: int, time: float = 0.3) -> float:
        sound_at_rest = math.sqrt(GAMMA)

        def profile(x: Tensor) -> Tensor:
            return 0.1 * torch.sin(2 * math.pi * x)

        def state(velocity: Tensor) -> Tensor:
            sound = sound_at_rest + (GAMMA - 1) / 2 * velocity
            density = (sound / sound_at_rest) ** (2 / (GAMMA - 1))
            return torch.stack([density, velocity, density**GAMMA])

        x, velocity = centres(n), profile(centres(n))
        start = state(velocity)
        for _ in range(200):
            velocity = profile(x - (velocity * (GAMMA + 1) / 2 + sound_at_rest) * time)
        end = solve_euler(start, [time], extent=(1.0,), boundary=("periodic",))[0]
        return float((end - state(velocity)).abs().mean())

    assert math.log2(error(50) / error(200)) / 2 > 1.8


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_periodic_boundaries_conserve(dim: int):
    n = (48, 20, 10)[dim - 1]
    generator = torch.Generator().manual_seed(dim)
    start = torch.rand((dim + 2, *[n] * dim), generator=generator, dtype=torch.float64)
    start[1:-1] -= 0.5
    start[[0, -1]] += 0.5
    start, end = solve_euler(start, [0.0, 0.2], extent=(1.0,) * dim, boundary=("periodic",) * dim)
    totals = []
    for state in (start, end):
        energy = state[-1] / (GAMMA - 1) + 0.5 * state[0] * state[1:-1].square().sum(0)
        totals.append(torch.stack([state[0], *(state[0] * state[1:-1]), energy]).flatten(1).mean(1))
    assert float((start - end).abs().max()) > 0.1
    assert_close(totals[0], totals[1], rtol=0, atol=1e-12)


def test_walls_keep_mass_and_energy_and_mirror():
    n = 30
    generator = torch.Generator().manual_seed(1)
    half = 0.5 + torch.rand((3, n), generator=generator, dtype=torch.float64)
    half[1] -= 1
    mirrored = half.flip(1) * torch.tensor([1.0, -1.0, 1.0])[:, None]
    walled = solve_euler(half, [0.3], extent=(1.0,), boundary=("wall",))[0]
    whole = solve_euler(torch.cat([half, mirrored], 1), [0.3], extent=(2.0,), boundary=("wall",))[0]
    assert_close(whole[:, :n], walled, rtol=0, atol=1e-12)
    assert float(walled[0].sum()) == pytest.approx(float(half[0].sum()), abs=1e-11)


def test_three_dimensional_tube_is_the_one_dimensional_tube():
    start = tube(*SOD, 40)
    line = solve_euler(start, [0.1], extent=(1.0,), cfl=0.1)[0]
    for axis in range(3):
        shape = [4, 4, 4]
        shape[axis] = 40
        view = [1, 1, 1]
        view[axis] = 40
        box = torch.zeros(5, *shape, dtype=torch.float64)
        box[0], box[1 + axis], box[4] = (values.view(view).expand(shape) for values in start)
        extent = [0.1 * n / 4 for n in (4, 4, 4)]
        extent[axis] = 1.0
        kinds = ["periodic", "wall", "open"]
        kinds[axis] = "open"
        # The sum over axes in the time step makes it shorter than that of the tube.
        end = solve_euler(box, [0.1], extent=extent, boundary=kinds, cfl=0.3)[0]
        others = [0 if a != axis else slice(None) for a in range(3)]
        assert_close(end[(slice(None), *others)][[0, 1 + axis, 4]], line, rtol=0, atol=2e-3)
        spread = end.movedim(1 + axis, 1).flatten(2)
        assert float((spread.amax(2) - spread.amin(2)).max()) < 1e-12


@pytest.mark.parametrize("resolution", [50, pytest.param(100, marks=pytest.mark.slow)])
def test_configuration_3(resolution: int):
    """The settings of Clawpack's quadrants example."""
    frames = riemann_2d(resolution=resolution, frames=2, t_end=0.8, perturbation=0.0, split=0.8)
    density, velocity = frames.fields["density"][-1].double(), frames.fields["velocity"][-1].double()
    assert_close(density, density.T, rtol=0, atol=1e-6)
    assert_close(velocity[..., 0], velocity[..., 1].T, rtol=0, atol=1e-6)
    # Contours of Liska and Wendroff (2003, fig. 4.1) go from 0.16 to 1.71.
    assert 0.13 < float(density.min()) < 0.16
    assert 1.60 < float(density.max()) < 1.85
    # Three of the states are not reached by any wave; sound has been everywhere in the fourth.
    corners = [float(density[cell]) for cell in ((0, -1), (0, 0), (-1, 0))]
    assert corners == pytest.approx([state[0] for state in CONFIGURATION_3[1:]], abs=1e-4)


def test_riemann_problem_is_self_similar():
    """The solution depends on (x - split) / t alone, and so do the cells where both are halved."""
    whole = riemann_2d(resolution=32, frames=2, t_end=0.4, perturbation=0.0).fields["density"][-1]
    fine = riemann_2d(resolution=64, frames=2, t_end=0.2, perturbation=0.0).fields["density"][-1]
    assert_close(fine[16:48, 16:48], whole, rtol=0, atol=1e-3)
    assert_close(fine[20:44, 20:44], whole[4:28, 4:28], rtol=0, atol=1e-5)


def test_makers():
    first, again, other = (riemann_2d(seed, resolution=16, frames=3) for seed in (3, 3, 4))
    assert torch.equal(first.fields["density"], again.fields["density"])
    assert not torch.equal(first.fields["density"], other.fields["density"])
    start = {name: values[0] for name, values in first.fields.items()}
    for cell, state in zip(((12, 12), (3, 12), (3, 3), (12, 3)), CONFIGURATION_3, strict=True):
        got = [start["density"][cell], *start["velocity"][cell], start["pressure"][cell]]
        assert all(abs(float(g) - s) <= 0.2 * s + 1e-6 for g, s in zip(got, state, strict=True))
    assert first.velocity == "velocity" and first.boundary == ("open", "open") and float(first.time[-1]) == 0.3
    layers = kelvin_helmholtz(1, resolution=16, frames=2, t_end=0.2)
    assert float(layers.fields["density"][1].mean()) == pytest.approx(float(layers.fields["density"][0].mean()))
    ball = blast(2, dim=3, resolution=12, frames=2, t_end=0.05)
    assert ball.fields["velocity"].shape == (2, 12, 12, 12, 3)
    assert ball.fields["pressure"].dtype == torch.float32
    assert float(ball.fields["velocity"][1].abs().max()) > 0.1
    with pytest.raises(InputError, match="dim must be 1, 2 or 3"):
        blast(dim=4)


def test_errors():
    start = tube(*SOD, 20)
    with pytest.raises(InputError, match=r"boundary must be one of periodic, open, wall"):
        solve_euler(start, [0.1], extent=(1.0,), boundary=("reflecting",))
    with pytest.raises(InputError, match="per axis"):
        solve_euler(start, [0.1], extent=(1.0, 1.0))
    with pytest.raises(InputError, match="times must ascend"):
        solve_euler(start, [0.1, 0.05], extent=(1.0,))
    with pytest.raises(InputError, match="cfl must be"):
        solve_euler(start, [0.1], extent=(1.0,), cfl=0.0)
    apart = tube((1.0, -20.0, 0.4), (1.0, 20.0, 0.4), 20)
    with pytest.raises(InputError, match=r"not positive at time 0\.\d+ in cell \((9|10),\)"):
        solve_euler(apart, [0.1], extent=(1.0,), cfl=1.0)
    start[2, 7] = -1
    with pytest.raises(InputError, match=r"at time 0 in cell \(7,\)"):
        solve_euler(start, [0.1], extent=(1.0,))
