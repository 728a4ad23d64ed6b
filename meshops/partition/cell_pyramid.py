"""All cells of the octrees of a batch that hold nodes, depth by depth: the pyramid over a mesh.

Nodes are sorted by their Morton codes, so a cell is a range of them; cells that hold no node do not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from meshops.ops.curves import MAX_DEPTH, curve_order, grid_positions, morton_encode, shared_with_previous
from meshops.ops.segment import segment_sum
from meshops.partition.checks import checked_positions


@dataclass(frozen=True, eq=False)
class CellLevel:
    """Cells of one depth, graph after graph, in Morton order.

    Attributes:
        ptr: ``[m + 1]`` nodes of cell i are ``order[ptr[i]:ptr[i + 1]]`` of the pyramid.
        children: ``[m]`` number of cells of the next depth inside each.
        parent: ``[m]`` cell of the depth before; at depth 0 the cells themselves.
        batch: ``[m]`` graph of each.
    """

    ptr: Tensor
    children: Tensor
    parent: Tensor
    batch: Tensor

    @property
    def count(self) -> Tensor:
        """``[m]`` number of nodes of each cell."""
        return self.ptr.diff()


@dataclass(frozen=True, eq=False)
class CellPyramid:
    """Cells down to the depth where all hold few nodes, see :meth:`of`.

    Attributes:
        order: ``[n]`` nodes sorted graph after graph along the Morton curve.
        levels: From the cubes of the graphs downwards.
    """

    order: Tensor
    levels: tuple[CellLevel, ...]

    @classmethod
    @torch.no_grad()
    def of(cls, pos: Tensor, ptr: Tensor | None = None, *, smallest: int = 1) -> CellPyramid:
        """Pyramid over positions ``[n, d]``; graph i of a batch owns rows ``ptr[i]:ptr[i + 1]``.

        Args:
            pos: Node positions, m.
            ptr: Bounds of the graphs; None: one graph.
            smallest: Depths end where no cell holds more nodes than this, or codes can resolve no further.
        """
        pos, ptr = checked_positions(pos, ptr)
        ptr, n, dim = ptr.to(pos.device), pos.shape[0], pos.shape[1]
        code = morton_encode(grid_positions(pos, ptr, MAX_DEPTH[dim]).cells)
        order = curve_order(code, ptr)
        graph = torch.repeat_interleave(ptr.diff(), output_size=n)
        shared = shared_with_previous(code[order], graph, dim, MAX_DEPTH[dim])
        starts = [(shared < 0).nonzero()[:, 0]]
        for depth in range(1, MAX_DEPTH[dim] + 1):
            if int(torch.diff(starts[-1], append=starts[-1].new_full((1,), n)).max()) <= smallest:
                break
            starts.append((shared < depth).nonzero()[:, 0])
        levels = []
        for depth, first in enumerate(starts):
            below = starts[depth + 1] if depth + 1 < len(starts) else first
            bounds = torch.cat([first, first.new_full((1,), n)])
            children = torch.searchsorted(below, bounds).diff()
            above = starts[max(depth - 1, 0)]
            parent = torch.searchsorted(above, first, right=True) - 1
            levels.append(CellLevel(bounds, children, parent, graph[first]))
        return cls(order, tuple(levels))

    def sums(self, values: Tensor) -> list[Tensor]:
        """Sums of node values ``[n, ...]`` over the cells of each depth.

        Each depth is summed from the one below, so that of values that are not negative no cell has less than one of
        its parts.
        """
        out = [segment_sum(values[self.order], self.levels[-1].ptr)]
        for level in reversed(self.levels[:-1]):
            out.append(segment_sum(out[-1], torch.nn.functional.pad(level.children.cumsum(0), (1, 0))))
        return out[::-1]

    def walk(self, refine: Callable[[int, Tensor], Tensor]) -> list[Tensor]:
        """``[m]`` masks of the cells reached at each depth: all at the first, then the children of refined ones.

        Args:
            refine: Called with a depth and the mask of the cells reached; returns which of its cells are refined.
        """
        reached = [torch.ones_like(self.levels[0].batch, dtype=torch.bool)]
        for depth in range(len(self.levels) - 1):
            refined = refine(depth, reached[-1]) & reached[-1]
            reached.append(refined[self.levels[depth + 1].parent])
        return reached
