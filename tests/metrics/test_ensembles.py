"""Scores of ensembles against double loops, closed forms of the normal distribution, and invariances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.metrics import fields as metrics
from meshops.metrics.ensembles import (
    crps,
    ensemble_errors,
    missing_variance,
    rank_histogram,
    relative_l2,
    relative_mse,
    rmsce,
    spread_skill,
)

SEEDS = st.integers(0, 2**16)


def draw(seed: int, *shape: int, ties: bool = False) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (2 * values).round() / 2 if ties else values


def slow_crps(samples: list[float], truth: float, fair: bool) -> float:
    k = len(samples)
    error = sum(abs(x - truth) for x in samples) / k
    pairs = sum(abs(x - y) for x in samples for y in samples)
    return error - pairs / (2 * k * (k - 1) if fair else 2 * k * k)


def slow_ranks(samples: Tensor, truth: Tensor) -> list[float]:
    """Every place that each truth could take among its samples, in equal shares."""
    counts = [0.0] * (len(samples) + 1)
    for column, value in zip(samples.flatten(1).T.tolist(), truth.flatten().tolist(), strict=True):
        places = [
            r for r in range(len(column) + 1) if sum(x < value for x in column) <= r <= sum(x <= value for x in column)
        ]
        for place in places:
            counts[place] += 1 / len(places)
    return counts


# CRPS


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 9), st.booleans())
def test_crps_is_the_double_sum(seed: int, k: int, ties: bool) -> None:
    samples, truth = draw(seed, k, 3, 2, ties=ties), draw(seed + 1, 3, 2, ties=ties)
    for fair in (False, True)[: min(k, 2)]:
        found = crps(samples, truth, fair=fair)
        columns = samples.flatten(1).T.tolist()
        expected = [slow_crps(c, y, fair) for c, y in zip(columns, truth.flatten().tolist(), strict=True)]
        assert_close(found, torch.tensor(expected, dtype=torch.float64).view(3, 2))


def test_crps_of_a_normal_distribution() -> None:
    """Gneiting and Raftery 2007: sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)); at the mean sigma * 0.2337."""
    mean, sigma, k = 2.0, 3.0, 100_000
    levels = (torch.arange(k, dtype=torch.float64) + 0.5) / k
    samples = mean + sigma * torch.special.ndtri(levels)
    truth = torch.tensor([2.0, 5.0, -7.0], dtype=torch.float64)
    z = (truth - mean) / sigma
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    closed = sigma * (z * (2 * torch.special.ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
    assert_close(crps(samples[:, None].expand(-1, 3), truth), closed, rtol=1e-4, atol=0)
    assert float(closed[0]) == pytest.approx(sigma * (math.sqrt(2) - 1) / math.sqrt(math.pi))


def test_only_the_fair_crps_does_not_depend_on_the_size() -> None:
    """Truth and samples from one normal distribution: infinitely many draws score 1 / sqrt(pi)."""
    truth = draw(0, 100_000)
    for k in (2, 5):
        samples = draw(k, k, 100_000)
        assert float(crps(samples, truth, fair=True).mean()) == pytest.approx(1 / math.sqrt(math.pi), abs=0.01)
        assert float(crps(samples, truth).mean()) == pytest.approx((1 + 1 / k) / math.sqrt(math.pi), abs=0.01)


def test_crps_of_one_sample_is_the_absolute_error() -> None:
    samples, truth = draw(0, 1, 4, 3), draw(1, 4, 3)
    assert_close(crps(samples, truth), (samples[0] - truth).abs())


def test_large_offsets_do_not_lose_digits() -> None:
    samples, truth = draw(0, 6, 5), draw(1, 5)
    assert_close(crps(samples + 2.0**40, truth + 2.0**40), crps(samples, truth), rtol=0, atol=1e-3)
    near = torch.tensor([1e6, 1e6 + 1], dtype=torch.float32)
    assert float(crps(near[:, None], near[:1])) == pytest.approx(0.25)


# Spread and skill


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(2, 6))
def test_spread_and_skill_are_their_formulas(seed: int, k: int) -> None:
    samples, truth, area = draw(seed, k, 3, 4, 2), draw(seed + 1, 3, 4, 2), draw(seed + 2, 4).abs() + 0.1
    found = spread_skill(samples, truth, axes=(-2, 2), weights=area)
    for step in range(3):
        variance = error = 0.0
        for node in range(4):
            for channel in range(2):
                column = samples[:, step, node, channel].tolist()
                mean = sum(column) / k
                share = float(area[node] / area.sum()) / 2
                variance += share * sum((x - mean) ** 2 for x in column) / (k - 1)
                error += share * (mean - float(truth[step, node, channel])) ** 2
        assert float(found.spread[step]) == pytest.approx(math.sqrt((k + 1) / k * variance))
        assert float(found.skill[step]) == pytest.approx(math.sqrt(error))
    assert_close(found.ratio, found.spread / found.skill)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_a_calibrated_ensemble_has_ratio_one_and_flat_ranks(k: int) -> None:
    place = draw(0, 50_000)  # the same forecast mean for truth and samples
    truth, samples = place + draw(1, 50_000), place + draw(2 + k, k, 50_000)
    assert float(spread_skill(samples, truth, axes=None).ratio) == pytest.approx(1, abs=0.01)
    assert_close(rank_histogram(samples, truth) / 50_000 * (k + 1), torch.ones(k + 1).double(), rtol=0, atol=0.08)
    for kind in ("quantile", "interval"):
        assert float(rmsce(samples, truth, kind=kind)) < 0.006
    narrow = place + 0.3 * (samples - place)
    assert float(spread_skill(narrow, truth, axes=None).ratio) < 0.5
    assert float(rmsce(narrow, truth)) > 0.05 and float(rmsce(narrow, truth, kind="interval")) > 0.1


def test_no_axes_is_every_entry_and_exact_samples_have_no_ratio() -> None:
    samples, truth = draw(0, 4, 3, 2), draw(1, 3, 2)
    assert_close(spread_skill(samples, truth, axes=()).skill, (samples.mean(0) - truth).abs())
    assert bool(spread_skill(truth.expand(4, 3, 2), truth, axes=None).ratio.isnan())
    both = torch.stack([truth - 1, truth + 1]).round()
    assert float(spread_skill(both, both.mean(0), axes=None).ratio) == math.inf


@pytest.mark.parametrize("k", [1, 2, 8])
def test_missing_variance_is_what_the_spread_does_not_explain(k: int) -> None:
    torch.manual_seed(k)
    truth = torch.randn(5, 4000, 2)
    extra = torch.tensor([0.5, 2.0])  # an error that all samples share
    samples = torch.randn(k, 5, 4000, 2) + extra * torch.randn(5, 4000, 2)
    missing = missing_variance(samples, truth)
    assert missing.shape == (5, 2)
    # one sample lacks its own variance and that of the truth too
    wanted = extra.square().expand(5, 2) + (2.0 if k == 1 else 0.0)
    torch.testing.assert_close(missing, wanted.double(), rtol=0.1, atol=0.2)
    variance = samples.double().var(0).mean(1) * (k + 1) / k if k > 1 else torch.zeros(5, 2)
    skill = (samples.double().mean(0) - truth).square().mean(1)
    torch.testing.assert_close(variance + missing, skill)  # by definition
    with pytest.raises(InputError, match=r"truth must be \[..., n, c\]"):
        missing_variance(samples[:, 0, :, 0], truth[0, :, 0])


# Ranks and calibration


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 7), st.booleans())
def test_ranks_are_counted_and_ties_split_evenly(seed: int, k: int, ties: bool) -> None:
    samples, truth = draw(seed, k, 4, 3, ties=ties), draw(seed + 1, 4, 3, ties=ties)
    counts = rank_histogram(samples, truth)
    assert_close(counts, torch.tensor(slow_ranks(samples, truth), dtype=torch.float64))
    assert float(counts.sum()) == pytest.approx(12)


def test_weights_count_entries_as_often() -> None:
    samples, truth = draw(0, 5, 2, 4, 1, ties=True), draw(1, 2, 4, 1, ties=True)
    times = torch.tensor([1, 3, 0, 2])
    often = times.repeat_interleave(times).new_tensor([0, 1, 1, 1, 3, 3])
    assert_close(rank_histogram(samples, truth, weights=times), rank_histogram(samples[:, :, often], truth[:, often]))
    for kind in ("quantile", "interval"):
        assert_close(
            rmsce(samples, truth, weights=times, kind=kind), rmsce(samples[:, :, often], truth[:, often], kind=kind)
        )


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(2, 8), st.booleans())
def test_calibration_error_is_its_definition(seed: int, k: int, ties: bool) -> None:
    samples, truth = draw(seed, k, 9, ties=ties), draw(seed + 1, 9, ties=ties)
    share = [count / 9 for count in slow_ranks(samples, truth)]
    quantile = [(sum(share[:j]) - j / (k + 1)) ** 2 for j in range(1, k + 1)]
    interval = [(sum(share[j : k - j + 1]) - (k + 1 - 2 * j) / (k + 1)) ** 2 for j in range(1, k // 2 + 1)]
    assert float(rmsce(samples, truth)) == pytest.approx(math.sqrt(sum(quantile) / k))
    assert float(rmsce(samples, truth, kind="interval")) == pytest.approx(math.sqrt(sum(interval) / (k // 2)))


def test_without_ties_quantiles_cover_what_they_say() -> None:
    samples, truth = draw(0, 4, 500), draw(1, 500)
    ordered = samples.sort(0).values
    levels = torch.arange(1, 5) / 5
    covered = (truth <= ordered).double().mean(1)
    assert_close(rmsce(samples, truth), (covered - levels).square().mean().sqrt())


def test_intervals_are_blind_to_a_swap_of_sides_and_quantiles_are_not() -> None:
    samples = torch.arange(4.0)[:, None].expand(4, 5)
    truth = torch.tensor([-1.0, -1.0, 0.5, 1.5, 2.5])  # nothing above, twice as much below
    assert float(rmsce(samples, truth, kind="interval")) == pytest.approx(0, abs=1e-12)
    assert float(rmsce(samples, truth)) == pytest.approx(0.2)


# Relative errors


def test_relative_l2_is_the_root_of_the_relative_mse() -> None:
    prediction, truth, area = draw(0, 3, 6, 2), draw(1, 3, 6, 2), draw(2, 6).abs()
    kept = relative_l2(prediction, truth, axes=(1, 2), weights=area)
    for step in range(3):
        assert float(kept[step]) == pytest.approx(metrics.relative_l2(prediction[step], truth[step], area))
    assert_close(relative_mse(prediction, truth, axes=(1, 2), weights=area), kept.square())
    assert float(relative_l2(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0]), axes=None)) == pytest.approx(0.2)
    assert float(relative_mse(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0]), axes=None)) == pytest.approx(0.04)


def test_a_zero_truth_has_no_relative_error() -> None:
    truth = torch.ones(3, 4, 1)
    truth[1] = 0
    with pytest.raises(InputError, match=r"zero everywhere at \[1\].*average over more axes"):
        relative_l2(torch.ones(3, 4, 1), truth, axes=(1, 2))
    with pytest.raises(InputError, match="zero everywhere, a relative"):
        relative_mse(torch.ones(2), torch.zeros(2), axes=None)
    curve = ensemble_errors(torch.ones(2, 3, 4, 1), truth)
    assert curve["relative_l2"].isnan().tolist() == [False, True, False]


# Curves


def test_curves_are_the_single_scores_of_each_step() -> None:
    samples, truth, area = draw(0, 5, 4, 7, 2), draw(1, 4, 7, 2), draw(2, 7).abs()
    curves = ensemble_errors(samples, truth, weights=area, node_axis=1)
    share = (area / area.sum())[:, None] / 2
    both = spread_skill(samples, truth, axes=(1, 2), weights=area)
    assert_close(curves["crps"], (crps(samples, truth) * share).sum((1, 2)))
    assert_close(curves["fair_crps"], (crps(samples, truth, fair=True) * share).sum((1, 2)))
    assert_close((curves["spread"], curves["skill"], curves["ratio"]), tuple(both))
    assert_close(curves["relative_l2"], relative_l2(samples.mean(0), truth, axes=(1, 2), weights=area))
    assert_close(curves["relative_mse"], curves["relative_l2"].square())
    each = torch.stack([relative_l2(sample, truth, axes=(1, 2), weights=area) for sample in samples])
    assert_close(curves["relative_l2_sample"], each.mean(0))
    assert_close(curves["relative_mse_sample"], each.square().mean(0))
    for step in range(4):
        at = samples[:, step], truth[step]
        assert_close(curves["rank_histogram"][step], rank_histogram(*at, weights=area))
        assert_close(curves["rmsce"][step], rmsce(*at, weights=area))
        assert_close(curves["rmsce_interval"][step], rmsce(*at, weights=area, kind="interval"))


def test_one_sample_has_the_curves_that_one_sample_defines() -> None:
    samples, truth = draw(0, 1, 3, 4, 2), draw(1, 3, 4, 2)
    curves = ensemble_errors(samples, truth)
    assert {"crps", "skill", "rmsce", "relative_l2"} <= set(curves)
    assert not {"fair_crps", "spread", "ratio", "rmsce_interval"} & set(curves)
    assert_close(curves["crps"], (samples[0] - truth).abs().mean((1, 2)))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 6), st.booleans())
def test_order_of_samples_and_nodes_does_not_matter(seed: int, k: int, ties: bool) -> None:
    samples, truth, area = draw(seed, k, 2, 6, 2, ties=ties), draw(seed + 1, 2, 6, 2, ties=ties), draw(seed, 6).abs()
    generator = torch.Generator().manual_seed(seed)
    order, nodes = torch.randperm(k, generator=generator), torch.randperm(6, generator=generator)
    shuffled = ensemble_errors(samples[order][:, :, nodes], truth[:, nodes], weights=area[nodes])
    assert_close(shuffled, ensemble_errors(samples, truth, weights=area))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(2, 6), st.floats(0.01, 100))
def test_units_scale_scores_and_leave_ranks(seed: int, k: int, unit: float) -> None:
    samples, truth = draw(seed, k, 2, 6, 2), draw(seed + 1, 2, 6, 2)
    plain, scaled = ensemble_errors(samples, truth), ensemble_errors(samples * unit, truth * unit)
    for key, curve in plain.items():
        assert_close(scaled[key], curve * (unit if key in ("crps", "fair_crps", "spread", "skill") else 1))


def test_grids_need_no_weights_and_float32_is_read() -> None:
    curves = ensemble_errors(torch.randn(3, 2, 1, 8, 6), torch.randn(2, 1, 8, 6))
    assert {key: list(curve.shape) for key, curve in curves.items() if curve.dim() > 1} == {"rank_histogram": [2, 4]}
    assert {curve.dtype for curve in curves.values()} == {torch.float64}


# Messages


@pytest.mark.parametrize(
    "score", [crps, rank_histogram, rmsce, ensemble_errors, lambda a, b: spread_skill(a, b, axes=None)]
)
def test_shapes_and_values_are_checked(score) -> None:
    truth = torch.zeros(3, 4, 2)
    for samples in (torch.zeros(3, 4, 2), torch.zeros(5, 3, 4, 1), torch.zeros(0, 3, 4, 2)):
        with pytest.raises(InputError, match=r"samples must be \[k, \.\.\.\].*got samples .*stack the samples"):
            score(samples, truth)
    samples = torch.zeros(5, 3, 4, 2)
    samples[2, 1, 3, 0] = math.nan
    with pytest.raises(InputError, match=r"samples must be finite, got 1 .* of 120 .*\[2, 1, 3, 0\]; a rollout"):
        score(samples, truth)
    with pytest.raises(InputError, match=r"truth must be finite, got 24 NaN or infinite of 24"):
        score(torch.zeros(5, 3, 4, 2), truth + math.inf)


def test_one_sample_has_no_unbiased_scores() -> None:
    one, truth = torch.zeros(1, 3, 2), torch.zeros(3, 2)
    with pytest.raises(InputError, match=r"the fair CRPS needs at least 2 samples, got 1; draw more, or use crps"):
        crps(one, truth, fair=True)
    with pytest.raises(InputError, match="the spread needs at least 2 samples, got 1"):
        spread_skill(one, truth, axes=None)
    with pytest.raises(InputError, match=r"a central interval needs at least 2 samples, got 1.*kind='quantile'"):
        rmsce(one, truth, kind="interval")


def test_other_messages() -> None:
    samples, truth = torch.zeros(2, 3, 4, 2), torch.zeros(3, 4, 2)
    with pytest.raises(InputError, match="kind must be 'quantile' or 'interval', got 'median'"):
        rmsce(samples, truth, kind="median")
    for axes in [(3,), (-4,), (0, -3)]:
        with pytest.raises(InputError, match=r"axes must be distinct axes of truth \[3, 4, 2\], -3 \.\. 2, got"):
            spread_skill(samples, truth, axes=axes)
    with pytest.raises(InputError, match=r"weights must be \[4\], .* got \[3\]; set node_axis"):
        rank_histogram(samples, truth, weights=torch.ones(3))
    with pytest.raises(InputError, match=r"node_axis must be an axis of truth \[3, 4, 2\], got 3"):
        rank_histogram(samples, truth, weights=torch.ones(4), node_axis=3)
    for weights in (torch.zeros(4), -torch.ones(4)):
        with pytest.raises(InputError, match=r"weights must be at least 0 and not all 0, got .* give areas"):
            rank_histogram(samples, truth, weights=weights)
    with pytest.raises(InputError, match="weights must be finite"):
        rank_histogram(samples, truth, weights=torch.full((4,), math.nan))
    with pytest.raises(InputError, match="node_axis = 0 is the time axis"):
        ensemble_errors(samples, truth, weights=torch.ones(3), node_axis=0)
    with pytest.raises(InputError, match="time first, got a single number"):
        ensemble_errors(torch.zeros(2), torch.zeros(()))
    with pytest.raises(InputError, match=r"prediction must have the shape of truth \[3, 4, 2\], got \[2, 3, 4, 2\]"):
        relative_l2(samples, truth, axes=None)
    with pytest.raises(InputError, match="prediction must be finite, got 24"):
        relative_mse(truth / 0, truth, axes=None)
