"""Judge a surrogate on the cases of a split: errors of fields and forces, beside yardsticks that need no training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from meshops.aero.conditions import FlowConditions
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import CaseDataset
from meshops.metrics.fields import FieldMetrics, average, spearman
from meshops.tasks.cases import Case
from meshops.tasks.steady import SteadySpec
from meshops.tasks.surrogate import Surrogate
from meshops.tasks.yardsticks import Example, Yardsticks
from meshops.training.prepare import case_conditions, surface_of, with_body

SHORT = {"pressure": "pressure", "shear": "shear", "velocity": "velocity"}


def evaluate(
    surrogate: Surrogate,
    data: CaseDataset,
    *,
    training: CaseDataset | None = None,
    method: str = "interleaved",
    console: Console | None = None,
) -> dict[str, Any]:
    """Errors on every case of a dataset and their averages.

    Args:
        surrogate: The model.
        data: Cases with true fields.
        training: The cases it was trained on: adds ``yardsticks`` (surfaces).
        method: See :mod:`meshops.tasks.inference`.
        console: Shows progress.

    Returns:
        ``<role>_rel_l2`` per field, ``drag_error`` and ``lift_error`` (mean absolute error of C_D and C_L against the
        integrated true fields), ``drag_rank_correlation``, ``cases`` one by one; the same under ``yardsticks``, and
        for a model that uses features of the mesh itself also ``without_mesh_cues``, as for a CAD triangulation.
    """
    spec = surrogate.spec
    yardsticks = _yardsticks(training, spec) if training is not None and spec.domain == "surface" else None
    tables: dict[str, dict[str, dict[str, float]]] = {}
    variants: dict[str, bool | None] = {"": None}
    if spec.features.cues(spec.domain):
        variants["without_mesh_cues"] = False
    rows = track(range(len(data)), "testing", console=console, transient=True,
                 disable=console is None or not console.is_terminal)  # fmt: skip
    for i in rows:
        graph = with_body(data[i], spec)
        case = dataset_case(graph, spec, case_conditions(data, i, spec))
        for name, cues in variants.items():
            prediction = surrogate.predict(case, method=method, cues=cues)  # type: ignore[arg-type]
            tables.setdefault(name, {})[data.cases[i]] = _row(case, prediction.fields, spec)
        if yardsticks is not None:
            example = _example(graph, spec, data.parameters(i), case)
            scaling = spec.scaling(case.conditions)
            for name, values in yardsticks.predict(example.pos, example.corners, example.parameters).items():
                fields = {}
                for key, s in spec.slices().items():
                    shift, scale = scaling[key]
                    fields[key] = (values[:, s] * scale + shift).astype(np.float32).squeeze()
                tables.setdefault(name, {})[data.cases[i]] = _row(case, fields, spec)
    summary = _summary(tables.pop(""), detail=True)
    if "without_mesh_cues" in tables:
        summary["without_mesh_cues"] = _summary(tables.pop("without_mesh_cues"), detail=False)
    if tables:
        summary["yardsticks"] = {name: _summary(table, detail=False) for name, table in tables.items()}
    return summary


def dataset_case(graph: MeshGraph, spec: SteadySpec, conditions: FlowConditions) -> Case:
    """A dataset's graph as a case at its conditions: its fields are the truth, its cells the mesh."""
    from meshops.data.convert import to_pyvista  # VTK

    truth = {name: graph.field(name).numpy() for name in spec.fields}
    body = surface_of(graph) if spec.domain == "surface" else None
    location = spec.location
    return Case(to_pyvista(graph), graph, location, graph.label, truth, body, conditions=conditions)


def _row(case: Case, fields: Mapping[str, Any], spec: SteadySpec) -> dict[str, float]:
    row: dict[str, float] = {}
    keep = torch.as_tensor(case.used)
    area = case.graph.get("area")
    for role, short in SHORT.items():
        name = getattr(spec, role)
        if name is None:
            continue
        metric = FieldMetrics(name)
        predicted, truth = torch.as_tensor(fields[name])[keep], torch.as_tensor(case.truth[name])[keep]
        metric.update("", predicted, truth, None if area is None else area[keep])
        row |= {f"{short}_{key}": value for key, value in metric.compute().items()}
    for name in spec.fields:  # fields without a role keep their own name
        if name not in (spec.pressure, spec.shear, spec.velocity):
            metric = FieldMetrics(name)
            metric.update("", torch.as_tensor(fields[name])[keep], torch.as_tensor(case.truth[name])[keep])
            row |= {f"{name}_{key}": value for key, value in metric.compute().items()}
    predicted_forces, true_forces = case.forces(fields, spec), case.forces(case.truth, spec)
    if predicted_forces is not None and true_forces is not None:
        row |= {"cd": predicted_forces.cd, "cd_true": true_forces.cd, "cl": predicted_forces.cl,
                "cl_true": true_forces.cl}  # fmt: skip
        row["drag_error"] = abs(predicted_forces.cd - true_forces.cd)
        row["lift_error"] = abs(predicted_forces.cl - true_forces.cl)
    return row


def _summary(table: dict[str, dict[str, float]], *, detail: bool) -> dict[str, Any]:
    means = average(table)
    out: dict[str, Any] = {key: value for key, value in means.items() if key not in ("cd", "cd_true", "cl", "cl_true")}
    if "cd" in means:
        for key, short in (("drag", "cd"), ("lift", "cl")):
            predicted = [row[short] for row in table.values()]
            truth = [row[f"{short}_true"] for row in table.values()]
            out[f"{key}_rank_correlation"] = spearman(predicted, truth)
    if detail:
        out["cases"] = table
    return {key: _clean(value) for key, value in out.items()}


def _clean(value: Any) -> Any:
    """NaN is not JSON."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _yardsticks(training: CaseDataset, spec: SteadySpec) -> Yardsticks:
    cases = ((training[i], case_conditions(training, i, spec)) for i in range(len(training)))
    return Yardsticks([
        _example(graph, spec, training.parameters(i), dataset_case(graph, spec, conditions))
        for i, (graph, conditions) in enumerate(cases)
    ])  # fmt: skip


def _example(graph: MeshGraph, spec: SteadySpec, parameters: Mapping[str, float], case: Case) -> Example:
    """A case for the yardsticks: fields free of speed and density."""
    points = graph.get("points")
    corners = graph.pos if points is None else points
    values = np.array(list(parameters.values()), dtype=np.float64)
    if not values.size:
        assert case.body is not None
        values = case.body.descriptors(case.conditions)
    scaling = spec.scaling(case.conditions)
    columns = [
        (graph.field(name).reshape(len(graph.pos), -1).double() - scaling[name][0]) / scaling[name][1]
        for name in spec.fields
    ]
    box = np.stack([corners.amin(0).numpy(), corners.amax(0).numpy()]).astype(np.float64)
    return Example(graph.pos.double().numpy(), box, torch.cat(columns, 1).numpy(), values)
