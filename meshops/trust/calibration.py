"""What a surrogate knows of its own errors, from cases it did not learn from: numbers, intervals, expected errors.

Every learning case was predicted by models that did not see it (cross-conformal prediction, Vovk 2015), or cases were
held out for this. Their errors choose how numbers are blended (:mod:`meshops.trust.numbers`), how wide intervals are,
and how errors grow with the distance from the training. Where forces are integrated, the pressure is changed as little
as makes them the blended ones, so that fields and forces agree.

The result of ``fit`` learnt from all cases, its calibration from four fifths of them: intervals err to the wide side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshops.aero.case_forces import with_coefficients
from meshops.aero.cases import Case
from meshops.data.mesh_graph import MeshGraph, origin_of
from meshops.nn.case_regression import projection
from meshops.tasks.fields import FieldsTask
from meshops.tasks.numbers import NumbersTask
from meshops.tasks.prediction import Estimate, Level, Prediction, RawFields, Verdict
from meshops.tasks.report import Row
from meshops.trust.conformal import cases_needed, check_level, highest_level, radius
from meshops.trust.field_widths import FieldWidths, lengths, node_places
from meshops.trust.numbers import FIELDS, Evidence, NumberModel
from meshops.trust.quantities import (
    COEFFICIENTS,
    TABLE,
    Quantity,
    averages,
    case_vector,
    free,
    in_flow,
    quantities_of,
    size_of,
    true_quantities,
)

Array = NDArray[np.float64]
LEVELS: tuple[Level, ...] = ("inside", "edge", "outside")
CONTRADICTS = "in the file differs from the prediction"
USUAL = 0.9  # share of the held-out cases whose reach counts as usual: a single far one does not set it
WIDEST = 5.0  # times as large as at the end of these errors are said to be at most: farther out nothing is known
SURPRISE = 2.0  # times the largest error expected: a truth that far off is of something else


@dataclass(frozen=True, eq=False)
class Trust:
    """Errors on cases that were not learnt from, and what follows from them.

    Attributes:
        how: ``"cross-validation"`` or ``"held-out cases"``.
        cases: Their names.
        numbers: How each number is found.
        peaks: How each peak is found.
        widths: Of fields; None where no case has all of them.
        errors: ``[m, f]`` relative L2 error of each field.
        distances: ``[m]`` reach of each case beside the others, see :class:`meshops.tasks.prediction.Verdict`.
        levels: Where each lay.
        vectors: ``[m, v]`` conditions and shape.
        num_conditions: Of these.
        shape: The vectors describe the shape.
    """

    how: str
    cases: tuple[str, ...]
    numbers: tuple[NumberModel, ...]
    peaks: tuple[NumberModel, ...]
    widths: FieldWidths | None
    errors: Array
    distances: Array
    levels: tuple[str, ...]
    vectors: Array
    num_conditions: int
    shape: bool

    # ---- a prediction

    def told(
        self, task: FieldsTask, raw: RawFields, verdict: Verdict | None = None, level: float | None = None
    ) -> Prediction:
        """A prediction with blended numbers, fields that agree with them, and intervals.

        Args:
            task: Of the surrogate.
            raw: What its model says of the case.
            verdict: Where the case lies.
            level: Of the intervals; None: the highest, up to 90 %, that the cases support.

        Raises:
            InputError: The cases do not support the level.
        """
        count = len(self.cases)
        level = highest_level(count) if level is None else check_level(level, count)
        nodes, reach = task.at_nodes(raw), None if verdict is None else verdict.reach
        found = quantities_of(raw, nodes, task)
        evidence = self._evidence(task, raw, nodes, found)
        values = {m.name: m.value(evidence(m.name)) for m in self.numbers}
        made = task.told(raw, self._agreeing(task, raw.case, nodes, values))
        known, told = true_quantities(raw.case, task), {}
        for model in (*self.numbers, *self.peaks):
            there, true = found.get(model.name), known.get(model.name)
            value = values.get(model.name)
            value = model.value(evidence(model.name)) if value is None else value
            size = np.abs(model.residuals)
            half = model.half_width(level, self.scale(reach, size), self.scales(size)) if level else None
            shift, factor = in_flow(model.name, raw.case, task.spec) if len(model.places) else (0.0, 1.0)
            reported = raw.case.numbers.get(model.name.removesuffix(TABLE))
            low = None if half is None else value - half
            told[model.name] = Estimate(
                value=value * factor + shift,
                low=None if low is None else (max(0.0, low) if "|" in model.name else low) * factor + shift,
                high=None if half is None else (value + half) * factor + shift,
                level=level or None,
                unit=model.unit if there is None else there.unit or model.unit,
                basis=model.basis(),
                constant=float(model.truth.mean()) * factor + shift,
                place=None if there is None or there.place is None else _in_file(raw.case, there.place),
                within=self._within(model, raw.case, level),
                true=reported if true is None else true.value * factor + shift,
            )
        tables = ", ".join(m.name for m in self.numbers if m.name not in COEFFICIENTS)
        note = f"{tables}: learnt from a table at the flow of the training, and not changed for another one"
        if tables and raw.case.flow != task.spec.flow and not task.spec.conditions and note not in raw.case.notes:
            raw.case.notes.append(note)
        numbers = {m.name: told[m.name] for m in self.numbers}
        names = {name for model in self.numbers for name in (model.name, model.name + TABLE)}
        kept = {k: v for k, v in made.numbers.items() if k not in names}
        return replace(
            made,
            numbers={**numbers, **kept},
            peaks={m.name: told[m.name] for m in self.peaks if m.name in found},
            widths=self._field_widths(task, raw, level, self.scale(reach)) if level else {},
            level=level or None,
        )

    def scale(self, distance: float | None, errors: Array | None = None) -> float:
        """How many times larger than usual errors are expected so far from the training; never less than 1.

        Args:
            distance: Of the case; None: not known.
            errors: ``[m]`` of the held-out cases, whose growth counts; None: of the fields.
        """
        if distance is None or not len(self.distances):
            return 1.0
        errors = self._field_errors() if errors is None else errors
        most = max(float(np.quantile(self.distances, USUAL)), 1e-9)
        near = np.minimum(self.distances, most)
        base, slope = _growth(near, errors)
        usual = base + slope * float(near.mean())
        inside = (base + slope * min(distance, most)) / usual if usual > 0 else 1.0
        return max(1.0, inside) * min(max(1.0, distance / most), WIDEST)

    def scales(self, errors: Array | None = None) -> Array:
        """``[m]`` of the held-out cases themselves."""
        return (
            np.array([self.scale(d, errors) for d in self.distances])
            if len(self.distances)
            else np.ones(len(self.cases))
        )

    def expected(self, level: str, task: FieldsTask) -> str:
        """The error that held-out cases had which lay so, in words."""
        rows = [i for i, name in enumerate(self.levels) if name == level]
        if not rows:
            return f"No held-out case lay {PLACED[level]}: what errors to expect there is not known."
        words = [
            f"{task.spec.short(name)} {100 * value:.0f} %"
            for name, value in zip(task.spec.fields, _means(self.errors[rows]), strict=True)
            if np.isfinite(value)
        ]
        words += [
            f"{m.name} {np.abs(m.residuals[rows]).mean():.2g}{' ' + m.unit if m.unit else ''}" for m in self.numbers
        ]
        return f"The {len(rows)} held-out cases that lay {PLACED[level]} had mean errors of {', '.join(words)}."

    def contradictions(self, task: FieldsTask, made: Prediction) -> list[str]:
        """Sentences on a truth in the file that is farther off than an error of the model can be."""
        out = []
        scale = self.scale(None if made.verdict is None else made.verdict.reach)
        for k, name in enumerate(task.spec.fields):
            error, known = _error_of_file(made, name, task), self.errors[:, k]
            known = known[np.isfinite(known)]
            if error is None or not len(known):
                continue
            most = SURPRISE * float(known.max()) * max(1.0, scale)
            if error > most:
                out.append(
                    f"'{name}' {CONTRADICTS} by {100 * error:.0f} %, the largest error of "
                    f"{len(known)} held-out cases was {100 * known.max():.0f} %: is the file of another solver, unit, "
                    "sign or condition?"
                )
        for name, number in made.numbers.items():
            if number.true is None or number.low is None or number.high is None:
                continue
            off, half = abs(number.true - number.value), (number.high - number.low) / 2
            if off > SURPRISE * half > 0:
                out.append(
                    f"'{name}' {CONTRADICTS} by {off:.3g}, {off / half:.1f} times half its interval: is the file of "
                    "another solver, unit, sign or condition?"
                )
        return out

    def constants(self, rows: Mapping[str, Row]) -> Row:
        """Mean absolute error of the mean of each number, on cases of a report: what any surrogate has to beat."""
        out: Row = {}
        words = {"cd": ("drag_error", "cd_true"), "cl": ("lift_error", "cl_true")}
        for model in self.numbers:
            key, true = words.get(model.name, (f"{model.name}_error", f"{model.name.removesuffix(TABLE)}_reported"))
            if not any(true in row for row in rows.values()):
                key, true = f"{model.name}_error", f"{model.name}_reported"
            known = [float(value) for row in rows.values() if (value := row.get(true)) is not None]
            if known:
                out[key] = float(np.abs(np.array(known) - model.truth.mean()).mean())
        return out

    # ---- how it is kept

    def summary(self) -> dict[str, Any]:
        """What was learnt, for people and scripts: error and half width of every number at the highest level."""
        level = highest_level(len(self.cases))

        def told(model: NumberModel) -> dict[str, Any]:
            half = radius(np.abs(model.residuals), level) if level else None
            return {"error": model.errors["blend"], "half_width": half, "unit": model.unit, "basis": model.basis()}

        return {
            "how": self.how, "cases": list(self.cases), "level": level or None,
            "numbers": {m.name: told(m) for m in self.numbers}, "peaks": {m.name: told(m) for m in self.peaks},
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors for a checkpoint."""
        return {
            "how": self.how, "cases": list(self.cases), "numbers": [m.to_dict() for m in self.numbers],
            "peaks": [m.to_dict() for m in self.peaks],
            "widths": None if self.widths is None else self.widths.to_dict(),
            "errors": self.errors.tolist(), "distances": self.distances.tolist(), "levels": list(self.levels),
            "vectors": self.vectors.tolist(), "num_conditions": self.num_conditions, "shape": self.shape,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trust:
        """Inverse of :meth:`to_dict`."""
        models = {key: tuple(map(NumberModel.from_dict, values[key])) for key in ("numbers", "peaks")}
        count = len(values["cases"])
        return cls(
            how=str(values["how"]),
            cases=tuple(values["cases"]),
            widths=None if values["widths"] is None else FieldWidths.from_dict(values["widths"]),
            errors=np.array(values["errors"], dtype=np.float64),
            distances=np.array(values["distances"], dtype=np.float64),
            levels=tuple(values["levels"]),
            vectors=np.array(values["vectors"], dtype=np.float64).reshape(count, -1),
            num_conditions=int(values["num_conditions"]),
            shape=bool(values["shape"]),
            **models,
        )

    # ---- parts

    def turn(self) -> Array:
        """``[v, q]`` map of case vectors to coordinates of unit variance, in which their distance is taken."""
        return projection(self.vectors, self.num_conditions)[1]

    def apart(self, one: Array, other: Array) -> float:
        """Distance of two case vectors, in standard deviations of the held-out cases."""
        return float(np.linalg.norm((one - other) @ self.turn()))

    def vector(self, task: FieldsTask | NumbersTask, case: Case, prepared: MeshGraph) -> Array:
        """What a case is compared by."""
        return case_vector(case, prepared, task.spec, shape=self.shape)

    def _field_errors(self) -> Array:
        """``[m]`` mean relative error of the fields; NaN where none is defined."""
        return _means(self.errors.T)

    def _evidence(self, task: FieldsTask, raw: RawFields, nodes: dict[str, Any], found: Mapping[str, Quantity]) -> Any:
        vector, mean = self.vector(task, raw.case, raw.prepared)[None], averages(raw.case, nodes, task.spec)[None]

        def of(name: str) -> Evidence:
            there = found.get(name)
            return Evidence(vector, mean, np.array([[] if there is None else [there.value]]), told=self.num_conditions)

        return of

    def _agreeing(
        self, task: FieldsTask, case: Case, nodes: dict[str, Any], values: Mapping[str, float]
    ) -> dict[str, Any]:
        """The fields at the nodes, the pressure changed so that its integrals are the blended coefficients."""
        forces = case.forces(nodes, task.spec)
        if forces is None or task.spec.pressure is None:
            return nodes
        integrated = [m.name for m in self.numbers if m.name in COEFFICIENTS and FIELDS in m.errors]
        change = {k: values[k] - getattr(forces, k) for k in integrated}
        if not any(change.values()):
            return nodes
        return {**nodes, task.spec.pressure: with_coefficients(case, nodes[task.spec.pressure], change)}

    def _field_widths(self, task: FieldsTask, raw: RawFields, level: float, scale: float) -> dict[str, Any]:
        if self.widths is None:
            return {}
        place, spread = node_places(raw.prepared, task.spec), lengths(raw.spread, task.spec)
        half = self.widths.half_widths(place, spread, level, scale)
        scaling, out = task.spec.scaling(raw.case.flow), {}
        for k, (name, channels) in enumerate(task.spec.slices().items()):
            factor = float(task.output_norm.scale[channels][0]) * abs(scaling[name][1])
            out[name] = raw.case.to_mesh((half[:, k] * factor).numpy())
        return out

    def _within(self, model: NumberModel, case: Case, level: float) -> float | None:
        if not len(model.places) or not level:
            return None
        return radius(model.places, level) * size_of(case)


PLACED = {"inside": "inside the others", "edge": "at the edge of the others", "outside": "outside the others"}


def _means(errors: Array) -> Array:
    """Means of the columns over what is known; NaN where nothing is."""
    known = np.isfinite(errors)
    total = np.where(known, errors, 0.0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)


def _growth(distances: Array, errors: Array) -> tuple[float, float]:
    """Error at distance zero, at least half the mean, and how it grows: least squares without falling."""
    from scipy.optimize import nnls

    good = np.isfinite(errors)
    if good.sum() < 3:
        return 1.0, 0.0
    (base, slope), _ = nnls(np.stack([np.ones(good.sum()), distances[good]], 1), errors[good])
    return max(float(base), 0.5 * float(errors[good].mean())), float(slope)


def _error_of_file(made: Prediction, name: str, task: FieldsTask) -> float | None:
    """Relative L2 error of a predicted field against the file, as the held-out errors are: free of the flow."""
    if name not in made.truth:
        return None
    one, other = (free(name, values, made.case, task.spec) for values in (made.fields[name], made.truth[name]))
    rows = made.case.used & np.isfinite(other.reshape(len(other), -1)).all(1)
    size = float(np.linalg.norm(other[rows]))
    return float(np.linalg.norm(one[rows] - other[rows])) / size if size > 0 else None


def _in_file(case: Case, place: Array) -> tuple[float, ...]:
    """A place of the graph in the coordinates of the mesh: these differ by a shift."""
    away = origin_of(case.graph).numpy()
    if case.mesh is not None:
        points = case.graph.get("points")
        own = (case.graph.pos if points is None else points).double().numpy()
        bounds = np.asarray(case.mesh.bounds, dtype=np.float64).reshape(3, 2)
        away = bounds.mean(1)[: own.shape[1]] - (own.min(0) + own.max(0)) / 2
    return tuple(float(x) for x in place + away[: len(place)])


def support(trust: Trust) -> str:
    """What levels the cases support, in words."""
    count = len(trust.cases)
    most = highest_level(count)
    if not most:
        return f"{count} held-out cases support no interval; {cases_needed(0.9)} are needed for 90 %"
    return f"intervals of {100 * most:.0f} % from {count} cases by {trust.how}"
