"""Median-split trees: halve a point set, along its widest axis or along each axis in turn, again and again.

At each level every segment is split at its median, by count. Points are ordered by (coordinate, next coordinates in
cyclic order, index), so that the result does not depend on the order of the input unless points coincide exactly.
Along the widest axis (first axis wins ties) this is what "ball tree" means in MSPT and Erwin (2512.01738 sec. 3.2;
balltree-erwin 0.1.0), a k-d tree with balanced leaves; ``cyclic=True`` is the classical k-d tree (Bentley 1975).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.checks import check_positions, check_ptr
from meshops.ops.dispatch import front, operation
from meshops.ops.kernels.available import needs_numba
from meshops.ops.segment import segment_max, segment_min
from meshops.typing import Float, Int


class MedianSplit(NamedTuple):
    """Result of :func:`median_split`; graph i has ``2**levels[i]`` leaves and one inner node less.

    Attributes:
        perm: ``[n]`` order of the points; those of leaf i are ``perm[ptr[i]:ptr[i + 1]]``, ascending.
        ptr: ``[num_leaves + 1]`` leaf boundaries; leaves are in depth-first order, graph after graph.
        axis: ``[num_inner]`` coordinate along which each inner node is split, heap order, graph after graph.
        value: ``[num_inner]`` where: halfway between the two middle points, rounded towards the right one.
        levels: Number of halvings of each graph.
    """

    perm: Tensor
    ptr: Tensor
    axis: Tensor
    value: Tensor
    levels: tuple[int, ...]

    def planes(self, graph: int = 0) -> tuple[Tensor, Tensor]:
        """Axis and value of the inner nodes of one graph, for :func:`locate`."""
        start = sum(2**level - 1 for level in self.levels[:graph])
        inner = slice(start, start + 2 ** self.levels[graph] - 1)
        return self.axis[inner], self.value[inner]


def _check_split(pos: Tensor, ptr: Tensor, levels: Sequence[int], cyclic: bool) -> None:
    check_positions(pos, "position")
    check_ptr(ptr, pos.shape[0], "ptr")
    if len(levels) != ptr.numel() - 1:
        raise InputError(f"levels must have one entry per graph ({ptr.numel() - 1}), got {len(levels)}")
    for graph, level in enumerate(levels):
        if not 0 <= level <= 31:
            raise InputError(f"levels[{graph}] is {level}; a tree has 0 to 31 levels")


def _fake_split(pos: Tensor, ptr: Tensor, levels: Sequence[int], cyclic: bool) -> tuple[Tensor, ...]:
    leaves = sum(2**level for level in levels)
    long = ptr.new_empty
    return long(pos.shape[0]), long(leaves + 1), long(leaves - len(levels)), pos.new_empty(leaves - len(levels))


@operation(
    schema="(Tensor pos, Tensor ptr, int[] levels, bool cyclic) -> (Tensor, Tensor, Tensor, Tensor)",
    fake=_fake_split,
    check=_check_split,
)
def _median_split(
    pos: Tensor, ptr: Tensor, levels: Sequence[int], cyclic: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All segments of a level at once: one sort a level. Runs on any device."""
    device, n = pos.device, pos.shape[0]
    rank = _ranks(pos)
    left = torch.tensor(levels, device=device)
    graph = torch.arange(len(levels), device=device)
    inner = 2**left - 1
    inner_start = inner.cumsum(0) - inner
    axes = torch.zeros(int(sum(2**level - 1 for level in levels)), dtype=torch.long, device=device)
    values = pos.new_zeros(axes.shape)
    perm, bounds = torch.arange(n, device=device), ptr.to(device)
    for depth in range(max(levels, default=0)):
        sizes = bounds.diff()
        segment = torch.repeat_interleave(sizes, output_size=n)
        axis = torch.full_like(sizes, depth % pos.shape[1]) if cyclic else _widest(pos, perm, bounds)
        perm = perm[torch.argsort(segment * n + rank[perm, axis[segment]])]
        middle = bounds[:-1] + sizes // 2
        split = left > 0
        first = torch.searchsorted(graph, graph)
        node = (inner_start[graph] + 2**depth - 1 + torch.arange(graph.numel(), device=device) - first)[split]
        axes[node] = axis[split]
        values[node] = _split_values(pos, perm, axis[split], middle[split], sizes[split])
        children = 1 + split.long()
        starts = bounds[:-1].repeat_interleave(children)
        starts[(children.cumsum(0) - 1)[split]] = middle[split]
        bounds = torch.cat([starts, bounds[-1:]])
        left, graph = (left - 1).clamp(min=0).repeat_interleave(children), graph.repeat_interleave(children)
    leaf = torch.repeat_interleave(bounds.diff(), output_size=n)
    return perm[torch.argsort(leaf * n + perm)], bounds, axes, values


