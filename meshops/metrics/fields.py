"""Errors of predicted fields, in physical units. Names follow the published protocols.

relative L2 of a case = ||prediction - truth||_2 / ||truth||_2 over all nodes and components of a field, averaged over
cases (Transolver, MSPT, AB-UPT). Area-weighted: both norms weighted by cell area.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from meshops.errors import InputError, listing
from meshops.metrics.registry import Metric, get_metric, list_metrics, register_metric

ALWAYS = ("rel_l2", "mae", "r2", "rel_l2_area")
"""Metrics of a field that every report has."""
NEGLIGIBLE = 1e-6  # of the prediction: a true field so small is zero but for rounding
ROUNDING = 1e-14  # share of its mean square that a constant field in single precision seems to vary by


@register_metric("rel_l2")
def relative_l2(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> float:
    """``||prediction - truth|| / ||truth||`` over all rows and components; weighted by ``weight [n]`` if given.

    NaN where the true field is zero everywhere, or as good as zero beside the prediction (a millionth): a relative
    error has no meaning there.

    Raises:
        InputError: Shapes differ.
    """
    error, scale = _squares(prediction, truth, weight)
    return (error / scale) ** 0.5 if scale > NEGLIGIBLE**2 * error else math.nan


@register_metric("rel_l2_area", needs="area")
def relative_l2_by_area(prediction: Tensor, truth: Tensor, area: Tensor) -> float:
    """:func:`relative_l2` with both norms weighted by the areas of the cells."""
    return relative_l2(prediction, truth, area)


@register_metric("mae", unit="field")
def mean_absolute_error(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> float:
    """Mean over nodes of ``|prediction - truth|`` (Euclidean length for vectors), in the unit of the field."""
    distance = (_rows(prediction) - _rows(truth)).norm(dim=1)
    w = torch.ones_like(distance) if weight is None else weight.double()
    return float((w * distance).sum() / w.sum())


@register_metric("rmse", unit="field")
def root_mean_square_error(prediction: Tensor, truth: Tensor) -> float:
    """Root of the mean over nodes of ``|prediction - truth|^2`` (all components), in the unit of the field."""
    error, _ = _squares(prediction, truth, None)
    return math.sqrt(error / len(truth))


@register_metric("max_error", unit="field")
def max_error(prediction: Tensor, truth: Tensor) -> float:
    """Largest ``|prediction - truth|`` of a node (Euclidean length for vectors), in the unit of the field."""
    return float((_rows(prediction) - _rows(truth)).norm(dim=1).max())


@register_metric("r2", better="higher")
def r2_score(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> float:
    """Coefficient of determination, 1 - residual / variance, over all rows and components; NaN for a constant truth."""
    target = _rows(truth)
    w = torch.ones(len(target), 1, dtype=torch.float64) if weight is None else weight.double().view(-1, 1)
    mean = (w * target).sum(0) / w.sum()
    residual = (w * (_rows(prediction) - target).square()).sum()
    spread = (w * (target - mean).square()).sum()
    return float(1 - residual / spread) if spread > ROUNDING * (w * target.square()).sum() else math.nan


@register_metric("spearman", better="higher", needs="cases")
def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation; NaN for fewer than two cases or constant values."""
    if len(a) < 2 or len(set(a)) < 2 or len(set(b)) < 2:
        return float("nan")
    from scipy.stats import spearmanr  # importing scipy.stats takes half a second

    return float(spearmanr(a, b).statistic)


def field_errors(
    prediction: Tensor, truth: Tensor, area: Tensor | None = None, *, extra: Sequence[str] = ()
) -> dict[str, float | int | None]:
    """Errors of one field of one case by name: those of :data:`ALWAYS` and ``extra``; None where one is not defined.

    Args:
        prediction: ``[n]`` or ``[n, k]``.
        truth: Same shape.
        area: ``[n]``, adds the errors weighted by it.
        extra: Further registered metrics of a field, see :func:`meshops.metrics.registry.list_metrics`.

    Raises:
        InputError: An unknown metric, or one of something else than a field.
    """
    row = {}
    for metric in field_metrics(dict.fromkeys([*ALWAYS, *extra])):
        if metric.needs == "field":
            row[metric.name] = float(metric(prediction, truth))
        elif area is not None:
            row[metric.name] = float(metric(prediction, truth, area))
    return {name: value if math.isfinite(value) else None for name, value in row.items()}


def field_metrics(names: Iterable[str]) -> list[Metric]:
    """Metrics of a field by their names.

    Raises:
        InputError: Unknown, or of something else than a field.
    """
    found = [get_metric(name) for name in names]
    for metric in found:
        if metric.needs not in ("field", "area"):
            able = listing(list_metrics("field", "area"), 40)
            raise InputError(f"metric '{metric.name}' is one of {metric.needs}, not of a field; those are {able}")
    return found


def _rows(values: Tensor) -> Tensor:
    return values.double().reshape(values.shape[0], -1)


def _squares(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> tuple[float, float]:
    if prediction.shape != truth.shape:
        raise InputError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape")
    w = 1.0 if weight is None else weight.double().view(-1, 1)
    target = _rows(truth)
    error = (w * (_rows(prediction) - target).square()).sum()
    return float(error), float((w * target.square()).sum())
