"""Do the patches of MSPT matter? One budget, six ways to cut, beside two models without patches.

    OMP_NUM_THREADS=1 python benchmarks/patches.py --out patches --sets bodies elasticity --seeds 0 1 2

MSPT with patches from a ball tree, runs along the Hilbert and the Morton curve, leaves of an octree, runs of the file,
and nodes dealt to patches at random; Transolver and a transformer with rotary positions of about as many weights. Same
cases, steps, batches, learning rate and seeds. Bodies are AhmedMini (24 to learn from, 6 to test), elasticity the
stand-in (48 and 9), cars the ten of ``--cars FOLDER`` (seed s holds out cars 2 s and 2 s + 1). Bodies and cars are
trained on 1,024 random nodes of a case: "file" are runs of these as they lie in the file.

Relative L2 of held-out cases, field by field. ``OUT/results.json`` is written after each cell; a second call goes on
where the first ended and prints a table in Markdown: mean and standard deviation over the seeds that all rows have.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.aero.conditions import FlowConditions
from meshops.datasets import AhmedMini, Elasticity
from meshops.datasets.base import CaseDataset
from meshops.datasets.study import guess_study
from meshops.datasets.subset import CaseSubset
from meshops.partition import Partition, register_partitioner
from meshops.partition.checks import checked_positions, graph_ptr, positions_of
from meshops.tasks import FieldsSettings
from meshops.training import RunConfig, TrainConfig, train

Cases = tuple[Any, Any, FieldsSettings]
SIZE = {"channels": 96, "depth": 4, "num_heads": 6}
BODIES = FieldsSettings(nodes=1024, passes=1, radii=(0.08, 0.32), max_sources=512)  # features cheaper than by default
FLOW = FlowConditions(flow=(0.0, 0.0, 1.0), up=(0.0, 1.0, 0.0), speed=20.0, density=1.184, ground=0.0)  # of the cars


@register_partitioner("random")
class Dealt(BaseTransform):  # type: ignore[misc]
    """Rows dealt to patches of equal size by a permutation that is the same for graphs of the same size.

    Not a partitioner for use: it depends on the order of the nodes, and its patches are no neighbourhoods.

    Args:
        patch_size: Largest number of nodes in a patch.
        num_patches: Number of patches per graph, instead.
        seed: Of the permutation.
    """

    def __init__(self, patch_size: int | None = None, *, num_patches: int | None = None, seed: int = 0) -> None:
        self.patch_size, self.num_patches, self.seed = patch_size, num_patches, seed

    def forward(self, data: Any) -> Any:
        """Store the patches on the graph."""
        return self.partition(positions_of(data), graph_ptr(data)).store(data)

    def partition(self, pos: Tensor, ptr: Tensor | None = None) -> Partition:
        """Partition of ``[n, d]``; graph i of a batch owns rows ``ptr[i]:ptr[i + 1]``."""
        pos, ptr = checked_positions(pos, ptr)
        perm, bounds, graphs = [], [0], []
        for graph, (first, last) in enumerate(zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)):
            count = self.num_patches or max(1, -(-(last - first) // (self.patch_size or 1)))
            perm.append(first + torch.randperm(last - first, generator=torch.Generator().manual_seed(self.seed)))
            bounds += [first + (last - first) * (i + 1) // count for i in range(count)]
            graphs += [graph] * count
        return Partition.from_order(pos, torch.cat(perm), torch.tensor(bounds), batch=torch.tensor(graphs))


def models(patches: int, size: int) -> dict[str, dict[str, Any]]:
    """Rows of the table; an octree has as many leaves as it needs."""
    cut = {"name": "mspt", **SIZE, "num_patches": patches}
    made = {f"MSPT, {name.replace('_', ' ')}": {**cut, "patching": name} for name in
            ("ball_tree", "hilbert", "morton", "file", "random")}  # fmt: skip
    made["MSPT, octree"] = {"name": "mspt", **SIZE, "patch_size": size, "patching": "octree"}
    made["Transolver"] = {"name": "transolver", **SIZE, "mlp_ratio": 2, "num_slices": 32}
    made["transformer"] = {"name": "transformer", **SIZE, "mlp_ratio": 2}
    return made


def bodies(folder: Path, args: argparse.Namespace, seed: int) -> Cases:
    """Ahmed bodies."""
    del folder, args, seed
    return AhmedMini("train"), AhmedMini("test"), BODIES


def elasticity(folder: Path, args: argparse.Namespace, seed: int) -> Cases:
    """Unit cells with a hole, all 972 points of each."""
    del args, seed
    root = folder / "elasticity"
    if not root.exists():
        Elasticity.standin(root, num=57)
    sizes = {"num_train": 48, "num_test": 9}
    return Elasticity(root, "train", **sizes), Elasticity(root, "test", **sizes), FieldsSettings()


def cars(folder: Path, args: argparse.Namespace, seed: int) -> Cases:
    """Ten real cars, eight to learn from."""
    del folder
    opened = replace(guess_study(Path(args.cars)), flow=FLOW, flow_stated=True).open()
    assert isinstance(opened, CaseDataset)
    held = [2 * (seed % 5), 2 * (seed % 5) + 1]
    learnt = [i for i in range(len(opened)) if i not in held]
    return CaseSubset(opened, learnt), CaseSubset(opened, held), BODIES


SETS: dict[str, Callable[[Path, argparse.Namespace, int], Cases]] = {
    "bodies": bodies, "elasticity": elasticity, "cars": cars,
}  # fmt: skip


def cell(model: dict[str, Any], cases: Cases, args: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Train, test, and what it took."""
    data, test, settings = cases
    config = RunConfig(
        out=str(folder / "run"), model=model, task=settings,
        train=TrainConfig(steps=args.steps, batch_size=2, lr=1e-3, threads=1, accelerator="cpu", seed=seed),
    )  # fmt: skip
    start = time.process_time()
    result = train(config, data=data, test=test, overwrite=True)
    errors = {
        key.removesuffix("_rel_l2"): value for key, value in result.report.mean.items() if key.endswith("_rel_l2")
    }
    weights = sum(p.numel() for p in result.surrogate.task.model.parameters())
    return {"errors": errors, "weights": weights, "cpu_seconds": round(time.process_time() - start, 1)}


