"""``meshops evaluate --calibrate``: intervals for a surrogate that has none, from cases it did not learn from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import meshops
from meshops.cli.main import main
from meshops.errors import InputError
from meshops.surrogate import Surrogate
from meshops.trust.held_out import spread_folds
from tests.trust.sheets import sheet, sheets, written


@pytest.fixture
def uncalibrated(surrogate: Surrogate, tmp_path: Path) -> Path:
    surrogate.trust = None
    return surrogate.save(tmp_path / "bare.ckpt")


def test_the_command_gives_intervals_to_a_surrogate_without(
    uncalibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet(1.2, 0.3).save(tmp_path / "a.vtu")

    def predicted(*more: str) -> dict[str, object]:
        asked = ["predict", str(uncalibrated), str(tmp_path / "a.vtu"), "--out", str(tmp_path / "out"), "--overwrite"]
        assert main([*asked, "--no-pictures", "--json", *more]) == 0
        row: dict[str, object] = json.loads(capsys.readouterr().out)[str(tmp_path / "a.vtu")]
        return row

    assert predicted()["level"] is None
    root = written(tmp_path / "others", 12, seed=3, name="other")
    assert main(["evaluate", str(uncalibrated), "--calibrate", str(root)]) == 0
    assert "intervals of 90 % from 12 cases by held-out cases" in capsys.readouterr().out
    row = predicted()
    number = row["numbers"]["mass"]  # type: ignore[index]
    assert number["low"] < number["value"] < number["high"] and number["level"] == row["level"] == 0.9
    assert number["value"] == pytest.approx(2 * 1.2 + 0.5 * 0.3, abs=0.2)


def test_a_calibrated_surrogate_is_a_copy_with_the_same_fields(uncalibrated: Path) -> None:
    before = meshops.load(uncalibrated)
    after = before.calibrate(sheets(20, seed=3, name="other"))
    assert before.trust is None and after.trust is not None
    assert after.trust.how == "held-out cases" and after.trust.cases == tuple(f"other_{i}" for i in range(20))
    fresh = sheets(40, seed=4, name="fresh")
    made = [after.predict(case) for case in fresh]
    held = [one.numbers["mass"].low <= one.numbers["mass"].true <= one.numbers["mass"].high for one in made]  # type: ignore[operator]
    assert 0.75 <= np.mean(held) <= 1
    np.testing.assert_array_equal(before.predict(fresh[0]).fields["p"], made[0].fields["p"])


def test_cases_it_learnt_from_are_refused(
    uncalibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = uncalibrated.read_bytes()
    root = written(tmp_path / "same", 12, seed=0, name="sheet")
    assert main(["evaluate", str(uncalibrated), "--calibrate", str(root)]) == 2
    assert "'sheet_0' is 'sheet_0' of the training" in capsys.readouterr().err
    assert uncalibrated.read_bytes() == before
    renamed = sheets(4)[3]
    renamed.label = renamed.name = "another name"
    with pytest.raises(InputError, match="is 'sheet_3' of the training, so that its error is too small"):
        meshops.load(uncalibrated).calibrate([*sheets(8, seed=3, name="other"), renamed])


def test_other_cases_of_the_same_names_calibrate(uncalibrated: Path) -> None:
    trust = meshops.load(uncalibrated).calibrate(sheets(9, seed=3, name="sheet")).trust
    assert trust is not None and trust.cases == tuple(f"sheet_{i}" for i in range(9))


def test_calibration_is_told_and_remembered(
    uncalibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(written(tmp_path / "others", 12, seed=3, name="other"))
    assert main(["evaluate", str(uncalibrated), "--calibrate", root, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["level"] == 0.9 and told["how"] == "held-out cases" and len(told["cases"]) == 12
    assert told["numbers"]["mass"]["half_width"] > told["numbers"]["mass"]["error"] > 0
    assert meshops.load(uncalibrated).info["calibration"]["data"] == root  # type: ignore[index,call-overload]
    assert main(["evaluate", str(uncalibrated), "--calibrate", root, "--ask", "passes=2"]) == 2
    assert "leave out --ask" in capsys.readouterr().err


def test_cases_without_a_field_are_refused(uncalibrated: Path) -> None:
    cases = sheets(3, seed=3, name="other")
    for case in cases:
        case.y_names = ("q",)
    with pytest.raises(InputError, match="other_0: lacks the field 'p', without which it cannot calibrate"):
        meshops.load(uncalibrated).calibrate(cases)


@pytest.mark.parametrize(("count", "level"), [(3, 0.75), (8, 0.85), (9, 0.9)])
def test_few_cases_support_a_lower_level(uncalibrated: Path, count: int, level: float) -> None:
    made = meshops.load(uncalibrated).calibrate(sheets(count, seed=3, name="other"))
    assert made.predict(sheets(1, seed=4)[0]).level == level


def test_the_command_takes_one_of_two(uncalibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given in ([], ["--data", "ahmed_mini", "--calibrate", "x"]):
        assert main(["evaluate", str(uncalibrated), *given]) == 2
        assert "--calibrate ROOT to calibrate it, one of them" in capsys.readouterr().err


def test_folds_share_the_cases_out() -> None:
    for count in (1, 3, 5, 12):
        assert sorted(i for fold in spread_folds(count) for i in fold) == list(range(count))
