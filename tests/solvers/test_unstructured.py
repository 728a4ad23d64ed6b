"""Irregular meshes: exact boundaries, good angles, every point used, no overlap."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshops.errors import InputError
from meshops.solvers.unstructured import (
    cell_mesh,
    random_void,
    smallest_angle,
    square_mesh,
    within,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return 0.5 * np.cross(np.pad(b - a, ((0, 0), (0, 1))), np.pad(c - a, ((0, 0), (0, 1))))[:, 2]


def polygon_area(p: np.ndarray) -> float:
    q = np.roll(p, -1, 0)
    return 0.5 * float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_points", [60, 211])
def test_a_square_is_filled_once_with_good_triangles(seed: int, num_points: int) -> None:
    points, triangles = square_mesh(num_points, seeded(seed))
    assert points.shape == (num_points, 2) and points.dtype == np.float64 and triangles.dtype == np.int64
    area = areas(points, triangles)
    assert area.min() > 0 and abs(area.sum() - 1) < 1e-12
    assert smallest_angle(points, triangles) > 12
    assert np.array_equal(np.unique(triangles), np.arange(num_points))
    border = np.isin(points, [0.0, 1.0]).any(1)
    assert len(triangles) == 2 * num_points - 2 - border.sum()  # Euler, with all border points exactly on the sides


@pytest.mark.parametrize("seed", range(6))
def test_a_cell_has_its_void(seed: int) -> None:
    generator = seeded(seed)
    radius = random_void(generator)
    points, triangles = cell_mesh(300, radius, generator)
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    assert 0.2 <= radius(angle).min() and radius(angle).max() <= 0.4
    assert np.allclose(radius(np.array([0.0])), radius(np.array([2 * np.pi])))
    void = points - 0.5
    distance = np.hypot(*void.T) - radius(np.arctan2(void[:, 1], void[:, 0]))
    assert distance.min() > -1e-5
    edge = np.abs(distance) < 1e-5
    area = areas(points, triangles)
    assert area.min() > 0 and len(np.unique(triangles)) == 300 and smallest_angle(points, triangles) > 12
    assert abs(area.sum() - (1 - polygon_area(points[edge]))) < 1e-12


def test_sizes_are_graded() -> None:
    points, triangles = square_mesh(500, seeded(0), size=lambda at: 1 + 4 * at[:, 0])
    area, middle = areas(points, triangles), points[triangles].mean(1)[:, 0]
    ratio = np.sqrt(area[middle > 0.9].mean() / area[middle < 0.1].mean())
    assert 0.75 < ratio / (4.8 / 1.2) < 1.25
    assert smallest_angle(points, triangles) > 12


def test_meshes_repeat_and_differ() -> None:
    first, again, other = (square_mesh(80, seeded(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_points_within_a_polygon() -> None:
    corners = np.array([[0, 0], [2, 0], [2, 2], [1, 0.5], [0, 2.0]])
    points = np.array([[1, 0.2], [1, 1.0], [0.2, 1.0], [-0.1, 0.5], [1.9, 1.5]])
    assert within(points, corners).tolist() == [True, False, True, False, True]


def test_shapes_that_cannot_be_meshed_are_explained() -> None:
    with pytest.raises(InputError, match="use more"):
        square_mesh(12, seeded(0))
    with pytest.raises(InputError, match="the void must stay"):
        cell_mesh(200, lambda angle: 0.5 + 0 * angle, seeded(0))
