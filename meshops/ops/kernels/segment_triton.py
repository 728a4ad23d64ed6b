"""Segment reductions on CUDA: one program per segment and block of channels, rows in a fixed order, no atomics.

A long segment is cut into pieces of ``PIECE`` rows that are reduced side by side and then together.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from meshops.ops.kernels.available import on_device_of

PIECE = 4096
ROWS = 16
MOST_COLS = 64


def segment_sum(values: Tensor, ptr: Tensor, perm: Tensor | None = None) -> Tensor:
    """Same as :func:`meshops.ops.segment_sum` up to rounding."""
    pieces = _pieces(ptr)
    if pieces is not ptr:
        wide = values.dtype if values.dtype == torch.float64 else torch.float32
        partial = _sum(values, pieces, perm, wide)
        return _sum(partial, torch.searchsorted(pieces, ptr), None, values.dtype)
    return _sum(values, ptr, perm, values.dtype)


def _sum(values: Tensor, ptr: Tensor, perm: Tensor | None, dtype: torch.dtype) -> Tensor:
    channels, segments = math.prod(values.shape[1:]), ptr.numel() - 1
    out = torch.empty((segments, *values.shape[1:]), dtype=dtype, device=values.device)
    if out.numel():
        cols = min(triton.next_power_of_2(channels), MOST_COLS)
        wide = tl.float64 if values.dtype == torch.float64 else tl.float32
        with on_device_of(values):
            _sum_kernel[(segments, triton.cdiv(channels, cols))](
                values.contiguous(), ptr.contiguous(), _order(perm, ptr), out, channels,
                HAS_PERM=perm is not None, ROWS=ROWS, COLS=cols, WIDE=wide,
            )  # fmt: skip
    return out


def segment_spread(values: Tensor, ptr: Tensor, perm: Tensor | None, num_rows: int) -> Tensor:
    """Same as :func:`meshops.ops.segment_spread`, bit for bit."""
    channels = math.prod(values.shape[1:])
    out = values.new_empty((num_rows, *values.shape[1:]))
    if out.numel():
        pieces = _pieces(ptr)
        owner = torch.searchsorted(ptr, pieces[:-1], right=True) - 1
        cols = min(triton.next_power_of_2(channels), MOST_COLS)
        with on_device_of(values):
            _spread_kernel[(pieces.numel() - 1, triton.cdiv(channels, cols))](
                values.contiguous(), owner, pieces.contiguous(), _order(perm, ptr), out, channels,
                HAS_PERM=perm is not None, ROWS=ROWS, COLS=cols,
            )  # fmt: skip
    return out


def segment_extreme(values: Tensor, ptr: Tensor, perm: Tensor | None, largest: bool) -> tuple[Tensor, Tensor]:
    """Extreme of each segment and the first row that holds it, as the definition has them."""
    channels, segments = math.prod(values.shape[1:]), ptr.numel() - 1
    out = values.new_empty((segments, *values.shape[1:]))
    place = torch.empty(out.shape, dtype=torch.int64, device=values.device)
    if out.numel():
        cols = min(triton.next_power_of_2(channels), MOST_COLS)
        if values.is_floating_point():
            least = -math.inf if largest else math.inf
            wide = tl.float64 if values.dtype == torch.float64 else tl.float32
        else:
            wide = tl.int64
            least = torch.iinfo(values.dtype).min if largest else torch.iinfo(values.dtype).max
        with on_device_of(values):
            _extreme_kernel[(segments, triton.cdiv(channels, cols))](
                values.contiguous(), ptr.contiguous(), _order(perm, ptr), out, place, channels,
                HAS_PERM=perm is not None, LARGEST=largest, LEAST=least, ROWS=ROWS, COLS=cols, WIDE=wide,
            )  # fmt: skip
    return out, place


def _order(perm: Tensor | None, ptr: Tensor) -> Tensor:
    return ptr if perm is None else perm.contiguous()


def _pieces(ptr: Tensor) -> Tensor:
    """Boundaries that cut every segment into pieces of at most ``PIECE`` rows."""
    if ptr.numel() < 2 or int(ptr.diff().max()) <= PIECE:
        return ptr
    extra = torch.arange(0, int(ptr[-1]), PIECE, device=ptr.device)
    cut: Tensor = torch.unique(torch.cat([ptr, extra]))
    return cut


@triton.jit  # type: ignore[untyped-decorator]
def _sum_kernel(  # type: ignore[no-untyped-def]
    values, ptr, perm, out, channels,
    HAS_PERM: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    segment = tl.program_id(0).to(tl.int64)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    start, end = tl.load(ptr + segment), tl.load(ptr + segment + 1)
    total = tl.zeros((ROWS, COLS), dtype=WIDE)
    for first in range(start, end, ROWS):
        row = first + tl.arange(0, ROWS).to(tl.int64)
        inside = row < end
        if HAS_PERM:
            row = tl.load(perm + row, mask=inside, other=0)
        where = inside[:, None] & (col[None, :] < channels)
        total += tl.load(values + row[:, None] * channels + col[None, :], mask=where, other=0.0).to(WIDE)
    tl.store(out + segment * channels + col, tl.sum(total, 0), mask=col < channels)


@triton.jit  # type: ignore[untyped-decorator]
def _spread_kernel(  # type: ignore[no-untyped-def]
    values, owner, ptr, perm, out, channels,
    HAS_PERM: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    piece = tl.program_id(0).to(tl.int64)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    start, end = tl.load(ptr + piece), tl.load(ptr + piece + 1)
    value = tl.load(values + tl.load(owner + piece) * channels + col, mask=col < channels, other=0)
    for first in range(start, end, ROWS):
        row = first + tl.arange(0, ROWS).to(tl.int64)
        inside = row < end
        if HAS_PERM:
            row = tl.load(perm + row, mask=inside, other=0)
        where = inside[:, None] & (col[None, :] < channels)
        tl.store(
            out + row[:, None] * channels + col[None, :], tl.broadcast_to(value[None, :], (ROWS, COLS)), mask=where
        )


@triton.jit  # type: ignore[untyped-decorator]
def _extreme_kernel(  # type: ignore[no-untyped-def]
    values, ptr, perm, out, place, channels,
    HAS_PERM: tl.constexpr, LARGEST: tl.constexpr, LEAST: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    segment = tl.program_id(0).to(tl.int64)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    start, end = tl.load(ptr + segment), tl.load(ptr + segment + 1)
    best = tl.zeros((ROWS, COLS), dtype=WIDE)
    slot = tl.full((ROWS, COLS), -1, dtype=tl.int64)  # place in the order; -1: the lane has seen no row
    for first in range(start, end, ROWS):
        k = first + tl.arange(0, ROWS).to(tl.int64)
        inside = k < end
        row = k
        if HAS_PERM:
            row = tl.load(perm + k, mask=inside, other=0)
        where = inside[:, None] & (col[None, :] < channels)
        new = tl.load(values + row[:, None] * channels + col[None, :], mask=where, other=0).to(WIDE)
        if LARGEST:
            better = new > best
        else:
            better = new < best
        better = better | (slot < 0) | ((new != new) & (best == best))
        best = tl.where(where & better, new, best)
        slot = tl.where(where & better, k[:, None], slot)
    # Fold the lanes: NaN first, then the better one; of equals the one that comes first.
    seen = slot >= 0
    has_nan = tl.max(((best != best) & seen).to(tl.int32), 0) > 0
    number = tl.where((best == best) & seen, best, LEAST)
    if LARGEST:
        extreme = tl.max(number, 0)
    else:
        extreme = tl.min(number, 0)
    hit = seen & tl.where(has_nan[None, :], best != best, best == extreme[None, :])
    first_slot = tl.min(tl.where(hit, slot, end), 0)
    filled = (col < channels) & (first_slot < end)
    row = first_slot
    if HAS_PERM:
        row = tl.load(perm + first_slot, mask=filled, other=0)
    value = tl.load(values + row * channels + col, mask=filled, other=0)
    tl.store(out + segment * channels + col, value, mask=col < channels)
    tl.store(place + segment * channels + col, tl.where(filled, row, -1), mask=col < channels)
