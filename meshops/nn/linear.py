"""Linear layer that runs the fastest product there is, see :func:`meshops.ops.linear`."""

from __future__ import annotations

from torch import Tensor, nn

from meshops.ops.products import linear


class Linear(nn.Linear):
    """As ``torch.nn.Linear``, same weights and names, same numbers to rounding.

    Example:
        >>> Linear(3, 8)(torch.rand(5, 3)).shape
        torch.Size([5, 8])
    """

    def forward(self, input: Tensor) -> Tensor:
        """``[..., in_features] -> [..., out_features]``."""
        return linear(input, self.weight, self.bias)
