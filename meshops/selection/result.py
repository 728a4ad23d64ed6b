"""What a fit leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meshops.selection.curve import Curve
from meshops.selection.folds import Split
from meshops.selection.search import Found
from meshops.surrogate import Surrogate
from meshops.tasks.report import Report


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a fit leaves.

    Attributes:
        folder: Of the run; ``model.ckpt``, ``metrics.json``, ``report.html`` are in it.
        surrogate: The winner.
        report: Its errors on the outer split, beside yardsticks; those of cross-validation where there is none.
        found: All candidates.
        split: Which cases learnt, chose and judged.
        curve: Errors against the number of cases.
        notes: What the user should know.
    """

    folder: Path
    surrogate: Surrogate
    report: Report
    found: Found
    split: Split
    curve: Curve
    notes: tuple[str, ...]
