"""Numbers with intervals from the cases to the prediction: their shape, how often they hold, when they are wider."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import meshops
from meshops.cli.main import main
from meshops.errors import InputError
from meshops.surrogate import Surrogate
from meshops.tasks.prediction import Estimate, Prediction
from meshops.trust import support
from tests.trust.sheets import graph, sheet, sheets


def half(made: Prediction, name: str = "mass") -> float:
    found = made.numbers[name]
    assert found.low is not None and found.high is not None
    return (found.high - found.low) / 2


def test_a_number_has_an_interval_with_its_level_and_unit(surrogate: Surrogate) -> None:
    made = surrogate.predict(sheets(1, seed=5)[0])
    for found in (*made.numbers.values(), *made.peaks.values()):
        assert found.low is not None and found.high is not None
        assert found.low <= found.value <= found.high and found.level == made.level == 0.9
    assert set(made.numbers) == {"mass"} and set(made.peaks) == {"max p", "min p"}
    assert made.widths["p"].shape == made.fields["p"].shape and (made.widths["p"] > 0).all()
    rows = json.loads(json.dumps(made.to_dict(), default=float))
    for row in (*rows["numbers"].values(), *rows["peaks"].values()):
        assert {"value", "low", "high", "level", "unit", "true"} <= set(row)
    assert f"mass {made.numbers['mass']}" in made.line() and "intervals of 90 %" in made.line()


def test_the_intervals_hold_the_truth_of_fresh_cases(surrogate: Surrogate) -> None:
    made = [surrogate.predict(case) for case in sheets(60, seed=11)]
    for number in ("mass", "max p"):
        rows = [{**one.numbers, **one.peaks}[number] for one in made]
        held = np.mean([row.low <= row.true <= row.high for row in rows])  # type: ignore[operator]
        assert 0.75 <= held <= 1, number
    nodes = [np.mean(np.abs(one.fields["p"] - one.truth["p"]) <= one.widths["p"]) for one in made]
    assert 0.75 <= np.mean(nodes) <= 1
    constant = np.mean([abs(one.numbers["mass"].constant - one.numbers["mass"].true) for one in made])  # type: ignore[operator]
    assert np.mean([half(one) for one in made]) < 0.5 * constant


def test_a_lower_level_has_narrower_intervals(surrogate: Surrogate) -> None:
    case = sheets(1, seed=5)[0]
    wide, narrow = (surrogate.predict(case, level=level) for level in (0.9, 0.5))
    assert narrow.level == narrow.numbers["mass"].level == 0.5
    assert half(narrow) < half(wide) and (narrow.widths["p"] < wide.widths["p"]).all()
    assert narrow.numbers["mass"].value == wide.numbers["mass"].value


def test_a_level_that_the_cases_do_not_support_is_refused(surrogate: Surrogate) -> None:
    with pytest.raises(InputError, match="intervals of 99 % need 99 held-out cases, this surrogate has 24"):
        surrogate.predict(sheets(1)[0], level=0.99)
    with pytest.raises(InputError, match=r"between 0 and 1, such as 0\.9, got 90"):
        surrogate.predict(sheets(1)[0], level=90)


def test_the_command_takes_a_level(sheets_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet(1.2, 0.3).save(tmp_path / "a.vtu")
    asked = ["predict", str(sheets_checkpoint), str(tmp_path / "a.vtu"), "--no-pictures", "--json"]
    assert main([*asked, "--level", "0.8", "--out", str(tmp_path / "out")]) == 0
    row = json.loads(capsys.readouterr().out)[str(tmp_path / "a.vtu")]
    assert row["level"] == row["numbers"]["mass"]["level"] == 0.8
    assert row["numbers"] == json.loads((tmp_path / "out" / "a.json").read_text())["numbers"]
    assert main([*asked, "--level", "0.99", "--out", str(tmp_path / "none")]) == 2
    assert "need 99 held-out cases" in capsys.readouterr().err


def test_a_loaded_surrogate_gives_the_same_intervals(surrogate: Surrogate, tmp_path: Path) -> None:
    again = meshops.load(surrogate.save(tmp_path / "again.ckpt"))
    for case in (*sheets(3, seed=5), graph(3.0, 2.0)):
        one, other = surrogate.predict(case), again.predict(case)
        assert one.numbers == other.numbers and one.peaks == other.peaks
        np.testing.assert_array_equal(one.widths["p"], other.widths["p"])


def test_far_outside_the_training_intervals_are_wider(surrogate: Surrogate) -> None:
    inside = surrogate.predict(graph(1.2, 0.0))
    for far in (graph(1.2, 4.0), graph(4.0, 0.0)):
        made = surrogate.predict(far)
        assert made.verdict is not None and made.verdict.level == "outside"
        assert half(made) > 1.5 * half(inside)
        assert made.widths["p"].mean() > 1.5 * inside.widths["p"].mean()


def test_the_error_to_expect_is_told(surrogate: Surrogate) -> None:
    inside, far = surrogate.predict(graph(1.2, 0.0)).verdict, surrogate.predict(graph(4.0, 0.0)).verdict
    assert inside is not None and "held-out cases that lay inside the others had mean errors of p" in inside.expected
    assert far is not None and "No held-out case lay outside the others" in far.expected


def test_a_truth_of_the_wrong_sign_is_named(surrogate: Surrogate) -> None:
    case = sheets(1, seed=5)[0]
    assert not surrogate.predict(case).case.notes
    case.y = -case.y
    notes = surrogate.predict(case).case.notes
    assert len(notes) == 1 and notes[0].startswith("'p' in the file differs from the prediction by 200 %")
    assert "sign" in notes[0]


def test_without_a_calibration_numbers_say_so(surrogate: Surrogate) -> None:
    surrogate.trust = None
    made = surrogate.predict(sheets(1)[0])
    assert made.level is None and not made.widths
    with pytest.raises(InputError, match="intervals of 90 % are asked for, but this surrogate is not calibrated"):
        surrogate.predict(sheets(1)[0], level=0.9)


def test_what_cases_support_is_told(surrogate: Surrogate) -> None:
    assert surrogate.trust is not None
    assert support(surrogate.trust) == "intervals of 90 % from 24 cases by cross-validation"
    assert support(replace(surrogate.trust, cases=())) == "0 held-out cases support no interval; 9 are needed for 90 %"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(2.40051), "2.401"),
        (Estimate(2.40051, 2.3706, 2.4304, 0.9), "2.401 (2.371 to 2.430)"),
        (Estimate(0.3, -1.7, 2.3, 0.9), "0.3 (-1.7 to 2.3)"),
        (Estimate(150000.0, 149999.0, 150001.0, 0.9), "150000.0 (149999.0 to 150001.0)"),
        (Estimate(9.96, 9.06, 10.86, 0.9), "9.96 (9.06 to 10.86)"),
        (Estimate(1e-8, 0.9e-8, 1.1e-8, 0.9), "1.00e-8 (0.90e-8 to 1.10e-8)"),
        (Estimate(1.5, 1.5, 1.5, 0.9), "1.5"),
        (Estimate(1520.0, 1396.0, 1644.0, 0.9), "1520 (1400 to 1640)"),
        (Estimate(1.67e8, 6.69e7, 2.66e8, 0.9), "1.67e8 (0.67e8 to 2.66e8)"),
    ],
)
def test_as_many_digits_are_shown_as_the_interval_is_worth(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text
