"""``meshops bench ops|partition``: speed and memory beside installed peers."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from meshops.cli.options import parser
from meshops.errors import InputError
from meshops.io import write_json

SUITES = ("ops", "partition", "scaling")
FORMS = {"seconds": ".4f", "ratio": ".2f", "mebibytes": ".0f", "of_input": ".1f"}


def run(argv: Sequence[str]) -> int:
    """Measure a suite, print a table, write JSON."""
    options = parser(
        "bench",
        "Speed and memory of operations or partitioners, beside the packages that do the same\n"
        "where they are installed (SciPy, scikit-learn, torch-scatter, torch-cluster,\n"
        "balltree-erwin, pymetis). All are measured in turns; the fastest repetition counts.\n"
        "'times ours' above 1: we are faster.",
        "examples:\n  meshops bench ops --points 1000000 --out ops.json\n"
        "  meshops bench partition --points 100000 1000000 --threads 1\n"
        "  meshops bench scaling --out scaling.json --plot scaling.png\n",
    )
    options.add_argument("suite", help="ops, partition or scaling")
    options.add_argument("--points", type=int, nargs="+", help="numbers of points (default: 100000 1000000)")
    options.add_argument("--case", default="", help="only cases whose name contains this")
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--threads", type=int, default=0, help="CPU threads (default: as PyTorch chooses)")
    options.add_argument("--out", help="JSON file with all figures and versions")
    options.add_argument("--plot", help="scaling: PNG to draw")
    args = options.parse_args(argv)
    if args.suite not in SUITES:
        raise InputError(f"the suite must be one of {', '.join(SUITES)}, got '{args.suite}'")
    if args.repeat < 1 or min(args.points or [2]) < 2 or args.threads < 0:
        raise InputError("--repeat must be at least 1, --points at least 2, --threads not negative")

    from meshops.bench.measure import machine, threads

    with threads(args.threads):
        about = machine()
        sys.stdout.write(f"{about['cpu']}, {about['threads']} threads; seconds\n")
        rows = _scaling(args) if args.suite == "scaling" else _suite(args)
    if args.out:
        write_json(args.out, {"machine": about, "suite": args.suite, "rows": rows})
    return 0


def _suite(args: Any) -> list[dict[str, Any]]:
    from meshops.bench import measure, operation_cases, partition_cases

    cases_of = operation_cases if args.suite == "ops" else partition_cases
    rows = []
    for points in args.points or (100_000, 1_000_000):
        chosen = [case for case in cases_of(points) if args.case.lower() in case.name.lower()]
        if not chosen:
            names = ", ".join(f"'{case.name}'" for case in cases_of(2))
            raise InputError(f"no case of '{args.suite}' contains '{args.case}'; there are {names}")
        for case in chosen:
            results = measure(case, args.repeat)
            rows += [dataclasses.asdict(result) for result in results]
            _print(case.name, case.rows, rows[-len(results) :])
    return rows


def _print(name: str, count: int, rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{name}: {count:,} rows", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for column in ("seconds", "times ours", "MiB", "of input"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in rows:
        cells = ["" if row[key] is None else f"{row[key]:{form}}" for key, form in FORMS.items()]
        facts = ", ".join(f"{key} {value:.4g}" for key, value in row["facts"].items())
        table.add_row(row["name"], *cells, row["note"] or facts)
    Console(file=sys.stdout, width=120).print(table)


def _scaling(args: Any) -> list[dict[str, float | str]]:
    from meshops.bench import draw_scaling, measure_scaling

    points = args.points or (10_000, 30_000, 100_000, 300_000, 1_000_000, 4_000_000)
    table = measure_scaling(points, args.repeat)
    for row in table:
        sys.stdout.write(
            f"{row['run']:<14} {row['points']:>9,} points {row['seconds']:>9.4f} s "
            f"{row['ns']:>7.2f} ns per point and log2\n"
        )
    if args.plot:
        draw_scaling(table, args.plot)
    return table
