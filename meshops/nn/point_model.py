"""What models of point clouds share: the tensors they take of a graph, and the embedding of a point.

    h_i = MLP([x_i ; f_i]) + w + MLP(sinusoid(t))                       w: a learned vector, t: the time of the graph

Edges are not used. Transolver (2402.02366) and MSPT (2512.01738) embed their points in this way.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.nn.mlp import MLP
from meshops.partition.checks import graph_ptr, positions_of
from meshops.typing import Float


class PointInputs(NamedTuple):
    """Tensors of a point cloud, or of several that lie one after the other.

    Attributes:
        pos: ``[n, d]``.
        x: ``[n, f]``; f may be 0.
        graph_ptr: ``[b + 1]`` graph j owns the points ``graph_ptr[j]:graph_ptr[j + 1]``.
        time: ``[b]`` or None.
    """

    pos: Tensor
    x: Tensor
    graph_ptr: Tensor
    time: Tensor | None = None


def point_inputs(graph: Any) -> PointInputs:
    """Tensors of a graph or of a batch: ``pos``, and ``x`` and ``time`` where there are any.

    Example:
        >>> point_inputs(MeshGraph(pos=torch.rand(5, 2))).graph_ptr
        tensor([0, 5])
    """
    pos, ptr = positions_of(graph), graph_ptr(graph)
    ptr = torch.tensor([0, len(pos)], device=pos.device) if ptr is None else ptr
    x = graph.get("x")
    x = pos.new_zeros(len(pos), 0) if x is None else x
    return PointInputs(pos, x, ptr, graph.get("time"))


class PointEmbedding(nn.Module):
    """Token of each point from its position, its features and the time of its graph.

    Args:
        in_channels: f, features beside the position.
        channels: Width of a token.
        pos_dim: d.
        time: Whether graphs have a time.
        unified_pos: Replace positions by their distances to a regular grid of this many points per axis in [-1, 1]^d,
            where tasks put the positions.
    """

    def __init__(
        self, in_channels: int, channels: int, *, pos_dim: int, time: bool = False, unified_pos: int | None = None
    ) -> None:
        super().__init__()
        self.in_channels, self.channels, self.pos_dim = in_channels, channels, pos_dim
        self.unified_pos = unified_pos
        width = unified_pos**pos_dim if unified_pos else pos_dim
        self.mlp = MLP([width + in_channels, 2 * channels, channels])
        self.placeholder = nn.Parameter(torch.rand(channels) / channels)
        self.time = MLP([channels, channels, channels], activation=nn.SiLU) if time else None

    def forward(self, pos: Float[Tensor, "*n d"], x: Float[Tensor, "*n f"] | None = None) -> Float[Tensor, "*n c"]:
        """Tokens without the time.

        Raises:
            InputError: Another number of coordinates or features than the model was made for.
        """
        found = (pos.shape[-1], 0 if x is None else x.shape[-1])
        if found != (self.pos_dim, self.in_channels):
            raise InputError(
                f"the model was made for {self.pos_dim} coordinates in pos and {self.in_channels} features in x, "
                f"got {found[0]} and {found[1]}"
            )
        where = pos if self.unified_pos is None else grid_distances(pos, self.unified_pos)
        out: Tensor = self.mlp(where if x is None else torch.cat([where, x], -1)) + self.placeholder
        return out

    def at(self, time: Float[Tensor, " b"] | None) -> Float[Tensor, "b c"] | None:
        """What the time of each graph adds to its tokens; None for a model without time.

        Raises:
            InputError: The model takes a time and the graphs have none.
        """
        if self.time is None:
            return None
        if time is None:
            raise InputError("this model was built with time=True: the graph needs an attribute 'time' [b]")
        out: Tensor = self.time(sinusoid(time.to(self.placeholder), self.channels))
        return out


def grid_distances(pos: Float[Tensor, "*n d"], resolution: int) -> Float[Tensor, "*n r"]:
    """Distances to the ``resolution**d`` points of a regular grid over [-1, 1]^d.

    The "unified position" of the released codes of Transolver and MSPT, which have it for positions in the unit square.
    """
    axis = torch.linspace(-1, 1, resolution, device=pos.device, dtype=pos.dtype)
    grid = torch.cartesian_prod(*[axis] * pos.shape[-1]).view(-1, pos.shape[-1])
    return torch.cdist(pos, grid, compute_mode="donot_use_mm_for_euclid_dist")


def sinusoid(time: Float[Tensor, " b"], channels: int) -> Float[Tensor, "b c"]:
    """Cosines and sines of the time, periods from 2 pi to 2 pi 10,000."""
    half = channels // 2
    frequency = torch.exp(torch.arange(half, device=time.device, dtype=time.dtype) * (-math.log(1e4) / half))
    angle = time.reshape(-1, 1) * frequency
    return torch.cat([angle.cos(), angle.sin()], 1)
