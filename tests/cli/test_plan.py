"""``meshops plan`` says before it reads anything what it cannot plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshops.cli.main import main


def test_a_checkpoint_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "nothere.ckpt"]) == 2
    said = capsys.readouterr().err
    assert said == "meshops plan: nothere.ckpt: no such checkpoint file\n"


def test_what_a_fit_leaves_has_no_plan(sheets_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(sheets_checkpoint), "--cells", "1e6"]) == 2
    said = capsys.readouterr().err
    assert "plans are made for one network of points or graphs" in said and "'meshops train'" in said


def test_a_plan_of_a_network(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(checkpoint), "--cells", "1e5", "--memory", "16GB"]) == 0
    said = capsys.readouterr().out
    assert "plan for 100,000 nodes" in said and "this CPU:" in said
