"""Bodies in a flow: forces with intervals, and a pressure that agrees with them."""

from __future__ import annotations

from pathlib import Path

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
    assert "were learnt from" in capsys.readouterr().err


def test_six_cases_support_less_than_ninety_percent(calibrated: Path) -> None:
    surrogate = meshops.load(calibrated)
    assert len(AhmedMini("test")) == 6 and surrogate.predict(ahmed_body(**SHAPE)).level == 0.85


def test_reference_areas_that_differ_are_told(calibrated: Path) -> None:
    designs = {"one": ahmed_body(**SHAPE), "wider": ahmed_body(**{**SHAPE, "width": 0.4})}
    found = compare(meshops.load(calibrated), designs)
    assert [(pair.number, pair.level) for pair in found.pairs] == [("cd", 0.85), ("cl", 0.85)]
    assert any("the reference areas differ (one 0.1044 m², wider 0.116 m²)" in note for note in found.notes)
