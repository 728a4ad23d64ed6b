"""The files of the pages on adding things are short, run, and pass the shared checks."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch_geometric.data import Data

import meshops
from meshops.cli.main import main
from meshops.datasets import registry as datasets
from meshops.metrics import registry as metrics
from meshops.models import registry as models
from meshops.partition import registry as partitioners
from meshops.tasks import FieldsSettings
from meshops.tasks import base as tasks
from meshops.testing import check_dataset, check_model, check_partitioner, random_graphs

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "extend"
FILES = sorted(FOLDER.glob("my_*.py"))
QUICK = ["--train.steps", "3", "--train.threads", "1", "--train.accelerator", "cpu"]
REGISTERS = (datasets._DATASETS, metrics._METRICS, models._MODELS, partitioners._PARTITIONERS, tasks._KINDS)


@pytest.fixture(autouse=True)
def _beside_the_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The files are found as a user's own are; what they register is taken back."""
    monkeypatch.chdir(FOLDER)
    monkeypatch.syspath_prepend(str(FOLDER))
    before = [dict(register) for register in REGISTERS]  # type: ignore[call-overload]
    yield
    for register, known in zip(REGISTERS, before, strict=True):
        register.clear()
        register.update(known)  # type: ignore[attr-defined]
    for path in FILES:
        sys.modules.pop(path.stem, None)


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


def run(*arguments: str) -> int:
    return main(list(arguments))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_short_and_shown_on_its_page(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    assert f"{{literalinclude}} {path.name}\n" in (FOLDER / f"{path.stem.removeprefix('my_')}.md").read_text()


def test_a_dataset_is_recognised_checked_learnt_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = load("my_dataset").Plates
    plates = given.standin(tmp_path)
    check_dataset(given(plates, "train"))
    known = ("--import", "my_dataset")
    assert run("data", "check", str(plates), *known) == 0
    model = ["--model.name", "transolver", "--model.channels", "8", "--model.depth", "1"]
    out = tmp_path / "run"
    assert run("train", "--data.name", "", "--data.root", str(plates), "--out", str(out), *model, *QUICK, *known) == 0
    written = json.loads((out / "metrics.json").read_text())
    capsys.readouterr()
    assert run("evaluate", str(out / "model.ckpt"), "--data", str(plates), "--json", *known) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == written["mean"]
    assert meshops.load(out / "model.ckpt").spec.conditions == ("load",)  # type: ignore[attr-defined]


def test_a_model_passes_the_shared_checks_and_learns(tmp_path: Path) -> None:
    given = load("my_model")
    check_model(given.PointNet(2, 4), random_graphs([40, 23], num_features=2))
    graphs = [Data(pos=torch.rand(30, 2), x=torch.rand(30, 1), y=torch.rand(30, 1)) for _ in range(3)]
    config = meshops.RunConfig(
        model={"name": "pointnet_wide", "channels": 16}, out=str(tmp_path), train=meshops.TrainConfig(steps=3)
    )
    result = meshops.train(config, data=graphs[:2], test=graphs[2:])
    assert result.report.numbers()["y_rel_l2"] > 0
    assert meshops.load(tmp_path / "model.ckpt").predict(graphs[2]).fields["y"].shape == (30,)


def test_a_partitioner_passes_the_shared_checks_and_cuts_for_mspt(tmp_path: Path) -> None:
    given = load("my_partitioner")
    check_partitioner(given.Slabs(patch_size=16))
    check_partitioner(given.Slabs(num_patches=4))
    model = meshops.create_model("mspt", in_channels=0, out_channels=1, num_patches=4, patching="slabs")
    graph = random_graphs([50])[0]
    assert model(model.unpack(graph)).shape == (50, 1)


def test_a_metric_is_reported_when_asked(tmp_path: Path) -> None:
    load("my_metric")
    graphs = [Data(pos=torch.rand(30, 2), y=torch.rand(30, 1)) for _ in range(3)]
    config = meshops.RunConfig(
        task=FieldsSettings(metrics=("p95",)), model={"name": "transolver", "channels": 8, "depth": 1},
        out=str(tmp_path), train=meshops.TrainConfig(steps=3),
    )  # fmt: skip
    report = meshops.train(config, data=graphs[:2], test=graphs[2:]).report
    assert 0 < report.numbers()["y_mae"] < report.numbers()["y_p95"] < 2


def test_a_task_learns_and_its_checkpoint_is_judged_alike(tmp_path: Path) -> None:
    given = load("my_task")
    graphs = [Data(pos=torch.rand(n, 2), mass=torch.tensor([n / 10.0])) for n in (10, 20, 30, 40)]
    config = meshops.RunConfig(
        kind="total", task=given.TotalSpec(number="mass"), model={"name": "transformer", "channels": 16, "depth": 1},
        out=str(tmp_path), train=meshops.TrainConfig(steps=30, validation=1),
    )  # fmt: skip
    report = meshops.train(config, data=graphs[:3], test=graphs[3:]).report
    again = meshops.load(tmp_path / "model.ckpt").evaluate(graphs[3:])
    assert again.mean == report.mean and report.mean["error"] < 4.0
