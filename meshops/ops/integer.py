"""Linear layers on integers: rows of different bit-widths meet weights in 8-bit integers, exactly.

    y[r] = s_r t * ((q_r - z_r) W^T) + bias,     q_r = quantize_rows(x_r) at b_r bits,  W int8 [n, k],  t [n] its steps

The sum over k runs in integers; what is left (scale s_r and zero point z_r of the row, step of the output, bias, rows
of other tables, activation) is done on the finished sum. The values are those of the fake-quantised layer, to rounding.

Which version runs is found once, in :mod:`meshops.ops.integer_backend`: on x86 a Numba kernel for AVX2 (``vpmaddubsw``
up to 6 bits, where 16-bit sums do not overflow, ``vpmaddwd`` for 7 and 8), ``torch._int_mm`` on CPUs with instructions
for 8-bit products, a grouped Triton kernel on CUDA. Else the definition runs, in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.dispatch import front
from meshops.ops.integer_backend import cpu_backend
from meshops.ops.integer_definition import IntegerWeight, integer_linear_operation
from meshops.ops.kernels.available import needs_triton
from meshops.ops.rows import ACTIVATIONS, Activation, Rows


@front(integer_linear_operation)
def integer_linear(
    x: Tensor,
    order: Tensor,
    ends: Sequence[int],
    weights: Sequence[IntegerWeight],
    bias: Tensor | None = None,
    added: Sequence[Rows] = (),
    activation: Activation = "none",
) -> Tensor:
    """Linear layer on rows of different bit-widths, ``[r, k] -> [r, n]`` float32; no gradients.

    Args:
        x: ``[r, k]`` float32 rows.
        order: ``[r]`` int64, the rows sorted by bits: bucket i is ``order[ends[i - 1]:ends[i]]``.
        ends: End of each bucket in ``order``; the last is r.
        weights: What the rows of each bucket meet.
        bias: ``[n]``.
        added: At most two tables ``[m, n]`` with the row of each that is added to every output row.
        activation: Applied last.

    Raises:
        InputError: Shapes do not fit, unknown activation, or NaN or infinite values in ``x``.
    """
    if activation not in ACTIVATIONS:
        raise InputError(f"activation must be one of {', '.join(ACTIVATIONS)}, got '{activation}'")
    if len(ends) != len(weights) or (ends[-1] if len(ends) else 0) != x.shape[0] or order.shape != x.shape[:1]:
        raise InputError(
            f"buckets must cover the {x.shape[0]} rows, one weight each: got ends {list(ends)}, "
            f"{len(weights)} weights, order of {len(order)}"
        )
    for weight in weights:
        if weight.values.shape[1] != x.shape[1]:
            raise InputError(f"rows have {x.shape[1]} channels, the weights take {weight.values.shape[1]}")
    if len(added) > 2:
        raise InputError(f"at most two tables can be added, got {len(added)}")
    return integer_linear_operation(x, order, list(ends), list(weights), bias, list(added), activation)


def _cpu_applies(name: str) -> Callable[..., str]:
    def applies(x: Tensor, *_: Any) -> str:
        if x.device.type != "cpu" or x.dtype != torch.float32:
            return f"for float32 on the CPU, got {x.dtype} on {x.device.type}"
        chosen = cpu_backend()
        return "" if chosen == name else f"this CPU uses {chosen}"

    return applies


def _triton_applies(x: Tensor, *_: Any) -> str:
    return needs_triton(x, (torch.float32,))


@integer_linear_operation.kernel("avx2", _cpu_applies("avx2"))
def _avx2(*args: Any) -> Tensor:
    from meshops.ops.kernels.integer_numba import integer_linear as version  # importing Numba takes a while

    return version(*args)


@integer_linear_operation.kernel("int_mm", _cpu_applies("int_mm"))
def _int_mm(*args: Any) -> Tensor:
    from meshops.ops.kernels.integer_mm import integer_linear as version

    return version(*args)


@integer_linear_operation.kernel("triton", _triton_applies)
def _triton(*args: Any) -> Tensor:
    from meshops.ops.kernels.integer_triton import integer_linear as version

    out: Tensor = version(*args)
    return out
