"""Robust statistics against slow definitions."""

from __future__ import annotations

import numpy as np

from meshops.doctor.robust import center, deviation, left_out, spread


def test_center_is_that_of_the_majority():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(5, 0.1, 13), rng.normal(500, 50, 9)])[:, None]
    assert abs(center(values)[0] - 5) < 0.2
    assert center(np.array([[1.0], [1.0], [1.0], [9.0]]))[0] == 1.0


def test_center_is_the_middle_of_the_shortest_half():
    values = np.random.default_rng(1).normal(size=(9, 3))
    for k in range(3):
        column = np.sort(values[:, k])
        widths = [column[i + 4] - column[i] for i in range(5)]
        i = int(np.argmin(widths))
        assert center(values)[k] == np.median(column[i : i + 5])


def test_spread_leaves_out_the_farthest_quarter():
    values = np.array([0.0, 0.1, -0.1, 0.2, -0.2, 0.15, 80.0, 90.0])[:, None]
    assert spread(values, 0.0)[0] < 0.5
    assert spread(np.ones((5, 1)), 0.25)[0] == 0.25
    assert deviation(values, 0.01)[6, 0] > 100


def test_predictions_never_see_the_case_they_are_of():
    """A change of a target changes every prediction but its own."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(14, 2))
    target = features[:, 0] + 0.3 * features[:, 1] ** 2
    predicted, noise = left_out(features, target)
    assert np.corrcoef(predicted, target)[0, 1] > 0.9 and noise < 0.3 * target.std()
    changed = target.copy()
    changed[3] += 1e-3
    again, _ = left_out(features, changed)
    assert abs(again[3] - predicted[3]) < 1e-2 * abs(again - predicted).max()


def test_predictions_are_in_the_unit_of_the_target():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(12, 3))
    target = features @ [1.0, 2.0, 0.0]
    predicted, noise = left_out(features, target)
    thousand, more = left_out(features, 1000 * target + 7)
    np.testing.assert_allclose(thousand, 1000 * predicted + 7, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(more, 1000 * noise, rtol=1e-6)
