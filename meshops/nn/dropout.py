"""Dropout layer with PyTorch's random numbers, drawn faster on a CPU, see :func:`meshops.ops.dropout`."""

from __future__ import annotations

from torch import Tensor, nn

from meshops.ops.dropout import dropout


class Dropout(nn.Dropout):
    """As ``torch.nn.Dropout``, the same masks.

    Example:
        >>> Dropout(0.5).eval()(torch.ones(3))
        tensor([1., 1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Same shape; as it is in evaluation mode."""
        return dropout(input, self.p) if self.training and self.p > 0 else input
