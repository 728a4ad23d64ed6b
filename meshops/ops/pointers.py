"""Pointers of ragged rows: group i owns the rows ``ptr[i]:ptr[i + 1]``."""

from __future__ import annotations

import torch
from torch import Tensor


def pointers(sizes: Tensor) -> Tensor:
    """Running sum with a leading zero: ``[c] -> [c + 1]``."""
    out = sizes.new_zeros(sizes.numel() + 1, dtype=torch.int64)
    torch.cumsum(sizes, 0, out=out[1:])
    return out
