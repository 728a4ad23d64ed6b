"""The folder of a run: never overwritten unasked, one run at a time, whole whatever dies, resumed only as it was."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch_geometric.data import Data

import meshops
from meshops.errors import CheckpointError, InputError, Stopped
from meshops.tasks import FieldsTask, Report
from meshops.training import RunConfig, TrainConfig, train
from meshops.training.folder import FREE, open_folder
from meshops.training.module import TaskModule
from meshops.training.run import RunResult


def graphs(count: int = 3) -> list[Data]:
    g = torch.Generator().manual_seed(count)
    return [Data(pos=(pos := torch.rand(20, 2, generator=g)), y=pos.sum(1, keepdim=True)) for _ in range(count)]


def config(out: Path, **changes: Any) -> RunConfig:
    settings = {"steps": 6, "batch_size": 1, "val_every": 2, "threads": 1, "accelerator": "cpu"} | changes
    model = {"name": "mspt", "channels": 8, "depth": 1, "num_heads": 1, "num_patches": 2, "dropout": 0.1}
    return RunConfig(out=str(out), model=model, train=TrainConfig(**settings))


def run(settings: RunConfig, **how: Any) -> RunResult:
    return train(settings, data=graphs(), test=graphs(2), **how)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_finished_run_is_not_overwritten_unasked(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(config(out))
    (out / "checkpoints" / "old.txt").write_text("old")
    before = content(out)
    with pytest.raises(InputError, match=r"holds a run already \('model.ckpt'.*--resume.*--overwrite.*--out"):
        run(config(out, seed=1))
    assert content(out) == before
    run(config(out, seed=1), overwrite=True)
    after = content(out)
    assert after["model.ckpt"] != before["model.ckpt"] and "checkpoints/old.txt" not in after
    assert yaml.safe_load((out / "config.yaml").read_text())["train"]["seed"] == 1


def test_what_is_not_of_a_run_survives_overwriting(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(config(out))
    (out / "mine.txt").write_text("mine")
    run(config(out), overwrite=True)
    assert (out / "mine.txt").read_text() == "mine"


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = run(config(out))
    before = content(out)
    again = run(config(out), resume=True)
    assert content(out) == before
    assert again.report.mean == first.report.mean and again.report.cases == first.report.cases
    assert again.report.table().splitlines()[0] == first.report.title


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": {"lr": 0.1}}, r"train\.lr changed from 0\.002 to 0\.1"),
        ({"train": {"validation": 1}}, r"train\.validation changed from 0 to 1"),
        ({"task": {"nodes": 7}}, r"task\.nodes changed from None to 7"),
        ({"data": {"train": "all"}}, r"data\.train changed from train to all"),
        ({"data": {"options": {"protocol": "A"}}}, r"data\.options\.protocol changed from None to A"),
        ({"model": {"dropout": None}}, r"model\.dropout changed from 0\.1 to None"),
        ({"model": {"depth": 2}}, r"model\.depth changed from 1 to 2"),
    ],
    ids=str,
)
def test_a_resumed_run_has_the_settings_it_had(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Also those that are left out: their default is compared."""
    out = tmp_path / "run"
    settings = config(out)
    run(settings)
    for part, values in changes.items():
        if part == "model":
            model = {key: value for key, value in {**settings.model, **values}.items() if value is not None}
            settings = replace(settings, model=model)
        else:
            settings = replace(settings, **{part: replace(getattr(settings, part), **values)})
    before = content(out)
    with pytest.raises(InputError, match=words):
        run(settings, resume=True)
    assert content(out) == before


def test_a_setting_that_was_given_and_is_left_out_is_noticed(tmp_path: Path) -> None:
    run(config(tmp_path / "run", lr=0.01))
    with pytest.raises(InputError, match=r"train\.lr changed from 0\.01 to 0\.002"):
        run(config(tmp_path / "run"), resume=True)


def test_hardware_and_the_name_of_the_folder_may_change(tmp_path: Path) -> None:
    assert {"out", "data.store", "train.accelerator", "train.devices", "train.threads"} == FREE
    run(config(tmp_path / "run"))
    (tmp_path / "run").rename(tmp_path / "moved")
    run(config(tmp_path / "moved", threads=0), resume=True)


@pytest.mark.parametrize("damage", [b"", b"train: {steps: [", b"\xff\xfe\x00", b"- 1\n- 2\n", b"just text"], ids=repr)
def test_damaged_settings_are_said_and_kept(damage: bytes, tmp_path: Path) -> None:
    run(config(tmp_path / "run"))
    (tmp_path / "run" / "config.yaml").write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"config\.yaml: missing or damaged, .* start anew in another --out"):
        run(config(tmp_path / "run"), resume=True)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == damage


