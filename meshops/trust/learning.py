"""What cases that were predicted by models which did not see them teach about a surrogate's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshops.errors import InputError
from meshops.tasks.fields import FieldsTask
from meshops.tasks.prediction import RawFields, Verdict
from meshops.trust.calibration import Trust
from meshops.trust.conformal import LEVEL, cases_needed
from meshops.trust.field_widths import FieldWidths, lengths, node_places
from meshops.trust.numbers import Evidence, NumberModel, number_model
from meshops.trust.quantities import (
    FACES,
    TABLE,
    Quantity,
    averages,
    case_vector,
    quantities_of,
    size_of,
    true_quantities,
)

Array = NDArray[np.float64]
AGREE = 0.02  # of its size: a coefficient of a table that is so near to the integrated one is the same
NODES = 32_768  # of a case whose errors are kept, at most
ALL_NODES = 2**22  # of all cases


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What is learnt from one held-out case: all that has to be kept of it.

    Attributes:
        label: Its name.
        body: It is one.
        found: Its numbers and peaks, of the predicted fields; ``true``: of the known ones.
        vector: Conditions and shape.
        averages: Of the predicted fields.
        size: Diagonal of the box of its nodes.
        table: Numbers of the tables.
        errors: ``[f]`` relative L2 error of each field.
        place: ``[n, k]`` where nodes are on the shape; ``error`` and ``spread``: ``[n, f]`` there, of some nodes.
    """

    label: str
    body: bool
    found: Mapping[str, Quantity]
    true: Mapping[str, Quantity]
    vector: Array
    averages: Array
    size: float
    table: Mapping[str, float]
    errors: Array
    place: Tensor
    error: Tensor
    spread: Tensor

    @classmethod
    def of(cls, task: FieldsTask, raw: RawFields, *, shape: bool, cases: int = 1) -> HeldOut:
        """Of a complete case that was predicted by a model which did not see it.

        Args:
            task: Of the surrogate: its normalisation.
            raw: The prediction.
            shape: Shapes differ between the cases.
            cases: How many are held out in all: the more, the fewer nodes of each are kept.
        """
        nodes, n = task.at_nodes(raw), len(raw.values)
        kept, most = torch.arange(n), min(NODES, max(512, ALL_NODES // cases))
        if n > most:
            kept = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:most].sort().values
        return cls(
            label=raw.case.label,
            body=raw.case.body is not None,
            found=quantities_of(raw, nodes, task),
            true=true_quantities(raw.case, task),
            vector=case_vector(raw.case, raw.prepared, task.spec, shape=shape),
            averages=averages(raw.case, nodes, task.spec),
            size=size_of(raw.case),
            table=dict(raw.case.numbers),
            errors=np.array([_relative(raw, task, c) for c in task.spec.slices().values()]),
            place=node_places(raw.prepared, task.spec)[kept],
            error=lengths(_error(raw, task), task.spec)[kept],
            spread=lengths(raw.spread, task.spec)[kept],
        )


def calibrated(
    task: FieldsTask,
    held_out: Sequence[HeldOut],
    folds: Sequence[Sequence[int]],
    placed: Sequence[Verdict] | None,
    *,
    how: str,
    units: Mapping[str, str] | None = None,
    shape: bool = True,
    wanted: Sequence[str] | None = None,
    whole: bool = True,
) -> Trust:
    """Learn from cases that were predicted by models which did not see them.

    Args:
        task: Of the surrogate: its normalisation.
        held_out: What was learnt from each of them.
        folds: Rows of these that stand together: those whose numbers are not used for each other.
        placed: Where each case lies beside the others; None: not known.
        how: ``"cross-validation"`` or ``"held-out cases"``.
        units: Of the numbers of the tables.
        shape: Shapes differ between the cases.
        wanted: Numbers of the tables; None: all that differ.
        whole: The cases were predicted at all nodes; else their peaks are not known.

    Raises:
        InputError: There are fewer than two cases.
    """
    if len(held_out) < 2:
        raise InputError(
            f"{len(held_out)} case to calibrate with; give at least 2, and {cases_needed(LEVEL)} for "
            f"intervals of {100 * LEVEL:.0f} %"
        )
    found, true, sizes = ([getattr(one, key) for one in held_out] for key in ("found", "true", "size"))
    vector, average = (np.array([getattr(one, key) for one in held_out]) for key in ("vector", "averages"))
    told = len(task.spec.conditions)
    alike = FACES if held_out[0].body and shape else 0

    def model(name: str, unit: str, values: Array, field: Array, places: Array | None = None) -> NumberModel:
        evidence = Evidence(vector, average, field, alike, told)
        return number_model(name, unit, values, evidence, folds, places=places)

    numbers, heights = [], []
    for name in [n for n in found[0] if all(n in row for row in (*found, *true))]:
        values = np.array([row[name].value for row in true])
        field = np.array([[row[name].value] for row in found])
        if found[0][name].place is None:
            numbers.append(model(name, found[0][name].unit, values, field))
            continue
        if not whole:
            continue
        missed = [
            float(np.linalg.norm(one[name].place - other[name].place)) / size  # type: ignore[operator]
            for one, other, size in zip(found, true, sizes, strict=True)
        ]
        heights.append(model(name, found[0][name].unit, values, field, np.array(missed)))
    for name, values in _table(held_out, numbers, wanted).items():
        told_by_head = all(name in row for row in found)
        field = np.array([[row[name].value] if told_by_head else [] for row in found])
        numbers.append(model(name, (units or {}).get(name.removesuffix(TABLE), ""), values, field))
    errors = np.array([one.errors for one in held_out])
    distances = np.array([v.reach for v in placed or ()])
    out = Trust(
        how=how,
        cases=tuple(one.label for one in held_out),
        numbers=tuple(numbers),
        peaks=tuple(heights),
        widths=None,
        errors=errors,
        distances=distances,
        levels=() if placed is None else tuple(v.level for v in placed),
        vectors=vector,
        num_conditions=told,
        shape=shape,
    )
    parts = [(one.place, one.error, one.spread) for one in held_out]
    return replace(out, widths=FieldWidths.of(parts, out.scales(), _central(vector)))


def _table(
    held_out: Sequence[HeldOut], integrated: Sequence[NumberModel], wanted: Sequence[str] | None
) -> dict[str, Array]:
    """Numbers of the tables that all cases have and that differ, without coefficients that are the integrated ones."""
    rows = [one.table for one in held_out]
    known = {model.name: model.truth for model in integrated}
    out = {}
    for name in [n for n in rows[0] if all(n in row for row in rows)]:
        values = np.array([row[name] for row in rows], dtype=np.float64)
        if not np.isfinite(values).all() or not np.ptp(values) or (wanted is not None and name not in wanted):
            continue
        other = known.get(name.replace("_", "").casefold())
        if other is None:
            out[name] = values
        elif np.median(np.abs(values - other)) > AGREE * np.abs(other).max():
            out[name + TABLE if name in known else name] = values
    return out


def _error(raw: RawFields, task: FieldsTask) -> Tensor:
    out: Tensor = (raw.values - task.output_norm(raw.prepared.y.to(task.device)).cpu()).nan_to_num(0.0)
    return out


def _relative(raw: RawFields, task: FieldsTask, channels: slice) -> float:
    values, truth = task.output_norm.inverse(raw.values.to(task.device)).cpu(), raw.prepared.y
    size = float(truth[:, channels].norm())
    return float((values[:, channels] - truth[:, channels]).norm()) / size if size > 0 else float("nan")


def _central(vectors: Array) -> int:
    scaled = vectors / np.where(vectors.std(0) > 0, vectors.std(0), np.inf)
    return int(np.linalg.norm(scaled - np.median(scaled, axis=0), axis=1).argmin()) if vectors.size else 0
