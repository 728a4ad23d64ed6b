"""Reductions over segments: row i belongs to segment ``index[i]``."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def segment_sum(
    values: Float[Tensor, " n *c"], index: Int[Tensor, " n"], num_segments: int
) -> Float[Tensor, " {num_segments} *c"]:
    """Sum of the rows of each segment; 0 for an empty one. Not deterministic on CUDA (atomic additions).

    Example:
        >>> segment_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), 3)
        tensor([3., 0., 4.])
    """
    return values.new_zeros((num_segments, *values.shape[1:])).index_add_(0, index, values)


def segment_mean(
    values: Float[Tensor, " n *c"], index: Int[Tensor, " n"], num_segments: int
) -> Float[Tensor, " {num_segments} *c"]:
    """Mean of the rows of each segment; 0 for an empty one.

    Example:
        >>> segment_mean(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), 3)
        tensor([1.5000, 0.0000, 4.0000])
    """
    total = segment_sum(values, index, num_segments)
    count = torch.bincount(index, minlength=num_segments).clamp_(min=1).to(values.dtype)
    return total / count.view(-1, *[1] * (values.dim() - 1))


def segment_max(
    values: Float[Tensor, " n *c"], index: Int[Tensor, " n"], num_segments: int
) -> Float[Tensor, " {num_segments} *c"]:
    """Largest row, per channel, of each segment; 0 for an empty one.

    Example:
        >>> segment_max(torch.tensor([1.0, 2.0, -4.0]), torch.tensor([0, 0, 2]), 3)
        tensor([ 2.,  0., -4.])
    """
    return _extreme(values, index, num_segments, "amax")


def segment_min(
    values: Float[Tensor, " n *c"], index: Int[Tensor, " n"], num_segments: int
) -> Float[Tensor, " {num_segments} *c"]:
    """Smallest row, per channel, of each segment; 0 for an empty one."""
    return _extreme(values, index, num_segments, "amin")


def _extreme(values: Tensor, index: Tensor, num_segments: int, reduce: str) -> Tensor:
    rows = index.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    out = values.new_zeros((num_segments, *values.shape[1:]))
    return out.scatter_reduce(0, rows, values, reduce, include_self=False)
