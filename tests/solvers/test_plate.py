"""The elastic plate against closed forms and the balance of forces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshops.errors import InputError
from meshops.solvers.plate import LENGTH, plate, solve_plate
from meshops.solvers.unstructured import region_mesh

pytest.importorskip("skfem")


def test_a_plate_without_a_hole_is_stretched_evenly() -> None:
    corners = np.array([[0.0, 0.0], [0.4, 0.0], [0.4, 0.1], [0.0, 0.1]])
    points, triangles = region_mesh(corners, None, 150, torch.Generator().manual_seed(0))
    found = solve_plate(points, triangles, load=5e3, thickness=0.02, young=1e9, poisson_ratio=0.25, density=1000.0)
    pull = 5e3 / (0.1 * 0.02)
    np.testing.assert_allclose(found.stress, np.tile([pull, 0, 0], (150, 1)), atol=1e-5 * pull)
    np.testing.assert_allclose(found.displacement, points * [1, -0.25] * pull / 1e9, atol=1e-9)
    assert found.mass == pytest.approx(0.4 * 0.1 * 0.02 * 1000)


def test_a_small_round_hole_triples_the_stress() -> None:
    """Kirsch 1898: 3 times the pull at the sides of a round hole in a wide plate, minus 1 times ahead and behind."""
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    corners = np.array([[-30.0, -30.0], [30.0, -30.0], [30.0, 30.0], [-30.0, 30.0]])
    generator = torch.Generator().manual_seed(0)
    points, triangles = region_mesh(corners, [ring], 3000, generator, size=lambda at: 1 + 4 * np.hypot(*at.T))
    found = solve_plate(points, triangles, load=60.0, thickness=1.0, young=1.0)
    rim = np.abs(np.hypot(*points.T) - 1) < 1e-3
    side = found.stress[rim & (np.abs(points[:, 0]) < 0.05), 0]
    ahead = found.stress[rim & (np.abs(points[:, 1]) < 0.05), 1]
    np.testing.assert_allclose(side, 3.0, rtol=0.04)
    np.testing.assert_allclose(ahead, -1.0, rtol=0.1)


def test_every_section_carries_the_load() -> None:
    """The integral of the stress along x over the plate is load times length."""
    found = plate(3, num_points=900)
    corner = found.points[found.triangles]
    first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    total = 0.01 * (found.stress[found.triangles, 0].mean(1) * area).sum()
    assert total == pytest.approx(found.load * LENGTH, rel=0.01)


def test_twice_the_load_is_twice_the_answer_and_the_seed_decides_all() -> None:
    one, again, other = plate(1, num_points=500), plate(1, num_points=500), plate(2, num_points=500)
    np.testing.assert_array_equal(one.von_mises, again.von_mises)
    assert one.mass != other.mass and len(one.triangles) != len(other.triangles)
    twice = solve_plate(one.points, one.triangles, load=2 * one.load)
    np.testing.assert_allclose(twice.displacement, 2 * one.displacement, rtol=1e-9, atol=1e-18)


def test_numbers_without_sense_are_refused() -> None:
    with pytest.raises(InputError, match="poisson_ratio in"):
        solve_plate(np.zeros((3, 2)), np.zeros((1, 3), int), load=1.0, poisson_ratio=0.5)
