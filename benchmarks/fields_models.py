"""Models beside each other on three kinds of cases, each the same CPU seconds of one core: tables of models/README.md.

    python benchmarks/fields_models.py --seconds 20 --seeds 0 1 2 --out fields_models

Bodies (the shipped Ahmed bodies, features of the geometry), elasticity (stand-in: unit cells with a hole) and a list of
PyG ``Data`` made in Python (Darcy flow on irregular meshes). Steps are what fits into the CPU seconds, by
short trials, which an idle machine measures best; sizes are small ones, none was tuned. "components + Gaussian process"
is no network: its number of components is chosen by five-fold cross-validation on the training cases.

Relative L2 of held-out cases, field by field, mean and standard deviation over seeds. ``OUT/results.json`` is written
after every run; a second call goes on where the first ended, and prints the tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from torch_geometric.data import Data

from meshops.datasets import AhmedMini, Elasticity
from meshops.selection.folds import split_cases
from meshops.selection.reduced import Carried, cross_validated, fitted
from meshops.selection.scores import Truth, score
from meshops.selection.search import with_model
from meshops.solvers.mesh_registry import generate_mesh
from meshops.surrogate import Surrogate
from meshops.tasks import FieldsSettings
from meshops.tasks.base import CaseSource
from meshops.tasks.build import build_model
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import as_cases
from meshops.training import TrainConfig
from meshops.training.contest import steps_within
from meshops.training.fit import fit

MSPT = {"name": "mspt", "channels": 64, "depth": 3, "num_heads": 4, "num_patches": 16}
MODELS: dict[str, dict[str, Any]] = {
    "MSPT, ball tree": MSPT,
    "MSPT, Hilbert": {**MSPT, "patching": "hilbert"},
    "MSPT, Morton": {**MSPT, "patching": "morton"},
    "MSPT, octree": {**MSPT, "patching": "octree", "num_patches": None, "patch_size": 64},
    "MSPT, order of the file": {**MSPT, "patching": "file"},
    "Transolver": {"name": "transolver", "channels": 64, "depth": 3, "num_heads": 4, "num_slices": 32},
    "transformer, rotary": {"name": "transformer", "channels": 64, "depth": 3, "num_heads": 4},
    "MeshGraphNet": {"name": "meshgraphnet", "channels": 48, "depth": 4},
    "MP-PDE": {"name": "mppde", "channels": 64, "depth": 4},
    "GraphViT": {"name": "graphvit", "channels": 32, "tokens": 64, "depth": 2, "attention_depth": 2},
    "GINO": {"name": "gino", "channels": 16, "cells": 10, "depth": 2},
    "IAP": {"name": "iapmesh", "channels": 64, "depth": 3, "num_heads": 4, "budget": 128},
    "AMR-Transformer": {"name": "amrmesh", "channels": 64, "depth": 3, "num_heads": 4, "hidden": 128},
}
CLOSED = "components + Gaussian process"
TRIAL = (5, 30)  # steps of two short runs, whose difference tells the time of a step
PAIRS = 4  # of such runs
Cases = tuple[CaseSource, CaseSource, FieldsSettings]


def elasticity(folder: Path, count: int) -> Cases:
    """Unit cells with a hole, points without edges."""
    test = max(2, count // 5)
    root = folder / "elasticity"
    if not root.exists():
        Elasticity.standin(root, num=count + test)
    sizes = {"num_train": count, "num_test": test}
    return Elasticity(root, "train", **sizes), Elasticity(root, "test", **sizes), FieldsSettings()


def bodies(folder: Path, count: int) -> Cases:
    """Ahmed bodies: 24 to learn from, 6 to test."""
    del folder, count
    return AhmedMini("train"), AhmedMini("test"), FieldsSettings(nodes=768, loss=("relative_l2",), passes=1)


def darcy(folder: Path, count: int) -> Cases:
    """Plain PyG graphs: Darcy flow on irregular meshes."""
    del folder
    made = [generate_mesh("darcy", seed, num_points=400) for seed in range(count + max(2, count // 5))]
    data = [Data(pos=g.pos, x=g.x, y=g.y, edge_index=g.edge_index) for g in made]  # type: ignore[union-attr]
    return data[:count], data[count:], FieldsSettings()


SETS: dict[str, Callable[[Path, int], Cases]] = {"bodies": bodies, "elasticity": elasticity, "darcy": darcy}


class Prepared:
    """Cases of a set with the features of those to learn from, which all models share."""

    def __init__(self, cases: Cases, folder: Path) -> None:
        self.data, self.test, self.settings = cases
        self.folder = folder
        self.samples = FieldsTask.samples(as_cases(self.data), self.settings)

    def run(self, model: dict[str, Any], steps: int, seed: int = 0) -> tuple[FieldsTask, float]:
        """A model after so many steps, and their processor seconds."""
        torch.manual_seed(seed)
        network, made = build_model(model, self.samples.spec.model_arguments(), self.samples.offers)
        task = FieldsTask.fit(network, self.samples, self.settings)
        task.made = made
        config = TrainConfig(steps=steps, batch_size=1, lr=1e-3, threads=1, accelerator="cpu", seed=seed)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            begin = time.process_time()
            fit(task, self.samples, config, Path(name), resume=False, console=Console(quiet=True))
            spent = time.process_time() - begin
        return task, spent

    def trained(self, model: dict[str, Any], steps: int, seed: int) -> dict[str, Any]:
        """Errors on the test cases, and what the training took."""
        task, spent = self.run(model, steps, seed)
        report = Surrogate(task.eval(), {}).evaluate(self.test)
        weights = sum(p.numel() for p in task.model.parameters())
        return {"steps": steps, "weights": weights, "errors": _errors(report.mean),
                "training mean": _errors(report.baselines["mean"]), "cpu_seconds": round(spent, 1)}  # fmt: skip

    def affordable(self, model: dict[str, Any], seconds: float) -> int:
        """Steps that the CPU seconds pay for, by the quickest short runs of either length after one that compiles."""
        self.run(model, 2)
        spent = [[self.run(model, n)[1] for n in TRIAL] for _ in range(PAIRS)]
        return steps_within(seconds, TRIAL, [min(column) for column in zip(*spent, strict=True)])


def closed_form(cases: Cases) -> dict[str, Any]:
    """Principal components, as many as cross-validation likes, with a Gaussian process for their coefficients."""
    data, test, settings = cases
    settings = FieldsSettings(**{**vars(settings), "nodes": None, "shape": True})
    samples = FieldsTask.samples(as_cases(data), settings)
    begin = time.process_time()
    task = FieldsTask.fit(nn.Identity(), samples, settings)
    truth, split = Truth.of(task, samples.graphs), split_cases(range(len(samples.graphs)), test=0.0)
    carried = Carried.of(task, samples.graphs, truth)
    tried = cross_validated(carried, truth, split, families=[CLOSED])
    best = min(tried, key=lambda pair: score(truth.table(pair[1])))[0]
    made, spent = with_model(task, *fitted(carried, best)), round(time.process_time() - begin, 1)
    return {"components": best.rank, "errors": _errors(made.evaluate(test).mean), "cpu_seconds": spent}


def _errors(row: dict[str, float]) -> dict[str, float]:
    return {key.removesuffix("_rel_l2"): value for key, value in row.items() if key.endswith("_rel_l2")}


def table(title: str, cells: dict[str, Any]) -> str:
    """Markdown: a line per model, the least error of each field in bold."""
    rows = {name: [row for key, row in cells.items() if key.split("/")[:2] == [title, name]] for name in MODELS}
    rows[CLOSED] = [cells[f"{title}/{CLOSED}"]] if f"{title}/{CLOSED}" in cells else []
    rows = {name: found for name, found in rows.items() if found}
    names = list(next(iter(rows.values()))[0]["errors"])
    means = {name: [statistics.mean(row["errors"][n] for row in found) for n in names] for name, found in rows.items()}
    best = [min(values[i] for values in means.values()) for i in range(len(names))]
    seeds = max(len(found) for found in rows.values())
    lines = [f"**{title}** ({seeds} seeds)", "", f"| model | weights | steps | {' | '.join(names)} | CPU s |"]
    lines.append("| --- " * (4 + len(names)) + "|")
    for name, found in rows.items():
        figures = []
        for i, field in enumerate(names):
            values = [row["errors"][field] for row in found]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            mark = "**" if means[name][i] == best[i] else ""
            figures.append(f"{mark}{means[name][i]:.3f}{mark}{spread}")
        weights = f"{found[0]['weights'] / 1e6:.2f} M" if "weights" in found[0] else ""
        steps = found[0].get("steps", f"{found[0].get('components')} components")
        spent = statistics.mean(row["cpu_seconds"] for row in found)
        lines.append(f"| {name} | {weights} | {steps} | {' | '.join(figures)} | {spent:.0f} |")
    mean = next((row["training mean"] for found in rows.values() for row in found if "training mean" in row), {})
    lines.append(f"| training mean | | | {' | '.join(f'{mean[n]:.3f}' for n in names)} | |" if mean else "")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing and print."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(1)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    budget = {"seconds": args.seconds, "cases": args.cases, "steps": args.steps}
    stored = json.loads(path.read_text()) if path.exists() else {"budget": budget, "steps": {}, "cells": {}}
    if stored["budget"] != budget:
        raise SystemExit(f"{path} holds results of another budget, {stored['budget']}; choose another --out")

    def keep(key: str, row: dict[str, Any]) -> None:
        stored["cells"][key] = row
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(stored, indent=1))
        aside.replace(path)
        sys.stderr.write(f"{key}: {row}\n")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title in args.sets:
            cases = SETS[title](folder, args.cases)
            if f"{title}/{CLOSED}" not in stored["cells"]:
                keep(f"{title}/{CLOSED}", closed_form(cases))
            ready, known = Prepared(cases, folder), stored["steps"]
            for model in args.models:  # all beside each other, before the long runs
                if f"{title}/{model}" not in known:
                    known[f"{title}/{model}"] = args.steps or ready.affordable(MODELS[model], args.seconds)
                    sys.stderr.write(f"{title}/{model}: {known[f'{title}/{model}']} steps\n")
            for seed, model in product(args.seeds, args.models):
                key = f"{title}/{model}/{seed}"
                if key not in stored["cells"]:
                    keep(key, ready.trained(MODELS[model], known[f"{title}/{model}"], seed))
    sys.stdout.write("\n\n".join(table(title, stored["cells"]) for title in args.sets) + "\n")


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", required=True, help="folder of results.json")
    options.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    options.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), metavar="MODEL")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--seconds", type=float, default=20.0, help="CPU seconds of training per run")
    options.add_argument("--steps", type=int, help="steps of every run, instead")
    options.add_argument("--cases", type=int, default=48, help="to learn from, where cases are made here")
    return options


if __name__ == "__main__":
    main()
