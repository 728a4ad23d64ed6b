"""``meshops bench``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshops.cli.main import main


def test_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "bench.json"
    command = ["bench", "partition", "--points", "600", "--case", "uniform", "--repeat", "1", "--out", str(target)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "ball tree to 4 patches, uniform: 600 rows" in out and "times ours" in out
    content = json.loads(target.read_text())
    assert content["suite"] == "partition" and content["rows"][0]["name"] == "meshops"
    assert content["rows"][0]["ratio"] == 1 and "torch" in content["machine"]["versions"]
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_scaling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "scaling.png"
    assert main(["bench", "scaling", "--points", "300", "600", "--repeat", "1", "--plot", str(picture)]) == 0
    assert "ball tree            600 points" in capsys.readouterr().out and picture.exists()


def test_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "ops", "--points", "100", "--case", "colour"]) == 2
    assert "no case of 'ops' contains 'colour'; there are 'segment sum" in capsys.readouterr().err
    assert main(["bench", "ops", "--repeat", "0"]) == 2
    assert "--repeat must be at least 1" in capsys.readouterr().err
