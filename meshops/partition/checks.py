"""Checks of positions and batches that every partitioner makes before it works."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.checks import check_positions, check_ptr


def checked_positions(pos: Tensor, ptr: Tensor | None) -> tuple[Tensor, Tensor]:
    """Positions and, on the CPU, the pointers of the graphs (None: one graph).

    Raises:
        InputError: Positions are not ``[n, d]``, not of a float type or not finite; pointers do not cut them.
    """
    check_positions(pos, "position")
    if ptr is None:
        ptr = torch.tensor([0, pos.shape[0]])
    check_ptr(ptr, pos.shape[0], "ptr")
    return pos, ptr.cpu()


def positions_of(data: Any) -> Tensor:
    """``pos`` of a graph or of a batch of graphs.

    Raises:
        InputError: It has none.
    """
    pos = data.get("pos")
    if not isinstance(pos, Tensor):
        found = "None" if pos is None else type(pos).__name__
        raise InputError(f"the graph needs node positions, a float tensor 'pos' [n, d], got {found}; set graph.pos")
    return pos


def grid_shape_of(data: Any) -> tuple[int, ...] | None:
    """Cells along each axis of a regular grid, of each grid of a batch; None for other graphs.

    Raises:
        InputError: The grids of the batch differ, or have another number of cells than there are nodes.
    """
    shape = data.get("grid_shape")
    if shape is None:
        return None
    rows = torch.as_tensor(shape).cpu()
    rows = rows.view(1, -1) if rows.dim() < 2 else rows
    if bool((rows != rows[0]).any()):
        raise InputError(
            f"the grids of a batch must have one shape, got {rows.unique(dim=0).tolist()}; batch them apart"
        )
    cells = tuple(int(n) for n in rows[0])
    graphs = 1 if (ptr := graph_ptr(data)) is None else ptr.numel() - 1
    if graphs * math.prod(cells) != data.num_nodes:
        raise InputError(
            f"grid_shape {list(cells)} means {graphs * math.prod(cells)} nodes in {graphs} graphs, got "
            f"{data.num_nodes}; correct it, or remove it from graphs that are no grids"
        )
    return cells


def periodic_axes(data: Any) -> list[bool] | None:
    """Whether the ends of each axis of a grid meet; None where the graph does not say."""
    periodic = data.get("periodic")
    if periodic is None:
        return None
    rows = torch.as_tensor(periodic)
    return [bool(p) for p in (rows if rows.dim() < 2 else rows[0])]


def graph_ptr(data: Any) -> Tensor | None:
    """Pointers of the graphs of a batch; None for a single graph.

    Raises:
        InputError: ``batch`` is not sorted.
    """
    ptr = data.get("ptr")
    if isinstance(ptr, Tensor):
        return ptr
    batch = data.get("batch")
    if batch is None:
        return None
    if bool((batch[1:] < batch[:-1]).any()):
        raise InputError("the nodes of a graph must lie together: 'batch' must be sorted, sort the nodes by it first")
    counts = torch.bincount(batch)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
