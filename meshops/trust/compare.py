"""Which of two designs is better: the difference of a number, its interval, and the probability of its sign.

Errors that both designs share cancel. How much they do is measured on cases that were held out: over their pairs (j,
k), with residuals r and distance D_jk of their shapes and conditions,

    |r_j - r_k|  is about  g(D_jk) = a + b D_jk,   a, b >= 0,        s_jk = |r_j - r_k| / g(D_jk)

The interval of a new difference is its value plus or minus q g(D), q the quantile of s at the level; the probability
that it is positive is the share of the pairs, taken with both signs, whose s would leave it so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meshops.tasks.prediction import Prediction
from meshops.trust.calibration import Trust
from meshops.trust.conformal import check_level, highest_level
from meshops.trust.numbers import NumberModel

Array = NDArray[np.float64]
CLOSE = 0.03  # pairs whose numbers differ by less than this share of the mean are the hard ones
MOST_PAIRS = 3000  # on which the verdicts are judged
SAME = 1e-9  # standard deviations: designs this near are one
Call = Literal["larger", "smaller", "too close to call", "the same"]


@dataclass(frozen=True)
class Difference:
    """A number of one design less that of another.

    Attributes:
        a, b: The designs.
        number: Its name; ``unit``: its unit.
        difference: Of a less that of b.
        low, high: Ends of its interval.
        level: Of the interval.
        probability: That a has the larger number.
        call: The verdict on a: with at least ``level`` one way or the other, else too close.
    """

    a: str
    b: str
    number: str
    unit: str
    difference: float
    low: float
    high: float
    level: float
    probability: float
    call: Call

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class Record:
    """How verdicts on pairs of held-out cases went.

    Attributes:
        pairs: Number of pairs.
        right: Share whose sign was right.
        close, close_right: The same of pairs within 3 % of each other.
        brier: Mean squared difference of the probability and what came; 0.25 is chance.
        given: Share of the pairs that were not too close to call.
        given_right: Share of these that were right.
    """

    pairs: int
    right: float
    close: int
    close_right: float
    brier: float
    given: float
    given_right: float

    def sentence(self, number: str, level: float) -> str:
        """The same in words."""
        near = f", {100 * self.close_right:.0f} % of the {self.close} within 3 %" if self.close else ""
        made = f"; of the {100 * self.given:.0f} % that were called with {100 * level:.0f} %"
        made += f", {100 * self.given_right:.0f} % rightly" if self.given else ", none"
        return (
            f"{number}: on {self.pairs} pairs of held-out cases the sign was right in {100 * self.right:.0f} %{near}"
            f"{made}; Brier score {self.brier:.3f} (chance 0.25)"
        )

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return dict(vars(self))


class Pairs:
    """Differences of the errors of held-out cases, of one number.

    Args:
        model: Of the number.
        distances: ``[m, m]`` of the cases.
        without: Cases that are left out.
    """

    def __init__(self, model: NumberModel, distances: Array, without: Sequence[int] = ()) -> None:
        rows = np.array([i for i in range(len(model.truth)) if i not in without])
        one, other = rows[np.triu_indices(len(rows), 1)[0]], rows[np.triu_indices(len(rows), 1)[1]]
        apart, gap = distances[one, other], np.abs(model.residuals[one] - model.residuals[other])
        self.base, self.slope = _growth(apart, gap)
        self.scores = np.sort(gap / self.size(apart))

    def size(self, distance: Array | float) -> Array:
        """g: typical difference of the errors at a distance."""
        return np.maximum(self.base + self.slope * np.asarray(distance, dtype=np.float64), 1e-300)

    def radius(self, level: float) -> float:
        """Q."""
        place = int(np.ceil((len(self.scores) + 1) * level)) - 1
        return float(self.scores[min(place, len(self.scores) - 1)])

    def larger(self, difference: float, distance: float, scale: float = 1.0) -> float:
        """Probability that the true difference is positive."""
        t = difference / (float(self.size(distance)) * scale)
        below = np.searchsorted(self.scores, abs(t), side="right")  # of 2 P signed scores, those that keep the sign
        kept = (len(self.scores) + below + 0.5) / (2 * len(self.scores) + 1)
        return float(kept if t > 0 else 1 - kept if t < 0 else 0.5)


def _growth(distance: Array, gap: Array) -> tuple[float, float]:
    from scipy.optimize import nnls

    if len(gap) < 3 or not gap.any():
        return max(float(gap.mean()) if len(gap) else 0.0, 1e-300), 0.0
    (base, slope), _ = nnls(np.stack([np.ones(len(gap)), distance], 1), gap)
    return max(float(base), 0.05 * float(gap.mean())), float(slope)


def case_distances(trust: Trust) -> Array:
    """``[m, m]`` distances of the held-out cases."""
    z = trust.vectors @ trust.turn()
    return np.asarray(np.linalg.norm(z[:, None] - z[None], axis=-1))


def compared(
    trust: Trust, made: Mapping[str, Prediction], vectors: Mapping[str, Array], level: float | None = None
) -> list[Difference]:
    """All pairs of designs, in all numbers.

    Args:
        trust: Of the surrogate.
        made: Prediction of each design.
        vectors: What each is compared by, see :meth:`meshops.trust.Trust.vector`.
        level: Of intervals and verdicts; None: the highest up to 90 % that the cases support.

    Raises:
        InputError: The held-out cases do not support the level, or none at all.
    """
    count = len(trust.cases)
    level = check_level(highest_level(count) or 0.9 if level is None else level, count)
    distances, out = case_distances(trust), []
    for model in trust.numbers:
        pairs = Pairs(model, distances)
        for a, b in combinations(made, 2):
            apart = trust.apart(vectors[a], vectors[b])
            change = made[a].numbers[model.name].value - made[b].numbers[model.name].value
            scale = max(_scale(trust, made[name], model) for name in (a, b))
            half = pairs.radius(level) * float(pairs.size(apart)) * scale
            likely = pairs.larger(change, apart, scale)
            same = apart < SAME and abs(change) < SAME * abs(made[a].numbers[model.name].value)
            half = 0.0 if same else half
            call: Call = "the same" if same else "larger" if likely >= level else "smaller"
            if not same and 1 - level < likely < level:
                call = "too close to call"
            ends = change - half, change + half
            out.append(Difference(a, b, model.name, model.unit, change, *ends, level, 0.5 if same else likely, call))
    return out


def _scale(trust: Trust, made: Prediction, model: NumberModel) -> float:
    return trust.scale(None if made.verdict is None else made.verdict.reach, np.abs(model.residuals))


def record(trust: Trust, model: NumberModel, level: float) -> Record | None:
    """How verdicts go on pairs of held-out cases, each judged by the pairs of the others; None of fewer than four."""
    if len(model.truth) < 4:
        return None
    distances = case_distances(trust)
    every = list(combinations(range(len(model.truth)), 2))
    if len(every) > MOST_PAIRS:
        chosen = np.random.default_rng(0).choice(len(every), MOST_PAIRS, replace=False)
        every = [every[i] for i in sorted(chosen)]
    others = {j: Pairs(model, distances, (j,)) for j in range(len(model.truth))}
    rows = []
    for j, k in every:
        found, true = model.found[j] - model.found[k], model.truth[j] - model.truth[k]
        if true == 0:
            continue
        likely = (others[j].larger(found, distances[j, k]) + others[k].larger(found, distances[j, k])) / 2
        near = abs(true) < CLOSE * abs(model.truth[j] + model.truth[k]) / 2
        rows.append((found * true > 0, near, (likely - (true > 0)) ** 2, max(likely, 1 - likely) >= level))
    right, near, brier, given = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 4
    near, given = near.astype(bool), given.astype(bool)
    return Record(
        pairs=len(rows),
        right=float(np.mean(right)) if len(rows) else float("nan"),
        close=int(near.sum()),
        close_right=float(np.mean(right[near])) if near.any() else float("nan"),
        brier=float(np.mean(brier)) if len(rows) else float("nan"),
        given=float(np.mean(given)) if len(rows) else 0.0,
        given_right=float(np.mean(right[given])) if given.any() else float("nan"),
    )


def ranking(made: Mapping[str, Prediction], number: str) -> list[str]:
    """Designs from the smallest number to the largest."""
    return sorted(made, key=lambda name: made[name].numbers[number].value)
