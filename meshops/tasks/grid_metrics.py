"""Errors of trajectories on grids, named and defined as in the public benchmarks; all on physical units.

VRMSE (The Well): sqrt(mean_x (y' - y)^2 / (var_x(y) + 1e-7)) per sample, time and channel, variance with Bessel's
correction. A constant prediction of the mean scores about 1; a constant truth explodes.
NMSE (CFDBench): MSE / mean(y^2), here per sample over all channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from meshops.errors import InputError

EPS = 1e-7  # of The Well


def vrmse(prediction: Tensor, truth: Tensor, *, dim: int) -> Tensor:
    """VRMSE over the last ``dim`` axes.

    Args:
        prediction: ``[..., *grid]``, physical units.
        truth: Same shape.
        dim: Number of grid axes.

    Returns:
        ``[...]`` float64, e.g. ``[b, t, c]``.
    """
    _check(prediction, truth)
    axes = tuple(range(-dim, 0))
    error = (prediction.double() - truth.double()).square().mean(axes)
    return (error / (truth.double().var(axes, correction=1) + EPS)).sqrt()


def nmse(prediction: Tensor, truth: Tensor, *, dim: int) -> Tensor:
    """MSE / mean(truth^2) over the channels and the grid: ``[..., c, *grid] -> [...]`` float64."""
    _check(prediction, truth)
    axes = tuple(range(-dim - 1, 0))
    return (prediction.double() - truth.double()).square().mean(axes) / truth.double().square().mean(axes).clamp(
        min=1e-300
    )


def grid_errors(prediction: Tensor, truth: Tensor, *, dim: int) -> dict[str, Tensor]:
    """``vrmse``, ``nmse``, ``mse`` and ``mae`` of ``[..., c, *grid]``, each ``[...]``: averaged over channels."""
    axes = tuple(range(-dim - 1, 0))
    difference = prediction.double() - truth.double()
    return {
        "vrmse": vrmse(prediction, truth, dim=dim).mean(-1),
        "nmse": nmse(prediction, truth, dim=dim),
        "mse": difference.square().mean(axes),
        "mae": difference.abs().mean(axes),
    }


def energy_spectrum(values: Tensor, *, dim: int, spacing: Sequence[float] | None = None) -> tuple[Tensor, Tensor]:
    """Energy per shell of wave numbers, ``E(k) = 1/2 sum over |k'| in [k - 1/2, k + 1/2) of |u_hat(k')|^2``.

    Wave numbers are counted in periods over the longest axis. The sum over shells is half the mean square of the
    values, up to the corners of the box, which are in the last shell. Fields that are not periodic leak between shells.

    Args:
        values: ``[..., c, *grid]``, the components of a vector or one scalar channel.
        dim: Number of grid axes.
        spacing: Cell size along each axis; None: cubes.

    Returns:
        Wave numbers ``[k]`` and energies ``[..., k]``, float64.
    """
    grid = values.shape[-dim:]
    step = tuple(spacing or (1.0,) * dim)
    longest = max(n * s for n, s in zip(grid, step, strict=True))
    axes = tuple(range(-dim, 0))
    power = torch.fft.fftn(values.double(), dim=axes).abs().square().sum(-dim - 1) / math.prod(grid) ** 2 / 2
    waves = [torch.fft.fftfreq(n, d=s / longest, dtype=torch.float64) for n, s in zip(grid, step, strict=True)]
    size = torch.stack(torch.meshgrid(*waves, indexing="ij")).norm(dim=0)
    top = min(int(longest / s) // 2 for s in step)
    shell = size.round().long().clamp(max=top).flatten().to(values.device)
    energy = power.flatten(-dim).new_zeros((*power.shape[:-dim], top + 1))
    energy.index_add_(-1, shell, power.flatten(-dim))
    return torch.arange(top + 1, dtype=torch.float64), energy


def _check(prediction: Tensor, truth: Tensor) -> None:
    if prediction.shape != truth.shape:
        raise InputError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape")
