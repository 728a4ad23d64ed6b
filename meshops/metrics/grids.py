"""Errors of trajectories on grids, named and defined as in the public benchmarks; all on physical units.

VRMSE (The Well): sqrt(mean_x (y' - y)^2 / (var_x(y) + 1e-7)) per sample, time and channel, variance with Bessel's
correction. A constant prediction of the mean scores about 1; a constant truth explodes.
NMSE (CFDBench): MSE / mean(y^2), here per sample over all channels.
Band errors (LOLA, arXiv 2507.02608): relative error of the power spectrum at low, middle and high wave numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.metrics.registry import register_metric

EPS = 1e-7  # of The Well


@register_metric("vrmse", needs="grid")
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


@register_metric("nmse", needs="grid")
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


def channel_errors(prediction: Tensor, truth: Tensor, names: Sequence[str], *, dim: int) -> dict[str, Tensor]:
    """:func:`grid_errors` and ``vrmse_<name>`` of each channel; the NMSE of a truth that is zero everywhere is NaN."""
    errors = grid_errors(prediction, truth, dim=dim)
    errors["nmse"] = errors["nmse"].masked_fill(truth.flatten(-dim - 1).eq(0).all(-1), torch.nan)
    each = vrmse(prediction, truth, dim=dim)
    return errors | {f"vrmse_{name}": each[:, place] for place, name in enumerate(names)}


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


@register_metric("band_errors", needs="grid")
def band_errors(
    prediction: Tensor, truth: Tensor, *, dim: int, spacing: Sequence[float] | None = None, bands: int = 3
) -> Tensor:
    r"""Relative error of the power spectrum in bands of wave numbers: the right scales, wherever they are.

    With :math:`E(k)` of :func:`energy_spectrum`, each channel by itself, band i holds the wave numbers k = 1 .. K with
    :math:`i \le n \log k / \log K < i + 1` for n bands, the last also K; its error is

    .. math:: \Big( \frac{1}{|B_i|} \sum_{k \in B_i} \big( E'(k) / E(k) - 1 \big)^2 \Big)^{1/2}

    A prediction without any power in a band scores 1 there. LOLA takes three bands (low, middle, high) that are even in
    the logarithm, and the root mean square of the relative power; that the mean (k = 0) is left out, the corners of the
    box belong to K, each shell counts once and the edges lie as above is ours (*unverified* against its code). Shells
    with less than 1e-14 of the energy of their field hold rounding only and are divided by that share instead.

    Args:
        prediction: ``[..., c, *grid]``, physical units.
        truth: Same shape.
        dim: Number of grid axes.
        spacing: Cell size along each axis; None: cubes.
        bands: Number of bands, lowest first.

    Returns:
        ``[..., c, bands]`` float64.

    Raises:
        InputError: Shapes differ, or the grid is too small to give each band a wave number.

    Example:
        >>> truth = torch.randn(1, 32, 32)
        >>> band_errors(2 * truth, truth, dim=2).round(decimals=3)
        tensor([[3., 3., 3.]], dtype=torch.float64)
    """
    _check(prediction, truth)
    waves, true = energy_spectrum(truth.unsqueeze(-dim - 1), dim=dim, spacing=spacing)
    _, found = energy_spectrum(prediction.unsqueeze(-dim - 1), dim=dim, spacing=spacing)
    top = len(waves) - 1
    # In integers: k^n >= K^i has no rounding that could move a wave number over an edge.
    member = [sum(k**bands >= top**edge for edge in range(1, bands)) for k in range(1, top + 1)]
    if bands < 1 or set(member) != set(range(bands)):
        raise InputError(
            f"bands must be at least 1 and each must hold a wave number, got bands = {bands} for a grid of "
            f"{list(truth.shape[-dim:])} with wave numbers 1 .. {top}; ask for fewer bands or take a finer grid"
        )
    floor = (true.sum(-1, keepdim=True) * 1e-14).clamp(min=1e-300)
    square = ((found - true) / torch.maximum(true, floor))[..., 1:].square()
    index = torch.tensor(member, device=square.device)
    total = square.new_zeros((*square.shape[:-1], bands)).index_add_(-1, index, square)
    return (total / index.bincount(minlength=bands)).sqrt()


def _check(prediction: Tensor, truth: Tensor) -> None:
    if prediction.shape != truth.shape:
        raise InputError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape")
