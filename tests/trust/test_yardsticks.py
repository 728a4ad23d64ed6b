"""Yardsticks on shapes whose answer is obvious, and on the published split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from meshops.datasets import CaseDataset, create
from meshops.tasks import FieldsSettings, FieldsSpec, FieldsTask
from meshops.tasks.build import build_model
from meshops.tasks.fields_samples import make_spec
from meshops.trust.yardsticks import Example, Yardsticks, behind, unit_box, yardstick_rows


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


def test_no_cases_have_no_yardsticks():
    spec = FieldsSpec(fields=("p",), sizes=(1,), units=("",), dim=2)
    assert yardstick_rows(spec, [], []) == {}


def plain(speeds, pos=None, *, seed=0):
    """``p = speed x`` on points of a square, the same or drawn anew for every case."""
    g = torch.Generator().manual_seed(seed)
    out = []
    for speed in speeds:
        at = torch.rand(60, 2, generator=g) if pos is None else pos
        out.append(Data(pos=at, y=speed * at[:, :1], y_names=("p",), y_sizes=(1,), conditions={"speed": speed}))
    return out


def test_plain_fields_on_one_mesh_have_exact_yardsticks():
    spec = FieldsSpec(fields=("p",), sizes=(1,), units=("",), dim=2, conditions=("speed",))
    pos = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    rows = yardstick_rows(spec, plain([2.9], pos), plain([1.0, 2.0, 3.0], pos))
    assert rows["nearest"]["p_rel_l2"] == pytest.approx(0.1 / 2.9, rel=1e-4)
    assert rows["average"]["p_rel_l2"] == pytest.approx(0.9 / 2.9, rel=1e-4)


def test_plain_fields_on_other_meshes_are_carried_over():
    spec = FieldsSpec(fields=("p",), sizes=(1,), units=("",), dim=2, conditions=("speed",))
    rows = yardstick_rows(spec, plain([2.0], seed=1), plain([1.0, 2.0, 3.0], seed=2))
    assert 0 < rows["nearest"]["p_rel_l2"] < 0.25 and 0 < rows["average"]["p_rel_l2"] < 0.25


def test_of_many_training_cases_some_are_taken_evenly(monkeypatch):
    monkeypatch.setattr("meshops.trust.yardsticks.FEWEST", 3)
    monkeypatch.setattr("meshops.trust.yardsticks.MOST_LOOKUPS", 1)
    spec = FieldsSpec(fields=("p",), sizes=(1,), units=("",), dim=2, conditions=("speed",))
    pos = torch.rand(50, 2)
    rows = yardstick_rows(spec, plain([6.0], pos), plain([float(k) for k in range(1, 12)], pos))
    assert rows["nearest"]["p_rel_l2"] == pytest.approx(0, abs=1e-6)  # 1, 6 and 11
    assert rows["average"]["p_rel_l2"] == pytest.approx(0, abs=1e-6)


def test_what_is_behind_a_yardstick_is_said():
    held_out = {
        "mean": {"p_rel_l2": 0.3, "q_rel_l2": 0.1, "drag_error": None, "p_mae": 9.0},
        "baselines": {"nearest": {"p_rel_l2": 0.2, "q_rel_l2": 0.2}, "mean": {"p_rel_l2": 0.25}, "  as for an STL": {}},
    }
    (sentence,) = behind(held_out)
    assert "worse than 'nearest' in p_rel_l2 (0.300 against 0.200)" in sentence
    assert behind(None) == behind({}) == []
