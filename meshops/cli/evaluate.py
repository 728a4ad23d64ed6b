"""``meshops evaluate CKPT --data NAME``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshops.cli.options import console, existing_checkpoint, key_values, output_folder, parser, print_json, speaks
from meshops.errors import InputError


def run(argv: Sequence[str]) -> int:
    """Errors of a checkpoint on a split."""
    options = parser(
        "evaluate",
        "Errors of a surrogate of any kind on a split, in physical units, beside what needs no training:\n"
        "relative L2 of fields, drag and lift; VRMSE of steps and rollouts; N-RMSE on moving meshes;\n"
        "reconstruction by part of the points; errors, CRPS and spread of ensembles.\n"
        "What the run was asked (steps, passes, ...) is asked again.",
        "examples:\n"
        "  meshops evaluate runs/demo/model.ckpt --data ahmed_mini --split test --json > errors.json\n"
        "  meshops evaluate runs/mine/model.ckpt --calibrate my_other_runs      (intervals, from cases it never saw)\n",
    )
    options.add_argument("checkpoint", help="model.ckpt of a run")
    options.add_argument("--data", help="dataset name (ahmed_mini) or folder of a dataset")
    text = "calibrate: write intervals from these cases, which it did not learn from, into the checkpoint"
    options.add_argument("--calibrate", metavar="ROOT", help=text)
    options.add_argument("--root", help="folder, when --data is a name")
    options.add_argument("--split", help="default: test; with --calibrate all")
    options.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="dataset option")
    text = "another value of what the run was asked: steps=50, samples=16, method=anchored"
    options.add_argument("--ask", action="append", default=[], metavar="KEY=VALUE", help=text)
    options.add_argument("--yardsticks", action="store_true", help="also nearest and average training shape")
    options.add_argument("--pictures", metavar="DIR", help="draw there")
    options.add_argument("--device", default="cpu")
    options.add_argument("--json", action="store_true", help="everything, case by case, as JSON")
    args = options.parse_args(argv)
    existing_checkpoint(args.checkpoint)
    asked, extra = key_values(args.ask), key_values(args.option)

    if (args.data is None) == (args.calibrate is None):
        raise InputError("give --data to judge it, or --calibrate ROOT to calibrate it, one of them")
    if args.calibrate is not None and (args.ask or args.yardsticks or args.pictures):
        raise InputError(
            "--calibrate learns the errors of predictions as they are made by default; leave out --ask, --yardsticks "
            "and --pictures, which belong to --data"
        )

    from meshops import ranks

    with ranks.joined():  # the cases are shared out where torchrun started several processes
        return _judge(args, asked, extra)


def _judge(args: Any, asked: dict[str, Any], extra: dict[str, Any]) -> int:
    from meshops import ranks
    from meshops.surrogate import load
    from meshops.tasks import Context
    from meshops.trust import support

    surrogate = load(args.checkpoint, device=args.device)
    if args.calibrate is not None:
        cases = _opened(surrogate, args.calibrate, args.root, args.split or "all", extra)
        made = surrogate.calibrate(cases, context=Context(console=console(), device=surrogate.task.device))
        made.info["calibration"] = {"data": args.calibrate, "date": time.strftime("%Y-%m-%d")}
        ranks.by_first(lambda: made.save(args.checkpoint))
        assert made.trust is not None
        if not speaks():
            return 0
        if args.json:
            print_json(made.trust.summary())
            return 0
        sys.stdout.write(f"calibrated {args.checkpoint}: {support(made.trust)}\n")
        return 0
    data = _opened(surrogate, args.data, args.root, args.split or "test", extra)
    training = _opened(surrogate, args.data, args.root, "train", extra) if args.yardsticks else None
    folder = Path(output_folder(args.pictures)) if args.pictures and speaks() else None
    context = Context(console=console(), folder=folder, device=surrogate.task.device)
    report = surrogate.evaluate(data, training=training, context=context, **asked)
    if not speaks():
        return 0
    if args.json:
        print_json(report.to_dict())
        return 0
    sys.stdout.write(report.table() + "\n")
    if report.pictures:
        sys.stdout.write(f"written: {', '.join(map(str, report.pictures))}\n")
    return 0


def _opened(surrogate: Any, where: str, root: str | None, split: str, given: dict[str, Any]) -> Any:
    """A dataset by its name, or any folder of simulations."""
    from meshops.datasets import detect, names, open_data
    from meshops.datasets.registry import options as options_of

    name = where.lower().replace("-", "_")
    if name not in names():
        name, root = detect(where), where
    chosen = dict(given)
    for key in ("inputs", "fields", "domain"):  # a dataset reads what the surrogate was trained on
        value = getattr(surrogate.spec, key, None)
        if key in options_of(name) and value not in (None, "graph"):
            chosen.setdefault(key, value)
    return open_data(name, root=root, split=split, **chosen)
