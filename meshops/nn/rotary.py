"""Rotary positions in d dimensions (RoFormer, 2104.09864, extended axis by axis).

The channel pairs of a head are shared out among the axes; pair i of an axis turns by ``pos * frequency_i``, so that
the product of a query and a key depends on the difference of their positions alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.typing import Float


class RotaryPositions(nn.Module):
    """Angles for continuous positions.

    Args:
        head_channels: Channels of one head, even.
        dim: Number of space dimensions. Pairs left over after sharing them out evenly are not rotated.
        min_wavelength: Shortest period, in the units of the positions.
        max_wavelength: Longest period.
    """

    frequency: Tensor

    def __init__(
        self, head_channels: int, dim: int, *, min_wavelength: float = 0.05, max_wavelength: float = 4.0
    ) -> None:
        super().__init__()
        pairs = head_channels // 2 // dim
        if head_channels % 2 or pairs == 0:
            raise InputError(
                f"rotary positions need an even head width of at least {2 * dim} in {dim}-D, got {head_channels}; "
                "use fewer heads or more channels"
            )
        self.dim = dim
        self.num_fixed = head_channels // 2 - pairs * dim
        steps = torch.linspace(0, 1, pairs) if pairs > 1 else torch.zeros(1)
        wavelength = max_wavelength * (min_wavelength / max_wavelength) ** steps
        self.register_buffer("frequency", 2 * math.pi / wavelength, persistent=False)

    def forward(self, pos: Float[Tensor, "*n d"]) -> Float[Tensor, "*n c"]:
        """Angle of each channel pair, ``[..., head_channels / 2]``."""
        angles = (pos.unsqueeze(-1) * self.frequency).flatten(-2)
        return torch.nn.functional.pad(angles, (0, self.num_fixed))


def rotate(x: Float[Tensor, "*n h c"], angles: Float[Tensor, "*n c2"]) -> Float[Tensor, "*n h c"]:
    """Turn the channel pairs (i, i + c/2) of every head by the given angles."""
    cos, sin = angles.cos().unsqueeze(-2), angles.sin().unsqueeze(-2)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
