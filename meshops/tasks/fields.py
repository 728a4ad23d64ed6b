"""Fields on the nodes of a graph from inputs on them: Darcy, elasticity, pipes; any dimension, any model of graphs.

Unlike the steady task, which computes geometry features of a body in a flow, the inputs are those of the dataset.
Values are normalised once, here: inputs and fields to zero mean and unit variance, positions by one shift and scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from meshops.data.mesh_graph import MeshGraph, field_slices
from meshops.data.normalize import Normalizer, Statistics
from meshops.errors import InputError, listing
from meshops.nn.mesh_model import LearnsWithTruth
from meshops.ops.segment import segment_sum
from meshops.partition.checks import graph_ptr


@dataclass(frozen=True, kw_only=True)
class FieldsSpec:
    """What is learnt. Plain values: it goes into the checkpoint as it is.

    Attributes:
        inputs: Names of the input channels; may be empty (geometry only).
        fields: Names of the fields to predict.
        sizes: Channels of each.
        units: Unit of each.
        dim: Space dimensions.
    """

    inputs: tuple[str, ...]
    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    units: tuple[str, ...]
    dim: int

    @classmethod
    def of(cls, graph: MeshGraph, wanted: Sequence[str] | None = None) -> FieldsSpec:
        """What a graph of the training set holds; ``wanted`` names the fields to learn, default all.

        Raises:
            InputError: A wanted field is not there.
        """
        chosen = tuple(wanted or graph.fields)
        sizes = {name: place.stop - place.start for name, place in graph.field_slices().items()}
        for name in chosen:
            graph.field(name)  # says which there are
        x = graph.get("x")
        names = tuple(graph.get("x_names") or ()) if x is not None else ()
        if x is not None and len(names) != x.shape[1]:
            names = tuple(f"x{i}" for i in range(x.shape[1]))
        units = dict(zip(graph.fields, graph.get("y_units") or ("",) * len(graph.fields), strict=True))
        return cls(
            inputs=names, fields=chosen, sizes=tuple(sizes[n] for n in chosen), units=tuple(units[n] for n in chosen),
            dim=graph.pos.shape[1],
        )  # fmt: skip

    @property
    def channels(self) -> int:
        """Output channels of the model."""
        return sum(self.sizes)

    def model_arguments(self) -> dict[str, Any]:
        """What models want to know."""
        return {"in_channels": len(self.inputs), "out_channels": self.channels, "pos_dim": self.dim}

    def slices(self) -> dict[str, slice]:
        """Channel range of each field."""
        return field_slices(self.fields, self.sizes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FieldsSpec:
        """Inverse of :meth:`to_dict`."""
        known = {f.name for f in fields(cls)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
        return cls(**given)


class FieldsTask(nn.Module):
    """A model of graphs together with the normalisation of its inputs and outputs.

    Args:
        model: ``model(model.unpack(graph)) -> [n, channels]``, normalised.
        spec: What is learnt.
        input_norm: Of the inputs.
        output_norm: Of the fields.
        position: ``[dim + 1]`` shift and scale of the positions.
    """

    position: Tensor

    def __init__(
        self, model: nn.Module, spec: FieldsSpec, input_norm: Normalizer, output_norm: Normalizer, position: Tensor
    ) -> None:
        super().__init__()
        self.model, self.spec = model, spec
        self.input_norm, self.output_norm = input_norm, output_norm
        self.register_buffer("position", position.to(torch.float32))

    @classmethod
    def fit(cls, model: nn.Module, spec: FieldsSpec, graphs: Sequence[MeshGraph]) -> FieldsTask:
        """Task with statistics of the training graphs (each node counts once)."""
        place = Statistics.over(graph.pos for graph in graphs)
        scale = (place.high - place.low).max() / 2
        inputs = Normalizer.identity(0)
        if spec.inputs:
            inputs = Normalizer.from_statistics(Statistics.over(graph.x for graph in graphs))
        stats = Statistics.over(wanted_fields(graph, spec) for graph in graphs)
        deviation = stats.std.clone()
        for channels in spec.slices().values():  # one scale per field: vectors keep their direction
            deviation[channels] = stats.std[channels].square().mean().sqrt()
        outputs = Normalizer(stats.mean.clone(), deviation)
        position = torch.cat([(place.high + place.low) / 2, scale.view(1)])
        return cls(model, spec, inputs, outputs, position)

    def inputs(self, graph: Any) -> Any:
        """A shallow copy with normalised positions and inputs, as the model takes it."""
        if graph.pos.shape[1] != self.spec.dim:
            raise InputError(f"the mesh is {graph.pos.shape[1]}-D, the model was made for {self.spec.dim}-D meshes")
        x = graph.get("x")
        found = 0 if x is None else x.shape[1]
        if found != len(self.spec.inputs):
            wanted = listing(self.spec.inputs) or "none"
            raise InputError(f"the graph has {found} input channels in x, the model takes {wanted}")
        out = copy(graph)
        out.pos = (graph.pos - self.position[:-1]) / self.position[-1]
        out.x = graph.pos.new_zeros(len(graph.pos), 0) if x is None else self.input_norm(x)
        return out

    def forward(self, graph: Any) -> Tensor:
        """Normalised fields ``[n, c]`` of a graph or a batch."""
        model: Any = self.model
        out: Tensor = model(model.unpack(self.inputs(graph)))
        return out

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """``loss``: mean over graphs and fields of the relative L2 error; and the error of each field."""
        model: Any = self.model
        inputs = model.unpack(self.inputs(batch))
        truth = self.output_norm(wanted_fields(batch, self.spec))
        ptr = graph_ptr(batch)
        ptr = torch.tensor([0, len(truth)], device=truth.device) if ptr is None else ptr

        def criterion(prediction: Tensor) -> dict[str, Tensor]:
            return self._relative(prediction, truth, ptr)

        if isinstance(model, LearnsWithTruth):
            return model.learn(inputs, truth, criterion)
        return criterion(model(inputs))

    def _relative(self, prediction: Tensor, truth: Tensor, ptr: Tensor) -> dict[str, Tensor]:
        physical = truth + self.output_norm.shift / self.output_norm.scale  # same scale, true zero
        parts = {}
        for name, place in self.spec.slices().items():
            error = segment_sum((prediction - truth)[:, place].square().sum(1, keepdim=True), ptr)
            size = segment_sum(physical[:, place].square().sum(1, keepdim=True), ptr)
            parts[name] = (error / size.clamp(min=1e-12)).clamp(min=1e-12).sqrt().mean()
        return {"loss": torch.stack(list(parts.values())).mean(), **parts}

    @torch.no_grad()
    def predict(self, graph: MeshGraph) -> dict[str, Tensor]:
        """Fields of one graph in physical units: ``[n]`` or ``[n, k]`` each."""
        values = self.output_norm.inverse(self(graph.to(self.position.device))).cpu()
        out = {}
        for name, place in self.spec.slices().items():
            part = values[:, place]
            out[name] = part[:, 0] if part.shape[1] == 1 else part
        return out


def wanted_fields(graph: Any, spec: FieldsSpec) -> Tensor:
    """``[n, c]`` the fields of the spec, physical units."""
    columns = []
    for name, size in zip(spec.fields, spec.sizes, strict=True):
        values = graph.field(name)
        columns.append(values.reshape(len(values), size))
    return torch.cat(columns, 1)


def relative_errors(prediction: Mapping[str, Tensor], graph: MeshGraph) -> dict[str, float]:
    """Relative L2 error of each field of one graph."""
    out = {}
    for name, values in prediction.items():
        truth = graph.field(name)
        out[name] = float((values - truth).norm() / truth.norm().clamp(min=1e-12))
    return out
