"""Checks of positions and batches that every partitioner makes before it works."""

from __future__ import annotations

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
