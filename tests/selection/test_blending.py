"""Weights of a blend against a slow search, and what they may not be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshops.data.normalize import Normalizer
from meshops.selection.blending import blend_weights, blended, nested
from meshops.selection.scores import Truth, score
from meshops.selection.search import Candidate, best_blend


def truth_of(values: list[torch.Tensor]) -> Truth:
    return Truth(
        [torch.arange(len(v)) for v in values],
        values,
        {"p": slice(0, 1), "q": slice(1, 3)},
        torch.zeros(3),
        Normalizer.identity(3),
    )


def noisy(values: list[torch.Tensor], size: float, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [v + size * torch.randn(v.shape, generator=generator) for v in values]


VALUES = [torch.randn(300, 3, generator=torch.Generator().manual_seed(i)) for i in range(6)]


def test_independent_noise_is_weighed_by_its_inverse_variance() -> None:
    truth = truth_of(VALUES)
    weights = blend_weights([noisy(VALUES, 0.1, 1), noisy(VALUES, 0.2, 2)], truth, range(6))
    np.testing.assert_allclose(weights[0], 0.8, atol=0.05)
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-9)


def test_weights_are_those_a_search_over_the_simplex_finds() -> None:
    truth = truth_of(VALUES)
    sheets = [noisy(VALUES, 0.3, 1), [0.7 * v for v in VALUES], [torch.zeros_like(v) for v in VALUES]]
    weights = blend_weights(sheets, truth, range(6))

    def loss(w: np.ndarray) -> float:
        both = np.stack([w, w], 1)
        return float(np.mean([
            truth.errors(i, blended(sheets, both, truth, i))["p"] ** 2 for i in range(6)
        ]))  # fmt: skip

    grid = [np.array([a, b, 1 - a - b]) for a in np.linspace(0, 1, 41) for b in np.linspace(0, 1 - a, 41)]
    best = min(grid, key=loss)
    assert loss(weights[:, 0]) <= loss(best) + 1e-5
    assert (weights >= 0).all()


def test_a_useless_member_gets_no_weight() -> None:
    truth = truth_of(VALUES)
    weights = blend_weights([noisy(VALUES, 0.05, 1), [-v for v in VALUES]], truth, range(6))
    assert (weights[1] < 1e-3).all()


def test_the_nested_error_of_pure_chance_is_not_better_than_its_best_member() -> None:
    zeros = truth_of([torch.randn(5, 3, generator=torch.Generator().manual_seed(9 + i)) for i in range(6)])
    sheets = [noisy([torch.zeros(5, 3)] * 6, 1.0, seed) for seed in range(8)]
    inside = blend_weights(sheets, zeros, range(6))
    fitted = score(zeros.table([blended(sheets, inside, zeros, i) for i in range(6)]))
    honest = score(zeros.table(nested(sheets, zeros, [(0, 1), (2, 3), (4, 5)])))
    assert honest > fitted


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_of_the_fields_does_not_matter(factor: float) -> None:
    a, b = noisy(VALUES, 0.1, 1), noisy(VALUES, 0.3, 2)
    first = blend_weights([a, b], truth_of(VALUES), range(6))
    scaled = [[factor * v for v in sheet] for sheet in (a, b)]
    second = blend_weights(scaled, truth_of([factor * v for v in VALUES]), range(6))
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_a_field_that_is_zero_in_a_case_counts_in_the_others() -> None:
    values = [v.clone() for v in VALUES]
    values[0][:, 0] = 0.0
    truth = truth_of(values)
    assert np.isnan(truth.table([v.clone() for v in values])[0, 0])
    weights = blend_weights([noisy(values, 0.1, 1), noisy(values, 0.4, 2)], truth, range(6))
    assert np.isfinite(weights).all() and weights[0, 0] > 0.8


def candidate(name: str, sheet: list[torch.Tensor], truth: Truth) -> Candidate:
    return Candidate(name, truth.table(sheet), sheet)


def test_equally_good_members_with_noise_of_their_own_are_averaged() -> None:
    truth = truth_of(VALUES)
    members = [candidate(str(k), noisy(VALUES, 0.2, k), truth) for k in range(2)]
    best = best_blend(members, truth, [(0, 1), (2, 3), (4, 5)])
    assert best is not None and best[0] < 0.8 * min(m.score for m in members)
    for weights in best[1].values():
        np.testing.assert_allclose(weights, 0.5, atol=0.1)


def test_a_blend_of_one_is_none() -> None:
    truth = truth_of(VALUES)
    assert best_blend([candidate("a", noisy(VALUES, 0.1, 1), truth)], truth, [(0, 1), (2, 3), (4, 5)]) is None
