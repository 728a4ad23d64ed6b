"""A number of a case from several sources, blended by their errors on cases that were held out.

Sources: the predicted fields (integrated, or their peak), the same corrected by what was wrong with it on other cases,
averages of the predicted fields, regressions on conditions and shape, and the mean. What no source gets right alone
they often get right together, above all the drag, whose errors of the fields are coherent over a body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.nn.case_regression import CaseRegression
from meshops.trust.conformal import radius
from meshops.trust.stacking import even_weights, nested_blend

Array = NDArray[np.float64]
FIELDS, CORRECTED = "fields", "fields, corrected"
# Source -> (regression, what it is regressed on)
REGRESSED = {
    CORRECTED: ("linear", "field"),
    "averages of the fields": ("linear", "averages"),
    "ridge": ("linear", "vector"),
    "ridge on conditions": ("linear", "conditions"),
    "Gaussian process": ("gp_even", "vector"),
    "constant": ("mean", "vector"),
}
# The same of the number over the square of the speed: forces and pressures of a flow, where the speed is told.
PER_SQUARE = {f"{name}, per speed squared": name for name in ("ridge", "Gaussian process", "constant")}
FEWEST = 5  # cases from which on anything is regressed
BEYOND = 0.25  # of its range: a column that lies farther out counts as lying there, since few cases teach no more
NOISE = 0.1  # of the largest deviation of columns of one unit: those that vary less hold noise


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of cases before their numbers are.

    Attributes:
        vector: ``[m, v]`` conditions and shape, see :func:`meshops.trust.quantities.case_vector`.
        averages: ``[m, p]`` of the predicted fields.
        field: ``[m, 1]`` the number as the predicted fields have it, ``[m, 0]`` where it is none of theirs.
        alike: Last columns of the vector, which are of one unit.
        told: First columns of the vector, which are conditions.
        speed: Column of the vector whose square the number may grow with; -1: none.
    """

    vector: Array
    averages: Array
    field: Array
    alike: int = 0
    told: int = 0
    speed: int = -1

    @property
    def conditions(self) -> Array:
        """``[m, told]``, where the shape is described too; else they are the vector."""
        return self.vector[:, : self.told if self.told < self.vector.shape[1] else 0]

    def rows(self, index: Sequence[int]) -> Evidence:
        """Of some cases."""
        at = list(index)
        return Evidence(self.vector[at], self.averages[at], self.field[at], self.alike, self.told, self.speed)


@dataclass(frozen=True, eq=False)
class Bounded:
    """A regression that does not go far beyond what it was fitted to.

    Attributes:
        regression: Of the columns.
        kept: ``[v]`` 1, or 0 for columns that hold noise only.
        low, high: ``[v]`` ends of the columns.
        speed: Column with whose square the values grow; -1: none.
    """

    regression: CaseRegression
    kept: Array
    low: Array
    high: Array
    speed: int = -1

    @classmethod
    def fitted(
        cls, kind: str, columns: Array, values: Array, alike: int = 0, free: int = 0, speed: int = -1
    ) -> Bounded:
        """Of ``values [m]`` on ``columns [m, v]``: the last ``alike`` have one unit, the first ``free`` no bounds."""
        low, high, deviation = columns.min(0), columns.max(0), columns.std(0)
        kept = np.ones(len(low))
        if alike:
            kept[-alike:] = deviation[-alike:] >= NOISE * deviation[-alike:].max()
        beyond = BEYOND * (high - low)
        beyond[:free] = np.inf
        values = values if speed < 0 else values / columns[:, speed] ** 2
        regression = CaseRegression.fitted(kind, columns * kept, values[:, None], num_conditions=len(kept))
        return cls(regression, kept, low - beyond, high + beyond, speed)

    def __call__(self, columns: Array) -> Array:
        """``[b]`` values of ``columns [b, v]``."""
        z = np.clip(columns, self.low, self.high) * self.kept
        values = np.asarray(self.regression(torch.as_tensor(z)).numpy()[:, 0])
        return values if self.speed < 0 else values * columns[:, self.speed] ** 2

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors for a checkpoint."""
        arrays = {key: getattr(self, key).tolist() for key in ("kept", "low", "high")}
        made, weights = self.regression.arguments(), dict(self.regression.state_dict())
        return {"made": made, "weights": weights, "speed": self.speed, **arrays}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Bounded:
        """Inverse of :meth:`to_dict`."""
        regression = CaseRegression(**values["made"])
        regression.load_state_dict(values["weights"])
        arrays = {key: np.array(values[key], dtype=np.float64) for key in ("kept", "low", "high")}
        return cls(regression, **arrays, speed=int(values.get("speed", -1)))


@dataclass(frozen=True, eq=False)
class NumberModel:
    """How a number is found.

    Attributes:
        name: Of it.
        unit: Of it.
        weights: Of each source.
        regressions: Of the sources that are some.
        truth: ``[m]`` the number of each held-out case.
        found: ``[m]`` as it was found for that case: sources without it, weights from the errors of other folds.
        errors: Mean absolute held-out error of every source and of the blend.
        places: ``[m]`` how far the place of a peak was missed, in sizes of the case; empty for others.
    """

    name: str
    unit: str
    weights: Mapping[str, float]
    regressions: Mapping[str, Bounded]
    truth: Array
    found: Array
    errors: Mapping[str, float]
    places: Array

    @property
    def residuals(self) -> Array:
        """``[m]`` truth less what was found."""
        return self.truth - self.found

    def value(self, evidence: Evidence) -> float:
        """The number of one case."""
        return float(sum(w * _source(name, self.regressions, evidence)[0] for name, w in self.weights.items()))

    def half_width(self, level: float, scale: float, scales: Array) -> float:
        """Of the interval of a case whose errors are ``scale`` times the usual; ``scales [m]``: of those held out."""
        return radius(np.abs(self.residuals) / scales, level) * scale

    def basis(self) -> str:
        """The sources in words, strongest first."""
        strong = sorted(((w, name) for name, w in self.weights.items() if w >= 0.005), reverse=True)
        return ", ".join(f"{name} {100 * w:.0f} %" for w, name in strong)

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors for a checkpoint."""
        made = {name: regression.to_dict() for name, regression in self.regressions.items()}
        arrays = {key: getattr(self, key).tolist() for key in ("truth", "found", "places")}
        return {"name": self.name, "unit": self.unit, "weights": dict(self.weights), "regressions": made,
                "errors": dict(self.errors), **arrays}  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NumberModel:
        """Inverse of :meth:`to_dict`."""
        regressions = {name: Bounded.from_dict(kept) for name, kept in values["regressions"].items()}
        arrays = {key: np.array(values[key], dtype=np.float64) for key in ("truth", "found", "places")}
        return cls(values["name"], values["unit"], dict(values["weights"]), regressions, errors=dict(values["errors"]),
                   **arrays)  # fmt: skip


