"""U-Net on regular grids (Ronneberger et al., 1505.04597), a baseline.

Residual blocks of two 3-wide convolutions with group norm and GELU; halving by strided convolution, doubling by
repetition and convolution; periodic or replicated borders. Departure: residual blocks and group norm, as is usual now.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models.registry import register_model
from meshops.nn.grid_model import GridModel
from meshops.ops.pyramid import upsample
from meshops.partition.grid_patches import crop, pad_high

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@register_model
class UNet(GridModel):
    """Convolutions on four resolutions.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        dim: Number of space dimensions.
        channels: Width at full resolution; doubled at each halving.
        depth: Number of halvings; grids that are no multiple of 2**depth are continued by their last cells.
        periodic: Whether the ends of each axis meet; elsewhere the border is replicated.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dim: int = 2,
        channels: int = 32,
        depth: int = 3,
        periodic: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.dim, self.depth = in_channels, out_channels, dim, depth
        wrap = tuple(periodic or (False,) * dim)
        widths = [channels * 2**level for level in range(depth + 1)]
        self.first = _Convolution(in_channels, channels, wrap)
        self.down = nn.ModuleList(_Block(w, wrap) for w in widths[:-1])
        self.halve = nn.ModuleList(CONVOLUTIONS[dim](w, 2 * w, kernel_size=2, stride=2) for w in widths[:-1])
        self.middle = _Block(widths[-1], wrap)
        self.merge = nn.ModuleList(_Convolution(3 * w, w, wrap) for w in widths[:-1])
        self.up = nn.ModuleList(_Block(w, wrap) for w in widths[:-1])
        self.last = CONVOLUTIONS[dim](channels, out_channels, kernel_size=1)

    def forward(self, fields: Tensor) -> Tensor:
        """``[b, c_in, *grid] -> [b, c_out, *grid]``."""
        if fields.dim() != self.dim + 2 or fields.shape[1] != self.in_channels:
            raise InputError(
                f"fields must be [b, {self.in_channels}, *grid] with {self.dim} grid axes, got {tuple(fields.shape)}"
            )
        shape, unit = fields.shape[2:], 2**self.depth
        x = self.first(pad_high(fields, [-(-n // unit) * unit for n in shape]))
        kept = []
        for block, halve in zip(self.down, self.halve, strict=True):
            x = block(x)
            kept.append(x)
            x = halve(x)
        x = self.middle(x)
        for level in range(self.depth - 1, -1, -1):
            finer = upsample(x.flatten(0, 1), 2).unflatten(0, x.shape[:2])
            x = self.up[level](self.merge[level](torch.cat([kept[level], finer], 1)))
        return crop(self.last(x), shape)


class _Convolution(nn.Module):
    """3-wide convolution with the borders of each axis."""

    def __init__(self, channels_in: int, channels_out: int, wrap: Sequence[bool]) -> None:
        super().__init__()
        self.wrap = tuple(wrap)
        self.convolution = CONVOLUTIONS[len(self.wrap)](channels_in, channels_out, kernel_size=3)

    def forward(self, x: Tensor) -> Tensor:
        for axis, wrap in enumerate(self.wrap, start=2):
            n = x.shape[axis]
            low = x.narrow(axis, n - 1 if wrap else 0, 1)
            high = x.narrow(axis, 0 if wrap else n - 1, 1)
            x = torch.cat([low, x, high], axis)
        out: Tensor = self.convolution(x)
        return out


class _Block(nn.Module):
    """x + conv(gelu(norm(conv(gelu(norm(x))))))."""

    def __init__(self, channels: int, wrap: Sequence[bool]) -> None:
        super().__init__()
        groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
        self.layers = nn.Sequential(
            nn.GroupNorm(groups, channels), nn.GELU(), _Convolution(channels, channels, wrap),
            nn.GroupNorm(groups, channels), nn.GELU(), _Convolution(channels, channels, wrap),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out
