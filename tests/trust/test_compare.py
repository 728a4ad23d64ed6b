"""Designs compared: differences, their intervals and probabilities, how verdicts went, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from meshops.cli.main import main
from meshops.errors import InputError
from meshops.surrogate import Surrogate
from meshops.surrogate.comparison import Comparison, compare
from meshops.trust.compare import Difference, Pairs, case_distances, record
from tests.trust.sheets import NOISE, drawn, graph, mass, sheet


def judged(surrogate: Surrogate, *widths: float, level: float | None = None) -> Comparison:
    return compare(surrogate, {f"d{i}": graph(w, 0.2) for i, w in enumerate(widths)}, level=level)


def only(found: Comparison) -> Difference:
    (pair,) = found.pairs
    return pair


def test_identical_designs_are_the_same(surrogate: Surrogate) -> None:
    pair = only(judged(surrogate, 1.2, 1.2))
    assert (pair.difference, pair.probability, pair.call) == (0, 0.5, "the same")
    assert pair.low <= 0 <= pair.high


@pytest.mark.parametrize("widths", [(0.9, 1.5), (1.2, 1.22), (1.3, 1.26)])
def test_the_other_way_round_is_the_complement(surrogate: Surrogate, widths: tuple[float, float]) -> None:
    one, other = only(judged(surrogate, *widths)), only(judged(surrogate, *widths[::-1]))
    assert one.difference == -other.difference
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.probability == pytest.approx(1 - other.probability)
    opposite = {"larger": "smaller", "smaller": "larger"}
    assert other.call == opposite.get(one.call, one.call)


def test_clearly_different_designs_are_called(surrogate: Surrogate) -> None:
    pair = only(judged(surrogate, 0.9, 1.5))
    assert pair.call == "smaller" and pair.probability < 0.02
    assert pair.low < mass(0.9, 0.2) - mass(1.5, 0.2) < pair.high < 0


def test_designs_within_the_noise_are_too_close(surrogate: Surrogate) -> None:
    pair = only(judged(surrogate, 1.2, 1.2 + 0.1 * NOISE))
    assert pair.call == "too close to call" and 0.1 < pair.probability < 0.9
    assert pair.low < 0 < pair.high


def test_a_higher_level_has_wider_intervals_and_calls_less(surrogate: Surrogate) -> None:
    low, high = (only(judged(surrogate, 1.2, 1.24, level=level)) for level in (0.5, 0.9))
    assert (low.level, high.level) == (0.5, 0.9) and low.probability == high.probability
    assert high.high - high.low > low.high - low.low


def test_differences_and_their_intervals_hold_on_fresh_designs(surrogate: Surrogate) -> None:
    rows = drawn(20, seed=8)
    found = compare(surrogate, {str(i): graph(width, 0.0) for i, (width, *_) in enumerate(rows)})
    weight = [2 * width + noisy - mass(width, angle) for width, angle, noisy in rows]
    true = [weight[int(p.a)] - weight[int(p.b)] for p in found.pairs]
    assert len(true) == 190
    held = [p.low <= t <= p.high for p, t in zip(found.pairs, true, strict=True)]
    assert np.mean(held) > 0.75
    both = zip(found.pairs, true, strict=True)
    called = [(p.call == "larger") == (t > 0) for p, t in both if p.call in ("larger", "smaller")]
    assert len(called) > 60 and np.mean(called) > 0.9
    ranked = found.to_dict()["ranking"]["mass"]  # type: ignore[index]
    assert np.corrcoef([rows[int(name)][0] for name in ranked], range(20))[0, 1] > 0.95


def test_the_record_of_held_out_pairs(surrogate: Surrogate) -> None:
    made = judged(surrogate, 1.0, 1.4).records["mass"]
    assert made.pairs == 24 * 23 // 2
    for share in (made.right, made.close_right, made.given, made.given_right):
        assert 0 <= share <= 1
    assert made.right > 0.9 and made.brier < 0.1 and made.given_right >= made.right
    assert f"on {made.pairs} pairs of held-out cases" in made.sentence("mass", 0.9)


def test_the_record_counts_signs_as_a_loop_does(surrogate: Surrogate) -> None:
    trust = surrogate.trust
    assert trust is not None
    (model,) = trust.numbers
    right = [
        (model.found[j] > model.found[k]) == (model.truth[j] > model.truth[k]) for j, k in combinations(range(24), 2)
    ]
    assert record(trust, model, 0.9).right == pytest.approx(np.mean(right))


def test_verdicts_of_chance_are_worth_nothing(surrogate: Surrogate) -> None:
    trust = surrogate.trust
    assert trust is not None
    found = np.random.default_rng(0).normal(size=24)
    made = record(trust, replace(trust.numbers[0], found=found), 0.9)
    assert 0.35 < made.right < 0.65 and made.brier > 0.2 and made.given < 0.35


def test_probabilities_rise_with_the_difference(surrogate: Surrogate) -> None:
    trust = surrogate.trust
    assert trust is not None
    pairs = Pairs(trust.numbers[0], case_distances(trust))
    likely = [pairs.larger(x, 1.0) for x in np.linspace(-1, 1, 21)]
    assert likely == sorted(likely) and 0 < likely[0] < 0.01 and 0.99 < likely[-1] < 1 and likely[10] == 0.5
    assert pairs.larger(0.05, 1.0, scale=3.0) < pairs.larger(0.05, 1.0)


def test_distances_of_cases_are_symmetric_and_those_of_two(surrogate: Surrogate) -> None:
    trust = surrogate.trust
    assert trust is not None
    distances = case_distances(trust)
    np.testing.assert_allclose(distances, distances.T)
    assert distances[2, 5] == pytest.approx(trust.apart(trust.vectors[2], trust.vectors[5]))


def test_designs_at_different_conditions_are_refused(surrogate: Surrogate) -> None:
    with pytest.raises(InputError, match=r"different conditions \(angle\).*give all the same with --set"):
        compare(surrogate, {"a": graph(1.0, 0.1), "b": graph(1.2, 0.2)})
    stated = compare(surrogate, {"a": graph(1.0, 0.1), "b": graph(1.2, 0.2)}, conditions={"angle": 0.0})
    assert only(stated).difference == pytest.approx(mass(1.0, 0) - mass(1.2, 0), abs=0.1)


def test_what_cannot_be_compared_is_refused(surrogate: Surrogate) -> None:
    with pytest.raises(InputError, match="1 design: at least two are compared"):
        judged(surrogate, 1.0)
    with pytest.raises(InputError, match="intervals of 99 % need 99 held-out cases"):
        judged(surrogate, 1.0, 1.2, level=0.99)
    surrogate.trust = None
    with pytest.raises(InputError, match=r"meshops evaluate CKPT --calibrate ROOT"):
        judged(surrogate, 1.0, 1.2)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    names = []
    for name, width in (("slim", 0.9), ("wide", 1.5), ("twin", 1.5)):
        names.append(str(tmp_path / f"{name}.vtu"))
        sheet(width, 0.2).save(names[-1])
    return names


def test_the_command_writes_page_and_numbers(
    sheets_checkpoint: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "compared"
    assert main(["compare", str(sheets_checkpoint), *files, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "compare.json").read_text())
    assert [(pair["a"], pair["b"]) for pair in told["pairs"]] == [("slim", "wide"), ("slim", "twin"), ("wide", "twin")]
    for pair in told["pairs"]:
        assert {"a", "b", "number", "difference", "low", "high", "level", "probability"} <= set(pair)
    assert [pair["call"] for pair in told["pairs"]] == ["smaller", "smaller", "the same"]
    assert told["ranking"]["mass"][0] == "slim" and told["level"] == 0.9
    assert told["held_out"]["mass"]["pairs"] == 276
    page = (out / "compare.html").read_text()
    assert "Designs compared" in page and "the same" in page and "slim" in page


def test_the_command_tells_verdicts_in_words(
    sheets_checkpoint: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--out", str(tmp_path / "c"), "--no-pictures", "--set", "angle=0.5", "--level", "0.8"]
    assert main(["compare", str(sheets_checkpoint), *files, *asked]) == 0
    told = capsys.readouterr().out
    assert "mass, slim less wide: -1." in told and "slim is smaller, over 99 % sure" in told
    assert "the same design to the surrogate" in told and "mass, smallest first: slim, " in told
    assert not list((tmp_path / "c").glob("*.png"))


def test_the_command_refuses_one_file_and_a_missing_one(
    sheets_checkpoint: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, message in (([files[0]], "give two or more files"), ([files[0], "none.vtu"], "none.vtu: no such file")):
        assert main(["compare", str(sheets_checkpoint), *given, "--out", str(tmp_path / "c")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
