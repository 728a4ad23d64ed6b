"""IAP and AMR-Transformer on meshes beside MSPT: bodies learnt for the same CPU seconds, and what tokens cost.

    python benchmarks/adaptive_mesh.py --seconds 120 --out runs/adaptive_mesh        # minutes per model
    python benchmarks/adaptive_mesh.py --out runs/adaptive_mesh --table              # what is there
    python benchmarks/adaptive_mesh.py --cost                                        # a training step in parts

The shipped Ahmed bodies, 24 to learn from and 6 to test, 1,024 cells of two bodies a step, one thread. AdamW with
averaged weights as in a run, but the rate falls from 1e-3 by a cosine of the seconds of the processor that are left:
all models have the same, and other programs do not shorten them. A study goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from meshops.datasets import AhmedMini
from meshops.models import create_model, model_arguments
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.tasks.base import Draw

SETTINGS = FieldsSettings(nodes=1024, passes=1)
IAP = {"name": "iapmesh", "channels": 96, "depth": 3, "num_heads": 4, "budget": 128}
AMR = {"name": "amrmesh", "channels": 96, "depth": 4, "num_heads": 4, "hidden": 192}
MODELS: dict[str, dict[str, Any]] = {
    "MSPT": {"name": "mspt", "channels": 96, "depth": 4, "num_heads": 6, "num_patches": 16},
    "IAP": IAP,
    "IAP, local decoder": {**IAP, "decoder": "local", "depth": 4},
    "IAP, leaves by count": {**IAP, "score_channels": []},
    "AMR-Transformer": AMR,
    "AMR-Transformer, no rotary": {**AMR, "rotary": False},
    "AMR-Transformer, painted": {**AMR, "decoder": "paint"},
}


def made(samples: Any, model: str) -> FieldsTask:
    """A task with a fresh model."""
    torch.manual_seed(0)
    given = dict(MODELS[model])
    name = given.pop("name")
    known = {key: v for key, v in samples.spec.model_arguments().items() if key in model_arguments(name)}
    return FieldsTask.fit(create_model(name, **known | given), samples, SETTINGS)


def run(samples: Any, model: str, seconds: float) -> dict[str, Any]:
    """Train for so many CPU seconds, judge on the test bodies."""
    task = made(samples, model)
    steps = learn(task, samples, seconds)
    report = task.evaluate(AhmedMini("test"))
    weights = sum(p.numel() for p in task.model.parameters())
    return {"model": model, "weights": weights, "steps": steps, "seconds": seconds, **report.numbers()}


def learn(task: FieldsTask, samples: Any, seconds: float) -> int:
    """AdamW until the time is over; the task is left with the average of its last weights."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    average = AveragedModel(task, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    start, steps = time.process_time(), 0
    while (left := 1 - (time.process_time() - start) / seconds) > 0:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * math.sin(left * math.pi / 2) ** 2
        numbers = torch.randperm(len(samples), generator=generator)[:2].tolist()
        draws = [Draw(number, 2 * steps + place) for place, number in enumerate(numbers)]
        optimizer.zero_grad()
        task.loss(task.batch(samples, draws))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(task)
        steps += 1
    task.load_state_dict(average.module.state_dict())
    return steps


def table(folder: Path) -> str:
    """Markdown: a line per model."""
    lines = ["| model | weights | steps | CPU s | pressure | shear | over MSPT |", "| --- " * 7 + "|"]
    rows = {name: json.loads(path.read_text()) for name in MODELS if (path := folder / f"{name}.json").exists()}
    best = rows.get("MSPT", {}).get("pressure_rel_l2")
    for name, row in rows.items():
        more = "" if best is None else f"{100 * (row['pressure_rel_l2'] / best - 1):+.0f} %"
        errors = f"{row['pressure_rel_l2']:.3f} | {row['shear_rel_l2']:.3f}"
        lines.append(
            f"| {name} | {row['weights'] / 1e6:.2f} M | {row['steps']} | {row['seconds']:.0f} | {errors} | {more} |"
        )
    return "\n".join(lines)


def cost(samples: Any) -> str:
    """Milliseconds of the processor of a training step: tokens of new subsets, of known ones, forward, backward."""
    lines = ["| model | tokens | new cut, ms | known cut, ms | forward, ms | backward, ms |", "| --- " * 6 + "|"]
    for name in ("MSPT", "IAP", "AMR-Transformer"):
        task = made(samples, name)
        rows = [step_parts(task, [Draw(2 * i, i), Draw(2 * i + 1, i)], samples) for i in range(8)]
        best = [f"{min(column):.1f}" for column in zip(*(times for _, times in rows), strict=True)]
        lines.append(f"| {name} | {rows[0][0]} | " + " | ".join(best) + " |")
    return "\n".join(lines)


def step_parts(task: FieldsTask, draws: list[Draw], samples: Any) -> tuple[str, list[float]]:
    """Tokens of a graph, and milliseconds of the parts of a step."""
    model: Any = task.model
    graph = task.inputs(task.batch(samples, draws))
    marks = [time.process_time()]
    for _ in range(2):
        inputs = model.unpack(graph)
        marks.append(time.process_time())
    out = model(inputs)
    marks.append(time.process_time())
    out.square().mean().backward()
    marks.append(time.process_time())
    tokens = getattr(inputs, "tokens", None)
    count = "" if tokens is None else str(tokens.num_tokens // len(draws))
    return count, [1e3 * (after - before) for before, after in pairwise(marks)]


def main() -> None:
    """Train, judge, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=120.0, help="CPU seconds of training per model")
    options.add_argument("--out", default="runs/adaptive_mesh")
    options.add_argument("--models", nargs="+", default=list(MODELS))
    options.add_argument("--table", action="store_true", help="only print what is there")
    options.add_argument("--cost", action="store_true", help="only the parts of a training step")
    args = options.parse_args()
    torch.set_num_threads(1)
    folder = Path(args.out)
    samples = None if args.table else FieldsTask.samples(AhmedMini("train"), SETTINGS)
    if args.cost:
        sys.stdout.write(cost(samples) + "\n")
        return
    for model in [] if args.table else args.models:
        path = folder / f"{model}.json"
        if not path.exists():
            row = run(samples, model, args.seconds)
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(row, indent=1) + "\n")
            sys.stderr.write(f"{row}\n")
    sys.stdout.write(table(folder) + "\n")


if __name__ == "__main__":
    main()
