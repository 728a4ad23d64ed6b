"""Calibration of a surrogate that exists on cases it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence

from meshops.errors import InputError, listing
from meshops.tasks.base import CaseSource, Context
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import as_cases, case_at
from meshops.tasks.prediction import RawFields, Verdict
from meshops.trust.calibration import Trust, calibrated
from meshops.trust.novelty import Novelty

FOLDS = 5


def calibrated_on(
    task: FieldsTask, novelty: Novelty | None, data: CaseSource, context: Context
) -> tuple[Trust, Trust | None]:
    """What the errors on such cases teach, and the same without features of the mesh itself where the model has some.

    Raises:
        InputError: A case was learnt from, or lacks a field.
    """
    cases = as_cases(data)
    known = set(novelty.shapes) if novelty is not None else set()
    if seen := [name for name in cases.cases if name in known]:
        raise InputError(
            f"{listing(seen, 4)}: cases of these names were learnt from, so that their errors are too small; calibrate "
            "with others"
        )
    rows: list[RawFields] = []
    bare: list[RawFields] = []
    placed: list[Verdict] = []
    for i, name in zip(context.track(len(cases)), cases.cases, strict=True):
        case = case_at(cases, i, task.spec)
        if missing := [field for field in task.spec.fields if field not in case.truth]:
            raise InputError(f"{name}: lacks the field {listing(missing)}, without which it cannot calibrate")
        rows.append(task.raw(case, cues=True if task.spec.cues() else None))
        if task.spec.cues():
            bare.append(task.raw(case, cues=False))
        if novelty is not None and (verdict := novelty.of_case(task, case)) is not None:
            placed.append(verdict)
    folds = spread_folds(len(rows))
    units, shape = dict(cases.quantity_units), task.reference is None
    where = placed if len(placed) == len(rows) else None
    made = [
        calibrated(task, part, folds, where, how="held-out cases", units=units, shape=shape)
        for part in (rows, bare)
        if part
    ]
    return made[0], made[1] if len(made) > 1 else None


def spread_folds(count: int) -> Sequence[Sequence[int]]:
    """Rows dealt into folds."""
    return [list(range(k, count, min(FOLDS, count))) for k in range(min(FOLDS, count))]
