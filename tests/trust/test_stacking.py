"""Weights of sources from their held-out errors: what they may be, and what they may not know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.trust.stacking import even_weights, nested_blend

FOLDS = [[0, 5, 10], [1, 6, 11], [2, 7], [3, 8], [4, 9]]


def errors(seed: int, sources: int, cases: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(cases, sources)) * rng.uniform(0.5, 2, sources)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(1e-6, 1e6))
def test_weights_are_shares_whatever_the_unit(seed: int, sources: int, unit: float) -> None:
    weights = even_weights(errors(seed, sources))
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(even_weights(unit * errors(seed, sources)), weights, atol=1e-6)


def test_a_far_worse_source_gets_nothing() -> None:
    rows = errors(0, 1) * [1.0, 1.0, 5.0] + 0.1 * errors(1, 3)
    weights = even_weights(rows)
    assert weights[2] == 0 and (weights[:2] > 0.3).all()


def test_equal_sources_get_equal_weights() -> None:
    np.testing.assert_allclose(even_weights(errors(0, 1) * np.ones(4)), 0.25, atol=1e-9)


def test_the_order_of_cases_and_sources_does_not_matter() -> None:
    rows = errors(3, 4)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(even_weights(rows[::-1][:, order]), even_weights(rows)[order], atol=1e-6)


def test_a_stronger_pull_brings_weights_nearer_to_equal_ones() -> None:
    rows = errors(4, 2) * [1.0, 1.2] / np.sqrt(np.mean(errors(4, 2) ** 2, axis=0))
    free, pulled = (np.abs(even_weights(rows, strength) - 0.5).max() for strength in (1e-3, 100.0))
    assert pulled < 0.1 * free


def test_a_source_without_error_is_all() -> None:
    np.testing.assert_allclose(even_weights(errors(0, 3) * [1, 0, 1]), [0, 1, 0], atol=1e-9)


def test_the_blend_of_a_fold_does_not_know_the_truth_of_it() -> None:
    wanted = np.random.default_rng(0).normal(size=12)
    found = wanted[:, None] + errors(1, 3)
    before = nested_blend(found, wanted, FOLDS)
    for fold in FOLDS:
        changed = wanted.copy()
        changed[fold] += 10 * np.arange(1, len(fold) + 1)
        after = nested_blend(found, changed, FOLDS)
        assert (after[fold] == before[fold]).all()
        assert (np.delete(after, fold) != np.delete(before, fold)).any()


def test_one_fold_alone_is_blended_evenly() -> None:
    found = errors(2, 4)
    np.testing.assert_allclose(nested_blend(found, np.zeros(12), [range(12)]), found.mean(1))
