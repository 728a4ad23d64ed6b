"""Space-filling curves: points on an integer grid, and the place of a cell along the Morton and the Hilbert curve.

Codes are int64 of at most 63 bits: 62 per axis in one dimension, 31 in two, 21 in three. The first axis is the most
significant: of two cells that differ first in the same bit, the one with the larger first coordinate comes later.
Everything is integers, or float64 operations that are rounded alike everywhere, so all devices give the same bits.

Hilbert: J. Skilling, "Programming the Hilbert curve", AIP Conf. Proc. 707 (2004) 381, over all points at once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.checks import check_positions, check_ptr, unreadable
from meshops.typing import Float, Int

MAX_DEPTH = {1: 62, 2: 31, 3: 21}
"""Largest number of bits per axis, by space dimension."""

SPREAD = {  # shift by, then keep: moves bit i to bit d * i
    1: (),
    2: (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ),
    3: (
        (32, 0x001F00000000FFFF),
        (16, 0x001F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ),
}


class Grid(NamedTuple):
    """Result of :func:`grid_positions`.

    Attributes:
        cells: ``[n, d]`` int64 coordinates in ``0 .. 2**depth - 1``.
        origin: ``[b, d]`` float64 lower corner of the cube of each graph, m; 0 for a graph without points.
        side: ``[b]`` float64 side of the cube, m; 0 where all points coincide.
    """

    cells: Tensor
    origin: Tensor
    side: Tensor


def grid_positions(pos: Float[Tensor, "n d"], ptr: Int[Tensor, " b1"], depth: int) -> Grid:
    """Cell of each point in a grid of ``2**depth`` cells a side over the bounding cube of its graph.

    The cube starts at the smallest coordinates and is as wide as the largest extent; its far faces belong to the last
    cells.

    Args:
        pos: Positions, finite, one to three coordinates.
        ptr: Graph i owns rows ``ptr[i]:ptr[i + 1]``.
        depth: Number of halvings of the cube.

    Raises:
        InputError: Positions are not finite or have more than three coordinates, or ``depth`` is out of range.

    Example:
        >>> grid_positions(torch.tensor([[1.0, 0.0], [2.0, 0.5], [5.0, 1.0]]), torch.tensor([0, 3]), depth=3).cells
        tensor([[0, 0],
                [2, 1],
                [7, 2]])
    """
    check_positions(pos, "position")
    check_ptr(ptr, pos.shape[0], "ptr")
    check_depth(depth, pos.shape[1])
    exact = pos.detach().double()
    graph = torch.repeat_interleave(ptr.diff().to(pos.device), output_size=pos.shape[0])
    rows = graph.unsqueeze(1).expand_as(exact)
    low, high = (
        exact.new_zeros(ptr.shape[0] - 1, pos.shape[1]).scatter_reduce(0, rows, exact, reduce, include_self=False)
        for reduce in ("amin", "amax")
    )
    origin = low + 0.0  # a minimum of -0.0 and 0.0 may be either; the sum is always 0.0
    side = (high - low).amax(1).clamp(max=torch.finfo(torch.float64).max)
    return Grid(cells_in_cube(exact, origin[graph], side[graph], depth), origin, side)


def cells_in_cube(
    pos: Float[Tensor, "n d"], origin: Float[Tensor, "n d"], side: Float[Tensor, " n"], depth: int
) -> Int[Tensor, "n d"]:
    """Cell of points inside their cube; all arguments in float64, one row per point."""
    offset = (pos - origin).clamp_(max=torch.finfo(torch.float64).max)
    share = offset.div_(torch.where(side > 0, side, 1.0).unsqueeze(1))
    return share.mul_(2.0**depth).long().clamp_(max=2**depth - 1)


def morton_encode(cells: Int[Tensor, "n d"]) -> Int[Tensor, " n"]:
    """Place along the Morton curve: the bits of the coordinates in turn, those of the first axis in front.

    Args:
        cells: Coordinates from 0, less than ``2**MAX_DEPTH[d]``.

    Raises:
        InputError: A coordinate is out of range, or there are more than three axes.

    Example:
        >>> morton_encode(torch.tensor([[0, 1], [1, 0], [3, 2]]))
        tensor([ 1,  2, 14])
    """
    check_cells(cells)
    return _interleave(list(cells.unbind(1)))


def morton_decode(code: Int[Tensor, " n"], dim: int) -> Int[Tensor, "n {dim}"]:
    """Cell at a place along the Morton curve, the inverse of :func:`morton_encode`.

    Example:
        >>> morton_decode(torch.tensor([14]), 2)
        tensor([[3, 2]])
    """
    check_code(code, dim, MAX_DEPTH.get(dim, 0))
    return torch.stack(_separate(code, dim), 1)


def hilbert_encode(cells: Int[Tensor, "n d"], depth: int) -> Int[Tensor, " n"]:
    """Place along the Hilbert curve through a grid of ``2**depth`` cells a side; neighbours on it share a face.

    Args:
        cells: Coordinates in ``0 .. 2**depth - 1``.
        depth: Number of bits per axis.

    Raises:
        InputError: A coordinate is out of range, there are more than three axes, or ``depth`` is out of range.

    Example:
        >>> hilbert_encode(torch.tensor([[0, 0], [0, 1], [1, 1], [1, 0]]), depth=1)
        tensor([0, 1, 2, 3])
    """
    check_cells(cells, depth)
    dim = cells.shape[1]
    if dim == 1:
        return cells[:, 0].clone()
    axes = [axis.to(torch.int32) for axis in cells.unbind(1)]
    for bit in range(depth - 1, 0, -1):
        for axis in range(dim):
            _exchange(axes, axis, bit)
    for axis in range(1, dim):
        axes[axis] ^= axes[axis - 1]
    parity = axes[-1] >> 1  # of all higher bits
    for shift in (1, 2, 4, 8, 16):
        parity ^= parity >> shift
    return _interleave([(axis ^ parity).long() for axis in axes])


def hilbert_decode(code: Int[Tensor, " n"], dim: int, depth: int) -> Int[Tensor, "n {dim}"]:
    """Cell at a place along the Hilbert curve, the inverse of :func:`hilbert_encode`.

    Example:
        >>> hilbert_decode(torch.tensor([2]), dim=2, depth=1)
        tensor([[1, 1]])
    """
    check_code(code, dim, depth)
    if dim == 1:
        return code.unsqueeze(1).clone()
    axes = [axis.to(torch.int32) for axis in _separate(code, dim)]
    last = axes[-1] >> 1
    for axis in range(dim - 1, 0, -1):
        axes[axis] ^= axes[axis - 1]
    axes[0] ^= last
    for bit in range(1, depth):
        for axis in range(dim - 1, -1, -1):
            _exchange(axes, axis, bit)
    return torch.stack([axis.long() for axis in axes], 1)


def curve_order(code: Int[Tensor, " n"], ptr: Int[Tensor, " b1"]) -> Int[Tensor, " n"]:
    """Order by (graph, code, index): codes of 63 bits leave no room for the number of the graph.

    Args:
        code: Place of each point along a curve.
        ptr: Graph i owns rows ``ptr[i]:ptr[i + 1]``; on the device of ``code``.
    """
    order = torch.sort(code, stable=True).indices
    if ptr.shape[0] <= 2:
        return order
    graph = torch.repeat_interleave(ptr.diff(), output_size=code.shape[0])
    return order[torch.sort(graph[order], stable=True).indices]


def common_depth(first: Int[Tensor, " n"], second: Int[Tensor, " n"], dim: int, depth: int) -> Int[Tensor, " n"]:
    """Depth of the smallest cell that holds both of two Morton codes of ``dim * depth`` bits: ``depth`` where equal.

    Example:
        >>> common_depth(torch.tensor([0b1101, 0b1101, 0b1101]), torch.tensor([0b1101, 0b1110, 0b0000]), 2, 2)
        tensor([2, 1, 0])
    """
    differ = first ^ second
    differ &= ~(differ >> 1)  # keeps the highest bit and clears the next: float64 cannot round up to a power of two
    highest = ((differ.double().view(torch.int64) >> 52) - 1023).clamp_(min=-1)  # the exponent; -1 where equal
    return depth - 1 - highest.div_(dim, rounding_mode="floor")


def search_segments(
    values: Int[Tensor, " m"],
    ptr: Int[Tensor, " b1"],
    queries: Int[Tensor, " q"],
    segment: Int[Tensor, " q"],
    *,
    right: bool = False,
) -> Int[Tensor, " q"]:
    """Like ``torch.searchsorted``, each query in its own segment: place in ``values`` where it would be inserted.

    Args:
        values: Ascending within each segment.
        ptr: Segment i is ``values[ptr[i]:ptr[i + 1]]``.
        queries: What to look for.
        segment: Where.
        right: Behind equal values instead of before.

    Example:
        >>> values, ptr = torch.tensor([1, 5, 2, 9]), torch.tensor([0, 2, 4])
        >>> search_segments(values, ptr, torch.tensor([2, 2]), torch.tensor([0, 1]))
        tensor([1, 2])
    """
    if ptr.shape[0] == 2:
        return torch.searchsorted(values, queries.contiguous(), right=right)
    low, high = ptr[segment], ptr[segment + 1]
    for _ in range(values.shape[0].bit_length()):
        middle = (low + high) >> 1
        value = values[middle.clamp(max=values.shape[0] - 1)]
        behind = ((value <= queries) if right else (value < queries)) & (low < high)
        low, high = torch.where(behind, middle + 1, low), torch.where(behind, high, middle)
    return low


def check_depth(depth: int, dim: int) -> None:
    """Refuse a dimension other than 1 to 3 and a depth whose codes do not fit."""
    if dim not in MAX_DEPTH:
        raise InputError(f"space-filling curves are for 1, 2 or 3 coordinates, got {dim}")
    if not 0 <= depth <= MAX_DEPTH[dim]:
        raise InputError(f"depth must be 0 to {MAX_DEPTH[dim]} for {dim} coordinates, got {depth}")


def check_cells(cells: Tensor, depth: int | None = None) -> None:
    """Refuse what is not ``[n, d]`` int64 in ``0 .. 2**depth - 1``, naming the first cell that is not.

    Args:
        cells: Coordinates.
        depth: Number of bits per axis; None: the most that fit.
    """
    if cells.dim() != 2 or cells.dtype != torch.int64:
        raise InputError(f"cells must be an int64 tensor [n, d], got {tuple(cells.shape)} of {cells.dtype}")
    if depth is None:
        depth = MAX_DEPTH.get(cells.shape[1], 0)
    check_depth(depth, cells.shape[1])
    _check_range(cells, 2**depth - 1, "cell", "coordinates")


def check_code(code: Tensor, dim: int, depth: int) -> None:
    """Refuse what is not ``[n]`` int64 in ``0 .. 2**(dim * depth) - 1``, naming the first code that is not."""
    if code.dim() != 1 or code.dtype != torch.int64:
        raise InputError(f"codes must be an int64 tensor [n], got {tuple(code.shape)} of {code.dtype}")
    check_depth(depth, dim)
    _check_range(code, 2 ** (dim * depth) - 1, "code", "codes")


def _check_range(values: Tensor, largest: int, name: str, what: str) -> None:
    if values.numel() == 0 or unreadable(values):
        return
    low, high = torch.aminmax(values)
    if int(low) < 0 or int(high) > largest:
        outside = ((values < 0) | (values > largest)).view(values.shape[0], -1).any(1)
        bad = int(outside.nonzero()[0])
        raise InputError(f"{name} {bad} is {values[bad].tolist()}; {what} must lie in 0 .. {largest}")


def _exchange(axes: list[Tensor], axis: int, bit: int) -> None:
    """One step of Skilling's loop, in place: invert or exchange the bits below ``bit``, without a branch."""
    below = (1 << bit) - 1  # his P
    invert = (axes[axis] >> bit).bitwise_and_(1).mul_(below)
    if axis > 0:
        swap = (axes[0] ^ axes[axis]).bitwise_and_(~invert).bitwise_and_(below)
        axes[axis] ^= swap
        invert |= swap
    axes[0] ^= invert


