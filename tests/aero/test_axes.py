"""Flow and up from the pressure alone: right in every pose, "not known" rather than wrong."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from meshops.aero.axes import guess_axes
from meshops.aero.integrals import SurfaceIntegrals
from meshops.datasets import AhmedMini
from meshops.doctor import faults

TURNS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
    if np.linalg.det(np.eye(3)[list(order)] * np.array(signs)[:, None]) > 0
]


@pytest.fixture(scope="module")
def graphs():
    return [AhmedMini("all")[i] for i in range(0, 30, 5)]


@pytest.mark.parametrize(("order", "signs"), TURNS[::3])
def test_turned_bodies_have_turned_axes(graphs, order, signs):
    matrix = torch.tensor(np.eye(3)[list(order)] * np.array(signs)[:, None])
    surfaces = [SurfaceIntegrals.of(faults.turned_by(matrix)(graph.clone_shallow())) for graph in graphs]
    axes = guess_axes(surfaces, "pMean")
    assert axes.known
    np.testing.assert_allclose(axes.flow, matrix.numpy() @ [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(axes.up, matrix.numpy() @ [0, 0, 1], atol=1e-9)


def test_a_field_that_is_no_pressure_of_a_flow_gives_no_axes(graphs):
    rng = torch.Generator().manual_seed(0)
    surfaces = []
    for graph in graphs:
        noise = torch.rand(len(graph.pos), generator=rng)
        surfaces.append(
            SurfaceIntegrals.of(faults.field_changed("pMean", lambda v, n=noise: n[:, None])(graph.clone_shallow()))
        )
    axes = guess_axes(surfaces, "pMean")
    assert not axes.known and axes.flow is None and "faces no one way" in axes.reason


def test_open_surfaces_and_missing_fields_give_no_axes(graphs):
    surfaces = [SurfaceIntegrals.of(graph) for graph in graphs]
    assert "not known" in guess_axes(surfaces, "stress").reason
    assert guess_axes([None, None], "pMean").flow is None
    assert guess_axes([], "pMean").flow is None


def test_real_cars_and_bodies(shared_data: Path):
    from meshops.doctor.look import audit_of, cases_of, study_of
    from meshops.doctor.survey import survey

    _, cars = audit_of(survey(cases_of(study_of(shared_data / "plaid_cars"))))
    assert (cars.flow, cars.up) == ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0))
    _, bodies = audit_of(survey(cases_of(study_of(shared_data / "ahmedml_sample"))))
    assert (bodies.flow, bodies.up) == ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
