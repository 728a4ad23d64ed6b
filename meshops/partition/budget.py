"""Patches by best-first refinement to a token budget: Iterative Adaptive Patchification (IAP), on grids and meshes.

Algorithm 1 of the IAP paper starts with patches of side p_max and splits those with the largest sum of scores until the
budget is used up. With one split at a time that is one selection over the pyramid of all patches that may be split
(:mod:`meshops.ops.pyramid`); ``mode="steps"`` splits four at a time as printed. The count is the same for all samples:

    T = T_0 + (2^D - 1) M,    T_0 = number of patches of side p_max,    M = K floor((T_max - T_0) / (K (2^D - 1)))

Departure: extents that are no multiple of p_max are continued with score zero.

On meshes a patch is a cell of the octree, sides are counted in node spacings (a cell of side p has p^D nodes), empty
cells do not exist, and a split adds one patch less than it has children: the count is the budget or up to 2^D - 2 less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.errors import InputError, warn
from meshops.ops.neighbors import knn_search
from meshops.ops.pyramid import score_keys, split_best, split_in_steps, sum_pyramid
from meshops.ops.scores import FLAT, check_fields, graph_gradient, sobel_score
from meshops.ops.segment import scatter_max, scatter_sum
from meshops.partition.cell_pyramid import CellPyramid
from meshops.partition.checks import graph_ptr, grid_shape_of, periodic_axes, positions_of
from meshops.partition.grid_patches import GridPatches
from meshops.partition.partition import Partition

Mode = Literal["global", "steps"]


class TokenBudget(BaseTransform):  # type: ignore[misc]
    """Split patches where the field varies until there are ``budget`` of them.

    Args:
        budget: Largest number of patches per sample.
        p_min: Side of the smallest patches, cells.
        p_max: Side of the patches at the start, cells: ``p_min`` times a power of two.
        mode: ``"global"``: the best split first. ``"steps"``: ``per_step`` at a time, as the paper prints it.
        per_step: Splits per step, K. The count is rounded to it in the mode ``"steps"``.
        periodic: Whether the ends of each axis meet; None: as the graph says, else not.
        spacing: Cell size along each axis for the score; None: cells count as cubes, as in the paper.
        field: For graphs: score ``"x"`` or ``"y"``.
        keep_rounding: Use M rounded to ``per_step`` in the mode ``"global"`` as well, as the published counts.

    Raises:
        InputError: ``p_max / p_min`` is no power of two, or a number is not positive.

    Example:
        >>> TokenBudget(1024, p_min=2, p_max=16).num_tokens((256, 256))
        1024
    """

    def __init__(
        self,
        budget: int,
        p_min: int = 2,
        p_max: int = 8,
        *,
        mode: Mode = "global",
        per_step: int = 4,
        periodic: Sequence[bool] | None = None,
        spacing: Sequence[float] | None = None,
        field: Literal["x", "y"] = "x",
        keep_rounding: bool = False,
    ) -> None:
        if mode not in ("global", "steps"):
            raise InputError(f"mode must be 'global' or 'steps', got '{mode}'")
        if min(budget, p_min, per_step) < 1:
            raise InputError(f"budget, p_min and per_step must be positive, got {budget}, {p_min}, {per_step}")
        levels = round(math.log2(p_max / p_min)) if p_max >= p_min else -1
        if levels < 0 or p_min * 2**levels != p_max:
            allowed = [p_min * 2**i for i in range(5)]
            raise InputError(
                f"p_max must be p_min times a power of two, got p_min={p_min}, p_max={p_max}; allowed: {allowed} ..."
            )
        self.budget, self.p_min, self.p_max = budget, p_min, p_max
        self.mode, self.per_step, self.keep_rounding = mode, per_step, keep_rounding
        self.periodic, self.spacing, self.field = periodic, spacing, field
        self.levels = levels

    def num_splits(self, shape: Sequence[int], budget: int | None = None) -> int:
        """Number of splits M on a grid.

        Raises:
            InputError: The budget is smaller than the number of patches of side ``p_max``.
        """
        budget = self.budget if budget is None else budget
        dim, roots = len(shape), self._roots(shape)
        start = math.prod(roots)
        if budget < start:
            side = self.p_max
            while math.prod(math.ceil(n / side) for n in shape) > budget:
                side *= 2
            raise InputError(
                f"budget {budget} is below the {start} patches of side p_max={self.p_max} on a grid {tuple(shape)}; "
                f"the smallest budget is {start}, or use p_max={side}"
            )
        more = 2**dim - 1
        splits = (budget - start) // more
        if self.mode == "steps" or self.keep_rounding:
            splits -= splits % self.per_step
        most = start * sum(2 ** (dim * level) for level in range(self.levels))
        if splits > most:
            warn(f"budget {budget} is more than the {start + more * most} patches of side p_min={self.p_min} "
                 f"on a grid {tuple(shape)}: using {start + more * most}")  # fmt: skip
        return int(min(splits, most))

    def num_tokens(self, shape: Sequence[int], budget: int | None = None) -> int:
        """Number of patches of every sample on a grid of ``shape`` cells."""
        return math.prod(self._roots(shape)) + (int(2 ** len(shape)) - 1) * self.num_splits(shape, budget)

    @torch.no_grad()
    def patches(
        self, fields: Tensor, *, mask: Tensor | None = None, budget: int | None = None, score: Tensor | None = None
    ) -> GridPatches:
        """Patches of a batch of grids.

        Args:
            fields: ``[b, c, *grid]``, any floating type; channels and time steps are scored alike.
            mask: ``[b, *grid]`` True where a cell counts.
            budget: Instead of the one of the tokeniser.
            score: ``[b, *ceil(grid / p_min)]`` own score of the smallest patches, not negative, instead of Sobel's.

        Raises:
            InputError: The budget is too small, or values are not finite.
        """
        shape = tuple(fields.shape[2:])
        count = self.num_splits(shape, budget)
        sizes = tuple(self.p_min * 2**level for level in range(self.levels, -1, -1))
        if self.levels == 0 or (count == 0 and score is None):
            check_fields(fields)
            roots = torch.ones(fields.shape[0], *self._roots(shape), dtype=torch.bool, device=fields.device)
            empty = [roots.new_zeros((len(roots), *[n * 2**i for n in roots.shape[1:]])) for i in range(1, len(sizes))]
            return GridPatches(shape, sizes, (roots, *empty))
        if score is None:
            score = sobel_score(fields, block=self.p_min, spacing=self.spacing, periodic=self.periodic, mask=mask)
        full = [n * 2**self.levels for n in self._roots(shape)]
        pad = [x for n, m in zip(reversed(full), reversed(score.shape[1:]), strict=True) for x in (0, n - m)]
        pyramid = sum_pyramid(torch.nn.functional.pad(score, pad), self.levels)[:0:-1]
        if self.mode == "steps":
            return GridPatches(shape, sizes, tuple(split_in_steps(pyramid, count, self.per_step)))
        return GridPatches(shape, sizes, tuple(split_best(pyramid, count)))

    def forward(self, data: Any) -> Any:
        """Store the patches of a grid or mesh graph, or of a batch, as a ``Partition``."""
        return self.partition(data).store(data)

    @torch.no_grad()
    def partition(self, data: Any) -> Partition:
        """Patches of the graphs of a batch, scored by the graph's ``x`` or ``y``.

        Raises:
            InputError: The graph has no such values, or the budget is too small for one of the graphs.
        """
        pos, values = positions_of(data), data.get(self.field)
        if values is None:
            raise InputError(f"the graph has no '{self.field}' to score; give field='x' or 'y'")
        values = values.flatten(1)
        shape = grid_shape_of(data)
        if shape is not None:
            fields = values.unflatten(0, (-1, *shape)).movedim(-1, 1)
            wrap = periodic_axes(data)
            chosen = self if self.periodic is not None or wrap is None else self._with_periodic(wrap)
            return chosen.patches(fields).partition(pos)
        return self._on_mesh(data, values)

    def _on_mesh(self, data: Any, values: Tensor) -> Partition:
        dim = data.pos.shape[1]
        pyramid = CellPyramid.of(data.pos, graph_ptr(data), smallest=self.p_min**dim)
        sums = whole_sums(pyramid, mesh_score(data, values))
        split = choose_cells(pyramid, sums, self.budget, smallest=self.p_min**dim, largest=self.p_max**dim)
        starts, levels = [], []
        reached = pyramid.walk(lambda depth, _: split[depth])
        for depth, (cells, level) in enumerate(zip(reached, pyramid.levels, strict=True)):
            leaf = cells & ~split[depth]
            starts.append(level.ptr[:-1][leaf])
            levels.append(torch.full_like(starts[-1], depth))
        start, order = torch.sort(torch.cat(starts))
        bounds = torch.nn.functional.pad(start, (0, 1), value=data.pos.shape[0])
        graph = _graph_of_nodes(data)[pyramid.order[start]]
        return Partition.from_order(data.pos, pyramid.order, bounds, level=torch.cat(levels)[order], batch=graph)

    def _roots(self, shape: Sequence[int]) -> tuple[int, ...]:
        if not 1 <= len(shape) <= 3:
            raise InputError(f"a grid has one to three axes, got {tuple(shape)}")
        return tuple(math.ceil(n / self.p_max) for n in shape)

    def _with_periodic(self, periodic: Sequence[bool]) -> TokenBudget:
        other = TokenBudget(
            self.budget, self.p_min, self.p_max, mode=self.mode, per_step=self.per_step, periodic=periodic,
            spacing=self.spacing, field=self.field, keep_rounding=self.keep_rounding,
        )  # fmt: skip
        return other

    def __repr__(self) -> str:
        return f"TokenBudget({self.budget}, p_min={self.p_min}, p_max={self.p_max}, mode='{self.mode}')"


def mesh_score(data: Any, values: Tensor) -> Tensor:
    """``[n]`` float64 score of each node: gradient norm of the normalised values, averaged over channels, times volume.

    Edges are those of the graph, or the 2 d nearest neighbours where it has none; the volume of a node is ``area``, or
    the mean distance of its neighbours to the power of the dimension where that is missing.
    """
    edges = mesh_edges(data)
    return feature_gradient(data, values, edges) * node_volume(data, edges).double()


def feature_gradient(data: Any, values: Tensor, edges: Tensor) -> Tensor:
    """``[n]`` float64 gradient norm of the values, normalised graph by graph, averaged over channels.

    A channel that does not vary over a graph has none.

    Raises:
        InputError: A value is not finite.
    """
    bad = ~torch.isfinite(values)
    if bool(bad.any()):
        node, channel = (int(i) for i in bad.nonzero()[0])
        raise InputError(f"node {node}, channel {channel} of the values to score is NaN or infinite; repair or drop it")
    pos, n = data.pos, data.pos.shape[0]
    if not values.shape[1]:
        return torch.zeros(n, dtype=torch.float64, device=pos.device)
    batch = _graph_of_nodes(data)
    scaled = torch.empty(n, values.shape[1], device=pos.device, dtype=torch.float64)
    for graph in range(int(batch.max()) + 1 if n else 0):
        rows = batch == graph
        part = values[rows].double()
        spread = part.std(0, correction=0)
        keep = spread > FLAT * part.abs().amax(0)
        scaled[rows] = torch.where(keep, (part - part.mean(0)) / spread.clamp(min=1e-300), 0.0)
    norm: Tensor = graph_gradient(scaled[:, (scaled != 0).any(0)], pos, edges).norm(dim=2)
    return norm.sum(1) / values.shape[1]


def whole_sums(pyramid: CellPyramid, score: Tensor) -> list[Tensor]:
    """Sums of node scores over the cells of each depth, float32, the same in any order of the nodes and edges.

    Scores are counted in 2^-30 of the largest of their graph, so that sums are exact and cells that should have the
    same score, as on both sides of a mirror plane, do.
    """
    graph = torch.empty_like(pyramid.order)
    graph[pyramid.order] = pyramid.levels[-1].batch.repeat_interleave(
        pyramid.levels[-1].count, output_size=len(pyramid.order)
    )
    top = scatter_max(score, graph, len(pyramid.levels[0].batch)).clamp(min=1e-300)
    counted = (score / top[graph] * 2.0**30).round()
    return [(part * 2.0**-30).float() for part in pyramid.sums(counted)]


def mesh_edges(data: Any) -> Tensor:
    """``[2, e]`` edges of a graph, or between the 2 d nearest neighbours in both directions where it has none."""
    edges = data.get("edge_index")
    return _nearest_edges(data.pos, _graph_of_nodes(data)) if edges is None else torch.as_tensor(edges)


def node_volume(data: Any, edges: Tensor) -> Tensor:
    """``[n]`` ``area`` of the nodes, or the mean length of their edges to the power of the dimension."""
    volume = data.get("area")
    if volume is not None:
        return torch.as_tensor(volume)
    return edge_length(data, edges) ** int(data.pos.shape[1])


def edge_length(data: Any, edges: Tensor) -> Tensor:
    """``[n]`` float64 mean length of the edges of each node; 0 without any."""
    n = data.pos.shape[0]
    length = (data.pos[edges[0]] - data.pos[edges[1]]).double().norm(dim=1)
    return scatter_sum(length, edges[0], n) / torch.bincount(edges[0], minlength=n).clamp(min=1)


def _graph_of_nodes(data: Any) -> Tensor:
    batch = data.get("batch")
    return torch.zeros(data.pos.shape[0], dtype=torch.long, device=data.pos.device) if batch is None else batch


def _nearest_edges(pos: Tensor, batch: Tensor) -> Tensor:
    ptr = torch.searchsorted(batch, torch.arange(int(batch.max()) + 2 if len(batch) else 1, device=batch.device))
    parts = []
    for first, last in zip(ptr.tolist(), ptr.tolist()[1:], strict=False):
        if last - first > 1:
            near = knn_search(pos[first:last], min(2 * pos.shape[1], last - first - 1))
            parts.append(near.edge_index.flip(0) + first)
    pairs = torch.cat(parts, 1) if parts else batch.new_zeros(2, 0)
    first, second = torch.cat([pairs, pairs.flip(0)], 1)
    code = torch.unique(first * len(pos) + second)  # far faster than unique columns
    return torch.stack([code // max(len(pos), 1), code % max(len(pos), 1)])


def choose_cells(
    pyramid: CellPyramid, sums: Sequence[Tensor], budget: int, *, smallest: int, largest: int
) -> list[Tensor]:
    """Which cells are split at each depth so that no graph has more than ``budget`` leaves.

    Cells of more than ``largest`` nodes always are, those of at most ``smallest`` never; the others best first.

    Raises:
        InputError: The cells that are always split already give more leaves than the budget.
    """
    levels = pyramid.levels
    count = torch.cat([level.count for level in levels])
    children = torch.cat([level.children for level in levels])
    graph = torch.cat([level.batch for level in levels])
    depth = torch.cat([torch.full_like(level.batch, d) for d, level in enumerate(levels)])
    forced = (count > largest) & (depth < len(levels) - 1)
    allowed = (count > smallest) & (depth < len(levels) - 1)
    score = torch.where(forced, torch.inf, torch.cat(list(sums)).float())
    key = torch.where(allowed, score_keys(score.unsqueeze(0))[0], -1)
    order = torch.sort(key, descending=True).indices
    order = order[torch.sort(graph[order], stable=True).indices]  # graph after graph, best first
    added = torch.where(allowed, children - 1, 0)[order]
    total = added.cumsum(0)
    first = torch.searchsorted(graph[order], torch.arange(int(graph.max()) + 1, device=graph.device))
    before = (total - added)[first]
    leaves = 1 + total - before[graph[order]]
    fits = leaves <= budget  # leaves never fall along a graph, so this is the first part of its order
    if bool((forced[order] & ~fits).any()):
        need = int(leaves[forced[order]].max())
        raise InputError(
            f"budget {budget} is below the {need} patches of the start of a graph (cells of more than p_max^d = "
            f"{largest} nodes are always split); the smallest budget is {need}, or raise p_max"
        )
    chosen = torch.zeros_like(allowed)
    chosen[order] = fits & allowed[order]
    return list(chosen.split([len(level.batch) for level in levels]))
