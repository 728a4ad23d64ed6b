"""Judge fields: errors case by case, forces and numbers, beside the training mean and without features of the mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshops import ranks
from meshops.aero.cases import Case
from meshops.aero.conditions import FlowConditions
from meshops.aero.frame import Frame
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset
from meshops.metrics.fields import field_errors, spearman
from meshops.tasks.base import CaseSource, Context, Plain
from meshops.tasks.fields_samples import as_cases, case_at
from meshops.tasks.fields_spec import FieldsSpec
from meshops.tasks.inference import NodePredictor
from meshops.tasks.prediction import Estimate, Prediction
from meshops.tasks.report import Report, Row, means, shown

Array = NDArray[np.float32]
HEADINGS = {"drag_error": "|dCd|", "lift_error": "|dCl|"}
HIDDEN = ("cd", "cd_true", "cl", "cl_true")
FOR_STL = "  as for an STL"


Predict = Callable[..., Prediction]


class Judged(NodePredictor, Protocol):
    """What is needed of a task to judge it."""

    kind: ClassVar[str]

    def predict(self, case: Case, *, cues: bool | None = None, method: str | None, passes: int | None) -> Prediction:
        """Fields of a case."""

    def prepared(self, case: Case) -> tuple[MeshGraph, Frame | None]:
        """What the model sees of a case."""

    def physical(self, normalised: Tensor, frame: Frame | None, flow: FlowConditions | None) -> dict[str, Tensor]:
        """Fields in physical units."""


def fields_report(
    task: Judged, data: CaseSource, asked: Mapping[str, Plain], context: Context, predict: Predict | None = None
) -> Report:
    """Errors on every case and their averages.

    ``predict(case, cues=..., **asked)`` predicts a case; default: the task. Where it gives intervals, their coverage
    and width are among the errors.

    ``<field>_rel_l2``, ``_mae``, ``_r2`` (``_rel_l2_area`` where cells have areas) and those of ``spec.metrics``,
    ``drag_error`` and ``lift_error`` (mean absolute error of C_D and C_L against the integrated true fields),
    ``drag_rank_correlation``, for numbers the literature of the set computes from fields ``<number>_rel_error`` and
    ``<number>_rank_correlation``, and for learnt numbers ``<number>_error``. Baselines: the training mean everywhere,
    and for a model that uses features of the mesh itself the model without them, as for a CAD triangulation.
    """
    cases, spec = as_cases(data), task.spec
    variants: dict[str, bool | None] = {"": None, FOR_STL: False} if spec.cues() else {"": None}

    def judged(i: int) -> tuple[dict[str, Row], dict[str, Estimate], list[Path]]:
        case, rows, known = case_at(cases, i, spec), dict[str, Row](), dict[str, Estimate]()
        for table, cues in variants.items():
            made = (predict or task.predict)(case, cues=cues, **asked)  # type: ignore[arg-type]
            rows[table] = prediction_row(made, spec) | _measured(cases, case, made.fields)
            known |= made.numbers
        rows["mean"] = case_row(case, training_mean(task, case), spec)
        drawn = i == 0 and context.folder is not None and spec.dim == 2
        return rows, known, [_draw(task, case, made.fields, context.folder)] if drawn else []  # type: ignore[arg-type]

    found = ranks.shared_out(context.track(len(cases)), judged)
    by_case = {name: rows for name, (rows, _, _) in zip(cases.cases, found, strict=True)}
    tables = {table: {name: rows[table] for name, rows in by_case.items()} for table in (*variants, "mean")}
    known = {name: number for _, numbers, _ in found for name, number in numbers.items()}
    pictures = [path for _, _, paths in found for path in paths]
    mean = summary(tables[""])
    columns = {f"{spec.short(name)}_rel_l2": spec.short(name) for name in spec.fields}
    columns |= {key: text for key, text in HEADINGS.items() if key in mean}
    columns |= {key: f"|d{key.removesuffix('_rel_error')}|/true" for key in mean if key.endswith("_rel_error")}
    columns |= {f"{name}_error": _heading(name, n.unit) for name, n in known.items() if f"{name}_error" in mean}
    return Report(
        kind=task.kind,
        title=f"relative L2 error, mean of {len(cases)} held-out cases",
        mean=mean,
        cases=tables[""],
        baselines={name: summary(table) for name, table in tables.items() if name and table},
        details=dict(asked),  # type: ignore[arg-type]
        columns=columns,
        lines=_coverage(mean),
        pictures=pictures,
    )


def _measured(cases: CaseDataset, case: Case, fields: Mapping[str, Array]) -> Row:
    """Numbers of the literature of the set, of predicted and true fields."""
    whole = {name: case.graph.field(name).numpy() for name in case.truth}  # also where errors do not count
    found, true = cases.measured(case.graph, fields), cases.measured(case.graph, whole)
    row: Row = {}
    for name in found.keys() & true.keys():
        row |= {name: found[name], f"{name}_true": true[name]}
        row[f"{name}_rel_error"] = abs(found[name] - true[name]) / abs(true[name]) if true[name] else None
    return row


def _coverage(mean: Row) -> list[str]:
    """How many true values lay inside the intervals, and how wide these were."""
    known = {key.removesuffix("_covered"): share for key, share in mean.items() if key.endswith("_covered")}
    rows = [
        f"{name} {100 * float(share):.0f} % ({shown(mean.get(f'{name}_width'))})"
        for name, share in known.items()
        if share is not None
    ]
    return [f"inside their intervals (width): {', '.join(rows)}"] if rows else []


def _heading(number: str, unit: str) -> str:
    """Mean absolute error of a number, with its unit."""
    return f"|d{number}|" + (f" [{unit}]" if unit else "")


def prediction_row(made: Prediction, spec: FieldsSpec) -> Row:
    """Errors of a prediction against what is known of its case; coverage and width of its intervals."""
    case = made.case
    row = case_row(case, made.fields, spec)
    row |= {f"{name}_reported": value for name, value in case.numbers.items()}
    integrated = ("cd", "cl") if made.forces is not None else ()
    for name, number in made.numbers.items():
        if name not in integrated:
            row[f"{name}_learnt"] = number.value
            if number.true is not None:
                row[f"{name}_error"] = abs(number.value - number.true)
    for name, estimate in (*made.numbers.items(), *made.peaks.items()):
        if estimate.low is not None and estimate.high is not None and estimate.true is not None:
            row[f"{name}_width"] = estimate.high - estimate.low
            row[f"{name}_covered"] = float(estimate.low <= estimate.true <= estimate.high)
    for name, width in made.widths.items():
        if name in case.truth:
            miss = np.abs(made.fields[name].astype(np.float64) - case.truth[name]).reshape(len(width), -1)
            rows = case.used & np.isfinite(miss).all(1)
            row[f"{spec.short(name)}_width"] = 2 * float(width[rows].mean())
            row[f"{spec.short(name)}_covered"] = float((np.linalg.norm(miss[rows], axis=1) <= width[rows]).mean())
    return row


def case_row(case: Case, fields: Mapping[str, Array], spec: FieldsSpec) -> Row:
    """Errors of predicted fields of one case against what is known of it."""
    row: Row = {}
    errors = known_errors(case, fields, spec.metrics)
    for name in sorted(errors, key=lambda name: spec.short(name) == name):  # those with a role first
        row |= {f"{spec.short(name)}_{key}": value for key, value in errors[name].items()}
    found, true = case.forces(fields, spec), case.true_forces(spec)
    if found is not None and true is not None:
        row |= {"cd": found.cd, "cd_true": true.cd, "cl": found.cl, "cl_true": true.cl}
        row |= {"drag_error": abs(found.cd - true.cd), "lift_error": abs(found.cl - true.cl)}
    return row


def known_errors(case: Case, fields: Mapping[str, Array], metrics: Sequence[str] = ()) -> dict[str, Row]:
    """Errors of each field whose truth is known, over the nodes that belong to a cell."""
    out = {}
    keep = torch.as_tensor(case.used)
    area = case.graph.get("area") if case.body is not None and not case.refined else None
    for name, truth in case.truth.items():
        predicted = torch.as_tensor(np.asarray(case.to_mesh(fields[name])))
        known = torch.as_tensor(truth)
        rows = keep & known.reshape(len(known), -1).isfinite().all(1)  # what is not known is not compared
        areas = None if area is None else area[rows]
        out[name] = field_errors(predicted[rows], known[rows], areas, extra=metrics)
    return out


def training_mean(task: Judged, case: Case) -> dict[str, Array]:
    """The training mean at every node of a case: what any surrogate has to beat."""
    _, frame = task.prepared(case)
    zeros = torch.zeros(len(case.graph.pos), task.spec.channels)
    return {name: values.numpy() for name, values in task.physical(zeros, frame, case.flow).items()}


def summary(table: Mapping[str, Row]) -> Row:
    """Means over cases, and how well coefficients are ranked."""
    mean = means(table)
    measured = [key.removesuffix("_rel_error") for key in mean if key.endswith("_rel_error")]
    ranked = {name: name for name in measured} | ({"drag": "cd", "lift": "cl"} if "cd" in mean else {})
    hidden = {*HIDDEN, *measured, *(f"{name}_true" for name in measured)}
    out: Row = {key: value for key, value in mean.items() if key not in hidden and not key.endswith("_reported")}
    for key, short in ranked.items():
        predicted = [float(row[short] or 0.0) for row in table.values()]
        truth = [float(row[f"{short}_true"] or 0.0) for row in table.values()]
        rank = spearman(predicted, truth)
        out[f"{key}_rank_correlation"] = rank if np.isfinite(rank) else None
    return out


def _draw(task: Judged, case: Case, fields: Mapping[str, Array], folder: Path) -> Path:
    """Truth, prediction, error and bits of a plane case."""
    from meshops.viz.plane import graph_picture

    bits = None
    if hasattr(task.model, "assign"):
        inputs = task.model.unpack(task.inputs(task.prepared(case)[0].to(task.device)))  # type: ignore[operator]
        bits = task.model.assign(inputs).plans["node"].bits.cpu()  # type: ignore[operator]
    predicted = {name: torch.as_tensor(values) for name, values in fields.items()}
    return graph_picture(case.graph, predicted, folder / "case.png", bits=bits)
