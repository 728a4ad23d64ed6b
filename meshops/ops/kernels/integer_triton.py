"""Linear layers on integers on NVIDIA GPUs: all buckets in one launch, quantisation and epilogue in the kernel.

Rows are read in bucket order. A table says which tile belongs to which bucket and where its weights start (the weights
of all buckets lie one below the other); no tile crosses a bucket. A first kernel writes 8-bit rows with scale and zero
point; the second multiplies tiles of them (``tl.dot`` on int8, sums in int32) and finishes the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from meshops.ops.kernels.available import on_device_of
from meshops.ops.quantize import fixed_range
from meshops.ops.rows import check_rows_finite

ROWS, COLUMNS, DEPTH = 64, 64, 64
CODES = {"none": 0, "relu": 1, "silu": 2}


def integer_linear(
    x: Tensor, order: Tensor, ends: Sequence[int], weights: Sequence[Any], bias: Tensor | None, added: Sequence[Any],
    activation: str,
) -> Tensor:  # fmt: skip
    """Same as the definition in :mod:`meshops.ops.integer`, to rounding."""
    check_rows_finite(x)
    r, k = x.shape
    n = weights[0].values.shape[0] if weights else 0
    out = x.new_empty(r, n)
    if out.numel() == 0:
        return out
    x = x.contiguous()
    device = x.device
    values = torch.cat([weight.values for weight in weights]).contiguous()
    step = torch.cat([weight.step for weight in weights]).float().contiguous()
    total = values.sum(1, dtype=torch.int32)
    tiles = [
        (start, min(start + ROWS, last), i)
        for i, (first, last) in enumerate(pairwise([0, *ends]))
        for start in range(first, last, ROWS)
    ]
    table = torch.tensor(tiles, dtype=torch.int32, device=device)
    levels = torch.tensor([float(2**w.bits - 1) for w in weights], device=device)
    clips = torch.tensor([w.clip for w in weights], device=device)
    fixed = torch.zeros(len(weights), 2)  # scale and zero point of all rows; scale 0: each row has its own
    for i, w in enumerate(weights):
        if w.limits is not None:
            fixed[i] = torch.stack(fixed_range(torch.tensor(w.limits[0]), torch.tensor(w.limits[1]), w.bits))
    fixed = fixed.to(device)
    q = torch.empty(r, k, dtype=torch.int8, device=device)  # q - 128: tensor cores multiply signed bytes
    scale, zero = x.new_empty(r), x.new_empty(r)
    offset = x.new_zeros(n) if bias is None else bias.contiguous()
    rows = [(part.table.contiguous(), torch.arange(r, device=device) if part.index is None else part.index)
            for part in added]  # fmt: skip
    rows += [(x, order)] * (2 - len(rows))
    with on_device_of(x):
        _quantise[(len(tiles), )](
            x, order, table, levels, clips, fixed, q, scale, zero, k, ROWS=ROWS, WIDTH=triton.next_power_of_2(max(k, 1))
        )  # fmt: skip
        _multiply[(len(tiles), triton.cdiv(n, COLUMNS))](
            q, order, table, values, step, total, scale, zero, offset, *rows[0], *rows[1], out, k, n,
            TABLES=len(added), CODE=CODES[activation], ROWS=ROWS, COLUMNS=COLUMNS, DEPTH=DEPTH,
        )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _even(v):  # type: ignore[no-untyped-def]
    """Nearest whole number, half to even: float32 has no room for a fraction at 1.5 2^23."""
    return (v + 12582912.0) - 12582912.0


@triton.jit  # type: ignore[untyped-decorator]
def _quantise(  # type: ignore[no-untyped-def]
    x, order, table, levels, clips, fixed, q, scale, zero, k, ROWS: tl.constexpr, WIDTH: tl.constexpr
):  # fmt: skip
    tile = tl.program_id(0)
    first, last, bucket = tl.load(table + 3 * tile), tl.load(table + 3 * tile + 1), tl.load(table + 3 * tile + 2)
    top, clip = tl.load(levels + bucket), tl.load(clips + bucket)
    given, given_zero = tl.load(fixed + 2 * bucket), tl.load(fixed + 2 * bucket + 1)
    column = tl.arange(0, WIDTH)
    for place in range(first, last):
        row = tl.load(order + place).to(tl.int64)
        values = tl.load(x + row * k + column, mask=column < k, other=0.0)
        low = tl.minimum(tl.min(values, 0), 0.0) * clip
        high = tl.maximum(tl.max(values, 0), 0.0) * clip
        s = tl.div_rn(high - low, top)
        s = tl.where(s > 0, s, 1.0)
        z = _even(tl.div_rn(-low, s))
        z = tl.where(given > 0, given_zero, z)
        s = tl.where(given > 0, given, s)
        code = tl.minimum(tl.maximum(_even(tl.div_rn(values, s)) + z, 0.0), top)
        tl.store(q + tl.cast(place, tl.int64) * k + column, (code - 128.0).to(tl.int8), mask=column < k)
        tl.store(scale + place, s)
        tl.store(zero + place, z)


@triton.jit  # type: ignore[untyped-decorator]
def _multiply(  # type: ignore[no-untyped-def]
    q, order, table, values, step, total, scale, zero, offset, table1, index1, table2, index2, out, k, n,
    TABLES: tl.constexpr, CODE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    first, last, bucket = tl.load(table + 3 * tile), tl.load(table + 3 * tile + 1), tl.load(table + 3 * tile + 2)
    place = first + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside, exists = place < last, column < n
    weights = bucket * n + column
    sums = tl.zeros((ROWS, COLUMNS), dtype=tl.int32)
    for start in range(0, k, DEPTH):
        depth = start + tl.arange(0, DEPTH)
        a = tl.load(
            q + place[:, None].to(tl.int64) * k + depth[None, :],
            mask=inside[:, None] & (depth[None, :] < k), other=0,
        )  # fmt: skip
        b = tl.load(
            values + weights[None, :] * k + depth[:, None], mask=exists[None, :] & (depth[:, None] < k), other=0
        )
        sums += tl.dot(a, b, out_dtype=tl.int32)
    s = tl.load(scale + place, mask=inside, other=0.0)
    z = tl.load(zero + place, mask=inside, other=0.0)
    t = tl.load(step + weights, mask=exists, other=0.0)
    w = tl.load(total + weights, mask=exists, other=0).to(tl.float32)
    exact = sums.to(tl.float32) + (128.0 - z)[:, None] * w[None, :]
    y = s[:, None] * t[None, :] * exact + tl.load(offset + column, mask=exists, other=0.0)[None, :]
    row = tl.load(order + place, mask=inside, other=0).to(tl.int64)
    both = inside[:, None] & exists[None, :]
    if TABLES > 0:
        other = tl.load(index1 + row, mask=inside, other=0).to(tl.int64)
        y += tl.load(table1 + other[:, None] * n + column[None, :], mask=both, other=0.0)
    if TABLES > 1:
        other = tl.load(index2 + row, mask=inside, other=0).to(tl.int64)
        y += tl.load(table2 + other[:, None] * n + column[None, :], mask=both, other=0.0)
    if CODE == 1:
        y = tl.maximum(y, 0.0)
    if CODE == 2:
        y = y * tl.sigmoid(y)
    tl.store(out + row[:, None] * n + column[None, :], y, mask=both)
