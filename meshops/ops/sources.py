"""What many sources do to many places: Gaussian averages of them, and the velocity they induce.

Both are sums over all pairs. The faster versions (:mod:`meshops.ops.kernels.sources_numba`) split the places by a tree
and interpolate, within a box of it, what varies slowly there; they agree with these definitions to about ``1e-4``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.dispatch import operation
from meshops.ops.kernels.available import needs_numba
from meshops.typing import Float

ROWS = 128  # places whose pairs with all sources are held at once
TYPES = (torch.float32, torch.float64)


def _check(pos: Tensor, sources: Tensor, weight: Tensor, *_: Any) -> None:
    for name, rows in (("pos", pos), ("sources", sources)):
        if rows.dim() != 2 or rows.shape[1] != 3:
            raise InputError(f"{name} must be [n, 3], got {tuple(rows.shape)}; these sums are for three dimensions")
        if not bool(rows.isfinite().all()):
            raise InputError(f"{name} must be finite; leave NaN and infinite rows out")
    if weight.shape != sources.shape[:1]:
        raise InputError(f"weight must be one number a source [{len(sources)}], got {tuple(weight.shape)}")
    if not len(sources):
        raise InputError("sources must not be empty; give at least one")


def _check_means(pos: Tensor, sources: Tensor, weight: Tensor, vectors: Tensor, radius: float) -> None:
    _check(pos, sources, weight)
    if vectors.shape != sources.shape:
        raise InputError(f"vectors must be [{len(sources)}, 3], one a source, got {tuple(vectors.shape)}")
    if not radius > 0:
        raise InputError(f"radius must be positive, got {radius}")


def _check_velocity(pos: Tensor, sources: Tensor, strength: Tensor, soft: Tensor) -> None:
    _check(pos, sources, strength)
    if soft.shape != strength.shape or bool((soft < 0).any()):
        raise InputError(f"soft must be one number >= 0 a source [{len(sources)}], got {tuple(soft.shape)}")


@operation(check=_check_means)
def gaussian_means(
    pos: Float[Tensor, "n 3"],
    sources: Float[Tensor, "s 3"],
    weight: Float[Tensor, " s"],
    vectors: Float[Tensor, "s 3"],
    radius: float,
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Averages of sources around each place, weighted by ``weight * exp(-distance^2 / (2 radius^2))``.

    Args:
        pos: Places.
        sources: Where sources are.
        weight: Positive.
        vectors: Averaged.
        radius: Of the Gaussian. Far from all sources the nearest ones count.

    Returns:
        Mean of ``source - place``, and of the vectors.

    Raises:
        InputError: Not 3-D, not finite, no source, or a radius that is not positive.
    """
    offset, mean = torch.empty_like(pos), torch.empty_like(pos)
    for start in range(0, len(pos), ROWS):
        away = sources - pos[start : start + ROWS].unsqueeze(1)
        square = away.square().sum(2)
        near = weight * torch.exp((square.amin(1, keepdim=True) - square) * (0.5 / radius**2))
        near = near / near.sum(1, keepdim=True).clamp(min=1e-20)
        offset[start : start + ROWS] = (near.unsqueeze(2) * away).sum(1)
        mean[start : start + ROWS] = near @ vectors
    return offset, mean


@operation(check=_check_velocity)
def source_velocity(
    pos: Float[Tensor, "n 3"],
    sources: Float[Tensor, "s 3"],
    strength: Float[Tensor, " s"],
    soft: Float[Tensor, " s"],
) -> Float[Tensor, "n 3"]:
    """Sum over sources of ``strength (place - source) / (distance^2 + soft)^(3/2)``.

    Args:
        pos: Places.
        sources: Where sources are.
        strength: Of either sign.
        soft: Square of the length over which a source is spread.

    Raises:
        InputError: Not 3-D, not finite, no source, or ``soft`` below zero.
    """
    out = torch.empty_like(pos)
    for start in range(0, len(pos), ROWS):
        away = pos[start : start + ROWS].unsqueeze(1) - sources
        decay = strength * (away.square().sum(2) + soft).clamp(min=1e-12) ** -1.5
        out[start : start + ROWS] = (decay.unsqueeze(2) * away).sum(1)
    return out


def _numba_applies(pos: Tensor, *_: Any, **__: Any) -> str:
    return needs_numba(pos, TYPES)


@gaussian_means.kernel("numba", _numba_applies)
def _means(pos: Tensor, sources: Tensor, weight: Tensor, vectors: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    from meshops.ops.kernels import sources_numba  # importing Numba takes a while

    return sources_numba.gaussian_means(pos, sources, weight, vectors, radius)


@source_velocity.kernel("numba", _numba_applies)
def _velocity(pos: Tensor, sources: Tensor, strength: Tensor, soft: Tensor) -> Tensor:
    from meshops.ops.kernels import sources_numba

    return sources_numba.source_velocity(pos, sources, strength, soft)
