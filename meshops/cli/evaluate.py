"""``meshops evaluate CKPT --data NAME``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from meshops.cli.options import console, existing_checkpoint, key_values, output_folder, parser, print_json


def run(argv: Sequence[str]) -> int:
    """Errors of a checkpoint on a split."""
    options = parser(
        "evaluate",
        "Errors of a surrogate of any kind on a split, in physical units, beside what needs no training:\n"
        "relative L2 of fields, drag and lift; VRMSE of steps and rollouts; N-RMSE on moving meshes;\n"
        "reconstruction by part of the points; errors, CRPS and spread of ensembles.\n"
        "What the run was asked (steps, passes, ...) is asked again.",
        "example:\n  meshops evaluate runs/demo/model.ckpt --data ahmed_mini --split test --json > errors.json\n",
    )
    options.add_argument("checkpoint", help="model.ckpt of a run")
    options.add_argument("--data", required=True, help="dataset name (ahmed_mini) or folder of a dataset")
    options.add_argument("--root", help="folder, when --data is a name")
    options.add_argument("--split", default="test", help="default: %(default)s")
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

    from meshops.datasets import detect, names, open_data
    from meshops.datasets.registry import options as options_of
    from meshops.surrogate import load
    from meshops.tasks import Context

    surrogate = load(args.checkpoint, device=args.device)
    known = args.data.lower().replace("-", "_") in names()
    name, root = (args.data, args.root) if known else (detect(args.data), args.data)
    for key in ("inputs", "fields", "domain"):  # a dataset reads what the surrogate was trained on
        value = getattr(surrogate.spec, key, None)
        if key in options_of(name) and value not in (None, "graph"):
            extra.setdefault(key, value)
    data = open_data(name, root=root, split=args.split, **extra)
    training = open_data(name, root=root, split="train", **extra) if args.yardsticks else None
    folder = Path(output_folder(args.pictures)) if args.pictures else None
    context = Context(console=console(), folder=folder, device=surrogate.task.device)
    report = surrogate.evaluate(data, training=training, context=context, **asked)
    if args.json:
        print_json(report.to_dict())
        return 0
    sys.stdout.write(report.table() + "\n")
    if report.pictures:
        sys.stdout.write(f"written: {', '.join(map(str, report.pictures))}\n")
    return 0
