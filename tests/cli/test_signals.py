"""Ctrl-C and SIGTERM: real signals to a real process; what is left continues to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from meshops.cli.main import main
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.mesh_files import write_graphs

ROOT = Path(__file__).resolve().parents[2]
STEPS = 240


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run file: a tiny model on plane triangles, with dropout and validation."""
    folder = tmp_path_factory.mktemp("signals")
    graphs = []
    for i in range(4):
        g = torch.Generator().manual_seed(i)
        pos = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]) + 0.1 * torch.rand(4, 2, generator=g)
        graphs.append(
            MeshGraph(
                pos=pos, y=pos.sum(1, keepdim=True), y_names=("s",), y_sizes=(1,), name=f"g{i}",
                cell_nodes=torch.tensor([0, 1, 2, 1, 3, 2]), cell_size=torch.tensor([3, 3]),
                cell_type=torch.tensor([5, 5]),
            )
        )  # fmt: skip
    write_graphs(graphs, folder / "data", test=1)
    settings = {
        "data": {"name": "mesh_files", "root": str(folder / "data")},
        "model": {"name": "mspt", "channels": 8, "depth": 1, "num_heads": 1, "num_patches": 1, "dropout": 0.1},
        "train": {"steps": STEPS, "batch_size": 1, "threads": 1, "accelerator": "cpu", "validation": 1,
                  "val_every": 60},
    }  # fmt: skip
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    return folder / "run.yaml"


def steps(out: Path) -> list[int]:
    log = out / "log.jsonl"
    return [json.loads(line)["step"] for line in log.read_text().splitlines()] if log.is_file() else []


def begin(file: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "meshops", "train", str(file), "--out", str(out), *options]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(process: subprocess.Popen[str], out: Path, step: int) -> None:
    """Until the run has logged a step; fails when it ends before."""
    end = time.monotonic() + 120
    while not any(done >= step for done in steps(out)):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.01)


def test_a_run_that_is_stopped_twice_ends_like_one_that_was_not(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert main(["train", str(file), "--out", str(whole)]) == 0
    process = begin(file, out)
    wait_for(process, out, 10)
    assert main(["train", str(file), "--out", str(out), "--overwrite"]) == 2
    assert "another run is writing there" in capsys.readouterr().err
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (line,) = [row for row in err.splitlines() if "stopped after step" in row]
    assert line.startswith("meshops train: ") and "--resume" in line and str(out) in line and "Traceback" not in err
    stopped = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert f"stopped after step {stopped};" in line and 0 < stopped < STEPS and not (out / "model.ckpt").exists()

    process = begin(file, out, "--resume")
    wait_for(process, out, stopped + 20)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "--resume" in err and "Traceback" not in err

    assert main(["train", str(file), "--out", str(out)]) == 2  # not begun anew by mistake
    assert "--resume" in capsys.readouterr().err
    assert main(["train", str(file), "--out", str(out), "--resume"]) == 0
    first, second = (torch.load(f / "model.ckpt", weights_only=True)["weights"] for f in (out, whole))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (out / "log.jsonl").read_text() == (whole / "log.jsonl").read_text()
    assert sorted(set(steps(out))) == list(range(10, STEPS + 1, 10))
    metrics = [json.loads((f / "metrics.json").read_text()) for f in (out, whole)]
    assert metrics[0]["mean"] == metrics[1]["mean"]


def test_a_second_ctrl_c_stops_at_once(file: Path, tmp_path: Path) -> None:
    """While the first is waiting for a step that does not end."""
    code = (
        "import sys, time\nfrom meshops.tasks import FieldsTask\n"
        "def forever(self, batch):\n    print('in a step', flush=True)\n    time.sleep(60)\n"
        "FieldsTask.loss = forever\nfrom meshops.cli.main import main\n"
        f"sys.exit(main(['train', {str(file)!r}, '--out', {str(tmp_path / 'out')!r}]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in a step\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err and "interrupted" in err


@pytest.mark.parametrize("kept", ["", "checkpoints/last.ckpt", "model.ckpt"])
def test_ctrl_c_outside_of_the_steps_says_how_to_go_on(
    kept: str,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While cases are read, or while the surrogate is judged."""
    import meshops.training

    out = tmp_path / "out"

    def interrupted(*_: object, **__: object) -> None:
        if kept:
            (out / kept).parent.mkdir(parents=True, exist_ok=True)
            (out / kept).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(meshops.training, "train", interrupted)
    assert main(["train", str(file), "--out", str(out)]) == 130
    told = capsys.readouterr().err
    assert "meshops train: interrupted; " in told
    assert ("--resume" in told) == bool(kept) and ("start again" in told) != bool(kept)


def test_a_run_that_was_stopped_while_it_was_judged_is_judged_by_resume(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from meshops.surrogate import Surrogate

    out, command = tmp_path / "out", ["train", str(file), "--out", str(tmp_path / "out"), "--train.steps", "10"]

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Surrogate, "evaluate", interrupted)
        assert main([*command, "--train.val_every", "5"]) == 130
    assert "continue with the same command and --resume" in capsys.readouterr().err
    assert (out / "model.ckpt").is_file() and not (out / "metrics.json").exists()
    before = torch.load(out / "model.ckpt", weights_only=True)["weights"]
    assert main([*command, "--train.val_every", "5", "--resume"]) == 0
    after = torch.load(out / "model.ckpt", weights_only=True)["weights"]
    assert all(torch.equal(before[name], after[name]) for name in before) and (out / "metrics.json").is_file()
    assert main(command[:4]) == 2  # never over a finished one
    assert "remove it with --overwrite" in capsys.readouterr().err