def test_missing_settings_are_said(tmp_path: Path) -> None:
    run(config(tmp_path / "run"))
    (tmp_path / "run" / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"config\.yaml: missing or damaged"):
        run(config(tmp_path / "run"), resume=True)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    for how in ({}, {"overwrite": True}, {"resume": True}):
        out.mkdir(exist_ok=True)
        with (out / "run.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(InputError, match="another run is writing there; wait for it, or choose another --out"):
                run(config(out), **how)
    run(config(out))  # the lock ends with the run that held it
    run(config(out), overwrite=True)


def test_a_run_holds_its_folder_while_it_goes_on(tmp_path: Path) -> None:
    with open_folder(config(tmp_path / "run")) as folder, pytest.raises(InputError, match="another run is writing"):
        run(config(folder), overwrite=True)


def test_a_checkpoint_that_dies_in_the_middle_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the second checkpoint is written, then the disk is full: the first is whole, the run goes on from it."""
    whole, half = tmp_path / "whole", tmp_path / "half"
    run(config(whole))
    original, written = torch.save, []

    def dies(content: Any, path: Any) -> None:
        original(content, path)
        written.append(path)
        if len(written) == 4:  # best and last at step 2, then at 4
            Path(path).write_bytes(Path(path).read_bytes()[:1000])
            raise OSError(28, "No space left on device")

    full = r"cannot be written \(No space left on device\): the disk is full"
    with monkeypatch.context() as patch, pytest.raises(InputError, match=full):
        patch.setattr(torch, "save", dies)
        run(config(half))
    files = {path.name for path in (half / "checkpoints").iterdir()}
    assert files == {"best.ckpt", "last.ckpt"}, "a half-written file was left"
    state = torch.load(half / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 2
    run(config(half), resume=True)
    assert same(whole, half)


def test_a_checkpoint_that_cannot_be_read_again_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, written = torch.save, []

    def cuts(content: Any, path: Any) -> None:
        original(content, path)
        written.append(path)
        if len(written) == 4:
            Path(path).write_bytes(Path(path).read_bytes()[:1000])

    with monkeypatch.context() as patch, pytest.raises(Exception):  # noqa: B017 (torch's own)
        patch.setattr(torch, "save", cuts)
        run(config(tmp_path / "run"))
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut"])
def test_a_damaged_checkpoint_is_one_sentence(damage: bytes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(config(out))
    (out / "metrics.json").unlink()
    (out / "checkpoints" / "last.ckpt").write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: not a readable checkpoint .* start the run anew"):
        run(config(out), resume=True)


def test_the_checkpoint_is_written_before_it_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"

    def raises(self: FieldsTask, *_: Any, **__: Any) -> Report:
        raise MemoryError("judging needs more than there is")

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(FieldsTask, "evaluate", raises)
        run(config(out))
    assert not (out / "metrics.json").exists()
    kept = meshops.load(out / "model.ckpt").evaluate(graphs(2))
    with pytest.raises(InputError, match="holds a run already"):
        run(config(out))
    resumed = run(config(out), resume=True)
    assert resumed.report.mean == kept.mean == json.loads((out / "metrics.json").read_text())["mean"]
    run(config(tmp_path / "whole"))
    assert same(out, tmp_path / "whole")


def test_a_test_set_that_cannot_be_used_does_not_undo_the_training(tmp_path: Path) -> None:
    bad = [Data(pos=torch.rand(5, 3), y=torch.rand(5, 1))]
    with pytest.raises(InputError, match="3-D, the model was made for 2-D"):
        train(config(tmp_path / "run"), data=graphs(), test=bad)
    assert meshops.load(tmp_path / "run" / "model.ckpt").evaluate(graphs(2)).mean["y_rel_l2"] is not None
    assert run(config(tmp_path / "run"), resume=True).report.mean


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"(the loss is (nan|inf)|gradients are not finite) at step \d .*: lower train"
    ):
        run(config(tmp_path / "run", lr=1e30, warmup=0.0))
    assert not (tmp_path / "run" / "model.ckpt").exists()


def test_gradients_that_are_not_finite_are_not_learnt_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of the last step is fine, its gradient is not."""
    original = FieldsTask.loss

    def steep(self: FieldsTask, batch: Any) -> dict[str, torch.Tensor]:
        weight = next(self.model.parameters())
        return {"loss": original(self, batch)["loss"] + (0 * weight.sum()).sqrt()}

    monkeypatch.setattr(FieldsTask, "loss", steep)
    with pytest.raises(InputError, match=r"gradients are not finite at step 0 \(cases"):
        run(config(tmp_path / "run", steps=1, val_every=1))
    assert not (tmp_path / "run" / "model.ckpt").exists()


def test_the_first_rank_alone_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with open_folder(config(tmp_path / "run")) as folder, open_folder(config(tmp_path / "run")):
        assert not (folder / "config.yaml").exists()


def same(first: Path, second: Path) -> bool:
    """The same weights to the bit, and the same log."""
    a, b = (torch.load(folder / "model.ckpt", weights_only=True)["weights"] for folder in (first, second))
    assert (first / "log.jsonl").read_text() == (second / "log.jsonl").read_text()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("step", [6, 7])
def test_a_resumed_run_knows_the_best_validation(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best is that of the sixth step, after which, or after the next, a signal comes."""
    settings = {"steps": 8, "validation": 1, "lr": 0.5, "seed": 6}
    whole = run(config(tmp_path / "whole", **settings))
    errors = {line["step"]: line["val/error"] for line in lines(tmp_path / "whole") if "val/error" in line}
    assert min(errors, key=errors.__getitem__) == 6
    original = TaskModule.training_step

    def told(self: TaskModule, batch: Any, number: int) -> torch.Tensor:
        if self.global_step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, number)

    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch, pytest.raises(Stopped, match=f"stopped after step {step};"):
        patch.setattr(TaskModule, "training_step", told)
        run(config(tmp_path / "half", **settings))
    assert signal.getsignal(signal.SIGTERM) is handler
    resumed = run(config(tmp_path / "half", **settings), resume=True)
    assert same(tmp_path / "whole", tmp_path / "half") and resumed.report.mean == whole.report.mean


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
