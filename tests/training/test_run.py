"""Runs: what they leave, exact resume, averaged weights, messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

import meshops
from meshops.errors import CheckpointError, InputError
from meshops.training.config import DataConfig, RunConfig, TaskConfig, TrainConfig
from meshops.training.run import train

MODEL = {"name": "mspt", "channels": 16, "depth": 2, "num_heads": 2, "num_patches": 4, "dropout": 0.1}


def config(out: Path, **changes) -> RunConfig:
    settings = {"steps": 12, "batch_size": 2, "val_every": 6, "threads": 1} | changes
    return RunConfig(
        out=str(out),
        model=MODEL,
        data=DataConfig(name="ellipsoids"),
        task=TaskConfig(nodes=64, radii=(0.2,), max_sources=256, passes=1),
        train=TrainConfig(**settings),
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model.ckpt", weights_only=True)["weights"]


def test_a_run_leaves_a_usable_folder(ellipsoids, tmp_path):
    result = train(config(tmp_path / "run"))
    assert {"config.yaml", "model.ckpt", "metrics.json", "checkpoints", "logs"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < metrics["pressure_rel_l2"] < 2 and set(metrics["yardsticks"]) == {"mean", "nearest", "average"}
    assert set(metrics["cases"]) == {"test_0", "test_1"}
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["train"]["steps"] == 12
    again = meshops.load(tmp_path / "run" / "model.ckpt")
    assert again.spec == result.surrogate.spec
    assert (tmp_path / "run" / "logs" / "csv" / "metrics.csv").read_text().count("\n") >= 2


@pytest.mark.parametrize("validation", [0, 1])
def test_resuming_equals_not_stopping_bit_for_bit(ellipsoids, tmp_path, validation, monkeypatch):
    """Interrupted after 8 of 12 steps (checkpoint at 6), resumed: same weights as one run, dropout included."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(config(whole, validation=validation))

    from meshops.training.stream import StepStream

    original = StepStream.batch

    def interrupted(self, step):
        if step == 8:
            raise KeyboardInterrupt
        return original(self, step)

    monkeypatch.setattr(StepStream, "batch", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(config(halves, validation=validation))
    assert not (halves / "model.ckpt").exists()
    monkeypatch.setattr(StepStream, "batch", original)
    train(config(halves, validation=validation), resume=True)
    first, second = weights(whole), weights(halves)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_average_is_what_is_saved(ellipsoids, tmp_path):
    train(config(tmp_path / "run"))
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    average = state["callbacks"]["AveragedWeights"]["average"]
    saved = weights(tmp_path / "run")
    assert all(torch.equal(saved[name], value) for name, value in average.items())
    assert any(not torch.equal(state["state_dict"][f"task.{name}"], value) for name, value in average.items())


def test_training_learns(ellipsoids, tmp_path):
    settings = config(tmp_path / "run", steps=120, lr=4e-3)
    result = train(replace(settings, model=MODEL | {"dropout": 0.0}))
    mean = result.metrics["yardsticks"]["mean"]["pressure_rel_l2"]
    assert result.metrics["pressure_rel_l2"] < 0.5 * mean


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
        train(replace(config(tmp_path / "c"), task=TaskConfig(fields=("T",))))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        train(config(tmp_path / "file" / "run"))
