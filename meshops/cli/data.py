"""``meshops data check ROOT`` and ``meshops data prepare ROOT --out STORE``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from meshops.cli.options import existing_folder, key_values, parser, print_json
from meshops.errors import DataWarning, InputError, MeshopsError, MissingDataError

TOLD = ("unreadable", "not finite", "other arrays")  # by the check of each case already


def run(argv: Sequence[str]) -> int:
    """Check a dataset, or write it into a store; exit code 1 if any case is wrong."""
    options = parser(
        "data",
        "check: read every case of a dataset and list what is wrong, in each case and between them (exit code 1 if\n"
        "anything is; hints are no problems). meshops look shows more.\n"
        "prepare: read every case once and write it into a store, which trains and is judged in bounded memory and at\n"
        "once when started again. What is there is kept; what cannot be read is told and left out (exit code 1).",
        "examples:\n"
        "  meshops data check /data/ahmedml\n"
        "  meshops data prepare /data/ahmedml --out store --jobs 8 --run models/mspt/ahmed.yaml\n"
        "  meshops train models/mspt/ahmed.yaml --data.name store --data.root store\n",
    )
    options.add_argument("action", choices=("check", "prepare"), help="check or prepare")
    options.add_argument("root", help="folder of the dataset, or a study.yaml")
    options.add_argument("--out", help="prepare: folder of the store")
    options.add_argument("--jobs", type=int, default=1, help="prepare: processes (default: %(default)s)")
    text = "prepare: only these cases, more of them another time: names with commas, or a file with one a line"
    options.add_argument("--cases", metavar="NAMES|FILE", help=text)
    text = "prepare: also compute the features of the training cases for this run file"
    options.add_argument("--run", metavar="RUN.yaml", help=text)
    options.add_argument("--name", help="dataset; default: recognised from the files")
    options.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="dataset option")
    options.add_argument("--json", action="store_true")
    args = options.parse_args(argv)
    existing_folder(args.root)
    if args.action == "prepare":
        return _prepare(args)

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


def _prepare(args: Any) -> int:
    """Write a store, and features for a run."""
    from meshops.checks import check_counts
    from meshops.cli.options import console, output_folder
    from meshops.datasets import detect
    from meshops.datasets.store import StoredCases
    from meshops.datasets.store_build import Origin, build, opened_origin
    from meshops.progress import followed

    if args.out is None:
        raise InputError("prepare needs --out, the folder of the store")
    check_counts(1, "--", jobs=args.jobs)
    options = key_values(args.option)
    origin = Origin.of(args.root, args.name or detect(args.root), options)
    count = len(opened_origin(origin))  # refuses what cannot be stored before anything is made
    screen, out = console(), output_folder(args.out)
    only = None if args.cases is None else _case_names(args.cases)
    each = build(out, origin, jobs=args.jobs, only=only)
    outcomes = list(followed(each, "reading the cases", screen, count=count))
    bad = [outcome for outcome in outcomes if outcome.state == "bad"]
    for outcome in bad if not args.json else ():
        sys.stdout.write(f"{outcome.name}: {outcome.reason}\n")
    counts = {state: sum(o.state == state for o in outcomes) for state in ("written", "kept", "bad")}
    prepared = 0
    if args.run is not None:
        from meshops.cli.train import parse
        from meshops.tasks import FieldsSettings
        from meshops.tasks.fields_samples import decided_spec, prepare_all

        task = parse([args.run]).task
        if not isinstance(task, FieldsSettings):
            raise InputError(f"{args.run}: only runs of kind 'fields' have features to prepare")
        cases = StoredCases(out, "train")
        spec, _ = decided_spec(cases, task)
        each_case = prepare_all(cases, spec, jobs=args.jobs)
        prepared = len(list(followed(each_case, "features", screen, count=len(cases))))
    if args.json:
        print_json({"store": str(out), **counts, "features": prepared, "problems": [o._asdict() for o in bad]})
    else:
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        more = f"; features of {prepared} training cases" if args.run is not None else ""
        sys.stdout.write(f"{out}: {told}{more}\n")
    return 1 if bad else 0


def _case_names(text: str) -> list[str]:
    """Names of cases: of a file with one a line, or with commas."""
    path = Path(text)
    names = path.read_text(encoding="utf-8").splitlines() if path.is_file() else text.split(",")
    return [name.strip() for name in names if name.strip()]


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
    from meshops.datasets.base import CaseDataset, unreadable
    from meshops.doctor import survey
    from meshops.doctor.look import examine, tested_cases

    if not isinstance(data, CaseDataset):
        return
    known = {row["case"] for row in rows}
    if len(known) == len(data):
        return
    try:
        findings, audit, _ = examine(survey(data, test=() if study is None else tested_cases(study)))
    except Exception as error:  # whatever values do to the comparison: the rest of the check is told
        text = f"the cases could not be compared with each other ({unreadable(error)})"
        rows.append({"case": "all", "file": None, "message": text, "text": f"all: {text}"})
        return
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
