"""Bodies in a flow: forces with intervals, and a pressure that agrees with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meshops
from meshops.cli.main import main
from meshops.datasets import AhmedMini
from meshops.solvers.ahmed_body import ahmed_body
from meshops.surrogate.base import UNCALIBRATED
from meshops.surrogate.comparison import compare
from tests.trust.test_case_forces import SHAPE


@pytest.fixture(scope="module")
def calibrated(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A surrogate of hardly any training, calibrated on the test cases."""
    copied = tmp_path_factory.mktemp("calibrated") / "model.ckpt"
    copied.write_bytes(checkpoint.read_bytes())
    assert main(["evaluate", str(copied), "--calibrate", "ahmed_mini", "--split", "test"]) == 0
    return copied


def test_without_a_calibration_forces_are_integrated_and_a_note_says_what_lacks(checkpoint: Path) -> None:
    made = meshops.load(checkpoint).predict(ahmed_body(**SHAPE))
    assert UNCALIBRATED in made.case.notes and "meshops evaluate CKPT --calibrate ROOT" in UNCALIBRATED
    assert made.forces is not None and made.numbers["cd"].value == pytest.approx(made.forces.cd)
    assert made.level is None and made.numbers["cd"].low is None and str(made.numbers["cd"]) == f"{made.forces.cd:.4g}"


def test_the_pressure_is_changed_to_give_the_blended_forces(checkpoint: Path, calibrated: Path) -> None:
    before, after = (meshops.load(path).predict(ahmed_body(**SHAPE)) for path in (checkpoint, calibrated))
    assert UNCALIBRATED not in after.case.notes and after.forces is not None and before.forces is not None
    for name in ("cd", "cl"):
        found = after.numbers[name]
        assert found.low is not None and found.high is not None and found.low < found.value < found.high
        assert getattr(after.forces, name) == pytest.approx(found.value, abs=1e-6)
    assert abs(after.numbers["cd"].value - before.forces.cd) > 0.1
    assert after.forces.cd_friction == pytest.approx(before.forces.cd_friction)
    assert set(after.peaks) == {"max pMean", "min pMean", "max |wallShearStressMean|"}
    assert len(after.widths["wallShearStressMean"]) == len(after.fields["pMean"])


def test_cases_it_learnt_from_are_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(checkpoint), "--calibrate", "ahmed_mini", "--split", "train"]) == 2
    assert "'run_1' is 'run_1' of the training" in capsys.readouterr().err


def test_six_cases_support_less_than_ninety_percent(calibrated: Path) -> None:
    surrogate = meshops.load(calibrated)
    assert len(AhmedMini("test")) == 6 and surrogate.predict(ahmed_body(**SHAPE)).level == 0.85


def test_reference_areas_that_differ_are_told(calibrated: Path) -> None:
    designs = {"one": ahmed_body(**SHAPE), "wider": ahmed_body(**{**SHAPE, "width": 0.4})}
    found = compare(meshops.load(calibrated), designs)
    assert [(pair.number, pair.level) for pair in found.pairs] == [("cd", 0.85), ("cl", 0.85)]
    assert any("the reference areas differ (one 0.1044 m², wider 0.116 m²)" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["moved", "mirrored", "larger", "millimetres", "finer", "coarser"])
def test_a_copy_of_a_shape_keeps_its_numbers_within_their_intervals(calibrated: Path, kind: str) -> None:
    shape = ahmed_body(**SHAPE)
    copy, scale = shape.copy(), None
    if kind == "moved":
        copy.points = copy.points + np.array([3.0, -1.0, 0.0])
    elif kind == "mirrored":
        copy.points = copy.points * np.array([1.0, -1.0, 1.0])
        copy.flip_faces(inplace=True)
    elif kind in ("larger", "millimetres"):
        factor, scale = (1.7, None) if kind == "larger" else (1e3, 1e-3)
        copy.points = copy.points * factor
    else:
        triangles = copy.triangulate()
        copy = triangles.subdivide(1) if kind == "finer" else triangles.decimate(0.7)
    surrogate = meshops.load(calibrated)
    one, other = surrogate.predict(shape), surrogate.predict(copy, scale=scale)
    for name, number in one.numbers.items():
        assert number.low is not None and number.high is not None
        assert number.low <= other.numbers[name].value <= number.high
    if kind in ("moved", "mirrored", "millimetres"):  # of these the model sees no difference at all
        assert other.numbers["cd"].value == pytest.approx(one.numbers["cd"].value, abs=1e-3)
