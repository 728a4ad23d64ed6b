"""Ball tree: balanced patches by repeated median splits along the widest axis (MSPT, 2512.01738, sec. 3.2).

Departure: no fake points. The reference code pads the mesh with zero vectors before the tree, which sorts points at
the origin among the real ones; here the leaves differ by at most one point and are padded, masked, afterwards.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.errors import InputError
from meshops.ops.tree import median_split
from meshops.partition.checks import checked_positions, graph_ptr, positions_of
from meshops.partition.partition import Hierarchy, Partition
from meshops.partition.registry import register_partitioner


@register_partitioner("ball_tree")
class BallTree(BaseTransform):  # type: ignore[misc]
    """Group the nodes of a graph, or of each graph of a batch, into equal-size patches.

    The number of patches of a graph is a power of two. Same input, same patches; the order of the points does not
    matter unless points coincide exactly. Sizes differ by at most one. One of the two arguments must be given.

    Args:
        patch_size: Largest number of nodes in a patch: ``2**ceil(log2(n / patch_size))`` patches.
        num_patches: Number of patches per graph, a power of two. Patches are empty when there are fewer nodes.
        axes: Split along the ``widest`` axis, or along the axes in turn (``cyclic``), as the classical k-d tree does.
        angle: Turn the positions by this angle, degrees, about each axis before they are split. A second tree at 45
            degrees cuts the nodes otherwise, so that layers that alternate let neighbouring patches exchange
            (Erwin, 2502.17019; ``build_balltree_with_rotations`` of balltree-erwin). Centers stay where they are.
        multiple: With ``patch_size``, graphs have at least so many patches, a power of two.

    Example:
        >>> graph = BallTree(patch_size=4)(MeshGraph(pos=torch.rand(10, 3)))
        >>> Partition.of(graph).size.tolist()
        [2, 3, 2, 3]
    """

    def __init__(
        self,
        patch_size: int | None = None,
        *,
        num_patches: int | None = None,
        axes: Literal["widest", "cyclic"] = "widest",
        angle: float = 0.0,
        multiple: int = 1,
    ) -> None:
        if (patch_size is None) == (num_patches is None):
            raise InputError("BallTree needs either patch_size or num_patches, not both")
        if multiple < 1 or multiple & (multiple - 1):
            raise InputError(f"multiple must be a power of two, got {multiple}")
        if patch_size is not None and patch_size < 1:
            raise InputError(f"patch_size must be at least 1, got {patch_size}")
        if num_patches is not None and (num_patches < 1 or num_patches & (num_patches - 1)):
            low = 1 << max(num_patches.bit_length() - 1, 0)
            raise InputError(f"num_patches must be a power of two, got {num_patches}; try {low} or {2 * low}")
        if axes not in ("widest", "cyclic"):
            raise InputError(f"axes must be 'widest' or 'cyclic', got '{axes}'")
        if not math.isfinite(angle):
            raise InputError(f"angle must be finite, degrees, got {angle}")
        self.patch_size = patch_size
        self.num_patches = num_patches
        self.axes = axes
        self.angle = angle
        self.multiple = multiple

    def forward(self, data: Any) -> Any:
        """Store the patches on (a shallow copy of) the graph; read them with ``Partition.of``."""
        return self.partition(positions_of(data), graph_ptr(data)).store(data)

    @torch.no_grad()
    def partition(self, pos: Tensor, ptr: Tensor | None = None) -> Partition:
        """Partition of positions ``[n, d]``; graph i of a batch owns rows ``ptr[i]:ptr[i + 1]``.

        Raises:
            InputError: Positions are not finite or not ``[n, d]``.
        """
        pos, ptr = checked_positions(pos, ptr)
        levels = [self.levels(size) for size in (ptr[1:] - ptr[:-1]).tolist()]
        split = median_split(turned(pos, self.angle), ptr, levels, cyclic=self.axes == "cyclic")
        count = torch.tensor([2**level for level in levels], device=pos.device)
        batch = torch.repeat_interleave(torch.arange(count.numel(), device=pos.device), count)
        level = torch.tensor(levels, device=pos.device)[batch]
        return Partition.from_order(pos, split.perm, split.ptr, level=level, batch=batch)

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
        return (max(self.multiple, -(-num_nodes // self.patch_size)) - 1).bit_length()

    def __repr__(self) -> str:
        given = f"patch_size={self.patch_size}" if self.patch_size is not None else f"num_patches={self.num_patches}"
        axes = "" if self.axes == "widest" else f", axes='{self.axes}'"
        multiple = "" if self.multiple == 1 else f", multiple={self.multiple}"
        return f"BallTree({given}{axes}{f', angle={self.angle:g}' if self.angle else ''}{multiple})"


@register_partitioner("kd_tree")
def kd_tree(patch_size: int | None = None, *, num_patches: int | None = None, multiple: int = 1) -> BallTree:
    """Halves along the axes in turn, the classical k-d tree; arguments as for :class:`BallTree`."""
    return BallTree(patch_size, num_patches=num_patches, axes="cyclic", multiple=multiple)


def turned(pos: Tensor, angle: float) -> Tensor:
    """Positions ``[n, d]`` turned by the same angle, degrees, about x, then y, then z (2-D: in the plane)."""
    if angle == 0:
        return pos
    d = pos.shape[1]
    if d not in (2, 3):
        raise InputError(f"positions can be turned in 2 or 3 dimensions, got {d}")
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    if d == 2:
        columns = [[c, s], [-s, c]]
    else:
        columns = [
            [c * c, s * c, -s],
            [s * c * (s - 1), s**3 + c * c, s * c],
            [s * (s + c * c), s * c * (s - 1), c * c],
        ]
    x = pos.double()
    # Sums written out, so that the processor and the device round alike.
    return torch.stack([sum(x[:, a] * column[a] for a in range(d)) for column in columns], 1).to(pos.dtype)  # type: ignore[misc]


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