def table(results: dict[str, Any]) -> str:
    """Markdown: rows as in :func:`models`, a column per set; standard deviation where there are several seeds."""
    sets = list(dict.fromkeys(key.split("/")[0] for key in results))
    seeds = {name: sorted({int(key.split("/")[2]) for key in results if key.startswith(f"{name}/")}) for name in sets}
    for name, some in seeds.items():  # rows are compared over the same seeds
        whole = [s for s in some if all(f"{name}/{model}/{s}" in results for model in models(1, 1))]
        seeds[name] = whole or some
    lines = ["| model | weights | " + " | ".join(f"{name} ({len(seeds[name])} seeds)" for name in sets) + " |"]
    lines.append("| --- " * (2 + len(sets)) + "|")
    for model in models(1, 1):
        found = {name: [results[k] for s in seeds[name] if (k := f"{name}/{model}/{s}") in results] for name in sets}
        weights = [f"{row['weights'] / 1e6:.2f} M" for rows in found.values() for row in rows]
        lines.append(
            f"| {model} | {weights[0] if weights else '–'} | " + " | ".join(map(_figure, found.values())) + " |"
        )
    return "\n".join(lines)


def _figure(rows: list[dict[str, Any]]) -> str:
    """``mean ± deviation`` of each field, and seconds."""
    if not rows:
        return "–"
    cells = []
    for field in rows[0]["errors"]:
        values = [row["errors"][field] for row in rows]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.3f}{spread}")
    return " / ".join(cells) + f" ({statistics.mean(row['cpu_seconds'] for row in rows):.0f} s)"


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing and print."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(1)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    budget = {"steps": args.steps, "patches": args.patches, "patch_size": args.patch_size}
    stored = json.loads(path.read_text()) if path.exists() else {"budget": budget, "cells": {}}
    if stored["budget"] != budget:
        raise SystemExit(f"{path} holds results of another budget, {stored['budget']}; choose another --out")
    results = stored["cells"]
    with tempfile.TemporaryDirectory() as name:
        for title in args.sets:
            for seed in args.seeds:
                cases = None
                for model, settings in models(args.patches, args.patch_size).items():
                    key = f"{title}/{model}/{seed}"
                    if key in results:
                        continue
                    cases = cases or SETS[title](Path(name), args, seed)
                    results[key] = cell(settings, cases, args, seed, Path(name))
                    aside = path.with_suffix(".part")
                    aside.write_text(json.dumps(stored, indent=1))
                    aside.replace(path)
                    sys.stderr.write(f"{key}: {results[key]}\n")
    sys.stdout.write(table(results) + "\n")


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", required=True, help="folder of results.json")
    options.add_argument("--sets", nargs="+", choices=list(SETS), default=["bodies", "elasticity"])
    options.add_argument("--cars", default="../shared/data/plaid_cars", help="folder of the cars")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--steps", type=int, default=400)
    options.add_argument("--patches", type=int, default=32, help="per graph, a power of two")
    options.add_argument("--patch-size", type=int, default=32, help="of the octree, at most")
    return options


if __name__ == "__main__":
    main()
