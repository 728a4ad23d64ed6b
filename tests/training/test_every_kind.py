"""What every kind of run shares: `train` and `evaluate` agree, a kill costs nothing, bad kinds are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import meshops
from meshops.cli.main import main
from meshops.datasets import AhmedML, Eagle
from meshops.datasets.mesh_files import MeshFiles
from meshops.datasets.the_well.files import write_well
from meshops.solvers.registry import generate
from meshops.tasks import list_tasks
from meshops.training import RunResult, train

pytest.importorskip("skfem", reason="the generators need scikit-fem")
MSPT = {"name": "mspt", "channels": 8, "depth": 1, "num_heads": 1, "num_patches": 2}
ECHO = {"name": "echoautoencoder", "cells": 8, "channels": 8, "latent_channels": 3,
        "layers": ["res", "space", "time", "res"]}  # fmt: skip
CHEAP = {"nodes": 300, "radii": [0.2], "potential_flow": False, "max_sources": 64}


class Place:
    """Data of every kind, written when they are asked for, and the run files that learn from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, Path] = {}

    def data(self, name: str) -> Path:
        if name not in self._made:
            makers: dict[str, Callable[[Path], Path]] = {
                "cars": AhmedML.standin, "darcy": MeshFiles.standin, "eagle": Eagle.standin, "well": self._well
            }  # fmt: skip
            self._made[name] = makers[name](self.folder / name)
        return self._made[name]

    def _well(self, root: Path) -> Path:
        runs = [generate("vorticity", seed, resolution=8, frames=12, t_end=2.0) for seed in range(4)]
        return write_well({"train": runs[:3], "valid": [], "test": runs[3:]}, root, name="vorticity")

    def settings(self, case: str) -> dict[str, Any]:
        """A run file; what it asks for is not the default wherever the kind can be asked."""
        return {
            "bodies": lambda: {
                "data": {"name": "ahmed_ml", "root": str(self.data("cars")),
                         "options": {"split_method": {"train": "1,2", "test": "3,4"}}},
                "model": MSPT, "task": {**CHEAP, "passes": 3, "mesh_cues": True},
            },
            "graphs": lambda: {
                "data": {"name": "mesh_files", "root": str(self.data("darcy")), "options": {"inputs": ["coefficient"]}},
                "model": {"name": "mppde", "channels": 8, "depth": 1}, "task": {"nodes": 0},
            },
            "grid": lambda: {
                "kind": "rollout", "data": {"name": "the_well", "root": str(self.data("well"))},
                "model": {"name": "unet", "channels": 8, "depth": 1}, "task": {"steps": 3, "stride": 2, "history": 2},
            },
            "mesh": lambda: {
                "kind": "rollout", "data": {"name": "eagle", "root": str(self.data("eagle"))},
                "model": {"name": "graphvit", "channels": 8, "tokens": 16, "depth": 1, "attention_depth": 1,
                          "num_heads": 2, "clustering": "kmeans"},
                "task": {"horizon": 2, "steps": 3, "stride": 2},
            },
            "autoencode": lambda: {
                "kind": "autoencode", "data": {"name": "the_well", "root": str(self.data("well"))}, "model": ECHO,
                "task": {"fields": ["vorticity"], "frames": 5, "test_points": [0.5, 0.25], "stride": 2},
            },
            "generate": lambda: {
                "kind": "generate", "data": {"name": "the_well", "root": str(self.data("well"))},
                "model": {"name": "echogenerator", "channels": 8, "depth": 1, "num_heads": 1},
                "task": {"start": str(self.autoencoder()), "samples": 3, "steps": 4},
            },
        }[case]()  # fmt: skip

    def autoencoder(self) -> Path:
        out = self.folder / "autoencoder"
        if not (out / "model.ckpt").is_file():
            settings = self.settings("autoencode")
            settings["task"]["stride"] = 1
            self.run(settings, out)
        return out / "model.ckpt"

    def config(self, settings: dict[str, Any], out: Path, **changes: Any) -> list[str]:
        out.parent.mkdir(parents=True, exist_ok=True)
        short = {"steps": 4, "batch_size": 1, "val_every": 2, "threads": 1, "accelerator": "cpu"} | changes
        file = out.parent / f"{out.name}.yaml"
        file.write_text(yaml.safe_dump({**settings, "out": str(out), "train": short}))
        return [str(file)]

    def run(self, settings: dict[str, Any], out: Path, *, resume: bool = False, **changes: Any) -> RunResult:
        from meshops.cli.train import parse

        return train(parse(self.config(settings, out, **changes)), resume=resume)


