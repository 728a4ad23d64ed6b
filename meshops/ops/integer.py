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
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, relu, silu

from meshops.errors import InputError
from meshops.ops.dispatch import front, operation
from meshops.ops.kernels.available import needs_triton
from meshops.ops.quantize import INTEGER_MOST, check_bits, quantize_rows

Activation = Literal["none", "relu", "silu"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "relu": relu, "silu": silu}


@dataclass(frozen=True, eq=False)
class IntegerWeight:
    """Weights that rows of one bit-width meet.

    Attributes:
        bits: Of the rows.
        values: ``[n, k]`` int8.
        step: ``[n]`` float32.
        most: Largest modulus that ``values`` may have.
        clip: Factor on the range of the rows.
        limits: Range of all rows instead of their own (LSQ+), or None.
        cache: Copies in the layout of a kernel, made when it first runs.
    """

    bits: int
    values: Tensor
    step: Tensor
    most: int = 127
    clip: float = 1.0
    limits: tuple[float, float] | None = None
    cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check shapes and the range of the bits."""
        check_bits(self.bits, most=INTEGER_MOST)
        if self.values.dtype != torch.int8 or self.values.dim() != 2 or self.step.shape != self.values.shape[:1]:
            raise InputError(
                f"weights must be int8 [n, k] with steps [n], got {self.values.dtype} {tuple(self.values.shape)} and "
                f"steps {tuple(self.step.shape)}"
            )


class Rows(NamedTuple):
    """Rows that are added to the output: ``out[r] += table[index[r]]``; index None: ``table[r]``."""

    table: Tensor
    index: Tensor | None = None  # type: ignore[assignment]  # shadows tuple.index


@operation
def _integer_linear(
    x: Tensor,
    order: Tensor,
    ends: Sequence[int],
    weights: Sequence[IntegerWeight],
    bias: Tensor | None,
    added: Sequence[Rows],
    activation: Activation,
) -> Tensor:
    check_rows_finite(x)
    out = x.new_empty(x.shape[0], weights[0].values.shape[0] if weights else 0)
    for (first, last), weight in zip(pairwise([0, *ends]), weights, strict=True):
        rows = order[first:last]
        q = quantize_rows(x[rows], weight.bits, x.new_tensor(weight.clip), weight.limits)
        exact = linear((q.values.to(torch.int32) - q.zero.unsqueeze(1)).float(), weight.values.float())
        out[rows] = exact * (q.scale.unsqueeze(1) * weight.step)
    return finish(out, bias, added, activation)


def finish(out: Tensor, bias: Tensor | None, added: Sequence[Rows], activation: Activation) -> Tensor:
    """Bias, added rows and activation on the scaled sums ``[r, n]``."""
    if bias is not None:
        out = out + bias
    for table, index in added:
        out = out + (table if index is None else table.index_select(0, index))
    return ACTIVATIONS[activation](out)


@front(_integer_linear)
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
    return _integer_linear(x, order, list(ends), list(weights), bias, list(added), activation)


def check_rows_finite(x: Tensor) -> None:
    """Raise ``InputError`` naming the first row of ``x [r, k]`` that is not finite."""
    bad = ~torch.isfinite(x).all(1)
    if bool(bad.any()):
        raise InputError(f"activations hold NaN or infinite values, first in row {int(bad.nonzero()[0])}")


def _cpu_applies(name: str) -> Callable[..., str]:
    def applies(x: Tensor, *_: Any) -> str:
        if x.device.type != "cpu" or x.dtype != torch.float32:
            return f"for float32 on the CPU, got {x.dtype} on {x.device.type}"
        from meshops.ops.integer_backend import cpu_backend  # tries the versions against the definition above

        chosen = cpu_backend()
        return "" if chosen == name else f"this CPU uses {chosen}"

    return applies


def _triton_applies(x: Tensor, *_: Any) -> str:
    return needs_triton(x, (torch.float32,))


@_integer_linear.kernel("avx2", _cpu_applies("avx2"))
def _avx2(*args: Any) -> Tensor:
    from meshops.ops.kernels.integer_numba import integer_linear as version  # importing Numba takes a while

    return version(*args)


@_integer_linear.kernel("int_mm", _cpu_applies("int_mm"))
def _int_mm(*args: Any) -> Tensor:
    from meshops.ops.kernels.integer_mm import integer_linear as version

    return version(*args)


@_integer_linear.kernel("triton", _triton_applies)
def _triton(*args: Any) -> Tensor:
    from meshops.ops.kernels.integer_triton import integer_linear as version

    out: Tensor = version(*args)
    return out
