"""Results of cases without fields: where a case lies, what it has, and how far that can be trusted.

The vector of a case is its conditions and, where shapes differ, :func:`meshops.data.outline.outline`. Sources are
those of :mod:`meshops.trust.numbers` that need no fields; each case is predicted by regressions that did not see it,
blended by weights from the errors of other folds, so that these errors are honest and give the intervals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from meshops.aero.cases import Case
from meshops.aero.conditions import named_stream
from meshops.data.outline import length, outline
from meshops.nn.case_regression import projection
from meshops.tasks.numbers import NumbersTask
from meshops.tasks.prediction import Estimate, Prediction, Verdict
from meshops.trust.calibration import PLACED, Trust
from meshops.trust.conformal import check_level, highest_level
from meshops.trust.novelty import Novelty
from meshops.trust.numbers import Evidence, number_model

Array = NDArray[np.float64]
DYNAMIC = re.compile(r"force|drag|lift|moment|torque|thrust|pressure|(?:^|_)[fmp](?:_?[xyz])?$", re.IGNORECASE)
DYNAMIC_UNITS = ("N", "kN", "Nm", "N m", "Pa", "kPa", "lbf", "W", "kW")


def shape_novelty(task: NumbersTask, names: Sequence[str], told: Array, shapes: Array | None, sizes: Array) -> Novelty:
    """What to remember of cases.

    Args:
        task: Names the conditions.
        names: Of the cases.
        told: ``[m, k]`` conditions.
        shapes: ``[m, v]`` outlines; None: all shapes are the same.
        sizes: ``[m]`` longest sides, m.
    """
    spec = task.spec
    described = [
        ("length", "m"),
        *((name, spec.named(name).removeprefix(name).strip(" []")) for name in spec.conditions),
    ]
    values, modes = np.concatenate([sizes[:, None], told], 1), None
    if shapes is not None:
        modes = projection(shapes, 0)
        values = np.concatenate([values, (shapes - modes[0]) @ modes[1]], 1)
        described += [(f"shape mode {i + 1}", "") for i in range(modes[1].shape[1])]
    return Novelty(values, tuple(names), None, tuple(described), 1, modes)


def placed(novelty: Novelty, case: Case, conditions: Sequence[str]) -> Verdict:
    """Where a case lies beside those that were learnt from; notes a hint at its unit.

    Raises:
        InputError: Its size can only be one of another unit.
    """
    size = length(case.graph)
    novelty.check_length(size, case.label)
    value = [size, *(case.conditions[name] for name in conditions)]
    if novelty.modes is not None:
        value += ((outline(case.graph) - novelty.modes[0]) @ novelty.modes[1]).tolist()
    if (hint := novelty.unit_hint(np.array(value))) and hint not in case.notes:
        case.notes.append(hint)
    return novelty.judge(np.array(value))


def number_trust(
    task: NumbersTask, names: Sequence[str], vectors: Array, truth: Mapping[str, Array],
    folds: Sequence[Sequence[int]], novelty: Novelty, *, shape: bool,
) -> Trust:  # fmt: skip
    """Choose regressions of each result and measure their errors on cases they did not see.

    Args:
        task: Names the conditions and units.
        names: Of the cases.
        vectors: ``[m, v]`` of them.
        truth: Result -> ``[m]``.
        folds: Rows that are held out together.
        novelty: Of the same cases.
        shape: The vectors describe shapes.
    """
    spec, count = task.spec, len(names)
    models = []
    for name, values in truth.items():
        unit = spec.named(name).removeprefix(name).strip(" []")
        speed = _speed(spec.conditions, vectors) if DYNAMIC.search(name) or unit in DYNAMIC_UNITS else -1
        none = np.zeros((count, 0))
        evidence = Evidence(vectors, none, none, told=len(spec.conditions), speed=speed)
        models.append(number_model(name, unit, values, evidence, folds))
    beside = novelty.beside_others()
    return Trust(
        how="cross-validation", cases=tuple(names), numbers=tuple(models), peaks=(), widths=None,
        errors=np.zeros((count, 0)), distances=np.array([v.reach for v in beside]),
        levels=tuple(v.level for v in beside),
        vectors=vectors, num_conditions=len(spec.conditions), shape=shape,
    )  # fmt: skip


def _speed(conditions: Sequence[str], vectors: Array) -> int:
    """Column of the speed among the conditions, where it varies; -1: none."""
    for place, name in enumerate(conditions):
        if "speed" in named_stream({name: 1.0}) and np.ptp(vectors[:, place]):
            return place
    return -1


def told_numbers(
    task: NumbersTask, trust: Trust, case: Case, verdict: Verdict | None, level: float | None, seconds: float
) -> Prediction:
    """The results of a case with their intervals.

    Raises:
        InputError: The cases do not support the level.
    """
    count = len(trust.cases)
    level = highest_level(count) if level is None else check_level(level, count)
    vector = trust.vector(task, case, case.graph)[None]
    evidence = Evidence(vector, np.zeros((1, 0)), np.zeros((1, 0)), told=trust.num_conditions)
    reach, numbers = None if verdict is None else verdict.reach, {}
    for model in trust.numbers:
        value, size = model.value(evidence), np.abs(model.residuals)
        half = model.half_width(level, trust.scale(reach, size), trust.scales(size)) if level else None
        numbers[model.name] = Estimate(
            value=value,
            low=None if half is None else value - half,
            high=None if half is None else value + half,
            level=level or None,
            unit=model.unit,
            basis=model.basis(),
            constant=float(model.truth.mean()),
            true=case.numbers.get(model.name),
        )
    return Prediction(case, {}, {}, {}, numbers=numbers, level=level or None, verdict=verdict, seconds=seconds)


def expected(trust: Trust, level: str) -> str:
    """The errors that held-out cases had which lay so, in words."""
    rows = [i for i, name in enumerate(trust.levels) if name == level]
    if not rows:
        return f"No held-out case lay {PLACED[level]}: what errors to expect there is not known."
    words = [f"{m.name} {np.abs(m.residuals[rows]).mean():.2g}{' ' + m.unit if m.unit else ''}" for m in trust.numbers]
    return f"The {len(rows)} held-out cases that lay {PLACED[level]} had mean errors of {', '.join(words)}."
