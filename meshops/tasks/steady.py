"""Steady fields on a mesh: what goes into a model, what comes out, and how it is judged while training.

Values are normalised once, here, and de-normalised once, here. The task knows nothing about which model it drives: it
calls ``model.unpack(batch)`` for the tensors and ``model(inputs)`` on them for the normalised fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meshops.aero.conditions import FlowConditions
from meshops.aero.features import FeatureSpec, frame_of, node_features
from meshops.aero.frame import Frame
from meshops.data.mesh_graph import MeshGraph, field_slices
from meshops.data.normalize import Normalizer, Statistics
from meshops.errors import InputError, listing
from meshops.metrics.losses import get_loss
from meshops.nn.mesh_model import LearnsWithTruth

Domain = Literal["surface", "volume"]


@dataclass(frozen=True, kw_only=True)
class SteadySpec:
    """What is learnt. Plain values: it goes into the checkpoint as it is.

    Attributes:
        fields: Names of the fields, as in the files.
        sizes: Channels of each (1 scalar, 3 vector).
        units: Unit of each.
        domain: ``"surface"`` or ``"volume"``.
        location: ``"cell"`` or ``"point"``: where the fields live in the files.
        pressure: Name of the pressure field, None if there is none: drawn and integrated to forces.
        shear: Name of the wall shear stress field or None.
        velocity: Name of the velocity field or None.
        conditions: Flow, axes and reference values of the training cases, where a prediction is not asked for others;
            ``conditions.symmetric`` says whether mirror images share one half.
        conditions_stated: The conditions are known. Else fields keep their unit and nothing is integrated to forces.
        features: Which node features are computed from the geometry.
        nodes: Nodes per training subset; prediction uses interleaved subsets of the same density.
        loss: Loss of each field, see ``meshops.metrics.losses``.
        weights: Weight of each field in the loss.
        passes: Interleavings averaged in a prediction.
    """

    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    units: tuple[str, ...]
    domain: Domain = "surface"
    location: Literal["cell", "point"] = "cell"
    pressure: str | None = None
    shear: str | None = None
    velocity: str | None = None
    conditions: FlowConditions = field(default_factory=FlowConditions)
    conditions_stated: bool = True
    features: FeatureSpec = field(default_factory=FeatureSpec)
    nodes: int = 2048
    loss: tuple[str, ...] = ("relative_l2",)
    weights: tuple[float, ...] = (1.0,)
    passes: int = 2

    def __post_init__(self) -> None:
        """Check that the roles name fields that exist."""
        for role in ("pressure", "shear", "velocity"):
            name = getattr(self, role)
            if name is not None and name not in self.fields:
                raise InputError(f"{role} field '{name}' is not among the fields; fields: {listing(self.fields)}")
        for name in self.loss:
            get_loss(name)

    @property
    def channels(self) -> int:
        """Output channels of the model."""
        return sum(self.sizes)

    def slices(self) -> dict[str, slice]:
        """Channel range of each field."""
        return field_slices(self.fields, self.sizes)

    def scaling(self, conditions: FlowConditions) -> dict[str, tuple[float, float]]:
        """Shift and scale of each field: ``(value - shift) / scale`` is free of density and speed.

        Pressure and shear count in rho U^2, the shear as the force on the body; velocities in U; others stay as they
        are, and so do all when the conditions are not stated.
        """
        out = dict.fromkeys(self.fields, (0.0, 1.0))
        if self.conditions_stated:
            roles = {
                self.pressure: (conditions.reference_pressure, conditions.pressure_scale),
                self.shear: (0.0, conditions.shear_sign * conditions.pressure_scale),
                self.velocity: (0.0, conditions.speed),
            }
            out |= {name: values for name, values in roles.items() if name is not None}
        return out

    def units_at(self, conditions: FlowConditions) -> tuple[str, ...]:
        """Unit of each field at these conditions: pressure and shear may be asked for in another than trained on."""
        if not self.conditions_stated or conditions.kinematic == self.conditions.kinematic:
            return self.units
        stress = "m^2/s^2" if conditions.kinematic else "Pa"
        return tuple(
            stress if name in (self.pressure, self.shear) else unit
            for name, unit in zip(self.fields, self.units, strict=True)
        )

    def at(self, conditions: FlowConditions | None) -> FlowConditions:
        """Conditions of a case for this task: those given, else those of the training, folded as in training.

        Raises:
            InputError: Conditions are given, but those of the training are not stated.
        """
        if conditions is None or conditions == self.conditions:
            return self.conditions
        if not self.conditions_stated:
            raise InputError(
                "the training data states no flow conditions, so that a prediction cannot be made for others; "
                "leave the conditions out, or train on data that states them"
            )
        return replace(conditions, symmetric=self.conditions.symmetric)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SteadySpec:
        """Inverse of :meth:`to_dict`."""
        known = {f.name for f in fields(cls)}
        out: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
        out["conditions"] = FlowConditions.from_dict(values["conditions"])
        out["features"] = FeatureSpec.from_dict(values["features"])
        return cls(**out)


class SteadyTask(nn.Module):
    """A model together with the normalisation of its inputs and outputs.

    Args:
        model: ``model(model.unpack(graph)) -> [n, spec.channels]``, normalised.
        spec: What is learnt.
        input_norm: Of the node features.
        output_norm: Of the fields, canonical axes.
        position: ``[4]``: shift (3) and scale (1) of the positions, isotropic.
    """

    position: Tensor

    def __init__(
        self, model: nn.Module, spec: SteadySpec, input_norm: Normalizer, output_norm: Normalizer, position: Tensor
    ) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.input_norm = input_norm
        self.output_norm = output_norm
        self.register_buffer("position", position.to(torch.float32))

    @staticmethod
    def prepare(
        graph: MeshGraph, spec: SteadySpec, conditions: FlowConditions | None = None
    ) -> tuple[MeshGraph, Frame]:
        """Canonical graph of a case: positions, features and fields as the model sees them, not yet normalised.

        Positions are in body lengths, fields free of density and speed (:meth:`SteadySpec.scaling`).

        Args:
            graph: The case as read.
            spec: What is learnt.
            conditions: Of this case; default: those of the spec.

        Raises:
            InputError: The mesh is 2-D, a field has another number of channels than the spec, or the model is told the
                Reynolds number and the conditions lack the viscosity.
        """
        at = spec.at(conditions)
        if graph.pos.shape[1] != 3:
            raise InputError(
                f"{graph.label}: the mesh is {graph.pos.shape[1]}-D but the model was made for 3-D meshes; "
                "extrude the mesh or train a model on 2-D cases"
            )
        frame = frame_of(graph, at, spec.domain)
        out = MeshGraph(pos=frame.points(graph.pos))
        reynolds = at.reynolds(frame.length) if spec.features.reynolds else None
        out.x = node_features(graph, frame, spec.features, spec.domain, reynolds=reynolds)
        if graph.get("area") is not None:
            out.area = graph.area
        if graph.get("y") is not None:
            out.y = _canonical_fields(graph, frame, spec, at)
        return out, frame

    @classmethod
    def fit(cls, model: nn.Module, spec: SteadySpec, prepared: Sequence[MeshGraph]) -> SteadyTask:
        """Task with statistics of the training cases (float64, each node counts once)."""
        position = Statistics.over(case.pos for case in prepared)
        scale = (position.high - position.low).max() / 2
        shift = (position.high + position.low) / 2
        return cls(
            model,
            spec,
            Normalizer.from_statistics(Statistics.over(case.x for case in prepared)),
            output_normalizer(spec, (case.y for case in prepared)),
            torch.cat([shift, scale.view(1)]),
        )

    def forward(self, batch: Any) -> Tensor:
        """Normalised canonical fields ``[n, c]`` of a batch of prepared graphs."""
        inputs = copy(batch)
        inputs.pos, inputs.x = self.inputs(batch)
        out: Tensor = self.model(self.model.unpack(inputs))  # type: ignore[operator]
        return out

    def inputs(self, graph: Any) -> tuple[Tensor, Tensor]:
        """Normalised positions ``[n, 3]`` and features ``[n, f]`` of a prepared graph."""
        pos = (graph.pos - self.position[:3]) / self.position[3]
        x = self.input_norm(graph.x).nan_to_num(0.0)  # hidden features take the training mean
        return pos, x.clamp(-5, 5)  # a shape outside the training set must not blow up

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """``loss`` and its parts per field, for a batch of subsets of equal size."""
        truth = self.output_norm(batch.y)
        model: Any = self.model

        def criterion(prediction: Tensor) -> dict[str, Tensor]:
            return self._parts(prediction, truth, int(batch.num_graphs))

        if isinstance(model, LearnsWithTruth):
            inputs = copy(batch)
            inputs.pos, inputs.x = self.inputs(batch)
            unpacked = self.model.unpack(inputs)  # type: ignore[operator]
            return model.learn(unpacked, truth, criterion)
        return criterion(self(batch))

    def _parts(self, prediction: Tensor, truth: Tensor, num_graphs: int) -> dict[str, Tensor]:
        prediction, truth = prediction.unflatten(0, (num_graphs, -1)), truth.unflatten(0, (num_graphs, -1))
        names = self.spec.loss * (len(self.spec.fields) if len(self.spec.loss) == 1 else 1)
        weights = self.spec.weights * (len(self.spec.fields) if len(self.spec.weights) == 1 else 1)
        parts = {
            key: get_loss(name)(prediction[..., channels], truth[..., channels])
            for (key, channels), name in zip(self.spec.slices().items(), names, strict=True)
        }
        total = sum(weight * part for weight, part in zip(weights, parts.values(), strict=True))
        return {"loss": torch.as_tensor(total), **parts}

    def physical(self, normalised: Tensor, frame: Frame, conditions: FlowConditions | None = None) -> dict[str, Tensor]:
        """Fields in physical units at the conditions (default: of the training) and in the axes of the file."""
        values = self.output_norm.inverse(normalised)
        scaling = self.spec.scaling(self.spec.at(conditions))
        out = {}
        for (name, channels), size in zip(self.spec.slices().items(), self.spec.sizes, strict=True):
            shift, scale = scaling[name]
            part = values[:, channels] * scale + shift
            out[name] = frame.restore(part) if size == 3 else part[:, 0] if size == 1 else part
        return out


def without_cues(prepared: MeshGraph, spec: SteadySpec) -> MeshGraph:
    """The prepared case with the features of the mesh itself hidden (NaN)."""
    count = len(spec.features.cues(spec.domain))
    out = copy(prepared)
    out.x = prepared.x.clone()
    out.x[:, out.x.shape[1] - count :] = torch.nan
    return out


def varying_features(prepared: MeshGraph, spec: SteadySpec) -> NDArray[Any]:
    """``[n, f]`` features of the shape that differ between nodes, as :func:`varying_names` calls them."""
    names = spec.features.names(spec.domain)
    return np.asarray(prepared.x[:, [names.index(name) for name in varying_names(spec)]])


def varying_names(spec: SteadySpec) -> tuple[str, ...]:
    """Features that differ between the nodes of a case and do not come from the mesh itself."""
    left = {*spec.features.constants, *spec.features.cues(spec.domain)}
    return tuple(name for name in spec.features.names(spec.domain) if name not in left)


def output_normalizer(spec: SteadySpec, values: Iterable[Tensor]) -> Normalizer:
    """Scale of each field: one number per field, so that vectors keep their direction.

    The shift is zero for fields whose loss is relative (the norm of the truth must stay what it is), else the mean.
    """
    stats = Statistics.over(values)
    shift, scale = stats.mean.clone(), stats.std.clone()
    names = spec.loss * (len(spec.fields) if len(spec.loss) == 1 else 1)
    for channels, name in zip(spec.slices().values(), names, strict=True):
        square = stats.std[channels].square()
        if name == "relative_l2":
            square = square + stats.mean[channels].square()
            shift[channels] = 0
        scale[channels] = square.sum().sqrt()
    return Normalizer(shift, scale)


def _canonical_fields(graph: MeshGraph, frame: Frame, spec: SteadySpec, conditions: FlowConditions) -> Tensor:
    columns = []
    scaling = spec.scaling(conditions)
    for name, size in zip(spec.fields, spec.sizes, strict=True):
        values = graph.field(name)
        values = values.unsqueeze(1) if values.dim() == 1 else values
        if values.shape[1] != size:
            raise InputError(f"{graph.label}: field '{name}' has {values.shape[1]} channels, the model has {size}")
        shift, scale = scaling[name]
        values = (values - shift) / scale
        columns.append(frame.vectors(values) if size == 3 else values)
    return torch.cat(columns, 1)
