"""Models beside each other: what may be compared, what the figures say, and that a contest goes on."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon

from meshops.cli.main import main
from meshops.errors import InputError
from meshops.training import DataConfig, RunConfig
from meshops.training import contest as contests
from meshops.training.contest import Contest, Outcome, affordable, check_alike, contest, holm, measured, steps_within
from meshops.training.contest_tables import latex, lines, write_tables

SMALL = """
kind: fields
model: {name: NAME, channels: 16, depth: 1, num_heads: 2}
task: {nodes: 256, passes: 1, potential_flow: false, radii: [0.1]}
train: {steps: 3, batch_size: 1, threads: 1, lr: 1.0e-3}
"""


def outcome(model: str, seed: int, errors: list[float]) -> Outcome:
    cases = {f"case {k}": {"p_rel_l2": error} for k, error in enumerate(errors)}
    return Outcome(
        model, seed, 100, 12_000, 10.0, 8.0, 10**9, {"p_rel_l2": float(np.mean(errors))}, cases,
        {"mean": {"p_rel_l2": 0.9}}, "relative L2 error", {"p_rel_l2": "|p|_1 & more"},
    )  # fmt: skip


def test_the_memory_of_a_run_is_not_that_of_the_process_which_started_it(tmp_path: Path) -> None:
    held = np.ones(50_000_000)  # 400 MB
    code, seconds, memory = measured([sys.executable, "-c", "import sys; print(1); sys.exit(3)"], tmp_path / "log")
    assert held[-1] == 1 and code == 3 and 0 < seconds < 30 and 2**20 < memory < 100 * 2**20
    assert (tmp_path / "log").read_text() == "1\n" and [path.name for path in tmp_path.iterdir()] == ["log"]


def test_steps_that_seconds_pay_for_are_counted_without_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading that took longer in the shorter trial once gave each run 30,000 steps a second."""

    def trial(name: str, config: RunConfig, *_: object) -> Outcome:
        reading = {10: 25.0, 40: 17.0}[config.train.steps]
        spent = 1.0 + 0.1 * config.train.steps
        return replace(outcome(name, 0, [0.1]), seconds=reading + spent, train_processor=spent)

    monkeypatch.setattr(contests, "run_one", trial)
    assert affordable(RunConfig(model={"name": "mspt"}), tmp_path, 30) in (299, 300)
    assert steps_within(30, (10, 40), (4.1, 4.0)) == 3_000  # the start's noise: a tenth of a step of the longer run
    assert steps_within(0.001, (10, 40), (1.0, 4.0)) == 1


def test_significance_is_of_the_cases_not_of_the_seeds() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.1, 0.5, 12)
    runs = [outcome("good", s, list(base + 0.001 * s)) for s in (0, 1)]
    runs += [outcome("bad", s, list(base * 1.2 + 0.01 + 0.001 * s)) for s in (0, 1)]
    alike = [list(base + rng.normal(0, 0.02, 12)) for _ in (0, 1)]
    runs += [outcome("alike", s, alike[s]) for s in (0, 1)]
    found = Contest(tuple(runs), "100 steps")
    assert found.best("p_rel_l2") == "good" or found.best("p_rel_l2") == "alike"
    best = found.best("p_rel_l2")
    other = {"good": "alike", "alike": "good"}[best]
    chances = found.worse("p_rel_l2")
    assert set(chances) == {"bad", other}

    def mean_of(model: str) -> np.ndarray:
        return np.mean([[row["p_rel_l2"] for row in run.cases.values()] for run in found.of(model)], axis=0)

    assert chances["bad"] == pytest.approx(2 * wilcoxon(mean_of("bad") - mean_of(best)).pvalue)
    assert chances["bad"] < 0.05 < chances[other]
    text = "\n".join(lines(found))
    assert f"| {best} | {found.spread(best, 'p_rel_l2')[0]:.3f} ± " in text and "| mean | 0.900 |" in text
    assert next(line for line in text.splitlines() if line.startswith(f"| {other} ")).count("=") == 1
    assert "no skill" not in text
    worse = [replace(run, baselines={"nearest": {"p_rel_l2": 0.01}}) for run in runs]
    told = "\n".join(lines(Contest(tuple(worse), "")))
    assert f"no skill in |p|_1 & more: 'nearest' has 0.010, the best model ({best})" in told
    few = Contest(tuple(replace(run, cases=dict(list(run.cases.items())[:5])) for run in runs), "100 steps")
    assert few.worse("p_rel_l2") == {} and "too few to tell" in "\n".join(lines(few))


