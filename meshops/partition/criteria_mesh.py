"""The regions of AMR-Transformer on meshes: cells of the octree instead of squares of a grid.

Sides are counted in node spacings: a region of side R has at most R^D nodes. Criteria are means over the nodes of a
region weighted by their volume; derivatives are least squares over edges. Otherwise as in
:mod:`meshops.partition.criteria`, ``criteria="paper"``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.scores import graph_gradient
from meshops.partition.budget import mesh_edges, node_volume
from meshops.partition.cell_pyramid import CellPyramid
from meshops.partition.checks import graph_ptr
from meshops.partition.cover import Cover
from meshops.partition.thresholds import Strain, Thresholds


@torch.no_grad()
def mesh_cover(
    data: Any,
    values: Tensor,
    *,
    velocity: Sequence[int],
    max_size: int,
    min_cell: int,
    thresholds: Thresholds,
    top: float,
    strain: Strain,
    parts: bool,
) -> Cover:
    """Regions of the graphs of a batch, or all their parts, as a cover; order as for grids.

    Args:
        data: Graph or batch of graphs.
        values: ``[n, c]`` channels, the velocity among them.
        velocity: Channels of the velocity.
        max_size: Side of the coarsest regions, node spacings.
        min_cell: Side of the smallest parts.
        thresholds: One number each.
        top: Share of each depth that is refined anyway.
        strain: What the fourth criterion looks at.
        parts: One group per child cell instead of one per region.

    Raises:
        InputError: A wrong number of velocity channels.
    """
    dim = data.pos.shape[1]
    if len(velocity) != dim:
        raise InputError(f"{dim}-D meshes need {dim} velocity channels, got velocity={tuple(velocity)}")
    pyramid = CellPyramid.of(data.pos, graph_ptr(data), smallest=min_cell**dim)
    limits = (max_size**dim, (2 * min_cell) ** dim)
    tests = _Tests(data, values[:, list(velocity)].float(), pyramid, thresholds, top, strain, limits)
    reached = pyramid.walk(tests.refined)
    index, size, level, batch = [], [], [], []
    for depth, cells in enumerate(reached):
        kept = (cells & (pyramid.levels[depth].count <= max_size**dim)).nonzero()[:, 0]
        token, below, cell = torch.arange(len(kept), device=kept.device), depth, kept
        if parts:
            below, (token, cell) = tests.children(depth, kept)
        bounds = pyramid.levels[below].ptr
        count = bounds.diff()[cell]
        index.append(pyramid.order[_ranges(bounds[:-1][cell], count)])
        size.append(count)
        level.append(torch.full_like(cell, depth))
        batch.append(pyramid.levels[depth].batch[kept][token])
    return _sorted_by_graph(data.pos, index, size, level, batch)


def _sorted_by_graph(
    pos: Tensor, index: list[Tensor], size: list[Tensor], level: list[Tensor], batch: list[Tensor]
) -> Cover:
    graph, sizes = torch.cat(batch), torch.cat(size)
    order = torch.sort(graph, stable=True).indices
    ptr = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
    nodes = torch.cat(index)[_ranges(ptr[:-1][order], sizes[order])]
    bounds = torch.nn.functional.pad(sizes[order].cumsum(0), (1, 0))
    return Cover.from_index(pos, nodes, bounds, level=torch.cat(level)[order], batch=graph[order])


def _ranges(start: Tensor, count: Tensor) -> Tensor:
    """``start[0], start[0] + 1, ... (count[0] numbers), start[1], ...``."""
    shift = torch.repeat_interleave(start - (count.cumsum(0) - count), count)
    return shift + torch.arange(len(shift), device=start.device)


class _Tests:
    """Which cells are refined: asked depth by depth."""

    def __init__(
        self, data: Any, velocity: Tensor, pyramid: CellPyramid, limits: Thresholds, top: float, strain: Strain,
        sizes: tuple[int, int],
    ) -> None:  # fmt: skip
        dim = data.pos.shape[1]
        edges = mesh_edges(data)
        slope = graph_gradient(velocity, data.pos, edges)  # [n, component, axis]
        pairs = [(0, 1)] if dim == 2 else [(1, 2), (2, 0), (0, 1)]
        turn = torch.stack([slope[:, j, i] - slope[:, i, j] for i, j in pairs], 1)
        stretch = torch.stack([slope[:, j, i] + slope[:, i, j] for i, j in pairs], 1)
        shear = (turn if strain == "abs_vorticity" else stretch).norm(dim=1)
        gradient = slope.flatten(1).norm(dim=1)
        volume = node_volume(data, edges).double().unsqueeze(1)
        cells = torch.cat([gradient.unsqueeze(1), turn, velocity, shear.unsqueeze(1)], 1).double()
        whole = torch.stack([gradient, turn.norm(dim=1), velocity.norm(dim=1), shear], 1).double()
        sums = pyramid.sums(torch.cat([cells, torch.ones_like(volume)], 1) * volume)
        self.means = [(part[:, :-1] / part[:, -1:].clamp(min=1e-300)).float() for part in sums]
        domain = pyramid.sums(torch.cat([whole, torch.ones_like(volume)], 1) * volume)[0]
        self.domain = (domain[:, :-1] / domain[:, -1:].clamp(min=1e-300)).float()
        self.turns = turn.shape[1]
        self.pyramid, self.limits, self.share = pyramid, limits, top
        self.largest, self.smallest = sizes

    def refined(self, depth: int, reached: Tensor) -> Tensor:
        """Cells of a depth that are refined."""
        level = self.pyramid.levels[depth]
        above = self.pyramid.levels[max(depth - 1, 0)].count[level.parent]
        first = (above > self.largest) if depth else torch.ones_like(reached)
        whole = (level.count > self.largest) | first
        gradient, rest = self.means[depth][:, 0], self.means[depth][:, 1:]
        values = (
            gradient,
            rest[:, : self.turns].norm(dim=1),
            rest[:, self.turns : -1].norm(dim=1),
            rest[:, -1],
        )
        factors = (self.limits.gradient, self.limits.vorticity, self.limits.momentum, self.limits.shear)
        met = torch.zeros_like(reached)
        for number, (value, factor) in enumerate(zip(values, factors, strict=True)):
            bound = (self.domain[:, number] * torch.as_tensor(factor)).nan_to_num(nan=math.inf)
            met |= value > bound[level.batch]
        tested = reached & ~whole
        met |= self._largest(gradient, tested, level.batch)
        out: Tensor = (whole | met) & (level.count > self.smallest)
        return out

    def children(self, depth: int, cells: Tensor) -> tuple[int, tuple[Tensor, Tensor]]:
        """Depth of the parts of some cells, and for each part the place of its cell in ``cells`` and its own."""
        levels = self.pyramid.levels
        if depth == len(levels) - 1:
            return depth, (torch.arange(len(cells), device=cells.device), cells)
        count = levels[depth].children[cells]
        owner = torch.repeat_interleave(count)
        first = (levels[depth].children.cumsum(0) - levels[depth].children)[cells]
        place = torch.arange(len(owner), device=cells.device) - (count.cumsum(0) - count)[owner]
        return depth + 1, (owner, first[owner] + place)

    def _largest(self, values: Tensor, tested: Tensor, graph: Tensor) -> Tensor:
        """Tested cells whose value is among the ``top`` share of those of their graph."""
        if self.share == 0:
            return torch.zeros_like(tested)
        rows = tested.nonzero()[:, 0]
        order = rows[torch.sort(values[rows], descending=True, stable=True).indices]
        order = order[torch.sort(graph[order], stable=True).indices]
        ptr = torch.searchsorted(graph[order], torch.arange(len(self.domain) + 1, device=graph.device))
        number = (ptr.diff() * self.share).ceil().long().clamp(min=1)
        last = (ptr[:-1] + number - 1).clamp(max=max(len(order) - 1, 0))
        bound = values[order[last]] if len(order) else values.new_zeros(len(self.domain))
        return tested & (values >= bound[graph])
