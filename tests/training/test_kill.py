"""Runs of every kind that are killed at any moment (SIGKILL) and resumed end with the same weights, bit for bit."""

from __future__ import annotations

import multiprocessing as mp
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from meshops.cli.main import main
from tests.training.test_every_kind import CASES, Place

KILLS = 5
CONTEXT = mp.get_context("forkserver")
CONTEXT.set_forkserver_preload(["meshops.cli.train", "meshops.training.fit", "meshops.tasks", "meshops.datasets"])

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("kinds"))


def started(file: list[str], *, resume: bool) -> Any:
    process = CONTEXT.Process(target=main, args=(["train", *file, *(["--resume"] if resume else [])],))
    process.start()
    return process


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / "model.ckpt", weights_only=True)["weights"]
    return found


def begun(folder: Path) -> bool:
    """A run that has something to resume from."""
    return (folder / "checkpoints" / "last.ckpt").is_file() or (folder / "model.ckpt").is_file()


@pytest.mark.parametrize("case", CASES)
def test_killed_runs_end_with_the_same_bits(case: str, place: Place, tmp_path: Path) -> None:
    settings, long = place.settings(case), {"steps": 24, "val_every": 3}
    for name in ("first", "whole"):  # the first compiles and reads what later ones find in the cache
        begin = time.monotonic()
        process = started(place.config(settings, tmp_path / name, **long), resume=False)
        process.join(300)
        assert process.exitcode == 0
        took = time.monotonic() - begin
    killed, draw = tmp_path / "killed", random.Random(case)
    file, kills = place.config(settings, killed, **long), 0
    for _ in range(4 * KILLS):
        process = started(file, resume=begun(killed))
        process.join(draw.uniform(0.3, 0.9) * took)
        if process.exitcode is not None and kills:
            break
        if process.exitcode is not None:  # faster than the run that was timed: once more, killed earlier
            shutil.rmtree(killed)
            took *= 0.6
            continue
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
        if kills == KILLS:
            break
    process = started(file, resume=begun(killed))
    process.join(300)
    assert process.exitcode == 0 and kills > 0
    one, other = weights(tmp_path / "whole"), weights(killed)
    assert one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
    first, second = ((tmp_path / name / "log.jsonl").read_text() for name in ("whole", "killed"))
    assert first == second


def limited(arguments: list[str], size: int, told: str) -> int:
    """The command where no file may grow beyond ``size`` bytes: what a full disk does to a write."""
    import resource

    os.dup2(os.open(told, os.O_CREAT | os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return main(arguments)


def test_a_full_disk_keeps_the_last_checkpoint(place: Place, tmp_path: Path) -> None:
    settings, long = place.settings("graphs"), {"steps": 60, "val_every": 3}
    process = started(place.config(settings, tmp_path / "whole", **long), resume=False)
    process.join(300)
    file, out = place.config(settings, tmp_path / "full", **long), tmp_path / "full"
    process = started(file, resume=False)
    while not begun(out) and process.exitcode is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    last = out / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    (last.parent / ".123.last.ckpt").write_bytes(b"half of one")  # as a kill in the middle of a write leaves it
    told_in = str(tmp_path / "told")
    process = CONTEXT.Process(target=limited, args=(["train", *file, "--resume"], len(before) // 2, told_in))
    process.start()
    process.join(300)
    told = Path(told_in).read_text()
    assert process.exitcode == 0 and "Traceback" not in told, told  # what main returns is no exit code here
    assert "cannot be written" in told and "the disk is full" in told and "--resume" in told
    assert last.read_bytes() == before and [p.name for p in last.parent.iterdir() if p.name.startswith(".")] == []
    process = started(file, resume=True)
    process.join(300)
    one, other = weights(tmp_path / "whole"), weights(out)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")
def test_a_full_tmpfs_loses_the_work_since_the_last_checkpoint_and_says_so(place: Place, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount")
    try:
        file = place.config(place.settings("graphs"), disk / "run", steps=400, val_every=3)
        process = started(file, resume=False)
        while not begun(disk / "run") and process.exitcode is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        last = disk / "run" / "checkpoints" / "last.ckpt"
        before = last.read_bytes()
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(bytes(max(0, free - len(before) // 2)))
        told_in = str(tmp_path / "told")
        process = CONTEXT.Process(target=limited, args=(["train", *file, "--resume"], 1 << 40, told_in))
        process.start()
        process.join(300)
        told = Path(told_in).read_text()
        assert "Traceback" not in told and "the disk is full" in told and "--resume" in told, told
        assert last.read_bytes() == before
        torch.load(last, weights_only=True)
        (disk / "filler").unlink()
        process = started(file, resume=True)
        while not (disk / "run" / "log.jsonl").is_file() or last.read_bytes() == before:
            assert process.exitcode is None, "the run did not go on"
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
