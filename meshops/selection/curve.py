"""Errors against the number of cases: the best closed form on fewer of them, and what ten more would bring.

A power law e = a n^-b (Hestness et al. 2017) through the errors of the best closed form gives b; the winner's curve is
taken to fall in the same way from where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from meshops.selection.folds import Split
from meshops.selection.reduced import Carried, cross_validated
from meshops.selection.scores import Truth, score
from meshops.tasks.report import shown

if TYPE_CHECKING:
    from meshops.selection.search import Found, Search

SHARES = (0.4, 0.6, 0.8, 1.0)
MORE = 10
MOST = 0.9  # of the error that ten more cases are said to take away; no trend of few cases says more


@dataclass(frozen=True)
class Curve:
    """Held-out errors by number of cases learnt from.

    Attributes:
        name: Of the closed form it is measured with.
        cases: Numbers of cases.
        errors: Its error at each.
        exponent: b, None where there is no trend.
        now: Number of cases the winner learnt from in cross-validation, and its error.
        more: The error expected of the winner with ten more cases, None without a trend.
    """

    name: str = ""
    cases: tuple[int, ...] = ()
    errors: tuple[float, ...] = ()
    exponent: float | None = None
    now: tuple[int, float] = (0, float("nan"))
    more: float | None = None

    def sentence(self) -> str:
        """The same in words."""
        if self.more is None or not self.now[1] > 0:
            return "The number of cases is too small, or the errors too uneven, to say what more of them would bring."
        share = 1 - self.more / self.now[1]
        more = " or more" if share > MOST - 1e-9 else ""
        change = f"from {shown(self.now[1])} to about {shown(self.more)} ({100 * share:.0f} % less{more})"
        return f"{MORE} more runs would bring the error {change}."

    def short(self) -> str:
        """The expected error alone, for a summary."""
        return "not known" if self.more is None else f"about {self.more:.3g}"

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return {"measured_with": self.name, "cases": self.cases, "errors": self.errors, "exponent": self.exponent,
                "now": self.now, "with_ten_more": self.more}  # fmt: skip


def learning_curve(search: Search, found: Found, carried: Carried) -> Curve:
    """Errors of the best closed form when it learns from fewer cases, each fold as before."""
    closed = [c for c in found.candidates if c.variant is not None and c.variant.family != "average"]
    learnt = len(search.split.learn) - round(len(search.split.learn) / max(1, len(search.split.folds)))
    now = (learnt, found.score)
    if not closed or len(search.split.learn) < 8:
        return Curve(now=now)
    leader = closed[0]
    assert leader.variant is not None
    truth = Truth.of(search.task, search.samples.graphs)
    rows: list[tuple[int, float]] = []
    for share in SHARES:
        part = Fewer.of(search.split, share, search.seed)
        tried = cross_validated(carried, truth, part, families=[leader.variant.family])
        errors = [score(truth.table(sheet)) for _, sheet in tried]
        rows.append((part.learnt, min(errors)))
    cases, errors_at = tuple(n for n, _ in rows), tuple(e for _, e in rows)
    exponent = float(-np.polyfit(np.log(cases), np.log(errors_at), 1)[0]) if min(errors_at) > 0 else 0.0
    if not exponent > 0.02:
        return Curve(leader.name, cases, errors_at, None, now)
    more = found.score * max(((learnt + MORE) / learnt) ** -exponent, 1 - MOST)
    return Curve(leader.name, cases, errors_at, exponent, now, float(more))


class Fewer(Split):
    """Folds that hold out what they held out, but learn from a share of the rest only."""

    learnt: int
    kept: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, split: Split, share: float, seed: int) -> Fewer:
        """Random shares of what each fold learns from; those of smaller shares are within those of larger ones."""
        kept = []
        for k in range(len(split.folds)):
            rest = np.array(split.rest(k))
            order = np.random.default_rng([seed, k]).permutation(len(rest))
            kept.append(tuple(int(i) for i in rest[np.sort(order[: max(3, round(share * len(rest)))])]))
        out = cls(split.learn, split.test, split.folds)
        object.__setattr__(out, "kept", tuple(kept))
        object.__setattr__(out, "learnt", round(np.mean([len(rows) for rows in kept])))
        return out

    def rest(self, fold: int) -> tuple[int, ...]:
        """The share."""
        return self.kept[fold]
