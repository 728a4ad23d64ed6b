from __future__ import annotations

import numpy as np
import pytest

from meshops.solvers.developable import Cylinder, Plane, fill, orient_convex


def square(count: int) -> np.ndarray:
    side = np.linspace(0, 1, count + 1)[:-1]
    zero, one = np.zeros(count), np.ones(count)
    loops = [(side, zero), (one, side), (1 - side, one), (zero, 1 - side)]
    return np.concatenate([np.stack([x, y, zero], axis=1) for x, y in loops])


def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = points[triangles].transpose(1, 0, 2)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def test_a_square_is_filled_with_even_triangles():
    loop = square(10)
    points, triangles = fill(loop, Plane.through(loop[0], loop[10], loop[-10]), 0.1)
    size = areas(points, triangles)
    assert np.array_equal(points[:40], loop)
    assert size.sum() == pytest.approx(1.0)
    assert size.mean() == pytest.approx(np.sqrt(3) / 4 * 0.01, rel=0.1)
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 1).sum() == 40 and uses.max() == 2  # only the boundary is free


def test_charts_go_there_and_back():
    generator = np.random.default_rng(0)
    flat = generator.uniform(0.01, 0.5, size=(50, 2))
    cylinder = Cylinder(np.array([1.0, 2, 3]), 0.4, -np.eye(3)[0], np.eye(3)[2], np.eye(3)[1])
    plane = Plane.through(*generator.normal(size=(3, 3)))
    for chart in (cylinder, plane):
        assert chart.unroll(chart.roll(flat)) == pytest.approx(flat)
    rolled = cylinder.roll(flat)
    assert np.linalg.norm((rolled - cylinder.center)[:, [0, 2]], axis=1) == pytest.approx(0.4)


def test_orientation_of_a_tetrahedron():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    triangles = orient_convex(points, np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]))
    a, b, c = points[triangles].transpose(1, 0, 2)
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(1 / 6)
