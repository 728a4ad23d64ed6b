"""Checks that all solvers share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from meshops.errors import InputError


def checked_times(times: Sequence[float] | Tensor, *, cfl: float = 0.4) -> list[float]:
    """Output times as numbers.

    Raises:
        InputError: They are not finite, negative or not ascending, or the Courant number is not in (0, 1].
    """
    values = torch.as_tensor(times, dtype=torch.float64)
    if values.numel() == 0 or not bool(torch.isfinite(values).all()) or float(values[0]) < 0:
        raise InputError(f"times must be finite and start at 0 or later, got {values.tolist()[:4]}")
    if bool((values.diff() < 0).any()):
        place = int((values.diff() < 0).nonzero()[0])
        raise InputError(f"times must ascend, got {values[place]:.4g} before {values[place + 1]:.4g}")
    if not 0 < cfl <= 1:
        raise InputError(f"cfl must be above 0 and at most 1, got {cfl}")
    out: list[float] = values.tolist()
    return out


def check_settings(*, resolution: int, frames: int, t_end: float, **positive: float) -> None:
    """Raise ``InputError`` unless resolution and frames are counts and the times and other numbers make sense."""
    for name, count in (("resolution", resolution), ("frames", frames)):
        if not isinstance(count, int) or count < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {count!r}")
    if not t_end >= 0:
        raise InputError(f"t_end must not be negative, got {t_end}")
    for name, value in positive.items():
        if not value > 0:
            raise InputError(f"{name} must be positive, got {value}")
