"""``meshops compare RUN.yaml RUN.yaml ...``: models instead of designs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from meshops.cli.options import console, parser, print_json
from meshops.errors import InputError


def run(argv: Sequence[str]) -> int:
    """Models on the same data with the same budget."""
    options = parser(
        "compare",
        "Which model is better on the same data with the same budget: mean and spread over seeds, weights, time,\n"
        "memory, and whether the cases can tell them apart. Every run is a 'meshops train' in a process of its own;\n"
        "what is done is kept. Other settings, such as --data.root FOLDER, hold for all.",
        "examples:\n"
        "  meshops compare mspt.yaml transolver.yaml --seconds 600 --data.root FOLDER --out compared_models\n"
        "  meshops compare a.yaml b.yaml c.yaml --steps 2000 --seeds 0 1 2 --train.threads 1\n",
    )
    options.add_argument("runs", nargs="+", metavar="RUN.yaml", help="two or more run files")
    options.add_argument("--out", default="compared_models", help="folder of runs and tables (default: %(default)s)")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    options.add_argument("--seconds", type=float, help="processor seconds of training for each run")
    options.add_argument("--steps", type=int, help="steps of each run, instead")
    options.add_argument("--json", action="store_true", help="print everything as JSON")
    args, changes = options.parse_known_args(argv)
    from meshops.cli.train import parse

    names = [Path(file).stem for file in args.runs]
    if len(set(names)) < len(names):
        names = [str(Path(file).with_suffix("")).replace("/", "_") for file in args.runs]
    configs = {name: parse([file, *changes]) for name, file in zip(names, args.runs, strict=True)}
    if len(configs) < len(args.runs):
        raise InputError("two run files of one name: rename one, its name stands in the table")
    from meshops.training.contest import contest
    from meshops.training.contest_tables import lines, write_tables

    found = contest(
        configs, args.out, seeds=args.seeds, seconds=args.seconds, steps=args.steps,
        imports=[getattr(args, "import")] if getattr(args, "import") else (), console=console(),
    )  # fmt: skip
    written = write_tables(found, args.out)
    if args.json:
        print_json({"budget": found.budget, "runs": [vars(outcome) for outcome in found.outcomes]})
    else:
        sys.stdout.write("\n".join(lines(found)) + "\n")
    console().print(f"  -> {', '.join(map(str, written))}")
    return 0
