"""What the held-out predictions of a fit teach about its errors, see :mod:`meshops.trust`."""

from __future__ import annotations

from torch import Tensor

from meshops.aero.features import frame_of
from meshops.datasets.base import CaseDataset
from meshops.ops.neighbors import knn_search
from meshops.selection.folds import Split
from meshops.selection.scores import Sheet, Truth
from meshops.selection.search import Found
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import FieldsSamples, case_at
from meshops.tasks.prediction import RawFields
from meshops.tasks.prepared import sizes_of
from meshops.training.adapt import Choice
from meshops.trust import HeldOut, Novelty, Trust, calibrated


def trusted(
    task: FieldsTask, cases: CaseDataset, samples: FieldsSamples, found: Found, truth: Truth, novelty: Novelty | None,
    split: Split, numbers: tuple[str, ...] | None = None,
) -> tuple[Trust | None, Trust | None]:  # fmt: skip
    """What the held-out predictions of the learning cases teach; the second without features of the mesh itself."""
    if not found.sheet:
        return None, None
    row = {case: i for i, case in enumerate(split.learn)}
    folds = [[row[i] for i in fold] for fold in split.folds]
    placed = None if novelty is None else novelty.left_out(task, samples)
    whole = [len(nodes) for nodes in truth.nodes] == sizes_of(samples.graphs)
    units, shape = dict(cases.quantity_units), task.reference is None

    def held(sheet: Sheet) -> list[HeldOut]:
        made = (_raw(task, cases, samples, i, truth, sheet[i], found.spread[i]) for i in range(len(cases)))
        return [HeldOut.of(task, raw, shape=shape, cases=len(cases)) for raw in made]

    made = [
        calibrated(
            task, held(sheet), folds, placed,
            how="cross-validation", units=units, shape=shape, wanted=numbers, whole=whole,
        )
        for sheet in (found.sheet, found.bare)
        if sheet
    ]  # fmt: skip
    return made[0], made[1] if len(made) > 1 else None


def trusted_going_on(
    task: FieldsTask, cases: CaseDataset, samples: FieldsSamples, choice: Choice, novelty: Novelty | None,
    numbers: tuple[str, ...] | None = None,
) -> tuple[Trust, Trust | None]:  # fmt: skip
    """The same of a surrogate that went on from another one, whose ways were compared on cases held out in turn."""
    placed = None if novelty is None else novelty.left_out(task, samples)
    shape, truth = task.reference is None, Truth.at(task, samples.graphs, choice.nodes)
    whole = [len(nodes) for nodes in truth.nodes] == sizes_of(samples.graphs)

    def held(i: int, values: Tensor) -> HeldOut:
        raw = _raw(task, cases, samples, i, truth, values, choice.held_out[i].spread)
        return HeldOut.of(task, raw, shape=shape, cases=len(cases))

    made = [
        calibrated(
            task, [held(i, values) for i, values in enumerate(rows)], choice.folds, placed, how="cross-validation",
            units=dict(cases.quantity_units), shape=shape, wanted=numbers, whole=whole,
        )
        for rows in ([h.values for h in choice.held_out], [h.bare for h in choice.held_out if h.bare is not None])
        if rows
    ]  # fmt: skip
    return made[0], made[1] if len(made) > 1 else None


def _raw(
    task: FieldsTask, cases: CaseDataset, samples: FieldsSamples, i: int, truth: Truth, values: Tensor, spread: Tensor
) -> RawFields:
    """A held-out prediction as one of a case that was opened; where it was not made, with the error of the nearest."""
    case, graph = case_at(cases, i, task.spec), samples.graphs[i]
    values = truth.whole(i, values, graph)
    if len(spread) < len(values):
        spread = spread[knn_search(graph.pos[truth.nodes[i]], 1, graph.pos).index.view(-1)]
    frame = frame_of(case.graph, case.flow, task.spec.domain) if task.spec.bodies else None
    case.prepared = graph, frame
    case.label = samples.names[i]
    return RawFields(case, graph, frame, values, spread, cues=False, seconds=0.0)