CASES = ("bodies", "graphs", "grid", "mesh", "autoencode", "generate")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("kinds"))


def test_all_kinds_are_here(place: Place) -> None:
    assert {place.settings(case).get("kind", "fields") for case in CASES} == set(list_tasks())


@pytest.mark.parametrize("case", CASES)
def test_train_and_evaluate_give_the_same_numbers(
    case: str, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the run was asked is asked again; in Python and from the command line, on the file and in memory."""
    settings = place.settings(case)
    result = place.run(settings, tmp_path / "run")
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert any(value is not None for value in written["mean"].values())
    options = settings["data"].get("options", {})
    given = [f"{key}={json.dumps(value)}" for key, value in options.items()]
    command = ["evaluate", str(tmp_path / "run" / "model.ckpt"), "--data", settings["data"]["name"], "--root",
               settings["data"]["root"], "--json",
               *(part for pair in given for part in ("--option", pair))]  # fmt: skip
    capsys.readouterr()
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    for numbers in (written, found):
        numbers.get("details", {}).pop("seconds_per_forecast", None)
    for part in ("kind", "title", "mean", "cases", "details", "curves"):
        assert found.get(part) == written.get(part), part
    assert result.report.mean == written["mean"] and result.report.cases == written["cases"]
    first, second = (numbers.get("baselines", {}) for numbers in (written, found))
    assert second == {name: row for name, row in first.items() if name not in ("nearest", "average")}
    asked = [key for key, value in meshops.load(tmp_path / "run" / "model.ckpt").task.asked.items() if value]
    assert asked, "every kind remembers what it was asked"


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_of_every_kind_is_bit_for_bit_the_same(
    case: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the fourth step, resumed from the second."""
    from meshops.training.module import TaskModule

    settings = place.settings(case)
    whole = place.run(settings, tmp_path / "whole")
    original = TaskModule.training_step

    def stopped(self: TaskModule, batch: Any, number: int) -> torch.Tensor:
        if self.global_step == 3:
            raise KeyboardInterrupt
        return original(self, batch, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TaskModule, "training_step", stopped)
        place.run(settings, tmp_path / "half")
    assert not (tmp_path / "half" / "model.ckpt").exists()
    resumed = place.run(settings, tmp_path / "half", resume=True)
    for name, value in whole.surrogate.task.state_dict().items():
        assert torch.equal(value, resumed.surrogate.task.state_dict()[name]), name
    assert resumed.report.mean == whole.report.mean
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "half")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("case", CASES)
def test_models_that_take_something_else_are_told(case: str, place: Place, tmp_path: Path) -> None:
    """One sentence that names what the model takes, what the data give, and models that fit."""
    from meshops.errors import InputError

    settings = place.settings(case)
    wrong = {"autoencode": "mspt", "generate": "unet"}.get(case, "echogenerator")
    right = settings["model"]["name"]
    with pytest.raises(InputError, match=rf"model '{wrong}' takes .*, and these data give .*; use one of .*'{right}'"):
        place.run({**settings, "model": {"name": wrong}}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", CASES)
def test_every_kind_refuses_data_of_another(case: str, place: Place, tmp_path: Path) -> None:
    from meshops.errors import InputError

    settings = place.settings(case)
    other = "darcy" if settings.get("kind", "fields") != "fields" else "well"
    data = {"darcy": {"name": "mesh_files", "root": str(place.data("darcy"))},
            "well": {"name": "the_well", "root": str(place.data("well"))}}[other]  # fmt: skip
    task = {key: value for key, value in settings["task"].items() if key != "fields"}
    with pytest.raises(InputError) as caught:
        place.run({**settings, "data": data, "task": task}, tmp_path / "run")
    assert "trajector" in str(caught.value) and str(caught.value).count("\n") <= 2


@pytest.mark.parametrize("case", CASES)
def test_settings_of_another_kind_are_refused(case: str, place: Place) -> None:
    from meshops.cli.train import parse
    from meshops.errors import InputError
    from meshops.tasks import get_task

    config = parse(place.config(place.settings(case), place.folder / "settings"))
    kinds = [kind for kind in list_tasks() if get_task(kind).Settings is not type(config.task)]
    for kind in kinds:
        with pytest.raises(InputError, match=f"kind '{kind}' takes the settings .*, got {type(config.task).__name__}"):
            replace(config, kind=kind)
