"""Metrics against their formulas, and against ways of fooling them."""

import math

import pytest
import torch

from meshops.errors import InputError
from meshops.metrics.fields import field_errors, mean_absolute_error, r2_score, relative_l2, spearman
from meshops.tasks.report import means


def test_relative_l2_is_the_ratio_of_norms():
    truth, prediction = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 5.0])
    assert relative_l2(prediction, truth) == pytest.approx(1 / 5)


def test_relative_l2_weights_both_norms():
    truth, prediction = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 3.0])
    assert relative_l2(prediction, truth, torch.tensor([3.0, 1.0])) == pytest.approx(math.sqrt(4 / 4))


def test_wrong_direction_of_a_vector_counts():
    """A known slip of a peer compared magnitudes, so that a reversed vector scored 0."""
    truth = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    assert relative_l2(-truth, truth) == pytest.approx(2.0)
    assert mean_absolute_error(-truth, truth) == pytest.approx(3.0)


def test_zero_truth_has_no_relative_error():
    assert math.isnan(relative_l2(torch.ones(3), torch.zeros(3)))
    row = field_errors(torch.ones(3), torch.zeros(3), torch.ones(3))
    assert row == {"rel_l2": None, "mae": 1.0, "r2": None, "rel_l2_area": None}


@pytest.mark.parametrize("noise", [1e-15, 1e-12])
def test_a_truth_of_rounding_noise_is_as_good_as_zero(noise: float):
    truth = noise * torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    row = field_errors(torch.ones(100, 3), truth, torch.ones(100))
    assert row["rel_l2"] is None and row["rel_l2_area"] is None and row["mae"] == pytest.approx(3**0.5)
    assert field_errors(truth, truth)["rel_l2"] == 0  # a small field that is met has an error
    assert field_errors(3 * truth, truth)["rel_l2"] == pytest.approx(2)


def test_a_constant_in_single_precision_has_no_r2():
    constant = torch.full((1000,), 101325.1) + 0.004 * torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert math.isnan(r2_score(constant + 1, constant))
    assert r2_score(constant + 1, torch.linspace(101324, 101326, 1000)) < 1


def test_shapes_must_agree():
    with pytest.raises(InputError, match="differ in shape"):
        relative_l2(torch.ones(3), torch.ones(3, 1))


def test_r2_of_the_mean_is_zero_and_of_the_truth_one():
    truth = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert r2_score(truth, truth) == pytest.approx(1)
    assert r2_score(truth.mean().expand(50), truth) == pytest.approx(0, abs=1e-6)
    weight = torch.rand(50)
    mean = (weight * truth).sum() / weight.sum()
    assert r2_score(mean.expand(50), truth, weight) == pytest.approx(0, abs=1e-5)


def test_large_offsets_do_not_lose_digits():
    truth = 1e5 + torch.arange(1000.0)
    assert r2_score(truth + 1, truth) == pytest.approx(1 - 1 / truth.double().var(unbiased=False).item(), rel=1e-6)


def test_rank_correlation():
    assert spearman([1.0, 2.0, 3.0], [10.0, 20.0, 25.0]) == pytest.approx(1)
    assert spearman([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    assert math.isnan(spearman([1.0], [1.0]))


def test_field_metrics_average_over_cases_not_over_nodes():
    rows = {
        "small": field_errors(torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([1.0])),
        "large": field_errors(torch.ones(9), torch.ones(9), torch.ones(9)),
    }
    assert means(rows)["rel_l2"] == pytest.approx(0.5)
    assert means(rows)["rel_l2_area"] == pytest.approx(0.5)
    assert means({}) == {}
    assert means(rows)["mae"] == pytest.approx(0.5)


def test_means_are_over_what_is_defined():
    zero, known = (field_errors(torch.ones(2), truth) for truth in (torch.zeros(2), torch.tensor([2.0, 2.0])))
    assert means({"zero": zero, "known": known})["rel_l2"] == pytest.approx(0.5)
    assert means({"zero": zero})["rel_l2"] is None and means({"zero": zero})["mae"] == 1
    assert "mae" not in means({"all": known, "some": {"rel_l2": 0.1}})
