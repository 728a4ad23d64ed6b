"""Sobel score of the normalised channels and its sums over blocks, in one pass over the fields (CUDA)."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from meshops.ops.kernels.available import on_device_of

CELLS = 128  # blocks of cells per program


def sobel_blocks(
    fields: Tensor, scale: Tensor, slopes: list[float], wrap: list[bool], block: int, mask: Tensor | None
) -> Tensor:
    """Same as the definition in :mod:`meshops.ops.scores`, to rounding: one- and two-dimensional grids are flat 3-D."""
    b, c, grid = fields.shape[0], fields.shape[1], tuple(fields.shape[2:])
    out = fields.new_empty((b, *(math.ceil(n / block) for n in grid)))
    if out.numel() == 0:
        return out
    flat = 3 - len(grid)
    n = (1,) * flat + grid
    sizes = (1,) * flat + (block,) * len(grid)
    slope = (0.0,) * flat + tuple(slopes)
    around = (False,) * flat + tuple(wrap)
    m = tuple(math.ceil(length / size) for length, size in zip(n, sizes, strict=True))
    flags = fields if mask is None else mask.contiguous().view(torch.uint8)
    programs = (triton.cdiv(math.prod(m), CELLS), b)
    with on_device_of(fields):
        _score[programs](
            fields.contiguous(), scale.contiguous(), flags, out, c, *n, *m, *slope,
            WRAP0=around[0], WRAP1=around[1], WRAP2=around[2], SIZE0=sizes[0], SIZE1=sizes[1], SIZE2=sizes[2],
            HAS_MASK=mask is not None, CELLS=CELLS,
        )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _beside(i, step, n, WRAP: tl.constexpr):  # type: ignore[no-untyped-def]
    """Place of the neighbour one step along an axis: around the end, or the end itself."""
    j = i + step
    if WRAP:
        j = (j + n) % n
    else:
        j = tl.minimum(tl.maximum(j, 0), n - 1)
    return j


@triton.jit  # type: ignore[untyped-decorator]
def _score(  # type: ignore[no-untyped-def]
    fields, scale, flags, out, channels, n0, n1, n2, m0, m1, m2, slope0, slope1, slope2,
    WRAP0: tl.constexpr, WRAP1: tl.constexpr, WRAP2: tl.constexpr,
    SIZE0: tl.constexpr, SIZE1: tl.constexpr, SIZE2: tl.constexpr,
    HAS_MASK: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(1).to(tl.int64)
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    real = cell < m0 * m1 * m2
    low0 = cell // (m1 * m2) * SIZE0
    low1 = cell // m2 % m1 * SIZE1
    low2 = cell % m2 * SIZE2
    volume = n0 * n1 * n2
    total = tl.zeros([CELLS], tl.float32)
    for place in range(SIZE0 * SIZE1 * SIZE2):
        i0 = low0 + place // (SIZE1 * SIZE2)
        i1 = low1 + place // SIZE2 % SIZE1
        i2 = low2 + place % SIZE2
        inside = real & (i0 < n0) & (i1 < n1) & (i2 < n2)
        if HAS_MASK:
            own = (i0 * n1 + i1) * n2 + i2
            inside = inside & (tl.load(flags + sample * volume + own, mask=inside, other=0) != 0)
        score = tl.zeros([CELLS], tl.float32)
        for channel in range(channels):
            base = fields + (sample * channels + channel) * volume
            g0 = tl.zeros([CELLS], tl.float32)
            g1 = tl.zeros([CELLS], tl.float32)
            g2 = tl.zeros([CELLS], tl.float32)
            for s in tl.static_range(27):
                d0 = s // 9 - 1
                d1 = s // 3 % 3 - 1
                d2 = s % 3 - 1
                j0 = _beside(i0, d0, n0, WRAP0)
                j1 = _beside(i1, d1, n1, WRAP1)
                j2 = _beside(i2, d2, n2, WRAP2)
                value = tl.load(base + (j0 * n1 + j1) * n2 + j2, mask=inside, other=0.0)
                w0 = 0.5 if d0 == 0 else 0.25
                w1 = 0.5 if d1 == 0 else 0.25
                w2 = 0.5 if d2 == 0 else 0.25
                g0 += value * (0.5 * d0 * w1 * w2)
                g1 += value * (0.5 * d1 * w0 * w2)
                g2 += value * (0.5 * d2 * w0 * w1)
            g0 *= slope0
            g1 *= slope1
            g2 *= slope2
            weight = tl.load(scale + sample * channels + channel)
            score += tl.sqrt(g0 * g0 + g1 * g1 + g2 * g2) * weight
        total += tl.where(inside, score, 0.0)
    tl.store(out + sample * m0 * m1 * m2 + cell, total / channels, mask=real)
