"""A trained fields task with everything needed to use it on a new graph."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.data.normalize import Normalizer
from meshops.errors import CheckpointError
from meshops.models import create_model
from meshops.tasks.checkpoint import read_checkpoint, write_checkpoint
from meshops.tasks.compress import compressed_model, empty_integers
from meshops.tasks.fields import FieldsSpec, FieldsTask


@dataclass(eq=False)
class FieldsSurrogate:
    """A trained model of fields on graphs.

    Attributes:
        task: Model and normalisation.
        model_name, model_arguments: How to build the model again.
        info: Where it comes from: data, run, software, held-out errors. Plain values.
        integers: The weights are integers, see :meth:`compress`.
    """

    task: FieldsTask
    model_name: str
    model_arguments: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)
    integers: bool = False

    @property
    def spec(self) -> FieldsSpec:
        """What is predicted."""
        return self.task.spec

    def predict(self, graph: MeshGraph) -> dict[str, Tensor]:
        """Fields of a graph, physical units.

        Args:
            graph: ``pos``, ``x`` with the inputs of the training set, edges or none.

        Raises:
            InputError: Another dimension, other inputs, no edges to be found, or values that are not finite.
        """
        self.task.eval()
        return self.task.predict(graph)

    def compress(self, budget: float | None = None, bits: Sequence[int] | None = None) -> FieldsSurrogate:
        """A surrogate on integers, see :func:`meshops.tasks.compress.compressed_model`."""
        model, name, arguments = compressed_model(
            self.task.model, self.model_name, self.model_arguments, budget, bits
        )  # fmt: skip
        task = deepcopy(self.task)
        task.model = model
        return FieldsSurrogate(task.eval(), name, arguments, dict(self.info), integers=True)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the checkpoint (temporary name, then rename)."""
        content = {
            "task": "fields",
            "model": {"name": self.model_name, "arguments": self.model_arguments},
            "spec": self.spec.to_dict(),
            "weights": {name: value.detach().cpu() for name, value in self.task.state_dict().items()},
            "info": self.info,
            "integers": self.integers,
        }
        return write_checkpoint(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> FieldsSurrogate:
        """Read a checkpoint.

        Raises:
            CheckpointError: Not a file, damaged, pickled code in it, of another task, or another program's.
        """
        return cls.from_content(read_checkpoint(Path(path)), path, device=device)

    @classmethod
    def from_content(
        cls, content: Mapping[str, Any], path: str | os.PathLike[str], *, device: str = "cpu"
    ) -> FieldsSurrogate:
        """Surrogate from the content of a checkpoint; ``path`` is for messages."""
        if content.get("task") != "fields":
            raise CheckpointError(f"{path}: holds a surrogate of another task; open it with meshops.load")
        spec = FieldsSpec.from_dict(content["spec"])
        name, arguments, integers = content["model"]["name"], content["model"]["arguments"], bool(content["integers"])
        model = empty_integers(name, arguments) if integers else create_model(name, **arguments)
        norms = Normalizer.identity(len(spec.inputs)), Normalizer.identity(spec.channels)
        task = FieldsTask(model, spec, *norms, torch.zeros(spec.dim + 1))
        try:
            task.load_state_dict(content["weights"])
        except RuntimeError as error:
            raise CheckpointError(f"{path}: weights do not fit the model '{name}': {error}") from None
        task.eval().to(torch.device(device))
        return cls(task, name, arguments, content["info"], integers)
