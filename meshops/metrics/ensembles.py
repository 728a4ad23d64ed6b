r"""Scores of ensembles: k samples of a field against what happened, on any mesh or grid.

``samples [k, ...]`` hold k draws of ``truth [...]``, e.g. ``[k, t, n, c]`` on points. Nothing asks for a grid. Cells of
unequal size are weighted by ``weights [n]`` (areas, volumes) along ``node_axis``. All is computed in float64.

=====================  ============================================================================================
CRPS                   Gneiting and Raftery 2007, eq. 20 and 21; fair version: Ferro 2014
spread and skill       Fortin et al. 2014: equal in a reliable ensemble once the spread has its ``sqrt((k + 1) / k)``
rank histogram         Hamill 2001
calibration error      ours, through the rank histogram, see :func:`rmsce`
relative L2, "MSE"     see :func:`relative_mse` for who calls which by that name
=====================  ============================================================================================

Departure: ENMA (arXiv 2506.06158) reports an RMSCE without naming levels or estimator, as far as we could read
(*unverified*), so figures of :func:`rmsce` are comparable among themselves only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.metrics.registry import register_metric
from meshops.ops.checks import check_values

Calibration = Literal["quantile", "interval"]
REMEDY = "a rollout that diverged has no score: leave out the sample or cut the steps, and say so beside the figure"


class SpreadSkill(NamedTuple):
    """Spread, skill and their ratio, each over the axes that were kept.

    Attributes:
        spread: ``sqrt((k + 1) / k * mean(variance))``, variance with Bessel's correction; unit of the field.
        skill: Root mean square error of the ensemble mean; unit of the field.
        ratio: ``spread / skill``: 1 when reliable, below 1 overconfident. Infinite where the mean is exact, NaN where
            the samples are all exact.
    """

    spread: Tensor
    skill: Tensor
    ratio: Tensor


@register_metric("crps", unit="field", needs="ensemble")
def crps(samples: Tensor, truth: Tensor, *, fair: bool = False) -> Tensor:
    r"""Continuous ranked probability score of each entry; for k = 1 the absolute error.

    .. math:: \frac1k \sum_i |x_i - y| - \frac{1}{2 k^2} \sum_{i,j} |x_i - x_j|

    The double sum is :math:`2 \sum_i (2 i - k - 1) x_{(i)}` over the sorted samples, so it costs k log k and no memory
    beyond that of the samples.

    Args:
        samples: ``[k, ...]``.
        truth: ``[...]``.
        fair: Divide the double sum by ``2 k (k - 1)``: the expected score of infinitely many draws, for comparing
            ensembles of unlike sizes. Can be negative.

    Returns:
        ``[...]`` float64, in the unit of the field.

    Raises:
        InputError: Shapes do not fit, values are not finite, or ``fair`` with one sample.

    Example:
        >>> crps(torch.tensor([0.0, 2.0]), torch.tensor(1.0))
        tensor(0.5000, dtype=torch.float64)
    """
    _check_ensemble(samples, truth)
    if fair:
        _check_size(samples, "the fair CRPS", "crps(..., fair=False), which is the absolute error")
    return _crps(samples, truth, fair)


def spread_skill(
    samples: Tensor,
    truth: Tensor,
    *,
    axes: Sequence[int] | None,
    weights: Tensor | None = None,
    node_axis: int = -2,
) -> SpreadSkill:
    """Spread of the ensemble beside the error of its mean.

    Args:
        samples: ``[k, ...]``, at least two.
        truth: ``[...]``.
        axes: Axes of ``truth`` to average over (means of variances and of squares, before the root); None: all.
        weights: ``[n]`` sizes of the cells; None: equal.
        node_axis: Axis of ``truth`` the weights belong to; -2 as in ``[t, n, c]``.

    Raises:
        InputError: One sample, shapes do not fit, values are not finite.

    Example:
        >>> spread_skill(torch.tensor([[0.0], [2.0]]), torch.tensor([2.0]), axes=None).skill
        tensor(1., dtype=torch.float64)
    """
    _check_ensemble(samples, truth)
    _check_size(samples, "the spread", "the RMSE alone")
    return _spread_skill(samples, truth, _axes(truth, axes), _weights(truth, weights, node_axis))


@register_metric("missing_variance", needs="ensemble")
def missing_variance(samples: Tensor, truth: Tensor) -> Tensor:
    """What the variance of an ensemble lacks to explain the error of its mean, mean over the nodes.

    ``(mean - y)^2 - (k + 1) / k * variance``, in expectation 0 if the truth is like one more sample (Fortin et al.
    2014). Averaged over cases that were not trained on and added to the variance of new ensembles of any size from two
    on, it makes their spread equal their error on average. One sample has no variance and all of its error is missing:
    what comes out of one is for the use with one.

    Args:
        samples: ``[k, ..., n, c]``.
        truth: ``[..., n, c]``.

    Returns:
        ``[..., c]`` float64, in squared units of the field; negative where the ensemble varies too much.

    Raises:
        InputError: Shapes do not fit, values are not finite.
    """
    _check_ensemble(samples, truth)
    if truth.dim() < 2:
        raise InputError(f"truth must be [..., n, c], got {list(truth.shape)}")
    exact, k = samples.double(), samples.shape[0]
    variance = exact.var(0) * (k + 1) / k if k > 1 else torch.zeros_like(exact[0])
    out: Tensor = ((exact.mean(0) - truth.double()).square() - variance).mean(-2)
    return out


def expected_error(samples: Tensor, missing: Tensor) -> Tensor:
    """Standard deviation of the error of the mean of an ensemble: ``sqrt((k + 1) / k variance + missing)``.

    Args:
        samples: ``[k, t, n, c]``; the variance of one is 0.
        missing: ``[m, c]`` :func:`missing_variance` against time; later than m steps it is as at the last.

    Returns:
        ``[t, n, c]``.
    """
    k, steps = samples.shape[:2]
    variance = samples.var(0) * (k + 1) / k if k > 1 else torch.zeros_like(samples[0])
    rows = torch.arange(steps).clamp(max=len(missing) - 1)
    return (variance + missing[rows].unsqueeze(1).to(samples)).clamp(min=0).sqrt()


def rank_histogram(samples: Tensor, truth: Tensor, *, weights: Tensor | None = None, node_axis: int = -2) -> Tensor:
    """How often the truth has each rank among the samples: flat if they are draws from the same distribution.

    Rank r means that r samples lie below the truth. A truth equal to m samples could have any of m + 1 ranks and is
    split evenly over them, so the result needs no random numbers and does not depend on the order of the samples.

    Args:
        samples: ``[k, ...]``.
        truth: ``[...]``.
        weights: ``[n]`` sizes of the cells, what each entry counts; None: 1.
        node_axis: Axis of ``truth`` the weights belong to.

    Returns:
        ``[k + 1]`` float64; sums to the number of entries of ``truth``, or to their total weight.

    Raises:
        InputError: Shapes do not fit, values are not finite.

    Example:
        >>> rank_histogram(torch.tensor([[1.0, 1.0], [3.0, 3.0]]), torch.tensor([2.0, 5.0]))
        tensor([0., 1., 1.], dtype=torch.float64)
    """
    _check_ensemble(samples, truth)
    return _rank_histogram(samples, truth, _weights(truth, weights, node_axis))


@register_metric("rmsce", needs="ensemble")
def rmsce(
    samples: Tensor,
    truth: Tensor,
    *,
    kind: Calibration = "quantile",
    weights: Tensor | None = None,
    node_axis: int = -2,
) -> Tensor:
    r"""Root mean square calibration error, at the levels that k samples resolve: 0 is calibrated.

    Let :math:`f_r` be the share of entries whose truth has rank r, ties split evenly (:func:`rank_histogram`).

    - ``quantile``: the j-th smallest sample is the quantile of level j / (k + 1), and the truth was at most that in a
      share :math:`F_j = f_0 + ... + f_{j-1}`; the error is :math:`\sqrt{\frac1k \sum_{j=1}^k (F_j - j/(k+1))^2}`.
    - ``interval``: the central interval between the j-th smallest and the j-th largest sample, j = 1 .. floor(k / 2),
      should hold a share (k + 1 - 2 j) / (k + 1) and held :math:`f_j + ... + f_{k-j}`; root mean square likewise.
      Blind to a bias that shifts as much out on one side as comes in on the other.

    Levels j / (k + 1), not j / k, are those which a truth drawn like the samples meets for any k. A finite number of
    entries leaves an error of about the root of 1 / (6 entries) in the first kind if entries are independent.

    Args:
        samples: ``[k, ...]``; at least two for intervals.
        truth: ``[...]``.
        kind: ``quantile`` or ``interval``.
        weights: ``[n]`` sizes of the cells; None: equal.
        node_axis: Axis of ``truth`` the weights belong to.

    Returns:
        A number in [0, 1], float64.

    Raises:
        InputError: Unknown kind, one sample for intervals, shapes do not fit, values are not finite.

    Example:
        >>> rmsce(torch.tensor([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]]), torch.tensor([0.0, 2.0, 5.0]))
        tensor(0., dtype=torch.float64)
    """
    _check_ensemble(samples, truth)
    if kind not in ("quantile", "interval"):
        raise InputError(f"kind must be 'quantile' or 'interval', got {kind!r}")
    if kind == "interval":
        _check_size(samples, "a central interval", "kind='quantile'")
    return _calibration_error(_rank_histogram(samples, truth, _weights(truth, weights, node_axis)), kind)


@register_metric("relative_l2", needs="series")
def relative_l2(
    prediction: Tensor,
    truth: Tensor,
    *,
    axes: Sequence[int] | None,
    weights: Tensor | None = None,
    node_axis: int = -2,
) -> Tensor:
    """``||prediction - truth|| / ||truth||``, norms over ``axes``, one number for each entry of the others.

    This is what AROMA and ENMA call "relative MSE": see :func:`relative_mse`. For one steady field of one case, as a
    float: :func:`meshops.metrics.fields.relative_l2`.

    Args:
        prediction: ``[...]``.
        truth: Same shape.
        axes: Axes the norms run over, e.g. (0, 1, 2) of ``[t, n, c]``; None: all.
        weights: ``[n]`` sizes of the cells in both norms; None: equal.
        node_axis: Axis of ``truth`` the weights belong to.

    Returns:
        float64, the axes that were kept.

    Raises:
        InputError: Shapes differ, values are not finite, or the truth is zero along all of ``axes``.

    Example:
        >>> relative_l2(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0]), axes=None)
        tensor(0.2000, dtype=torch.float64)
    """
    return relative_mse(prediction, truth, axes=axes, weights=weights, node_axis=node_axis).sqrt()


@register_metric("relative_mse", needs="series")
def relative_mse(
    prediction: Tensor,
    truth: Tensor,
    *,
    axes: Sequence[int] | None,
    weights: Tensor | None = None,
    node_axis: int = -2,
) -> Tensor:
    """``||prediction - truth||^2 / ||truth||^2``: the square of :func:`relative_l2`, which is a ratio of mean squares.

    Mind the name in published tables. The loss ``rel_mse`` in the code of AROMA (arXiv 2406.02176) is the *un-squared*
    ratio of norms, and ENMA (arXiv 2506.06158), of the same group, writes "relative MSE" and "relative L2" for the same
    plots: compare their "relative MSE" with :func:`relative_l2`. CFDBench means the square (NMSE).

    Args:
        prediction: See :func:`relative_l2`.
        truth: See :func:`relative_l2`.
        axes: See :func:`relative_l2`.
        weights: See :func:`relative_l2`.
        node_axis: See :func:`relative_l2`.

    Raises:
        InputError: See :func:`relative_l2`.

    Example:
        >>> relative_mse(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0]), axes=None)
        tensor(0.0400, dtype=torch.float64)
    """
    if prediction.shape != truth.shape:
        raise InputError(
            f"prediction must have the shape of truth {list(truth.shape)}, got {list(prediction.shape)}; "
            "score an ensemble by its mean, or sample after sample"
        )
    check_values(prediction, "prediction", remedy=REMEDY)
    check_values(truth, "truth", remedy="repair or leave out the case")
    ratio = _relative_mse(prediction, truth, _axes(truth, axes), _weights(truth, weights, node_axis))
    if bool(ratio.isnan().any()):
        where = ratio.isnan().nonzero()[0].tolist()
        raise InputError(
            f"the true field is zero everywhere{f' at {where}' if where else ''}, a relative error has no meaning; "
            "average over more axes, or use an absolute error"
        )
    return ratio


def ensemble_errors(
    samples: Tensor, truth: Tensor, *, weights: Tensor | None = None, node_axis: int = -2
) -> dict[str, Tensor]:
    """Every score of this file against time, each over all nodes and channels of one step.

    Channels of unlike units are mixed by what is not relative or a rank; give those one after the other.

    Args:
        samples: ``[k, t, ...]``, e.g. ``[k, t, n, c]``.
        truth: ``[t, ...]``.
        weights: ``[n]`` sizes of the cells; None: equal.
        node_axis: Axis of ``truth`` the weights belong to, not the first.

    Returns:
        Curves ``[t]`` in float64: ``crps``, ``skill`` (RMSE of the ensemble mean), ``rmsce``, ``relative_l2`` and
        ``relative_mse`` of the ensemble mean, ``relative_l2_sample`` and ``relative_mse_sample`` (the error of one
        sample, averaged over them); ``rank_histogram [t, k + 1]``. From two samples on also ``fair_crps``, ``spread``,
        ``ratio`` (spread / skill) and ``rmsce_interval``, which one sample does not define. Relative errors are NaN at
        steps where the truth is zero everywhere, such as a start from rest.

    Raises:
        InputError: Shapes do not fit, there is no time axis, values are not finite.

    Example:
        >>> curves = ensemble_errors(torch.randn(8, 20, 100, 3), torch.randn(20, 100, 3))
        >>> curves["crps"].shape, curves["rank_histogram"].shape
        (torch.Size([20]), torch.Size([20, 9]))
    """
    _check_ensemble(samples, truth)
    if truth.dim() == 0:
        raise InputError("truth must be [t, ...] with time first, got a single number; use crps for one value")
    weight = _weights(truth, weights, node_axis)
    if weight is not None and weight.dim() == truth.dim():
        raise InputError(
            f"node_axis = {node_axis} is the time axis of truth {list(truth.shape)}; name that of the nodes"
        )
    steps = [_errors(samples[:, step], truth[step], weight) for step in range(truth.shape[0])]
    return {key: torch.stack([row[key] for row in steps]) for key in steps[0]}


def _errors(samples: Tensor, truth: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
    axes = _axes(truth, None)
    mean = samples.double().mean(0)
    ranks = _rank_histogram(samples, truth, weight)
    relative = _relative_mse(mean, truth, axes, weight)
    each = torch.stack([_relative_mse(sample, truth, axes, weight) for sample in samples])
    row = {
        "crps": _mean(_crps(samples, truth, False), axes, weight),
        "skill": _mean((mean - truth.double()).square(), axes, weight).sqrt(),
        "rank_histogram": ranks,
        "rmsce": _calibration_error(ranks, "quantile"),
        "relative_l2": relative.sqrt(),
        "relative_mse": relative,
        "relative_l2_sample": each.sqrt().mean(),
        "relative_mse_sample": each.mean(),
    }
    if samples.shape[0] > 1:
        both = _spread_skill(samples, truth, axes, weight)
        row |= {
            "fair_crps": _mean(_crps(samples, truth, True), axes, weight),
            "spread": both.spread,
            "ratio": both.ratio,
            "rmsce_interval": _calibration_error(ranks, "interval"),
        }
    return row


def _crps(samples: Tensor, truth: Tensor, fair: bool) -> Tensor:
    k = samples.shape[0]
    gap = samples.double() - truth.double()  # the truth is taken off first: large offsets do not lose digits
    error: Tensor = gap.abs().mean(0)
    if k == 1:
        return error
    rank = torch.arange(1 - k, k, 2, dtype=torch.float64, device=gap.device)
    pairs: Tensor = torch.tensordot(rank, gap.sort(dim=0).values, dims=1)
    return error - pairs / (k * (k - 1) if fair else k * k)


def _spread_skill(samples: Tensor, truth: Tensor, axes: tuple[int, ...], weight: Tensor | None) -> SpreadSkill:
    k = samples.shape[0]
    variance, mean = torch.var_mean(samples.double(), dim=0, correction=1)
    spread = (_mean(variance, axes, weight) * (k + 1) / k).sqrt()
    skill = _mean((mean - truth.double()).square(), axes, weight).sqrt()
    return SpreadSkill(spread, skill, spread / skill)


def _rank_histogram(samples: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    k = samples.shape[0]
    below = (samples < truth).sum(0).flatten()
    ties = (samples == truth).sum(0).flatten()
    share = torch.ones_like(truth, dtype=torch.float64) if weight is None else weight.expand(truth.shape)
    share = share.flatten() / (ties + 1)
    steps = share.new_zeros(k + 2)  # each entry raises its ranks below .. below + ties: up at the first, down after it
    steps.index_add_(0, below, share)
    steps.index_add_(0, below + ties + 1, -share)
    return steps.cumsum(0)[:-1].clamp(min=0)


def _calibration_error(ranks: Tensor, kind: Calibration) -> Tensor:
    k = ranks.numel() - 1
    share = ranks / ranks.sum()
    under = share.cumsum(0)[:-1]  # [k] share of truths under the sample of each rank
    j = torch.arange(1, k + 1, dtype=torch.float64, device=ranks.device)
    if kind == "quantile":
        return (under - j / (k + 1)).square().mean().sqrt()
    half = k // 2
    inside = under.flip(0)[:half] - under[:half]
    return (inside - (k + 1 - 2 * j[:half]) / (k + 1)).square().mean().sqrt()


def _relative_mse(prediction: Tensor, truth: Tensor, axes: tuple[int, ...], weight: Tensor | None) -> Tensor:
    """NaN where the truth is zero."""
    error = _mean((prediction.double() - truth.double()).square(), axes, weight)
    scale = _mean(truth.double().square(), axes, weight)
    return torch.where(scale > 0, error / scale, torch.nan)


def _mean(values: Tensor, axes: tuple[int, ...], weight: Tensor | None) -> Tensor:
    if not axes:  # torch would average over all
        return values
    if weight is None:
        return values.mean(axes)
    weight = weight.expand(values.shape)
    return (weight * values).sum(axes) / weight.sum(axes)


def _axes(truth: Tensor, axes: Sequence[int] | None) -> tuple[int, ...]:
    rank = truth.dim()
    if axes is None:
        return tuple(range(rank))
    found = tuple(axis + rank if axis < 0 else axis for axis in axes)
    if any(not 0 <= axis < rank for axis in found) or len(set(found)) < len(found):
        raise InputError(
            f"axes must be distinct axes of truth {list(truth.shape)}, {-rank} .. {rank - 1}, got {list(axes)}; "
            "the axis of the samples is not counted"
        )
    return found


def _weights(truth: Tensor, weights: Tensor | None, node_axis: int) -> Tensor | None:
    """Float64 weights that broadcast against ``truth`` from the right."""
    if weights is None:
        return None
    axis = node_axis - truth.dim() if node_axis >= 0 else node_axis
    if not -truth.dim() <= axis < 0:
        raise InputError(
            f"node_axis must be an axis of truth {list(truth.shape)}, got {node_axis}; name that of the nodes"
        )
    if weights.shape != (truth.shape[axis],):
        raise InputError(
            f"weights must be [{truth.shape[axis]}], one for each entry along axis {node_axis} of truth "
            f"{list(truth.shape)}, got {list(weights.shape)}; set node_axis if the nodes lie along another axis"
        )
    check_values(weights, "weights", remedy="repair the cells")
    if bool((weights < 0).any()) or not bool((weights > 0).any()):
        raise InputError(
            f"weights must be at least 0 and not all 0, got {float(weights.min())} .. {float(weights.max())}; "
            "give areas or volumes of cells"
        )
    return weights.double().reshape(-1, *[1] * (-axis - 1))


def _check_ensemble(samples: Tensor, truth: Tensor) -> None:
    if samples.dim() < 1 or samples.shape[1:] != truth.shape or samples.numel() == 0:
        raise InputError(
            f"samples must be [k, ...] with k >= 1 and truth [...] of the same trailing shape, not empty; got samples "
            f"{list(samples.shape)} and truth {list(truth.shape)}; stack the samples along a new first axis"
        )
    check_values(samples, "samples", remedy=REMEDY)
    check_values(truth, "truth", remedy="repair or leave out the case")


def _check_size(samples: Tensor, what: str, instead: str) -> None:
    if samples.shape[0] < 2:
        raise InputError(f"{what} needs at least 2 samples, got 1; draw more, or use {instead}")
