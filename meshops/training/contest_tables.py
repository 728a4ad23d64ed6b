"""A contest of models as a table for the terminal, LaTeX, CSV and a page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from meshops.io import write_bytes, write_text
from meshops.tasks.report import shown
from meshops.training.contest import LEAST_CASES, Contest
from meshops.viz.report import ReportData, write_report

SURE = 0.05
COST = ("weights", "steps", "CPU s", "memory")
SPECIAL = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "|": r"\textbar{}",
    "±": r"$\pm$", "–": "--",
}  # fmt: skip


def rows(contest: Contest) -> list[list[str]]:
    """A line per model (errors with their spread, marks, what it cost), then one per yardstick.

    ``*`` marks the least mean, ``=`` models that the cases cannot tell from it at 5 %.
    """
    marks = {error: _marks(contest, error) for error in contest.errors}
    out = []
    for model in contest.models:
        runs = contest.of(model)
        cells = []
        for error in contest.errors:
            mean, spread = contest.spread(model, error)
            digits = 3 if mean >= 0.01 else max(0, 2 - math.floor(math.log10(max(mean, 1e-12))))
            around = f" ± {spread:.{digits}f}" if len(runs) > 1 else ""
            cells.append(shown(mean) + around + marks[error].get(model, ""))
        first = runs[0]
        seconds = sum(run.seconds for run in runs) / len(runs)
        memory = max(run.memory for run in runs) / 1e9
        cost = [f"{first.weights / 1e6:.2f} M", f"{first.steps:,}", f"{seconds:.0f}", f"{memory:.2f} GB"]
        out.append([model, *cells, *cost])
    for name, row in contest.outcomes[0].baselines.items():
        if any(error in row for error in contest.errors):
            out.append([name.strip(), *(shown(row.get(error)) for error in contest.errors), *("",) * len(COST)])
    return out


def lines(contest: Contest) -> list[str]:
    """The table in Markdown, with what it is of."""
    head = ["model", *contest.errors.values(), *COST]
    table = [head, ["---"] * len(head), *rows(contest)]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in table)
    return [*("| " + " | ".join(row) + " |" for row in escaped), "", *without_skill(contest), *about(contest)]


def about(contest: Contest) -> list[str]:
    """What the figures are of, and how sure the order is."""
    seeds = sorted({run.seed for run in contest.outcomes})
    cases = len(contest.outcomes[0].cases)
    spread = f"mean and standard deviation of {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    text = [
        f"{contest.outcomes[0].title}; {spread}; {contest.budget}, one process each; CPU s and memory of whole runs."
    ]
    if cases < LEAST_CASES:
        text.append(f"{cases} test cases are too few to tell whether models differ (at least {LEAST_CASES}).")
        return text
    text.append(
        "* least mean; = not told from it by the cases at 5 % (Wilcoxon's signed-rank test, Holm's correction)."
    )
    for error, heading in contest.errors.items():
        chances = contest.worse(error)
        told = ", ".join(f"{model} {chance:.2g}" for model, chance in chances.items())
        text.append(f"{heading}: p that another is as good as {contest.best(error)}: {told}")
    return text


def without_skill(contest: Contest) -> list[str]:
    """A sentence for each error in which what needs no training beats every model."""
    out = []
    for error, heading in contest.errors.items():
        least, best = contest.spread(contest.best(error), error)[0], contest.best(error)
        rows = contest.outcomes[0].baselines.items()
        others = [(float(v), name.strip()) for name, row in rows if (v := row.get(error)) is not None]
        if others and min(others)[0] < least:
            value, name = min(others)
            out.append(f"no skill in {heading}: '{name}' has {shown(value)}, the best model ({best}) {shown(least)}")
    return out


def write_tables(contest: Contest, folder: str | Path) -> list[Path]:
    """Write ``table.md``, ``table.tex``, ``runs.csv`` and ``compare.html``; returns them."""
    folder = Path(folder)
    head = ["model", *contest.errors.values(), *COST]
    table = rows(contest)
    page = ReportData(
        title="Models beside each other",
        subtitle=contest.outcomes[0].title,
        summary=[(f"least {text}", contest.best(error)) for error, text in contest.errors.items()],
        tables={"Errors and costs": (head, table), "Cases": _cases(contest)},
        warnings=[*without_skill(contest), *about(contest)],
        warnings_title="What the figures are of",
    )
    return [
        write_text(folder / "table.md", "\n".join(lines(contest)) + "\n"),
        write_text(folder / "table.tex", latex(head, table)),
        write_bytes(folder / "runs.csv", _csv(contest)),
        write_report(page, folder / "compare.html"),
    ]


def latex(head: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """A ``tabular`` without packages."""
    lines = [r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}", r"\hline"]
    lines += [" & ".join(map(_escaped, head)) + r" \\", r"\hline"]
    lines += [" & ".join(map(_escaped, row)) + r" \\" for row in table]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def _marks(contest: Contest, error: str) -> dict[str, str]:
    chances = contest.worse(error)
    return {model: "=" for model, chance in chances.items() if chance > SURE} | {contest.best(error): "*"}


def _cases(contest: Contest) -> tuple[list[str], list[list[str]]]:
    """The first error of every case, mean over seeds."""
    error = next(iter(contest.errors))
    names = list(contest.outcomes[0].cases)
    head = ["case", *(f"{model}: {contest.errors[error]}" for model in contest.models)]

    def cell(model: str, case: str) -> str:
        values = [run.cases[case].get(error) for run in contest.of(model)]
        known = [float(value) for value in values if value is not None]
        return shown(sum(known) / len(known) if known else None)

    return head, [[case, *(cell(model, case) for model in contest.models)] for case in names]


def _csv(contest: Contest) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        [
            "model",
            "seed",
            *contest.errors,
            "weights",
            "steps",
            "cpu_seconds",
            "train_seconds",
            "train_cpu_seconds",
            "memory_bytes",
        ]
    )
    for run in contest.outcomes:
        cost = [run.weights, run.steps, run.seconds, run.train_seconds, run.train_processor, run.memory]
        table.writerow([run.model, run.seed, *(run.mean[error] for error in contest.errors), *cost])
    return text.getvalue().encode()
