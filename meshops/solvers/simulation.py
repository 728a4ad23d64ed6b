"""What every solver of this folder returns: fields on a regular grid at a list of times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from meshops.errors import InputError


@dataclass(frozen=True, eq=False)
class Simulation:
    """One trajectory on a regular, cell-centred grid of one to three dimensions.

    Attributes:
        fields: Name -> ``[t, *grid]`` for a scalar or ``[t, *grid, d]`` for a vector, float32.
        time: ``[t]`` float64 times of the frames, s.
        origin: Lower corner of the domain, m, one number per axis.
        extent: Length of the domain along each axis, m; cell i of n has its centre at
            ``origin + (i + 0.5) * extent / n``.
        boundary: ``"periodic"``, ``"wall"`` or ``"open"`` for each axis.
        parameters: Numbers that define the case, e.g. viscosity or the seed.
        velocity: Name of the velocity field; None where there is none.
    """

    fields: Mapping[str, Tensor]
    time: Tensor
    origin: tuple[float, ...]
    extent: tuple[float, ...]
    boundary: tuple[str, ...]
    parameters: Mapping[str, float] = field(default_factory=dict)
    velocity: str | None = None

    def __post_init__(self) -> None:
        """Check that the arrays fit together."""
        for name, values in self.fields.items():
            if tuple(values.shape[: self.dim + 1]) != (len(self.time), *self.grid_shape):
                raise InputError(
                    f"field '{name}' must start with shape {(len(self.time), *self.grid_shape)} (time, grid), "
                    f"got {tuple(values.shape)}"
                )
            if not bool(torch.isfinite(values).all()):
                raise InputError(f"field '{name}' is not finite: the time step was too large or the state unphysical")

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return len(self.extent)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(next(iter(self.fields.values())).shape[1 : self.dim + 1])

    @property
    def spacing(self) -> tuple[float, ...]:
        """Cell size along each axis, m."""
        return tuple(length / n for length, n in zip(self.extent, self.grid_shape, strict=True))

    def coordinates(self) -> list[Tensor]:
        """Cell centres along each axis, float64, m."""
        return [
            low + (torch.arange(n, dtype=torch.float64) + 0.5) * step
            for low, n, step in zip(self.origin, self.grid_shape, self.spacing, strict=True)
        ]
