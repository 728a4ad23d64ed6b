"""What all models on regular grids share: fields in, fields out, and what a training loss compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from meshops.data.grid import grid_graph, grid_values
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError


class LossPairs(NamedTuple):
    """Rows a loss compares.

    Attributes:
        prediction: ``[r, c]``.
        truth: ``[r, c]``.
        ptr: ``[b + 1]`` sample i owns rows ``ptr[i]:ptr[i + 1]``.
    """

    prediction: Tensor
    truth: Tensor
    ptr: Tensor


class GridModel(nn.Module):
    """A map of fields on a grid, ``[b, c_in, *grid] -> [b, c_out, *grid]``, normalised on both sides.

    Attributes:
        takes: What the model can work on.
        out_channels: c_out.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"grid"})
    out_channels: int

    def unpack(self, graph: Any) -> Tensor:
        """``x`` of a batch of equal grid graphs as ``[b, c, *grid]``."""
        return grid_values(graph, "x")

    def loss_pairs(self, fields: Tensor, target: Tensor) -> LossPairs:
        """Prediction and truth where the model makes them: here in every cell.

        Args:
            fields: ``[b, c_in, *grid]``.
            target: ``[b, c_out, *grid]``.
        """
        cells = target[0, 0].numel()
        ptr = torch.arange(0, len(target) * cells + 1, cells, device=target.device)
        prediction: Tensor = self(fields)
        return LossPairs(_rows(prediction), _rows(target), ptr)

    def floor(self, fields: Tensor, target: Tensor) -> Tensor:
        """``target`` after it went through the tokens the model would use for ``fields``: the best it could do."""
        del fields
        return target


class PointsOnGrid(GridModel):
    """A model of points as a model of grids: every cell is a point at its centre, in row-major order.

    Args:
        model: Takes points; positions go from -1 to 1 along the longest side of the grid, 0 is in the middle.
        spacing: Cell size along each axis; None: cells are cubes.
    """

    def __init__(self, model: nn.Module, spacing: Sequence[float] | None = None) -> None:
        super().__init__()
        self.model = model
        self.spacing = None if spacing is None else tuple(spacing)

    def forward(self, fields: Tensor) -> Tensor:
        """``[b, c_in, *grid] -> [b, c_out, *grid]``."""
        b, grid = len(fields), fields.shape[2:]
        pos = grid_graph(fields.new_zeros(*grid, 1), spacing=self.spacing).pos.to(fields)
        step = self.spacing or (1.0,) * len(grid)
        side = pos.new_tensor([n * size for n, size in zip(grid, step, strict=True)])
        pos = (2 * pos - side) / side.max()
        graph = MeshGraph(pos=pos.repeat(b, 1), x=_rows(fields))
        graph.ptr = torch.arange(b + 1, device=fields.device) * len(pos)
        model: Any = self.model
        rows: Tensor = model(model.unpack(graph))
        out: Tensor = rows.unflatten(0, (b, *grid)).movedim(-1, 1)  # type: ignore[no-untyped-call]
        return out


def on_grid(model: nn.Module, spacing: Sequence[float] | None = None) -> GridModel:
    """The model itself where it takes grids; a model of points with every cell as a point.

    Raises:
        InputError: It takes neither.
    """
    if isinstance(model, GridModel):
        return model
    if "points" in getattr(model, "takes", ()):
        return PointsOnGrid(model, spacing)
    raise InputError(f"{type(model).__name__} takes neither regular grids nor points")


def _rows(values: Tensor) -> Tensor:
    return values.movedim(1, -1).flatten(0, -2)
