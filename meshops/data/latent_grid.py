"""A regular grid of latent nodes over a box, and who sees whom between it and free points.

Both directions are a :class:`Neighborhood`: for every query a fixed number of places for neighbours, empty ones with
weight 0, and weights that sum to 1. All lengths inside are counted in cells of the grid, so that what is learnt on it
does not depend on units or resolution.

Points to grid (CALM-PDE, 2505.12944, eq. 4-6, with a radius instead of its percentile): the nearest points within
``radius`` cells of a node, softmax of the distances, at least ``min_neighbors``, however far. Grid to points: the nodes
within two cells, half-cosine weights that vanish at the rim, so that decoded fields are continuous.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops import knn_search, radius_search
from meshops.typing import Float, Int

REACH = 2  # cells that the window from grid to points reaches
TOLERANCE = 1e-4  # of the box, by which a point may lie outside


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Who sees whom, and from where: q queries, k places for neighbours each.

    Attributes:
        index: ``[q, k]`` rows of the sources; 0 where a place is empty.
        offset: ``[q, k, d]`` query minus neighbour in cells; 0 where empty.
        weight: ``[q, k]``, sums to 1 over the places of a query, 0 where empty.
        found: ``[q]`` sources within the radius.
        nearest: ``[q]`` distance of the nearest source in cells.
    """

    index: Tensor
    offset: Tensor
    weight: Tensor
    found: Tensor
    nearest: Tensor

    @property
    def num_empty(self) -> int:
        """Queries without a source within the radius, which see the nearest ones instead."""
        return int((self.found == 0).sum())

    def rows(self, part: slice) -> Neighborhood:
        """Some of the queries."""
        return Neighborhood(*(getattr(self, f.name)[part] for f in fields(self)))

    def to(self, device: torch.device | str) -> Neighborhood:
        """The same on another device."""
        return Neighborhood(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True, kw_only=True)
