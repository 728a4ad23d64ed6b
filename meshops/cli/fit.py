"""``meshops fit FOLDER|study.yaml [--minutes 20]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meshops.cli.options import console, parser, print_json

if TYPE_CHECKING:
    from meshops.tasks import Report

EPILOG = """examples:
  meshops fit my_runs                                     any folder of finished simulations
  meshops fit my_runs_look/study.yaml --minutes 60        as corrected after 'meshops look my_runs'
  meshops fit my_runs --out runs/mine --resume            go on where Ctrl-C stopped it
  meshops fit three_runs --start runs/demo/model.ckpt     go on from a surrogate of other data
  meshops predict runs/mine/model.ckpt new_shape.stl --set speed=30 --report
"""


def run(argv: Sequence[str]) -> int:
    """Fit."""
    options = parser(
        "fit",
        "The best surrogate of a folder of finished simulations that the time allows, chosen by cross-validation\n"
        "among averages, nearest cases, principal components with regressions, boosted trees, networks and\n"
        "blends, and judged on cases that chose nothing.",
        EPILOG,
    )
    options.add_argument("data", help="folder of simulations, or a study.yaml")
    options.add_argument("--minutes", type=float, default=20.0, help="time it may take (default: %(default)g)")
    options.add_argument("--out", help="folder of the fit (default: runs/fit/<name of the data>)")
    options.add_argument("--seed", type=int, default=0, help="of the split and all else that is random")
    text = "cases that judge the winner: a share, or names with commas (default: as in the study, else 0.2)"
    options.add_argument("--test", default=None, metavar="SHARE|CASES", help=text)
    text = "checkpoint of a surrogate of other data with the same fields, to go on from"
    options.add_argument("--start", default="", metavar="CKPT", help=text)
    options.add_argument(
        "--networks",
        metavar="NAMES",
        help="models that may be tried, with commas (default: those that suit the data); none: no network",
    )
    text = "off, or a folder: where the cases are kept to be streamed (default: beside --out, where memory is short)"
    options.add_argument("--store", default="auto", metavar="FOLDER", help=text)
    options.add_argument("--resume", action="store_true", help="go on with the fit in --out")
    options.add_argument("--overwrite", action="store_true", help="remove the fit in --out")
    options.add_argument("--json", action="store_true", help="print the errors as JSON")
    args = options.parse_args(argv)

    screen = console()
    screen.print(f"looking at {args.data}")
    from meshops.selection import FitConfig, FitResult, fit_study
    from meshops.selection.from_study import seen
    from meshops.selection.numbers import NumbersFit

    study, findings = seen(args.data, console=screen)
    config = FitConfig(
        minutes=args.minutes,
        out=args.out or f"runs/fit/{study.root.resolve().name}",
        seed=args.seed,
        test=_test(args.test),
        start=args.start,
        networks=_names(args.networks),
        store=args.store,
    )
    result = fit_study(study, config, findings=findings, resume=args.resume, overwrite=args.overwrite, console=screen)
    if isinstance(result, NumbersFit):
        return _print(result.report, result.lines(), result.folder, as_json=args.json)
    lines = [f"chosen: {result.surrogate.task.made.name}"]
    if isinstance(result, FitResult):
        lines = [f"chosen: {', '.join(result.found.blend)}", result.curve.sentence()]
    return _print(result.report, lines, result.folder, as_json=args.json)


def _print(report: Report, lines: Sequence[str], folder: Path, *, as_json: bool) -> int:
    if as_json:
        print_json(report.to_dict())
        return 0
    sys.stdout.write("\n".join([report.table(), *lines]) + "\n")
    sys.stdout.write(f"written to {folder}: model.ckpt, metrics.json, report.html\n")
    return 0


def _test(text: str | None) -> float | tuple[str, ...]:
    if text is None:
        return 0.2
    try:
        return float(text)
    except ValueError:
        return tuple(name.strip() for name in text.split(",") if name.strip())


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return () if text == "none" else tuple(name.strip() for name in text.split(",") if name.strip())
