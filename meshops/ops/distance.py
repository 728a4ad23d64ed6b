"""Distances of positions, to the nearest image where space is periodic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def squared_distance(a: Tensor, b: Tensor, period: Sequence[float]) -> Tensor:
    """Squared distance ``[...]`` in float64 of positions ``[..., d]``, axis after axis; nearest images if periodic."""
    total = torch.zeros((), dtype=torch.float64, device=a.device)
    for axis, length in enumerate(period):
        gap = a[..., axis].double() - b[..., axis].double()
        if length > 0:
            gap = gap - length * torch.round(gap / length)
        total = total + gap * gap
    return total
