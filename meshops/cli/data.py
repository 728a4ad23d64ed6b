"""``meshops data check ROOT``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from meshops.cli.options import existing_folder, key_values, parser, print_json
from meshops.errors import DataWarning, InputError, MeshopsError, MissingDataError

TOLD = ("unreadable", "not finite", "other arrays")  # by the check of each case already


def run(argv: Sequence[str]) -> int:
    """Read every case of a dataset; exit code 1 if anything is wrong."""
    options = parser(
        "data",
        "check: read every case of a dataset and list what is wrong, in each case and between them (exit code 1 if\n"
        "anything is; hints are no problems). meshops look shows more.",
        "example:\n  meshops data check /data/ahmedml\n",
    )
    options.add_argument("action", choices=("check",), help="check")
    options.add_argument("root", help="folder of the dataset, or a study.yaml")
    options.add_argument("--name", help="dataset; default: recognised from the files")
    options.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="dataset option")
    options.add_argument("--json", action="store_true")
    args = options.parse_args(argv)
    existing_folder(args.root)

    name, data, study = _open(args)
    rows: list[dict[str, Any]] = []
    hints: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # remarks on the way are no findings
        for problem in _problems(data):
            file = None if problem.file is None else str(problem.file)
            rows.append({"case": problem.case, "file": file, "message": problem.message, "text": str(problem)})
        _examine(data, study, rows, hints)
    if args.json:
        problems = [{key: row[key] for key in ("case", "file", "message")} for row in rows]
        print_json({"dataset": name, "cases": len(data), "problems": problems, "hints": hints})
    else:
        for row in rows:
            sys.stdout.write(f"{row['text']}\n")
        for hint in hints:
            sys.stdout.write(f"hint: {hint}\n")
        sys.stdout.write(f"{name}: {len(data)} cases, {len(rows)} problems\n")
    return 1 if rows else 0


def _problems(data: Any) -> Iterator[Any]:
    """What ``data.check()`` finds; a file that ends the check itself is a problem too."""
    from meshops.datasets.base import CaseProblem, unreadable

    try:
        yield from data.check()
    except Exception as error:
        yield CaseProblem("all", None, unreadable(error))


def _open(args: Any) -> tuple[str, Any, Any]:
    """Name, dataset and study (where the folder is one) of what was asked for."""
    from meshops.datasets import detect, open_data
    from meshops.datasets.base import unreadable
    from meshops.doctor.look import cases_of, study_of

    options = key_values(args.option)
    if args.name or options:
        name = args.name or detect(args.root)
        return name, open_data(name, root=args.root, split="all", **options), None
    try:
        study = study_of(args.root)
        if study.published:
            return study.layout, open_data(study.layout, root=args.root, split="all"), study
        return study.layout, cases_of(study), study
    except Exception as error:  # trajectories on grids have a layout and are no study
        try:
            name = detect(args.root)
        except MissingDataError:
            raise
        except InputError:
            if isinstance(error, MeshopsError):
                raise error from None
            raise InputError(f"{args.root}: {unreadable(error)}") from None
        return name, open_data(name, root=args.root, split="all"), None


def _examine(data: Any, study: Any, rows: list[dict[str, Any]], hints: list[str]) -> None:
    """What the run doctor and the force audit say of finished cases."""
    from meshops.datasets.base import CaseDataset
    from meshops.doctor import survey
    from meshops.doctor.look import examine, tested_cases

    if not isinstance(data, CaseDataset):
        return
    known = {row["case"] for row in rows}
    if len(known) == len(data):
        return
    findings, audit, _ = examine(survey(data, test=() if study is None else tested_cases(study)))
    for finding in findings:
        alone = finding.kind == "forces" and len(data) - len(known) < 2  # one case fits any factor
        if finding.severity == "hint" or alone:
            hints.append(str(finding))
        elif finding.kind == "forces" and audit is not None:
            for case, number, made, table in audit.pairs:
                text = f"integrated {number} {made:.4g} is not that of the table, {table:.4g}: {finding.what}"
                rows.append({"case": case, "file": None, "message": text, "text": f"{case}: {text}"})
        elif not (finding.kind in TOLD and finding.case in known):
            rows.append({"case": finding.case, "file": None, "message": str(finding), "text": str(finding)})
