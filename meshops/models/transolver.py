"""Transolver (Wu, Luo, Wang, Wang, Long; ICML 2024, arXiv 2402.02366): attention among learned slices of the points.

    w_i = softmax(L x_i / tau),      z_g = sum_i w_ig f_i / (sum_i w_ig + 1e-5)         slices of each head
    z'  = softmax(Q K^T / sqrt(c)) V,        f'_i = sum_g w_ig z'_g                     attention, and back
    H'  = H + Attention(LN(H)),      H'' = H' + FFN(LN(H'))                             block; last: linear head

x and f are two projections of LN(H); Q, K, V are linear in z and shared by the heads; tau is learned for each head. The
cost is linear in the number of points.

Reference code (thuml/Transolver): irregular meshes project with linear layers, regular grids with 3-wide convolutions
(``structured``). It starts the map L orthogonal but then overwrites it, as all linear weights, by a truncated normal of
width 0.02; so do we, unless ``init_std=None``: then L is orthogonal and the rest is PyTorch's default.

Departures: batches of graphs of different size, by sums over each graph; the placeholder is added with and without
features (the grid version adds it only without).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from meshops.errors import InputError
from meshops.models.registry import register_model
from meshops.nn.mlp import MLP
from meshops.nn.patch_attention import check_heads
from meshops.nn.point_model import PointEmbedding, PointInputs, point_inputs
from meshops.typing import Float

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class PhysicsAttention(nn.Module):
    """Attention among slices of the points.

    Args:
        channels: Width of a token.
        num_heads: Heads, a divisor of ``channels``.
        num_slices: Slices of each head.
        dropout: Of the attention among slices and of the output.
        structured: Points along each axis of the grid they form, row-major; None: any points.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int = 8,
        num_slices: int = 64,
        dropout: float = 0.0,
        structured: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        if num_slices < 1:
            raise InputError(f"num_slices must be at least 1, got {num_slices}")
        if structured is not None and not 1 <= len(structured) <= 3:
            raise InputError(f"structured must give the points along one to three axes, got {tuple(structured)}")
        self.structured = None if structured is None else tuple(structured)
        self.num_heads = num_heads
        width = channels // num_heads
        self.temperature = nn.Parameter(torch.full((num_heads, 1), 0.5))
        self.where = self._projection(channels)
        self.value = self._projection(channels)
        self.slice = nn.Linear(width, num_slices)
        self.query_token, self.key_token, self.value_token = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "n c"], sizes: Sequence[int]) -> Float[Tensor, "n c"]:
        """Mix the points of each graph; the first ``sizes[0]`` points are those of the first, and so on."""
        weights = self.weights(tokens)
        values = self._project(self.value, tokens).unflatten(1, (self.num_heads, -1))
        z = torch.stack(
            [torch.einsum("nhg,nhc->hgc", w, v) for w, v in zip(weights.split(sizes), values.split(sizes), strict=True)]
        )
        total = torch.stack([w.sum(0) for w in weights.split(sizes)])
        z = z / (total + 1e-5).unsqueeze(-1)  # [b, h, g, c]
        z = scaled_dot_product_attention(
            self.query_token(z), self.key_token(z), self.value_token(z),
            dropout_p=self.dropout.p if self.training else 0.0,
        )  # fmt: skip
        mixed = torch.cat(
            [torch.einsum("nhg,hgc->nhc", w, one) for w, one in zip(weights.split(sizes), z, strict=True)]
        )
        out: Tensor = self.dropout(self.out(mixed.flatten(1)))
        return out

    def weights(self, tokens: Float[Tensor, "n c"]) -> Float[Tensor, "n h g"]:
        """How much each point belongs to each slice of each head; sums to 1 over the slices."""
        where = self._project(self.where, tokens).unflatten(1, (self.num_heads, -1))
        temperature: Tensor = self.temperature
        if self.structured is not None:
            temperature = temperature.clamp(0.1, 5)  # Reference code: on grids only
        return torch.softmax(self.slice(where) / temperature, -1)

    def _projection(self, channels: int) -> nn.Module:
        if self.structured is None:
            return nn.Linear(channels, channels)
        return CONVOLUTIONS[len(self.structured)](channels, channels, kernel_size=3, padding=1)

    def _project(self, layer: nn.Module, tokens: Tensor) -> Tensor:
        if self.structured is None:
            out: Tensor = layer(tokens)
            return out
        grid = tokens.unflatten(0, (-1, *self.structured)).movedim(-1, 1)
        out = layer(grid).movedim(1, -1).flatten(0, -2)
        return out


