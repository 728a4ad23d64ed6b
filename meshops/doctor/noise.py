"""Noise of the labels: the error that no surrogate can go below, from repeats or from neighbours."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from meshops.doctor.facts import CaseFacts
from meshops.doctor.robust import components, left_out, spread
from meshops.doctor.survey import Survey

FEWEST = 10


@dataclass(frozen=True)
class NoiseFloor:
    """Scatter of one number that the inputs do not explain.

    Attributes:
        name: Number or statistic.
        value: Standard deviation.
        relative: The same over the spread of the number between cases.
        how: Where it comes from.
    """

    name: str
    value: float
    relative: float
    how: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """One line."""
        return f"{self.name}: {self.value:.3g} ({self.relative:.1%} of its spread), from {self.how}"


def label_noise(survey: Survey) -> list[NoiseFloor]:
    """Floors for the numbers of the table and for the spread of each field; empty where nothing can be said.

    Repeats (cases of equal conditions and parameters on one mesh) come first; without any, the residual of a
    Gaussian process over conditions and parameters with every case left out in turn is an upper bound.
    """
    cases = list(survey.good)
    targets = {n: [c.numbers.get(n, np.nan) for c in cases] for n in (cases[0].numbers if cases else ())}
    for name in survey.fields:
        targets[f"spread of {name}"] = [c.fields[name].std if name in c.fields else np.nan for c in cases]
    known = {name: np.array(v, dtype=np.float64) for name, v in targets.items() if np.isfinite(v).all()}
    inputs = _inputs(cases)
    if inputs is None or not known:
        return []
    groups = _repeats(inputs, cases)
    out = []
    for name, values in known.items():
        between = float(values.std())
        if not between > 1e-12 * abs(float(values.mean())):
            continue
        if groups:
            inside = float(np.sqrt(np.mean([np.var(values[g], ddof=1) for g in groups])))
            out.append(NoiseFloor(name, inside, inside / between, f"{len(groups)} groups of repeats"))
        elif len(cases) >= FEWEST and name in cases[0].numbers:
            predicted, _ = left_out(components(inputs), values)
            inside = float(spread((values - predicted)[:, None], 0.0, core=0.68)[0])
            if inside < 0.7 * between:
                out.append(NoiseFloor(name, inside, inside / between, "neighbours, at most"))
    return out


def _inputs(cases: list[CaseFacts]) -> np.ndarray | None:
    rows = [{**c.parameters, **c.conditions} for c in cases]
    names = [n for n in (rows[0] if rows else ()) if all(n in row for row in rows)]
    if not names:
        return None
    table = np.array([[row[n] for n in names] for row in rows], dtype=np.float64)
    varied = table[:, np.ptp(table, axis=0) > 0]
    return varied if varied.shape[1] else None


def _repeats(inputs: np.ndarray, cases: list[CaseFacts]) -> list[list[int]]:
    """Cases of equal inputs whose results are no copies of each other."""
    order = np.lexsort(inputs.T)
    groups: list[list[int]] = [[int(order[0])]] if len(order) else []
    for a, b in pairwise(order.tolist()):
        if np.array_equal(inputs[a], inputs[b]) and cases[a].points_key == cases[b].points_key:
            groups[-1].append(b)
        else:
            groups.append([b])
    return [g for g in groups if len(g) > 1 and len({_key(cases[k]) for k in g}) > 1]


def _key(case: CaseFacts) -> tuple[str, ...]:
    return tuple(facts.key for facts in case.fields.values())
