"""Yardsticks on shapes whose answer is obvious, and on the published split."""

import numpy as np
import pytest

from meshops.tasks.yardsticks import Example, Yardsticks, unit_box


def example(length: float, value: float) -> Example:
    pos = np.array([[0.0, 0, 0], [length, 1, 1]])
    return Example(pos, pos, np.full((2, 1), value) + np.array([[0.0], [10.0]]), np.array([length]))


def test_each_yardstick():
    sticks = Yardsticks([example(1, 1), example(2, 2), example(4, 6)])
    pos = np.array([[0.1, 0, 0], [2.2, 1, 1]])
    out = sticks.predict(pos, np.array([[0.0, 0, 0], [2.2, 1, 1]]), np.array([2.2]))
    assert out["mean"].tolist() == [[8.0], [8.0]]
    assert out["nearest"].tolist() == [[2.0], [12.0]]
    assert out["average"].tolist() == [[3.0], [13.0]]


def test_unit_box_of_a_flat_shape():
    assert np.array_equal(unit_box(np.array([[1.0, 5, 0]]), np.array([[0.0, 5, 0], [2, 5, 1]])), [[0.5, 0, 0]])


def test_figures_of_the_published_split():
    """0.81, 0.27 and 0.28 for the pressure, 0.71 for the shear of the nearest shape (runs 1-24 / 25-30)."""
    from meshops.datasets import create
    from meshops.training.config import TaskConfig
    from meshops.training.evaluate import _example
    from meshops.training.run import make_spec

    train, test = (create("ahmed_mini", split=split) for split in ("train", "test"))
    spec = make_spec(train, TaskConfig())
    sticks = Yardsticks([_example(train[i], spec, train.parameters(i), None) for i in range(len(train))])
    errors: dict[str, list[list[float]]] = {}
    for i in range(len(test)):
        case = _example(test[i], spec, test.parameters(i), None)
        for name, values in sticks.predict(case.pos, case.corners, case.parameters).items():
            row = [
                np.linalg.norm(values[:, s] - case.fields[:, s]) / np.linalg.norm(case.fields[:, s])
                for s in (slice(0, 1), slice(1, 4))
            ]
            errors.setdefault(name, []).append(row)
    means = {name: np.mean(rows, 0) for name, rows in errors.items()}
    assert means["mean"][0] == pytest.approx(0.81, abs=0.006)
    assert means["nearest"][0] == pytest.approx(0.27, abs=0.006)
    assert means["average"][0] == pytest.approx(0.28, abs=0.006)
    assert means["nearest"][1] == pytest.approx(0.71, abs=0.006)
