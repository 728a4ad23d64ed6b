"""Block of the released MSPT code (first author's fork of Neural-Solver-Library, models/MSPT.py).

Reference code: supernodes are updated inside every patch, averaged over the patches and carried to the next block;
one LayerNorm is shared by the attention and an inner feed-forward network; the inner residual starts from LN(t);
padded slots are zero rows that attend and are attended to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshops.nn.mlp import MLP
from meshops.nn.pooling import SupernodePool
from meshops.typing import Bool, Float


class ReferenceBlock(nn.Module):
    """``t [b, p, l, c]``, carried supernodes ``[b, m, c]`` -> the same, updated.

    Args:
        channels: Width of a token.
        num_heads: Attention heads.
        ffn: Outer feed-forward network.
        pool: Supernode pooling, style "reference".
        dropout: Dropout of the attention and of the inner feed-forward network.
    """

    def __init__(
        self, channels: int, *, num_heads: int, ffn: nn.Module, pool: SupernodePool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.pool = pool
        self.inner_norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, num_heads, dropout=dropout, batch_first=True)
        self.inner_ffn = MLP([channels, 4 * channels, channels])
        self.dropout = nn.Dropout(dropout)
        self.norm_ffn = nn.LayerNorm(channels)
        self.ffn = ffn

    def forward(
        self,
        t: Float[Tensor, "b p l c"],
        carried: Float[Tensor, "b m c"],
        mask: Bool[Tensor, "b p l"] | None,
        mask_padding: bool,
    ) -> tuple[Float[Tensor, "b p l c"], Float[Tensor, "b m c"]]:
        """One block; ``mask_padding=False`` is the released behaviour."""
        b, p, length, c = t.shape
        x = self.norm(t)
        if mask is not None:
            x = x * mask.unsqueeze(-1)
        pooled, exists = self.pool(x, mask if mask_padding else None)
        supernodes = pooled + carried
        m = supernodes.shape[1]
        z = torch.cat([x, supernodes.unsqueeze(1).expand(b, p, m, c)], 2).flatten(0, 1)
        ignored = None
        if mask is not None and mask_padding:
            assert exists is not None
            absent = (~exists & exists.any(1, keepdim=True)).unsqueeze(1).expand(b, p, m)
            ignored = torch.cat([~mask, absent], 2).flatten(0, 1)
        u = self.inner_norm(z)
        z = z + self.attention(u, u, u, key_padding_mask=ignored, need_weights=False)[0]
        z = z + self.dropout(self.inner_ffn(self.inner_norm(z)))
        z = z.unflatten(0, (b, p))
        t = t + z[:, :, :length]
        return t + self.ffn(self.norm_ffn(t)), self._average(z[:, :, length:], mask if mask_padding else None)

    @staticmethod
    def _average(copies: Tensor, mask: Tensor | None) -> Tensor:
        """Mean over the patches, ``[b, p, m, c] -> [b, m, c]``; over those with nodes where padding is masked."""
        if mask is None:
            return copies.mean(1)
        filled = mask.any(2).to(copies.dtype)[:, :, None, None]
        return (copies * filled).sum(1) / filled.sum(1).clamp(min=1)
