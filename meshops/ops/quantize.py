"""Quantised rows: every node, edge or cluster has its own number of bits.

Row r of an activation ``X [r, c]`` at b bits, unsigned affine with the range of the row (0 always representable):

    n = 2^b - 1,   s = (hi - lo) / n,   z = round(-lo / s),   q = clamp(round(x / s) + z, 0, n),   x' = (q - z) s

A learned factor c clips the range to ``[c lo, c hi]``. Weights ``W [out, in]``, signed symmetric per output:

    Q = 2^(b-1) - 1,   q = clamp(round(w / s), -Q, Q),   w' = q s

With LSQ+ (Bhalgat et al., 2004.09576) the range ``[lo, hi]`` is one for all rows of a layer, and learned.

Gradients pass straight through inside of the range and are zero outside (Bengio et al. 2013); the clip and the step of
the weights learn as in LSQ (Esser et al., 1902.08153, eq. 3). Rounding is half to even, so that these values and the
integers of :func:`quantize_rows` agree.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.checks import unreadable
from meshops.typing import Float, Int

FEWEST, MOST = 2, 16
"""Smallest and largest number of bits."""
INTEGER_MOST = 8
"""Largest number of bits that the integer path holds."""


class QuantizedRows(NamedTuple):
    """Integers of some rows, see :func:`quantize_rows`.

    Attributes:
        values: ``[r, c]`` uint8.
        scale: ``[r]`` float32, s.
        zero: ``[r]`` int32, z.
    """

    values: Tensor
    scale: Tensor
    zero: Tensor


def check_bits(bits: Tensor | int, *, most: int = MOST) -> None:
    """Raise ``InputError`` unless all bit-widths are whole numbers from 2 to ``most``; names the first row that is not.

    Args:
        bits: One number, or one per row.
        most: Largest that is allowed.
    """
    if isinstance(bits, int):
        if not FEWEST <= bits <= most:
            raise InputError(f"a bit-width must be {FEWEST} to {most}, got {bits}")
        return
    if bits.is_floating_point() or bits.dim() != 1:
        raise InputError(f"bit-widths must be integers [r], got {tuple(bits.shape)} of {bits.dtype}")
    if unreadable(bits) or bits.numel() == 0:
        return
    bad = (bits < FEWEST) | (bits > most)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise InputError(f"a bit-width must be {FEWEST} to {most}, got {int(bits[row])} in row {row}")


def fake_quantize_rows(
    x: Float[Tensor, "r c"], bits: Int[Tensor, " r"] | int, clip: Float[Tensor, ""] | None = None
) -> Float[Tensor, "r c"]:
    """Values after quantisation of each row to its bits, with straight-through gradients.

    Args:
        x: Rows; constant rows come back as they are, up to rounding.
        bits: 2 to 16, one number or one per row.
        clip: Factor on the range of every row, at most 1 makes sense; gets a gradient. None: 1.

    Raises:
        InputError: Bit-widths out of range, or a wrong number of them.

    Example:
        >>> fake_quantize_rows(torch.tensor([[0.0, 0.4, 1.0]]), 2)
        tensor([[0.0000, 0.3333, 1.0000]])
    """
    check_bits(bits)
    if isinstance(bits, Tensor) and bits.shape[0] != x.shape[0]:
        raise InputError(f"bits must have one entry per row ({x.shape[0]}), got {bits.shape[0]}")
    levels = _levels(bits, x)
    one = torch.ones((), dtype=x.dtype, device=x.device) if clip is None else clip
    out: Tensor = _FakeRows.apply(x, levels, one)  # type: ignore[no-untyped-call]
    return out


def quantize_rows(
    x: Float[Tensor, "r c"],
    bits: Int[Tensor, " r"] | int,
    clip: Float[Tensor, ""] | None = None,
    limits: tuple[float, float] | None = None,
) -> QuantizedRows:
    """The integers behind :func:`fake_quantize_rows`, for 2 to 8 bits: ``(values - zero) * scale`` are its values.

    With ``limits`` (low, high) those behind :func:`fake_quantize_tensor`.

    Raises:
        InputError: Bit-widths out of range.
    """
    check_bits(bits, most=INTEGER_MOST)
    levels = _levels(bits, x)
    scale, zero = _affine(x, levels, torch.ones((), dtype=x.dtype) if clip is None else clip.detach())
    if limits is not None:
        ends = fixed_range(x.new_tensor(limits[0]), x.new_tensor(limits[1]), int(bits))
        scale, zero = (end.expand_as(scale) for end in ends)
    q = (torch.round(x.detach() / scale) + zero).clamp_(min=0)
    values = torch.minimum(q, levels).to(torch.uint8)
    return QuantizedRows(values, scale[:, 0].float(), zero[:, 0].to(torch.int32))


def fake_quantize_tensor(
    x: Float[Tensor, "r c"], bits: int, low: Float[Tensor, ""], high: Float[Tensor, ""]
) -> Float[Tensor, "r c"]:
    """Values after quantisation with one range for all rows, which learns (LSQ+, 2004.09576, eq. 3 to 6).

    Args:
        x: Rows.
        bits: 2 to 16.
        low: Lower end of the range, at most 0 after it is clamped; gets a gradient scaled by ``1 / sqrt(numel n)``.
        high: Upper end, at least 0.

    Raises:
        InputError: Bit-width out of range.
    """
    check_bits(bits)
    levels = 2.0**bits - 1
    ease = (max(x.numel(), 1) * levels) ** -0.5
    low, high = (end * ease + (end - end * ease).detach() for end in (low, high))
    scale, zero = fixed_range(low, high, bits)
    place = _straight(x / scale) + zero
    return (place.clamp(0, levels) - zero) * scale


def fixed_range(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point of a range that holds zero."""
    scale = ((high.clamp(min=0) - low.clamp(max=0)) / (2.0**bits - 1)).clamp(min=1e-12)
    return scale, _straight(-low.clamp(max=0) / scale)


