"""``meshops data check ROOT``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from meshops.cli.options import existing_folder, key_values, parser, print_json


def run(argv: Sequence[str]) -> int:
    """Read every case of a dataset; exit code 1 if anything is wrong."""
    options = parser(
        "data",
        "check: read every case of a dataset and list what is wrong (exit code 1 if anything is).",
        "example:\n  meshops data check /data/ahmedml\n",
    )
    options.add_argument("action", choices=("check",), help="check")
    options.add_argument("root", help="folder of the dataset")
    options.add_argument("--name", help="dataset; default: recognised from the files")
    options.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="dataset option")
    options.add_argument("--json", action="store_true")
    args = options.parse_args(argv)
    existing_folder(args.root)
    given = key_values(args.option)

    from meshops.datasets import detect, open_data

    name = args.name or detect(args.root)
    data = open_data(name, root=args.root, split="all", **given)
    problems = list(data.check())
    if args.json:
        rows = [
            {"case": p.case, "file": None if p.file is None else str(p.file), "message": p.message} for p in problems
        ]
        print_json({"dataset": name, "cases": len(data), "problems": rows})
    else:
        for problem in problems:
            sys.stdout.write(f"{problem}\n")
        sys.stdout.write(f"{name}: {len(data)} cases, {len(problems)} problems\n")
    return 1 if problems else 0
