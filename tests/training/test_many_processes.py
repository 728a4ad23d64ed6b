"""Several processes of one run learn, judge and resume as one process does, and refuse what is not one run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

import meshops
from meshops import ranks
from meshops.data.mesh_graph import JUDGED, UNKNOWN
from meshops.errors import InputError, Stopped
from meshops.tasks import FieldsTask
from meshops.training import RunConfig, TrainConfig, train
from meshops.training.module import TaskModule
from tests.processes import together
from tests.training.test_every_kind import CASES, Place

NO_GRADIENT = "attention.key.bias"  # softmax does not see it: its gradient is rounding, of which Adam makes steps


def graphs(count: int) -> list[Data]:
    """Unlike numbers of nodes; the first field is unknown at some nodes, on some graphs at all but one."""
    g = torch.Generator().manual_seed(count)
    found = []
    for i in range(count):
        pos = torch.rand(20 + 7 * i, 2, generator=g)
        use = torch.ones(len(pos), 2, dtype=torch.uint8)
        use[: 5 * (i % 3), 0] = UNKNOWN
        if i % 4 == 1:
            use[:-1, 0] = UNKNOWN
            use[-1, 0] = JUDGED
        y = torch.stack([pos.sum(1).sin() + 0.1 * i, pos[:, 0] * pos[:, 1]], 1)
        found.append(Data(pos=pos, y=y, y_names=("a", "b"), y_sizes=(1, 1), y_units=("", ""), y_use=use))
    return found


def config(out: Path, *, dropout: float = 0.0, **changes: Any) -> RunConfig:
    settings = {
        "steps": 8,
        "batch_size": 2,
        "val_every": 4,
        "threads": 1,
        "accelerator": "cpu",
        "validation": 3,
        "lr": 5e-5,
    }  # Adam makes steps of the last digits of gradients that are nearly zero
    model = {"name": "mspt", "channels": 16, "depth": 2, "num_heads": 2, "num_patches": 4, "dropout": dropout}
    return RunConfig(out=str(out), model=model, train=TrainConfig(**settings | changes))


def run(settings: RunConfig, **how: Any) -> Any:
    return train(settings, data=graphs(12), test=graphs(3), **how)


def weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(folder / "model.ckpt", weights_only=True)["weights"]
    return found


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


# ---- what each of two processes does


def primitives() -> None:
    me = ranks.rank()
    assert ranks.count() == 2 and ranks.is_first() == (me == 0)
    assert ranks.gathered(me * 10) == [0, 10] and ranks.by_first(lambda: me) == 0
    done: list[int] = []
    assert ranks.shared_out(range(5), lambda i: done.append(i) or i * i) == [0, 1, 4, 9, 16]
    assert done == ([0, 2, 4] if me == 0 else [1, 3])
    assert ranks.any_of(me == 1) and not ranks.any_of(False) and ranks.largest(me) == 1
    for way in (ranks.by_first, ranks.by_all, ranks.in_turn):

        def fails(way: Any = way) -> None:
            if way is ranks.by_first or me == 1:
                raise InputError("mine alone")

        with pytest.raises(InputError, match="mine alone"):
            way(fails)
    values = torch.arange(5.0)[2 * me : 2 + 3 * me]
    with ranks.averaging():
        shares = [ranks.mean(values), ranks.mean(values[: 2 * me]), torch.tensor(ranks.weight(len(values)))]
    means = [sum(float(there[i]) for there in ranks.gathered(shares)) / 2 for i in range(3)]
    assert means == pytest.approx([2.0, 2.5, 1.0])
    with pytest.raises(InputError, match="do not see the same colour: the checksum of rank 1 of 2 differs"):
        ranks.check_same({"size": "1", "colour": str(me)})


def trainings(folder: Path) -> None:
    run(config(folder / "auto"))
    run(config(folder / "fsdp", strategy="fsdp"))


def by_patches(folder: Path) -> None:
    """Every step one mesh on both processes; stopped between two cases that are judged, and gone on."""
    run(config(folder / "patches", strategy="patches", batch_size=1))
    with pytest.raises(InputError, match="Transolver cannot be spread over processes by patches"):
        other = replace(config(folder / "other", strategy="patches", batch_size=1), model={"name": "transolver"})
        run(other)
    with pytest.raises(InputError, match="1 patches cannot be shared out among 2 processes"):
        few = config(folder / "few", strategy="patches", batch_size=1)
        run(replace(few, model={**few.model, "num_patches": 1}))


def resumed(folder: Path) -> None:
    """Stopped by a signal to one process: at a step that is judged (4), and at one between (6)."""
    for strategy in ("auto", "fsdp"):
        run(config(folder / f"whole {strategy}", dropout=0.1, strategy=strategy))
    for strategy, step in (("auto", 3), ("fsdp", 5)):
        settings = config(folder / f"stopped {strategy}", dropout=0.1, strategy=strategy)
        original = TaskModule.training_step

        def told(self: TaskModule, batch: Any, number: int, step: int = step, original: Any = original) -> Tensor:
            if self.global_step == step and ranks.rank() == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, batch, number)

        TaskModule.training_step = told  # type: ignore[method-assign]
        try:
            with pytest.raises(Stopped, match=f"stopped after step {step + 1};"):
                run(settings)
        finally:
            TaskModule.training_step = original  # type: ignore[method-assign]
        run(settings, resume=True)


def refusals(folder: Path) -> None:
    mine = graphs(12)
    if ranks.rank() == 1:
        mine[7].y[3, 1] += 1e-6
    with pytest.raises(InputError, match="do not see the same data: the checksum of rank 1 of 2 differs from that of"):
        train(config(folder / "other data"), data=mine)
    with pytest.raises(InputError, match="do not see the same settings"):
        run(config(folder / "other settings", lr=1e-3 * (1 + ranks.rank())))
    original = FieldsTask.loss

    def bad(self: FieldsTask, batch: Any) -> dict[str, Tensor]:
        factor = float("nan") if ranks.rank() == 1 and len(batch.pos) else 1.0
        return {key: factor * value for key, value in original(self, batch).items()}

    FieldsTask.loss = bad  # type: ignore[method-assign]
    try:
        said = ("another process has a loss not finite", "the loss is nan")[ranks.rank()]
        with pytest.raises(InputError, match=rf"{said} at step 0 \(cases"):
            run(config(folder / "nan"))
    finally:
        FieldsTask.loss = original  # type: ignore[method-assign]
    ranks.wait()
    assert set(torch.load(folder / "nan" / "not_finite.pt", weights_only=True)) == {"step", "cases", "tensors"}


def all_checks(folder: Path) -> None:
    primitives()
    for check in (trainings, by_patches, resumed, refusals):
        check(folder)


def test_two_processes_are_one_run(tmp_path: Path) -> None:
    together(all_checks, 2, tmp_path, tmp_path)
    one = run(config(tmp_path / "one", batch_size=4)).report
    for name in ("auto", "fsdp"):
        found = meshops.load(tmp_path / name / "model.ckpt")
        for key, value in weights(tmp_path / "one").items():
            if not key.endswith(NO_GRADIENT):
                torch.testing.assert_close(weights(tmp_path / name)[key], value, atol=1e-6, rtol=0, msg=f"{name} {key}")
        for line, expected in zip(log(tmp_path / name), log(tmp_path / "one"), strict=True):
            assert line == pytest.approx(expected, abs=1e-6)
        written = json.loads((tmp_path / name / "metrics.json").read_text())
        again = found.evaluate(graphs(3))
        assert written["mean"] == pytest.approx(one.mean, abs=1e-6) and written["mean"] == again.mean
        assert list(written["cases"]) == list(one.cases) and written["cases"] == again.cases
        first, second = (weights(tmp_path / f"{which} {name}") for which in ("whole", "stopped"))
        assert all(torch.equal(value, second[key]) for key, value in first.items())
        assert log(tmp_path / f"whole {name}") == log(tmp_path / f"stopped {name}")
    alone = run(config(tmp_path / "one by one", batch_size=1)).report
    spread = json.loads((tmp_path / "patches" / "metrics.json").read_text())
    assert spread["mean"] == pytest.approx(alone.mean, abs=1e-6)
    for key, value in weights(tmp_path / "one by one").items():
        if not key.endswith(NO_GRADIENT):
            torch.testing.assert_close(weights(tmp_path / "patches")[key], value, atol=1e-6, rtol=0, msg=key)
    (tmp_path / "whole auto" / "metrics.json").unlink()
    with pytest.raises(InputError, match="begun by 2 processes and is resumed by 1"):
        run(config(tmp_path / "whole auto", dropout=0.1, strategy="auto"), resume=True)


def test_processes_that_were_not_started_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"train.devices 2 takes that many .* torchrun --nproc-per-node 2 -m meshops train"
    ):
        run(config(tmp_path / "run", devices=2))
    with pytest.raises(InputError, match=r"train.strategy 'fsdp' is for several processes: start them with torchrun"):
        run(config(tmp_path / "run", strategy="fsdp"))
    with pytest.raises(InputError, match=r"'patches' spreads one mesh a step over the processes: set .* got 2 and 0"):
        run(config(tmp_path / "run", strategy="patches"))
    assert not (tmp_path / "run").exists()


def short(folder: Path) -> None:
    run(config(folder, steps=2, val_every=1, batch_size=1))


@pytest.mark.slow
def test_twenty_starts_of_four_processes(tmp_path: Path) -> None:
    for start in range(20):
        together(short, 4, tmp_path, tmp_path / str(start))
    first = weights(tmp_path / "0")
    for start in range(20):
        assert all(torch.equal(value, weights(tmp_path / str(start))[key]) for key, value in first.items())


def launched(count: int, *arguments: str) -> str:
    """What ``torchrun -m meshops`` says on its standard output."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m", "meshops"]
    done = subprocess.run([sys.executable, *command, *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "find_unused_parameters" not in done.stderr
    return done.stdout


@pytest.mark.slow
def test_commands_under_torchrun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training, evaluation and prediction share out their work, and one process speaks."""
    from meshops.cli.main import main

    place = Place(tmp_path)
    settings = place.settings("bodies")
    told = launched(2, "train", *place.config(settings, tmp_path / "run"), "--json")
    assert json.loads(told)["mean"] == json.loads((tmp_path / "run" / "metrics.json").read_text())["mean"]
    asked = ["evaluate", str(tmp_path / "run" / "model.ckpt"), "--data", "ahmed_ml", "--root", settings["data"]["root"],
             "--option", 'split_method={"train": "1,2", "test": "3,4"}', "--json"]  # fmt: skip
    shared = json.loads(launched(2, *asked))
    capsys.readouterr()
    assert main(asked) == 0
    assert shared["cases"] == json.loads(capsys.readouterr().out)["cases"]
    files = sorted(str(path) for path in Path(settings["data"]["root"]).rglob("*.stl"))[:3]
    model, out = str(tmp_path / "run" / "model.ckpt"), tmp_path / "out"
    pages = json.loads(launched(2, "predict", model, *files, "--out", str(out), "--json"))
    assert list(pages) == files and len(list(out.glob("*.json"))) == 3


def every_kind(files: dict[str, list[str]]) -> None:
    from meshops.cli.train import parse

    for arguments in files.values():
        train(parse(arguments))


@pytest.mark.slow
def test_every_kind_on_two_processes(tmp_path: Path) -> None:
    """The same as on one, but for what is drawn while a step runs: the auto-encoder's noise, the generator's times."""
    place = Place(tmp_path / "data")
    settings = {case: place.settings(case) for case in CASES}
    together(every_kind, 2, tmp_path, {case: place.config(settings[case], tmp_path / case) for case in CASES})
    for case in CASES:
        found = json.loads((tmp_path / case / "metrics.json").read_text())
        assert found["cases"] or case == "generate"
        one = place.run(settings[case], tmp_path / f"one {case}", batch_size=2).report
        assert list(found["cases"]) == list(one.cases) and found["mean"].keys() == one.mean.keys()
        if case not in ("autoencode", "generate"):
            assert found["mean"] == pytest.approx(one.mean, rel=1e-3, abs=1e-5)
