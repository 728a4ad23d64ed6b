"""``meshops evaluate CKPT --data NAME``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from meshops.cli.options import console, key_values, parser, print_json
from meshops.cli.tables import metrics_table


def run(argv: Sequence[str]) -> int:
    """Errors of a checkpoint on a split."""
    options = parser(
        "evaluate",
        "Relative L2, MAE and R2 of each field in physical units, and errors of drag and lift, on a split.",
        "example:\n  meshops evaluate runs/demo/model.ckpt --data ahmed_mini --split test --json > errors.json\n",
    )
    options.add_argument("checkpoint", help="model.ckpt of a run")
    options.add_argument("--data", required=True, help="dataset name (ahmed_mini) or folder of a dataset")
    options.add_argument("--root", help="folder, when --data is a name")
    options.add_argument("--split", default="test", help="default: %(default)s")
    options.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="dataset option")
    options.add_argument("--method", default="interleaved", choices=("interleaved", "anchored"))
    options.add_argument("--yardsticks", action="store_true", help="also mean, nearest and average training shape")
    options.add_argument("--device", default="cpu")
    options.add_argument("--json", action="store_true", help="everything, case by case, as JSON")
    args = options.parse_args(argv)

    import meshops
    from meshops.datasets import create, detect, names
    from meshops.datasets.registry import options as options_of
    from meshops.training.evaluate import evaluate

    surrogate = meshops.load(args.checkpoint, device=args.device)
    name, root = (args.data, args.root) if args.data in names() else (detect(args.data), args.data)
    extra = key_values(args.option)
    for key, value in (("fields", surrogate.spec.fields), ("domain", surrogate.spec.domain)):
        if key in options_of(name):
            extra.setdefault(key, value)
    data = create(name, root=root, split=args.split, **extra)
    training = create(name, root=root, split="train", **extra) if args.yardsticks else None
    metrics = evaluate(surrogate, data, training=training, method=args.method, console=console())
    if args.json:
        print_json(metrics)
    else:
        sys.stdout.write(metrics_table(metrics) + "\n")
    return 0
