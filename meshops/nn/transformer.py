"""Transformer blocks with rotary positions: self and cross attention, pre- or post-norm, fixed or ragged lengths.

The inputs of fixed length are ``[b, n, c]``, ragged ones ``[t, c]`` with a :class:`~meshops.nn.ragged.RaggedPlan`: all
layers but the attention itself work on the packed rows, without padding.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from meshops.nn.dropout import Dropout
from meshops.nn.linear import Linear
from meshops.nn.mlp import MLP
from meshops.nn.patch_attention import check_heads
from meshops.nn.ragged import RaggedPlan, ragged_attention
from meshops.nn.rotary import rotate

NormPlace = Literal["pre", "post"]


class Attention(nn.Module):
    """Multi-head attention of ``x`` on itself or on ``context``.

    Args:
        channels: Width of a token.
        num_heads: Number of heads, a divisor of ``channels``.
    """

    def __init__(self, channels: int, *, num_heads: int) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads = num_heads
        self.query = Linear(channels, channels)
        self.key_value = Linear(channels, 2 * channels)
        self.out = Linear(channels, channels)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        angles: Tensor | None = None,
        context_angles: Tensor | None = None,
        plan: RaggedPlan | None = None,
    ) -> Tensor:
        """``[..., n, c] -> [..., n, c]``.

        Args:
            x: Queries.
            context: Keys and values; None: ``x``.
            angles: Rotary angles of ``x``, ``[..., n, a]``; None: no positions.
            context_angles: Those of ``context``.
            plan: For packed rows of ragged samples; self attention only.
        """
        source = x if context is None else context
        query = self.query(x).unflatten(-1, (self.num_heads, -1))
        key, value = self.key_value(source).unflatten(-1, (2, self.num_heads, -1)).unbind(-3)
        if angles is not None:
            query = rotate(query, angles)
            key = rotate(key, angles if context_angles is None else context_angles)
        if plan is not None:
            mixed = ragged_attention(query, key, value, plan)
        else:
            heads = (part.transpose(-3, -2) for part in (query, key, value))
            mixed = scaled_dot_product_attention(*heads).transpose(-3, -2)
        out: Tensor = self.out(mixed.flatten(-2))
        return out


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each with a residual.

    Args:
        channels: Width of a token.
        num_heads: Number of heads.
        ratio: Hidden width of the perceptron over ``channels``.
        norm: ``"pre"``: the inputs of attention and perceptron are normalised; ``"post"``: the sums, as in
            ``torch.nn.TransformerEncoderLayer``'s default.
        activation: Of the perceptron.
        dropout: After attention, inside and after the perceptron.
        cross: Attend to another sequence, whose tokens are normalised too (pre-norm).
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        ratio: float = 4.0,
        norm: NormPlace = "pre",
        activation: type[nn.Module] = nn.GELU,
        dropout: float = 0.0,
        cross: bool = False,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.attention = Attention(channels, num_heads=num_heads)
        self.mlp = MLP([channels, int(ratio * channels), channels], activation=activation, dropout=dropout)
        self.attention_norm = nn.LayerNorm(channels)
        self.mlp_norm = nn.LayerNorm(channels)
        self.context_norm = nn.LayerNorm(channels) if cross else None
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        angles: Tensor | None = None,
        context_angles: Tensor | None = None,
        plan: RaggedPlan | None = None,
    ) -> Tensor:
        """Arguments as for :class:`Attention`."""
        if context is not None and self.context_norm is not None:
            context = self.context_norm(context)
        given = {"angles": angles, "context_angles": context_angles, "plan": plan}
        if self.norm == "pre":
            x = x + self.dropout(self.attention(self.attention_norm(x), context, **given))
            out: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
            return out
        x = self.attention_norm(x + self.dropout(self.attention(x, context, **given)))
        out = self.mlp_norm(x + self.dropout(self.mlp(x)))
        return out
