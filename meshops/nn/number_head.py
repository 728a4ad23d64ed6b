"""Numbers of a whole case from its nodes: a perceptron at every node, the mean over the case, a linear map.

z = W mean_i phi([x_i, p_i, u_i])          (DeepSets, Zaheer et al. 2017: any set, any order)
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu

from meshops.nn.mlp import MLP
from meshops.ops.segment import segment_mean


class NumberHead(nn.Module):
    """``[n, c_in] -> [b, numbers]``.

    Args:
        in_channels: Channels of a node.
        numbers: Channels of the result.
        channels: Width.
    """

    def __init__(self, in_channels: int, numbers: int, *, channels: int = 64) -> None:
        super().__init__()
        self.nodes = MLP([in_channels, channels, channels])
        self.head = nn.Linear(channels, numbers)

    def forward(self, x: Tensor, ptr: Tensor) -> Tensor:
        """Numbers of each graph; ``x [n, c_in]``, ``ptr [b + 1]``."""
        out: Tensor = self.head(segment_mean(gelu(self.nodes(x)), ptr))
        return out
