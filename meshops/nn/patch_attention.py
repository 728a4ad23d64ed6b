"""Parallel multi-scale attention over patches (PMSA; MSPT, 2512.01738, sec. 3.3).

Queries are the tokens of a patch; keys and values are the tokens of the same patch and the supernodes of all patches.
Keys and values of the supernodes are computed once per layer, not once per patch: N + K Q rows instead of the
released code's N + K^2 Q, with the same result for the rows that are kept.

Departure: padded tokens are masked; the released code lets them attend. Scale is 1/sqrt(head width).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from meshops.errors import InputError
from meshops.nn.dropout import Dropout
from meshops.nn.linear import Linear
from meshops.nn.rotary import rotate
from meshops.ops.attention import patch_attention
from meshops.typing import Bool, Float


def check_heads(channels: int, num_heads: int) -> None:
    """Raise ``InputError`` with a suggestion unless ``num_heads`` divides ``channels``."""
    if num_heads < 1 or channels % num_heads:
        near = next(h for h in range(max(num_heads, 1), 0, -1) if channels % h == 0)
        raise InputError(
            f"num_heads must divide channels, got num_heads={num_heads} and channels={channels}; try num_heads={near}"
        )


class PatchMemory(NamedTuple):
    """Keys and values that the queries of each patch see.

    Attributes:
        local_key, local_value: ``[b, p, h, l, c / h]``.
        global_key, global_value: ``[b, h, m, c / h]``.
        local_mask: ``[b, p, l]`` or None.
        global_mask: ``[b, m]`` or None.
    """

    local_key: Tensor
    local_value: Tensor
    global_key: Tensor
    global_value: Tensor
    local_mask: Tensor | None
    global_mask: Tensor | None


class PatchAttention(nn.Module):
    """Multi-head attention of patch tokens on [own patch ; supernodes].

    Args:
        channels: Width of a token.
        num_heads: Number of heads, a divisor of ``channels``.
        dropout: Dropout after the output projection.
    """

    def __init__(self, channels: int, *, num_heads: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads = num_heads
        self.query = Linear(channels, channels)
        self.key = Linear(channels, channels)
        self.value = Linear(channels, channels)
        self.out = Linear(channels, channels)
        self.dropout = Dropout(dropout)

    def memory(
        self,
        tokens: Float[Tensor, "b p l c"],
        supernodes: Float[Tensor, "b m c"],
        mask: Bool[Tensor, "b p l"] | None = None,
        supernode_mask: Bool[Tensor, "b m"] | None = None,
        angles: Float[Tensor, "b p l a"] | None = None,
        supernode_angles: Float[Tensor, "b m a"] | None = None,
    ) -> PatchMemory:
        """Keys and values of tokens and supernodes; ``angles`` are rotary angles of their positions."""
        local_key, local_value = self._heads(self.key(tokens)), self._heads(self.value(tokens))
        global_key, global_value = self._heads(self.key(supernodes)), self._heads(self.value(supernodes))
        if angles is not None and supernode_angles is not None:
            local_key, global_key = rotate(local_key, angles), rotate(global_key, supernode_angles)
        return PatchMemory(
            local_key.transpose(2, 3),
            local_value.transpose(2, 3),
            global_key.transpose(1, 2),
            global_value.transpose(1, 2),
            mask,
            supernode_mask,
        )

    def forward(
        self, tokens: Float[Tensor, "b p q c"], memory: PatchMemory, angles: Float[Tensor, "b p q a"] | None = None
    ) -> Float[Tensor, "b p q c"]:
        """Attend from the tokens of each patch to the memory of the same patch."""
        query = self._heads(self.query(tokens))
        if angles is not None:
            query = rotate(query, angles)
        out = patch_attention(query.transpose(2, 3), *memory).transpose(2, 3).flatten(-2)
        result: Tensor = self.dropout(self.out(out))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        """``[..., c] -> [..., h, c / h]``."""
        return x.view(*x.shape[:-1], self.num_heads, -1)