def number_model(
    name: str, unit: str, truth: Array, evidence: Evidence, folds: Sequence[Sequence[int]], *,
    places: Array | None = None,
) -> NumberModel:  # fmt: skip
    """Choose sources and weights of a number on cases that the fields did not learn from.

    Args:
        name: Of the number.
        unit: Of it.
        truth: ``[m]``.
        evidence: Of the same cases; what the predicted fields say comes from models that did not see the case.
        folds: Rows that are held out together.
        places: ``[m]`` how far the place of a peak was missed.
    """
    names = [s for s in (FIELDS, *REGRESSED, *PER_SQUARE) if _possible(s, evidence, len(truth))]
    found = np.empty((len(truth), len(names)))
    for fold in folds:
        rest = [i for i in range(len(truth)) if i not in set(fold)]
        fitted = _fitted(names, truth[rest], evidence.rows(rest))
        for k, source in enumerate(names):
            found[list(fold), k] = _source(source, fitted, evidence.rows(fold))
    blend = nested_blend(found, truth, folds)
    weights = dict(zip(names, even_weights(found - truth[:, None]).tolist(), strict=True))
    used = {source: w for source, w in weights.items() if w > 1e-3}
    total = sum(used.values())
    errors = {source: float(np.abs(found[:, k] - truth).mean()) for k, source in enumerate(names)}
    return NumberModel(
        name=name,
        unit=unit,
        weights={source: w / total for source, w in used.items()},
        regressions=_fitted(list(used), truth, evidence),
        truth=truth,
        found=blend,
        errors={**errors, "blend": float(np.abs(blend - truth).mean())},
        places=np.zeros(0) if places is None else places,
    )


def _possible(source: str, evidence: Evidence, cases: int) -> bool:
    if source == FIELDS:
        return bool(evidence.field.shape[1])
    if source == "constant":
        return True
    if source in PER_SQUARE:
        return cases >= FEWEST and evidence.speed >= 0 and bool((evidence.vector[:, evidence.speed] > 0).all())
    columns = getattr(evidence, REGRESSED[source][1])
    return cases >= FEWEST and columns.shape[1] > 0 and bool(np.ptp(columns, axis=0).any())


def _fitted(sources: Sequence[str], truth: Array, evidence: Evidence) -> dict[str, Bounded]:
    out = {}
    for source in sources:
        if source != FIELDS:
            kind, key = REGRESSED[PER_SQUARE.get(source, source)]
            more = {"alike": evidence.alike, "free": evidence.told} if key == "vector" else {}
            more = {"free": evidence.told} if key == "conditions" else more
            more |= {"speed": evidence.speed} if source in PER_SQUARE else {}
            out[source] = Bounded.fitted(kind, getattr(evidence, key), truth, **more)
    return out


def _source(source: str, regressions: Mapping[str, Bounded], evidence: Evidence) -> Array:
    if source == FIELDS:
        return evidence.field[:, 0]
    return regressions[source](getattr(evidence, REGRESSED[PER_SQUARE.get(source, source)][1]))
