"""Best-first refinement as one selection over a pyramid of sums (the core of IAP and of threshold schemes).

If the score of a node is the sum of not negative scores below it and ties are broken ancestor first, then splitting the
best leaf M times splits exactly the M largest nodes of the whole pyramid: a child never exceeds its parent, so what is
popped never rises, and a node that is among the M largest has all its ancestors among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.scores import block_sum
from meshops.typing import Bool, Float


def sum_pyramid(cells: Float[Tensor, "b ..."], levels: int) -> list[Tensor]:
    """``cells`` and its sums over blocks of 2, 4, ..., 2**levels cells a side, finest first.

    Every level is summed from the one below, so that no block has less than one of its parts, rounding included.
    """
    out = [cells]
    for _ in range(levels):
        out.append(block_sum(out[-1], 2))
    return out


def largest_mask(scores: Float[Tensor, "b m"], count: int) -> Bool[Tensor, "b m"]:
    """True at the ``count`` largest scores of each row; of equal ones the first count. The same on every device.

    Args:
        scores: Not negative, not NaN.
        count: 0 to m.
    """
    b, m = scores.shape
    if not 0 <= count <= m:
        raise InputError(f"count must be 0 to the number of scores ({m}), got {count}")
    chosen = torch.zeros(b, m, dtype=torch.bool, device=scores.device)
    return chosen.scatter_(1, score_keys(scores).topk(count, dim=1, sorted=False).indices, True)


def score_keys(scores: Float[Tensor, "b m"]) -> Tensor:
    """``[b, m]`` int64, not negative: larger for a larger score, of equal ones for the first; all of a row differ.

    The bits of the float32 score, which order like the score where it is not negative, above the place from the end.
    """
    bits = (scores.float() + 0.0).contiguous().view(torch.int32).long()  # + 0.0: there are two zeros
    return (bits << 32) | (2**32 - 1 - torch.arange(scores.shape[1], device=scores.device))


def upsample(values: Tensor, size: int) -> Tensor:
    """Repeat every cell of ``[b, *grid]`` ``size`` times along each axis."""
    for axis in range(1, values.dim()):
        values = values.repeat_interleave(size, axis)
    return values


def split_best(pyramid: Sequence[Tensor], count: int) -> list[Tensor]:
    """Leaves after splitting the ``count`` best nodes, coarsest level first.

    Args:
        pyramid: ``[b, *grid]`` scores of the nodes that may be split, coarsest level first, at least one level; each
            has twice the cells of the one before along each axis.
        count: Number of splits, the same for every sample.

    Returns:
        One mask per level and one more for the children of the last: True where a leaf is. With a grid of R roots in
        D dimensions there are ``R + (2**D - 1) * count`` leaves.
    """
    return _leaves(pyramid, largest_mask(torch.cat([level.flatten(1) for level in pyramid], 1), count))


def split_in_steps(pyramid: Sequence[Tensor], count: int, per_step: int) -> list[Tensor]:
    """As :func:`split_best`, but ``per_step`` leaves at a time are split, as IAP's algorithm 1 is printed.

    A step must take ``per_step`` leaves even where one branch holds all the best nodes, so that the result may differ
    from the global one when hardly anything is split.
    """
    key = score_keys(torch.cat([level.flatten(1) for level in pyramid], 1))
    parent = _parents(pyramid)
    root = torch.arange(len(parent), device=key.device) == parent
    chosen = torch.zeros_like(key, dtype=torch.bool)
    rank = torch.arange(per_step, device=key.device)
    while True:
        left = count - chosen.sum(1, keepdim=True)
        if not bool((left > 0).any()):
            return _leaves(pyramid, chosen)
        leaf = (root | chosen[:, parent]) & ~chosen
        best = torch.where(leaf, key, -1).topk(min(per_step, key.shape[1]), dim=1)
        taken = (best.values >= 0) & (rank[: best.values.shape[1]] < left)
        chosen.scatter_(1, best.indices, taken | chosen.gather(1, best.indices))


def _parents(pyramid: Sequence[Tensor]) -> Tensor:
    """Place of the parent of each node in the concatenation of the levels; roots are their own."""
    out: list[Tensor] = []
    start = before = 0
    for number, level in enumerate(pyramid):
        if number == 0:
            out.append(torch.arange(level[0].numel(), device=level.device))
        else:
            coarse = torch.arange(pyramid[number - 1][0].numel(), device=level.device)
            coarse = upsample(coarse.view(1, *pyramid[number - 1].shape[1:]), 2)
            out.append(before + coarse.flatten())
        before, start = start, start + level[0].numel()
    return torch.cat(out)


def _leaves(pyramid: Sequence[Tensor], chosen: Tensor) -> list[Tensor]:
    leaves, start = [], 0
    alive = torch.ones_like(pyramid[0], dtype=torch.bool)
    for level in pyramid:
        split = chosen[:, start : start + level[0].numel()].view_as(level)
        start += level[0].numel()
        leaves.append(alive & ~split)
        alive = upsample(alive & split, 2)
    return [*leaves, alive]
