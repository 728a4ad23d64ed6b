"""Models of points and of graphs on regular grids: a node per cell, edges between cells that share a side.

Positions are the centres of the cells, measured from the middle of the grid in units of ``extent``, so that a grid as
long as the one that was trained on lies in -1 .. 1. Along a periodic axis the first and the last cell are neighbours;
their positions are still those at the two ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from meshops.data.mesh_graph import MeshGraph
from meshops.nn.grid_model import GridModel, LossPairs
from meshops.nn.mesh_model import LearnsWithTruth


class OnGrid(GridModel):
    """A model of points or graphs as a map of fields on a grid, ``[b, c_in, *grid] -> [b, c_out, *grid]``.

    Args:
        model: ``model(model.unpack(graph)) -> [n, c_out]``.
        spacing: Cell size along each axis, m.
        periodic: Whether the ends of each axis meet.
        extent: Length that positions are divided by, m.
    """

    def __init__(self, model: nn.Module, *, spacing: Sequence[float], periodic: Sequence[bool], extent: float) -> None:
        super().__init__()
        self.model = model
        self.spacing, self.periodic, self.extent = tuple(spacing), tuple(periodic), extent

    def forward(self, fields: Tensor) -> Tensor:
        """``[b, c_out, *grid]`` from ``[b, c_in, *grid]``."""
        rows: Tensor = self.model(self.inputs(fields))
        out: Tensor = rows.unflatten(0, (len(fields), *fields.shape[2:])).movedim(-1, 1)
        return out

    def inputs(self, fields: Tensor) -> object:
        """What the model takes of ``[b, c_in, *grid]``."""
        pos, edges = grid_nodes(
            tuple(fields.shape[2:]), self.spacing, self.periodic, self.extent, len(fields), fields.device
        )
        graph = MeshGraph(pos=pos.to(fields.dtype), x=_rows(fields), edge_index=edges)
        graph.ptr = torch.arange(len(fields) + 1, device=fields.device) * fields[0, 0].numel()
        return self.model.unpack(graph)  # type: ignore[operator]

    def learn(
        self, fields: Tensor, target: Tensor, criterion: Callable[[LossPairs], dict[str, Tensor]]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """``criterion`` of prediction and truth in every cell, with the losses a model has of its own; the prediction.

        Args:
            fields: ``[b, c_in, *grid]``.
            target: ``[b, c_out, *grid]``.
            criterion: Gives ``"loss"`` and its parts.
        """
        if not isinstance(self.model, LearnsWithTruth):
            pairs, prediction = self.loss_and_fields(fields, target)
            return criterion(pairs), prediction
        truth, made = _rows(target), []
        ptr = torch.arange(len(target) + 1, device=target.device) * target[0, 0].numel()

        def told(rows: Tensor) -> dict[str, Tensor]:
            made.append(rows)
            return criterion(LossPairs(rows, truth, ptr))

        parts = self.model.learn(self.inputs(fields), truth, told)
        return parts, made[0].unflatten(0, (len(target), *target.shape[2:])).movedim(-1, 1)


@lru_cache(maxsize=8)
def grid_nodes(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    periodic: tuple[bool, ...],
    extent: float,
    count: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Positions ``[b n, d]`` and edges ``[2, e]`` of ``count`` equal grids, one after the other, cells row-major."""
    centres = [((torch.arange(k) + 0.5) * s - k * s / 2) / extent for k, s in zip(shape, spacing, strict=True)]
    pos = torch.stack(torch.meshgrid(*centres, indexing="ij"), -1).flatten(0, -2)
    edges = grid_edges(shape, periodic)
    shift = torch.arange(count).view(1, -1, 1) * len(pos)
    return pos.repeat(count, 1).to(device), (edges.unsqueeze(1) + shift).flatten(1).to(device)


def grid_edges(shape: Sequence[int], periodic: Sequence[bool]) -> Tensor:
    """``[2, e]`` cells that share a side, both directions, each once, sorted by the second row.

    Args:
        shape: Cells along each axis.
        periodic: Whether the ends of each axis meet.

    Example:
        >>> grid_edges((3,), (True,))
        tensor([[1, 2, 0, 2, 0, 1],
                [0, 0, 1, 1, 2, 2]])
    """
    cells = torch.arange(torch.Size(shape).numel()).view(*shape)
    pairs = []
    for axis, (size, wraps) in enumerate(zip(shape, periodic, strict=True)):
        pairs.append([cells.narrow(axis, 0, size - 1), cells.narrow(axis, 1, size - 1)])
        if wraps and size > 2:  # of two cells the one is already the neighbour of the other
            pairs.append([cells.narrow(axis, size - 1, 1), cells.narrow(axis, 0, 1)])
    one = torch.cat([torch.stack([a.flatten(), b.flatten()]) for a, b in pairs], 1)
    both = torch.cat([one, one.flip(0)], 1)
    return both[:, torch.argsort(both[1] * cells.numel() + both[0])]


def _rows(values: Tensor) -> Tensor:
    return values.movedim(1, -1).flatten(0, -2)
