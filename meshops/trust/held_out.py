"""Calibration of a surrogate that exists on cases it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence

from meshops.errors import InputError, listing
from meshops.tasks.base import CaseSource, Context
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import as_cases, case_at
from meshops.tasks.prediction import Verdict
from meshops.trust.calibration import Trust
from meshops.trust.learning import HeldOut, calibrated
from meshops.trust.novelty import Novelty

FOLDS = 5
SAME = 1e-4  # of the largest gap of the training: cases that near are one


def calibrated_on(
    task: FieldsTask, novelty: Novelty | None, data: CaseSource, context: Context
) -> tuple[Trust, Trust | None]:
    """What the errors on such cases teach, and the same without features of the mesh itself where the model has some.

    Raises:
        InputError: A case was learnt from, or lacks a field.
    """
    cases = as_cases(data)
    rows: list[HeldOut] = []
    bare: list[HeldOut] = []
    shape = task.reference is None
    placed: list[Verdict] = []
    for i, name in zip(context.track(len(cases)), cases.cases, strict=True):
        case = case_at(cases, i, task.spec)
        if case.graph.get("y_use") is not None:
            raise InputError(
                f"{name}: some of its fields exist at part of the nodes only; such cases have no intervals"
            )
        verdict = None if novelty is None else novelty.of_case(task, case)
        if verdict is not None and _learnt_from(name, verdict, task):
            raise InputError(
                f"'{name}' is '{verdict.nearest}' of the training, so that its error is too small; calibrate with "
                "cases that were not learnt from"
            )
        if missing := [field for field in task.spec.fields if field not in case.truth]:
            raise InputError(f"{name}: lacks the field {listing(missing)}, without which it cannot calibrate")
        raw = task.raw(case, cues=True if task.spec.cues() else None)
        rows.append(HeldOut.of(task, raw, shape=shape, cases=len(cases)))
        if task.spec.cues():
            bare.append(HeldOut.of(task, task.raw(case, cues=False), shape=shape, cases=len(cases)))
        if verdict is not None:
            placed.append(verdict)
    folds = spread_folds(len(rows))
    units = dict(cases.quantity_units)
    where = placed if len(placed) == len(rows) else None
    made = [
        calibrated(task, part, folds, where, how="held-out cases", units=units, shape=shape)
        for part in (rows, bare)
        if part
    ]
    return made[0], made[1] if len(made) > 1 else None


def _learnt_from(name: str, verdict: Verdict, task: FieldsTask) -> bool:
    """Shape and conditions of a training case; with inputs of its own a case of another name may be another one."""
    return verdict.distance < SAME and (name == verdict.nearest or not task.spec.inputs)


def spread_folds(count: int) -> Sequence[Sequence[int]]:
    """Rows dealt into folds."""
    return [list(range(k, count, min(FOLDS, count))) for k in range(min(FOLDS, count))]
