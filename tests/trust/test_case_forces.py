"""The least change of a pressure that gives other coefficients, on cells and on points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from meshops.aero.case_forces import with_coefficients
from meshops.aero.case_spec import CaseSpec
from meshops.aero.cases import Case, graph_case
from meshops.data.convert import from_pyvista
from meshops.datasets import AhmedMini
from meshops.solvers.ahmed_body import ahmed_body
from meshops.tasks.fields_samples import case_at, make_spec
from meshops.tasks.fields_spec import FieldsSettings

SHAPE = {"length": 1.0, "width": 0.36, "height": 0.29, "front_radius": 0.1, "slant_length": 0.2, "slant_angle": 20.0,
         "ground_clearance": 0.05}  # fmt: skip


def opened(location: str) -> tuple[Case, CaseSpec]:
    data = AhmedMini("test")
    spec = make_spec(data, FieldsSettings())
    if location == "cell":
        return case_at(data, 0, spec), spec
    mesh = ahmed_body(**SHAPE, edge=0.05)
    mesh.point_data["pMean"] = -np.asarray(mesh.points)[:, 0] + np.asarray(mesh.points)[:, 2] ** 2
    graph = from_pyvista(mesh, fields=("pMean",), location="point")
    spec = replace(spec, location="point", fields=("pMean",), sizes=(1,), units=("",), shear=None)
    return graph_case(graph, spec), spec


def sizes(case: Case) -> np.ndarray:
    """Area of each node: of its cell, or even parts of those of the cells around it."""
    assert case.body is not None
    if case.location == "cell":
        return case.body.area
    triangles = case.graph.cell_nodes.numpy().reshape(-1, 3)
    return np.bincount(triangles.ravel(), np.repeat(case.body.area / 3, 3))


def coefficients(case: Case, spec: CaseSpec, pressure: np.ndarray) -> np.ndarray:
    forces = case.forces({**case.truth, "pMean": pressure}, spec)
    assert forces is not None
    return np.array([forces.cd, forces.cl, forces.cs])


@pytest.mark.parametrize("location", ["cell", "point"])
@pytest.mark.parametrize("change", [{"cd": 0.1, "cl": -0.2}, {"cd": -0.05}, {"cl": 0.3}, {"cs": 0.1, "cd": 0.02}])
def test_the_coefficients_are_the_asked_ones(location: str, change: dict[str, float]) -> None:
    case, spec = opened(location)
    before = case.truth["pMean"]
    after = with_coefficients(case, before, change)
    moved = dict(
        zip(("cd", "cl", "cs"), coefficients(case, spec, after) - coefficients(case, spec, before), strict=True)
    )
    assert {k: moved[k] for k in change} == pytest.approx(change, abs=1e-5)
    assert after.dtype == np.float32 and after.shape == before.shape


@pytest.mark.parametrize("location", ["cell", "point"])
def test_no_other_change_that_gives_them_is_smaller(location: str) -> None:
    case, spec = opened(location)
    before, area = case.truth["pMean"].astype(np.float64), sizes(case)
    zero = np.zeros(len(before), dtype=np.float32)
    change = with_coefficients(case, zero, {"cd": 0.1, "cl": -0.2})
    rng = np.random.default_rng(0)
    others = rng.normal(size=(5, 4, len(before)))
    base = coefficients(case, spec, before)
    for rows in others:
        given = np.array([coefficients(case, spec, before + row) - base for row in rows])
        unseen = np.linalg.svd(given.T)[2][-1] @ rows
        np.testing.assert_allclose(coefficients(case, spec, before + unseen), base, atol=1e-9)
        size = area @ change**2
        assert abs(area @ (change * unseen)) < 1e-5 * np.sqrt(size * (area @ unseen**2))
        for step in (1e-2, -1e-2):
            assert area @ (change + step * unseen) ** 2 > size


def test_no_change_is_asked_for_and_none_is_made() -> None:
    case, _ = opened("cell")
    np.testing.assert_array_equal(with_coefficients(case, case.truth["pMean"], {"cd": 0.0}), case.truth["pMean"])


def test_twice_the_change_is_twice_as_large() -> None:
    case, _ = opened("cell")
    zero = np.zeros_like(case.truth["pMean"])
    once, twice = (with_coefficients(case, zero, {"cd": 0.1 * k, "cl": 0.2 * k}) for k in (1, 2))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)
