"""Steady fields on a mesh: what goes into a model, what comes out, and how it is judged while training.

Values are normalised once, here, and de-normalised once, here. The task knows nothing about which model it drives: it
calls ``model.unpack(batch)`` for the tensors and ``model(inputs)`` on them for the normalised fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from meshops.data.canonical import Frame
from meshops.data.conditions import FlowConditions
from meshops.data.features import FeatureSpec, node_features
from meshops.data.mesh_graph import MeshGraph, field_slices
from meshops.data.normalize import Normalizer, Statistics
from meshops.errors import InputError, listing
from meshops.nn.mesh_model import LearnsWithTruth
from meshops.tasks.losses import get_loss

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
        conditions: Flow, axes and reference values.
        features: Which node features are computed from the geometry.
        nodes: Nodes per training subset; prediction uses interleaved subsets of the same density.
        loss: Loss of each field, see ``meshops.tasks.losses``.
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
    def prepare(graph: MeshGraph, spec: SteadySpec) -> tuple[MeshGraph, Frame]:
        """Canonical graph of a case: positions, features and fields as the model sees them, not yet normalised.

        Raises:
            InputError: The mesh is 2-D, or a field has another number of channels than the spec.
        """
        if graph.pos.shape[1] != 3:
            raise InputError(
                f"{graph.label}: the mesh is {graph.pos.shape[1]}-D but the model was made for 3-D meshes; "
                "extrude the mesh or train a model on 2-D cases"
            )
        frame = Frame.of(graph.pos, spec.conditions)
        out = MeshGraph(pos=frame.points(graph.pos))
        out.x = node_features(graph, frame, spec.features, spec.domain)
        if graph.get("area") is not None:
            out.area = graph.area
        if graph.get("y") is not None:
            out.y = _canonical_fields(graph, frame, spec)
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

    def physical(self, normalised: Tensor, frame: Frame) -> dict[str, Tensor]:
        """Fields in physical units and in the axes of the file."""
        values = self.output_norm.inverse(normalised)
        out = {}
        for (name, channels), size in zip(self.spec.slices().items(), self.spec.sizes, strict=True):
            part = values[:, channels]
            out[name] = frame.restore(part) if size == 3 else part[:, 0] if size == 1 else part
        return out


def without_cues(prepared: MeshGraph, spec: SteadySpec) -> MeshGraph:
    """The prepared case with the features of the mesh itself hidden (NaN)."""
    count = len(spec.features.cues(spec.domain))
    out = copy(prepared)
    out.x = prepared.x.clone()
    out.x[:, out.x.shape[1] - count :] = torch.nan
    return out


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


def _canonical_fields(graph: MeshGraph, frame: Frame, spec: SteadySpec) -> Tensor:
    columns = []
    for name, size in zip(spec.fields, spec.sizes, strict=True):
        values = graph.field(name)
        values = values.unsqueeze(1) if values.dim() == 1 else values
        if values.shape[1] != size:
            raise InputError(f"{graph.label}: field '{name}' has {values.shape[1]} channels, the model has {size}")
        columns.append(frame.vectors(values) if size == 3 else values)
    return torch.cat(columns, 1)
