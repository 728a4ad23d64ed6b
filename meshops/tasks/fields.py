"""Fields of finished cases: on bodies in a flow, on any graph, on points and on grids, with any model.

Inputs are those of the data, and for bodies features of the geometry in the frame of the body. Values are normalised
once, here: inputs to zero mean and unit variance, positions by one shift and scale, fields by their mean and one scale
each, so that vectors keep their direction. Named conditions reach the model as channels that are the same at all nodes
of a case; named results are learnt by a pooled head beside the model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from meshops import ranks
from meshops.aero.cases import Case, Source, check_conditions, graph_case
from meshops.aero.conditions import FlowConditions
from meshops.aero.features import body_of
from meshops.aero.forces import Forces
from meshops.aero.frame import Frame
from meshops.aero.opening import open_case
from meshops.aero.prepare import prepare, restored
from meshops.aero.symmetry import LOPSIDED, lopsided_share
from meshops.data.mesh_graph import UNKNOWN, MeshGraph
from meshops.data.normalize import Normalizer, Statistics
from meshops.data.sampling import random_subset, random_subset_of_kinds
from meshops.datasets.graph_list import GraphList, named_numbers
from meshops.metrics.fields import relative_l2
from meshops.metrics.losses import get_loss
from meshops.nn.mesh_model import LearnsWithTruth
from meshops.nn.number_head import NumberHead
from meshops.ops.pointers import pointers
from meshops.partition.checks import graph_ptr
from meshops.tasks.base import ALONE, CaseSource, Context, Draw, Plain, Stored, Task, register_task
from meshops.tasks.fields_begun import begun_samples, like_cells
from meshops.tasks.fields_report import Predict, fields_report, known_errors
from meshops.tasks.fields_samples import FieldsSamples, make_samples
from meshops.tasks.fields_spec import FieldsSettings, FieldsSpec
from meshops.tasks.inference import predict_nodes, predict_spread, some_nodes
from meshops.tasks.known import among, judged_rows, known_values
from meshops.tasks.node_cost import check_features, fitting_chunk
from meshops.tasks.prediction import Estimate, Prediction, RawFields
from meshops.tasks.prepared import PreparedGraphs, conditions_of
from meshops.tasks.report import Report

FAR = 5.0  # standard deviations: a shape outside the training set must not blow up


@register_task("fields")
class FieldsTask(Task[FieldsSamples, Batch]):
    """A model of fields together with the normalisation of its inputs and outputs.

    Args:
        model: ``model(model.unpack(graph)) -> [n, channels]`` (or ``[b, channels, *grid]``), normalised.
        spec: What is learnt.
        input_norm: Of the inputs.
        output_norm: Of the fields; in the frame of the body where there is one.
        position: ``[dim + 1]`` shift and scale of the positions.
        condition_norm: Of the conditions.
        number_norm: Of the named results.
    """

    Settings: ClassVar[type] = FieldsSettings
    remembered = ("cell_size", "cell_points", "condition_range", "place_range")
    position: Tensor
    spec: FieldsSpec

    def __init__(
        self,
        model: nn.Module,
        spec: FieldsSpec,
        *,
        input_norm: Normalizer,
        output_norm: Normalizer,
        position: Tensor,
        condition_norm: Normalizer,
        number_norm: Normalizer,
    ) -> None:
        super().__init__(model, spec)
        self.input_norm, self.output_norm = input_norm, output_norm
        self.condition_norm, self.number_norm = condition_norm, number_norm
        self.register_buffer("position", position.to(torch.float32))
        self.number_head: NumberHead | None = None
        if spec.numbers:
            width = spec.dim + len(spec.feature_names()) + len(spec.conditions) + spec.channels
            self.number_head = NumberHead(width, len(spec.numbers))
        self.cell_size: float | None = None
        self.cell_points: float | None = None
        self.condition_range: dict[str, tuple[float, float]] = {}
        self.place_range: tuple[tuple[float, float], ...] = ()  # of the bodies, along the flow and across it, m
        self.reference: MeshGraph | None = None
        self.asked = {"method": "interleaved", "passes": 2}

    # ---- from cases to a task

    @classmethod
    def samples(cls, data: CaseSource, settings: object, context: Context = ALONE) -> FieldsSamples:
        """Prepared cases, with ``context.start`` as that sees them; see :mod:`meshops.tasks.fields_samples`."""
        assert isinstance(settings, FieldsSettings)
        if context.start is not None:
            return begun_samples(data, settings, context)
        return make_samples(data, settings, context)

    @classmethod
    def fit(cls, model: nn.Module, samples: FieldsSamples, settings: FieldsSettings) -> Self:  # type: ignore[override]
        """Task with statistics of the training cases (float64, each node counts once)."""
        spec, graphs = samples.spec, samples.graphs
        slices = list(spec.slices().values())

        def over(key: str) -> Statistics:
            if isinstance(graphs, PreparedGraphs):
                return Statistics.merged(graphs.statistics(key))
            return Statistics.over(graph[key] for graph in graphs)

        def of_field(k: int, channels: slice) -> Statistics:
            if isinstance(graphs, PreparedGraphs):
                return Statistics.merged(graphs.statistics(f"y {k}"))
            return Statistics.over(known_values(graph, k, channels) for graph in graphs)

        def norm(key: str, names: Sequence[str]) -> Normalizer:
            return Normalizer.from_statistics(over(key)) if names else Normalizer.identity(0)

        task = cls(
            model,
            spec,
            input_norm=norm("x", spec.feature_names()),
            output_norm=Normalizer.of_fields([of_field(k, c) for k, c in enumerate(slices)], slices),
            position=over("pos").box(),
            condition_norm=norm("conditions", spec.conditions),
            number_norm=norm("numbers", spec.numbers),
        )
        task.cell_size, task.cell_points = samples.cell_size, samples.cell_points
        if samples.places is not None:
            task.place_range = tuple((float(x.min()), float(x.max())) for x in samples.places.T)
        task.reference = samples.reference
        task.asked["passes"] = settings.passes
        told = conditions_of(graphs)
        for i, name in enumerate(spec.conditions):
            task.condition_range[name] = float(told[:, i].min()), float(told[:, i].max())
        return task

    @classmethod
    def empty(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Task of the right sizes."""
        made = FieldsSpec.from_dict(spec)
        return cls(
            model,
            made,
            input_norm=Normalizer.identity(len(made.feature_names())),
            output_norm=Normalizer.identity(made.channels),
            position=torch.zeros(made.dim + 1),
            condition_norm=Normalizer.identity(len(made.conditions)),
            number_norm=Normalizer.identity(len(made.numbers)),
        )

    def memory(self) -> dict[str, Stored]:
        """Also the shared mesh, without which conditions alone could not be asked for."""
        mesh = {} if self.reference is None else {k: v for k, v in self.reference.to_dict().items() if v is not None}
        return {**super().memory(), "reference": {k: list(v) if isinstance(v, tuple) else v for k, v in mesh.items()}}

    def remember(self, memory: Mapping[str, Stored]) -> None:
        """Inverse of :meth:`memory`."""
        super().remember({"place_range": (), **memory})
        mesh = memory.get("reference")
        self.reference = (
            MeshGraph(**{k: _tupled(v) for k, v in mesh.items()}) if isinstance(mesh, dict) and mesh else None
        )

    # ---- learning

    def batch(self, samples: FieldsSamples, draws: Sequence[Draw]) -> Batch:
        """Whole cases, or random subsets of their nodes; features of the mesh itself are hidden in some of them."""
        if not self.spec.nodes:
            return Batch.from_data_list([samples.graphs[draw.number] for draw in draws])
        return Batch.from_data_list([self._subset(samples.graphs, draw) for draw in draws])

    def _subset(self, graphs: Sequence[MeshGraph], draw: Draw) -> MeshGraph:
        generator = torch.Generator().manual_seed(draw.seed)
        share, size = self.spec.surface_share, self.spec.nodes
        out = graphs.subset(draw.number, size, generator) if isinstance(graphs, PreparedGraphs) else None
        if out is None:
            graph = graphs[draw.number]
            if (kinds := graph.get("in_volume")) is None or share is None:
                index = random_subset(len(graph.pos), size, generator)
            else:
                index = random_subset_of_kinds(kinds, size, share, generator)
            out = some_nodes(graph, index)
        if self.spec.cues() and float(torch.rand((), generator=generator)) < self.spec.hide:
            out.x[:, self._cue_columns()] = torch.nan
        return out

    def _cue_columns(self) -> slice:
        """Columns of the features of the mesh itself: the last of those that are computed."""
        last = len(self.spec.feature_names()) - len(self.spec.inputs)
        return slice(last - len(self.spec.cues()), last)

    def inputs(self, graph: Data) -> MeshGraph:
        """A shallow copy with normalised positions and inputs, conditions among them, as the model takes it."""
        out: MeshGraph = copy(graph)
        out.pos = (graph.pos - self.position[:-1]) / self.position[-1]
        x = self.input_norm(graph.x)
        if self.spec.bodies:  # hidden features take the training mean
            x = x.nan_to_num(0.0).clamp(-FAR, FAR)
        if self.spec.conditions:
            told = self.condition_norm(graph.conditions).clamp(-FAR, FAR)
            counts = _ptr(graph).diff()
            x = torch.cat([x, told.repeat_interleave(counts, 0, output_size=len(x))], 1)
        out.x = x
        return out

    def forward(self, graph: Data) -> Tensor:
        """Normalised fields ``[n, c]`` of a prepared graph or a batch."""
        return _rows(self.model(self.model.unpack(self.inputs(graph))))  # type: ignore[operator]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss``: weighted sum of the losses of the fields (and of the numbers), and each of them."""
        inputs = self.inputs(batch)
        truth, ptr, use = self.output_norm(batch.y), _ptr(batch), batch.get("y_use")

        def criterion(prediction: Tensor) -> dict[str, Tensor]:
            rows = _rows(prediction)
            parts = self._field_losses(rows, truth, ptr, use)
            if self.number_head is not None:
                found = self._numbers(inputs, rows.detach(), ptr)
                parts["numbers"] = ranks.mean((found - self.number_norm(batch.numbers)).square())
                parts["loss"] = parts["loss"] + self.spec.number_weight * parts["numbers"]
            return parts

        unpacked = self.model.unpack(inputs)  # type: ignore[operator]
        if isinstance(self.model, LearnsWithTruth):
            return self.model.learn(unpacked, truth, criterion)
        return criterion(self.model(unpacked))

    def _field_losses(self, prediction: Tensor, truth: Tensor, ptr: Tensor, use: Tensor | None) -> dict[str, Tensor]:
        origin = -self.output_norm.shift / self.output_norm.scale  # where the physical values are zero
        losses, weights = self.spec.per_field(self.spec.loss), self.spec.per_field(self.spec.weights)
        parts, total = {}, truth.new_zeros(())
        for k, (name, channels) in enumerate(self.spec.slices().items()):
            loss, known, own = get_loss(losses[name]), prediction[:, channels], truth[:, channels]
            bounds = ptr
            if use is not None:
                rows = use[:, k] != UNKNOWN
                known, own, bounds = known[rows], own[rows], among(rows, ptr)
            if len(own):
                parts[name] = loss(known, own, origin[channels], bounds)
            else:  # other ranks may have some
                parts[name] = ranks.ratio(known.sum(), 0)
            total = total + weights[name] * parts[name]
        return {"loss": total, **parts}

    def _numbers(self, inputs: MeshGraph, fields: Tensor, ptr: Tensor) -> Tensor:
        assert self.number_head is not None
        out: Tensor = self.number_head(torch.cat([inputs.pos, inputs.x, fields], 1), ptr)
        return out

    def judge(self, samples: FieldsSamples, case: MeshGraph) -> dict[str, float]:  # type: ignore[override]
        """Relative L2 of each field of one held-out case and their mean."""
        values = self.output_norm.inverse(predict_nodes(self, case, passes=1).to(self.device)).cpu()
        errors = {}
        for k, (name, c) in enumerate(self.spec.slices().items()):
            rows = judged_rows(case, k)
            errors[name] = relative_l2(values[rows][:, c], case.y[rows][:, c])
        known = [value for value in errors.values() if math.isfinite(value)]
        return {**errors, "error": sum(known) / len(known) if known else math.nan}

    # ---- use

    def open(
        self,
        source: Source | Data | Case,
        *,
        scale: float | None = None,
        region: str | None = None,
        refine: bool = True,
        names: Mapping[str, str] | None = None,
        flow: FlowConditions | None = None,
        conditions: Mapping[str, float] | None = None,
    ) -> Case:
        """A file, a PyVista mesh, a PyG graph or an opened case, as a case; see :func:`meshops.aero.opening.open_case`.

        Raises:
            InputError: It cannot be used; the message says why.
        """
        check_conditions(conditions or {}, self.spec)
        if isinstance(source, Case):
            if flow is not None and self.spec.at(flow) != source.flow:
                source.flow, source.prepared, source.keeping = self.spec.at(flow), None, None
            if conditions:
                source.conditions = {**source.conditions, **conditions}
                source.prepared = source.keeping = None
            return source
        if isinstance(source, Data):
            graph = source if isinstance(source, MeshGraph) else GraphList([source])[0]
            stated, known = (named_numbers(graph, key, graph.label) for key in ("conditions", "numbers"))
            return graph_case(graph, self.spec, flow=flow, conditions={**stated, **(conditions or {})}, numbers=known)
        return open_case(
            source,
            self.spec,
            scale=scale,
            region=region,
            cell_size=self.cell_size if refine else None,
            names=names,
            flow=flow,
            conditions=conditions,
        )

    def prepared(self, case: Case) -> tuple[MeshGraph, Frame | None]:
        """What the model sees of a case; made once, says where the case is unlike what was learnt."""
        if case.prepared is None:
            check_features(self, len(case.graph.pos), case.label)
            kept = case.keeping
            case.prepared = (
                prepare(case.graph, self.spec, case.flow, case.conditions, case.numbers) if kept is None else kept()
            )
            frame = case.prepared[1]
            if frame is not None and frame.folded:
                case.lopsided = lopsided_share(body_of(case.graph, frame, self.spec.domain))
            if case.lopsided > LOPSIDED:
                case.notes.append(
                    f"{case.label}: the body has no mirror plane across the flow ({100 * case.lopsided:.0f} % of its "
                    "area has no mirror image), but the model learnt from bodies that have one and uses it"
                )
            self._say_place(case)
            for name, (low, high) in self.condition_range.items():
                value, margin = case.conditions[name], 0.05 * (high - low)
                if not low - margin <= value <= high + margin:
                    case.notes.append(
                        f"{case.label}: {self.spec.named(name)} = {value:g} is outside the {low:g} to {high:g} of the "
                        "training: an extrapolation, whose error is unknown"
                    )
        return case.prepared

    def _say_place(self, case: Case) -> None:
        """Say where a body was moved: it lies elsewhere than those of the training."""
        if case.body is None or case.mesh is None or not self.place_range:
            return
        away = case.flow.frame[:2] @ (np.asarray(case.mesh.points[0], dtype=np.float64) - case.body.points[0])
        place, margin = case.body.middle(case.flow) + away, 0.02 * case.body.length(case.flow)
        if any(not low - margin <= x <= high + margin for x, (low, high) in zip(place, self.place_range, strict=True)):
            case.notes.append(
                f"the middle of the body lies at {place[0]:.4g} m along the flow and {place[1]:.4g} m across it, "
                "unlike those of the training; it was moved to their place, which changes nothing but the coordinates"
            )

    def predict(self, case: Case, **asked: Any) -> Prediction:  # type: ignore[override]
        """Fields of an opened case, physical units, on its own cells or nodes; ``asked`` as :meth:`raw` takes it.

        Raises:
            InputError: A condition is missing, or the method does not fit the model.
        """
        return self.told(self.raw(case, **asked))

    def raw(
        self,
        case: Case,
        *,
        method: str | None = None,
        passes: int | None = None,
        chunk_size: int | None = None,
        cues: bool | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> RawFields:
        """What the model says of an opened case, not yet in physical units.

        Args:
            case: From :meth:`open`.
            method: See :mod:`meshops.tasks.inference`; default from training.
            passes: Interleavings averaged; default from training.
            chunk_size: Nodes worked on at a time; None: as many as fit, see :mod:`meshops.tasks.node_cost`.
            cues: Use features of the mesh itself; default: if it is like the training meshes.
            progress: Called with the fraction done.

        Raises:
            InputError: A condition is missing, or the method does not fit the model.
        """
        start = time.perf_counter()
        asked = self.asking({"method": method, "passes": passes})
        used = self._like_training_mesh(case) if cues is None else cues
        prepared, frame = self.prepared(case)
        if self.spec.cues() and not used:
            prepared = self.without_cues(prepared)
        values, spread = predict_spread(
            self,
            prepared,
            method=str(asked["method"]),
            passes=int(str(asked["passes"])),
            chunk_size=fitting_chunk(self, len(prepared.pos)) if chunk_size is None else chunk_size,
            progress=progress,
        )
        used = bool(self.spec.cues()) and used
        return RawFields(case, prepared, frame, values, spread, used, time.perf_counter() - start)

    def told(self, raw: RawFields, nodes: Mapping[str, NDArray[np.float32]] | None = None) -> Prediction:
        """A prediction from what the model said; ``nodes``: other fields at the nodes, in physical units."""
        case = raw.case
        fine = self.at_nodes(raw) if nodes is None else dict(nodes)
        forces, true = case.forces(fine, self.spec), case.true_forces(self.spec)
        return Prediction(
            case=case,
            fields={name: case.to_mesh(array) for name, array in fine.items()},
            truth=case.truth,
            errors=known_errors(case, fine, self.spec.metrics),
            forces=forces,
            true_forces=true,
            numbers=self._numbers_of(raw, forces, true),
            cues=raw.cues,
            seconds=raw.seconds,
        )

    def at_nodes(self, raw: RawFields) -> dict[str, NDArray[np.float32]]:
        """Physical fields at the nodes the model worked on, in the axes of the file."""
        return {name: array.numpy() for name, array in self.physical(raw.values, raw.frame, raw.case.flow).items()}

    def _numbers_of(self, raw: RawFields, forces: Forces | None, true: Forces | None) -> dict[str, Estimate]:
        """Integrated coefficients and learnt results, without intervals."""
        out = {}
        if forces is not None:
            for key in ("cd", "cl"):
                known = None if true is None else getattr(true, key)
                out[key] = Estimate(getattr(forces, key), basis="integrated fields", true=known)
        for name, value in self.learnt_numbers(raw).items():
            key = f"{name} of the table" if name.casefold() in out else name
            unit = self.spec.named(name).removeprefix(name).strip(" []")
            out[key] = Estimate(value, unit=unit, basis="learnt head", true=raw.case.numbers.get(name))
        return out

    @torch.no_grad()
    def learnt_numbers(self, raw: RawFields) -> dict[str, float]:
        """What the trained head says of the numbers of a case; nothing without a head."""
        if self.number_head is None:
            return {}
        inputs = self.inputs(copy(raw.prepared).to(self.device))
        ptr = torch.tensor([0, len(raw.values)], device=self.device)
        row = self.number_norm.inverse(self._numbers(inputs, raw.values.to(self.device), ptr))[0]
        return dict(zip(self.spec.numbers, row.tolist(), strict=True))

    def physical(
        self, normalised: Tensor, frame: Frame | None, flow: FlowConditions | None = None
    ) -> dict[str, Tensor]:
        """Fields in physical units in a flow (default: that of the training) and in the axes of the file."""
        values = self.output_norm.inverse(normalised.to(self.device)).cpu()
        return restored(values, self.spec, frame, self.spec.at(flow))

    def without_cues(self, prepared: MeshGraph) -> MeshGraph:
        """The prepared case with the features of the mesh itself hidden (NaN)."""
        out = copy(prepared)
        out.x = prepared.x.clone()
        out.x[:, self._cue_columns()] = torch.nan
        return out

    def varying_features(self, prepared: MeshGraph) -> NDArray[np.float32]:
        """``[n, f]`` features of the shape that differ between nodes, as ``spec.varying_names`` calls them."""
        names = self.spec.feature_names()
        return np.asarray(prepared.x[:, [names.index(name) for name in self.spec.varying_names()]])

    def _like_training_mesh(self, case: Case) -> bool:
        """Cells about as large and with as many points as those of the training meshes; says so when they are not."""
        if not self.spec.cues():
            return False
        alike = False
        if self.cell_size is not None and self.cell_points is not None and case.body is not None and not case.refined:
            alike = like_cells(case.body.resolution(case.flow), (self.cell_size, self.cell_points))
        if not alike:
            case.notes.append(
                "the mesh is not like the simulation meshes of the training set (a CAD triangulation?): features of "
                "the mesh itself were left out, expect the errors given for that"
            )
        return alike

    def evaluate(  # type: ignore[override]
        self, data: CaseSource, *, context: Context = ALONE, predict: Predict | None = None, **asked: Plain
    ) -> Report:
        """Errors of fields, forces and numbers on every case; see :func:`meshops.tasks.fields_report.fields_report`.

        Asked: ``method`` and ``passes`` of the prediction. ``predict``: predicts a case; None: :meth:`predict`.
        """
        return fields_report(self, data, self.asking(asked), context, predict)


def _rows(out: Tensor) -> Tensor:
    """Node rows of what a model gives: those of a grid model are ``[b, c, *grid]``."""
    return out if out.dim() == 2 else out.movedim(1, -1).flatten(0, -2)


def _tupled(value: Stored) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _ptr(graph: Data) -> Tensor:
    ptr = graph_ptr(graph)
    return pointers(torch.tensor([len(graph.pos)], device=graph.pos.device)) if ptr is None else ptr
