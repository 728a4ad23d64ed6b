"""Low-rank changes of trained linear layers (LoRA: Hu et al., arXiv 2106.09685, eq. 3).

    W' = W + (alpha / r) B A,     A [r, in] random, B [out, r] zero at the start

W stays as it was; only A and B learn. Afterwards the change is added to W and nothing else is left of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from meshops.checks import check_counts
from meshops.typing import Float


class LowRankChange(nn.Module):
    """``W -> W + (alpha / rank) B A``; the identity until it has learnt.

    Args:
        outputs, inputs: Shape of W.
        rank: r.
        alpha: Strength.
        generator: Of A.
    """

    def __init__(
        self, outputs: int, inputs: int, *, rank: int, alpha: float, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_counts(1, rank=rank)
        rank = min(rank, outputs, inputs)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.randn(rank, inputs, generator=generator) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
        """The changed weights."""
        return weight + self.scale * (self.up @ self.down)


def add_low_rank(
    module: nn.Module, *, rank: int = 8, alpha: float = 8.0, generator: torch.Generator | None = None
) -> list[nn.Parameter]:
    """Freeze a module and give each of its linear layers a low-rank change; returns what learns."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    learning: list[nn.Parameter] = []
    for layer in [part for part in module.modules() if isinstance(part, nn.Linear)]:
        outputs, inputs = layer.weight.shape
        change = LowRankChange(outputs, inputs, rank=rank, alpha=alpha, generator=generator).to(layer.weight)
        parametrize.register_parametrization(layer, "weight", change)
        learning += [change.down, change.up]
    return learning


def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """State of the module as it was before :func:`add_low_rank`, the changes added to the weights of its layers."""
    marker = "parametrizations.weight."
    state = {name: value.detach().clone() for name, value in module.state_dict().items() if marker not in name}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            state[f"{name}.weight" if name else "weight"] = layer.weight.detach().clone()
    return state
