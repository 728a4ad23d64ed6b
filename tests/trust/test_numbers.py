"""Numbers of which the right source is known, and what may not be known of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meshops.surrogate.checkpoint import read_checkpoint, write_checkpoint
from meshops.trust.numbers import CORRECTED, FIELDS, Bounded, Evidence, NumberModel, number_model

COUNT = 20
FOLDS = [list(range(k, COUNT, 5)) for k in range(5)]
SLOPES = np.array([1.0, 2.0, -1.0])


def evidence(field: np.ndarray | None = None, *, seed: int = 0, count: int = COUNT) -> Evidence:
    rng = np.random.default_rng(seed)
    vector, averages = rng.uniform(-1, 1, (count, 3)), rng.normal(size=(count, 4))
    return Evidence(vector, averages, np.zeros((count, 0)) if field is None else field[:, None])


def truth(seed: int = 1, count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


def values(model: NumberModel, known: Evidence) -> np.ndarray:
    return np.array([model.value(known.rows([i])) for i in range(len(known.vector))])


def test_a_number_that_is_the_field_is_taken_from_it() -> None:
    model = number_model("peak", "Pa", truth(), evidence(truth()), FOLDS)
    assert model.weights == {FIELDS: 1} and model.basis() == "fields 100 %"
    new = truth(7)
    np.testing.assert_allclose(values(model, evidence(new, seed=7)), new)
    np.testing.assert_allclose(model.residuals, 0, atol=1e-12)


def test_a_biased_field_is_corrected() -> None:
    model = number_model("cd", "", truth(), evidence(2 * truth() + 3), FOLDS)
    assert model.weights[CORRECTED] > 0.99
    new = np.linspace(truth().min(), truth().max(), COUNT)
    np.testing.assert_allclose(values(model, evidence(2 * new + 3, seed=7)), new, atol=1e-3)
    assert model.errors["blend"] < 0.01 * model.errors[FIELDS]


def test_a_number_that_is_linear_in_the_conditions_is_found_by_ridge() -> None:
    known = evidence(truth())
    model = number_model("lift", "N", known.vector @ SLOPES + 4, known, FOLDS)
    assert model.weights["ridge"] > 0.9
    new = evidence(truth(7), seed=7)
    inside = Evidence(0.8 * new.vector, new.averages, new.field)
    np.testing.assert_allclose(values(model, inside), inside.vector @ SLOPES + 4, atol=0.05)


def test_chance_is_told_by_no_source_better_than_by_the_mean() -> None:
    model = number_model("noise", "", truth(3), evidence(), FOLDS)
    assert model.errors["blend"] < 1.2 * model.errors["constant"]
    assert FIELDS not in model.errors


def test_a_single_source_does_not_know_the_number_of_a_held_out_case() -> None:
    nothing, numbers = Evidence(*np.zeros((3, COUNT, 0))), truth()
    changed = numbers.copy()
    changed[6] += 100
    one, two = (number_model("x", "", told, nothing, FOLDS) for told in (numbers, changed))
    assert one.found[6] == two.found[6] == pytest.approx(np.delete(numbers, FOLDS[1]).mean())
    assert (one.found[FOLDS[0]] != two.found[FOLDS[0]]).all()


def test_few_cases_are_not_regressed_on() -> None:
    folds = [[i] for i in range(4)]
    model = number_model("lift", "", truth(count=4), evidence(truth(5, 4), count=4), folds)
    assert set(model.errors) == {FIELDS, "constant", "blend"}


def test_a_regression_does_not_run_away_outside_its_cases() -> None:
    known = evidence()
    number = known.vector @ SLOPES
    span = np.ptp(number)
    for kind in ("linear", "gp_even", "mean"):
        made = Bounded.fitted(kind, known.vector, number)
        far = made(1e6 * np.array([[1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]))
        assert np.abs(far - number.mean()).max() < 1.6 * span, kind
        np.testing.assert_array_equal(made(known.vector[:1] * 0 + 1e6), made(known.vector[:1] * 0 + 1e9))


def test_columns_of_one_unit_that_hardly_vary_are_noise() -> None:
    columns = np.random.default_rng(0).normal(size=(COUNT, 4)) * [1e-3, 1.0, 0.5, 1e-3]
    made = Bounded.fitted("linear", columns, columns[:, 1], alike=3)
    assert made.kept.tolist() == [1, 1, 1, 0]


def test_intervals_are_as_wide_as_residuals_and_errors_of_the_case() -> None:
    model = number_model("x", "", truth(), evidence(truth() + 0.1 * truth(5)), FOLDS)
    ones = np.ones(COUNT)
    half = model.half_width(0.9, 1.0, ones)
    sizes = np.sort(np.abs(model.residuals))  # 20 of them: place 21 * 0.9 = 18.9 of 20
    assert half == pytest.approx(0.1 * sizes[17] + 0.9 * sizes[18])
    assert model.half_width(0.9, 3.0, ones) == pytest.approx(3 * half)
    assert model.half_width(0.5, 1.0, ones) < half


@pytest.mark.parametrize("kind", ["field", "biased", "chance"])
def test_a_kept_model_gives_the_same_values(kind: str, tmp_path: Path) -> None:
    field = {"field": truth(), "biased": 2 * truth() + 1, "chance": truth(9)}[kind]
    known = replace(evidence(field), alike=2)
    model = number_model("x", "Pa", truth(), known, FOLDS, places=np.linspace(0, 1, COUNT))
    path = write_checkpoint(tmp_path / "number.pt", model.to_dict())
    again = NumberModel.from_dict(read_checkpoint(path))
    assert (again.name, again.unit, again.weights, again.errors) == ("x", "Pa", model.weights, model.errors)
    np.testing.assert_array_equal(values(again, known), values(model, known))
    for key in ("truth", "found", "places"):
        np.testing.assert_array_equal(getattr(again, key), getattr(model, key))
    assert all(torch.is_tensor(v) for r in again.regressions.values() for v in r.regression.state_dict().values())
