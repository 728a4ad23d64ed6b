"""Forecasts against what happened: scores of ensembles against time, and their means over cases and over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from meshops.metrics.ensembles import ensemble_errors
from meshops.metrics.grids import band_errors

NORMAL_90 = 1.645  # standard deviations that hold 90 % of a normal distribution
ROOTS = ("spread", "skill", "expected")  # averaged as squares: the ratio of a reliable ensemble is 1 only then
LEFT_OUT = ("rank_histogram", "ratio")  # of the scores against time
# what a forecast as a whole is judged by: the mean of a score over time, or the ratio of two
MEANS = {
    "relative_l2": ("relative_l2",),
    "relative_l2_one": ("relative_l2_sample",),
    "relative_l2_kept": ("relative_l2_kept",),
    "relative_l2_decoded": ("relative_l2_decoded",),
    "crps": ("crps",),
    "spread_over_skill": ("spread", "skill"),
    "expected_over_skill": ("expected", "skill"),
    "coverage_90": ("coverage_90",),
}


class ForecastScores(NamedTuple):
    """Scores of some cases, to the end of the shortest.

    Attributes:
        curves: Mean over cases of every score against time ``[t]``.
        mean: Mean over cases and time of :data:`MEANS`; None where it is not defined.
        cases: Means over time of each case.
        ranks: ``[k + 1]`` share of the values whose truth has each rank, over all steps; empty without a case.
    """

    curves: dict[str, Tensor]
    mean: dict[str, float | None]
    cases: dict[str, dict[str, float | None]]
    ranks: Tensor


def forecast_errors(
    samples: Tensor,
    truth: Tensor,
    last: Tensor,
    *,
    scale: Tensor,
    expected: Tensor | None = None,
    decoded: Tensor | None = None,
) -> dict[str, Tensor]:
    """Scores of an ensemble against time, of values that are divided by the scale of their channel.

    Args:
        samples: ``[k, t, n, c]``.
        truth: ``[t, n, c]``.
        last: ``[1, n, c]`` frame before, what to beat.
        scale: ``[c]``.
        expected: ``[t, n, c]`` expected error of the mean of the samples.
        decoded: ``[t, n, c]`` the truth after it went through a compression, which no forecast in it can beat for long.

    Returns:
        Those of :func:`meshops.metrics.ensembles.ensemble_errors`, ``relative_l2_kept`` of the frame before,
        ``relative_l2_decoded`` of a truth that was compressed, and of an expected error ``expected``, its root mean
        square, and ``coverage_90``, the share of the values within 1.645 of it; ``[t]`` float64.
    """
    ahead = truth / scale
    scores = ensemble_errors(samples / scale, ahead)
    kept = (last / scale).expand_as(ahead)
    scores["relative_l2_kept"] = ensemble_errors(kept.unsqueeze(0), ahead)["relative_l2"]
    if decoded is not None:
        scores["relative_l2_decoded"] = ensemble_errors((decoded / scale).unsqueeze(0), ahead)["relative_l2"]
    if expected is not None:
        wrong = samples.mean(0) - truth
        scores["expected"] = (expected / scale).double().square().mean((1, 2)).sqrt()
        scores["coverage_90"] = (wrong.abs() <= NORMAL_90 * expected).double().mean((1, 2))
    return scores


def forecast_bands(samples: Tensor, truth: Tensor, *, grid: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Errors of the power spectrum in three bands ``[2, 3]``, mean over channels: of a sample, and of their mean.

    Args:
        samples: ``[k, n, c]`` at the cells of a grid.
        truth: ``[n, c]``.
        grid: Cells along each axis.
        spacing: Their size.
    """
    shape = tuple(grid)
    each, mean, wanted = (
        values.movedim(-1, -2).unflatten(-1, shape) for values in (samples, samples.mean(0, keepdim=True), truth)
    )
    found = [band_errors(v, wanted.expand_as(v), dim=len(shape), spacing=spacing) for v in (each, mean)]
    return torch.stack([part.flatten(0, -2).nanmean(0) for part in found])


def forecast_scores(tables: Mapping[str, Mapping[str, Tensor]]) -> ForecastScores:
    """Means of scores over cases and over time.

    Args:
        tables: Case -> score -> ``[t]``, of every case as from :func:`forecast_errors`.
    """
    steps = min((len(table["crps"]) for table in tables.values()), default=0)
    cut = {
        case: {key: values[:steps] for key, values in table.items() if key not in LEFT_OUT}
        for case, table in tables.items()
    }
    names = next(iter(cut.values()), {})
    curves = mean_scores({key: torch.stack([table[key] for table in cut.values()]) for key in names})
    ranks = (
        torch.stack([table["rank_histogram"].sum(0) for table in tables.values()]).sum(0) if tables else torch.ones(0)
    )
    cases = {case: _over_time(table) for case, table in cut.items()}
    return ForecastScores(curves, _over_time(curves), cases, ranks / ranks.sum())


def mean_scores(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Means of scores over their first axis, cases or time, of what is defined; of :data:`ROOTS` root mean squares.

    Example:
        >>> mean_scores({"crps": torch.tensor([1.0, 3.0]), "skill": torch.tensor([1.0, 7.0])})
        {'crps': tensor(2.), 'skill': tensor(5.)}
    """
    return {
        key: values.square().mean(0).sqrt() if key in ROOTS else values.nanmean(0) for key, values in scores.items()
    }


def _over_time(curves: Mapping[str, Tensor]) -> dict[str, float | None]:
    mean = mean_scores(curves)
    out: dict[str, float | None] = {}
    for name, (score, *over) in MEANS.items():
        if score in mean:
            value = mean[score] / mean[over[0]] if over else mean[score]
            out[name] = float(value) if bool(torch.isfinite(value)) else None
    return out
