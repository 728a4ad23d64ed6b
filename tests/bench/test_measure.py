"""Measuring: turns, ratios, disagreement, missing packages, memory."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from meshops.bench import Case, Contender, draw_scaling, measure, measure_scaling, operation_cases, partition_cases
from meshops.bench.measure import machine, peak_memory, threads


def test_ratio_disagreement_and_what_is_left_out() -> None:
    def slow() -> int:
        time.sleep(0.02)
        return 3

    case = Case(
        "a case",
        100,
        [
            Contender("ours", lambda: time.sleep(0.002) or 2),
            Contender("slow", slow),
            Contender("absent", slow, "no_such_module"),
            Contender("too slow", slow, most=99),
        ],
        lambda ours, theirs: "" if ours == theirs else f"{theirs} instead of {ours}",
        lambda ours: {"value": ours},
    )
    ours, other, absent, left_out = measure(case, repeat=2)
    assert ours.ratio == 1 and ours.facts == {"value": 2} and ours.note == ""
    assert other.seconds is not None and other.seconds >= 0.02 and other.note == "3 instead of 2"
    assert other.ratio is not None and other.ratio > 2
    assert absent.seconds is None and absent.note == "not installed (no_such_module)"
    assert left_out.note == "left out above 99 rows"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_peak_memory_sees_what_a_call_frees_again() -> None:
    def use() -> None:
        block = np.ones(40 * 2**20, dtype=np.uint8)
        del block

    peak = peak_memory(use)
    assert peak is not None and 35 < peak < 60


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with threads(2) as count:
        assert count == 2 and machine()["threads"] == 2
    assert torch.get_num_threads() == before
    assert "torch" in machine()["versions"]


@pytest.mark.parametrize("cases_of", [operation_cases, partition_cases])
def test_all_contenders_give_the_same(cases_of: object) -> None:
    for case in cases_of(700):  # type: ignore[operator]
        for result in measure(case, repeat=1):
            missing = result.note.startswith("not installed")
            assert missing or result.seconds is not None
            if not missing and "all partitioners" not in case.name:
                assert result.note == "", f"{case.name}, {result.name}: {result.note}"


def test_scaling_and_its_picture(tmp_path: Path) -> None:
    table = measure_scaling([500, 1000], repeat=1)
    assert {row["points"] for row in table} == {500, 1000} and all(float(row["ns"]) > 0 for row in table)
    draw_scaling(table, tmp_path / "scaling.png")
    assert [path.name for path in tmp_path.iterdir()] == ["scaling.png"]
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
