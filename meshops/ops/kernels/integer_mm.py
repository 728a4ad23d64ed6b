"""Linear layers on integers with ``torch._int_mm``, for CPUs that multiply 8-bit integers in one instruction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from meshops.ops.integer import check_rows_finite, finish
from meshops.ops.quantize import quantize_rows

CHUNK = 8192  # rows at a time: their integers and sums stay in the cache


def integer_linear(
    x: Tensor, order: Tensor, ends: Sequence[int], weights: Sequence[Any], bias: Tensor | None, added: Sequence[Any],
    activation: Any,
) -> Tensor:  # fmt: skip
    """Same as the definition in :mod:`meshops.ops.integer`, to rounding."""
    check_rows_finite(x)
    out = x.new_empty(x.shape[0], weights[0].values.shape[0] if weights else 0)
    for (first, last), weight in zip(pairwise([0, *ends]), weights, strict=True):
        if "int_mm" not in weight.cache:
            transposed = weight.values.T.contiguous()
            weight.cache["int_mm"] = (transposed, transposed.sum(0, dtype=torch.int32).float())
        values, total = weight.cache["int_mm"]
        for start in range(first, last, CHUNK):
            rows = order[start : min(start + CHUNK, last)]
            q = quantize_rows(x[rows], weight.bits, x.new_tensor(weight.clip), weight.limits)
            sums = torch._int_mm(q.values, values)
            sums = sums.float() - q.zero.float().unsqueeze(1) * total
            out[rows] = sums * (q.scale.unsqueeze(1) * weight.step)
    return finish(out, bias, added, activation)
