"""Trained tasks on graphs with everything needed to use them: fields from inputs, and rollouts on meshes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from meshops.data.mesh_graph import MeshGraph
from meshops.data.normalize import Normalizer
from meshops.errors import CheckpointError
from meshops.models import create_model
from meshops.tasks.checkpoint import read_checkpoint, write_checkpoint
from meshops.tasks.compress import compressed_model, empty_integers
from meshops.tasks.fields import FieldsSpec, FieldsTask
from meshops.tasks.mesh_rollout import MeshRolloutSpec, MeshRolloutTask


@dataclass(eq=False)
class GraphSurrogate:
    """A trained model on graphs; the checkpoint holds tensors and plain values only.

    Attributes:
        task: Model and normalisation.
        model_name, model_arguments: How to build the model again.
        info: Where it comes from: data, run, software, held-out errors. Plain values.
        integers: The weights are integers, see :meth:`compress`.
    """

    task: Any
    model_name: str
    model_arguments: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)
    integers: bool = False
    kind: ClassVar[str] = ""

    @property
    def spec(self) -> Any:
        """What is predicted."""
        return self.task.spec

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

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the checkpoint (temporary name, then rename)."""
        content = {
            "task": self.kind,
            "model": {"name": self.model_name, "arguments": self.model_arguments},
            "spec": self.spec.to_dict(),
            "weights": {name: value.detach().cpu() for name, value in self.task.state_dict().items()},
            "info": self.info,
            "integers": self.integers,
        }
        return write_checkpoint(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> Self:
        """Read a checkpoint.

        Raises:
            CheckpointError: Not a file, damaged, pickled code in it, of another task, or another program's.
        """
        return cls.from_content(read_checkpoint(Path(path)), path, device=device)

    @classmethod
    def from_content(cls, content: Mapping[str, Any], path: str | os.PathLike[str], *, device: str = "cpu") -> Self:
        """Surrogate from the content of a checkpoint; ``path`` is for messages."""
        if content.get("task") != cls.kind:
            raise CheckpointError(f"{path}: holds a surrogate of another task; open it with meshops.load")
        name, arguments, integers = content["model"]["name"], content["model"]["arguments"], bool(content["integers"])
        model = empty_integers(name, **arguments) if integers else create_model(name, **arguments)
        task = cls._empty_task(model, content["spec"])
        try:
            task.load_state_dict(content["weights"])
        except RuntimeError as error:
            raise CheckpointError(f"{path}: weights do not fit the model '{name}': {error}") from None
        task.eval().to(torch.device(device))
        return cls(task, name, arguments, content["info"], integers)

    @classmethod
    def _empty_task(cls, model: nn.Module, spec: Mapping[str, Any]) -> nn.Module:
        raise NotImplementedError


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
