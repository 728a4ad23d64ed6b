"""Channels of trajectories on regular grids: what they mean to a task, and how they are normalised.

Each has zero mean and unit variance on the training frames, but the velocity is scaled by one number for all its
components and not shifted, so that directions and ratios of speeds stay what they are (AMR-Transformer's criteria need
that). Channels of zeros and ones, such as masks, stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from meshops.data.normalize import Normalizer, Statistics
from meshops.errors import listing
from meshops.tasks.base import Plain
from meshops.tasks.rollout import RolloutSpec


@dataclass(frozen=True, kw_only=True)
class GridRolloutSpec(RolloutSpec):
    """What is learnt of trajectories on grids.

    Attributes:
        channels: Names of the channels that change.
        constants: Names of those that do not.
        velocity: Places of the velocity components in ``channels``; empty: none or unknown.
        spacing: Cell size along each axis, m.
        periodic: Whether the ends of each axis meet.
        extent: Half the longest side of the grids, m: unit of the positions that models of points see.
        history: Frames the model sees, h.
    """

    space: str = "grid"
    channels: tuple[str, ...]
    spacing: tuple[float, ...]
    periodic: tuple[bool, ...]
    constants: tuple[str, ...] = ()
    velocity: tuple[int, ...] = ()
    extent: float = 1.0
    history: int = 1

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return len(self.spacing)

    @property
    def in_channels(self) -> int:
        """Channels a model sees."""
        return self.history * len(self.channels) + len(self.constants)

    def names(self) -> tuple[str, ...]:
        """Those of the channels."""
        return self.channels

    def form(self, noun: str = "") -> str:
        """``2-D data with channels 'p' and constants none``."""
        return f"{self.dim}-D {noun}with channels {listing(self.channels)} and constants {listing(self.constants)}"

    def model_arguments(self) -> dict[str, Plain]:
        """Sizes, axes and where the velocity is."""
        c = len(self.channels)
        known: dict[str, Plain] = {
            "in_channels": self.in_channels,
            "out_channels": c,
            "dim": self.dim,
            "pos_dim": self.dim,
            "periodic": list(self.periodic),
            "spacing": list(self.spacing),
            "velocity": list(self.velocity),
            "previous": [c + i for i in self.velocity] if self.history > 1 and self.velocity else None,
        }
        return known | ({"residual": False} if self.residual else {})  # the task adds the newest frame itself


def channel_norms(
    spec: GridRolloutSpec, frames: Iterable[Tensor], constants: Iterable[Tensor]
) -> tuple[Normalizer, Normalizer]:
    """Of the channels and of those that do not change.

    Args:
        spec: Says which channels are the velocity.
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
    return Normalizer(shift, scale), fixed
