"""Many large cases through a store: prepare, train, start again, evaluate, calibrate; time and peak memory of each.

    python benchmarks/many_cases.py --cases 400 --cells 100000 --folder FOLDER

Makes surfaces of the wanted size in the layout of AhmedML: shipped bodies refined, each stretched by its own factors,
with the fields of the cells they were cut from (a load to carry, no new flow). After 'prepare' the folder of the files
is moved away: what runs later reads none of them. Every step is a process of its own; its peak is that of the system.
Prints one JSON object; the folder is removed at the end unless --keep is given.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

STRETCH = 0.1  # of each axis, at most
SETTINGS = (
    "--task.nodes 4096 --task.radii [0.1,0.3] --task.potential_flow false --task.max_sources 256 --task.passes 1 "
    "--model.channels 64 --model.depth 4 --model.num_heads 4 --model.num_patches 64 --train.batch_size 2"
)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Make, run, measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--shapes", type=int, default=4, help="bodies that are refined; cases are stretched ones")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--folder", required=True, help="is made, and removed at the end")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args(argv)
    folder = Path(args.folder)
    folder.mkdir(parents=True)
    started = time.perf_counter()
    nodes = make(folder / "runs", args.cases, args.cells, args.shapes)
    result: dict[str, Any] = {"cases": args.cases, "cells": nodes, "make": {"s": time.perf_counter() - started}}
    split = json.dumps(parts(args.cases))
    run = folder / "run.yaml"
    run.write_text(f"data:\n  name: ahmed_ml\n  options: {{split_method: {split}}}\n")
    store, options = folder / "store", SETTINGS.split()
    steps = {
        "prepare": ["data", "prepare", str(folder / "runs"), "--out", str(store), "--jobs", str(args.jobs), "--option",
                    f"split_method={split}"],
        "train": ["train", str(run), *from_store(store), *options, "--train.steps", str(args.steps), "--out",
                  str(folder / "first")],
        "again": ["train", str(run), *from_store(store), *options, "--train.steps", "1", "--data.test", "", "--out",
                  str(folder / "second")],
        "evaluate": ["evaluate", str(folder / "first" / "model.ckpt"), "--data", str(store)],
        "calibrate": ["evaluate", str(folder / "first" / "model.ckpt"), "--calibrate", str(store), "--split", "val"],
    }  # fmt: skip
    for name, command in steps.items():
        result[name] = measured(command, folder / f"{name}.log")
        print(json.dumps({name: result[name]}), file=sys.stderr, flush=True)
        if name == "prepare":
            (folder / "runs").rename(folder / "away")
    for name in ("first", "second"):
        file = folder / name / "metrics.json"
        result[f"seconds of {name}"] = json.loads(file.read_text())["seconds"] if file.is_file() else None
    result["GB of files"], result["GB of the store"] = size(folder / "away"), size(store)
    if not args.keep:
        shutil.rmtree(folder)
    return result


def parts(cases: int) -> dict[str, str]:
    """Four fifths to learn from, a tenth each to calibrate with and to judge by."""
    learn, judge = round(0.8 * cases), round(0.9 * cases)
    return {"train": f"1-{learn}", "val": f"{learn + 1}-{judge}", "test": f"{judge + 1}-{cases}"}


def from_store(store: Path) -> list[str]:
    """Of a run file: the store instead of the files."""
    return ["--data.name", "store", "--data.root", str(store), "--data.options", "{}"]


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
    return round(np.mean(counts))


def measured(command: Sequence[str], log: Path) -> dict[str, float]:
    """Run a command of meshops; seconds, CPU seconds and peak memory of the process (GB)."""
    start = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "meshops", *command], stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"meshops {' '.join(command)} failed: {log.read_text()[-2000:]}")
    return {"s": round(time.perf_counter() - start, 1), "cpu_s": round(used.ru_utime + used.ru_stime, 1),
            "peak_gb": round(used.ru_maxrss / 2**20, 2)}  # fmt: skip


def size(folder: Path) -> float:
    """Of all files of a folder, GB."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9, 2)


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
