"""What ends a linear layer on rows: a bias, rows of other tables, an activation; and the check of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, silu

from meshops.errors import InputError

Activation = Literal["none", "relu", "silu"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "relu": relu, "silu": silu}


class Rows(NamedTuple):
    """Rows that are added to the output: ``out[r] += table[index[r]]``; index None: ``table[r]``."""

    table: Tensor
    index: Tensor | None = None  # type: ignore[assignment]  # shadows tuple.index


def finish(out: Tensor, bias: Tensor | None, added: Sequence[Rows], activation: Activation) -> Tensor:
    """Bias, added rows and activation on the scaled sums ``[r, n]``."""
    if bias is not None:
        out = out + bias
    for table, index in added:
        out = out + (table if index is None else table.index_select(0, index))
    return ACTIVATIONS[activation](out)


def check_rows_finite(x: Tensor) -> None:
    """Raise ``InputError`` naming the first row of ``x [r, k]`` that is not finite."""
    bad = ~torch.isfinite(x).all(1)
    if bool(bad.any()):
        raise InputError(f"activations hold NaN or infinite values, first in row {int(bad.nonzero()[0])}")
