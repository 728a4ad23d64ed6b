"""The published benchmarks of MSPT start from their run files, on stand-ins: a step, then judged.

Settings are those of the files but for what a test cannot wait for: the steps, the width and the depth.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshops.cli.main import main
from meshops.cli.train import parse
from meshops.datasets import create
from meshops.datasets.registry import dataset_class

ROOT = Path(__file__).resolve().parents[2] / "models" / "mspt"
RUNS = ("airfoil", "darcy", "elasticity", "navier_stokes", "pipe", "plasticity")
SMALL = ["--model.channels", "16", "--model.depth", "1", "--train.steps", "1", "--train.batch_size", "1",
         "--train.accelerator", "cpu", "--train.threads", "1"]  # fmt: skip


def test_there_is_a_run_file_for_each() -> None:
    assert set(RUNS) <= {path.stem for path in ROOT.glob("*.yaml")}


@pytest.mark.parametrize("name", RUNS)
def test_a_published_run_starts_on_its_stand_in(name: str, tmp_path: Path) -> None:
    pytest.importorskip("skfem", reason="the stand-ins need scikit-fem")
    data = dataset_class(name).standin(tmp_path / "data", num=3)
    options = {"num_train": 2, "num_test": 1}
    assert len(create(name, data, split="test", **options)) == 1
    out = tmp_path / "run"
    command = [str(ROOT / f"{name}.yaml"), "--data.root", str(data), "--data.options", json.dumps(options)]
    settings = parse(command)
    assert str(settings.model["name"]) == f"mspt_{name}" and settings.train.steps > 1000
    assert main(["train", *command, *SMALL, "--out", str(out)]) == 0
    mean = json.loads((out / "metrics.json").read_text())["mean"]
    errors = [value for key, value in mean.items() if key.endswith("rel_l2") or key == "vrmse"]
    assert errors and all(0 < value < 100 for value in errors)
