"""Linear layers on integers with AVX2: rows are quantised, multiplied and finished tile by tile, in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.kernels.avx2 import COLUMNS, ROWS, block_8, block_16, power_of_two
from meshops.ops.kernels.compile import njit
from meshops.ops.kernels.threads import in_threads, thread_count
from meshops.ops.quantize import fixed_range

TILE = 32  # rows quantised at a time: 64 x 512 numbers of 16 bits are 64 kB
FEWEST_STEPS = 4  # 16-bit sums must last this many steps, else 16-bit factors are faster
SERIAL_BELOW = 500_000  # multiply-accumulates
NOTHING = np.empty((0, 0), dtype=np.float32)
NO_INDEX = np.empty(0, dtype=np.int64)
CODES = {"none": 0, "relu": 1, "silu": 2}


def integer_linear(
    x: Tensor, order: Tensor, ends: Sequence[int], weights: Sequence[Any], bias: Tensor | None, added: Sequence[Any],
    activation: str,
) -> Tensor:  # fmt: skip
    """Same as the definition in :mod:`meshops.ops.integer`, to rounding."""
    n = weights[0].values.shape[0] if weights else 0
    rows = x.detach().contiguous().numpy()
    out = np.empty((x.shape[0], n), dtype=np.float32)
    offset = _panels(np.zeros(n, dtype=np.float32) if bias is None else bias.detach().numpy())
    tables = [(table.detach().contiguous().numpy(), _index(index, len(x))) for table, index in added]
    tables += [(NOTHING, NO_INDEX)] * (2 - len(tables))
    index = order.contiguous().numpy()
    bad = np.zeros(1, dtype=np.int64)
    for (first, last), weight in zip(pairwise([0, *ends]), weights, strict=True):
        if "avx2" not in weight.cache:
            weight.cache["avx2"] = _pack(weight)
        packed, step, total, wide, lasts = weight.cache["avx2"]
        fixed = np.zeros(2, dtype=np.float32)  # scale and zero point of all rows; scale 0: each row has its own
        if weight.limits is not None:
            pair = fixed_range(torch.tensor(weight.limits[0]), torch.tensor(weight.limits[1]), weight.bits)
            fixed[:] = [float(value) for value in pair]
        arrays = (
            rows, index[first:last], np.float32(2**weight.bits - 1), np.float32(weight.clip), fixed, packed, step,
            total, offset, *tables[0], *tables[1], CODES[activation], out, wide, lasts, bad,
        )  # fmt: skip
        threads = thread_count((last - first) * n * x.shape[1], SERIAL_BELOW)
        tiles = -(-(last - first) // TILE)
        cuts = [min(TILE * (tiles * i // threads), last - first) for i in range(threads)]
        in_threads(_rows, arrays, [*cuts, last - first])
    if bad[0]:
        raise InputError("activations hold NaN or infinite values")
    return torch.from_numpy(out)


def _index(index: Tensor | None, count: int) -> Any:
    return np.arange(count) if index is None else index.contiguous().numpy()


def _pack(weight: Any) -> tuple[Any, Any, Any, bool, int]:
    """Weights in panels of 16 outputs, their steps and sums, whether they are 16 bits wide, steps that cannot overflow.

    A 16-bit sum of products of neighbours holds ``32767 / (2 (2^b - 1) most)`` steps.
    """
    values = weight.values.numpy()
    n, k = values.shape
    most = int(np.abs(values.astype(np.int16)).max(initial=1))
    lasts = 32767 // (2 * (2**weight.bits - 1) * most)
    wide = lasts < FEWEST_STEPS
    group = 2 if wide else 4
    panels, steps = -(-n // COLUMNS), max(-(-k // group), 1)
    full = np.zeros((panels * COLUMNS, steps * group), dtype=np.int16 if wide else np.int8)
    full[:n, :k] = values
    packed = np.ascontiguousarray(full.reshape(panels, COLUMNS, steps, group).transpose(0, 2, 1, 3))
    total = values.sum(1, dtype=np.int32)
    return (
        packed.reshape(panels, steps * group * COLUMNS),
        _panels(weight.step.numpy()),
        _panels(total),
        wide,
        max(int(lasts), 1),
    )


def _panels(values: Any) -> Any:
    """``[n] -> [panels, 16]`` float32, filled up with zeros."""
    out = np.zeros((-(-values.size // COLUMNS), COLUMNS), dtype=np.float32)
    out.reshape(-1)[: values.size] = values
    return out


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nnan", "nsz"})
def _range(row):  # type: ignore[no-untyped-def]
    low, high = np.float32(0), np.float32(0)
    for c in range(row.size):
        low, high = min(low, row[c]), max(high, row[c])
    return low, high


@njit(nogil=True, error_model="numpy", fastmath={"reassoc"})
def _finite(row):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for c in range(row.size):
        total += row[c] - row[c]
    return total == 0


@njit(nogil=True, error_model="numpy")
def _quantise(row, top, clip, fixed, out):  # type: ignore[no-untyped-def]
    """As ``quantize_rows``: rounding half to even, division and not the product with the inverse."""
    low, high = _range(row)
    low, high = low * clip, high * clip
    scale = (high - low) / top
    if not scale > 0:
        scale = np.float32(1)
    zero = np.rint(-low / scale)
    if fixed[0] > 0:
        scale, zero = fixed[0], fixed[1]
    for c in range(row.size):
        q = np.rint(row[c] / scale) + zero
        out[c] = np.int32(min(max(q, np.float32(0)), top))
    return scale, zero


@njit(nogil=True, error_model="numpy", fastmath={"nnan", "nsz", "contract"})
def _silu(v):  # type: ignore[no-untyped-def]
    """V / (1 + exp(-v)): exp by 2^n times a polynomial, relative error below 2e-7."""
    y = min(max(-v, np.float32(-87)), np.float32(87))
    n = np.rint(y * np.float32(1.4426950408889634))
    f = y - n * np.float32(0.693359375)
    f = f - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * f + np.float32(1.3981999507e-3)
    p = p * f + np.float32(8.3334519073e-3)
    p = p * f + np.float32(4.1665795894e-2)
    p = p * f + np.float32(1.6666665459e-1)
    p = p * f + np.float32(5.0000001201e-1)
    p = p * f * f + f + np.float32(1)
    return v / (np.float32(1) + p * power_of_two(n))


@njit(nogil=True, error_model="numpy")
def _scale(sums, scale, zero, step, total, offset, count, panel, tile):  # type: ignore[no-untyped-def]
    """Sums of one panel as numbers."""
    for r in range(count):
        factor, shift = scale[r], zero[r]
        for c in range(COLUMNS):
            exact = np.float32(sums[r, c]) - shift * total[panel, c]
            tile[r, panel, c] = factor * step[panel, c] * exact + offset[panel, c]


@njit(nogil=True, error_model="numpy", fastmath={"nnan", "nsz", "contract"})
def _write(tile, order, start, count, table1, index1, table2, index2, code, out):  # type: ignore[no-untyped-def]
    """Add the rows of the tables, apply the activation, write to the places of the rows."""
    n = out.shape[1]
    for r in range(count):
        node = order[start + r]
        row = tile[r]
        if index1.size:
            other = table1[index1[node]]
            for c in range(n):
                row[c] += other[c]
        if index2.size:
            other = table2[index2[node]]
            for c in range(n):
                row[c] += other[c]
        target = out[node]
        if code == 0:
            for c in range(n):
                target[c] = row[c]
        elif code == 1:
            for c in range(n):
                target[c] = max(row[c], np.float32(0))
        else:
            for c in range(n):
                target[c] = _silu(row[c])


@njit(nogil=True, error_model="numpy")
def _rows(  # type: ignore[no-untyped-def]
    x, order, top, clip, fixed, packed, step, total, offset, table1, index1, table2, index2, code, out, wide, lasts,
    bad, first, last,
):  # fmt: skip
    k = x.shape[1]
    group = 2 if wide else 4
    steps = max((k + group - 1) // group, 1)  # a block makes one step at least
    shorts, bytes_ = np.zeros((TILE, steps * group), np.int16), np.zeros((TILE, steps * group), np.uint8)
    address = shorts.ctypes.data if wide else bytes_.ctypes.data
    row_bytes = steps * 4
    scale, zero = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    sums = np.empty((TILE, COLUMNS), np.int32)
    tile = np.empty((TILE, packed.shape[0], COLUMNS), np.float32)
    lines = tile.reshape(TILE, packed.shape[0] * COLUMNS)
    for start in range(first, last, TILE):
        count = min(TILE, last - start)
        for r in range(count):
            row = x[order[start + r]]
            if not _finite(row):
                bad[0] = 1
            if wide:
                scale[r], zero[r] = _quantise(row, top, clip, fixed, shorts[r])
            else:
                scale[r], zero[r] = _quantise(row, top, clip, fixed, bytes_[r])
        for panel in range(packed.shape[0]):
            weights = packed[panel].ctypes.data
            for r in range(0, count, ROWS):
                here, there = address + r * row_bytes, sums.ctypes.data + r * COLUMNS * 4
                if wide:
                    block_16(here, row_bytes, weights, steps, there, 0)
                else:
                    for done in range(0, steps, lasts):
                        some = min(lasts, steps - done)
                        block_8(here + done * 4, row_bytes, weights + done * 64, some, there, done)
            _scale(sums, scale, zero, step, total, offset, count, panel, tile)
        _write(lines, order, start, count, table1, index1, table2, index2, code, out)