@front(_median_split)
def median_split(
    pos: Float[Tensor, "n d"], ptr: Int[Tensor, " b1"], levels: int | Sequence[int], *, cyclic: bool = False
) -> MedianSplit:
    """Split each graph of a batch into ``2**levels`` leaves whose sizes differ by at most one.

    Args:
        pos: Positions, finite.
        ptr: Graph i owns rows ``ptr[i]:ptr[i + 1]``.
        levels: Number of halvings, of all graphs or of each. Leaves are empty when a graph has fewer points than
            leaves.
        cyclic: Split along the axes in turn instead of along the widest.

    Raises:
        InputError: Positions are not finite, pointers fall, or ``levels`` is out of range.
    """
    each = (levels,) * (ptr.numel() - 1) if isinstance(levels, int) else tuple(levels)
    return MedianSplit(*_median_split(pos.detach(), ptr, list(each), cyclic), each)


def locate(pos: Float[Tensor, "q d"], axis: Int[Tensor, " s"], value: Float[Tensor, " s"]) -> Int[Tensor, " q"]:
    """Leaf of one tree that each position falls into, by walking down the splits; ties go right.

    Args:
        pos: Positions.
        axis: Split axes of one tree, see :meth:`MedianSplit.planes`.
        value: Split values.
    """
    node = torch.zeros(pos.shape[0], dtype=torch.long, device=pos.device)
    for _ in range((axis.numel() + 1).bit_length() - 1):
        right = pos.gather(1, axis[node].unsqueeze(1)).squeeze(1) >= value[node]
        node = 2 * node + 1 + right
    return node - axis.numel()


def node_boxes(pos: Float[Tensor, "n d"], split: MedianSplit) -> tuple[Tensor, Tensor]:
    """Bounding boxes of all nodes: of leaf i the last rows ``[num_inner + num_leaves, d]`` in heap order per graph.

    Returns:
        ``low`` and ``high`` ``[2 * num_leaves - b, d]``, graph after graph, each in heap order (root, its two
        children, ...). An empty node has ``low`` = inf and ``high`` = -inf.
    """
    low, high = (reduce(pos, split.ptr, split.perm) for reduce in (segment_min, segment_max))
    empty = (split.ptr.diff() == 0).unsqueeze(1)
    low, high = low.masked_fill(empty, torch.inf), high.masked_fill(empty, -torch.inf)
    lows: list[Tensor] = []
    highs: list[Tensor] = []
    leaves = [2**level for level in split.levels]
    for low_leaves, high_leaves in zip(low.split(leaves), high.split(leaves), strict=True):
        for leaf, reduce, out in ((low_leaves, torch.amin, lows), (high_leaves, torch.amax, highs)):
            rows = [leaf]
            while rows[-1].shape[0] > 1:
                rows.append(reduce(rows[-1].unflatten(0, (-1, 2)), 1))
            out.extend(reversed(rows))
    empty_boxes = pos.new_zeros(0, pos.shape[1])
    return torch.cat([empty_boxes, *lows]), torch.cat([empty_boxes, *highs])


def _numba_applies(pos: Tensor, *_: object) -> str:
    return needs_numba(pos, (torch.float32, torch.float64))


@_median_split.kernel("numba", _numba_applies)
def _median_split_numba(
    pos: Tensor, ptr: Tensor, levels: Sequence[int], cyclic: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from meshops.ops.kernels.tree_numba import median_split_numba  # importing Numba takes a while

    return median_split_numba(pos, ptr, levels, cyclic)


def _ranks(pos: Tensor) -> Tensor:
    """``[n, d]`` place of each point in the order by (coordinate a, next coordinates cyclically, index)."""
    n, d = pos.shape
    rank = torch.empty(n, d, dtype=torch.long, device=pos.device)
    place = torch.arange(n, device=pos.device)
    for axis in range(d):
        order = place
        for shift in reversed(range(d)):
            order = order[torch.sort(pos[order, (axis + shift) % d], stable=True).indices]
        rank[order, axis] = place
    return rank


def _widest(pos: Tensor, perm: Tensor, bounds: Tensor) -> Tensor:
    return (segment_max(pos, bounds, perm) - segment_min(pos, bounds, perm)).argmax(1)


def _split_values(pos: Tensor, perm: Tensor, axis: Tensor, middle: Tensor, sizes: Tensor) -> Tensor:
    if perm.numel() == 0:
        return pos.new_zeros(axis.shape)
    last = perm.numel() - 1
    left, right = (pos[perm[place.clamp(0, last)], axis] for place in (middle - 1, middle))
    halfway = left + (right - left) / 2
    halfway = torch.where(halfway > left, halfway, right)  # neighbouring floats: the left point must stay left
    return torch.where(sizes == 0, 0.0, torch.where(sizes == 1, right, halfway))
