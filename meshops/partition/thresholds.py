"""Thresholds of AMR-Transformer's criteria (2503.10257, sec. 3.2 and 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

Strain = Literal["abs_vorticity", "shear_strain"]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Factors on the mean over the domain above which a region is refined; infinity turns a criterion off.

    Attributes:
        gradient: t_G, of the velocity gradient.
        vorticity: t_w, of the modulus of the mean vorticity.
        momentum: t_M, of the modulus of the mean velocity.
        shear: t_S, of the mean modulus of the vorticity ("Kelvin-Helmholtz").

    Each is a number or a tensor ``[b]``. The defaults are 0.4 of the released code and the middle of the ranges the
    paper draws from in training; the values it tests with are not known.
    """

    gradient: float | Tensor = 0.4
    vorticity: float | Tensor = 2.1
    momentum: float | Tensor = 5.25
    shear: float | Tensor = 2.1

    def scaled(self, factor: float) -> Thresholds:
        """All thresholds times a factor."""
        return Thresholds(**{f.name: getattr(self, f.name) * factor for f in fields(self)})


TRAINING_RANGES = {"gradient": (0.1, 2.0), "vorticity": (0.2, 4.0), "momentum": (0.5, 10.0), "shear": (0.2, 4.0)}
"""Ranges from which thresholds are drawn uniformly while training (paper, sec. 4.1)."""


def random_thresholds(batch_size: int, generator: torch.Generator | None = None) -> Thresholds:
    """Thresholds of each sample, drawn from :data:`TRAINING_RANGES`; per sample is our reading."""
    drawn = {}
    for name, (low, high) in TRAINING_RANGES.items():
        drawn[name] = low + (high - low) * torch.rand(batch_size, generator=generator)
    return Thresholds(**drawn)
