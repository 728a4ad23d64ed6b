"""Nodes to patches and back on CUDA: one pass, nothing added up."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from meshops.ops.kernels.available import on_device_of

ROWS = 32
MOST_COLS = 128


def gather_patches(values: Tensor, index: Tensor, mask: Tensor | None) -> Tensor:
    """Same as :func:`meshops.ops.gather_patches`, bit for bit."""
    channels = math.prod(values.shape[1:])
    out = values.new_empty((*index.shape, *values.shape[1:]))
    _launch(_gather, values.contiguous(), out, index, mask, channels)
    return out


def scatter_patches(rows: Tensor, index: Tensor, mask: Tensor | None, num_nodes: int) -> Tensor:
    """Same as :func:`meshops.ops.scatter_patches`, bit for bit."""
    shape = rows.shape[index.dim() :]
    out = rows.new_zeros((num_nodes, *shape))
    _launch(_scatter, rows.contiguous(), out, index, mask, math.prod(shape))
    return out


def _launch(kernel: object, source: Tensor, target: Tensor, index: Tensor, mask: Tensor | None, channels: int) -> None:
    slots = index.numel()
    if slots == 0 or channels == 0:
        return
    cols = min(triton.next_power_of_2(channels), MOST_COLS)
    index = index.contiguous()
    has_mask = mask is not None
    flags = mask.contiguous().view(torch.uint8) if mask is not None else index
    grid = (triton.cdiv(slots, ROWS), triton.cdiv(channels, cols))
    with on_device_of(source):
        kernel[grid](source, target, index, flags, slots, channels, HAS_MASK=has_mask, ROWS=ROWS, COLS=cols)  # type: ignore[index]


@triton.jit  # type: ignore[untyped-decorator]
def _gather(  # type: ignore[no-untyped-def]
    source, target, index, flags, slots, channels,
    HAS_MASK: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    slot = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    inside = slot < slots
    filled = inside
    if HAS_MASK:
        filled = inside & (tl.load(flags + slot, mask=inside, other=0) != 0)
    node = tl.load(index + slot, mask=filled, other=0)
    wide = col[None, :] < channels
    row = tl.load(source + node[:, None] * channels + col[None, :], mask=filled[:, None] & wide, other=0.0)
    tl.store(target + slot[:, None] * channels + col[None, :], row, mask=inside[:, None] & wide)


@triton.jit  # type: ignore[untyped-decorator]
def _scatter(  # type: ignore[no-untyped-def]
    source, target, index, flags, slots, channels,
    HAS_MASK: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    slot = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    filled = slot < slots
    if HAS_MASK:
        filled = filled & (tl.load(flags + slot, mask=filled, other=0) != 0)
    node = tl.load(index + slot, mask=filled, other=0)
    where = filled[:, None] & (col[None, :] < channels)
    row = tl.load(source + slot[:, None] * channels + col[None, :], mask=where, other=0.0)
    tl.store(target + node[:, None] * channels + col[None, :], row, mask=where)