def _interleave(axes: list[Tensor]) -> Tensor:
    dim = len(axes)
    code = torch.zeros_like(axes[0])
    for axis in axes:
        spread = axis.clone()
        for shift, mask in SPREAD[dim]:
            spread.bitwise_or_(spread << shift).bitwise_and_(mask)
        code = (code << 1).bitwise_or_(spread)
    return code


def _separate(code: Tensor, dim: int) -> list[Tensor]:
    axes = []
    masks = [2 ** MAX_DEPTH[dim] - 1, *(mask for _, mask in SPREAD[dim])]
    for axis in range(dim):
        packed = (code >> (dim - 1 - axis)).bitwise_and_(masks[-1])
        for (shift, _), mask in zip(reversed(SPREAD[dim]), reversed(masks[:-1]), strict=True):
            packed.bitwise_or_(packed >> shift).bitwise_and_(mask)
        axes.append(packed)
    return axes


def shared_with_previous(code: Tensor, graph: Tensor, dim: int, depth: int) -> Tensor:
    """``[n]`` int8 depth of the smallest cell that holds a code and the one before; -1 for the first of a graph."""
    shared = torch.full_like(code, -1, dtype=torch.int8)
    together = common_depth(code[:-1], code[1:], dim, depth)
    shared[1:] = torch.where(graph[:-1] == graph[1:], together, -1).to(torch.int8)
    return shared