def _straight(x: Tensor) -> Tensor:
    """Rounding whose gradient is one."""
    return x + (torch.round(x) - x).detach()


def fake_quantize_weight(
    weight: Float[Tensor, "n k"], bits: int, step: Float[Tensor, " n"] | None = None
) -> Float[Tensor, "n k"]:
    """Weights after symmetric quantisation per output channel, with straight-through gradients.

    Args:
        weight: One row per output.
        bits: 2 to 16.
        step: Step s of each output, learned (LSQ); None: :func:`weight_step`, found anew and without a gradient.
    """
    check_bits(bits)
    most = 2 ** (bits - 1) - 1
    steps = weight_step(weight, bits) if step is None else step
    out: Tensor = _FakeWeight.apply(weight, steps, most)  # type: ignore[no-untyped-call]
    return out


def weight_step(weight: Tensor, bits: int) -> Tensor:
    """``[n]`` step of each output with the least squared error ``|w - w'|^2``: where a learned step starts.

    A coarse and a fine search over steps that clip up to seven eighths of the range, then steps fitted to the rounded
    weights and weights rounded anew in turn, neither of which can raise the error.

    Args:
        weight: ``[n, k]`` one row per output.
        bits: 2 to 16.
    """
    most = 2 ** (bits - 1) - 1
    rows = weight.detach()
    widest = _largest(rows) / most
    coarse = torch.logspace(-0.9, 0, COARSE, dtype=rows.dtype, device=rows.device)
    ratio = float(coarse[1] / coarse[0])
    fine = torch.logspace(-1, 1, FINE, base=ratio, dtype=rows.dtype, device=rows.device)
    best = _best_of(rows, widest, coarse, most)
    best = _best_of(rows, best, fine, most)
    for _ in range(2):
        q = torch.round(rows / best.unsqueeze(1)).clamp_(-most, most)
        size = q.square().sum(1)
        best = torch.where(size > 0, (rows * q).sum(1) / size.clamp(min=1), best)
    return best.clamp(min=torch.finfo(rows.dtype).tiny)


COARSE, FINE = 16, 9  # steps that are tried


def _best_of(rows: Tensor, step: Tensor, factors: Tensor, most: int) -> Tensor:
    """``[n]`` of the steps ``step factor`` the one with the least squared error of each row."""
    best, least = step, torch.full_like(step, torch.inf)
    for factor in factors:
        size = step * factor
        wide = size.unsqueeze(1)
        error = (torch.round(rows / wide).clamp_(-most, most).mul_(wide) - rows).square().sum(1)
        better = error < least
        best, least = torch.where(better, size, best), torch.where(better, error, least)
    return best


