"""Vision transformer on patches of one size: the baseline of IAP and AMR-Transformer.

A linear embedding of each patch, pre-norm blocks with axial rotary positions, a linear map back to the patch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models.iap import rotary_base
from meshops.models.registry import register_model
from meshops.nn.grid_model import GridModel
from meshops.nn.transformer import TransformerBlock
from meshops.partition.grid_patches import crop, from_blocks, pad_high, to_blocks


@register_model
class ViT(GridModel):
    """Transformer on a regular tiling; defaults as IAP's baseline (8 blocks of width 384).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        dim: Number of space dimensions.
        patch_size: Side of a patch, cells; grids that are no multiple are continued by their last cells.
        channels: Width of a token.
        depth: Blocks.
        num_heads: Heads.
        ratio: Hidden width of the perceptrons over ``channels``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dim: int = 2,
        patch_size: int = 4,
        channels: int = 384,
        depth: int = 8,
        num_heads: int = 6,
        ratio: float = 2.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.dim, self.patch_size = in_channels, out_channels, dim, patch_size
        self.embed = nn.Linear(patch_size**dim * in_channels, channels)
        self.positions = rotary_base(channels // num_heads, dim)
        self.blocks = nn.ModuleList(TransformerBlock(channels, num_heads=num_heads, ratio=ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, patch_size**dim * out_channels)

    def num_tokens(self, shape: tuple[int, ...]) -> int:
        """Patches of a grid."""
        return math.prod(math.ceil(n / self.patch_size) for n in shape)

    def forward(self, fields: Tensor) -> Tensor:
        """``[b, c_in, *grid] -> [b, c_out, *grid]``."""
        if fields.dim() != self.dim + 2 or fields.shape[1] != self.in_channels:
            raise InputError(
                f"fields must be [b, {self.in_channels}, *grid] with {self.dim} grid axes, got {tuple(fields.shape)}"
            )
        shape, p = fields.shape[2:], self.patch_size
        count = [math.ceil(n / p) for n in shape]
        tokens = self.embed(to_blocks(pad_high(fields, [n * p for n in count]), p).flatten(2))
        centres = [torch.arange(n, device=fields.device, dtype=fields.dtype) + 0.5 for n in count]
        places = torch.stack(torch.meshgrid(*centres, indexing="ij"), -1).flatten(0, -2)
        angles = self.positions(places).unsqueeze(0)
        for block in self.blocks:
            tokens = block(tokens, angles=angles)
        blocks = self.head(self.norm(tokens)).unflatten(2, (-1, self.out_channels))
        return crop(from_blocks(blocks, count, p), shape)
