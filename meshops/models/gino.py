"""GINO-like baseline (Li et al., 2309.00583): points to a regular grid, a network on the grid, and back to the points.

Departures: both ways are the continuous convolution of :mod:`meshops.nn.neighborhood_conv`, whose weights sum to 1 in
every neighbourhood, instead of a sum over a radius; the network on the grid is a U-Net, or the FNO of
``neuraloperator`` as in the paper; geometry enters by the positions instead of a signed distance.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from meshops.data.latent_grid import LatentGrid
from meshops.errors import InputError
from meshops.models.fno import FNO
from meshops.models.registry import register_model
from meshops.models.unet import UNet
from meshops.nn.mlp import MLP
from meshops.nn.neighborhood_conv import NeighborhoodConv
from meshops.nn.point_model import PointInputs, point_inputs


@register_model
class GINO(nn.Module):
    """Encode to a grid, work there, decode: ``x [n, in_channels] -> [n, out_channels]``.

    Args:
        in_channels: Channels of a node; 0: geometry alone.
        out_channels: Channels predicted.
        pos_dim: Space dimensions.
        channels: Width of a node of the grid.
        cells: Cells of the grid along each axis.
        extent: The grid spans ``-extent .. extent`` along each axis; tasks scale positions to -1 .. 1.
        body: ``"unet"``, or ``"fno"`` (needs ``neuraloperator``).
        depth: Halvings of the U-Net, layers of the FNO.

    Raises:
        InputError: Unknown body.
        MissingPackageError: ``neuraloperator`` is not installed.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"points"})

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pos_dim: int = 3,
        channels: int = 32,
        cells: int = 32,
        extent: float = 1.25,
        body: Literal["unet", "fno"] = "unet",
        depth: int = 3,
    ) -> None:
        super().__init__()
        if body not in ("unet", "fno"):
            raise InputError(f"body must be 'unet' or 'fno', got '{body}'")
        self.out_channels = out_channels
        self.grid = LatentGrid(
            low=(-extent,) * pos_dim, high=(extent,) * pos_dim, shape=(cells,) * pos_dim, periodic=(False,) * pos_dim
        )
        self.lift = nn.Linear(in_channels + pos_dim, channels)
        self.to_grid = NeighborhoodConv(channels, channels, dim=pos_dim)
        self.cues = nn.Linear(2, channels, bias=False)
        maker: Any = UNet if body == "unet" else FNO
        self.body = maker(channels, channels, dim=pos_dim, channels=channels, depth=depth)
        self.to_points = NeighborhoodConv(channels, channels, dim=pos_dim)
        self.head = MLP([2 * channels, 2 * channels, out_channels])

    def unpack(self, graph: Any) -> PointInputs:
        """Tensors of a graph or of a batch; edges are not used."""
        return point_inputs(graph)

    def forward(self, inputs: PointInputs) -> Tensor:
        """``[n, out_channels]`` from what :meth:`unpack` returns."""
        pos, x, graph_ptr, _ = inputs
        points = self.lift(torch.cat([x, pos], 1))
        near = self.grid.from_points(pos, ptr=graph_ptr)
        cues = self.cues(torch.stack([torch.log1p(near.found.to(pos.dtype)), near.nearest], 1))
        field = gelu(self.to_grid(points, near) + cues)
        shape = (len(graph_ptr) - 1, *self.grid.shape)
        field = field + self.body(field.view(*shape, -1).movedim(-1, 1)).movedim(1, -1).flatten(0, -2)
        graph = torch.repeat_interleave(graph_ptr.diff(), output_size=len(pos))
        seen = self.to_points(field, self.grid.to_points(pos, graph=graph))
        out: Tensor = self.head(torch.cat([seen, points], 1))
        return out
