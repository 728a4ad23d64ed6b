"""The product of rows and weights: what most of a network's time goes to.

PyTorch's own (MKL) leaves half of the speed of AMD's processors with AVX-512 unused; oneDNN, which every PyTorch for
x86 holds too, does not. Elsewhere both are alike and the definition runs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from meshops.ops.dispatch import operation
from meshops.typing import Float


@operation
def linear(
    x: Float[Tensor, "*n i"], weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"] | None = None
) -> Float[Tensor, "*n o"]:
    """``x weight^T + bias``, as ``torch.nn.functional.linear``.

    Args:
        x: Rows.
        weight: One row per output.
        bias: Added to each row; None: nothing.

    Example:
        >>> linear(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([0.5]))
        tensor([[11.5000]])
    """
    return torch.nn.functional.linear(x, weight, bias)


def _onednn_applies(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> str:
    from meshops.ops.kernels import linear_onednn

    return linear_onednn.needs(x, weight, bias)


@linear.kernel("onednn", _onednn_applies)
def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    from meshops.ops.kernels import linear_onednn

    return linear_onednn.linear(x, weight, bias)
