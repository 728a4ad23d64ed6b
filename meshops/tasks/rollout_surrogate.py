"""A trained rollout task with everything needed to use it: the checkpoint of a run on trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from meshops.data.normalize import Normalizer
from meshops.errors import InputError
from meshops.nn.grid_model import on_grid
from meshops.ops.scores import check_fields
from meshops.tasks.rollout import RolloutSpec, RolloutTask
from meshops.tasks.trained import Trained


class RolloutSurrogate(Trained):
    """A trained model of one time step on regular grids."""

    kind = "rollout"

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
        device = self.device
        out: Tensor = self.task.rollout(frames.to(device).float(), fixed.to(device).float(), steps).cpu()
        return out[0] if single else out

    @classmethod
    def _empty_task(cls, model: nn.Module, spec: Mapping[str, Any]) -> nn.Module:
        made = RolloutSpec.from_dict(spec)
        norms = Normalizer.identity(len(made.channels)), Normalizer.identity(len(made.constants))
        return RolloutTask(on_grid(model, made.spacing), made, *norms)
