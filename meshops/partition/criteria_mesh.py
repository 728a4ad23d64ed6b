"""The regions of AMR-Transformer on meshes: cells of the octree instead of squares of a grid.

Sides are counted in node spacings: a region of side R has at most R^D nodes. Criteria are means over the nodes of a
region weighted by their volume; derivatives are least squares over edges. Otherwise as in
:mod:`meshops.partition.criteria`, ``criteria="paper"``.

Without a velocity only the first criterion is left, with the gradient norm of the normalised values, averaged over
channels, in the place of G; where no value varies, with the fineness of the mesh: one over the length of the edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.scores import FLAT, graph_gradient
from meshops.ops.segment import segment_max, segment_min
from meshops.partition.budget import edge_length, feature_gradient, mesh_edges, node_volume
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
        thresholds: One number each, or one per graph ``[b]``.
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
    tests = RegionTests(data, values, velocity, pyramid, thresholds, top, strain, limits)
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


def _flow(velocity: Tensor, pos: Tensor, edges: Tensor, strain: Strain) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient norm ``[n]``, vorticity ``[n, 1 or 3]`` and shear ``[n]``."""
    slope = graph_gradient(velocity, pos, edges)  # [n, component, axis]
    pairs = [(0, 1)] if pos.shape[1] == 2 else [(1, 2), (2, 0), (0, 1)]
    turn = torch.stack([slope[:, j, i] - slope[:, i, j] for i, j in pairs], 1)
    stretch = torch.stack([slope[:, j, i] + slope[:, i, j] for i, j in pairs], 1)
    return slope.flatten(1).norm(dim=1), turn, (turn if strain == "abs_vorticity" else stretch).norm(dim=1)


class RegionTests:
    """Which cells are refined: asked depth by depth.

    Args:
        data: Graph or batch of graphs.
        values: ``[n, c]``.
        velocity: Channels of the velocity; empty: the gradient of all values is all there is.
        pyramid: Cells of the graphs.
        limits: Thresholds.
        top: Share of each depth that is refined anyway.
        strain: What the fourth criterion looks at.
        sizes: Most nodes of a region that is kept, of all graphs or ``[b]``, and of one that is never refined.
    """

    def __init__(
        self, data: Any, values: Tensor, velocity: Sequence[int], pyramid: CellPyramid, limits: Thresholds,
        top: float, strain: Strain, sizes: tuple[int | Tensor, int],
    ) -> None:  # fmt: skip
        edges = mesh_edges(data)
        volume = node_volume(data, edges).double().unsqueeze(1)
        flow = values[:, list(velocity)].float()
        if velocity:
            gradient, turn, shear = _flow(flow, data.pos, edges, strain)
        else:
            gradient = feature_gradient(data, values, edges)
            still = torch.empty_like(gradient, dtype=torch.bool)
            level = pyramid.levels[0]
            still[pyramid.order] = torch.repeat_interleave(pyramid.sums(gradient)[0] == 0, level.count)
            gradient = torch.where(still, 1 / edge_length(data, edges).clamp(min=1e-300), gradient)
            turn, shear = gradient.new_zeros(len(gradient), 1), torch.zeros_like(gradient)
            flow = gradient.new_zeros(len(gradient), 1)
        cells = torch.cat([gradient.unsqueeze(1), turn, flow, shear.unsqueeze(1)], 1).double()
        whole = torch.stack([gradient, turn.norm(dim=1), flow.norm(dim=1), shear], 1).double()
        sums = pyramid.sums(torch.cat([cells, torch.ones_like(volume)], 1) * volume)
        self.means = [(part[:, :-1] / part[:, -1:].clamp(min=1e-300)).float() for part in sums]
        domain = pyramid.sums(torch.cat([whole, torch.ones_like(volume)], 1) * volume)[0]
        self.domain = (domain[:, :-1] / domain[:, -1:].clamp(min=1e-300)).float()
        self.quiet = self.domain[:, 0] * self._width(data.pos, pyramid) <= FLAT * self.domain[:, 2]
        self.quiet &= bool(velocity)
        self.turns = turn.shape[1]
        self.pyramid, self.limits, self.share = pyramid, limits, top
        largest, self.smallest = sizes
        self.largest = torch.as_tensor(largest, device=edges.device).expand(len(self.domain))

    def refined(self, depth: int, reached: Tensor) -> Tensor:
        """Cells of a depth that are refined."""
        level = self.pyramid.levels[depth]
        above = self.pyramid.levels[max(depth - 1, 0)].count[level.parent]
        largest = self.largest[level.batch]
        first = (above > largest) if depth else torch.ones_like(reached)
        whole = (level.count > largest) | first
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
            scale = torch.as_tensor(factor, device=value.device)
            bound = (self.domain[:, number] * scale).nan_to_num(nan=math.inf)
            met |= value > bound[level.batch]
        tested = reached & ~whole
        met |= self._largest(gradient, tested, level.batch)
        met &= ~self.quiet[level.batch]
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

    @staticmethod
    def _width(pos: Tensor, pyramid: CellPyramid) -> Tensor:
        """``[b]`` largest extent of each graph."""
        rows, ptr = pos[pyramid.order], pyramid.levels[0].ptr
        return (segment_max(rows, ptr) - segment_min(rows, ptr)).amax(1)

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
        return tested & (values >= bound[graph]) & (values > 0)
