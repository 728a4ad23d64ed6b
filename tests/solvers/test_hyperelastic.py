"""The hyperelastic cell against closed forms, linear elasticity and what Newton's method promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from meshops.errors import InputError
from meshops.solvers.hyperelastic import hyperelastic, solve_stretch
from meshops.solvers.unstructured import cell_mesh, random_void, square_mesh

fem = pytest.importorskip("skfem")
YOUNG, RATIO = 2.0, 0.3
MU, LAM = YOUNG / (2 * (1 + RATIO)), YOUNG * RATIO / ((1 + RATIO) * (1 - 2 * RATIO))


@pytest.fixture(scope="module")
def cell() -> tuple[np.ndarray, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    return cell_mesh(150, random_void(generator), generator)


@pytest.mark.parametrize("stretch", [0.8, 1.3, 2.0])
def test_even_stretch_has_the_closed_form(stretch: float) -> None:
    """F = diag(a, stretch, 1) with free sides: mu (a - 1 / a) + lambda ln(a stretch) / a = 0."""
    points, triangles = square_mesh(70, torch.Generator().manual_seed(1))
    found = solve_stretch(points, triangles, stretch=stretch, young=YOUNG, poisson_ratio=RATIO, clamped=False)
    a = brentq(lambda a: MU * (a - 1 / a) + LAM * math.log(a * stretch) / a, 0.2, 3.0)
    volume = a * stretch
    along = (MU * (stretch**2 - 1) + LAM * math.log(volume)) / volume
    across = LAM * math.log(volume) / volume
    expected = np.diag([0.0, along, across])
    np.testing.assert_allclose(found.cauchy, np.broadcast_to(expected, found.cauchy.shape), atol=1e-7)
    np.testing.assert_allclose(found.von_mises, math.sqrt(along**2 + across**2 - along * across), rtol=1e-6)
    np.testing.assert_allclose(found.displacement, (points - [points[0, 0], 0]) * [a - 1, stretch - 1], atol=1e-7)


def test_small_strain_is_linear_elasticity(cell) -> None:
    from skfem.models.elasticity import linear_elasticity

    points, triangles = cell
    strain = 1e-6
    found = solve_stretch(points, triangles, stretch=1 + strain, young=YOUNG, poisson_ratio=RATIO)
    mesh = fem.MeshTri(points.T.copy(), triangles.T.copy())
    basis = fem.Basis(mesh, fem.ElementVector(fem.ElementTriP2()))
    bottom, top = (basis.get_dofs(lambda x, y=y: np.isclose(x[1], y)) for y in (0.0, 1.0))
    given = np.concatenate([bottom.all(), top.all(["u^2"])])
    start = basis.zeros()
    start[top.all(["u^2"])] = strain
    stiffness = linear_elasticity(LAM, MU).assemble(basis)
    exact = fem.solve(*fem.condense(stiffness, x=start, D=given))[basis.nodal_dofs].T
    np.testing.assert_allclose(found.displacement / strain, exact / strain, atol=2e-5)


def test_residuals_fall_quadratically(cell) -> None:
    found = solve_stretch(*cell, stretch=1.3)
    (history,) = found.residuals
    assert history[-1] < 1e-9 and len(history) <= 8
    logs = np.log10([value for value in history if value > 1e-13])
    assert logs[-1] < 1.6 * logs[-2] and logs[-2] < 1.4 * logs[-3]


def test_stress_does_not_depend_on_the_number_of_load_steps(cell) -> None:
    one, three = (solve_stretch(*cell, stretch=1.15, load_steps=n) for n in (1, 3))
    assert len(three.residuals) == 3
    np.testing.assert_allclose(one.von_mises, three.von_mises, rtol=1e-6, atol=1e-3)


def test_a_finer_mesh_changes_the_displacement_little() -> None:
    radius = random_void(torch.Generator().manual_seed(2))
    means = []
    for count in (200, 450):
        points, triangles = cell_mesh(count, radius, torch.Generator().manual_seed(3))
        side = np.flatnonzero(points[:, 0] == 0)
        found = solve_stretch(points, triangles, stretch=1.15)
        place = side[np.argsort(points[side, 1])]
        means.append(np.trapezoid(found.displacement[place, 0], points[place, 1]))
    assert abs(means[1] / means[0] - 1) < 0.03


def test_graphs_are_whole() -> None:
    graph, again = (hyperelastic(3, num_points=150).validate() for _ in range(2))
    assert torch.equal(graph.y, again.y) and graph.get("x") is None
    assert graph.field("stress").shape == (150,) and graph.field("displacement").shape == (150, 2)
    bottom, top = graph.pos[:, 1] == 0, graph.pos[:, 1] == 1
    assert bool((graph.field("displacement")[bottom] == 0).all())
    torch.testing.assert_close(graph.field("displacement")[top, 1], torch.full((int(top.sum()),), 0.15))
    assert float(graph.field("stress").min()) > 0


def test_loads_that_cannot_be_carried_are_explained() -> None:
    with pytest.raises(InputError, match="stretch and young must be positive"):
        hyperelastic(stretch=-1.0)
    with pytest.raises(InputError, match=r"Newton's method failed at \d+ % of stretch 0.05"):
        solve_stretch(*square_mesh(70, torch.Generator().manual_seed(1)), stretch=0.05)
