"""Nine models on three kinds of cases, each the same CPU seconds of one core: errors on held-out cases.

    python benchmarks/fields_models.py --seconds 60 --out fields_models.json

Elasticity (stand-in: unit cells with a hole), bodies (the shipped Ahmed bodies, features of the geometry) and a list of
PyG ``Data`` made in Python (Darcy flow on irregular meshes). Steps are what fits into the CPU seconds, which a busy
machine does not stretch, from those of a few; sizes are small ones, none was tuned. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from meshops.datasets import AhmedMini, Elasticity
from meshops.solvers.mesh_registry import generate_mesh
from meshops.tasks import FieldsSettings
from meshops.training import RunConfig, TrainConfig, train

MODELS: dict[str, dict[str, Any]] = {
    "mspt": {"channels": 96, "depth": 4, "num_heads": 6, "num_patches": 16},
    "transolver": {"channels": 96, "depth": 4, "num_heads": 6, "num_slices": 32},
    "transformer": {"channels": 96, "depth": 4, "num_heads": 6},
    "meshgraphnet": {"channels": 64, "depth": 6},
    "mppde": {"channels": 96, "depth": 5},
    "graphvit": {"channels": 48, "tokens": 96, "depth": 2, "attention_depth": 2},
    "gino": {"channels": 24, "cells": 12, "depth": 2},
    "iapmesh": {"channels": 96, "depth": 3, "num_heads": 4, "budget": 128},
    "amrmesh": {"channels": 96, "depth": 4, "num_heads": 4, "hidden": 192},
}


def elasticity(folder: Path, count: int) -> tuple[Any, Any, FieldsSettings]:
    """Unit cells with a hole, points without edges."""
    test = max(2, count // 5)
    root = Elasticity.standin(folder / "elasticity", num=count + test)
    sizes = {"num_train": count, "num_test": test}
    return Elasticity(root, "train", **sizes), Elasticity(root, "test", **sizes), FieldsSettings()


def bodies(folder: Path, count: int) -> tuple[Any, Any, FieldsSettings]:
    """Ahmed bodies: 24 to learn from, 6 to test."""
    del folder, count
    return AhmedMini("train"), AhmedMini("test"), FieldsSettings(nodes=1024, loss=("relative_l2",), passes=1)


def graphs(folder: Path, count: int) -> tuple[Any, Any, FieldsSettings]:
    """Plain PyG graphs: Darcy flow on irregular meshes."""
    del folder
    made = [generate_mesh("darcy", seed, num_points=400) for seed in range(count + max(2, count // 5))]
    data = [Data(pos=g.pos, x=g.x, y=g.y, edge_index=g.edge_index) for g in made]  # type: ignore[union-attr]
    return data[:count], data[count:], FieldsSettings()


SETS: dict[str, Callable[[Path, int], tuple[Any, Any, FieldsSettings]]] = {
    "elasticity": elasticity, "Ahmed bodies": bodies, "list of graphs": graphs,
}  # fmt: skip


def run(model: str, cases: tuple[Any, Any, FieldsSettings], folder: Path, seconds: float, trial: int) -> dict[str, Any]:
    """Train a model for so many CPU seconds after a few steps that are timed; errors and what it took."""
    data, test, settings = cases

    def config(steps: int) -> RunConfig:
        return RunConfig(
            out=str(folder / "run"), model={"name": model, **MODELS[model]}, task=settings,
            train=TrainConfig(steps=steps, batch_size=2, lr=1e-3, threads=1, accelerator="cpu", seed=0),
        )  # fmt: skip

    def spent(steps: int) -> float:
        begin = time.process_time()
        train(config(steps), data=data, overwrite=True)
        return time.process_time() - begin

    spent(1)  # compiles and builds what is kept
    start = spent(1)
    steps = max(trial, int(seconds * trial / max(spent(1 + trial) - start, 1e-3)))
    begin = time.process_time()
    result = train(config(steps), data=data, test=test, overwrite=True)
    took = round(time.process_time() - begin, 1)
    errors = {key: value for key, value in result.report.mean.items() if key.endswith("_rel_l2")}
    weights = sum(p.numel() for p in result.surrogate.task.model.parameters())
    mean = {key: value for key, value in result.report.baselines["mean"].items() if key.endswith("_rel_l2")}
    return {
        "model": model, "weights": weights, "steps": steps, "errors": errors, "training mean": mean,
        "cpu_seconds": took, "seconds": result.report.seconds["train"],
    }  # fmt: skip


def table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: a line per model, error and steps per set."""
    head = "| model | weights | " + " | ".join(f"{name} (steps, s)" for name in rows) + " |"
    lines = [head, "| --- " * (2 + len(rows)) + "|"]
    for number, model in enumerate(MODELS):
        found = [part[number] for part in rows.values() if len(part) > number]
        cells = [
            " / ".join(f"{error:.3f}" for error in row["errors"].values())
            + f" ({row['steps']}, {row['cpu_seconds']:.0f} s)" for row in found
        ]  # fmt: skip
        if found:
            lines.append(f"| {model} | {found[0]['weights'] / 1e6:.2f} M | " + " | ".join(cells) + " |")
    means = [" / ".join(f"{v:.3f}" for v in part[0]["training mean"].values()) for part in rows.values() if part]
    return "\n".join([*lines, "| training mean | – | " + " | ".join(means) + " |"])


def main() -> None:
    """Run all and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60.0, help="of training per model and set")
    options.add_argument("--cases", type=int, default=48, help="to learn from, where cases are made here")
    options.add_argument("--smoke", action="store_true", help="a step of everything")
    options.add_argument("--out", help="JSON with all figures")
    args = options.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, make in SETS.items():
            cases = make(folder, 4 if args.smoke else args.cases)
            rows[title] = []
            for model in MODELS:
                rows[title].append(
                    run(model, cases, folder, 0.0 if args.smoke else args.seconds, 1 if args.smoke else 30)
                )
                sys.stderr.write(f"{title}, {model}: {rows[title][-1]}\n")
    if args.out:
        Path(args.out).write_text(json.dumps(rows, indent=1))
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
