"""Patches of a batch as one rectangular array: what attention over patches works on."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.partition.partition import Partition
from meshops.typing import Bool, Float, Int


class Partitioner(Protocol):
    """What cuts the nodes of each graph of a batch into patches by their positions."""

    def partition(self, pos: Tensor, ptr: Tensor | None = None) -> Partition:
        """Graph i owns the nodes ``ptr[i]:ptr[i + 1]``."""


class DensePatches(NamedTuple):
    """``index [b, p, l]`` node in each slot; ``mask [b, p, l]`` True where a slot holds a node, None when all do."""

    index: Int[Tensor, "b p l"]  # type: ignore[assignment]  # shadows tuple.index
    mask: Bool[Tensor, "b p l"] | None


def dense_patches(
    pos: Float[Tensor, "n d"],
    ptr: Int[Tensor, " b1"] | None = None,
    *,
    partitioner: Partitioner | None = None,
    group: int = 1,
    num_patches: int | None = None,
    patch_size: int | None = None,
) -> DensePatches:
    """Group the nodes of each graph of a batch into patches and lay them out as one array.

    Args:
        pos: Node positions.
        ptr: Graph i owns nodes ``ptr[i]:ptr[i + 1]``; None: one graph.
        partitioner: Such as a tree or a curve; None: runs of consecutive nodes, ``num_patches`` or ``patch_size``
            of them.
        group: Join this many patches that follow each other to one; each keeps its own slots, so that slot ranges
            ``i * l / group : (i + 1) * l / group`` are compact sub-blocks. Without a partitioner: sub-runs of a run.
        num_patches: Without a partitioner: patches of ``ceil(n / num_patches)`` nodes, the last ones shorter.
        patch_size: Without a partitioner: nodes of a patch.

    Raises:
        InputError: Both or none of the last two arguments, or patches that cannot be joined in groups.
    """
    if ptr is None:
        ptr = torch.tensor([0, pos.shape[0]])
    num_graphs = ptr.numel() - 1
    if partitioner is None:
        partition = _runs(pos, ptr.cpu(), num_patches, patch_size, group)
    else:
        partition = partitioner.partition(pos, ptr)
    index, mask = partition.pad()
    counts = torch.bincount(partition.batch, minlength=num_graphs)
    if bool((counts % group).any()):
        bad = int((counts % group).nonzero()[0])
        raise InputError(
            f"graph {bad} has {int(counts[bad])} patches, which cannot be joined in groups of {group}; "
            "use smaller patches or fewer supernodes"
        )
    if bool((counts == counts[0]).all()):
        index, mask = index.unflatten(0, (num_graphs, -1)), mask.unflatten(0, (num_graphs, -1))
    else:
        index, mask = _stack_ragged(index, mask, counts)
    index, mask = (array.unflatten(1, (-1, group)).flatten(2) for array in (index, mask))
    return DensePatches(index, None if bool(mask.all()) else mask)


def assign(leaf: Int[Tensor, " q"], num_patches: int) -> DensePatches:
    """Slots for queries whose patch is known: ``index [1, p, k]`` and ``mask``, k = fullest patch."""
    order = torch.argsort(leaf, stable=True)
    size = torch.bincount(leaf, minlength=num_patches)
    ptr = torch.cat([size.new_zeros(1), size.cumsum(0)])
    column = torch.arange(int(size.max()), device=leaf.device)
    mask = column < size.unsqueeze(1)
    slot = ptr[:-1].unsqueeze(1) + torch.where(mask, column, 0)
    return DensePatches(order[slot.clamp(max=leaf.numel() - 1)].unsqueeze(0), mask.unsqueeze(0))


def _runs(pos: Tensor, ptr: Tensor, num_patches: int | None, patch_size: int | None, group: int) -> Partition:
    """Consecutive nodes, ``group`` sub-runs to a patch."""
    if (num_patches is None) == (patch_size is None):
        raise InputError("runs of nodes need either num_patches or patch_size, not both")
    bounds, graphs = [0], []
    for graph, (start, end) in enumerate(zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)):
        size = patch_size if num_patches is None else -(-(end - start) // num_patches)
        assert size is not None
        count = num_patches if num_patches is not None else max(1, -(-(end - start) // size))
        steps = [min((i + 1) * -(-size // group), size) for i in range(group)]
        bounds += [min(start + i * size + step, end) for i in range(count) for step in steps]
        graphs += [graph] * (count * group)
    perm = torch.arange(pos.shape[0], device=pos.device)
    patch_ptr, batch = (torch.tensor(values, device=pos.device) for values in (bounds, graphs))
    return Partition.from_order(pos, perm, patch_ptr, batch=batch)


def _stack_ragged(index: Tensor, mask: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Graphs with fewer patches get empty ones at the end."""
    parts = list(zip(index.split(counts.tolist()), mask.split(counts.tolist()), strict=True))
    most = int(counts.max())
    pad = torch.nn.functional.pad
    return (
        torch.stack([pad(i, (0, 0, 0, most - i.shape[0])) for i, _ in parts]),
        torch.stack([pad(m, (0, 0, 0, most - m.shape[0])) for _, m in parts]),
    )
