"""Runs: what they leave, exact resume, averaged weights, messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import meshops
from meshops.errors import CheckpointError, InputError
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.training import DataConfig, RunConfig, TrainConfig, train

MODEL = {"name": "mspt", "channels": 16, "depth": 2, "num_heads": 2, "num_patches": 4, "dropout": 0.1}
TASK = FieldsSettings(nodes=64, radii=(0.2,), max_sources=256, passes=1)


def config(out: Path, **changes: Any) -> RunConfig:
    settings = {"steps": 12, "batch_size": 2, "val_every": 6, "threads": 1} | changes
    return RunConfig(
        out=str(out), model=MODEL, data=DataConfig(name="ellipsoids"), task=TASK, train=TrainConfig(**settings)
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model.ckpt", weights_only=True)["weights"]


def test_a_run_leaves_a_usable_folder(ellipsoids, tmp_path):
    result = train(config(tmp_path / "run"))
    assert {"config.yaml", "model.ckpt", "metrics.json", "log.jsonl", "checkpoints"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < metrics["mean"]["pressure_rel_l2"] < 2 and set(metrics["baselines"]) == {"mean", "nearest", "average"}
    assert set(metrics["cases"]) == {"test_0", "test_1"}
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["train"]["steps"] == 12
    again = meshops.load(tmp_path / "run" / "model.ckpt")
    assert again.spec == result.surrogate.spec and again.info == result.surrogate.info
    assert again.info["held_out"]["mean"] == metrics["mean"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 12]
    assert all(line["train/loss"] > 0 and line["lr"] >= 0 for line in lines)


@pytest.mark.parametrize("validation", [0, 1])
def test_resuming_equals_not_stopping_bit_for_bit(ellipsoids, tmp_path, validation, monkeypatch):
    """Interrupted after 8 of 12 steps (checkpoint at 6), resumed: same weights as one run, dropout included."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(config(whole, validation=validation))
    original, seen = FieldsTask.batch, [0]

    def interrupted(self, samples, draws):
        seen[0] += 1
        if seen[0] == 9:
            raise KeyboardInterrupt
        return original(self, samples, draws)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FieldsTask, "batch", interrupted)
        train(config(halves, validation=validation))
    assert not (halves / "model.ckpt").exists()
    train(config(halves, validation=validation), resume=True)
    first, second = weights(whole), weights(halves)
    assert all(torch.equal(first[name], second[name]) for name in first)
    logs = [(folder / "log.jsonl").read_text() for folder in (whole, halves)]
    assert logs[0] == logs[1]


def test_the_average_is_what_is_saved(ellipsoids, tmp_path):
    train(config(tmp_path / "run"))
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    average = state["callbacks"]["AveragedWeights"]["average"]
    saved = weights(tmp_path / "run")
    assert all(torch.equal(saved[name], value) for name, value in average.items())
    assert any(not torch.equal(state["state_dict"][f"task.{name}"], value) for name, value in average.items())


def test_training_learns(ellipsoids, tmp_path):
    settings = config(tmp_path / "run", steps=120, lr=4e-3)
    report = train(replace(settings, model=MODEL | {"dropout": 0.0})).report
    assert report.mean["pressure_rel_l2"] < 0.5 * report.baselines["mean"]["pressure_rel_l2"]


def test_resume_messages(ellipsoids, tmp_path):
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(config(tmp_path / "none"), resume=True)
    train(config(tmp_path / "run", steps=6))
    with pytest.raises(InputError, match=r"train\.steps changed from 6 to 7"):
        train(config(tmp_path / "run", steps=7), resume=True)


def test_impossible_settings(ellipsoids, tmp_path):
    with pytest.raises(InputError, match=r"0\.\.3, got 4"):
        train(config(tmp_path / "a", validation=4))
    with pytest.raises(InputError, match="no argument 'dept'"):
        train(replace(config(tmp_path / "b"), model={"name": "mspt", "dept": 3}))
    with pytest.raises(InputError, match="no field 'T'"):
        train(replace(config(tmp_path / "c"), task=FieldsSettings(fields=("T",))))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        train(config(tmp_path / "file" / "run"))


def test_refused_runs_leave_nothing(ellipsoids, tmp_path):
    """Nothing that would stand in the way of the next try with the same folder."""
    with pytest.raises(InputError, match="no argument 'dept'"):
        train(replace(config(tmp_path / "run"), model={"name": "mspt", "dept": 3}))
    assert not (tmp_path / "run").exists()
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(config(tmp_path / "run"), resume=True)
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match="no argument 'dept'"):
        train(replace(config(tmp_path / "mine"), model={"name": "mspt", "dept": 3}))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_run_that_never_reached_a_checkpoint_is_not_in_the_way(ellipsoids, tmp_path, monkeypatch):
    def stopped(self, samples, draws):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FieldsTask, "batch", stopped)
        train(config(tmp_path / "run"))
    assert (tmp_path / "run" / "config.yaml").is_file()
    train(config(tmp_path / "run", steps=2))


def test_a_recipe_with_settings_of_all_fields_serves_some_of_them() -> None:
    """``meshops train demo --task.fields '["wallShearStressMean"]'`` takes the loss and the weight of that field."""
    from meshops.cli.train import parse
    from meshops.datasets import create
    from meshops.tasks.fields_samples import make_spec

    data = create("ahmed_mini")
    for place, name in enumerate(("pMean", "wallShearStressMean")):
        config = parse(["demo", "--task.fields", f'["{name}"]'])
        both = parse(["demo"]).task
        spec = make_spec(data, config.task)
        assert spec.loss == (both.loss[place],) and spec.weights == (both.weights[place],)
    turned = make_spec(data, parse(["demo", "--task.fields", '["wallShearStressMean","pMean"]']).task)
    assert turned.loss == both.loss  # one per field, in the order that is asked for
