"""``meshops plan`` says before it reads anything what it cannot plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshops.cli.main import main


def test_a_checkpoint_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "nothere.ckpt"]) == 2
    said = capsys.readouterr().err
    assert said == "meshops plan: nothere.ckpt: no such checkpoint file\n"


def test_what_a_fit_leaves_is_planned_by_its_parts(sheets_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(sheets_checkpoint), "--cells", "1e6", "--memory", "64GB"]) == 0
    said = capsys.readouterr().out
    assert "plan for 1,000,000 nodes" in said and "  train " not in said
    assert "fitted in closed form" in said


def test_a_plan_of_a_network(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(checkpoint), "--cells", "1e5", "--memory", "16GB"]) == 0
    said = capsys.readouterr().out
    assert "plan for 100,000 nodes" in said and "this CPU:" in said
