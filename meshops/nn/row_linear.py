"""Linear layers that know what their rows are: nodes, edges or clusters of a mesh.

They compute what ``torch.nn.Linear`` does. What they know decides which bits their rows get once a network is quantised
(:func:`meshops.nn.quantize`) and what a node, an edge and a cluster cost (:mod:`meshops.nn.costs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import linear

from meshops.ops.rows import Activation, Rows, finish

Kind = Literal["node", "edge", "cluster"]
Part = tuple[int, int | None]
"""Channels of one of several inputs, and the bits its rows have whatever is assigned (None: those assigned)."""
RAW_BITS = 8
"""Bits of rows that hold coordinates and raw fields, and of the last layer: fewer would destroy geometry."""


class RowLinear(nn.Linear):
    """``y = activation(x W^T + b + added)``.

    Args:
        in_features: Channels of the input.
        out_features: Channels of the output.
        rows: What a row is.
        fixed: Bits of all rows once the layer is quantised, whatever is assigned to nodes, edges and clusters (raw
            inputs, outputs); None: those assigned.
        per_member: Called once per member of every cluster (``rows="cluster"``); for the costs.
        bias: Add a bias.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rows: Kind,
        fixed: int | None = None,
        per_member: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.rows, self.fixed, self.per_member = rows, fixed, per_member

    def forward(self, x: Tensor, *, added: Sequence[Rows] = (), activation: Activation = "none") -> Tensor:
        """``[r, in] -> [r, out]``.

        Args:
            x: Rows.
            added: Rows of other tables that are added before the activation.
            activation: Applied last.
        """
        return finish(linear(x, self.weight, self.bias), None, added, activation)

    def extra_repr(self) -> str:
        """Arguments shown by ``print``."""
        return f"{super().extra_repr()}, rows={self.rows!r}" + ("" if self.fixed is None else f", fixed={self.fixed}")


class SplitLinear(nn.Module):
    """One linear layer on concatenated inputs, as a sum over the inputs: ``W [x1, x2, ...] + b``.

    The same numbers as ``nn.Linear`` on the concatenation, to rounding; but once quantised, each input has its own
    range and its own bits.

    Args:
        parts: Channels and fixed bits of each input.
        out_features: Channels of the output.
        rows: What a row is.
        bias: Add a bias.
    """

    def __init__(self, parts: Sequence[Part], out_features: int, *, rows: Kind, bias: bool = True) -> None:
        super().__init__()
        layers = [
            RowLinear(width, out_features, rows=rows, fixed=fixed, bias=bias and i == 0)
            for i, (width, fixed) in enumerate(parts)
        ]
        self.parts = nn.ModuleList(layers)
        reset_as_one(layers)

    def forward(self, *inputs: Tensor, added: Sequence[Rows] = (), activation: Activation = "none") -> Tensor:
        """``[r, c_i] ... -> [r, out]``."""
        *rest, (last, x) = list(zip(self.parts, inputs, strict=True))
        total: Tensor | None = None
        for part, values in rest:
            out = part(values)
            total = out if total is None else total + out
        if total is not None:
            added = [*added, Rows(total)]
        result: Tensor = last(x, added=added, activation=activation)
        return result


def reset_as_one(layers: Sequence[RowLinear]) -> None:
    """Start layers whose outputs are added as one ``nn.Linear`` on all inputs would start."""
    bound = sum(layer.in_features for layer in layers) ** -0.5
    for layer in layers:
        nn.init.uniform_(layer.weight, -bound, bound)
        if layer.bias is not None:
            nn.init.uniform_(layer.bias, -bound, bound)
