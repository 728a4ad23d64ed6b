"""Multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from meshops.nn.dropout import Dropout
from meshops.nn.linear import Linear


class MLP(nn.Sequential):
    """Linear layers with an activation between them: ``MLP([8, 64, 4])`` has one hidden layer.

    Args:
        channels: Width of the input, of each hidden layer and of the output.
        activation: Module class between the layers.
        dropout: Probability of dropping a hidden channel.
    """

    def __init__(self, channels: Sequence[int], *, activation: type[nn.Module] = nn.GELU, dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(channels):
            if layers:
                layers.append(activation())
                if dropout:
                    layers.append(Dropout(dropout))
            layers.append(Linear(width_in, width_out))
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., channels[0]] -> [..., channels[-1]]``."""
        for layer in self:
            x = layer(x)
        return x
