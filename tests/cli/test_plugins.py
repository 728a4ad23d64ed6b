"""Models, data sets and tasks of one's own: ``--import`` and plug-ins, from the command line to the prediction."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshops.cli import main as entry
from meshops.cli.main import main
from meshops.datasets import registry as datasets
from meshops.models import registry as models
from meshops.tasks import base as tasks

MINE = '''
import torch
from torch import nn
from meshops.aero.conditions import FlowConditions
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import CaseDataset, register_dataset
from meshops.datasets.base import GraphCache
from meshops.models import register_model
from meshops.nn.point_model import point_inputs
from meshops.tasks import FieldsTask, register_task


@register_model
class TwoLayers(nn.Module):
    """Every point by itself."""

    takes = frozenset({"points"})
    unpack = staticmethod(point_inputs)

    def __init__(self, in_channels, out_channels, pos_dim=3, width=8):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(pos_dim + in_channels, width), nn.Tanh(), nn.Linear(width, out_channels))

    def forward(self, inputs):
        return self.net(torch.cat([inputs.pos, inputs.x], 1))


@register_dataset("my_squares")
class Squares(CaseDataset):
    """Points in a square."""

    fields, units, flow, flow_stated, transform = ("s",), ("m",), FlowConditions(), False, None

    def __init__(self, split="train", count=3):
        self.cases, self.cache = tuple(f"{split}_{i}" for i in range(count)), GraphCache(False)

    def read(self, index):
        pos = torch.rand(20, 2, generator=torch.Generator().manual_seed(index))
        return MeshGraph(pos=pos, y=pos[:, :1] * pos[:, 1:], y_names=("s",), y_sizes=(1,), name=self.cases[index])

    def files(self, index):
        return {}

    @classmethod
    def standin(cls, root, num=4):
        raise NotImplementedError


@register_task("my_fields")
class MyFields(FieldsTask):
    pass
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of a user in the working folder; what it registers is forgotten afterwards."""
    (tmp_path / "my_house.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    places = (datasets._DATASETS, models._MODELS, tasks._KINDS)
    before = [dict(place) for place in places]
    yield "my_house"
    for place, content in zip(places, before, strict=True):
        place.clear()
        place.update(content)  # type: ignore[arg-type]
    sys.modules.pop("my_house", None)


SHORT = ["--train.steps", "2", "--train.batch_size", "1", "--train.accelerator", "cpu", "--train.threads", "1"]
RUN = ["--data.name", "my_squares", "--model.name", "twolayers", "--model.width", "5", *SHORT]


@pytest.mark.parametrize("name", ["my_house", "my_house.py"])
def test_a_model_and_data_of_ones_own(name: str, mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--import", name, *RUN, "--out", "run"]) == 0
    assert main(["evaluate", "run/model.ckpt", "--data", "my_squares", "--json", "--import", name]) == 0
    shown = capsys.readouterr().out
    found = json.loads(shown[shown.index("{") :])
    assert found["mean"] == json.loads(Path("run/metrics.json").read_text())["mean"]


def test_a_kind_of_ones_own(mine: str) -> None:
    assert main(["train", "--import", mine, "--kind", "my_fields", *RUN, "--out", "run"]) == 0
    assert json.loads(Path("run/metrics.json").read_text())["kind"] == "my_fields"


def test_without_the_module_it_is_said_what_there_is(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *RUN, "--out", "run"]) == 2
    assert "no dataset 'my_squares'; known: 'ahmed_mini'" in capsys.readouterr().err
    assert main(["train", "--import", mine, *RUN, "--out", "run"]) == 0
    for place in (models._MODELS, datasets._DATASETS):
        for name in [n for n in place if n in ("my_squares", "twolayers")]:
            del place[name]
    assert main(["evaluate", "run/model.ckpt", "--data", "ahmed_mini"]) == 2
    err = capsys.readouterr().err
    assert "unknown model 'twolayers'" in err and "Traceback" not in err


def test_modules_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--import", "no_such_house", "demo"]) == 2
    assert "--import no_such_house: No module named 'no_such_house'; give a module" in capsys.readouterr().err
    assert main(["train", "--import"]) == 2
    assert "--import needs the name of a module" in capsys.readouterr().err
    (tmp_path / "broken.py").write_text("import nothing_of_the_kind\n")
    assert main(["train", "--import", "broken", "demo"]) == 2
    assert "No module named 'nothing_of_the_kind'" in capsys.readouterr().err


def test_plugins_of_installed_packages_are_imported(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("mine", mine, "meshops.plugins")
    monkeypatch.setattr(entry, "entry_points", lambda group: [point] if group == "meshops.plugins" else [])
    monkeypatch.syspath_prepend(str(Path.cwd()))
    assert main(["train", *RUN, "--out", "run"]) == 0
