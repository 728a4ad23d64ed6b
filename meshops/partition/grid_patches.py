"""Patches of several sizes on a batch of equal grids, as one mask per size: what the adaptive tokenisers return.

Everything is dense until :meth:`GridPatches.index`, the one place where the number of patches has to be known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.pyramid import upsample
from meshops.partition.cover import Cover
from meshops.partition.partition import Partition


@dataclass(frozen=True, eq=False)
class GridPatches:
    """Cubes of cells, aligned to multiples of their own side, in b samples.

    Order of the patches: sample after sample, within a sample large ones first, row-major within a size.

    Attributes:
        shape: Cells of the grid along each axis; patches may reach beyond its high ends.
        sizes: Side of the patches of each level in cells, coarsest first, each half (1 / k) of the one before.
        active: For each level ``[b, *ceil(shape / sizes[0]) * (sizes[0] / size)]``, True where a patch is.
        parts: Parts a patch is seen as along each axis: None: all its cells (IAP, where patches do not overlap);
            k: k blocks (AMR-Transformer, where finer patches lie on top of coarser ones).
    """

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    active: tuple[Tensor, ...]
    parts: int | None = None

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return len(self.shape)

    @property
    def batch_size(self) -> int:
        """Number of samples b."""
        return self.active[0].shape[0]

    @cached_property
    def mask(self) -> Tensor:
        """``[b, m]`` masks of all levels side by side."""
        return torch.cat([level.flatten(1) for level in self.active], 1)

    @cached_property
    def count(self) -> Tensor:
        """``[b]`` number of patches of each sample."""
        return self.mask.sum(1)

    @cached_property
    def index(self) -> tuple[Tensor, Tensor]:
        """``(sample [t], place [t])`` of every patch in :attr:`mask`; waits for the device."""
        sample, place = self.mask.nonzero(as_tuple=True)
        return sample, place

    @property
    def ptr(self) -> Tensor:
        """``[b + 1]`` patches of sample i are ``ptr[i]:ptr[i + 1]``."""
        return torch.nn.functional.pad(self.count.cumsum(0), (1, 0))

    @cached_property
    def starts(self) -> list[int]:
        """Where each level starts in :attr:`mask`, and its end."""
        out = [0]
        for level in self.active:
            out.append(out[-1] + level[0].numel())
        return out

    @cached_property
    def rows(self) -> tuple[Tensor, ...]:
        """For each level the numbers of its patches, ascending; with :attr:`index` all that waits for the device."""
        number = torch.bincount(self.level, minlength=len(self.sizes)).tolist()
        rows: tuple[Tensor, ...] = torch.sort(self.level, stable=True).indices.split(number)
        return rows

    @cached_property
    def level(self) -> Tensor:
        """``[t]`` level of each patch, 0 for the coarsest."""
        bounds = torch.tensor(self.starts[1:-1], device=self.mask.device, dtype=torch.long)
        return torch.searchsorted(bounds, self.index[1], right=True)

    @property
    def size(self) -> Tensor:
        """``[t]`` side of each patch, cells."""
        return torch.tensor(self.sizes, device=self.mask.device)[self.level]

    @cached_property
    def corner(self) -> Tensor:
        """``[t, d]`` int64 lowest cell of each patch."""
        table = torch.cat([_corners(level.shape[1:], size, level.device) for level, size in self._levels()])
        return table[self.index[1]]

    @property
    def center(self) -> Tensor:
        """``[t, d]`` float32 centre of each patch, in cells from the low end."""
        return self.corner + self.size.unsqueeze(1) * 0.5

    def tokenize(self, values: Tensor) -> list[Tensor]:
        """Values ``[b, c, *shape]`` of the parts of each patch: for each level ``[t_l, parts**d, c]``, parts row-major.

        A part of several cells holds their mean. The grid is continued by its last cells where patches reach beyond.
        """
        self._check(values)
        values = self._padded(values)
        out = []
        for level, (active, size) in enumerate(self._levels()):
            parts = self.parts or size
            coarse = block_mean(values, size // parts)
            blocks = to_blocks(coarse, parts).flatten(0, 1)  # [b * n, parts**d, c]
            rows = self.rows[level]
            sample, place = self.index[0][rows], self.index[1][rows] - self.starts[level]
            out.append(blocks[sample * active[0].numel() + place])
        return out

    def paint(self, rows: Sequence[Tensor]) -> Tensor:
        """Grid ``[b, c, *shape]`` from the parts of each patch, as :meth:`tokenize` returns them; finer on top."""
        canvas: Tensor | None = None
        for level, ((active, size), values) in enumerate(zip(self._levels(), rows, strict=True)):
            parts = self.parts or size
            b, n = active.shape[0], active[0].numel()
            blocks = values.new_zeros(b * n, parts**self.dim, values.shape[2])
            sample, place = self.index[0][self.rows[level]], self.index[1][self.rows[level]] - self.starts[level]
            blocks = blocks.index_copy(0, sample * n + place, values)
            grid = from_blocks(blocks.unflatten(0, (b, n)), active.shape[1:], parts)
            grid = upsample(grid.flatten(0, 1), size // parts).unflatten(0, (b, -1))
            canvas = grid if canvas is None else torch.where(upsample(active, size).unsqueeze(1), grid, canvas)
        assert canvas is not None
        return crop(canvas, self.shape)

    def owner(self, unit: int = 1) -> Tensor:
        """``[b, *grid]`` number of the finest patch of its sample over each block of ``unit`` cells, counted from 0."""
        slot = self.mask.cumsum(1) - 1
        out: Tensor | None = None
        for level, (active, size) in enumerate(self._levels()):
            number = slot[:, self.starts[level] : self.starts[level + 1]].view_as(active)
            number, there = upsample(number, size // unit), upsample(active, size // unit)
            out = number if out is None else torch.where(there, number, out)
        assert out is not None
        return out

    def partition(self, pos: Tensor) -> Partition:
        """The patches as a partition of the cells of grid graphs; for patches that overlap see :meth:`cover`.

        Args:
            pos: ``[b * prod(shape), d]`` cell centres, grid after grid, row-major.
        """
        if self.parts is not None:
            raise InputError("these patches overlap and are no partition; use cover()")
        number = self._number()
        perm = torch.sort(number, stable=True).indices
        sizes = torch.bincount(number, minlength=len(self.index[0]))
        bounds = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
        return Partition.from_order(pos, perm, bounds, level=self.level, batch=self.index[0])

    def cover(self, pos: Tensor, *, parts: bool = False) -> Cover:
        """The patches, or with ``parts`` all parts of each, as groups of cells that may overlap.

        Args:
            pos: As for :meth:`partition`.
            parts: One group per part, patch after patch.
        """
        cells = torch.arange(math.prod(self.shape), device=self.mask.device).view(1, 1, *self.shape)
        inside = self._padded(torch.ones_like(cells), zero=True)
        cells = self._padded(cells)
        nodes, there = [], []
        for level, size in enumerate(self.sizes):
            rows = self.rows[level]
            sample, place = self.index[0][rows], self.index[1][rows] - self.starts[level]
            k = self.parts or 1
            shift = sample.view(-1, 1, 1) * math.prod(self.shape)
            nodes.append(_parts_of(cells, size, k)[place] + shift)
            there.append(_parts_of(inside, size, k)[place] > 0)
        return Cover.from_groups(pos, nodes, there, self.rows, level=self.level, batch=self.index[0], parts=parts)

    def _number(self) -> Tensor:
        """``[b * prod(shape)]`` number of the finest patch over each cell."""
        owner = crop(self.owner(), self.shape)
        first = self.ptr[:-1].view(-1, *[1] * self.dim)
        return (owner + first).flatten()

    def _levels(self) -> list[tuple[Tensor, int]]:
        return list(zip(self.active, self.sizes, strict=True))

    def _check(self, values: Tensor) -> None:
        if values.dim() != self.dim + 2 or (values.shape[0], *values.shape[2:]) != (self.batch_size, *self.shape):
            raise InputError(
                f"values must be [{self.batch_size}, c, {', '.join(map(str, self.shape))}] like the patches, "
                f"got {tuple(values.shape)}"
            )

    def _padded(self, values: Tensor, *, zero: bool = False) -> Tensor:
        full = [n * self.sizes[0] for n in self.active[0].shape[1:]]
        return pad_high(values, full, zero=zero)


def pad_high(values: Tensor, full: Sequence[int], *, zero: bool = False) -> Tensor:
    """Continue ``[b, c, *grid]`` at the high ends to ``full`` cells: by the last cell, or by zero."""
    for axis, n in enumerate(full, start=2):
        short = n - values.shape[axis]
        if short:
            last = values.narrow(axis, values.shape[axis] - 1, 1)
            last = torch.zeros_like(last) if zero else last
            values = torch.cat([values, last.repeat_interleave(short, axis)], axis)
    return values


def crop(values: Tensor, shape: Sequence[int]) -> Tensor:
    """The first ``shape`` cells of ``[..., *grid]``: inverse of :func:`pad_high`."""
    for axis, n in enumerate(shape, start=values.dim() - len(shape)):
        values = values.narrow(axis, 0, n)
    return values


def block_mean(values: Tensor, size: int) -> Tensor:
    """Means over blocks of ``size`` cells of ``[b, c, *grid]``."""
    if size == 1:
        return values
    for axis in range(2, values.dim()):
        values = values.unflatten(axis, (-1, size)).mean(axis + 1)
    return values


def to_blocks(values: Tensor, size: int) -> Tensor:
    """``[b, c, *grid]`` -> ``[b, n, size**d, c]``: blocks row-major, cells row-major within a block."""
    dim = values.dim() - 2
    for axis in range(dim):
        values = values.unflatten(2 + 2 * axis, (-1, size))
    outer, inner = [2 + 2 * a for a in range(dim)], [3 + 2 * a for a in range(dim)]
    return values.permute(0, *outer, *inner, 1).flatten(1 + dim, 2 * dim).flatten(1, dim)


def from_blocks(blocks: Tensor, count: Sequence[int], size: int) -> Tensor:
    """Inverse of :func:`to_blocks`; ``count`` blocks along each axis."""
    dim = len(count)
    values = blocks.unflatten(2, (size,) * dim).unflatten(1, tuple(count))  # [b, *count, *size, c]
    order = [axis for a in range(dim) for axis in (1 + a, 1 + dim + a)]
    values = values.permute(0, 2 * dim + 1, *order)
    for axis in range(dim):
        values = values.flatten(2 + axis, 3 + axis)
    return torch.as_tensor(values)


def _corners(count: Sequence[int], size: int, device: torch.device) -> Tensor:
    axes = [torch.arange(n, device=device) * size for n in count]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)


def _parts_of(cells: Tensor, size: int, parts: int) -> Tensor:
    """``[1, 1, *grid]`` -> ``[n, parts**d, (size / parts)**d]`` cells of each part of each patch."""
    inner = to_blocks(cells, size // parts)[..., 0]  # [1, m, cells of a part]
    count = [n // (size // parts) for n in cells.shape[2:]]
    grid = inner[0].T.reshape(1, -1, *count)  # a channel per cell of a part
    return to_blocks(grid, parts)[0]
