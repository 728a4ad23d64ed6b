"""Frechet distance against SciPy and closed forms, manifolds against loops, and a network that learns a parameter."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from meshops.errors import DataWarning, InputError
from meshops.metrics import frechet
from meshops.metrics.frechet import (
    PhysicsFeatures,
    fit_physics_features,
    frechet_distance,
    frechet_physics_distance,
    physics_features,
    precision_recall,
)

SEEDS = st.integers(0, 2**16)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(rows: int, mean: Tensor, covariance: Tensor) -> Tensor:
    """A set whose sample mean and covariance are exactly these."""
    x = draw(0, rows, len(mean))
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (rows - 1))).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def by_sqrtm(a: Tensor, b: Tensor) -> float:
    first, second = np.cov(a.numpy().T), np.cov(b.numpy().T)
    root = scipy.linalg.sqrtm(first @ second).real
    return float((a.mean(0) - b.mean(0)).square().sum() + np.trace(first + second - 2 * root))


# Distance


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(2, 8))
def test_distance_is_that_of_scipy(seed: int, f: int) -> None:
    a, b = draw(seed, 30, f) @ draw(seed + 1, f, f), draw(seed + 2, 40, f) + 1
    assert frechet_distance(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-8)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)


def test_distance_of_gaussians_whose_covariances_commute() -> None:
    """|m_a - m_b|^2 + sum (s_a - s_b)^2 along common axes, here turned by a rotation."""
    turn = torch.linalg.qr(draw(1, 3, 3)).Q
    s_a, s_b = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 2.0, 0.1]).double()
    m_a, m_b = torch.tensor([0.0, 1.0, 2.0]).double(), torch.tensor([1.0, 1.0, 0.0]).double()
    a = with_moments(50, m_a, turn * s_a.square() @ turn.T)
    b = with_moments(70, m_b, turn * s_b.square() @ turn.T)
    assert frechet_distance(a, b) == pytest.approx(float((m_a - m_b).square().sum() + (s_a - s_b).square().sum()))


@pytest.mark.parametrize(("rows", "f"), [(100, 4), (5, 64), (2, 3)])
def test_distance_of_equal_sets_is_zero_even_with_few_rows(rows: int, f: int) -> None:
    """Covariances of low rank: the root of eigenvalues that are rounding would leave 1e-8 of the trace."""
    a = 1e3 * draw(0, rows, f) + 1e5
    assert frechet_distance(a, a.flip(0)) < 1e-12 * float(a.var(0).sum())
    assert frechet_distance(a, a + 2) == pytest.approx(4 * f, rel=1e-6)


def test_distance_with_fewer_rows_than_features() -> None:
    a, b = draw(0, 4, 6), draw(1, 5, 6)
    assert frechet_distance(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_distance_knows_no_order_place_or_rotation(seed: int) -> None:
    a, b, turn = draw(seed, 12, 4), draw(seed + 1, 9, 4), torch.linalg.qr(draw(seed, 4, 4)).Q
    expected = frechet_distance(a, b)
    assert frechet_distance(a.flip(0), b) == pytest.approx(expected)
    assert frechet_distance(a @ turn + 5, b @ turn + 5) == pytest.approx(expected)
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * expected)


# Manifolds


def slow_share(queries: Tensor, points: Tensor, k: int) -> float:
    inside = 0
    for q in queries.tolist():
        for i, p in enumerate(points.tolist()):
            reach = sorted(math.dist(p, o) for j, o in enumerate(points.tolist()) if j != i)[k - 1]
            if math.dist(p, q) <= reach:
                inside += 1
                break
    return inside / len(queries)


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.integers(1, 4), st.sampled_from([1, 3, 40]))
def test_manifolds_are_unions_of_balls(seed: int, k: int, f: int) -> None:
    real, generated = draw(seed, 12, f), 1.3 * draw(seed + 1, 9, f)
    found = precision_recall(real, generated, k=k)
    assert found.precision == slow_share(generated, real, k)
    assert found.recall == slow_share(real, generated, k)


def test_the_edge_of_a_ball_belongs_to_it() -> None:
    """Real 0 .. 5, generated 0 .. 2, radii 1: of the real ones 0 .. 3 are reached, 3 on the edge."""
    assert precision_recall(torch.arange(6.0)[:, None], torch.arange(3.0)[:, None], k=1) == (1.0, 4 / 6)


def test_extremes_of_precision_and_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    real = draw(0, 60, 5)
    assert precision_recall(real, real.flip(0)) == (1.0, 1.0)
    assert precision_recall(real, real + 100) == (0.0, 0.0)
    few_modes = real[:1] + 1e-3 * draw(1, 60, 5)
    precision, recall = precision_recall(real, few_modes)
    assert precision == 1.0 and recall < 0.1
    too_wide = torch.cat([real, real + 100])
    assert precision_recall(real, too_wide) == (0.5, 1.0)
    whole = precision_recall(real, real * 1.5)
    monkeypatch.setattr(frechet, "CHUNK", 130)  # two queries at a time
    assert precision_recall(real, real * 1.5) == whole


# Features


def ramps(count: int, grid: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Waves that decay at a rate and have an amplitude: ``[count, 4, 1, *grid]`` and ``[count, 2]``."""
    generator = torch.Generator().manual_seed(seed)
    rate, height, phase = torch.rand(3, count, *[1] * (len(grid) + 2), generator=generator)
    place = torch.arange(grid[-1]) / grid[-1]
    time = torch.arange(4).view(4, 1, *[1] * len(grid))
    wave = (1 + height) * torch.exp(-rate * time) * torch.sin(2 * math.pi * (place + phase))
    return wave.expand(count, 4, 1, *grid), torch.stack([1e-3 * rate.flatten(), 100 * height.flatten()], 1)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_features_of_grids_of_any_dimension_and_size(dim: int) -> None:
    model = PhysicsFeatures(4, 2, num_parameters=3, dim=dim)
    for size in (1, 7, 8):
        trajectories = torch.randn(5, 4, 2, *[size] * dim)
        assert model.features(trajectories).shape == (5, 64) and model(trajectories).shape == (5, 3)
    with pytest.raises(InputError, match=rf"trajectories must be \[b, 4, 2, \*grid\] with {dim} grid axes, got"):
        model(torch.randn(5, 3, 2, *[8] * dim))


