"""The definition of linear layers on integers, in float32, and the weights they meet; speed: ``ops.integer``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from meshops.errors import InputError
from meshops.ops.dispatch import operation
from meshops.ops.quantize import INTEGER_MOST, check_bits, quantize_rows
from meshops.ops.rows import Activation, Rows, check_rows_finite, finish


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


@operation
def integer_linear_operation(
    x: Tensor,
    order: Tensor,
    ends: Sequence[int],
    weights: Sequence[IntegerWeight],
    bias: Tensor | None,
    added: Sequence[Rows],
    activation: Activation,
) -> Tensor:
    """The operation without checks of its arguments; see :func:`meshops.ops.integer.integer_linear`."""
    check_rows_finite(x)
    out = x.new_empty(x.shape[0], weights[0].values.shape[0] if weights else 0)
    for (first, last), weight in zip(pairwise([0, *ends]), weights, strict=True):
        rows = order[first:last]
        q = quantize_rows(x[rows], weight.bits, x.new_tensor(weight.clip), weight.limits)
        exact = linear((q.values.to(torch.int32) - q.zero.unsqueeze(1)).float(), weight.values.float())
        out[rows] = exact * (q.scale.unsqueeze(1) * weight.step)
    return finish(out, bias, added, activation)
