"""Trained tasks on graphs with everything needed to use them: fields from inputs, and rollouts on meshes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from meshops.data.mesh_graph import MeshGraph
from meshops.data.normalize import Normalizer
from meshops.tasks.compress import compressed_model, empty_integers
from meshops.tasks.fields import FieldsSpec, FieldsTask
from meshops.tasks.mesh_rollout import MeshRolloutSpec, MeshRolloutTask
from meshops.tasks.trained import Trained


@dataclass(eq=False)
class GraphSurrogate(Trained):
    """A trained model on graphs.

    Attributes:
        integers: The weights are integers, see :meth:`compress`.
    """

    integers: bool = False

    def compress(self, budget: float | None = None, bits: Sequence[int] | None = None) -> Self:
        """A surrogate on integers, smaller and faster.

        Args:
            budget: Uniform bits that a prediction may cost; None: as trained, or 8.
            bits: Bits of the rows, for models that were trained without quantisation.

        Raises:
            InputError: See :func:`meshops.tasks.compress.compressed_model`.
        """
        model, name, arguments = compressed_model(self.task.model, self.model_name, self.model_arguments, budget, bits)
        task = deepcopy(self.task)
        task.model = model
        return type(self)(task.eval(), name, arguments, dict(self.info), integers=True)

    def content(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        return {**super().content(), "integers": self.integers}

    @classmethod
    def _empty_model(cls, content: Mapping[str, Any]) -> nn.Module:
        if content["integers"]:
            return empty_integers(content["model"]["name"], **content["model"]["arguments"])
        return super()._empty_model(content)

    @classmethod
    def _more(cls, content: Mapping[str, Any], path: str | os.PathLike[str], device: str) -> dict[str, Any]:
        return {"integers": bool(content["integers"])}


class FieldsSurrogate(GraphSurrogate):
    """Fields on the nodes of a graph from inputs on them."""

    kind = "fields"

    def predict(self, graph: MeshGraph) -> dict[str, Tensor]:
        """Fields of a graph, physical units.

        Args:
            graph: ``pos``, ``x`` with the inputs of the training set, edges or none.

        Raises:
            InputError: Another dimension, other inputs, no edges to be found, or values that are not finite.
        """
        self.task.eval()
        out: dict[str, Tensor] = self.task.predict(graph)
        return out

    @classmethod
    def _empty_task(cls, model: nn.Module, spec: Mapping[str, Any]) -> nn.Module:
        made = FieldsSpec.from_dict(spec)
        norms = Normalizer.identity(len(made.inputs)), Normalizer.identity(made.channels)
        return FieldsTask(model, made, *norms, torch.zeros(made.dim + 1))


class MeshRolloutSurrogate(GraphSurrogate):
    """Whole futures on meshes that may move."""

    kind = "mesh_rollout"

    def rollout(self, frames: Mapping[str, Any]) -> Tensor:
        """``[t - 1, n, c]`` states after the first frame, physical units.

        Args:
            frames: Meshes and kinds of nodes of all frames, see :func:`meshops.tasks.mesh_rollout.frames_of`; of the
                states only the first and those of forced nodes are read.
        """
        self.task.eval()
        out: Tensor = self.task.rollout(frames)
        return out

    @classmethod
    def _empty_task(cls, model: nn.Module, spec: Mapping[str, Any]) -> nn.Module:
        made = MeshRolloutSpec.from_dict(spec)
        return MeshRolloutTask(model, made, Normalizer.identity(made.channels), torch.zeros(made.dim + 1))
