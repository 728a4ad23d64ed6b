from __future__ import annotations

import numpy as np
import pytest

from meshops.solvers.ellipsoid_flow import ellipsoid_velocity, ellipsoidal_coordinate

AXES = (0.85, 0.6, 2.2)


def directions(count: int = 500) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(count, 3))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def outside(count: int = 500) -> np.ndarray:
    return directions(count) * (np.array(AXES) + np.random.default_rng(1).uniform(0.1, 3, (count, 1)))


def test_sphere():
    points = 2.0 * directions()
    expected = np.array([0.0, 0.0, 1.0]) * 1.5 - 1.5 * points[:, 2:] * points / 4
    assert ellipsoid_velocity(points, (2.0, 2.0, 2.0)) == pytest.approx(expected, abs=1e-12)
    above = ellipsoid_velocity(np.array([[0.0, 0.0, 4.0]]), (2.0, 2.0, 2.0), 10.0)
    assert above == pytest.approx(np.array([[0.0, 0.0, 10 * (1 - (2 / 4) ** 3)]]))


def test_no_flow_through_the_body():
    points = directions() * AXES
    normals = points / np.square(AXES)
    through = (ellipsoid_velocity(points, AXES, 20.0) * normals).sum(axis=1) / np.linalg.norm(normals, axis=1)
    assert np.abs(through).max() < 1e-10


def test_free_of_sources_and_rotation():
    points, step = outside(), 1e-4
    gradient = [
        (ellipsoid_velocity(points + step * axis, AXES) - ellipsoid_velocity(points - step * axis, AXES)) / (2 * step)
        for axis in np.eye(3)
    ]
    jacobian = np.stack(gradient, axis=1)
    assert np.abs(np.trace(jacobian, axis1=1, axis2=2)).max() < 1e-6
    assert np.abs(jacobian - jacobian.transpose(0, 2, 1)).max() < 1e-6
    assert np.abs(jacobian).max() > 0.05


def test_free_stream_far_away():
    velocity = ellipsoid_velocity(1000.0 * directions(), AXES, 20.0)
    assert velocity == pytest.approx(np.tile([0.0, 0.0, 20.0], (500, 1)), abs=1e-6)


def test_coordinate_is_the_root():
    points = outside()
    coordinate = ellipsoidal_coordinate(points, AXES)
    assert (np.square(points) / (np.square(AXES) + coordinate[:, None])).sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert (coordinate > 0).all()
    assert ellipsoidal_coordinate(directions() * AXES, AXES) == pytest.approx(0.0, abs=1e-12)
