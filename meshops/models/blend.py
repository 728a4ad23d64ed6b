"""A weighted sum of models of the same fields: folds of one network, and networks with closed forms.

    u_c(x) = sum_m w_mc f_m,c(x),     w_mc >= 0,  sum_m w_mc <= 1

(stacking, Wolpert 1992, with the constraints of Breiman 1996). What is missing to 1 is the weight of zero, the mean of
the training in normalised fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models.registry import create_model, register_model


@register_model
class Blend(nn.Module):
    """Several models as one.

    Args:
        members: ``{"name": registered name, "arguments": {...}}`` of each.
        out_channels: c.

    Attributes:
        weights: ``[m, c]``.

    Raises:
        InputError: No member.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"case"})
    weights: Tensor

    def __init__(self, *, members: Sequence[Mapping[str, Any]], out_channels: int) -> None:
        super().__init__()
        if not members:
            raise InputError("a blend needs at least one member, got none")
        self.members = nn.ModuleList(create_model(m["name"], **m["arguments"]) for m in members)
        self._alike = [f"{m['name']} {sorted(m['arguments'].items(), key=str)}" for m in members]
        self.register_buffer("weights", torch.full((len(members), out_channels), 1 / len(members)))

    def unpack(self, graph: Any) -> list[Any]:
        """What each member takes of a graph or a batch; members that were made alike share it."""
        shared: dict[str, Any] = {}
        for key, member in zip(self._alike, self.members, strict=True):
            if key not in shared:
                shared[key] = member.unpack(graph)  # type: ignore[operator]
        return [shared[key] for key in self._alike]

    def forward(self, inputs: list[Any]) -> Tensor:
        """Fields ``[n, c]``."""
        total: Tensor | None = None
        for member, weight, given in zip(self.members, self.weights, inputs, strict=True):
            if total is not None and bool((weight == 0).all()):
                continue
            part = weight * member(given)
            total = part if total is None else total + part
        assert total is not None, "there is a first member"
        return total

    def moments(self, inputs: list[Any]) -> tuple[Tensor, Tensor]:
        """Fields ``[n, c]``, and the mean square of what the different members say: the spread is in between.

        Members that were made alike (folds of one network) count as one, by their mean.
        """
        sums: dict[str, tuple[Tensor, Tensor]] = {}
        for key, member, weight, given in zip(self._alike, self.members, self.weights, inputs, strict=True):
            if bool((weight == 0).all()):
                continue
            part, total = sums.get(key, (torch.zeros(()), torch.zeros_like(weight)))
            sums[key] = part + weight * member(given), total + weight
        if not sums:
            first = self.forward(inputs)
            return first, torch.zeros_like(first)
        first, second = torch.zeros(()), torch.zeros(())
        for part, weight in sums.values():
            first = first + part
            second = second + torch.where(weight > 0, part.square() / weight.clamp(min=1e-12), 0.0)
        return first, second
