"""What came out: errors case by case, their means, yardsticks beside them, curves and pictures.

The same object prints a table, goes into ``metrics.json`` and feeds the HTML pages. A number that is not defined (the
relative error of a field that is zero) is None: it is shown as a dash and written as null, and ends nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from meshops.io import write_json

Value: TypeAlias = "float | int | None"
Row: TypeAlias = dict[str, Value]
Detail: TypeAlias = "Value | str | Sequence[float] | Mapping[str, Value]"


LEAST = {"drag_error": 1e-4, "lift_error": 1e-4}  # of a coefficient: a drag count, below which nobody compares


@dataclass(eq=False)
class Report:
    """Errors of a trained task.

    Attributes:
        kind: Of the task.
        title: What the means are of: ``relative L2 error, mean of 6 cases``.
        mean: Averages over cases.
        cases: Errors of every case.
        baselines: Averages of what needs no training, or of a variant, by name.
        curves: Numbers against time, wave number, ...
        details: What was asked and further facts.
        columns: Keys of ``mean`` the table shows -> heading.
        lines: Further lines of the table.
        pictures: Files that were drawn.
        seconds: Time of each part of a run.
        processor_seconds: Of all threads of this process, in each part of a run.
    """

    kind: str
    title: str
    mean: Row
    cases: dict[str, Row] = field(default_factory=dict)
    baselines: dict[str, Row] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, Detail] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    processor_seconds: dict[str, float] = field(default_factory=dict)

    def numbers(self) -> dict[str, float]:
        """The means that are defined."""
        return {key: float(value) for key, value in self.mean.items() if value is not None}

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        parts = {key: value for key, value in vars(self).items() if key not in ("lines", "pictures")}
        return {key: value for key, value in parts.items() if value or key in ("kind", "mean", "cases")}

    def write(self, path: Path) -> Path:
        """Write the numbers as JSON."""
        return write_json(path, self.to_dict())

    def write_page(self, path: Path) -> Path:
        """Write means, cases and pictures as one HTML file that opens offline."""
        from meshops.viz.report import ReportData, write_report  # the page is drawn, the numbers are ours

        heads = {key: self.columns.get(key, key) for key in self.columns or self.mean}
        known = {key: text for key, text in heads.items() if all(key in row for row in self.cases.values())}
        rows = {"surrogate": self.mean, **self.baselines}
        page = ReportData(
            title=f"Errors of a surrogate ({self.kind})",
            subtitle=self.title,
            summary=[(text, shown(self.mean.get(key))) for key, text in heads.items()],
            tables={
                "Errors": (["mean", *heads.values()], [[k.strip(), *map(row.get, heads)] for k, row in rows.items()]),
                "Cases": (["case", *known.values()], [[k, *map(row.get, known)] for k, row in self.cases.items()]),
            },
            pictures=[(picture, picture.stem) for picture in self.pictures if picture.suffix == ".png"],
            warnings=self.warnings(),
            warnings_title="No better than what needs no training",
            provenance={"asked": {key: str(value) for key, value in self.details.items()}},
        )
        return write_report(page, path)

    def table(self) -> str:
        """The means beside the yardsticks, one line each, for the terminal."""
        columns = {key: (text, max(11, len(text) + 2)) for key, text in self.columns.items() if key in self.mean}
        rows = {"surrogate": self.mean, **self.baselines}
        width = max(16, *(len(name) + 2 for name in rows))
        lines = [self.title]
        if columns:
            lines.append(" " * width + "".join(text.rjust(size) for text, size in columns.values()))
            lines += [
                name.ljust(width) + "".join(shown(row.get(key)).rjust(size) for key, (_, size) in columns.items())
                for name, row in rows.items()
                if any(key in row for key in columns)
            ]
        return "\n".join(lines + self.lines + [f"note: {warning}" for warning in self.warnings()])

    def warnings(self) -> list[str]:
        """A sentence for each shown error that a yardstick beats."""
        out = []
        for key, text in self.columns.items():
            others = [
                (float(value), name) for name, row in self.baselines.items()
                if not name.startswith(" ") and name != "token floor" and (value := row.get(key)) is not None
            ]  # fmt: skip
            own = self.mean.get(key)
            if own is not None and own < LEAST.get(key, 0.0):
                continue
            if own is not None and others and min(others)[0] < own:
                value, name = min(others)
                out.append(f"{text} is worse than '{name}' ({shown(own)} against {shown(value)}): no skill there")
        return out


def means(rows: Mapping[str, Mapping[str, Value]]) -> Row:
    """Mean over rows of each column that all of them have, over the values that are defined; None where none is."""
    if not rows:
        return {}
    first, *others = rows.values()
    out: Row = {}
    for key in first:
        if all(key in row for row in others):
            known = [float(v) for row in rows.values() if (v := row[key]) is not None and math.isfinite(v)]
            out[key] = sum(known) / len(known) if known else None
    return out


def shown(value: Value) -> str:
    """A number for a table: three digits behind the point, more of a small one, a dash of one that is not defined."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2e}"
