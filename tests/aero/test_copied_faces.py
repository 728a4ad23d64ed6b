"""Forces and predictions on surfaces whose faces are there more than once, and on bodies with a cavity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meshops.aero.case_spec import CaseSpec
from meshops.aero.conditions import FlowConditions
from meshops.aero.features import FeatureSpec
from meshops.aero.opening import open_case

TWICE = "faces are there more than once"
SPEC = CaseSpec(
    fields=("pMean",), sizes=(1,), units=("m^2/s^2",), dim=3, domain="surface", location="cell", pressure="pMean",
    flow=FlowConditions(frontal_area=0.12509), flow_stated=True, features=FeatureSpec(),
)  # fmt: skip


def drag(path: Path) -> tuple[float, list[str]]:
    """Drag coefficient of ``pMean = -(x - 0.5)`` and what the case says."""
    case = open_case(path, SPEC)
    x = case.original().cell_centers().points[:, 0]
    values = (-(x - 0.5)).astype(np.float32)
    forces = case.forces({"pMean": values}, SPEC)
    assert forces is not None
    assert np.allclose(case.to_mesh(values), values)
    return float(forces.cd), case.notes


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("doubled-faces/input/every_face_twice.stl", f"720 {TWICE} (1440 cells): each counts once"),
        ("doubled-faces/input/some_faces_twice.stl", f"200 {TWICE} (400 cells): each counts once"),
        ("doubled-faces/input/two_sided.stl", f"720 {TWICE} (1440 cells): each counts once"),
        ("inside-out/input/inside_out.stl", "720 of 720 normals were turned to point out of the body"),
    ],
)  # fmt: skip
def test_forces_count_a_face_once(name: str, said: str, shared_data: Path) -> None:
    cd, notes = drag(shared_data / "field" / name)
    assert cd == pytest.approx(0.032737 * 2 / 0.12509, abs=0.002) and said in notes


def test_the_wall_of_a_cavity_faces_into_it(shared_data: Path) -> None:
    cd, notes = drag(shared_data / "field" / "inside-out" / "input" / "hollow.stl")
    assert cd == pytest.approx(0.028818 * 2 / 0.12509, abs=0.002)
    assert not any("turned" in note for note in notes)


def test_copies_get_one_value(shared_data: Path) -> None:
    case = open_case(shared_data / "field" / "doubled-faces" / "input" / "every_face_twice.stl", SPEC)
    assert case.copies is not None
    values = np.random.default_rng(0).random(1440).astype(np.float32)
    shown = case.to_mesh(values)
    assert np.array_equal(shown, shown[case.copies])
    pairs = np.argsort(case.copies, kind="stable").reshape(-1, 2)
    assert np.allclose(shown[pairs], values[pairs].mean(axis=1, keepdims=True), atol=1e-6)
