import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from torch_geometric.data import Data

from meshops.cli.main import main
from meshops.datasets import Eagle, open_data
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.datasets.the_well.files import write_well
from meshops.errors import CheckpointError, InputError
from meshops.models import create_model
from meshops.solvers.registry import drawn, generate
from meshops.surrogate import load
from meshops.tasks import AutoencodeSettings, AutoencodeTask, Context, Draw, GenerateSettings, GenerateTask
from meshops.tasks.base import CaseSource
from meshops.tasks.carry import learn_carry
from meshops.tasks.forecast_scores import calibrate
from meshops.tasks.latents import encoded_segments
from meshops.training import DataConfig, RunConfig, TrainConfig, train

MODEL = {"name": "echoautoencoder", "cells": 8, "channels": 8, "latent_channels": 3,
         "layers": ["res", "space", "time", "res"]}  # fmt: skip
GENERATOR = {"name": "echogenerator", "channels": 16, "depth": 1, "num_heads": 2}


def opened(root: Path, split: str = "test") -> CaseSource:
    return open_data("the_well", root=root, split=split)


def points(root: Path, split: str = "test") -> PointTrajectories:
    return PointTrajectories(opened(root, split), ["vorticity"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [generate("vorticity", s, resolution=16, frames=12, t_end=2.0, viscosity=1e-3 * (1 + s)) for s in range(4)]
    root = tmp_path_factory.mktemp("well") / "vorticity"
    return write_well({"train": runs[:3], "valid": [], "test": runs[3:]}, root, name="vorticity")


def autoencode(data: Path, out: Path, *, steps: int = 4, train: dict[str, Any] | None = None, **task: Any) -> RunConfig:
    return RunConfig(
        kind="autoencode", out=str(out), model=MODEL, data=DataConfig(name="the_well", root=str(data)),
        task=AutoencodeSettings(**{"fields": ("vorticity",), "frames": 5, **task}),
        train=TrainConfig(steps=steps, batch_size=2, lr=1e-3, accelerator="cpu", **(train or {})),
    )  # fmt: skip


def generating(data: Path, out: Path, start: Path, *, steps: int = 4, **task: Any) -> RunConfig:
    return RunConfig(
        kind="generate", out=str(out), model=GENERATOR, data=DataConfig(name="the_well", root=str(data)),
        task=GenerateSettings(**{"start": str(start), "samples": 3, **task}),
        train=TrainConfig(steps=steps, batch_size=4, lr=1e-3, accelerator="cpu"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def autoencoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "autoencoder"
    train(autoencode(data, out, train={"validation": 1}))
    return out / "model.ckpt"


def loaded(path: Path) -> AutoencodeTask:
    task = load(path).task
    assert isinstance(task, AutoencodeTask)
    return task


def test_autoencoder_is_judged_by_part_of_the_points(autoencoder: Path, data: Path) -> None:
    metrics = json.loads((autoencoder.parent / "metrics.json").read_text())
    assert set(metrics["mean"]) == {"rel_l2@1.0", "rel_l2@0.5", "rel_l2@0.2"}
    assert metrics["details"]["compression"] == pytest.approx(256 * 5 / (3 * 3 * 16), abs=0.01)
    assert set(metrics["details"]["mean_square"]) == set(metrics["mean"])
    made = loaded(autoencoder)
    assert made.compression["latent"] == [3, 3, 4, 4] and made.cases == 2
    again = made.evaluate(opened(data))
    assert (again.mean, again.cases) == (metrics["mean"], metrics["cases"])
    assert "100 %" in again.table()
    windows = [points(data).window(0, start, 5) for start in (0, 7)]
    slow = torch.stack(
        [(made.reconstruct(w) - w.values).norm(dim=(0, 2)) / w.values.norm(dim=(0, 2)) for w in windows]
    )  # fmt: skip
    assert again.curves["relative_l2"] == pytest.approx(slow.mean(0).tolist(), rel=1e-4)
    other = made.evaluate(opened(data), parts=(0.5,), cases=1)
    assert other.mean == {"rel_l2@0.5": metrics["mean"]["rel_l2@0.5"]}
    with pytest.raises(InputError, match="parts must be parts of the points"):
        made.evaluate(opened(data), parts=(0.0,))


def test_a_field_that_is_zero_has_no_relative_error(autoencoder: Path, data: Path) -> None:
    made, test = loaded(autoencoder), opened(data)
    plain = test.window  # type: ignore[union-attr]
    test.window = lambda *place: 0 * plain(*place)  # type: ignore[union-attr, method-assign, assignment]
    report = made.evaluate(test)
    assert set(report.mean.values()) == {None} and "–" in report.table()
    samples = AutoencodeTask.samples(test, AutoencodeSettings(fields=("vorticity",), frames=5))
    assert made.judge(samples, 0) == {"error": 0.0}


def test_resumed_runs_are_the_same_bits(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(autoencode(data, tmp_path / "a", steps=4, train={"val_every": 2}))
    config = autoencode(data, tmp_path / "b", steps=4, train={"val_every": 2})
    original, seen = AutoencodeTask.loss, []

    def interrupted(self: AutoencodeTask, batch: Any) -> Any:
        seen.append(1)
        if len(seen) > 3:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(AutoencodeTask, "loss", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(config)
    monkeypatch.setattr(AutoencodeTask, "loss", original)
    resumed = train(config, resume=True)
    for name, value in whole.surrogate.task.state_dict().items():
        assert torch.equal(value, resumed.surrogate.task.state_dict()[name]), name


def test_refining_leaves_time_alone(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    result = train(autoencode(data, tmp_path / "r", start=str(autoencoder), refine=True, steps=3))
    before, after = loaded(autoencoder).model, result.surrogate.task.model
    for a, b in zip(before.tower.temporal_parameters(), after.tower.temporal_parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(before.lift.weight, after.lift.weight)
    errors = result.report.details["trajectory_error"]
    assert isinstance(errors, dict) and set(errors) == {"before", "after"}
    assert errors["before"] == pytest.approx(trajectory_error(loaded(autoencoder), points(data, "train")))
    assert errors["after"] == pytest.approx(trajectory_error(result.surrogate.task, points(data, "train")))
    assert all(p.requires_grad for p in after.parameters())


def trajectory_error(task: Any, data: PointTrajectories) -> float:
    """Mean over the first and last window of every trajectory."""
    places = [(i, start) for i in range(len(data)) for start in (0, data.lengths[i] - 5)]
    return sum(task.error(data.window(*place, 5)) for place in places) / len(places)


def test_short_examples_teach_long_trajectories(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    plain = AutoencodeTask.loss
    monkeypatch.setattr(AutoencodeTask, "loss", lambda task, batch: (seen.append(batch.frames), plain(task, batch))[1])
    made = train(autoencode(data, tmp_path / "a", steps=2, frames=9, learn_frames=3))
    assert seen == [3, 3] and made.surrogate.task.spec.frames == 9
    for wrong, words in ((11, r"must be in 1..9 \(task.frames\).*got 11"), (4, r"1 \+ 2 m frames.*got 4")):
        with pytest.raises(InputError, match=words):
            train(autoencode(data, tmp_path / "b", frames=9, learn_frames=wrong))


def test_refining_can_draw_every_frame_and_window(data: Path, autoencoder: Path) -> None:
    settings, start = AutoencodeSettings(fields=("vorticity",), frames=5, refine=True), loaded(autoencoder)
    samples = AutoencodeTask.samples(opened(data, "train"), settings, Context(start=start))
    assert samples.begun is not None and samples.begun.model is start.model

    def draw(number: int) -> Any:
        return start.batch(samples, [Draw(number, 0)])

    found = points(data, "train")
    singles = {float(p.values[0, 0, 0]) for n in range(len(samples)) if (p := draw(n)).frames == 1}
    assert singles == {float(found.window(i, t, 1).values[0, 0, 0]) for i in range(3) for t in range(12)}
    windows = {float(p.values[0, 0, 0]) for n in range(len(samples)) if (p := draw(n)).frames == 5}
    assert windows == {float(found.window(i, t, 1).values[0, 0, 0]) for i in range(3) for t in range(8)}
    assert sum(draw(n).frames == 5 for n in range(len(samples))) == len(samples) // 2


def test_a_list_of_graphs_is_compressed() -> None:
    torch.manual_seed(0)
    edges = torch.randint(0, 30, (2, 60))
    graphs = [Data(pos=torch.rand(30, 2), y=torch.randn(30, 6, 2), edge_index=edges) for _ in range(3)]
    samples = AutoencodeTask.samples(graphs, AutoencodeSettings(frames=5), Context(held_out=1))
    assert (len(samples), samples.cases, samples.describe()) == (4, 2, "3 trajectories, fields y")
    arguments = samples.spec.model_arguments() | {key: value for key, value in MODEL.items() if key != "name"}
    task = AutoencodeTask.fit(create_model("echoautoencoder", **arguments), samples, samples.settings)
    assert float(task.loss(task.batch(samples, [Draw(0, 0), Draw(3, 0)]))["loss"]) > 0
    assert 0 < task.judge(samples, samples.held_out[0])["error"] < 10
    assert set(task.evaluate(graphs, cases=2).cases) == {"0", "1"}


def test_examples_are_moved_by_the_seed_of_their_draw(data: Path, tmp_path: Path) -> None:
    settings = AutoencodeSettings(fields=("vorticity",), frames=5, augment=("shift", "turn"), relative_to="frame")
    samples = AutoencodeTask.samples(opened(data, "train"), settings)
    arguments = samples.spec.model_arguments() | {key: value for key, value in MODEL.items() if key != "name"}
    task = AutoencodeTask.fit(create_model("echoautoencoder", **arguments, subcells=2), samples, settings)
    a, again, b = (task.batch(samples, [Draw(2, seed)]) for seed in (5, 5, 6))
    assert torch.equal(a.pos, again.pos) and not torch.equal(a.pos, b.pos)
    torch.testing.assert_close(a.values, b.values)  # a scalar goes along
    task.loss(a)["loss"].backward()
    assert samples.spec.relative_to == "frame"
    runs = {name: train(autoencode(data, tmp_path / name, steps=2, augment=("shift",))) for name in ("a", "b")}
    states = [run.surrogate.task.state_dict() for run in runs.values()]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_data_do_not_allow_is_refused_before_training() -> None:
    edges = torch.randint(0, 30, (2, 60))
    graphs = [Data(pos=torch.rand(30, 2), y=torch.randn(30, 6, 2), edge_index=edges) for _ in range(3)]
    with pytest.raises(InputError, match=r"augment 'shift' moves .* none of these data is periodic"):
        AutoencodeTask.samples(graphs, AutoencodeSettings(frames=5, augment=("shift",)))
    samples = AutoencodeTask.samples(graphs, AutoencodeSettings(frames=5, learn_frames=1))
    arguments = samples.spec.model_arguments() | {key: value for key, value in MODEL.items() if key != "name"}
    with pytest.raises(InputError, match=r"examples of 1 frames are shorter .* at least 3, or layers without 'time'"):
        AutoencodeTask.fit(create_model("echoautoencoder", **arguments), samples, samples.settings)
    with pytest.raises(InputError, match="no trajectory is long enough: a segment takes 9 frames"):
        AutoencodeTask.samples(graphs, AutoencodeSettings(frames=9))
    with pytest.raises(InputError, match=r"task\.relative_to must be window or frame, got 'frames'"):
        AutoencodeSettings(relative_to="frames")  # type: ignore[arg-type]


def test_two_sets_of_points_read_a_part_of_every_graph(data: Path) -> None:
    settings = AutoencodeSettings(fields=("vorticity",), frames=5, most_points=50)
    samples = AutoencodeTask.samples(opened(data, "train"), settings)
    first, later = samples.window(1, 0, 5), samples.window(1, 3, 5)
    assert len(first.pos) == 50 and torch.equal(first.pos, later.pos)  # the same of a trajectory in every window
    assert not torch.equal(first.pos, samples.window(2, 0, 5).pos)


def test_generator_forecasts_and_draws(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    result = train(generating(data, tmp_path / "g", autoencoder))
    report, task = result.report, result.surrogate.task
    details = report.details
    assert isinstance(task, GenerateTask) and task.spec.parameters == ("viscosity",)
    assert (details["steps"], details["samples"], details["given"], details["stride"]) == (7, 3, 3, 1)
    for key in ("relative_l2", "relative_l2_one", "relative_l2_kept", "crps", "spread_over_skill"):
        assert report.numbers()[key] > 0
    assert report.baselines["last given frame kept"] == {"relative_l2": report.mean["relative_l2_kept"]}
    # the share of the auto-encoder, by frame: the truth through two segments of five, the second ending with it
    whole, encoder = points(data).window(0, 0, 10), task.autoencoder
    first, second = (encoder.reconstruct(whole.crop(start, 5)) for start in (0, 5))
    wrong = (torch.cat([first, second], 1) - whole.values).norm(dim=(0, 2)) / whole.values.norm(dim=(0, 2))
    assert report.curves["relative_l2_decoded"] == pytest.approx(wrong[3:].tolist(), rel=1e-4)
    eight = whole.crop(0, 8)
    last = encoder.reconstruct(whole.crop(3, 5))[:, 2:]
    torch.testing.assert_close(encoder.through(eight), torch.cat([first, last], 1))
    walk = eight.by_frame()
    torch.testing.assert_close(
        walk.series(encoder.through(walk)), eight.series(encoder.through(eight)), rtol=1e-4, atol=1e-5
    )
    assert len(details["bands_sample"]) == len(details["bands_mean"]) == 3  # type: ignore[arg-type]
    assert len(report.curves["crps"]) == 7 and sum(details["rank_histogram"]) == pytest.approx(1)  # type: ignore[arg-type]
    assert report.cases["test/vorticity/0"] == pytest.approx(report.mean)
    for name in ("forecast.html", "errors.png", "latents.pt", "model.ckpt"):
        assert (tmp_path / "g" / name).stat().st_size > 1000
    assert [path.name for path in report.pictures] == ["forecast.html", "errors.png"]
    again = load(tmp_path / "g" / "model.ckpt").task
    assert isinstance(again, GenerateTask)
    window = points(data).window(0, 0, 3)
    torch.testing.assert_close(
        again.forecast(window, 6, samples=2, parameters={"viscosity": 1e-3}),
        task.forecast(window, 6, samples=2, parameters={"viscosity": 1e-3}),
    )
    repeated = again.evaluate(opened(data))
    assert (repeated.mean, repeated.cases, repeated.curves) == (report.mean, report.cases, report.curves)
    assert repeated.pictures == []  # without a folder nothing is drawn
    other = again.evaluate(opened(data), steps=2, samples=2, given=1, stride=2)
    assert (other.details["steps"], other.details["samples"], other.details["given"]) == (2, 2, 1)
    for wrong, words in (
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"given": 2}, r"given frames must be one of 1, 3 \(1 \+ 2 j\), got 2"),
        ({"passes": 2}, "cannot be asked for 'passes'"),
    ):
        with pytest.raises(InputError, match=words):
            again.evaluate(opened(data), **wrong)


def test_steps_train_resume_and_forecast(data: Path, tmp_path: Path) -> None:
    """Components, steps in the latent, weights of the decoder, what is given back: through the run, twice the same."""
    straight = dict(MODEL, subcells=2)
    first = replace(autoencode(data, tmp_path / "a", steps=3, relative_to="frame"), model=straight)
    start = train(first).folder / "model.ckpt"
    folded = dict(GENERATOR, fold_time=True, local=True, whole_periods=True, absolute=False)
    config = replace(
        generating(data, tmp_path / "g", start, history=1, weigh=True, carry=True, jitter=0.1), model=folded
    )  # fmt: skip
    result = train(config)
    task = load(tmp_path / "g" / "model.ckpt").task
    assert isinstance(task, GenerateTask) and task.carry is not None and task.carry.shape == (2, 1)
    assert float(task.weight.mean()) == pytest.approx(1, rel=1e-4) and not bool((task.weight == 1).all())
    again = task.evaluate(opened(data))
    assert (again.mean, again.curves) == (result.report.mean, result.report.curves)
    slow = learn_carry(loaded(start), points(data, "train"), range(3), given=3)
    torch.testing.assert_close(task.carry, slow)
    second = train(replace(config, out=str(tmp_path / "again")))
    for name, value in result.surrogate.task.state_dict().items():
        assert torch.equal(value, second.surrogate.task.state_dict()[name]), name


def test_a_forecast_that_diverges_is_said_and_ends_nothing(
    data: Path, autoencoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = GenerateTask.forecast
    monkeypatch.setattr(GenerateTask, "forecast", lambda *args, **options: plain(*args, **options) * float("inf"))
    config = generating(data, tmp_path / "g", autoencoder, steps=1)
    result = train(replace(config, train=replace(config.train, validation=1)))
    assert result.surrogate.task.missing_variance is None
    assert set(result.report.mean.values()) == {None} and not result.report.cases
    assert "not finite and in no mean: test/vorticity/0" in result.report.table()
    assert json.loads((tmp_path / "g" / "metrics.json").read_text())["mean"]["crps"] is None


def test_held_out_trajectories_calibrate_the_spread(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    config = generating(data, tmp_path / "g", autoencoder)
    made = train(replace(config, train=replace(config.train, validation=1)))
    assert 0 < made.report.numbers()["coverage_90"] <= 1 and made.report.numbers()["expected_over_skill"] > 0
    task = load(tmp_path / "g" / "model.ckpt").task
    assert isinstance(task, GenerateTask)
    assert task.missing_variance is not None and task.missing_variance.shape == (7, 1)
    assert "expected error" in (tmp_path / "g" / "forecast.html").read_text()
    # on the trajectory it was calibrated with, the expected error is the error
    test = points(data)
    assert calibrate(task, test, [0], samples=4) == 7
    found = task.evaluate(opened(data), samples=4)
    assert found.mean["expected_over_skill"] == pytest.approx(1, abs=1e-4)
    assert found.curves["expected"] == pytest.approx(found.curves["skill"], rel=1e-4)
    assert task.calibration == {"trajectories": 1, "given": 3, "frames": 7, "samples": 4, "stride": 1}
    with pytest.raises(InputError, match="no trajectory to calibrate with is longer than the 3 frames"):
        calibrate(task, test, [])
    with pytest.raises(InputError, match="two samples or more, got samples = 1"):
        calibrate(task, test, [0], samples=1)
    # over several of unlike size too, since variances are averaged, not their roots
    calibrate(task, points(data, "train"), range(3), samples=4)
    found = task.evaluate(opened(data, "train"), samples=4)
    assert found.mean["expected_over_skill"] == pytest.approx(1, abs=1e-4)


def test_autoencoders_that_saw_what_was_held_out_are_told(data: Path, tmp_path: Path) -> None:
    start = train(autoencode(data, tmp_path / "a", steps=1)).folder / "model.ckpt"
    config, words = generating(data, tmp_path / "g", start, steps=1, samples=1), io.StringIO()
    config = replace(config, train=replace(config.train, validation=1))
    made = train(config, console=Console(file=words, width=200))
    task = made.surrogate.task
    assert isinstance(task, GenerateTask)
    assert task.calibration["samples"] == 2  # one sample has no spread; the run is not lost for it
    assert "auto-encoder was trained on held-out trajectories too" in words.getvalue()


def test_latents_of_another_autoencoder_are_refused(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    other = train(autoencode(data, tmp_path / "other", steps=1))
    path = tmp_path / "g" / "latents.pt"
    tasks = [loaded(p) for p in (autoencoder, other.folder / "model.ckpt")]
    found = points(data, "train")
    kept = encoded_segments(tasks[0], found, range(3), path, every=2)
    assert torch.equal(encoded_segments(tasks[0], found, range(3), path, every=2)["latents"], kept["latents"])
    assert torch.equal(encoded_segments(tasks[0], found, range(3), None, every=2)["runs"], kept["runs"])
    with pytest.raises(CheckpointError, match=r"latents of another auto-encoder.*remove it to make them anew"):
        encoded_segments(tasks[1], found, range(3), path, every=2)
    with pytest.raises(CheckpointError, match="of other segments"):
        encoded_segments(tasks[0], found, range(3), path, every=1)
    louder = points(data, "train")
    window = louder.window
    louder.window = lambda *a: replace(window(*a), values=5 * window(*a).values)  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match="of other segments"):
        encoded_segments(tasks[0], louder, range(3), path, every=2)
    path.write_bytes(b"no cache")
    with pytest.raises(CheckpointError, match="not a readable cache"):
        encoded_segments(tasks[0], found, range(3), path, every=2)
    train(generating(data, tmp_path / "g", other.folder / "model.ckpt", steps=1))  # a new run encodes anew


def test_moving_meshes(tmp_path: Path) -> None:
    root = Eagle.standin(tmp_path / "eagle")
    shared: dict[str, Any] = {
        "data": DataConfig(name="eagle", root=str(root)),
        "train": TrainConfig(steps=1, batch_size=2, accelerator="cpu"),
    }
    train(
        RunConfig(
            kind="autoencode", out=str(tmp_path / "a"), model=MODEL, task=AutoencodeSettings(frames=5), **shared
        )
    )  # fmt: skip
    start = str(tmp_path / "a" / "model.ckpt")
    made = train(
        RunConfig(
            kind="generate", out=str(tmp_path / "g"), model=GENERATOR, task=GenerateSettings(start=start, samples=2),
            **shared,
        )
    )  # fmt: skip
    test = open_data("eagle", root=root, split="test")
    assert made.report.numbers()["crps"] > 0
    # two segments of five frames: beyond the first
    assert made.report.details["steps"] == min(10, max(test.lengths)) - 3  # type: ignore[union-attr]


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
    assert load(last).task.made.arguments["depth"] == 2
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
    asked = ["--ask", "samples=2", "--pictures", str(tmp_path / "p")]
    assert main(["evaluate", str(last), "--data", str(data), *asked]) == 0
    assert "CRPS" in capsys.readouterr().out and (tmp_path / "p" / "forecast.html").exists()
    first = str(tmp_path / "out" / "1_small_first" / "model.ckpt")
    assert main(["evaluate", first, "--data", str(data)]) == 0
    assert "100 %" in capsys.readouterr().out
    (tmp_path / "x.stl").write_text("solid")
    assert main(["predict", first, str(tmp_path / "x.stl")]) == 2
    assert "works on trajectories" in capsys.readouterr().err


def test_error_messages(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refining needs an auto-encoder"):
        train(autoencode(data, tmp_path / "1", refine=True))
    with pytest.raises(InputError, match=r"1 \+ 2 m frames.*got 6; crop it to 5 or give 7"):
        train(autoencode(data, tmp_path / "2", frames=6))
    with pytest.raises(InputError, match="no trajectory is long enough: a segment takes 15 frames"):
        train(autoencode(data, tmp_path / "3", frames=15))
    with pytest.raises(InputError, match="no field 'pressure'; the set has 'vorticity', 'velocity'"):
        train(autoencode(data, tmp_path / "4", fields=("pressure",)))
    with pytest.raises(InputError, match=r"task.fields are 'velocity', the auto-encoder was trained with 'vorticity'"):
        train(autoencode(data, tmp_path / "5", fields=("velocity",), start=str(autoencoder)))
    with pytest.raises(InputError, match=r"task.stride is 2, the auto-encoder was trained with 1"):
        train(generating(data, tmp_path / "6", autoencoder, stride=2))
    with pytest.raises(InputError, match=r"given frames must be one of 1, 3 \(1 \+ 2 j\), got 2"):
        train(generating(data, tmp_path / "7", autoencoder, given=2))
    with pytest.raises(InputError, match="no trajectory is long enough: a segment takes 15 frames"):
        made = loaded(autoencoder)
        made.spec = replace(made.spec, frames=15)
        made.evaluate(opened(data))
    with pytest.raises(InputError, match="a generator needs an auto-encoder"):
        train(replace(generating(data, tmp_path / "8", autoencoder), task=GenerateSettings()))
    last = train(generating(data, tmp_path / "g", autoencoder, steps=1)).folder / "model.ckpt"
    for config in (autoencode(data, tmp_path / "9", start=str(last)), generating(data, tmp_path / "10", last)):
        with pytest.raises(InputError, match="holds a surrogate of kind 'generate'; give one of kind 'auto"):
            train(config)
    with pytest.raises(InputError, match=r"y must be \[n, t, c\] for the"):
        train(autoencode(data, tmp_path / "11"), data=open_data("ahmed_mini"))
    with pytest.raises(InputError, match="has no argument"):
        train(replace(generating(data, tmp_path / "12", autoencoder), model=GENERATOR | {"width": 3}))
    with pytest.raises(InputError, match="takes autoencoder, and these data give latents"):
        train(replace(generating(data, tmp_path / "13", autoencoder), model=MODEL))


def test_parameters_can_be_varied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--num", "4", "--resolution", "8", "--frames", "3", "--t-end", "0.1", "--train", "3", "--test", "1"]
    vary = ["--vary", "viscosity=1e-4:1e-2"]
    assert main(["generate", "vorticity", *few, *vary, "--out", str(tmp_path / "a")]) == 0
    data = PointTrajectories(opened(tmp_path / "a", "train"))
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
