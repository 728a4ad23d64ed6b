"""Many large cases through a store: prepare, train, start again, evaluate, calibrate; time and peak memory of each.

    python benchmarks/many_cases.py --cases 400 --cells 100000 --jobs 2 --folder FOLDER
    python benchmarks/many_cases.py --cases 40 --cells 20000 --folder FOLDER

Makes surfaces of the wanted size in the layout of AhmedML: shipped bodies refined, each stretched by its own factors,
with the fields of the cells they were cut from (a load to carry, no new flow). After the store is written the folder of
the files is moved away: what runs later reads none of them. Every step is a process of its own and shows its progress;
its peak is that of the process together with those it starts. Figures of a step are kept in FOLDER/figures: the same
command again goes on with the first step that has none (a training where it stopped). Prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

STRETCH = 0.1  # of each axis, at most
PAUSE = 0.25  # seconds between looks at the memory
# Sparing: no potential flow, two radii of 256 sources, one pass of prediction.
RUN = """data:
  name: ahmed_ml
  options: {{split_method: {split}}}
task: {{nodes: 4096, radii: [0.1, 0.3], potential_flow: false, max_sources: 256, passes: 1}}
model: {{name: mspt, channels: 64, depth: 4, num_heads: 4, num_patches: 64}}
train: {{steps: {steps}, batch_size: 2}}
"""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Make, run, measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--shapes", type=int, default=4, help="bodies that are refined; cases are stretched ones")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--folder", required=True, help="is made; the same one again goes on")
    parser.add_argument("--jobs", type=int, default=1, help="processes that read and that make features")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="of: make prepare features train again evaluate ...")
    parser.add_argument("--making", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    folder = Path(args.folder)
    if args.making:
        print(json.dumps({"cells": make(folder / "runs", args.cases, args.cells, args.shapes)}))
        return {}
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    _same(folder, {"cases": args.cases, "cells": args.cells, "shapes": args.shapes, "steps": args.steps})
    run = folder / "run.yaml"
    run.write_text(RUN.format(split=json.dumps(parts(args.cases)), steps=args.steps))
    for name, command in commands(folder, args).items():
        figures = folder / "figures" / f"{name}.json"
        if figures.is_file() or (args.only and name not in args.only):
            continue
        if name == "train" and (folder / "runs").exists():
            (folder / "runs").rename(folder / "away")
        found = measured(name, command, folder / f"{name}.log")
        figures.write_text(json.dumps(found))
    return summary(folder)


def commands(folder: Path, args: argparse.Namespace) -> dict[str, list[str]]:
    """Steps in their order."""
    meshops = [sys.executable, "-m", "meshops"]
    run, store, first = str(folder / "run.yaml"), str(folder / "store"), folder / "first"
    stored = ["--data.name", "store", "--data.root", store, "--data.options", "{}"]
    options = ["--option", f"split_method={json.dumps(parts(args.cases))}"]
    prepare = [*meshops, "data", "prepare", str(folder / "runs"), "--out", store, "--jobs", str(args.jobs), *options]
    begun = ["--resume"] if (first / "checkpoints" / "last.ckpt").is_file() else ["--overwrite"]
    making = ["--cases", str(args.cases), "--cells", str(args.cells), "--shapes", str(args.shapes)]
    return {
        "make": [sys.executable, __file__, "--making", "--folder", str(folder), *making],
        "prepare": prepare,
        "features": [*prepare, "--run", run],
        "train": [*meshops, "train", run, *stored, "--data.test", "", "--out", str(first), *begun],
        "again": [*meshops, "train", run, *stored, "--data.test", "", "--out", str(folder / "second"), "--overwrite",
                  "--train.steps", "1"],
        "evaluate": [*meshops, "evaluate", str(first / "model.ckpt"), "--data", store],
        "evaluate again": [*meshops, "evaluate", str(first / "model.ckpt"), "--data", store],
        "calibrate": [*meshops, "evaluate", str(first / "model.ckpt"), "--calibrate", store, "--split", "val"],
    }  # fmt: skip


def summary(folder: Path) -> dict[str, Any]:
    """Figures of all steps so far."""
    result: dict[str, Any] = json.loads((folder / "asked.json").read_text())
    for file in sorted((folder / "figures").glob("*.json"), key=lambda file: file.stat().st_mtime):
        result[file.stem] = json.loads(file.read_text())
    for name in ("first", "second"):
        file = folder / name / "metrics.json"
        if file.is_file():
            result[f"seconds of {name}"] = json.loads(file.read_text())["seconds"]
    raw = folder / "away"
    result["GB of files"], result["GB of the store"] = (
        size(raw if raw.exists() else folder / "runs"),
        size(folder / "store"),
    )
    return result


def _same(folder: Path, asked: dict[str, int]) -> None:
    """Remember what was asked; another question needs another folder."""
    file = folder / "asked.json"
    if file.is_file() and (before := json.loads(file.read_text())) != asked:
        raise SystemExit(f"{folder} holds the steps of {before}, not of {asked}; choose another --folder")
    file.write_text(json.dumps(asked))


def parts(cases: int) -> dict[str, str]:
    """Four fifths to learn from, a tenth each to calibrate with and to judge by."""
    learn, judge = round(0.8 * cases), round(0.9 * cases)
    return {"train": f"1-{learn}", "val": f"{learn + 1}-{judge}", "test": f"{judge + 1}-{cases}"}


def make(root: Path, cases: int, cells: int, shapes: int) -> int:
    """Write the cases; returns the mean number of cells."""
    from meshops.data.surface import refine
    from meshops.data.writers import write_mesh
    from meshops.datasets import AhmedMini

    mini, bodies = AhmedMini("all"), []
    for index in range(shapes):
        coarse = mini.mesh(index)
        edge = 2.2 * (float(coarse.compute_cell_sizes(length=False, volume=False)["Area"].sum()) / cells) ** 0.5
        fine, parent = refine(coarse, edge)
        while fine.n_cells < cells:
            edge *= 0.97
            fine, parent = refine(coarse, edge)
        for name in mini.fields:
            fine.cell_data[name] = np.asarray(coarse.cell_data[name])[parent]
        bodies.append(fine)
    rng, counts = np.random.default_rng(0), []
    for case in range(cases):
        mesh = bodies[case % shapes].copy()
        mesh.points = np.asarray(mesh.points) * (1 + STRETCH * rng.uniform(-1, 1, 3))
        mesh.cell_data[mini.fields[0]] = np.asarray(mesh.cell_data[mini.fields[0]]) * rng.uniform(0.8, 1.2)
        write_mesh(mesh, root / f"run_{case + 1}" / f"boundary_{case + 1}.vtp")
        counts.append(mesh.n_cells)
    return round(float(np.mean(counts)))


def measured(name: str, command: Sequence[str], log: Path) -> dict[str, float]:
    """Run a command, its lines shown; seconds, CPU seconds and peak memory with the processes it starts (GB).

    Raises:
        SystemExit: It failed; its last lines are told.
    """
    start, peak, shown = time.perf_counter(), 0, 0
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
                peak = max(peak, resident(process.pid))
                shown = show(name, log, shown)
                time.sleep(PAUSE)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    _, status, used = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    show(name, log, shown)
    if process.returncode:
        raise SystemExit(f"{name} failed: {log.read_text()[-2000:]}")
    found = {"s": round(time.perf_counter() - start, 1), "cpu_s": round(used.ru_utime + used.ru_stime, 1),
             "peak_gb": round(peak / 1e9, 2)}  # fmt: skip
    print(f"{name}: {json.dumps(found)}", file=sys.stderr, flush=True)
    return found


def show(name: str, log: Path, shown: int) -> int:
    """Lines of a log that came since; returns how much of it is shown."""
    text = log.read_text(errors="replace")
    done = text.rfind("\n") + 1
    for line in text[shown:done].splitlines():
        print(f"{name}: {line.strip()}", file=sys.stderr, flush=True)
    return max(shown, done)


def resident(first: int) -> int:
    """Bytes of a process and of those it started, and the most the process itself ever had, whichever is more."""
    parents, total, page = {}, 0, os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    family = {first}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    for one in family:
        with contextlib.suppress(OSError, IndexError):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * page
    with contextlib.suppress(OSError, IndexError):
        status = Path(f"/proc/{first}/status").read_text()
        total = max(total, int(status.partition("VmHWM:")[2].split()[0]) * 1024)
    return total


def size(folder: Path) -> float:
    """Of all files of a folder, GB."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9, 2)


if __name__ == "__main__":
    if result := main():
        print(json.dumps(result, indent=2))
