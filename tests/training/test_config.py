"""Settings are looked at for sense: what is wrong, what was given, what is allowed; in Python and in the shell."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshops.cli.main import main
from meshops.cli.train import parse
from meshops.errors import InputError
from meshops.tasks import AutoencodeSettings, FieldsSettings, GenerateSettings, RolloutSettings
from meshops.training import RunConfig, TrainConfig

NAN, INFINITE = math.nan, math.inf
TRAIN: list[tuple[str, Any, str]] = [
    ("steps", 0, "train.steps must be a whole number of at least 1, got 0"),
    ("steps", -5, "train.steps must be a whole number of at least 1, got -5"),
    ("batch_size", 0, "train.batch_size must be a whole number of at least 1, got 0"),
    ("devices", 0, "train.devices must be a whole number of at least 1, got 0"),
    ("steps", 2.5, "train.steps must be a whole number of at least 1, got 2.5"),
    ("val_every", 0, "train.val_every must be a whole number of at least 1, got 0"),
    ("validation", -1, "train.validation must be a whole number of at least 0, got -1"),
    ("threads", -1, "train.threads must be a whole number of at least 0, got -1"),
    ("seed", -1, "train.seed must be a whole number of at least 0, got -1"),
    ("lr", 0.0, "train.lr must be positive, got 0"),
    ("lr", -1e-3, "train.lr must be positive, got -0.001"),
    ("lr", NAN, "train.lr must be positive, got nan"),
    ("lr", INFINITE, "train.lr must be positive, got inf"),
    ("weight_decay", -0.1, "train.weight_decay must be a finite number, at least 0, got -0.1"),
    ("weight_decay", NAN, "train.weight_decay must be a finite number, at least 0, got nan"),
    ("clip", -1.0, "train.clip must be a finite number, at least 0, got -1"),
    ("clip", NAN, "train.clip must be a finite number, at least 0, got nan"),
    ("ema", 1.0, r"train.ema is a decay in \[0, 1\), got 1"),
    ("ema", 2.0, r"train.ema is a decay in \[0, 1\), got 2"),
    ("ema", NAN, r"train.ema is a decay in \[0, 1\), got nan"),
    ("warmup", 2.0, r"train.warmup is a share of the steps in \[0, 1\], got 2"),
    ("warmup", -0.1, r"train.warmup is a share of the steps in \[0, 1\], got -0.1"),
    ("warmup", NAN, r"train.warmup is a share of the steps in \[0, 1\], got nan"),
    ("betas", (0.9, 1.0), r"train.betas must be in \[0, 1\), got \[0.9, 1.0\]"),
    ("betas", (-0.1, 0.9), r"train.betas must be in \[0, 1\), got \[-0.1, 0.9\]"),
    ("optimizer", "sgd", "train.optimizer must be one of 'adamw', 'lion', got 'sgd'"),
    ("schedule", "linear", "train.schedule must be one of 'cosine', 'noam', 'step_decay', got 'linear'"),
    ("precision", "64", "train.precision must be one of '32-true', 'bf16-mixed', '16-mixed', got '64'"),
    ("accelerator", "abacus", "train.accelerator must be one of .*'cpu'.*, got 'abacus'"),
    ("strategy", "deepspeed", "train.strategy must be one of 'auto', 'ddp', 'fsdp', 'patches', got 'deepspeed'"),
    ("node_budget", -1, "train.node_budget must be a whole number of at least 0, got -1"),
]
FIELDS: list[tuple[str, Any, str]] = [
    ("passes", 0, "task.passes must be a whole number of at least 1, got 0"),
    ("passes", 10**9, "task.passes must be at most"),
    ("nodes", -1, "task.nodes must be a whole number of at least 0, got -1"),
    ("max_sources", 0, "task.max_sources must be a whole number of at least 1, got 0"),
    ("weights", (-1.0,), r"task.weights must not be negative and not all 0, got \[-1.0\]"),
    ("weights", (0.0, 0.0), "task.weights must not be negative and not all 0"),
    ("weights", (), "task.weights must not be negative and not all 0"),
    ("weights", (NAN,), "task.weights must not be negative and not all 0"),
    ("radii", (0.0,), r"task.radii must be positive, in body heights, got \[0.0\]"),
    ("radii", (0.1, -0.1), "task.radii must be positive"),
    ("radii", (NAN,), "task.radii must be positive"),
    ("hide_cues", 2.0, "task.hide_cues must be from 0 to 1, got 2"),
    ("hide_cues", -0.1, "task.hide_cues must be from 0 to 1, got -0.1"),
    ("number_weight", -1.0, "task.number_weight must be a finite number, at least 0, got -1"),
    ("number_weight", NAN, "task.number_weight must be a finite number, at least 0, got nan"),
    ("loss", ("cube",), "loss 'cube'.* allowed: 'relative_l2'"),
    ("loss", (), "task.loss"),
    ("geometry", "sphere", "task.geometry must be one of 'auto', 'body', 'none', got 'sphere'"),
]
OTHERS: list[tuple[Any, dict[str, Any], str]] = [
    (RolloutSettings, {"horizon": 0}, "horizon"),
    (RolloutSettings, {"stride": 0}, "stride"),
    (AutoencodeSettings, {"frames": 0}, "frames"),
    (AutoencodeSettings, {"points": (0.0, 1.0)}, "points"),
    (GenerateSettings, {"samples": 0}, "samples"),
    (GenerateSettings, {"dropout": 2.0}, "dropout"),
]


@pytest.mark.parametrize(("name", "value", "words"), TRAIN)
def test_settings_of_training_that_make_no_sense(name: str, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(("name", "value", "words"), FIELDS)
def test_settings_of_fields_that_make_no_sense(name: str, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        FieldsSettings(**{name: value})


@pytest.mark.parametrize(("settings", "given", "name"), OTHERS)
def test_settings_of_other_kinds_that_make_no_sense(settings: Any, given: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=f"task.{name}|{name} must"):
        settings(**given)


@pytest.mark.parametrize(("group", "row"), [*(("train", r) for r in TRAIN), *(("task", r) for r in FIELDS)])
def test_they_are_refused_from_a_file_in_one_line(
    group: str, row: tuple[str, Any, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line that names the setting and what was given, and no folder."""
    name, value, _ = row
    given = list(value) if isinstance(value, tuple) else value
    out = tmp_path / "out"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"out": str(out), group: {name: given}}))
    assert main(["train", str(tmp_path / "run.yaml")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("meshops train: ") and err.count("\n") == 1 and name in err, err
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--train.lr", "0"], "train.lr must be positive, got 0"),
        (["--train.lr", "nan"], "train.lr.* nan"),
        (["--task.passes=0"], "task.passes must be a whole number of at least 1"),
        (["--train.stepz", "3"], "train.stepz"),
        (["--train.steps", "many"], "train.steps"),
        (["--train.steps", "1.5"], "train.steps"),
        (["--model", "mspt"], "model"),
        (["--kind", "waves"], "kind must be one of autoencode, fields, generate, rollout, stages, got 'waves'"),
    ],
)
def test_they_are_refused_as_options(options: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse(options)
    assert "\n" not in str(caught.value)


def test_one_weight_per_field_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for setting, given in (("weights", "[1, 2, 3]"), ("loss", '["mse", "mse", "mse"]')):
        command = ["train", "demo", "--out", str(tmp_path / "out"), f"--task.{setting}", given]
        assert main(command) == 2
        err = capsys.readouterr().err
        assert f"task.{setting} has 3 entries for 2 fields ('pMean', 'wallShearStressMean'); give one for all" in err
        assert not (tmp_path / "out").exists()


def test_sense_at_the_borders() -> None:
    TrainConfig(steps=1, batch_size=1, ema=0.0, warmup=1.0, clip=0.0, weight_decay=0.0, betas=(0.0, 0.0), val_every=1)
    TrainConfig(schedule="noam", warmup=1.6)  # longer than the run: the rate only rises
    FieldsSettings(passes=1, nodes=0, weights=(0.0, 1.0), radii=(), hide_cues=1.0, number_weight=0.0)


def test_the_kind_decides_the_settings() -> None:
    assert (
        isinstance(RunConfig(kind="rollout").task, RolloutSettings) and RunConfig(kind="rollout").out == "runs/rollout"
    )
    with pytest.raises(
        InputError, match="kind must be one of 'autoencode', 'fields', 'generate', 'rollout', got 'steady'"
    ):
        RunConfig(kind="steady")