def test_holm_against_its_definition() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_tables_are_escaped_and_whole(tmp_path: Path) -> None:
    found = Contest((outcome("a_b", 0, [0.1, 0.2]), outcome("c", 0, [0.2, 0.3])), "100 steps")
    written = write_tables(found, tmp_path)
    assert [path.name for path in written] == ["table.md", "table.tex", "runs.csv", "compare.html"]
    tex = (tmp_path / "table.tex").read_text()
    assert r"a\_b" in tex and r"\textbar{}p\textbar{}\_1 \& more" in tex
    assert r"\|p\|_1 & more" in (tmp_path / "table.md").read_text()
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert [(row["model"], float(row["p_rel_l2"])) for row in rows] == [("a_b", pytest.approx(0.15)), ("c", 0.25)]
    assert latex(["x"], [["~^\\"]]).splitlines()[4] == r"\textasciitilde{}\textasciicircum{}\textbackslash{} \\"


def test_only_what_is_alike_is_compared(tmp_path: Path) -> None:
    one = RunConfig(out="a")
    with pytest.raises(InputError, match="two or more run files"):
        check_alike({"a": one})
    other = replace(one, data=DataConfig(name="airfrans", root="x"))
    with pytest.raises(
        InputError,
        match=r"'data.name': 'ahmed_mini' and 'airfrans', 'data.root'.*give the same",
    ):
        check_alike({"a": one, "b": other})
    untested = replace(one, data=DataConfig(test=""))
    with pytest.raises(InputError, match="names no split to be judged on"):
        check_alike({"a": untested, "b": untested})
    with pytest.raises(InputError, match="seconds or steps, not both"):
        contest({"a": one, "b": one}, tmp_path, seconds=1, steps=1)


@pytest.mark.slow
def test_two_models_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real runs in processes of their own; a second call takes what is there, another seed adds to it."""
    for name in ("mspt", "transolver"):
        (tmp_path / f"{name}.yaml").write_text(SMALL.replace("NAME", name))
    files = [str(tmp_path / f"{name}.yaml") for name in ("mspt", "transolver")]
    command = ["compare", *files, "--steps", "2", "--out", str(tmp_path / "out")]
    assert main([*command, "--seeds", "0"]) == 0
    text = capsys.readouterr().out
    assert "| mspt |" in text and "one seed" in text and "2 steps" in text
    done = [json.loads(line) for line in (tmp_path / "out" / "runs.jsonl").read_text().splitlines()]
    assert [(row["model"], row["steps"]) for row in done] == [("mspt", 2), ("transolver", 2)]
    assert all(
        row["memory"] > 10**8 and row["seconds"] > row["train_processor"] > 0 and len(row["cases"]) == 6 for row in done
    )
    assert (tmp_path / "out" / "mspt_0" / "model.ckpt").is_file()
    assert main([*command, "--seeds", "0"]) == 0  # nothing is run again
    assert len((tmp_path / "out" / "runs.jsonl").read_text().splitlines()) == 2
    assert main([*command, "--seeds", "0", "--data.test", ""]) == 2
    assert "names no split" in capsys.readouterr().err
    assert main([*command, "--seeds", "1", "--train.lr", "1.0e+9"]) == 2
    assert "the run ended with code" in capsys.readouterr().err
