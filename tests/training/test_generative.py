import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console

import meshops
from meshops.cli.generate import drawn
from meshops.cli.main import main
from meshops.datasets import Eagle
from meshops.datasets.point_trajectories import open_points
from meshops.datasets.the_well.files import write_well
from meshops.errors import CheckpointError, InputError
from meshops.solvers.registry import generate
from meshops.tasks.autoencode import AutoencodeTask
from meshops.training.config import (
    AutoencodeRunConfig,
    AutoencodeTaskConfig,
    DataConfig,
    GenerateRunConfig,
    GenerateTaskConfig,
    TrainConfig,
)
from meshops.training.evaluate_generative import calibrate, evaluate_autoencoder, evaluate_forecasts
from meshops.training.generative import _refining, _refining_count, train_autoencoder, train_generator
from meshops.training.latents import encoded_segments

MODEL = {"name": "echoautoencoder", "cells": 8, "channels": 8, "latent_channels": 3,
         "layers": ["res", "space", "time", "res"]}  # fmt: skip
GENERATOR = {"name": "echogenerator", "channels": 16, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [generate("vorticity", s, resolution=16, frames=12, t_end=2.0, viscosity=1e-3 * (1 + s)) for s in range(4)]
    root = tmp_path_factory.mktemp("well") / "vorticity"
    return write_well({"train": runs[:3], "valid": [], "test": runs[3:]}, root, name="vorticity")


def autoencode(data: Path, out: Path, *, steps: int = 4, train: dict[str, Any] | None = None, **task: Any) -> Any:
    return AutoencodeRunConfig(
        out=str(out), model=MODEL, data=DataConfig(name="the_well", root=str(data)),
        task=AutoencodeTaskConfig(**{"fields": ("vorticity",), "frames": 5, **task}),
        train=TrainConfig(steps=steps, batch_size=2, lr=1e-3, accelerator="cpu", **(train or {})),
    )  # fmt: skip


def generating(data: Path, out: Path, start: Path, *, steps: int = 4, **task: Any) -> Any:
    return GenerateRunConfig(
        out=str(out), model=GENERATOR, data=DataConfig(name="the_well", root=str(data)),
        task=GenerateTaskConfig(**{"start": str(start), "samples": 3, **task}),
        train=TrainConfig(steps=steps, batch_size=4, lr=1e-3, accelerator="cpu"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def autoencoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "autoencoder"
    train_autoencoder(autoencode(data, out, train={"validation": 1}))
    return out / "model.ckpt"


def test_autoencoder_is_judged_by_part_of_the_points(autoencoder: Path) -> None:
    metrics = json.loads((autoencoder.parent / "metrics.json").read_text())
    assert set(metrics["mean"]) == {"1.0", "0.5", "0.2"} and metrics["compression"] == pytest.approx(
        256 * 5 / (3 * 3 * 16), abs=0.01
    )
    made = meshops.load(str(autoencoder))
    assert made.info["compression"]["latent"] == [3, 3, 4, 4]


def test_resumed_runs_are_the_same_bits(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_autoencoder(autoencode(data, tmp_path / "a", steps=4, train={"val_every": 2}))
    config = autoencode(data, tmp_path / "b", steps=4, train={"val_every": 2})
    original, seen = AutoencodeTask.loss, []

    def interrupted(self: AutoencodeTask, batch: Any) -> Any:
        seen.append(1)
        if len(seen) > 3:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(AutoencodeTask, "loss", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train_autoencoder(config)
    monkeypatch.setattr(AutoencodeTask, "loss", original)
    resumed = train_autoencoder(config, resume=True)
    for name, value in whole.surrogate.task.state_dict().items():
        assert torch.equal(value, resumed.surrogate.task.state_dict()[name]), name


def test_refining_leaves_time_alone(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    config = autoencode(data, tmp_path / "r", start=str(autoencoder), refine=True, steps=3)
    result = train_autoencoder(config)
    before = meshops.load(str(autoencoder)).task.model
    after = result.surrogate.task.model
    for a, b in zip(before.tower.temporal_parameters(), after.tower.temporal_parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(before.lift.weight, after.lift.weight)
    assert set(result.metrics["trajectory_error"]) == {"before", "after"}
    assert all(p.requires_grad for p in after.parameters())


def test_short_examples_teach_long_trajectories(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    plain = AutoencodeTask.loss
    monkeypatch.setattr(AutoencodeTask, "loss", lambda task, batch: (seen.append(batch.frames), plain(task, batch))[1])
    made = train_autoencoder(autoencode(data, tmp_path / "a", steps=2, frames=9, learn_frames=3))
    assert seen == [3, 3] and made.surrogate.spec.frames == 9
    for wrong, words in ((11, r"must be in 1..9 \(task.frames\).*got 11"), (4, r"1 \+ 2 m frames.*got 4")):
        with pytest.raises(InputError, match=words):
            train_autoencoder(autoencode(data, tmp_path / "b", frames=9, learn_frames=wrong))


def test_refining_can_draw_every_frame_and_window(data: Path) -> None:
    config = autoencode(data, Path("unused"), refine=True)
    points = open_points("the_well", root=data, split="train", fields=["vorticity"])
    windows = [(i, s) for i in range(3) for s in range(8)]
    count = _refining_count(points, windows, 3)
    draw = _refining(points, config, windows, 3)
    singles = {(float(p.values[0, 0, 0]), p.frames) for n in range(count) if (p := draw([n])).frames == 1}
    every = {float(points.window(i, s, 1).values[0, 0, 0]) for i in range(3) for s in range(12)}
    assert {value for value, _ in singles} == every
    assert sum(draw([n]).frames == 5 for n in range(count)) == count // 2


def test_generator_forecasts_and_draws(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    result = train_generator(generating(data, tmp_path / "g", autoencoder))
    metrics = result.metrics
    assert result.surrogate.spec.parameters == ("viscosity",) and metrics["steps"] == 7 and metrics["samples"] == 3
    for key in ("relative_l2", "relative_l2_one", "relative_l2_kept", "crps", "spread_over_skill"):
        assert metrics[key] > 0
    assert len(metrics["bands"]["sample"]) == 3 and len(metrics["curves"]["crps"]) == 7
    assert sum(metrics["rank_histogram"]) == pytest.approx(1)
    for name in ("forecast.html", "errors.png", "latents.pt", "model.ckpt"):
        assert (tmp_path / "g" / name).stat().st_size > 1000
    again = meshops.load(str(tmp_path / "g" / "model.ckpt"))
    window = open_points("the_well", root=data, split="test", fields=["vorticity"]).window(0, 0, 3)
    torch.testing.assert_close(
        again.forecast(window, 6, samples=2, parameters={"viscosity": 1e-3}),
        result.surrogate.forecast(window, 6, samples=2, parameters={"viscosity": 1e-3}),
    )


def test_held_out_trajectories_calibrate_the_spread(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    config = generating(data, tmp_path / "g", autoencoder)
    made = train_generator(replace(config, train=replace(config.train, validation=1)))
    assert 0 < made.metrics["coverage_90"] <= 1 and made.metrics["expected_over_skill"] > 0
    surrogate = meshops.load(str(tmp_path / "g" / "model.ckpt"))
    assert surrogate.missing_variance is not None and surrogate.missing_variance.shape == (7, 1)
    assert "expected error" in (tmp_path / "g" / "forecast.html").read_text()
    # on the trajectory it was calibrated with, the expected error is the error
    test = open_points("the_well", root=data, split="test", fields=["vorticity"])
    assert calibrate(surrogate, test, [0], samples=4) == 7
    found = evaluate_forecasts(surrogate, test, samples=4)
    assert found["expected_over_skill"] == pytest.approx(1, abs=1e-4)
    assert found["curves"]["expected"] == pytest.approx(found["curves"]["skill"], rel=1e-4)
    assert surrogate.info["calibration"] == {"trajectories": 1, "given": 3, "frames": 7, "samples": 4, "stride": 1}
    with pytest.raises(InputError, match="no trajectory to calibrate with is longer than the 3 frames"):
        calibrate(surrogate, test, [])
    with pytest.raises(InputError, match="two samples or more, got samples = 1"):
        calibrate(surrogate, test, [0], samples=1)
    # over several of unlike size too, since variances are averaged, not their roots
    train = open_points("the_well", root=data, split="train", fields=["vorticity"])
    calibrate(surrogate, train, range(3), samples=4)
    assert evaluate_forecasts(surrogate, train, samples=4)["expected_over_skill"] == pytest.approx(1, abs=1e-4)


def test_autoencoders_that_saw_what_was_held_out_are_told(data: Path, tmp_path: Path) -> None:
    start = train_autoencoder(autoencode(data, tmp_path / "a", steps=1)).folder / "model.ckpt"
    config, words = generating(data, tmp_path / "g", start, steps=1, samples=1), io.StringIO()
    config = replace(config, train=replace(config.train, validation=1))
    made = train_generator(config, console=Console(file=words, width=200))
    assert made.surrogate.info["calibration"]["samples"] == 2  # one sample has no spread; the run is not lost for it
    assert "auto-encoder was trained on held-out trajectories too" in words.getvalue()


def test_latents_of_another_autoencoder_are_refused(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    other = train_autoencoder(autoencode(data, tmp_path / "other", steps=1))
    path = tmp_path / "g" / "latents.pt"
    tasks = [meshops.load(str(p)).task for p in (autoencoder, other.folder / "model.ckpt")]
    points = open_points("the_well", root=data, split="train", fields=["vorticity"])
    kept = encoded_segments(tasks[0], points, range(3), path, every=2)
    assert torch.equal(encoded_segments(tasks[0], points, range(3), path, every=2).latents, kept.latents)
    with pytest.raises(CheckpointError, match=r"latents of another auto-encoder.*remove it to encode anew"):
        encoded_segments(tasks[1], points, range(3), path, every=2)
    with pytest.raises(CheckpointError, match="of other segments"):
        encoded_segments(tasks[0], points, range(3), path, every=1)
    louder = open_points("the_well", root=data, split="train", fields=["vorticity"])
    window = louder.window
    louder.window = lambda *a: replace(window(*a), values=5 * window(*a).values)  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match="of other segments"):
        encoded_segments(tasks[0], louder, range(3), path, every=2)
    path.write_bytes(b"no cache")
    with pytest.raises(CheckpointError, match="not a readable cache"):
        encoded_segments(tasks[0], points, range(3), path, every=2)
    train_generator(generating(data, tmp_path / "g", other.folder / "model.ckpt", steps=1))  # a new run encodes anew


def test_moving_meshes(tmp_path: Path) -> None:
    root = Eagle.standin(tmp_path / "eagle")
    config = AutoencodeRunConfig(
        out=str(tmp_path / "a"), model=MODEL, data=DataConfig(name="eagle", root=str(root)),
        task=AutoencodeTaskConfig(frames=5), train=TrainConfig(steps=1, batch_size=2, accelerator="cpu"),
    )  # fmt: skip
    train_autoencoder(config)
    made = train_generator(
        GenerateRunConfig(
            out=str(tmp_path / "g"), model=GENERATOR, data=DataConfig(name="eagle", root=str(root)),
            task=GenerateTaskConfig(start=str(tmp_path / "a" / "model.ckpt"), samples=2),
            train=TrainConfig(steps=1, batch_size=2, accelerator="cpu"),
        )
    )  # fmt: skip
    test = open_points("eagle", root=root, split="test")
    assert made.metrics["crps"] > 0
    assert made.metrics["steps"] == min(10, max(test.lengths)) - 3  # two segments of five frames: beyond the first


def test_stages_by_command_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = {"data": {"name": "the_well", "root": str(data)}, "train": {"steps": 1, "batch_size": 2}}
    fields = {"fields": ["vorticity"], "frames": 5}
    files = {
        "small_first.yaml": {"kind": "autoencode", "model": MODEL, "task": fields, **common},
        "small_second.yaml": {"kind": "autoencode", "task": {**fields, "refine": True}, **common},
        "small_third.yaml": {"kind": "generate", "model": GENERATOR, "task": {"samples": 2}, **common},
        "small.yaml": {"kind": "stages", "stages": ["small_first.yaml", "small_second.yaml", "small_third.yaml"]},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(yaml.safe_dump(content))
    run, out = str(tmp_path / "small.yaml"), str(tmp_path / "out")
    assert main(["train", run, "--out", out, "--stage", "2"]) == 2
    assert "stage 1 has not been run" in capsys.readouterr().err
    assert main(["train", run, "--out", out, "--stage", "all", "--train.accelerator", "cpu", "--model.depth", "2"]) == 0
    capsys.readouterr()
    last = tmp_path / "out" / "3_small_third" / "model.ckpt"
    assert meshops.load(str(last)).model_arguments["depth"] == 2
    last.unlink()
    assert main(["train", run, "--out", out, "--resume", "--train.accelerator", "cpu", "--model.depth", "2"]) == 0
    said = "".join(capsys.readouterr())
    assert "stage 1, small_first: finished" in said and "stage 3 of 3: small_third" in said
    assert main(["train", run, "--out", out, "--resume"]) == 2
    assert "every stage is finished" in capsys.readouterr().err
    assert main(["train", run, "--out", out, "--train.stepz", "3"]) == 2
    assert "no stage has the setting --train.stepz" in capsys.readouterr().err
    assert main(["train", run, "--stage", "9"]) == 2
    assert "stage must be all, 1, 2, 3 or one of" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "small_first.yaml"), "--stage", "1"]) == 2
    assert "--stage is for run files of kind: stages" in capsys.readouterr().err
    assert main(["evaluate", str(last), "--data", str(data), "--samples", "2", "--pictures", str(tmp_path / "p")]) == 0
    assert "CRPS" in capsys.readouterr().out and (tmp_path / "p" / "forecast.html").exists()
    first = str(tmp_path / "out" / "1_small_first" / "model.ckpt")
    assert main(["evaluate", first, "--data", str(data)]) == 0
    assert "100%" in capsys.readouterr().out
    assert main(["predict", first, "x.stl"]) == 2
    assert "works on trajectories" in capsys.readouterr().err


def test_error_messages(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refining needs an auto-encoder"):
        train_autoencoder(autoencode(data, tmp_path / "x", refine=True))
    with pytest.raises(InputError, match=r"1 \+ 2 m frames.*got 6; crop it to 5 or give 7"):
        train_autoencoder(autoencode(data, tmp_path / "x", frames=6))
    with pytest.raises(InputError, match="no trajectory is long enough: a segment takes 15 frames"):
        train_autoencoder(autoencode(data, tmp_path / "x", frames=15))
    with pytest.raises(InputError, match="no field 'pressure'; the set has 'vorticity', 'velocity'"):
        train_autoencoder(autoencode(data, tmp_path / "x", fields=("pressure",)))
    with pytest.raises(InputError, match=r"task.stride is 2, the auto-encoder was trained with 1"):
        train_generator(generating(data, tmp_path / "y", autoencoder, stride=2))
    with pytest.raises(InputError, match="no trajectory is long enough: a segment takes 15 frames"):
        made = meshops.load(str(autoencoder))
        evaluate_autoencoder(made.task, open_points("the_well", root=data, split="test"), frames=15)
    with pytest.raises(InputError, match="a generator needs an auto-encoder"):
        train_generator(GenerateRunConfig(out=str(tmp_path / "y")))
    with pytest.raises(InputError, match="no dataset of trajectories 'ahmed'"):
        open_points("ahmed", root=data, split="train")
    with pytest.raises(InputError, match="has no argument"):
        train_generator(
            GenerateRunConfig(
                out=str(tmp_path / "z"), model=GENERATOR | {"width": 3},
                data=DataConfig(name="the_well", root=str(data)),
                task=GenerateTaskConfig(start=str(autoencoder)),
            )
        )  # fmt: skip


def test_parameters_can_be_varied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--num", "4", "--resolution", "8", "--frames", "3", "--t-end", "0.1", "--train", "3", "--test", "1"]
    vary = ["--vary", "viscosity=1e-4:1e-2"]
    assert main(["generate", "vorticity", *few, *vary, "--out", str(tmp_path / "a")]) == 0
    data = open_points("the_well", root=tmp_path / "a", split="train")
    assert data.spec.parameters == ("viscosity",)
    found = [data.parameters(i)["viscosity"] for i in range(3)]
    assert len(set(found)) == 3 and all(1e-4 <= value <= 1e-2 for value in found)
    assert found == pytest.approx(
        [drawn({"viscosity": (1e-4, 1e-2)}, seed)["viscosity"] for seed in range(3)], rel=1e-6
    )
    spread = sorted(drawn({"nu": (1e-4, 1e-2)}, seed)["nu"] for seed in range(400))
    assert spread[200] == pytest.approx(1e-3, rel=0.3)  # evenly in the logarithm
    assert sorted(drawn({"f": (1.0, 3.0)}, seed)["f"] for seed in range(400))[200] == pytest.approx(2.0, rel=0.1)
    for wrong in ("viscosity=3", "viscosity=2:1", "viscosity=a:b"):
        assert main(["generate", "vorticity", *few, "--vary", wrong, "--out", str(tmp_path / "b")]) == 2
        assert "must be LOW:HIGH" in capsys.readouterr().err
    sides = ["--option", "t_end=5", "--vary", "extent=1:2", "--out", str(tmp_path / "b")]
    assert main(["generate", "gray_scott", *few[:6], "--train", "3", "--test", "1", *sides]) == 2
    assert "must agree in grid, box" in capsys.readouterr().err and not (tmp_path / "b").exists()
    assert main(["generate", "darcy", "--num", "1", *vary, "--out", str(tmp_path / "c")]) == 2
    assert "--vary is for grids" in capsys.readouterr().err
