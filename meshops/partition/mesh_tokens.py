"""Cells of the octree of a mesh as the tokens of a transformer: which nodes each holds, and where it lies.

:class:`BudgetTokens` (IAP): a fixed number of leaves, split where score is. :class:`CriteriaTokens` (AMR-Transformer):
regions of all depths over each other, refined by criteria. Both work graph by graph, so that a batch has the tokens of
its graphs, and remember graphs they have seen: a whole mesh that comes back at every step is cut once.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from meshops.errors import InputError
from meshops.ops.curves import MAX_DEPTH, grid_positions
from meshops.ops.pointers import pointers
from meshops.ops.segment import scatter_max
from meshops.partition.budget import choose_cells, mesh_score, whole_sums
from meshops.partition.cell_pyramid import CellPyramid
from meshops.partition.checks import graph_ptr, positions_of
from meshops.partition.criteria_mesh import RegionTests
from meshops.partition.thresholds import Strain, Thresholds

REMEMBERED = 4_000_000  # entries of ``node`` kept at most


class MeshTokens(NamedTuple):
    """Tokens of a batch, graph after graph.

    Attributes:
        node: ``[m]`` nodes of the tokens, one token after the other; a node may be in several.
        ptr: ``[t + 1]`` token i holds ``node[ptr[i]:ptr[i + 1]]``.
        center: ``[t, d]`` middle of the cell.
        half: ``[t]`` half its side; 0 where all nodes of a graph coincide.
        depth: ``[t]`` halvings from the cube around the graph to the cell.
        home: ``[n]`` finest token that holds each node.
        graph_ptr: ``[b + 1]`` graph j has the tokens ``graph_ptr[j]:graph_ptr[j + 1]``.
    """

    node: Tensor
    ptr: Tensor
    center: Tensor
    half: Tensor
    depth: Tensor
    home: Tensor
    graph_ptr: Tensor

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return len(self.depth)

    @property
    def token(self) -> Tensor:
        """``[m]`` token of each entry of ``node``."""
        return torch.repeat_interleave(self.ptr.diff(), output_size=len(self.node))

    def place(self, pos: Tensor, node: Tensor, token: Tensor) -> Tensor:
        """``[k, d]`` where nodes lie in the cells of tokens: -1 at one face of a cell, 1 at the other."""
        offset = (pos[node] - self.center[token]) / self.half[token].clamp(min=1e-30).unsqueeze(1)
        return offset.clamp(-1, 1)


class Tokenizer(ABC):
    """Tokens of the graphs of a batch."""

    def __init__(self) -> None:
        self.seen: OrderedDict[bytes, MeshTokens] = OrderedDict()
        self.kept = 0

    def __getstate__(self) -> dict[str, Any]:
        """Copies remember nothing."""
        return {**self.__dict__, "seen": OrderedDict(), "kept": 0}

    @abstractmethod
    def of_graphs(self, data: Data, values: Tensor, **drawn: Any) -> MeshTokens:
        """Tokens of the graphs of a batch; ``drawn`` takes the place of settings of the tokeniser.

        Args:
            data: With ``pos``, ``ptr`` and ``batch``, and ``edge_index`` and ``area`` where there are some.
            values: ``[n, c]`` what the tokens are chosen by.
            **drawn: Settings.
        """

    @abstractmethod
    def settings(self) -> tuple[Any, ...]:
        """What the choice depends on beside the graph."""

    @torch.no_grad()
    def tokens(self, data: Any, values: Tensor, **drawn: Any) -> MeshTokens:
        """Tokens of a graph or of the graphs of a batch; those of graphs seen before are not made again (on the CPU).

        Args:
            data: With ``pos``; the ``edge_index`` of the mesh is used where there is one, else nearest neighbours.
            values: ``[n, c]`` what they are chosen by; c may be 0.
            **drawn: Settings for this call alone, see :meth:`of_graphs`; nothing is remembered then.

        Raises:
            InputError: A graph without nodes, or values that are not finite.
        """
        graphs = _graphs(data, values)
        if drawn or values.is_cuda:
            return self.of_graphs(*_batched(graphs), **drawn)
        keys = [_key(self.settings(), *graph) for graph in graphs]
        found = {key: self.seen[key] for key in keys if key in self.seen}
        missing = [number for number, key in enumerate(keys) if key not in found]
        if missing:
            made = self.of_graphs(*_batched([graphs[number] for number in missing]))
            found |= dict(zip((keys[number] for number in missing), _taken_apart(made, missing, graphs), strict=True))
        for key in keys:
            self._keep(key, found[key])
        return _joined([found[key] for key in keys])

    def _keep(self, key: bytes, tokens: MeshTokens) -> None:
        """Remember what was used last, up to a number of entries."""
        if len(tokens.node) > REMEMBERED:
            return
        self.kept += 0 if key in self.seen else len(tokens.node)
        self.seen[key] = tokens
        self.seen.move_to_end(key)
        while self.kept > REMEMBERED:
            self.kept -= len(self.seen.popitem(last=False)[1].node)


class BudgetTokens(Tokenizer):
    """Leaves of an octree that tile a mesh: the cell with the largest score is split until the budget is used up.

    The score of a node is the gradient of the values times its volume, see
    :func:`~meshops.partition.budget.mesh_score`; where no value varies it is 1, so that leaves hold about as many
    nodes each. Where cells may be split no further a graph has fewer tokens.

    Args:
        budget: Largest number of tokens of a graph.
        smallest: A cell of so many nodes is not split.
    """

    def __init__(self, budget: int, *, smallest: int = 1) -> None:
        super().__init__()
        if budget < 1 or smallest < 1:
            raise InputError(f"budget and smallest must be at least 1, got {budget} and {smallest}")
        self.budget, self.smallest = budget, smallest

    def settings(self) -> tuple[Any, ...]:
        """Budget and smallest cell."""
        return self.budget, self.smallest

    def of_graphs(self, data: Data, values: Tensor, *, budget: int | None = None) -> MeshTokens:  # type: ignore[override]
        """Leaves of the graphs."""
        pyramid = CellPyramid.of(data.pos, data.ptr, smallest=self.smallest)
        score = mesh_score(data, values)
        still = scatter_max(score, data.batch, len(data.ptr) - 1) == 0
        sums = whole_sums(pyramid, torch.where(still[data.batch], 1.0, score))
        most = self.budget if budget is None else budget
        split = choose_cells(pyramid, sums, most, smallest=self.smallest, largest=len(data.pos))
        reached = pyramid.walk(lambda depth, _: split[depth])
        return _of_cells(data, pyramid, [cells & ~s for cells, s in zip(reached, split, strict=True)])


class CriteriaTokens(Tokenizer):
    """Regions of all depths, refined where criteria ask for it: :func:`~meshops.partition.criteria_mesh.mesh_cover`.

    Args:
        velocity: Channels of the values that are the velocity; empty: the gradient of all values decides.
        max_size: Side of the coarsest regions in node spacings; None: a quarter of the graph's, so that there are about
            ``4**d`` of them.
        min_cell: Side of the smallest parts.
        thresholds: Factors of the criteria.
        top: Share of each depth that is refined anyway.
        strain: What the fourth criterion looks at.
    """

    def __init__(
        self,
        velocity: Sequence[int] = (),
        *,
        max_size: int | None = None,
        min_cell: int = 1,
        thresholds: Thresholds | None = None,
        top: float = 0.1,
        strain: Strain = "abs_vorticity",
    ) -> None:
        super().__init__()
        if min_cell < 1 or (max_size is not None and max_size < 2 * min_cell):
            raise InputError(
                f"min_cell must be at least 1 and max_size at least 2 min_cell, got {min_cell} and {max_size}"
            )
        if not 0 <= top <= 1:
            raise InputError(f"top must be a share from 0 to 1, got {top}")
        self.velocity, self.max_size, self.min_cell = tuple(velocity), max_size, min_cell
        self.thresholds, self.top, self.strain = thresholds or Thresholds(), top, strain

    def settings(self) -> tuple[Any, ...]:
        """All arguments."""
        return self.velocity, self.max_size, self.min_cell, self.thresholds, self.top, self.strain

    def of_graphs(self, data: Data, values: Tensor, *, thresholds: Thresholds | None = None) -> MeshTokens:  # type: ignore[override]
        """Regions of the graphs."""
        dim = data.pos.shape[1]
        if self.velocity and (len(self.velocity) != dim or max(self.velocity) >= values.shape[1]):
            raise InputError(
                f"{dim}-D meshes need {dim} velocity channels of the {values.shape[1]}, got velocity={self.velocity}"
            )
        smallest, number = (2 * self.min_cell) ** dim, data.ptr.diff()
        largest = number // 4**dim if self.max_size is None else torch.full_like(number, self.max_size**dim)
        largest = largest.clamp(min=smallest)
        pyramid = CellPyramid.of(data.pos, data.ptr, smallest=smallest)
        limits = thresholds or self.thresholds
        tests = RegionTests(data, values, self.velocity, pyramid, limits, self.top, self.strain, (largest, smallest))
        reached = pyramid.walk(tests.refined)
        kept = [cells & (lev.count <= largest[lev.batch]) for cells, lev in zip(reached, pyramid.levels, strict=True)]
        kept[-1] |= reached[-1]  # nodes that coincide, too many for a region
        return _of_cells(data, pyramid, kept)


def _of_cells(data: Data, pyramid: CellPyramid, kept: Sequence[Tensor]) -> MeshTokens:
    """Tokens of the kept cells, graph after graph, in each the coarse depths first."""
    pos, dim = data.pos, data.pos.shape[1]
    cells = [level.nonzero()[:, 0] for level in kept]
    levels = list(zip(pyramid.levels, cells, strict=True))
    depth = torch.cat([torch.full_like(cell, d) for d, cell in enumerate(cells)])
    start, end = (torch.cat([level.ptr[cell + more] for level, cell in levels]) for more in (0, 1))
    graph = torch.cat([level.batch[cell] for level, cell in levels])
    order = torch.sort(graph, stable=True).indices
    depth, start, graph, count = depth[order], start[order], graph[order], (end - start)[order]
    ptr = pointers(count)
    token = torch.repeat_interleave(count, output_size=int(ptr[-1]))
    node = pyramid.order[start[token] + torch.arange(len(token), device=pos.device) - ptr[token]]
    home = torch.zeros(len(pos), dtype=torch.long, device=pos.device)
    home = home.scatter_reduce(0, node, token, "amax")  # finer tokens come later
    grid = grid_positions(pos, data.ptr.cpu(), MAX_DEPTH[dim])
    corner = grid.cells[pyramid.order[start]] >> (MAX_DEPTH[dim] - depth).unsqueeze(1)
    half = grid.side[graph] * 0.5 ** (depth.double() + 1)
    center = grid.origin[graph] + (corner.double() + 0.5) * 2 * half.unsqueeze(1)
    bounds = pointers(torch.bincount(graph, minlength=len(data.ptr) - 1))
    return MeshTokens(node, ptr, center.to(pos.dtype), half.to(pos.dtype), depth, home, bounds)


def _graphs(data: Any, values: Tensor) -> list[tuple[Data, Tensor]]:
    """Each graph of a batch, with its values."""
    pos, ptr = positions_of(data), graph_ptr(data)
    bounds = [0, len(pos)] if ptr is None else ptr.tolist()
    edges, area = data.get("edge_index"), data.get("area")
    out = []
    for number, (first, last) in enumerate(pairwise(bounds)):
        if first == last:
            raise InputError(f"graph {number} of the batch has no nodes; leave it out")
        graph = Data(pos=pos[first:last])
        if edges is not None and edges.shape[1]:
            own = edges if len(bounds) == 2 else edges[:, (edges[0] >= first) & (edges[0] < last)] - first
            graph.edge_index = own
        if area is not None:
            graph.area = area[first:last].flatten()
        out.append((graph, values[first:last]))
    return out


def _batched(graphs: Sequence[tuple[Data, Tensor]]) -> tuple[Data, Tensor]:
    """Graphs one after the other, with ``ptr`` and ``batch``, and their values."""
    sizes = torch.tensor([len(graph.pos) for graph, _ in graphs], device=graphs[0][1].device)
    ptr = pointers(sizes)
    data = Data(pos=torch.cat([graph.pos for graph, _ in graphs]), ptr=ptr)
    data.batch = torch.repeat_interleave(sizes, output_size=len(data.pos))
    edges, area = ([graph.get(key) for graph, _ in graphs] for key in ("edge_index", "area"))
    if all(part is not None for part in edges):
        data.edge_index = torch.cat([part + first for part, first in zip(edges, ptr, strict=False)], 1)
    if all(part is not None for part in area):
        data.area = torch.cat(area)
    return data, torch.cat([values for _, values in graphs])


def _key(settings: tuple[Any, ...], graph: Data, values: Tensor) -> bytes:
    """Hash of all that the choice of the tokens depends on."""
    digest = hashlib.blake2b(repr((settings, graph.pos.shape, values.shape)).encode(), digest_size=16)
    for part in (graph.pos, values, graph.get("edge_index"), graph.get("area")):
        digest.update(b"|" if part is None else part.detach().contiguous().numpy().tobytes())
    return digest.digest()


def _taken_apart(tokens: MeshTokens, numbers: Sequence[int], graphs: Sequence[tuple[Data, Tensor]]) -> list[MeshTokens]:
    """Tokens of each graph, counted from its own first node and token."""
    nodes, out = 0, []
    for number, (low, high) in zip(numbers, pairwise(tokens.graph_ptr.tolist()), strict=True):
        size = len(graphs[number][0].pos)
        first, last = int(tokens.ptr[low]), int(tokens.ptr[high])
        center, half, depth = (part[low:high].clone() for part in (tokens.center, tokens.half, tokens.depth))
        node, ptr = tokens.node[first:last] - nodes, tokens.ptr[low : high + 1] - first
        home, bounds = tokens.home[nodes : nodes + size] - low, torch.tensor([0, high - low])
        out.append(MeshTokens(node, ptr, center, half, depth, home, bounds))
        nodes += size
    return out


def _joined(parts: Sequence[MeshTokens]) -> MeshTokens:
    """Tokens of graphs that lie one after the other."""
    if len(parts) == 1:
        return parts[0]
    nodes = tokens = entries = 0
    node, ptr, home, bounds = [], [parts[0].ptr[:1]], [], [parts[0].graph_ptr[:1]]
    for part in parts:
        node.append(part.node + nodes)
        ptr.append(part.ptr[1:] + entries)
        home.append(part.home + tokens)
        bounds.append(part.graph_ptr[1:] + tokens)
        nodes, entries, tokens = nodes + len(part.home), entries + len(part.node), tokens + part.num_tokens
    center, half, depth = (torch.cat([getattr(p, name) for p in parts]) for name in ("center", "half", "depth"))
    return MeshTokens(torch.cat(node), torch.cat(ptr), center, half, depth, torch.cat(home), torch.cat(bounds))
