"""Conditions and numbers of the cases, learnt: a speed that scales the field, a drag that follows the speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import meshops
from meshops.cli.main import main
from meshops.errors import InputError
from meshops.surrogate.base import UNCALIBRATED
from meshops.tasks import FieldsSettings
from meshops.training import RunConfig, RunResult, TrainConfig, train

MODEL = {"name": "mspt", "channels": 24, "depth": 1, "num_heads": 2, "num_patches": 2}


def winds(count: int, seed: int = 0) -> list[Data]:
    """``p = speed (1.5 - r^2)`` on free points, ``cd = 3 + 2 speed``; the points say nothing about the speed."""
    g = torch.Generator().manual_seed(seed)
    out = []
    for speed in (1 + 2 * torch.rand(count, generator=g)).tolist():
        pos = 2 * torch.rand(48, 2, generator=g) - 1
        p = speed * (1.5 - pos.square().sum(1, keepdim=True))
        out.append(
            Data(pos=pos, y=p, y_names=("p",), y_sizes=(1,), conditions={"speed": speed}, numbers={"cd": 3 + 2 * speed})
        )
    return out


def run(out: Path, **task: Any) -> RunResult:
    config = RunConfig(
        out=str(out),
        model=MODEL,
        task=FieldsSettings(**task),
        train=TrainConfig(steps=160, val_every=160, batch_size=4, lr=8e-3, threads=1, accelerator="cpu", ema=0.9),
    )
    return train(config, data=winds(16), test=winds(6, seed=1))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(tmp_path_factory.mktemp("told") / "run", numbers=("cd",), number_weight=1.0)


@pytest.fixture(scope="module")
def untold(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(tmp_path_factory.mktemp("untold") / "run", conditions=())


def test_the_condition_is_learnt(told: RunResult, untold: RunResult) -> None:
    """Without it the best that can be said is the field at the mean speed."""
    error, blind = told.report.mean["p_rel_l2"], untold.report.mean["p_rel_l2"]
    assert error is not None and blind is not None
    assert error < 0.1 and blind > 0.15 and error < 0.4 * blind
    assert error < 0.5 * told.report.baselines["mean"]["p_rel_l2"]  # type: ignore[operator]


def test_numbers_are_learnt_and_reported(told: RunResult) -> None:
    report = told.report
    spread = np.std([row["cd_reported"] for row in report.cases.values()])  # type: ignore[list-item]
    assert report.mean["cd_error"] is not None and report.mean["cd_error"] < 0.35 * spread
    for row in report.cases.values():
        assert row["cd_error"] == pytest.approx(abs(row["cd_learnt"] - row["cd_reported"]))  # type: ignore[operator]
    assert "|dcd|" in report.table() and report.columns["cd_error"] == "|dcd|"
    assert "cd_reported" not in report.mean


def test_a_prediction_can_be_asked_at_another_value(told: RunResult) -> None:
    case = winds(1, seed=2)[0]
    fields, numbers = [], []
    for speed in (1.2, 2.0, 2.8):
        made = told.surrogate.predict(case, conditions={"speed": speed})
        fields.append(made.fields["p"])
        assert made.case.conditions == {"speed": speed} and made.case.notes == [UNCALIBRATED]
        numbers.append(made.numbers["cd"].value)
    per_speed = (1.5 - case.pos.square().sum(1)).numpy()
    for found, speed in zip(fields, (1.2, 2.0, 2.8), strict=True):
        assert np.linalg.norm(found - speed * per_speed) < 0.2 * np.linalg.norm(speed * per_speed)
    assert numbers == sorted(numbers) and numbers[2] - numbers[0] == pytest.approx(3.2, rel=0.3)
    stated = told.surrogate.predict(case)  # what the graph states
    assert stated.case.conditions == case.conditions and stated.case.numbers == case.numbers
    written = stated.to_dict()
    assert written["numbers"]["cd"]["value"] == stated.numbers["cd"].value  # type: ignore[index]
    assert written["true_numbers"] == case.numbers


def test_all_of_it_survives_the_checkpoint(told: RunResult) -> None:
    again = meshops.load(told.folder / "model.ckpt")
    case = winds(1, seed=2)[0]
    first, second = told.surrogate.predict(case), again.predict(case)
    assert np.array_equal(first.fields["p"], second.fields["p"]) and first.numbers == second.numbers
    assert again.spec == told.surrogate.spec and again.spec.conditions == ("speed",)  # type: ignore[attr-defined]
    outside = again.predict(case, conditions={"speed": 30.0})
    assert any("speed = 30 is outside the 1" in note for note in outside.case.notes)
    with pytest.raises(InputError, match="'speed' is missing"):
        again.predict(Data(pos=case.pos))
    assert again.evaluate(winds(6, seed=1)).cases == told.report.cases


def test_conditions_from_the_command_line(told: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyvista as pv

    grid = pv.ImageData(dimensions=(7, 7, 1), origin=(-0.9, -0.9, 0), spacing=(0.3, 0.3, 1)).cast_to_unstructured_grid()
    grid.save(tmp_path / "plain.vtu")
    grid.field_data["speed"] = np.array([2.5])
    grid.save(tmp_path / "stated.vtu")
    checkpoint = str(told.folder / "model.ckpt")

    def predict(file: str, *options: str) -> tuple[int, str, dict[str, Any]]:
        capsys.readouterr()
        command = [
            "predict",
            checkpoint,
            str(tmp_path / file),
            "--out",
            str(tmp_path / "out"),
            "--no-pictures",
            "--json",
        ]
        code = main([*command, *options])
        shown = capsys.readouterr()
        return code, shown.err, json.loads(shown.out)[str(tmp_path / file)] if code == 0 else {}

    code, err, _ = predict("plain.vtu")
    assert code == 2 and "the model needs the condition 'speed'; give --set speed=VALUE, or store it" in err
    assert predict("plain.vtu", "--set", "speed=2.5")[2]["numbers"] == predict("stated.vtu")[2]["numbers"]
    code, err, numbers = predict("stated.vtu", "--set", "speed=9")
    assert code == 0 and numbers["conditions"] == {"speed": 9.0} and "speed = 9 is outside" in err
    code, err, _ = predict("plain.vtu", "--set", "speed=2", "--set", "yaw=3")
    assert code == 2 and "not trained with the condition 'yaw'; it takes 'speed'" in err
    for wrong in ("speed=fast", "speed", "speed=nan", "speed=NaN", "speed=Infinity"):
        code, err, _ = predict("plain.vtu", "--set", wrong)
        assert code == 2 and err.count("\n") == 1, err
    assert predict("plain.vtu", "--set", "speed=2.5")[1].count("cd ") == 1  # the number is on the line for people
