"""The Euler solver against exact solutions and conservation."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.solvers.euler import solve_euler
from meshops.solvers.riemann import blast, kelvin_helmholtz, riemann_2d

GAMMA = 1.4


def sod(x: torch.Tensor, time: float) -> torch.Tensor:
    """Exact density of Sod's tube, diaphragm at 0.5 (Toro, ch. 4); pressure between the waves by Newton's method."""
    rho_l, p_l, rho_r, p_r = 1.0, 1.0, 0.125, 0.1
    c_l, c_r = math.sqrt(GAMMA * p_l / rho_l), math.sqrt(GAMMA * p_r / rho_r)

    def both(p: float) -> float:
        left = 2 * c_l / (GAMMA - 1) * ((p / p_l) ** ((GAMMA - 1) / (2 * GAMMA)) - 1)
        a, b = 2 / ((GAMMA + 1) * rho_r), (GAMMA - 1) / (GAMMA + 1) * p_r
        return left + (p - p_r) * math.sqrt(a / (p + b))

    p = 0.3
    for _ in range(50):
        p -= both(p) / ((both(p + 1e-7) - both(p - 1e-7)) / 2e-7)
    u = -2 * c_l / (GAMMA - 1) * ((p / p_l) ** ((GAMMA - 1) / (2 * GAMMA)) - 1)
    rho_star_l = rho_l * (p / p_l) ** (1 / GAMMA)
    ratio = (GAMMA - 1) / (GAMMA + 1)
    rho_star_r = rho_r * (p / p_r + ratio) / (ratio * p / p_r + 1)
    c_star = c_l * (p / p_l) ** ((GAMMA - 1) / (2 * GAMMA))
    shock = c_r * math.sqrt((GAMMA + 1) / (2 * GAMMA) * p / p_r + (GAMMA - 1) / (2 * GAMMA))
    s = (x - 0.5) / time
    fan = rho_l * (2 / (GAMMA + 1) + ratio / c_l * (0 - s)) ** (2 / (GAMMA - 1))
    out = torch.full_like(x, rho_r)
    for edge, value in ((shock, rho_star_r), (u, rho_star_l), (u - c_star, fan), (-c_l, torch.full_like(x, rho_l))):
        out = torch.where(s < edge, torch.as_tensor(value, dtype=x.dtype), out)
    return out


def tube(n: int, axis: int = 0, dim: int = 1) -> torch.Tensor:
    shape = [1] * dim
    shape[axis] = n
    grid = [n if a == axis else 4 for a in range(dim)]
    x = ((torch.arange(n, dtype=torch.float64) + 0.5) / n).view(shape).expand(grid)
    still = torch.zeros(grid, dtype=torch.float64)
    return torch.stack([torch.where(x < 0.5, 1.0, 0.125), *[still] * dim, torch.where(x < 0.5, 1.0, 0.1)]).double()


def test_sod_converges_to_the_exact_solution() -> None:
    errors = []
    for n in (100, 400):
        x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        ours = solve_euler(tube(n), [0.2], extent=(1.0,))[0, 0]
        errors.append(float((ours - sod(x, 0.2)).abs().mean()))
    assert errors[0] < 0.012 and errors[1] < 0.0035
    assert math.log(errors[0] / errors[1], 4) > 0.8  # first order, as any scheme at shocks


@pytest.mark.parametrize(("axis", "dim"), [(0, 2), (1, 2), (2, 3)])
def test_a_tube_along_any_axis_is_the_same(axis: int, dim: int) -> None:
    line = solve_euler(tube(40), [0.1], extent=(1.0,), cfl=0.2)[0]
    full = solve_euler(tube(40, axis, dim), [0.1], extent=(1.0,) * dim, boundary=("periodic",) * axis + ("open",)
                       + ("periodic",) * (dim - axis - 1), cfl=0.2)[0]  # fmt: skip
    place = [0] * dim
    density = full[0].movedim(axis, -1)[tuple(place[:-1])]
    assert_close(density, line[0], atol=5e-3, rtol=0)  # time steps differ


def test_a_carried_density_wave_converges_at_second_order() -> None:
    errors = []
    for n in (32, 64):
        x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        state = torch.stack([1 + 0.2 * torch.sin(2 * math.pi * x), torch.ones_like(x), torch.ones_like(x)])
        end = solve_euler(state, [1.0], extent=(1.0,), boundary=("periodic",))[0, 0]
        errors.append(float((end - state[0]).abs().mean()))
    assert math.log2(errors[0] / errors[1]) > 1.7


@pytest.mark.parametrize("boundary", ["periodic", "wall"])
def test_mass_and_energy_are_kept(boundary: str) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(4, 12, 10, generator=generator, dtype=torch.float64)
    state = torch.stack([1 + noise[0], noise[1] - 0.5, noise[2] - 0.5, 1 + noise[3]])
    first, last = solve_euler(state, [0.0, 0.3], extent=(1.2, 1.0), boundary=(boundary, boundary))

    def totals(s: torch.Tensor) -> torch.Tensor:
        energy = s[3] / (GAMMA - 1) + 0.5 * s[0] * s[1:3].square().sum(0)
        kept = [s[0].sum(), energy.sum()]
        return torch.stack([*kept, (s[0] * s[1]).sum(), (s[0] * s[2]).sum()] if boundary == "periodic" else kept)

    assert_close(totals(first), state.new_tensor(totals(last).tolist()), rtol=1e-12, atol=1e-12)
    assert_close(first, state, rtol=1e-14, atol=1e-14)


def test_configuration_3_is_symmetric_about_the_diagonal() -> None:
    run = riemann_2d(resolution=48, frames=3, perturbation=0.0)
    density, velocity = run.fields["density"][-1], run.fields["velocity"][-1]
    assert_close(density, density.T)
    assert_close(velocity[..., 0], velocity[..., 1].T)
    assert 1.55 < float(density.max()) < 1.9 and 0.13 < float(density.min()) < 0.14
    assert run.grid_shape == (48, 48) and run.fields["velocity"].shape == (3, 48, 48, 2)


def test_seeds_differ_and_repeat() -> None:
    first, again, other = (riemann_2d(seed, resolution=16, frames=2) for seed in (1, 1, 2))
    assert torch.equal(first.fields["density"], again.fields["density"])
    assert not torch.equal(first.fields["density"], other.fields["density"])
    assert kelvin_helmholtz(0, resolution=16, frames=2, t_end=0.1).boundary == ("periodic", "periodic")


def test_a_blast_in_three_dimensions() -> None:
    run = blast(3, dim=3, resolution=12, frames=3)
    assert run.grid_shape == (12, 12, 12) and run.fields["velocity"].shape == (3, 12, 12, 12, 3)
    assert run.fields["pressure"][0].max() > 3 * run.fields["pressure"][0].min()


def test_bad_input_is_explained() -> None:
    state = tube(8)
    with pytest.raises(InputError, match="boundary must be one of periodic, open, wall"):
        solve_euler(state, [0.1], extent=(1.0,), boundary=("free",))
    with pytest.raises(InputError, match=r"primitive must be \[d \+ 2"):
        solve_euler(state[:2], [0.1], extent=(1.0,))
    state[2, 3] = -1
    with pytest.raises(InputError, match=r"not positive at time 0 in cell \(3,\)"):
        solve_euler(state, [0.1], extent=(1.0,))
    with pytest.raises(InputError, match="dim must be 1, 2 or 3"):
        blast(dim=4)
