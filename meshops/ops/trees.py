"""Sums of regression trees at rows of features (Friedman 2001, eq. 7): each row falls down every tree to a leaf."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from meshops.ops.dispatch import front, operation
from meshops.ops.kernels.available import needs_numba
from meshops.typing import Float

PAIRS = 4_000_000  # rows times trees that are worked on at once


class TreeTable(NamedTuple):
    """The nodes of several trees, one below the other; a leaf is its own child.

    Attributes:
        feature: ``[m]`` column that a node looks at.
        threshold: ``[m]`` a row goes left where its value is not larger, else right.
        child: ``[m, 2]`` left and right.
        value: ``[m]`` of a leaf.
        root: ``[t]`` first node of each tree.
        channel: ``[t]`` result that a tree adds to.
        depth: Largest number of steps from a root to a leaf.
    """

    feature: Tensor
    threshold: Tensor
    child: Tensor
    value: Tensor
    root: Tensor
    channel: Tensor
    depth: int


@operation
def _tree_sums(
    x: Tensor, feature: Tensor, threshold: Tensor, child: Tensor, value: Tensor, root: Tensor, channel: Tensor,
    depth: int, channels: int,
) -> Tensor:  # fmt: skip
    out = x.new_zeros(len(x), channels)
    step = max(1, PAIRS // max(1, len(root)))
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        node = root.long().expand(len(rows), -1)
        for _ in range(depth):
            right = rows.gather(1, feature.long()[node]) > threshold[node]
            node = child.long()[node, right.long()]
        out[start : start + step].index_add_(1, channel.long(), value[node])
    return out


@front(_tree_sums)
def tree_sums(x: Float[Tensor, "n f"], trees: TreeTable, channels: int) -> Float[Tensor, "n {channels}"]:
    """Sum of the values of the leaves that each row reaches, by channel; no gradient flows through it."""
    return _tree_sums(x, *trees, channels)


def _numba_applies(x: Tensor, *_: object) -> str:
    return needs_numba(x, (torch.float32,))


@_tree_sums.kernel("numba", _numba_applies)
def _numba(
    x: Tensor, feature: Tensor, threshold: Tensor, child: Tensor, value: Tensor, root: Tensor, channel: Tensor,
    depth: int, channels: int,
) -> Tensor:  # fmt: skip
    from meshops.ops.kernels import trees_numba  # importing Numba takes a while

    return trees_numba.tree_sums(x, feature, threshold, child, value, root, channel, channels)
