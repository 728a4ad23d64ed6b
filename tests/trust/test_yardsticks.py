"""Yardsticks on shapes whose answer is obvious, and on the published split."""

from __future__ import annotations

import numpy as np
import pytest

from meshops.datasets import CaseDataset, create
from meshops.tasks import FieldsSettings, FieldsSpec, FieldsTask
from meshops.tasks.build import build_model
from meshops.tasks.fields_samples import make_spec
from meshops.trust.yardsticks import Example, Yardsticks, unit_box, yardstick_rows


def example(length: float, value: float) -> Example:
    pos = np.array([[0.0, 0, 0], [length, 1, 1]])
    return Example(pos, pos, np.full((2, 1), value) + np.array([[0.0], [10.0]]), np.array([length]))


def test_each_yardstick():
    sticks = Yardsticks([example(1, 1), example(2, 2), example(4, 6)])
    pos = np.array([[0.1, 0, 0], [2.2, 1, 1]])
    out = sticks.predict(pos, np.array([[0.0, 0, 0], [2.2, 1, 1]]), np.array([2.2]))
    assert set(out) == {"nearest", "average"}
    assert out["nearest"].tolist() == [[2.0], [12.0]]
    assert out["average"].tolist() == [[3.0], [13.0]]


def test_unit_box_of_a_flat_shape():
    assert np.array_equal(unit_box(np.array([[1.0, 5, 0]]), np.array([[0.0, 5, 0], [2, 5, 1]])), [[0.5, 0, 0]])


@pytest.fixture(scope="module")
def split() -> tuple[CaseDataset, CaseDataset, FieldsSpec]:
    """Training and test cases as published, and what is learnt of them: cheap features, yardsticks need none."""
    train, test = (create("ahmed_mini", split=split) for split in ("train", "test"))
    assert isinstance(train, CaseDataset) and isinstance(test, CaseDataset)
    return train, test, make_spec(train, FieldsSettings(radii=(), potential_flow=False))


def test_figures_of_the_published_split(split):
    """0.27 and 0.28 for the pressure, 0.71 for the shear of the nearest shape (runs 1-24 / 25-30)."""
    train, test, spec = split
    rows = yardstick_rows(spec, test, train)
    assert set(rows) == {"nearest", "average"}
    assert rows["nearest"]["pressure_rel_l2"] == pytest.approx(0.27, abs=0.006)
    assert rows["average"]["pressure_rel_l2"] == pytest.approx(0.28, abs=0.006)
    assert rows["nearest"]["shear_rel_l2"] == pytest.approx(0.71, abs=0.006)
    assert rows["average"]["drag_error"] == pytest.approx(0.016, abs=0.001)


def test_the_training_mean_is_judged_by_the_task(split):
    """0.81 for the pressure: what any surrogate has to beat."""
    train, test, _ = split
    settings = FieldsSettings(radii=(), potential_flow=False, passes=1)
    samples = FieldsTask.samples(train, settings)
    small = {"name": "mspt", "channels": 8, "depth": 1, "num_heads": 1, "num_patches": 2}
    model, _ = build_model(small, samples.spec.model_arguments(), samples.offers)
    report = FieldsTask.fit(model, samples, settings).evaluate(test)
    assert set(report.baselines) == {"mean"}
    assert report.baselines["mean"]["pressure_rel_l2"] == pytest.approx(0.81, abs=0.006)


def test_tasks_without_surfaces_of_bodies_have_no_yardsticks():
    spec = FieldsSpec(fields=("p",), sizes=(1,), units=("",), dim=2)
    assert yardstick_rows(spec, [], []) == {}
