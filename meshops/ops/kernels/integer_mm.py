"""Linear layers on integers with ``torch._int_mm``, for CPUs that multiply 8-bit integers in one instruction.

Its products are wrong, without an error, in two cases (measured: PyTorch 2.13, oneDNN 3.12), which are kept away:

    strides     a right factor of one row with strides [1, 1] is taken for a transposed one, and memory beyond it is
                read; ``contiguous`` leaves such strides as they are
    saturation  CPUs without those instructions add products of neighbors in 16 bits: too few for two of 255 * 127
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from meshops.ops.quantize import QuantizedRows, quantize_rows
from meshops.ops.rows import check_rows_finite, finish

CHUNK = 8192  # rows at a time: their integers and sums stay in the cache
PAIR = 32767  # largest sum of two products that is exact on every CPU


def integer_linear(
    x: Tensor, order: Tensor, ends: Sequence[int], weights: Sequence[Any], bias: Tensor | None, added: Sequence[Any],
    activation: Any,
) -> Tensor:  # fmt: skip
    """Same as the definition in :mod:`meshops.ops.integer`, to rounding."""
    check_rows_finite(x)
    out = x.new_empty(x.shape[0], weights[0].values.shape[0] if weights else 0)
    for (first, last), weight in zip(pairwise([0, *ends]), weights, strict=True):
        if "int_mm" not in weight.cache:
            weight.cache["int_mm"] = _prepare(weight.values)
        values, total, most = weight.cache["int_mm"]
        exact = 2 * (2**weight.bits - 1) * most <= PAIR or not saturates()
        for start in range(first, last, CHUNK):
            rows = order[start : min(start + CHUNK, last)]
            q = quantize_rows(x[rows], weight.bits, x.new_tensor(weight.clip), weight.limits)
            sums = _product(q, values, total) if exact else _plain(q, weight.values)
            out[rows] = sums * (q.scale.unsqueeze(1) * weight.step)
    return finish(out, bias, added, activation)


def _product(q: QuantizedRows, values: Tensor, total: Tensor) -> Tensor:
    sums = torch._int_mm(row_major(q.values), values)
    return sums.float() - q.zero.float().unsqueeze(1) * total


def _plain(q: QuantizedRows, values: Tensor) -> Tensor:
    """As the definition, in float32."""
    return linear((q.values.to(torch.int32) - q.zero.unsqueeze(1)).float(), values.float())


def _prepare(values: Tensor) -> tuple[Tensor, Tensor, int]:
    """Weights ``[k, n]``, the sums of their columns, the largest modulus."""
    most = int(values.to(torch.int16).abs().max()) if values.numel() else 0
    return row_major(values.T), values.sum(1, dtype=torch.int32).float(), most


def row_major(values: Tensor) -> Tensor:
    """The same numbers with strides ``[columns, 1]``, also where a size is 1; a copy only where they differ."""
    if values.stride() == (values.shape[1], 1):
        return values
    return torch.empty(values.shape, dtype=values.dtype, device=values.device).copy_(values)


@functools.cache
def saturates() -> bool:
    """Whether sums of products are cut off at 16 bits on this CPU, in any of the shapes that have code of their own."""
    for m, k, n in ((1, 64, 1), (1, 64, 33), (33, 64, 1), (64, 131, 64)):
        for end in (-127, 127):
            a, b = torch.full((m, k), 255, dtype=torch.uint8), torch.full((k, n), end, dtype=torch.int8)
            if bool((torch._int_mm(a, b) != k * 255 * end).any()):
                return True
    return False
