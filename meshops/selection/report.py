"""The page of a fit: what was learnt from what, the candidates, the learning curve, the worst cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from meshops.datasets.base import CaseDataset
from meshops.selection.curve import MORE
from meshops.selection.result import FitResult
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import case_at
from meshops.tasks.report import Report, Row, shown
from meshops.viz.report import ReportData, Table, write_report

WORST = 3


def write_fit_report(result: FitResult, cases: CaseDataset, *, findings: Table | None = None) -> Path:
    """Write ``report.html``, one file that opens offline.

    Args:
        result: The fit.
        cases: All its cases.
        findings: What a check of the data found.
    """
    report, split = result.report, result.split
    chosen, judge = ", ".join(result.found.blend), "outer test" if split.test else "best candidate"
    heads = {key: text for key, text in report.columns.items() if key in report.mean}
    rows = {"surrogate": report.mean, **report.baselines}
    tables = {
        "Errors" if split.test else "Errors by cross-validation": Table(
            ["mean", *heads.values()], [[name.strip(), *map(row.get, heads)] for name, row in rows.items()]
        ),
        "Candidates": _candidates(result),
        "Cases, worst first": Table(
            ["case", *heads.values()], [[k, *map(row.get, heads)] for k, row in _worst_first(report)]
        ),
    }
    if (trust := result.surrogate.trust) is not None and trust.numbers:
        sources = list(dict.fromkeys(name for model in trust.numbers for name in model.errors))
        names = [f"{m.name} [{m.unit}]" if m.unit else m.name for m in trust.numbers]
        tables["Numbers"] = Table(
            ["held-out mean absolute error", *names], [[s, *(m.errors.get(s) for m in trust.numbers)] for s in sources]
        )
    if findings is not None:
        tables["What the doctor found"] = findings
    page = ReportData(
        title="A surrogate of your simulations",
        subtitle=f"{len(cases)} cases: {len(split.learn)} learnt from in {len(split.folds)} folds, "
        f"{len(split.test)} kept to judge the winner",
        summary=[
            ("chosen", chosen),
            ("error, cross-validation", shown(result.found.score)),
            *((f"error of {text}, {judge}", shown(report.mean.get(key))) for key, text in heads.items()),
            ("with ten more runs", result.curve.short()),
        ],
        tables=tables,
        pictures=_pictures(result, cases),
        warnings=[*result.notes, *report.warnings()],
        warnings_title="What you should know",
        provenance={
            section: {key: str(value) for key, value in values.items()}
            for section, values in result.surrogate.info.items()
            if isinstance(values, dict) and section != "held_out"
        },
        downloads=[("model.ckpt", "the surrogate"), ("metrics.json", "all numbers")],
    )
    return write_report(page, result.folder / "report.html")


def _worst_first(report: Report) -> list[tuple[str, Row]]:
    key = next(iter(report.columns), "")
    return sorted(report.cases.items(), key=lambda item: -float(item[1].get(key) or 0.0))


def _candidates(result: FitResult) -> Table:
    rows = []
    for candidate in result.found.candidates:
        weight = result.found.blend.get(candidate.name)
        share = "" if weight is None else " / ".join(f"{100 * w:.0f} %" for w in np.atleast_1d(weight))
        rows.append([candidate.name, candidate.score, share, candidate.note])
    return Table(["candidate", "held-out error", "share of the surrogate", ""], rows)


def _pictures(result: FitResult, cases: CaseDataset) -> list[tuple[Path, str]]:
    """The learning curve, and the worst cases of the outer split."""
    from meshops.viz.curve_plot import learning_plot

    folder, curve = result.folder / "pictures", result.curve
    out = []
    if curve.cases:
        more = None if curve.more is None else (curve.now[0] + MORE, curve.more)
        path = learning_plot(
            folder / "curve.png", curve.cases, curve.errors, label=curve.name, now=curve.now, more=more
        )
        out.append((path, f"Error against the number of cases. {curve.sentence()}"))
    return [*out, *_worst(result, cases, folder)]


def _worst(result: FitResult, cases: CaseDataset, folder: Path) -> list[tuple[Path, str]]:
    from meshops.viz.case import draw_case

    task, report = result.surrogate.task, result.report
    if not result.split.test or not isinstance(task, FieldsTask):
        return []
    key = next(iter(report.columns))
    out: list[tuple[Path, str]] = []
    for name, row in _worst_first(report)[:WORST]:
        case = case_at(cases, cases.cases.index(name), task.spec)
        made = task.predict(case)
        drawn = draw_case(case, made.fields, task.spec, folder, f"worst_{len(out)}")
        out += [
            (path, f"{name} ({report.columns[key]} {shown(row.get(key))}): {caption}") for path, caption in drawn[:1]
        ]
    return out
