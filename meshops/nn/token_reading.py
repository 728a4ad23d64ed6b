"""From tokens of cells back to the nodes of a mesh: what IAP and AMR-Transformer on meshes share.

    h_n = sigma(g(o)) * V_n + b(o) + e_n          o: place of node n in the cell of its token, and the cell's depth
    y_n = MLP(LN(block(h_n)))                     block: cross-attention to all tokens, or a perceptron alone

V_n is the finest token that holds the node. As equation 4 of IAP, with functions of the place instead of tables, since
places on a mesh are not counted, and with e_n, what the node knows of itself: its features are finer than any token.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.nn.mlp import MLP
from meshops.nn.transformer import TransformerBlock
from meshops.partition.mesh_tokens import MeshTokens

Decoder = Literal["cross", "local"]
DEPTHS = 32  # rows of tables over the depth of a cell; deeper ones share the last


class TokenInputs(NamedTuple):
    """Tensors of the graphs of a batch, with their tokens.

    Attributes:
        pos: ``[n, d]``.
        x: ``[n, f]``; f may be 0.
        graph_ptr: ``[b + 1]`` graph j owns the nodes ``graph_ptr[j]:graph_ptr[j + 1]``.
        tokens: Cells of the octrees of the graphs.
        time: ``[b]`` or None.
    """

    pos: Tensor
    x: Tensor
    graph_ptr: Tensor
    tokens: MeshTokens
    time: Tensor | None = None


class DepthTable(nn.Embedding):
    """A vector for each depth of a cell: on a grid the embedding of each side has a bias of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__(DEPTHS, channels)
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, depth: Tensor) -> Tensor:
        """``[t] -> [t, c]``."""
        return super().forward(depth.clamp(max=DEPTHS - 1))


class TokenReader(nn.Module):
    """Values at the nodes from the tokens, see the docstring of the module.

    Args:
        channels: Width of tokens and nodes.
        out_channels: Channels of the result.
        pos_dim: Space dimensions.
        num_heads: Of the cross-attention.
        ratio: Hidden width of perceptrons over ``channels``.
        decoder: ``"cross"``: every node attends to all tokens of its graph; ``"local"``: it sees its own alone.

    Raises:
        InputError: Another decoder.
    """

    def __init__(
        self, channels: int, out_channels: int, *, pos_dim: int, num_heads: int, ratio: float, decoder: Decoder
    ) -> None:
        super().__init__()
        if decoder not in get_args(Decoder):
            raise InputError(f"decoder must be one of {', '.join(get_args(Decoder))}, got '{decoder}'")
        self.where = MLP([pos_dim, channels, 2 * channels])
        self.depths = DepthTable(2 * channels)
        self.cross = self.alone = None
        if decoder == "cross":
            self.cross = TransformerBlock(channels, num_heads=num_heads, ratio=ratio, cross=True)
        else:
            self.alone = nn.Sequential(nn.LayerNorm(channels), MLP([channels, int(ratio * channels), channels]))
        self.norm = nn.LayerNorm(channels)
        self.head = MLP([channels, channels, out_channels])

    def forward(
        self,
        own: Tensor,
        nodes: Tensor,
        inputs: TokenInputs,
        tokens: Tensor,
        angles: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """``[n, out_channels]``.

        Args:
            own: ``[n, c]`` value of the token of each node.
            nodes: ``[n, c]`` what nodes know of themselves.
            inputs: Places and bounds.
            tokens: ``[t, c]`` all tokens; read by the cross-attention.
            angles: Rotary angles of the nodes and of the tokens.
        """
        cells = inputs.tokens
        everyone = torch.arange(len(own), device=own.device)
        place = cells.place(inputs.pos, everyone, cells.home)
        gate, shift = (self.where(place) + self.depths(cells.depth[cells.home])).chunk(2, 1)
        h = gate.sigmoid() * own + shift + nodes
        if self.alone is not None:
            h = h + self.alone(h)
        else:
            h = self._attended(h, tokens, inputs, angles)
        out: Tensor = self.head(self.norm(h))
        return out

    def _attended(self, h: Tensor, tokens: Tensor, inputs: TokenInputs, angles: tuple[Tensor, Tensor] | None) -> Tensor:
        """Cross-attention of the nodes of each graph to its tokens."""
        assert self.cross is not None
        bounds = [list(pairwise(ptr.tolist())) for ptr in (inputs.graph_ptr, inputs.tokens.graph_ptr)]
        parts = []
        for (first, last), (low, high) in zip(*bounds, strict=True):
            given = {}
            if angles is not None:
                given = {"angles": angles[0][first:last], "context_angles": angles[1][low:high]}
            parts.append(self.cross(h[first:last], tokens[low:high], **given))
        return torch.cat(parts)
