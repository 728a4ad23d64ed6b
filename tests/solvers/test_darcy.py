"""Darcy and Poisson cases against solutions that are known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from meshops.errors import InputError
from meshops.solvers.darcy import darcy, poisson, random_field, solve_diffusion
from meshops.solvers.mesh_registry import MESH_GENERATORS, generate_mesh
from meshops.solvers.unstructured import square_mesh

pytest.importorskip("skfem")


def lumped_error(num_points: int) -> float:
    """L2 error at the nodes for a = 1 + x, u = sin(pi x) sin(2 pi y)."""
    points, triangles = square_mesh(num_points, torch.Generator().manual_seed(0))

    def exact(at: np.ndarray) -> np.ndarray:
        return np.sin(np.pi * at[:, 0]) * np.sin(2 * np.pi * at[:, 1])

    def source(at: np.ndarray) -> np.ndarray:
        slope = np.pi * np.cos(np.pi * at[:, 0]) * np.sin(2 * np.pi * at[:, 1])
        return 5 * np.pi**2 * (1 + at[:, 0]) * exact(at) - slope

    found = solve_diffusion(points, triangles, coefficient=1 + points[triangles].mean(1)[:, 0], source=source)
    edges = points[triangles[:, 1:]] - points[triangles[:, :1]]
    weight = np.bincount(triangles.ravel(), np.abs(np.linalg.det(edges)).repeat(3) / 6)
    return float(np.sqrt((weight * (found - exact(points)) ** 2).sum()))


def test_the_error_falls_with_the_square_of_the_edge_length() -> None:
    errors = [lumped_error(n) for n in (100, 400, 1600)]  # edges half as long each time
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert min(orders) > 1.7, (errors, orders)


def test_coefficients_have_two_values_and_divide_the_solution() -> None:
    graph = darcy(1, num_points=200)
    assert sorted(graph.x.unique().tolist()) == [3.0, 12.0]
    assert sorted(darcy(1, num_points=200, contrast=2).x.unique().tolist()) == [3.0, 6.0]
    points, triangles = square_mesh(150, torch.Generator().manual_seed(3))
    one, four = (
        solve_diffusion(points, triangles, coefficient=np.full(len(triangles), a), source=lambda at: np.ones(len(at)))
        for a in (1.0, 4.0)
    )
    np.testing.assert_allclose(one, 4 * four, atol=1e-14)
    assert abs(one.max() - 0.0736713) < 2e-3  # deflection of a square membrane (Timoshenko)


@pytest.mark.parametrize("maker", [darcy, poisson])
def test_graphs_are_whole(maker) -> None:
    graph, again, other = (maker(seed, num_points=150).validate() for seed in (4, 4, 5))
    assert torch.equal(graph.y, again.y) and torch.equal(graph.pos, again.pos) and not torch.equal(graph.y, other.y)
    side = ((graph.pos == 0) | (graph.pos == 1)).any(1)
    assert torch.equal(graph.node_type, torch.where(side, 6, 0))
    assert bool((graph.y[side] == 0).all()) and graph.location == "point"
    assert graph.fields == ("solution",) and graph.pos.dtype == graph.y.dtype == graph.x.dtype == torch.float32
    if maker is darcy:
        assert float(graph.y[~side].min()) > 0


def test_random_fields_have_mean_square_one() -> None:
    grid = np.stack(np.meshgrid(*[(np.arange(32) + 0.5) / 32] * 2, indexing="ij"), -1).reshape(-1, 2)
    generator = torch.Generator().manual_seed(0)
    squares = [(random_field(generator, modes=8, shift=3.0, power=2.0)(grid) ** 2).mean() for _ in range(200)]
    assert abs(np.mean(squares) - 1) < 0.2


def test_names_and_options_are_explained() -> None:
    assert set(MESH_GENERATORS) >= {"darcy", "poisson", "hyperelastic"}
    assert generate_mesh("darcy", 4, num_points=150).name == "darcy_0004"
    with pytest.raises(InputError, match="no generator 'stokes' on meshes; there are: 'darcy'"):
        generate_mesh("stokes")
    with pytest.raises(InputError, match="unknown option 'cells'; allowed: 'num_points'"):
        generate_mesh("darcy", cells=3)
    with pytest.raises(InputError, match="contrast must be at least 1"):
        darcy(contrast=0.5)
    with pytest.raises(InputError, match="modes must be at least 2"):
        poisson(modes=1)
