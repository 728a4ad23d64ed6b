"""A trained rollout task with everything needed to use it: the checkpoint of a run on trajectories."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshops.data.normalize import Normalizer
from meshops.errors import CheckpointError, InputError
from meshops.models import create_model
from meshops.nn.grid_model import GridModel
from meshops.ops.scores import check_fields
from meshops.tasks.checkpoint import read_checkpoint, write_checkpoint
from meshops.tasks.rollout import RolloutSpec, RolloutTask


@dataclass(eq=False)
class RolloutSurrogate:
    """A trained model of one time step on regular grids.

    Attributes:
        task: Model and normalisation.
        model_name, model_arguments: How to build the model again.
        info: Where it comes from: data, run, software, held-out errors. Plain values.
    """

    task: RolloutTask
    model_name: str
    model_arguments: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> RolloutSpec:
        """What is predicted."""
        return self.task.spec

    def rollout(self, frames: Tensor, steps: int, *, constants: Tensor | None = None) -> Tensor:
        """The frames that follow, ``[b, steps, c, *grid]``, physical units.

        Args:
            frames: ``[b, history, c, *grid]`` or ``[history, c, *grid]``, oldest first, physical units.
            steps: How many to predict.
            constants: ``[b, k, *grid]`` or ``[k, *grid]``; not needed when the model has none.

        Raises:
            InputError: Shapes do not fit the model, or values are not finite.
        """
        spec = self.spec
        single = frames.dim() == spec.dim + 2
        frames = frames.unsqueeze(0) if single else frames
        wanted = (spec.history, len(spec.channels))
        if frames.dim() != spec.dim + 3 or tuple(frames.shape[1:3]) != wanted:
            raise InputError(
                f"frames must be [b, {wanted[0]}, {wanted[1]}, *grid] (history, channels) with {spec.dim} grid axes, "
                f"got {tuple(frames.shape)}"
            )
        for place in range(frames.shape[1]):
            check_fields(frames[:, place], spec.channels)
        grid = frames.shape[3:]
        if constants is None and spec.constants:
            raise InputError(f"the model needs the constant channels {', '.join(spec.constants)}; give constants=")
        fixed = frames.new_zeros(len(frames), 0, *grid) if constants is None else constants
        fixed = fixed.unsqueeze(0) if fixed.dim() == spec.dim + 1 else fixed
        device = next(self.task.parameters()).device
        out = self.task.rollout(frames.to(device).float(), fixed.to(device).float(), steps).cpu()
        return out[0] if single else out

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the checkpoint (temporary name, then rename)."""
        content = {
            "task": "rollout",
            "model": {"name": self.model_name, "arguments": self.model_arguments},
            "spec": self.spec.to_dict(),
            "weights": {name: value.detach().cpu() for name, value in self.task.state_dict().items()},
            "info": self.info,
        }
        return write_checkpoint(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> RolloutSurrogate:
        """Read a checkpoint.

        Raises:
            CheckpointError: Not a file, damaged, pickled code in it, of another task, or another program's.
        """
        return cls.from_content(read_checkpoint(Path(path)), path, device=device)

    @classmethod
    def from_content(
        cls, content: Mapping[str, Any], path: str | os.PathLike[str], *, device: str = "cpu"
    ) -> RolloutSurrogate:
        """Surrogate from the content of a checkpoint; ``path`` is for messages."""
        if content.get("task") != "rollout":
            raise CheckpointError(f"{path}: holds a surrogate of steady fields; open it with meshops.load")
        spec = RolloutSpec.from_dict(content["spec"])
        model = create_model(content["model"]["name"], **content["model"]["arguments"])
        assert isinstance(model, GridModel)
        norm, fixed = Normalizer.identity(len(spec.channels)), Normalizer.identity(len(spec.constants))
        task = RolloutTask(model, spec, norm, fixed)
        try:
            task.load_state_dict(content["weights"])
        except RuntimeError as error:
            raise CheckpointError(
                f"{path}: weights do not fit the model '{content['model']['name']}': {error}"
            ) from None
        task.eval().to(torch.device(device))
        return cls(task, content["model"]["name"], content["model"]["arguments"], content["info"])
