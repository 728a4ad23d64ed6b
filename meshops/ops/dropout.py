"""Dropout: numbers left out at random, the others larger by as much."""

from __future__ import annotations

import torch
from torch import Tensor

from meshops.ops.dispatch import operation
from meshops.ops.kernels.available import eager, needs_numba
from meshops.typing import Float


@operation
def dropout(x: Float[Tensor, "*n"], p: float) -> Float[Tensor, "*n"]:
    """Each number is 0 with probability ``p``, else ``x / (1 - p)``; drawn from PyTorch's generator.

    Args:
        x: Any shape.
        p: In [0, 1].
    """
    return torch.nn.functional.dropout(x, p, training=True)


def _numba_applies(x: Tensor, p: float) -> str:
    reason = needs_numba(x, (torch.float32,)) or eager(x)
    if reason or not 0 < p < 1:
        return reason or "needs p between 0 and 1"
    from meshops.ops.kernels import dropout_numba

    return dropout_numba.needs(x)


@dropout.kernel("numba", _numba_applies)
def _numba(x: Tensor, p: float) -> Tensor:
    from meshops.ops.kernels import dropout_numba

    return dropout_numba.dropout(x, p)
