"""Median-split trees: halve a point set along its widest axis, again and again.

At each level every segment is split at its median, by count, along the coordinate with the largest extent
(first axis wins ties). Points are ordered by (coordinate, next coordinates in cyclic order, index), so that the
result does not depend on the order of the input unless points coincide exactly. This is what "ball tree" means
in MSPT and Erwin (2512.01738 sec. 3.2; balltree-erwin 0.1.0), a k-d tree with balanced leaves.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshops.ops.dispatch import operation
from meshops.ops.segment import segment_max, segment_min


class MedianSplit(NamedTuple):
    """Result of :func:`median_split`.

    Attributes:
        perm: ``[n]`` order of the points; those of leaf i are ``perm[ptr[i]:ptr[i + 1]]``, ascending.
        ptr: ``[num_leaves + 1]`` leaf boundaries; leaves are in depth-first order, graph after graph.
        axis: ``[b, 2**levels - 1]`` coordinate along which each inner node is split, heap order.
        value: ``[b, 2**levels - 1]`` where: halfway between the two middle points, rounded towards the right one.
    """

    perm: Tensor
    ptr: Tensor
    axis: Tensor
    value: Tensor


@operation
def median_split(pos: Float[Tensor, "n d"], ptr: Int[Tensor, " b1"], levels: int) -> MedianSplit:
    """Split each graph of a batch into ``2**levels`` leaves whose sizes differ by at most one.

    Args:
        pos: Positions, finite.
        ptr: Graph i owns rows ``ptr[i]:ptr[i + 1]``.
        levels: Number of halvings. Leaves are empty when a graph has fewer points than leaves.
    """
    num_graphs = ptr.numel() - 1
    n = pos.shape[0]
    perm = torch.arange(n, device=pos.device)
    axes, values = [], []
    bounds = ptr.to(pos.device)
    for _ in range(levels):
        sizes = bounds[1:] - bounds[:-1]
        segment = torch.repeat_interleave(torch.arange(sizes.numel(), device=pos.device), sizes)
        rows = pos[perm]
        extent = segment_max(rows, segment, sizes.numel()) - segment_min(rows, segment, sizes.numel())
        axis = extent.argmax(1)
        perm = _lexsort(pos, perm, segment, axis)
        middle = bounds[:-1] + sizes // 2
        axes.append(axis.view(num_graphs, -1))
        values.append(_split_values(pos, perm, axis, middle, sizes).view(num_graphs, -1))
        bounds = torch.stack([bounds[:-1], middle], 1).reshape(-1)
        bounds = torch.cat([bounds, ptr[-1:].to(pos.device)])
    sizes = bounds[1:] - bounds[:-1]
    leaf = torch.repeat_interleave(torch.arange(sizes.numel(), device=pos.device), sizes)
    perm = perm[torch.argsort(leaf * max(n, 1) + perm)]
    empty = torch.zeros(num_graphs, 0, device=pos.device)
    axis_all = torch.cat(axes, 1) if axes else empty.long()
    value_all = torch.cat(values, 1) if values else empty.to(pos.dtype)
    return MedianSplit(perm, bounds, axis_all, value_all)


def _numba_applies(pos: Tensor, ptr: Tensor, levels: int) -> str:
    if pos.device.type != "cpu":
        return "needs CPU tensors"
    return "" if pos.dtype in (torch.float32, torch.float64) else "needs float32 or float64"


@median_split.kernel("numba", _numba_applies)
def _median_split_numba(pos: Tensor, ptr: Tensor, levels: int) -> MedianSplit:
    from meshops.ops.kernels.tree_numba import median_split_numba  # importing Numba takes a while

    return median_split_numba(pos, ptr, levels)


def locate(pos: Float[Tensor, "q d"], axis: Int[Tensor, " s"], value: Float[Tensor, " s"]) -> Int[Tensor, " q"]:
    """Leaf of one tree that each position falls into, by walking down the splits; ties go right."""
    node = torch.zeros(pos.shape[0], dtype=torch.long, device=pos.device)
    while bool((node < axis.numel()).any()) and axis.numel():
        right = pos.gather(1, axis[node].unsqueeze(1)).squeeze(1) >= value[node]
        node = 2 * node + 1 + right
    return node - axis.numel()


def _lexsort(pos: Tensor, perm: Tensor, segment: Tensor, axis: Tensor) -> Tensor:
    """Order by (segment, coordinate along its axis, next coordinates cyclically, index)."""
    d = pos.shape[1]
    order = torch.argsort(perm)
    for shift in reversed(range(d)):
        columns = (axis[segment] + shift) % d
        keys = pos[perm].gather(1, columns.unsqueeze(1)).squeeze(1)
        order = order[torch.sort(keys[order], stable=True).indices]
    order = order[torch.sort(segment[order], stable=True).indices]
    return perm[order]


def _split_values(pos: Tensor, perm: Tensor, axis: Tensor, middle: Tensor, sizes: Tensor) -> Tensor:
    last = max(perm.numel() - 1, 0)
    left = pos[perm[(middle - 1).clamp(0, last)], axis] if perm.numel() else pos.new_zeros(axis.shape)
    right = pos[perm[middle.clamp(0, last)], axis] if perm.numel() else pos.new_zeros(axis.shape)
    halfway = left + (right - left) / 2
    halfway = torch.where(halfway > left, halfway, right)  # neighbouring floats: the left point must stay left
    return torch.where(sizes == 0, 0.0, torch.where(sizes == 1, right, halfway))