@pytest.fixture(scope="module")
def fitted() -> PhysicsFeatures:
    return fit_physics_features(*ramps(128, (16,)), steps=200, seed=3)


def test_the_network_learns_parameters_of_unlike_units(fitted: PhysicsFeatures) -> None:
    trajectories, parameters = ramps(64, (16,), seed=1)
    with torch.no_grad():
        error = (fitted(trajectories) - parameters).square().mean(0) / parameters.var(0)
    assert error.max() < 0.2  # held out; the mean of the parameters would score 1
    assert not fitted.training


def test_generated_sets_are_told_apart(fitted: PhysicsFeatures) -> None:
    real, alike = ramps(128, (16,))[0], ramps(128, (16,), seed=1)[0]
    noisy, one = alike + 0.5 * torch.randn(alike.shape), alike[:1].expand_as(alike)
    near = frechet_physics_distance(real, alike, model=fitted, batch_size=50)
    assert frechet_physics_distance(real, real, model=fitted) == pytest.approx(0, abs=1e-9)
    assert 0 < near < 0.2 * min(frechet_physics_distance(real, other, model=fitted) for other in (noisy, one))
    a, b = (physics_features(x, fitted, batch_size=17) for x in (real, alike))
    assert a.shape == (128, 64) and a.dtype == torch.float64 and not a.requires_grad
    assert near == pytest.approx(frechet_distance(a, b), rel=1e-3)
    assert min(precision_recall(a, b)) > 0.8


def test_the_same_seed_gives_the_same_network_and_leaves_the_generator() -> None:
    data = ramps(8, (6, 4))
    before = torch.get_rng_state()
    first, again, other = (fit_physics_features(*data, steps=3, batch_size=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first(data[0]), other(data[0]))


def test_units_of_the_fields_do_not_matter() -> None:
    trajectories, parameters = ramps(8, (8,))
    plain = fit_physics_features(trajectories, parameters, steps=3)
    shifted = fit_physics_features(trajectories.double() * 1e5 + 1e6, parameters, steps=3)
    assert_close(shifted.scale, plain.scale * 1e5)
    assert_close(shifted(trajectories * 1e5 + 1e6), plain(trajectories), rtol=1e-2, atol=1e-2)


def test_gradients_reach_every_weight() -> None:
    model = PhysicsFeatures(2, 1, num_parameters=1, dim=2)
    model(torch.randn(3, 2, 1, 8, 8)).square().sum().backward()
    assert all(float(weight.grad.abs().sum()) > 0 for weight in model.parameters())


# Messages


def test_messages_of_features() -> None:
    a = torch.zeros(5, 3)
    for b in (torch.zeros(5, 4), torch.zeros(5), torch.zeros(2, 5, 3)):
        with pytest.raises(InputError, match=r"must be \[m, f\] and \[n, f\] .* got .*; one row per trajectory"):
            frechet_distance(a, b)
    with pytest.raises(InputError, match="a covariance needs at least 2 rows, got 1 in features_b; give more"):
        frechet_distance(a, a[:1])
    with pytest.raises(InputError, match="k = 3 needs at least 4 rows, got 3 in generated"):
        precision_recall(a, a[:3])
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        precision_recall(a, a, k=0)
    for score, where in itertools.product((frechet_distance, precision_recall), (0, 1)):
        pair = [a.clone(), a.clone()]
        pair[where][4, 1] = math.nan
        with pytest.raises(InputError, match=r"must be finite, got 1 .* the first at \[4, 1\]; leave out"):
            score(*pair)


def test_messages_of_the_fit(fitted: PhysicsFeatures) -> None:
    trajectories, parameters = ramps(6, (8,))
    with pytest.raises(InputError, match="dim must be 1, 2 or 3, got 4"):
        PhysicsFeatures(1, 1, num_parameters=1, dim=4)
    with pytest.raises(InputError, match=r"trajectories must be \[b, t, c, \*grid\] .* got \[6, 8\]"):
        fit_physics_features(trajectories[:, 0, 0], parameters)
    for wrong in (parameters[:4], parameters[:, 0]):
        with pytest.raises(InputError, match=r"parameters must be \[6, p\], .* one parameter is a column"):
            fit_physics_features(trajectories, wrong)
    with pytest.raises(InputError, match=r"at least 2 trajectories, 1 step .* got 6, 0 and 32"):
        fit_physics_features(trajectories, parameters, steps=0)
    with pytest.raises(InputError, match="parameters must be finite"):
        fit_physics_features(trajectories, parameters / 0)
    with pytest.raises(InputError, match="trajectories must be finite"):
        frechet_physics_distance(trajectories, trajectories / 0, model=fitted)
    with pytest.warns(DataWarning, match=r"parameters \[1\] are the same for all"):
        fit_physics_features(trajectories, parameters * torch.tensor([1.0, 0.0]), steps=1)
