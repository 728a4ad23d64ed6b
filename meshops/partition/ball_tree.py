"""Ball tree: balanced patches by repeated median splits along the widest axis (MSPT, 2512.01738, sec. 3.2).

Departure: no fake points. The reference code pads the mesh with zero vectors before the tree, which sorts points at
the origin among the real ones; here the leaves differ by at most one point and are padded, masked, afterwards.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.errors import InputError
from meshops.ops.tree import median_split
from meshops.partition.partition import Hierarchy, Partition


class BallTree(BaseTransform):  # type: ignore[misc]
    """Group the nodes of a graph, or of each graph of a batch, into equal-size patches.

    The number of patches of a graph is a power of two. Same input, same patches; the order of the points does not
    matter unless points coincide exactly. Sizes differ by at most one. One of the two arguments must be given.

    Args:
        patch_size: Largest number of nodes in a patch: ``2**ceil(log2(n / patch_size))`` patches.
        num_patches: Number of patches per graph, a power of two. Patches are empty when there are fewer nodes.

    Example:
        >>> graph = BallTree(patch_size=4)(MeshGraph(pos=torch.rand(10, 3)))
        >>> Partition.of(graph).size.tolist()
        [2, 3, 2, 3]
    """

    def __init__(self, patch_size: int | None = None, *, num_patches: int | None = None) -> None:
        if (patch_size is None) == (num_patches is None):
            raise InputError("BallTree needs either patch_size or num_patches, not both")
        if patch_size is not None and patch_size < 1:
            raise InputError(f"patch_size must be at least 1, got {patch_size}")
        if num_patches is not None and (num_patches < 1 or num_patches & (num_patches - 1)):
            low = 1 << max(num_patches.bit_length() - 1, 0)
            raise InputError(f"num_patches must be a power of two, got {num_patches}; try {low} or {2 * low}")
        self.patch_size = patch_size
        self.num_patches = num_patches

    def forward(self, data: Any) -> Any:
        """Store the patches on (a shallow copy of) the graph; read them with ``Partition.of``."""
        return self.partition(data.pos, _graph_ptr(data)).store(data)

    @torch.no_grad()
    def partition(self, pos: Tensor, ptr: Tensor | None = None) -> Partition:
        """Partition of positions ``[n, d]``; graph i of a batch owns rows ``ptr[i]:ptr[i + 1]``.

        Raises:
            InputError: Positions are not finite or not ``[n, d]``.
        """
        pos, ptr = _checked(pos, ptr)
        levels = [self.levels(size) for size in (ptr[1:] - ptr[:-1]).tolist()]
        if len(set(levels)) == 1:
            split = median_split(pos, ptr, levels[0])
            perm, bounds = split.perm, split.ptr
        else:
            perm, bounds = _graph_by_graph(pos, ptr, levels)
        count = torch.tensor([2**level for level in levels], device=pos.device)
        batch = torch.repeat_interleave(torch.arange(count.numel(), device=pos.device), count)
        level = torch.tensor(levels, device=pos.device)[batch]
        return Partition.from_order(pos, perm.to(pos.device), bounds.to(pos.device), level=level, batch=batch)

    def hierarchy(self, pos: Tensor, ptr: Tensor | None = None) -> Hierarchy:
        """All levels of the tree, from these patches up to one patch per graph."""
        finest = self.partition(pos, ptr)
        partitions, parents = [finest], []
        while int(partitions[-1].level.max()) > 0:
            coarse, parent = _merge_pairs(pos, partitions[-1])
            partitions.append(coarse)
            parents.append(parent)
        return Hierarchy(tuple(partitions), tuple(parents))

    def levels(self, num_nodes: int) -> int:
        """Number of halvings for a graph of ``num_nodes`` nodes."""
        if self.num_patches is not None:
            return self.num_patches.bit_length() - 1
        assert self.patch_size is not None
        return (max(1, -(-num_nodes // self.patch_size)) - 1).bit_length()

    def __repr__(self) -> str:
        given = f"patch_size={self.patch_size}" if self.patch_size is not None else f"num_patches={self.num_patches}"
        return f"BallTree({given})"


def _checked(pos: Tensor, ptr: Tensor | None) -> tuple[Tensor, Tensor]:
    if pos.dim() != 2 or not pos.is_floating_point():
        raise InputError(f"positions must be a float tensor [n, d], got {tuple(pos.shape)} of {pos.dtype}")
    finite = torch.isfinite(pos).all(1)
    if not bool(finite.all()):
        bad = int((~finite).nonzero()[0])
        raise InputError(f"position {bad} is {pos[bad].tolist()}; positions must be finite, remove or repair the point")
    if ptr is None:
        ptr = torch.tensor([0, pos.shape[0]])
    return pos, ptr.cpu()


def _graph_by_graph(pos: Tensor, ptr: Tensor, levels: list[int]) -> tuple[Tensor, Tensor]:
    perms, bounds = [], [torch.zeros(1, dtype=torch.long)]
    for graph, level in enumerate(levels):
        start, end = int(ptr[graph]), int(ptr[graph + 1])
        split = median_split(pos[start:end], torch.tensor([0, end - start]), level)
        perms.append(split.perm + start)
        bounds.append(split.ptr[1:].cpu() + start)
    return torch.cat(perms), torch.cat(bounds)


def _merge_pairs(pos: Tensor, fine: Partition) -> tuple[Partition, Tensor]:
    """Next coarser level and parents: sibling patches joined; a graph that is one patch already stays as it is."""
    single = fine.level == 0
    position = torch.arange(fine.num_patches, device=pos.device)
    start = torch.searchsorted(fine.batch, fine.batch)
    first = ((position - start) % 2 == 0) | single
    ptr = torch.cat([fine.ptr[:-1][first], fine.ptr[-1:]])
    level = (fine.level[first] - 1).clamp(min=0)
    coarse = Partition.from_order(pos, fine.perm, ptr, level=level, batch=fine.batch[first])
    return coarse, first.cumsum(0) - 1


def _graph_ptr(data: Any) -> Tensor | None:
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
