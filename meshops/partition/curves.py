"""Patches along a space-filling curve: equal runs of the points, in the order in which the curve meets them.

Curves: :mod:`meshops.ops.curves`. A run along the Hilbert curve is connected and compact; the Morton curve is cheaper
and jumps.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.errors import InputError
from meshops.ops.curves import MAX_DEPTH, curve_order, grid_positions, hilbert_encode, morton_encode
from meshops.partition.checks import checked_positions, graph_ptr, positions_of
from meshops.partition.partition import Partition
from meshops.partition.registry import register_partitioner

Curve = Literal["hilbert", "morton"]


class CurvePatches(BaseTransform):  # type: ignore[misc]
    """Cut a space-filling curve through the nodes of a graph, or of each graph of a batch, into equal runs.

    Unlike a tree it makes any number of patches. Same input, same patches; the order of the points does not matter
    unless points coincide exactly. Sizes differ by at most one. One of the first two arguments must be given.

    Args:
        patch_size: Largest number of nodes in a patch: ``ceil(n / patch_size)`` patches, at least one.
        num_patches: Number of patches per graph. Patches are empty when there are fewer nodes.
        curve: ``"hilbert"`` or ``"morton"``.
        multiple: With ``patch_size``, the number of patches is rounded up to a multiple of this.

    Example:
        >>> graph = CurvePatches(patch_size=4)(MeshGraph(pos=torch.rand(10, 3)))
        >>> Partition.of(graph).size.tolist()
        [3, 3, 4]
    """

    def __init__(
        self,
        patch_size: int | None = None,
        *,
        num_patches: int | None = None,
        curve: Curve = "hilbert",
        multiple: int = 1,
    ) -> None:
        if (patch_size is None) == (num_patches is None):
            raise InputError("CurvePatches needs either patch_size or num_patches, not both")
        for name, value in (("patch_size", patch_size), ("num_patches", num_patches), ("multiple", multiple)):
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if curve not in ("hilbert", "morton"):
            raise InputError(f"curve must be 'hilbert' or 'morton', got '{curve}'")
        self.patch_size = patch_size
        self.num_patches = num_patches
        self.curve = curve
        self.multiple = multiple

    def forward(self, data: Any) -> Any:
        """Store the patches on (a shallow copy of) the graph; read them with ``Partition.of``."""
        return self.partition(positions_of(data), graph_ptr(data)).store(data)

    @torch.no_grad()
    def partition(self, pos: Tensor, ptr: Tensor | None = None) -> Partition:
        """Partition of positions ``[n, d]``; graph i of a batch owns rows ``ptr[i]:ptr[i + 1]``.

        Raises:
            InputError: Positions are not finite, not ``[n, d]`` or have more than three coordinates.
        """
        pos, cpu_ptr = checked_positions(pos, ptr)
        bounds, batch = (part.to(pos.device) for part in self._runs(cpu_ptr))
        order = self.order(pos, cpu_ptr)
        run = torch.repeat_interleave(bounds.diff(), output_size=pos.shape[0])
        perm = torch.sort(run * pos.shape[0] + order).values - run * pos.shape[0]  # ascending within a patch
        return Partition.from_order(pos, perm, bounds, batch=batch)

    @torch.no_grad()
    def order(self, pos: Tensor, ptr: Tensor | None = None) -> Tensor:
        """``[n]`` nodes in the order in which the curve meets them, graph after graph.

        Nodes in the same cell of the finest grid are ordered by their coordinates, the first first, then by index.
        """
        pos, ptr = checked_positions(pos, ptr)
        ptr = ptr.to(pos.device)
        depth = MAX_DEPTH.get(pos.shape[1], 0)
        cells = grid_positions(pos, ptr, depth).cells
        code = hilbert_encode(cells, depth) if self.curve == "hilbert" else morton_encode(cells)
        return _untie(pos, code, curve_order(code, ptr), ptr)

    def _runs(self, ptr: Tensor) -> tuple[Tensor, Tensor]:
        """Boundaries ``[p + 1]`` and graph ``[p]`` of all runs."""
        size = ptr.diff()
        if self.num_patches is not None:
            count = torch.full_like(size, self.num_patches)
        else:
            assert self.patch_size is not None
            count = ((size + self.patch_size - 1) // self.patch_size).clamp(min=1)
            count = (count + self.multiple - 1) // self.multiple * self.multiple
        batch = torch.repeat_interleave(count)
        place = torch.arange(batch.numel()) - (count.cumsum(0) - count)[batch]
        return torch.cat([ptr[batch] + place * size[batch] // count[batch], ptr[-1:]]), batch

    def __repr__(self) -> str:
        given = f"patch_size={self.patch_size}" if self.patch_size is not None else f"num_patches={self.num_patches}"
        multiple = "" if self.multiple == 1 else f", multiple={self.multiple}"
        return f"CurvePatches({given}, curve='{self.curve}'{multiple})"


@register_partitioner("hilbert")
def hilbert(patch_size: int | None = None, *, num_patches: int | None = None, multiple: int = 1) -> CurvePatches:
    """Equal runs along the Hilbert curve; arguments as for :class:`CurvePatches`."""
    return CurvePatches(patch_size, num_patches=num_patches, curve="hilbert", multiple=multiple)


@register_partitioner("morton")
def morton(patch_size: int | None = None, *, num_patches: int | None = None, multiple: int = 1) -> CurvePatches:
    """Equal runs along the Morton curve; arguments as for :class:`CurvePatches`."""
    return CurvePatches(patch_size, num_patches=num_patches, curve="morton", multiple=multiple)


def _untie(pos: Tensor, code: Tensor, order: Tensor, ptr: Tensor) -> Tensor:
    """Sort nodes of the same graph with the same code by their coordinates; their indices ascend already."""
    ordered = code[order]
    new = torch.ones_like(order, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    new[ptr[:-1][ptr.diff() > 0]] = True
    tied = ~new
    tied[:-1] |= ~new[1:]
    place = tied.nonzero()[:, 0]
    if place.numel() == 0:
        return order
    group, nodes = new.cumsum(0)[place], order[place]
    keys = [*pos.unbind(1)[::-1]]
    sub = torch.arange(place.numel(), device=pos.device)
    for key in keys:
        sub = sub[torch.sort(key[nodes[sub]], stable=True).indices]
    sub = sub[torch.sort(group[sub], stable=True).indices]
    return order.index_copy(0, place, nodes[sub])