def weight_scale(weight: Tensor, bits: int) -> Tensor:
    """``[n]`` size that the best step of each output is near to, whatever the weights: what learned steps are told by.

    The lesser of the largest modulus over Q (best for even rows and many bits) and the best step of a normal
    distribution as wide as the row (best for few bits); no gradient.
    """
    rows = weight.detach()
    spread = torch.linalg.vector_norm(rows, dim=1) / max(rows.shape[1], 1) ** 0.5
    widest = _largest(rows) / (2 ** (bits - 1) - 1)
    return torch.minimum(widest, spread.clamp(min=torch.finfo(rows.dtype).tiny) * _normal_step(bits))


def _largest(rows: Tensor) -> Tensor:
    """``[n]`` largest modulus of each row, above zero."""
    if rows.shape[1] == 0:
        return rows.new_ones(rows.shape[0])
    return rows.abs().amax(1).clamp(min=1e-30)


@lru_cache(maxsize=32)
def _normal_step(bits: int) -> float:
    """Best step of a normal distribution of width 1."""
    place = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096
    return float(weight_step(torch.special.ndtri(place).unsqueeze(0), bits))


def quantize_weight(weight: Tensor, bits: int, step: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``[n, k]`` int8 and ``[n]`` steps behind :func:`fake_quantize_weight`, for 2 to 8 bits."""
    check_bits(bits, most=INTEGER_MOST)
    most = 2 ** (bits - 1) - 1
    steps = (weight_step(weight, bits) if step is None else step.detach().abs()).clamp(min=1e-30)
    values = torch.round(weight.detach() / steps.unsqueeze(1)).clamp_(-most, most)
    return values.to(torch.int8), steps


def _levels(bits: Tensor | int, x: Tensor) -> Tensor:
    """``[r, 1]`` number of steps n of each row."""
    if isinstance(bits, int):
        return torch.full((x.shape[0], 1), float(2**bits - 1), dtype=x.dtype, device=x.device)
    return (torch.pow(2.0, bits.to(x.dtype)) - 1).unsqueeze(1)


def _affine(x: Tensor, levels: Tensor, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point ``[r, 1]`` of each row."""
    if x.shape[1] == 0:
        return torch.ones_like(levels), torch.zeros_like(levels)
    low, high = torch.aminmax(x.detach(), dim=1, keepdim=True)
    low, high = low.clamp(max=0) * clip, high.clamp(min=0) * clip
    scale = (high - low) / levels
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # a row of zeros
    return scale, torch.round(-low / scale)


class _FakeRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: Tensor, clip: Tensor) -> Tensor:
        scale, zero = _affine(x, levels, clip)
        place = torch.round(x / scale) + zero
        q = torch.minimum(place.clamp(min=0), levels)
        inside = (place >= 0) & (place <= levels)
        out = (q - zero) * scale
        ctx.save_for_backward(x, out, inside, clip)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor | None]:  # type: ignore[override]
        x, out, inside, clip = ctx.saved_tensors
        towards_clip = None
        if ctx.needs_input_grad[2]:  # out = s(c) k: at the ends out / c, inside the rounding error over c
            change = torch.where(inside, out - x, out) / clip
            towards_clip = (grad * change).sum() / max(x.numel(), 1) ** 0.5
            towards_clip = towards_clip.reshape(clip.shape)
        return grad * inside, None, towards_clip


class _FakeWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, step: Tensor, most: int) -> Tensor:
        size = step.abs().clamp(min=1e-30).unsqueeze(1)
        place = torch.round(weight / size)
        q = place.clamp(-most, most)
        ctx.save_for_backward(weight, q, size, place.abs() <= most, step)
        ctx.most = most
        return q * size

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:  # type: ignore[override]
        weight, q, size, inside, step = ctx.saved_tensors
        towards_step = None
        if ctx.needs_input_grad[1]:
            change = torch.where(inside, q - weight / size, q)
            towards_step = (grad * change).sum(1) / (weight.shape[1] * ctx.most) ** 0.5 * step.sign()
        return grad * inside, towards_step, None
