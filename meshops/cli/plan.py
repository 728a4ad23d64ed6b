"""``meshops plan CKPT|RUN.yaml --cells 160e6 --gpus 0 1 8 64``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshops.cli.options import console, existing_checkpoint, memory, parser, print_json
from meshops.errors import InputError

CELLS = 10_000  # of the body whose reading and features are timed
HOURS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def run(argv: Sequence[str]) -> int:
    """Plan; exit code 1 where something does not fit."""
    options = parser(
        "plan",
        "How a mesh of a given size is predicted and learnt on this machine or on GPUs: chunk, passes, nodes a step,\n"
        "checkpointing, offload, memory and time, and what these rest on: a probe of the model here, and for GPUs the\n"
        "published numbers of their maker. Exit code 1 if something does not fit.",
        "examples:\n"
        "  meshops plan runs/network/model.ckpt --cells 160e6 --gpus 0 1 8 64\n"
        "  meshops plan models/mspt/ahmed.yaml --cells 160e6 --gpus 8 --gpu h200 --memory 2TB --time 2h\n",
    )
    options.add_argument("model", help="model.ckpt, or a run file whose data are at hand")
    options.add_argument("--cells", type=float, default=1e6, help="nodes of the mesh (default: 1e6)")
    options.add_argument("--gpus", type=int, nargs="+", default=[0], help="numbers of GPUs; 0: this CPU (default)")
    options.add_argument("--gpu", default="h100", help="kind of GPU: a100, h100, h200, l40s (default: %(default)s)")
    text = "share of the published peak that is reached (default: %(default)g, an assumption)"
    options.add_argument("--efficiency", type=float, default=0.2, help=text)
    text = "memory of the host, such as 12GB (default: what is free here)"
    options.add_argument("--memory", metavar="SIZE", help=text)
    text = "that a prediction or a training may take: 90s, 30m, 2h, 3d (default: any)"
    options.add_argument("--time", metavar="TIME", help=text)
    options.add_argument("--json", action="store_true", help="print everything as JSON")
    args = options.parse_args(argv)
    if Path(args.model).suffix == ".ckpt":
        existing_checkpoint(args.model)
    cells, seconds = _cells(args.cells), None if args.time is None else _seconds(args.time)
    host = None if args.memory is None else memory(args.memory)

    from meshops.folders import available_memory
    from meshops.training.plan import CHIPS, Measured, make_plan, reasons

    if args.gpu not in CHIPS:
        raise InputError(f"--gpu must be one of {', '.join(CHIPS)}, got '{args.gpu}'")
    task, batch = _task(args.model)
    chip, host = CHIPS[args.gpu], available_memory() if host is None else host
    known = Measured.of(task, batch=batch, prepare=_prepare_seconds(task))
    more: dict[str, Any] = {"chip": chip, "memory": host, "seconds": seconds, "efficiency": args.efficiency}
    plans = [make_plan(known, cells, gpus=gpus, **more) for gpus in args.gpus]
    why = reasons(known, chip, any(args.gpus), args.efficiency)
    if args.json:
        print_json({"cells": cells, "memory": host, "plans": [plan.to_dict() for plan in plans], "rests_on": why})
    else:
        sys.stdout.write("\n".join([*why, "", *_table(plans, cells)]) + "\n")
    return int(any(plan.trouble for plan in plans))


def _table(plans: Sequence[Any], cells: int) -> list[str]:
    lines = [f"plan for {cells:,} nodes", ""]
    for plan in plans:
        where = f"{plan.gpus} GPU{'s' if plan.gpus > 1 else ''}" if plan.gpus else "this CPU"
        ready = "not measured" if plan.prepare_s is None else _told(plan.prepare_s)
        lines += [
            f"{where}:",
            f"  predict  {plan.chunk:,} nodes at a time on each device, passes: {plan.passes}, features "
            f"{plan.offload}, host {plan.host_gb:.0f} GB",
            f"           reading and features {ready} (one host as this), network {_told(plan.network_s)}",
            *_training_lines(plan),
            *(f"  does not fit: {line}" for line in plan.trouble),
        ]
    return lines


def _training_lines(plan: Any) -> list[str]:
    """Of a network; nothing is trained in closed form."""
    if not plan.nodes_a_step:
        return []
    return [
        f"  train    {plan.nodes_a_step:,} nodes a step, checkpointing {'on' if plan.checkpointing else 'off'}, "
        f"{plan.train_gb:.2g} GB a device, {_told(plan.step_s)} a step"
        + f"; {plan.most_a_step[0]:,} would fit a device, {plan.most_a_step[1]:,} with checkpointing"
        + ("" if plan.steps is None else f", {plan.steps:,} steps in the time"),
    ]


def _told(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.2g} ms"
    return (
        f"{seconds:.3g} s"
        if seconds < 600
        else f"{seconds / 60:.3g} min"
        if seconds < 36000
        else f"{seconds / 3600:.3g} h"
    )


def _cells(given: float) -> int:
    if not 1 <= given < 1e13:
        raise InputError(f"--cells is a number of nodes from 1 on, such as 160e6, got {given:g}")
    return int(given)


def _seconds(text: str) -> float:
    """``"2h"`` in seconds."""
    try:
        value = float(text[:-1]) * HOURS[text[-1:]]
    except (ValueError, KeyError):
        raise InputError(f"--time is a number with s, m, h or d, such as 2h; got '{text}'") from None
    if not 0 < value < float("inf"):
        raise InputError(f"--time must be positive, got '{text}'")
    return value


def _task(path: str) -> tuple[Any, int]:
    """The task of a checkpoint, or a new one of a run file; and how many subsets a step of training takes.

    Raises:
        InputError: It is of another kind than fields.
    """
    from meshops.tasks import FieldsTask

    task: Any
    if Path(path).suffix not in (".yaml", ".yml") and Path(path).exists():
        from meshops.surrogate import load

        task, batch = load(path).task, 1
        kind = task.kind
    else:
        from meshops.cli.train import parse
        from meshops.training.plan import new_task

        console().print(f"reading the first case of {path}")
        config = parse([path])
        kind, batch = config.kind, config.train.batch_size
        if kind == "fields":
            return new_task(config), batch
        task = None
    if not isinstance(task, FieldsTask):
        raise InputError(f"{path}: of kind '{kind}'; plans are made for surrogates of kind fields")
    return task, batch


def _prepare_seconds(task: Any) -> float | None:
    """Seconds of the processor to read a node and to compute its features; None for others than surfaces of bodies."""
    if task.spec.domain != "surface":
        return None
    from meshops.data.surface import refine
    from meshops.solvers.ahmed_body import ahmed_body

    body = ahmed_body(1.044, 0.36, 0.29, 0.1, 0.2, 20.0, 0.05)
    area = float(body.compute_cell_sizes(length=False, volume=False)["Area"].sum())
    mesh, _ = refine(body, 2.2 * (area / CELLS) ** 0.5)
    conditions = dict.fromkeys(task.spec.conditions, 0.0)
    seconds = []
    for _ in range(2):  # the first call compiles
        start = time.process_time()
        case = task.open(mesh, refine=False, conditions=conditions)
        task.prepared(case)
        seconds.append((time.process_time() - start) / len(case.graph.pos))
    return min(seconds)
