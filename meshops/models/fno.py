"""Fourier Neural Operator (Li et al., 2010.08895) of the package ``neuraloperator``, as a baseline on our grids."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from meshops.models.registry import register_model
from meshops.nn.grid_model import GridModel
from meshops.optional import require


class FNO(GridModel):
    """``neuralop.models.FNO``; see its documentation for what the arguments mean.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        dim: Number of space dimensions.
        modes: Fourier modes kept along each axis.
        channels: Hidden width.
        depth: Fourier layers.

    Raises:
        MissingPackageError: ``neuraloperator`` is not installed.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, dim: int = 2, modes: int = 16, channels: int = 32, depth: int = 4
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        peer: Any = require("neuralop.models", extra="peers", purpose="the FNO baseline")
        self.net = peer.FNO(
            n_modes=(modes,) * dim, in_channels=in_channels, out_channels=out_channels, hidden_channels=channels,
            n_layers=depth,
        )  # fmt: skip
        self.register_state_dict_post_hook(_only_tensors)  # type: ignore[no-untyped-call]

    def forward(self, fields: Tensor) -> Tensor:
        """``[b, c_in, *grid] -> [b, c_out, *grid]``."""
        out: Tensor = self.net(fields)
        return out


def _only_tensors(module: Any, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """The peer adds its settings to the weights; ours are in the checkpoint already."""
    for name in [key for key, value in state.items() if not isinstance(value, Tensor)]:
        del state[name]


@register_model
def fno(in_channels: int, out_channels: int, **changes: object) -> FNO:
    """The peer's FNO: 4 layers of width 32 with 16 modes."""
    return FNO(in_channels, out_channels, **changes)  # type: ignore[arg-type]
