"""Statistics of channels, computed once in float64 and merged exactly (Chan, Golub, LeVeque 1983)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from meshops.errors import InputError


@dataclass(frozen=True, eq=False)
class Statistics:
    """Running mean, squared deviations and range of ``c`` channels, all float64 ``[c]``."""

    count: int
    mean: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Statistics:
        """Statistics of the rows of ``[n, c]``, n >= 1."""
        rows = values.detach().to(torch.float64)
        mean = rows.mean(0)
        return cls(rows.shape[0], mean, (rows - mean).square().sum(0), rows.amin(0), rows.amax(0))

    def merge(self, other: Statistics) -> Statistics:
        """Statistics of both sets of rows together; exact, in any order."""
        count = self.count + other.count
        step = other.mean - self.mean
        return Statistics(
            count,
            self.mean + step * (other.count / count),
            self.deviation + other.deviation + step.square() * (self.count * other.count / count),
            torch.minimum(self.low, other.low),
            torch.maximum(self.high, other.high),
        )

    @classmethod
    def over(cls, parts: Iterable[Tensor]) -> Statistics:
        """Statistics of the rows of all parts.

        Raises:
            InputError: There are no parts.
        """
        total: Statistics | None = None
        for values in parts:
            part = cls.of(values)
            total = part if total is None else total.merge(part)
        if total is None:
            raise InputError("no data to compute statistics from; the training split is empty")
        return total

    @property
    def std(self) -> Tensor:
        """Standard deviation (biased), never negative."""
        return (self.deviation.clamp(min=0) / self.count).sqrt()

    def box(self) -> Tensor:
        """``[c + 1]`` middle of the range, and half its longest side: one shift and scale for positions."""
        return torch.cat([(self.high + self.low) / 2, ((self.high - self.low).max() / 2).view(1)])


class Normalizer(nn.Module):
    """``(value - shift) / scale`` per channel; the statistics are buffers and travel with the checkpoint.

    Args:
        shift: ``[c]``.
        scale: ``[c]``; channels that do not vary get scale 1.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        flat = scale <= 1e-12 * shift.abs().clamp(min=1e-30)
        self.register_buffer("shift", shift.to(torch.float32))
        self.register_buffer("scale", torch.where(flat, torch.ones_like(scale), scale).to(torch.float32))

    @classmethod
    def from_statistics(cls, statistics: Statistics) -> Normalizer:
        """Zero mean and unit variance on the data of the statistics."""
        return cls(statistics.mean, statistics.std)

    @classmethod
    def by_field(cls, statistics: Statistics, fields: Iterable[slice]) -> Normalizer:
        """Mean of each channel, one scale per field, so that vectors keep their direction."""
        scale = statistics.std.clone()
        for channels in fields:
            scale[channels] = statistics.std[channels].square().mean().sqrt()
        return cls(statistics.mean, scale)

    @classmethod
    def identity(cls, channels: int) -> Normalizer:
        """Placeholder of the right size, for loading a checkpoint into."""
        return cls(torch.zeros(channels), torch.ones(channels))

    def forward(self, values: Tensor) -> Tensor:
        """Physical -> normalised, ``[..., c]``."""
        return (values - self.shift) / self.scale

    def inverse(self, values: Tensor) -> Tensor:
        """Normalised -> physical, ``[..., c]``."""
        return values * self.scale + self.shift

    def extra_repr(self) -> str:
        """Number of channels."""
        return f"channels={self.shift.numel()}"
