"""A plain transformer with rotary positions over all nodes of a graph: the baseline every claim needs.

    H'  = H + softmax(R(Q) R(K)^T / sqrt(c)) V          R turns the channels of a head by the position of the node
    H'' = H' + MLP(LN(H'))                              Q, K, V linear in LN(H); head: linear in LN(H)

Vaswani et al. (1706.03762), pre-norm; rotary positions (2104.09864) axis by axis, so that attention depends on
differences of positions. Quadratic in the number of nodes in time, linear in memory: meant for subsets of some thousand
nodes. AB-UPT's authors (2502.09692) report such a network, trained on subsets, close to their own (unverified).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from meshops.models.registry import register_model
from meshops.nn.point_model import PointEmbedding, PointInputs, point_inputs
from meshops.nn.ragged import RaggedPlan
from meshops.nn.rotary import RotaryPositions
from meshops.nn.transformer import TransformerBlock
from meshops.typing import Float


@register_model
class Transformer(nn.Module):
    """Transformer over the nodes: ``pos [n, d]``, ``x [n, f]`` -> ``[n, out_channels]``.

    Args:
        in_channels: f, features beside the position (0 allowed).
        out_channels: Channels predicted at each node.
        pos_dim: d.
        channels: Width of a token.
        depth: Number of blocks.
        num_heads: Attention heads; ``channels / num_heads`` must be even and at least ``2 pos_dim``.
        mlp_ratio: Hidden width of the perceptrons over ``channels``.
        rotary: Rotary positions; without them positions enter by the embedding alone.
        rotary_wavelengths: Shortest and longest period, in units of ``pos``.
        dropout: After attention, inside and after the perceptrons.
        time: Condition on a scalar time per graph.
        checkpoint: Recompute activations in the backward pass.

    Raises:
        InputError: Heads that do not divide the width, or are too narrow for rotary positions.

    Example:
        >>> model = Transformer(2, 3, channels=32, depth=2)
        >>> model(model.unpack(MeshGraph(pos=torch.rand(9, 3), x=torch.rand(9, 2)))).shape
        torch.Size([9, 3])
    """

    takes: ClassVar[frozenset[str]] = frozenset({"points"})

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pos_dim: int = 3,
        channels: int = 128,
        depth: int = 8,
        num_heads: int = 4,
        mlp_ratio: float = 4,
        rotary: bool = True,
        rotary_wavelengths: tuple[float, float] = (0.05, 4.0),
        dropout: float = 0.0,
        time: bool = False,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.embed = PointEmbedding(in_channels, channels, pos_dim=pos_dim, time=time)
        self.blocks = nn.ModuleList(
            TransformerBlock(channels, num_heads=num_heads, ratio=mlp_ratio, dropout=dropout) for _ in range(depth)
        )
        self.rotary: RotaryPositions | None = None
        if rotary:
            low, high = rotary_wavelengths
            self.rotary = RotaryPositions(channels // num_heads, pos_dim, min_wavelength=low, max_wavelength=high)
        self.head = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, out_channels))

    def unpack(self, graph: Any) -> PointInputs:
        """Tensors of a graph or of a batch; edges are not used."""
        return point_inputs(graph)

    def forward(self, inputs: PointInputs) -> Float[Tensor, "n o"]:
        """Fields at the nodes, in their order; graphs of one size need neither padding nor mask.

        Raises:
            InputError: Another number of coordinates or features than the model was made for, or a missing time.
        """
        pos, x, graph_ptr, time = inputs
        sizes = graph_ptr.diff()
        tokens, at = self.embed(pos, x), self.embed.at(time)
        if at is not None:
            tokens = tokens + torch.repeat_interleave(at, sizes, 0, output_size=len(tokens))
        angles = None if self.rotary is None else self.rotary(pos)
        plan = None
        if bool((sizes == sizes[0]).all()):
            tokens = tokens.unflatten(0, (len(sizes), -1))
            angles = None if angles is None else angles.unflatten(0, (len(sizes), -1))
        else:
            plan = RaggedPlan.of(graph_ptr)
        for block in self.blocks:
            if self.checkpoint and self.training:
                tokens = torch.utils.checkpoint.checkpoint(
                    block, tokens, None, angles=angles, plan=plan, use_reentrant=False
                )
            else:
                tokens = block(tokens, angles=angles, plan=plan)
        out: Tensor = self.head(tokens if plan is not None else tokens.flatten(0, 1))
        return out
