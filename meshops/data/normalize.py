"""Statistics of channels, computed once in float64 and merged exactly (Chan, Golub, LeVeque 1983)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from meshops.errors import InputError

LOG_RATIO = 10.0  # positive numbers that vary by more are learnt by their logarithm


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

    @classmethod
    def merged(cls, parts: Iterable[Statistics]) -> Statistics:
        """Statistics of the rows of all parts, of which there are some."""
        return reduce(cls.merge, parts)

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
    def of_fields(cls, statistics: Sequence[Statistics], fields: Sequence[slice]) -> Normalizer:
        """:meth:`by_field` of fields with statistics of their own, over the nodes that have them."""
        scales = [part.std.square().mean().sqrt().expand(c.stop - c.start)
                  for part, c in zip(statistics, fields, strict=True)]  # fmt: skip
        return cls(torch.cat([part.mean for part in statistics]), torch.cat(scales))

    @classmethod
    def identity(cls, channels: int) -> Normalizer:
        """Placeholder of the right size, for loading a checkpoint into."""
        return cls(torch.zeros(channels), torch.ones(channels))

    def forward(self, values: Tensor, axis: int = -1) -> Tensor:
        """Physical -> normalised, ``[..., c]``, or with the channels along another axis."""
        return ((values.movedim(axis, -1) - self.shift) / self.scale).movedim(-1, axis)

    def inverse(self, values: Tensor, axis: int = -1) -> Tensor:
        """Normalised -> physical."""
        return (values.movedim(axis, -1) * self.scale + self.shift).movedim(-1, axis)

    def extra_repr(self) -> str:
        """Number of channels."""
        return f"channels={self.shift.numel()}"


class QuantityNormalizer(Normalizer):
    """:class:`Normalizer` of named numbers, of some of which the logarithm is normalised.

    Args:
        shift: ``[g]``.
        scale: ``[g]``.
        names: Name of each.
        logarithmic: Which of them are positive and spread over magnitudes.
    """

    def __init__(self, shift: Tensor, scale: Tensor, *, names: Sequence[str], logarithmic: Sequence[bool]) -> None:
        super().__init__(shift, scale)
        self.names, self.logarithmic = tuple(names), tuple(logarithmic)

    @classmethod
    def fitted(cls, values: Tensor | None, names: Sequence[str], logarithmic: Sequence[bool]) -> QuantityNormalizer:
        """Zero mean and unit variance of ``[m, g]``, or of the logarithm; None: a placeholder of the right size."""
        out = cls(torch.zeros(len(names)), torch.ones(len(names)), names=names, logarithmic=logarithmic)
        if values is not None and names:
            found = Statistics.of(out.logarithms(values))
            out = cls(found.mean, found.std, names=names, logarithmic=logarithmic)
        return out

    def rows(self, values: Mapping[str, float] | None, count: int) -> Tensor | None:
        """The same numbers, by name, ``count`` times: ``[count, g]``; None of None.

        Raises:
            InputError: One is missing, or there are none.
        """
        if values is None:
            return None
        if not self.names or not set(self.names) <= set(values):
            raise InputError(
                f"the model takes the parameters {', '.join(self.names) or 'none'}, got {', '.join(values)}; give all "
                "of them or None"
            )
        return torch.tensor([float(values[name]) for name in self.names]).expand(count, -1).to(self.shift.device)

    def forward(self, values: Tensor, axis: int = -1) -> Tensor:
        """``[b, g]`` normalised; errors as :meth:`logarithms`."""
        return super().forward(self.logarithms(values), axis)

    def inverse(self, values: Tensor, axis: int = -1) -> Tensor:
        """Inverse of :meth:`forward`."""
        out = super().inverse(values, axis)
        return torch.where(torch.tensor(self.logarithmic, device=out.device), out.exp(), out)

    def logarithms(self, values: Tensor) -> Tensor:
        """``[b, g]`` with the logarithm of those that are normalised by it.

        Raises:
            InputError: Another number of them, or one whose logarithm is taken is not positive.
        """
        if values.shape[1] != len(self.names):
            raise InputError(f"need {len(self.names)} parameters ({', '.join(self.names)}), got {values.shape[1]}")
        logs = torch.tensor(self.logarithmic, dtype=torch.bool, device=values.device)
        if bool((logs & (values <= 0)).any()):
            names = [name for name, log in zip(self.names, self.logarithmic, strict=True) if log]
            raise InputError(f"parameters {', '.join(names)} must be positive")
        return torch.where(logs, values.clamp(min=1e-30).log(), values)


def logarithmic(values: Tensor) -> tuple[bool, ...]:
    """Which columns of ``[m, g]`` are positive and vary by more than :data:`LOG_RATIO`."""
    low, high = values.amin(0), values.amax(0)
    return tuple(((low > 0) & (high > LOG_RATIO * low)).tolist())