class TransolverBlock(nn.Module):
    """Physics attention and a two-layer perceptron, each behind a layer norm and with a residual."""

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        num_slices: int,
        mlp_ratio: float,
        dropout: float,
        structured: Sequence[int] | None,
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(channels)
        self.attention = PhysicsAttention(
            channels, num_heads=num_heads, num_slices=num_slices, dropout=dropout, structured=structured
        )
        self.norm_mlp = nn.LayerNorm(channels)
        self.mlp = MLP([channels, round(mlp_ratio * channels), channels])

    def forward(self, tokens: Float[Tensor, "n c"], sizes: Sequence[int]) -> Float[Tensor, "n c"]:
        """Tokens of all graphs, one after the other, and the number of points of each."""
        tokens = tokens + self.attention(self.norm_attention(tokens), sizes)
        out: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return out


@register_model
class Transolver(nn.Module):
    """Transolver: ``pos [n, d]``, ``x [n, f]`` -> ``[n, out_channels]``.

    Args:
        in_channels: f, features beside the position (0 allowed).
        out_channels: Channels predicted at each point.
        pos_dim: d.
        channels: Width of a token.
        depth: Number of blocks.
        num_heads: Attention heads.
        num_slices: Slices of each head.
        mlp_ratio: Hidden width of the perceptrons over ``channels``.
        dropout: Of the attention.
        time: Condition on a scalar time per graph.
        unified_pos: Replace positions by their distances to a regular grid of this many points per axis in [-1, 1]^d.
        structured: Points along each axis, for graphs whose nodes are a regular grid, row-major: convolutions project
            the tokens, and the order of the nodes matters. None: points in any place and order.
        checkpoint: Recompute activations in the backward pass.
        init_std: Linear weights start as a truncated normal of this width; None: PyTorch's default.

    Raises:
        InputError: Impossible combination of arguments.

    Example:
        >>> model = Transolver(2, 3, channels=16, depth=2, num_heads=2, num_slices=4)
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
        num_heads: int = 8,
        num_slices: int = 64,
        mlp_ratio: float = 1,
        dropout: float = 0.0,
        time: bool = False,
        unified_pos: int | None = None,
        structured: Sequence[int] | None = None,
        checkpoint: bool = False,
        init_std: float | None = 0.02,
    ) -> None:
        super().__init__()
        self.structured = None if structured is None else tuple(structured)
        self.checkpoint = checkpoint
        self.init_std = init_std
        self.embed = PointEmbedding(in_channels, channels, pos_dim=pos_dim, time=time, unified_pos=unified_pos)
        self.blocks = nn.ModuleList(
            TransolverBlock(
                channels, num_heads=num_heads, num_slices=num_slices, mlp_ratio=mlp_ratio, dropout=dropout,
                structured=structured,
            )
            for _ in range(depth)
        )  # fmt: skip
        self.head = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Linear weights truncated normal with biases 0 where ``init_std`` says so, else PyTorch's default."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if self.init_std is None:
                    module.reset_parameters()
                    continue
                nn.init.trunc_normal_(module.weight, std=self.init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, PhysicsAttention):
                nn.init.constant_(module.temperature, 0.5)
        if self.init_std is None:
            for block in self.blocks:
                nn.init.orthogonal_(block.attention.slice.weight)  # type: ignore[union-attr, arg-type]

    def unpack(self, graph: Any) -> PointInputs:
        """Tensors of a graph or of a batch; edges are not used."""
        return point_inputs(graph)

    def forward(self, inputs: PointInputs) -> Float[Tensor, "n o"]:
        """Fields at the points, in their order.

        Raises:
            InputError: Another number of coordinates or features than the model was made for, a missing time, or
                graphs that are not the grid of a structured model.
        """
        tokens, sizes = self.embed(inputs.pos, inputs.x), inputs.graph_ptr.diff().tolist()
        self._check_grid(sizes)
        time = self.embed.at(inputs.time)
        if time is not None:
            tokens = tokens + torch.repeat_interleave(time, inputs.graph_ptr.diff(), 0, output_size=len(tokens))
        for block in self.blocks:
            if self.checkpoint and self.training:
                tokens = torch.utils.checkpoint.checkpoint(block, tokens, sizes, use_reentrant=False)
            else:
                tokens = block(tokens, sizes)
        out: Tensor = self.head(tokens)
        return out

    def _check_grid(self, sizes: Sequence[int]) -> None:
        if self.structured is None:
            return
        count = math.prod(self.structured)
        wrong = [i for i, size in enumerate(sizes) if size != count]
        if wrong:
            shape = " x ".join(map(str, self.structured))
            raise InputError(
                f"the model was made for grids of {shape} = {count} points, graph {wrong[0]} has {sizes[wrong[0]]}; "
                "give structured the shape of your grids, or None for points in any place"
            )


def _size(defaults: dict[str, Any], changes: dict[str, Any]) -> Transolver:
    return Transolver(**(defaults | changes))


_SMALL = {"pos_dim": 2, "channels": 128, "depth": 8, "num_heads": 8, "num_slices": 64, "mlp_ratio": 1}


@register_model
def transolver_elasticity(**changes: Any) -> Transolver:
    """Transolver for Elasticity: 8 x 128, 64 slices (released scripts; 0.71 M parameters)."""
    return _size({**_SMALL, "in_channels": 0, "out_channels": 1}, changes)


@register_model
def transolver_plasticity(**changes: Any) -> Transolver:
    """Transolver for Plasticity: 8 x 128, 64 slices, grid of 101 x 31, conditioned on time (released scripts)."""
    size = {"in_channels": 1, "out_channels": 4, "time": True, "structured": (101, 31)}
    return _size({**_SMALL, **size}, changes)


@register_model
def transolver_airfoil(**changes: Any) -> Transolver:
    """Transolver for Airfoil: 8 x 128, 64 slices, grid of 221 x 51 (released scripts)."""
    return _size({**_SMALL, "in_channels": 0, "out_channels": 1, "structured": (221, 51)}, changes)


@register_model
def transolver_pipe(**changes: Any) -> Transolver:
    """Transolver for Pipe: 8 x 128, 64 slices, ratio 2, grid of 129 x 129 (released scripts)."""
    size = {"in_channels": 0, "out_channels": 1, "mlp_ratio": 2, "structured": (129, 129)}
    return _size({**_SMALL, **size}, changes)


@register_model
def transolver_navier_stokes(**changes: Any) -> Transolver:
    """Transolver for Navier-Stokes: 8 x 256, 32 slices, 64 grid distances + 10 frames (released scripts)."""
    size = {"in_channels": 10, "out_channels": 1, "channels": 256, "num_slices": 32}
    return _size({**_SMALL, **size, "unified_pos": 8, "structured": (64, 64)}, changes)


@register_model
def transolver_darcy(**changes: Any) -> Transolver:
    """Transolver for Darcy 85 x 85: 8 x 128, 64 slices, 64 grid distances + coefficient (released scripts)."""
    size = {"in_channels": 1, "out_channels": 1, "unified_pos": 8, "structured": (85, 85)}
    return _size({**_SMALL, **size}, changes)


@register_model
def transolver_shapenet_car(**changes: Any) -> Transolver:
    """Transolver for ShapeNet-Car: 8 x 256, 32 slices, ratio 2, position + 4 features (released scripts; 3.86 M)."""
    size = {"in_channels": 4, "out_channels": 4, "pos_dim": 3, "channels": 256, "num_slices": 32, "mlp_ratio": 2}
    return _size({**_SMALL, **size}, changes)
