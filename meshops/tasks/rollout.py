"""Trajectories on regular grids: the next frame from the last ones, and whole futures by feeding it back.

Channels are normalised once, here: each to zero mean and unit variance on the training frames, but the velocity by one
number for all its components and without a shift, so that directions and ratios of speeds stay what they are
(AMR-Transformer's criteria need that). Channels of zeros and ones, such as masks, stay as they are. The input of a
model is ``[b, h c + k, *grid]``: the newest frame first, the one before, ..., then the channels that do not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from meshops.data.normalize import Normalizer, Statistics
from meshops.errors import InputError
from meshops.nn.grid_model import GridModel, LossPairs
from meshops.ops.segment import segment_mean

RolloutLoss = Literal["mse", "nmse", "mae"]


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """What is learnt. Plain values: it goes into the checkpoint as it is.

    Attributes:
        channels: Names of the channels that change.
        constants: Names of those that do not.
        velocity: Places of the velocity components in ``channels``; empty: none or unknown.
        spacing: Cell size along each axis, m.
        periodic: Whether the ends of each axis meet.
        time_step: Time between frames, s; 0 where it varies.
        history: Frames the model sees, h.
        loss: ``"mse"``, ``"nmse"`` (per sample over mean square: AMR-Transformer) or ``"mae"``, normalised values.
        residual: The model predicts the change from the newest frame.
    """

    channels: tuple[str, ...]
    spacing: tuple[float, ...]
    periodic: tuple[bool, ...]
    constants: tuple[str, ...] = ()
    velocity: tuple[int, ...] = ()
    time_step: float = 0.0
    history: int = 1
    loss: RolloutLoss = "mse"
    residual: bool = False

    def __post_init__(self) -> None:
        """Check history and loss."""
        if self.history < 1:
            raise InputError(f"history must be at least 1 frame, got {self.history}")
        if self.loss not in ("mse", "nmse", "mae"):
            raise InputError(f"loss must be 'mse', 'nmse' or 'mae', got '{self.loss}'")

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return len(self.spacing)

    @property
    def in_channels(self) -> int:
        """Channels a model sees."""
        return self.history * len(self.channels) + len(self.constants)

    def model_arguments(self) -> dict[str, Any]:
        """What models may want to know, by the names of their arguments."""
        c = len(self.channels)
        return {
            "in_channels": self.in_channels,
            "out_channels": c,
            "dim": self.dim,
            "pos_dim": self.dim,
            "periodic": list(self.periodic),
            "spacing": list(self.spacing),
            "velocity": list(self.velocity),
            "previous": [c + i for i in self.velocity] if self.history > 1 and self.velocity else None,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RolloutSpec:
        """Inverse of :meth:`to_dict`."""
        known = {f.name for f in fields(cls)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
        return cls(**given)


class RolloutTask(nn.Module):
    """A model of one step together with the normalisation of its channels.

    Args:
        model: ``[b, h c + k, *grid] -> [b, c, *grid]``, normalised.
        spec: What is learnt.
        norm: Of the channels.
        constant_norm: Of the channels that do not change.
    """

    def __init__(self, model: GridModel, spec: RolloutSpec, norm: Normalizer, constant_norm: Normalizer) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.norm = norm
        self.constant_norm = constant_norm

    @classmethod
    def fit(
        cls, model: GridModel, spec: RolloutSpec, frames: Iterable[Tensor], constants: Iterable[Tensor]
    ) -> RolloutTask:
        """Task with statistics of the training frames.

        Args:
            model: The network.
            spec: What is learnt.
            frames: ``[t, c, *grid]`` of the trajectories.
            constants: ``[k, *grid]`` of them.
        """
        stats = Statistics.over(part.movedim(1, -1).flatten(0, -2) for part in frames)
        shift, scale = stats.mean.clone(), stats.std.clone()
        if spec.velocity:
            place = list(spec.velocity)
            scale[place] = (stats.std[place].square() + stats.mean[place].square()).mean().sqrt()
            shift[place] = 0
        fixed = Normalizer.identity(0)
        if spec.constants:
            parts = [part.flatten(1).T for part in constants]
            found = Statistics.over(parts)
            flags = torch.stack([((part == 0) | (part == 1)).all(0) for part in parts]).all(0)  # masks stay as they are
            fixed = Normalizer(found.mean.masked_fill(flags, 0), found.std.masked_fill(flags, 1))
        return cls(model, spec, Normalizer(shift, scale), fixed)

    def encode(self, frames: Tensor, constants: Tensor) -> Tensor:
        """Input of the model from ``frames [b, h, c, *grid]``, oldest first, and ``constants [b, k, *grid]``."""
        newest_first = self._normalised(frames.flip(1)).flatten(1, 2)
        fixed = self.constant_norm(constants.movedim(1, -1)).movedim(-1, 1)
        return torch.cat([newest_first, fixed], 1)

    def forward(self, frames: Tensor, constants: Tensor) -> Tensor:
        """Next frame ``[b, c, *grid]``, physical units."""
        out = self.model(self.encode(frames, constants))
        if self.spec.residual:
            out = out + self._normalised(frames[:, -1:])[:, 0]
        return self._physical(out)

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``loss`` of a batch of windows: ``frames``, ``constants`` and ``target [b, c, *grid]``."""
        target = self._normalised(batch["target"].unsqueeze(1))[:, 0]
        if self.spec.residual:
            target = target - self._normalised(batch["frames"][:, -1:])[:, 0]
        pairs = self.model.loss_pairs(self.encode(batch["frames"], batch["constants"]), target)
        return {"loss": pair_loss(pairs, self.spec.loss)}

    @torch.no_grad()
    def rollout(self, frames: Tensor, constants: Tensor, steps: int) -> Tensor:
        """``[b, steps, c, *grid]``: every prediction becomes part of the next input.

        Args:
            frames: ``[b, h, c, *grid]`` first frames, oldest first, physical units.
            constants: ``[b, k, *grid]``.
            steps: Number of frames to predict.
        """
        window, out = frames, []
        for _ in range(steps):
            following = self(window, constants)
            out.append(following)
            window = torch.cat([window[:, 1:], following.unsqueeze(1)], 1)
        return torch.stack(out, 1)

    @torch.no_grad()
    def floor(self, frames: Tensor, constants: Tensor, target: Tensor) -> Tensor:
        """``target`` after it went through the tokens of the model: no prediction can be closer."""
        fields = self.encode(frames, constants)
        start = self._normalised(frames[:, -1:])[:, 0] if self.spec.residual else torch.zeros_like(target)
        return self._physical(start + self.model.floor(fields, self._normalised(target.unsqueeze(1))[:, 0] - start))

    def _normalised(self, frames: Tensor) -> Tensor:
        out: Tensor = self.norm(frames.movedim(2, -1)).movedim(-1, 2)
        return out

    def _physical(self, values: Tensor) -> Tensor:
        return self.norm.inverse(values.movedim(1, -1)).movedim(-1, 1)


def pair_loss(pairs: LossPairs, name: str) -> Tensor:
    """Mean over samples of the error of each."""
    difference = pairs.prediction - pairs.truth
    error = difference.abs() if name == "mae" else difference.square()
    per_sample = segment_mean(error.mean(1), pairs.ptr)
    if name == "nmse":
        per_sample = per_sample / segment_mean(pairs.truth.square().mean(1), pairs.ptr).clamp(min=1e-12)
    return per_sample.mean()