class LatentGrid:
    """A box of equal cells with a latent node in the middle of each, row-major.

    Attributes:
        low: Lower corner of the box, m.
        high: Upper corner, m.
        shape: Cells along each axis.
        periodic: Whether the ends of each axis meet.

    Example:
        >>> LatentGrid(low=(0.0,), high=(1.0,), shape=(4,), periodic=(False,)).spacing
        (0.25,)
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: tuple[int, ...]
    periodic: tuple[bool, ...]

    def __post_init__(self) -> None:
        """Check that the axes fit each other."""
        for name in ("low", "high", "shape", "periodic"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not len(self.low) == len(self.high) == len(self.shape) == len(self.periodic) in (1, 2, 3):
            raise InputError(
                f"low, high, shape and periodic need one entry for each of one to three axes, got {self.low}, "
                f"{self.high}, {self.shape}, {self.periodic}"
            )
        if any(n < 1 for n in self.shape) or any(h <= lo for lo, h in zip(self.low, self.high, strict=True)):
            raise InputError(f"the box must not be empty, got low {self.low}, high {self.high}, shape {self.shape}")

    @classmethod
    def over(
        cls, low: Sequence[float], high: Sequence[float], *, spacing: float, multiple: int = 1,
        periodic: Sequence[bool] | None = None,
    ) -> LatentGrid:  # fmt: skip
        """Grid with cells of at most ``spacing``, their number along each axis a multiple of ``multiple``."""
        shape = tuple(math.ceil((b - a) / spacing / multiple - 1e-6) * multiple for a, b in zip(low, high, strict=True))
        return cls(low=tuple(low), high=tuple(high), shape=shape, periodic=tuple(periodic or (False,) * len(shape)))

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return len(self.shape)

    @property
    def num_nodes(self) -> int:
        """Number of latent nodes."""
        return math.prod(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Length of a cell along each axis, m."""
        return tuple((b - a) / n for a, b, n in zip(self.low, self.high, self.shape, strict=True))

    def nodes(self) -> Tensor:
        """``[g, d]`` nodes in cells: 0.5, 1.5, ..."""
        axes = [torch.arange(n, dtype=torch.float32) + 0.5 for n in self.shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)

    def cells(self, pos: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Positions counted in cells from the lower corner; periodic axes are wrapped.

        Raises:
            InputError: Another dimension, values that are not finite, or points outside of the box.
        """
        if pos.dim() != 2 or pos.shape[1] != self.dim:
            raise InputError(f"positions must be [n, {self.dim}], got {tuple(pos.shape)}")
        low, high = pos.new_tensor(self.low), pos.new_tensor(self.high)
        count = pos.new_tensor(self.shape)
        wrap = torch.tensor(self.periodic, device=pos.device)
        place = (pos - low) / (high - low)
        good = (wrap | ((place >= -TOLERANCE) & (place <= 1 + TOLERANCE))) & torch.isfinite(place)
        if not bool(good.all()):
            bad = (~good.all(1)).nonzero().flatten()
            raise InputError(
                f"{len(bad)} of {len(pos)} points lie outside of the box of the latent grid, {list(self.low)} to "
                f"{list(self.high)}; the first is point {int(bad[0])} at {pos[bad[0]].tolist()}: crop them, or train "
                "with a larger box"
            )
        place = torch.where(wrap, place - place.floor(), place.clamp(0, 1))
        return place * count

    def from_points(
        self,
        pos: Float[Tensor, "n d"],
        *,
        ptr: Int[Tensor, " b1"] | None = None,
        radius: float = 2.0,
        max_neighbors: int | None = None,
        min_neighbors: int = 4,
        temperature: float = 1.0,
    ) -> Neighborhood:
        """What the nodes see of the points: the nearest within ``radius``, weights ``softmax(-d^2 / temperature)``.

        Squared distances are scaled to 0..1 inside of a neighbourhood (CALM-PDE, eq. 6).

        Args:
            pos: Points, m.
            ptr: Graph i owns points ``ptr[i]:ptr[i + 1]`` and gets nodes of its own; None: one graph.
            radius: In cells.
            max_neighbors: Most neighbours, the nearest; None: 32, in 3-D 64.
            min_neighbors: Nodes with fewer within the radius see so many nearest.
            temperature: Of the softmax.

        Raises:
            InputError: Points outside of the box, a graph without points, or settings that leave nothing to see.
        """
        if min_neighbors < 1 or radius <= 0 or temperature <= 0:
            raise InputError(
                "radius and temperature must be positive and min_neighbors at least 1, got "
                f"{radius}, {temperature} and {min_neighbors}"
            )
        ends = torch.tensor([0, len(pos)], device=pos.device) if ptr is None else ptr.to(pos.device)
        least = int(ends.diff().min()) if ends.numel() > 1 else 0
        if least < 1:
            raise InputError("a latent grid needs at least one point in every graph, got a graph without points")
        place = self.cells(pos)
        graphs = ends.numel() - 1
        nodes = self.nodes().to(pos.device, pos.dtype).repeat(graphs, 1)
        nodes_ptr = torch.arange(graphs + 1, device=pos.device) * self.num_nodes
        period = [float(n) if p else 0.0 for n, p in zip(self.shape, self.periodic, strict=True)]
        most = max_neighbors or (64 if self.dim == 3 else 32)
        shared: dict[str, Any] = {"ptr": ends, "period": period}
        near = radius_search(place, radius, nodes, max_neighbors=most, queries_ptr=nodes_ptr, **shared)
        index, distance, valid = _padded(near.ptr, near.index, near.distance, max(most, min_neighbors))
        wanted = ends.diff().clamp(max=min_neighbors)  # a graph of two points has two
        owner = torch.arange(graphs, device=pos.device).repeat_interleave(self.num_nodes)
        for few in wanted.unique().tolist():
            poor = ((near.found < few) & (wanted[owner] == few)).nonzero().flatten()
            if not len(poor):
                continue
            starts = torch.searchsorted(owner[poor], torch.arange(graphs + 1, device=pos.device))
            fill = knn_search(place, few, nodes[poor], queries_ptr=starts, **shared)
            index[poor, :few] = fill.index.view(-1, few)
            distance[poor, :few] = fill.distance.view(-1, few)
            valid[poor, :few] = True
        offset = self._offset(nodes.unsqueeze(1), place[index]) * valid.unsqueeze(2)
        square = distance.square()
        low = square.masked_fill(~valid, math.inf).amin(1, keepdim=True)
        high = square.masked_fill(~valid, -math.inf).amax(1, keepdim=True)
        scaled = (square - low) / torch.maximum(high - low, 1e-4 * high.clamp(min=1e-6))  # equal distances stay equal
        weight = torch.softmax((-scaled / temperature).masked_fill(~valid, -math.inf), 1)
        return Neighborhood(index, offset, weight, near.found, low.sqrt().squeeze(1))

    def to_points(self, pos: Float[Tensor, "q d"], *, graph: Int[Tensor, " q"] | None = None) -> Neighborhood:
        """What the points see of the nodes: those within two cells, half-cosine weights.

        Args:
            pos: Query points, m.
            graph: ``[q]`` grid of each point in a batch of grids; None: one grid.

        Raises:
            InputError: Points outside of the box.
        """
        if not len(pos):
            raise InputError("there are no query points; give at least one")
        place = self.cells(pos)
        first = (place - 0.5).floor().long() - (REACH - 1)
        steps = torch.arange(2 * REACH, device=pos.device)
        stencil = torch.stack(torch.meshgrid(*[steps] * self.dim, indexing="ij"), -1).flatten(0, -2)
        node = first.unsqueeze(1) + stencil  # may be outside: wrapped or without weight
        offset = place.unsqueeze(1) - (node.to(place.dtype) + 0.5)
        count = torch.tensor(self.shape, device=pos.device)
        wrap = torch.tensor(self.periodic, device=pos.device)
        inside = (wrap | ((node >= 0) & (node < count))).all(2)
        node = torch.where(wrap, node.remainder(count), torch.minimum(node.clamp(min=0), count - 1))
        strides = torch.tensor([math.prod(self.shape[axis + 1 :]) for axis in range(self.dim)], device=pos.device)
        index = (node * strides).sum(2)
        if graph is not None:
            index = index + graph.unsqueeze(1) * self.num_nodes
        distance = offset.norm(dim=2)
        seen = inside & (distance < REACH)
        weight = (0.5 + 0.5 * torch.cos(math.pi / REACH * distance)) * seen
        weight = weight / weight.sum(1, keepdim=True)
        nearest = distance.masked_fill(~seen, math.inf).amin(1)
        return Neighborhood(index * seen, offset * seen.unsqueeze(2), weight, seen.sum(1), nearest)

    def _offset(self, a: Tensor, b: Tensor) -> Tensor:
        """A - b to the nearest image along periodic axes, in cells."""
        gap = a - b
        count = gap.new_tensor(self.shape)
        wrap = torch.tensor(self.periodic, device=gap.device)
        return torch.where(wrap, gap - count * torch.round(gap / count), gap)


def _padded(ptr: Tensor, index: Tensor, values: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of a CSR structure side by side: ``[q, k]``, ``[q, k, ...]`` and which places are taken."""
    count = ptr.diff()
    place = torch.arange(max(most, 1), device=ptr.device)
    valid = place < count.unsqueeze(1)
    row = (ptr[:-1].unsqueeze(1) + place).clamp(max=max(index.numel() - 1, 0))
    if not index.numel():
        empty = index.new_zeros(valid.shape)
        return empty, values.new_zeros((*valid.shape, *values.shape[1:])), valid
    taken = valid.view(*valid.shape, *(1,) * (values.dim() - 1))
    return index[row] * valid, values[row] * taken, valid
