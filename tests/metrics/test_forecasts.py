import math

import pytest
import torch

from meshops.metrics.forecasts import forecast_bands, forecast_errors, forecast_scores, mean_scores


def test_scores_are_averaged_to_the_end_of_the_shortest() -> None:
    torch.manual_seed(0)
    tables = {}
    for case, steps in (("a", 3), ("b", 5)):
        truth, last = 1 + torch.randn(steps, 40, 2), torch.randn(1, 40, 2)
        samples, scale = truth + torch.randn(4, steps, 40, 2), torch.tensor([1.0, 10.0])
        expected = torch.full_like(truth, math.sqrt(1.25))
        tables[case] = forecast_errors(samples, truth, last, scale=scale, expected=expected)
        wrong, size = ((v / scale).double().flatten(1).norm(dim=1) for v in (last - truth, truth))
        torch.testing.assert_close(tables[case]["relative_l2_kept"], wrong / size)
    found = forecast_scores(tables)
    assert {len(line) for line in found.curves.values()} == {3} and float(found.ranks.sum()) == pytest.approx(1)
    both = torch.stack([tables["a"]["skill"], tables["b"]["skill"][:3]])
    torch.testing.assert_close(found.curves["skill"], both.square().mean(0).sqrt())
    assert found.cases["b"]["crps"] == pytest.approx(float(tables["b"]["crps"][:3].mean()))
    spread = mean_scores(found.curves)["spread"] / mean_scores(found.curves)["skill"]
    assert found.mean["spread_over_skill"] == pytest.approx(float(spread))
    assert found.mean["coverage_90"] is not None and 0.5 < found.mean["coverage_90"] <= 1


def test_what_is_not_defined_is_left_out() -> None:
    nothing = forecast_scores({})
    assert nothing.mean == {} and nothing.curves == {} and len(nothing.ranks) == 0
    assert float(mean_scores({"crps": torch.tensor([1.0, math.nan])})["crps"]) == 1
    still = torch.zeros(2, 5, 1)
    table = forecast_errors(1 + torch.rand(3, 2, 5, 1), still, still[:1], scale=torch.ones(1))
    assert forecast_scores({"rest": table}).mean["relative_l2"] is None


def test_bands_of_a_sample_that_is_twice_the_truth() -> None:
    truth = torch.randn(64, 2)
    found = forecast_bands(2 * truth.expand(3, -1, -1), truth, grid=(8, 8), spacing=(0.1, 0.1))
    torch.testing.assert_close(found, torch.full((2, 3), 3.0, dtype=torch.float64))
