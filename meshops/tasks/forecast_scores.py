"""Ensembles of forecasts against what happened, on physical units, and how much variance they lack."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from meshops.data.point_frames import PointFrames
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.errors import InputError
from meshops.metrics.ensembles import missing_variance
from meshops.metrics.forecasts import forecast_bands, forecast_errors, forecast_scores
from meshops.nn.causal_tower import check_run
from meshops.nn.flow import Method
from meshops.tasks.base import Context
from meshops.tasks.forecast import Forecaster
from meshops.tasks.report import Report

COLUMNS = {
    "relative_l2": "relative L2",
    "relative_l2_one": "of a sample",
    "relative_l2_decoded": "truth decoded",
    "crps": "CRPS",
    "spread_over_skill": "spread / skill",
    "expected_over_skill": "expected / skill",
    "coverage_90": "in 90 % interval",
}


class Trial(NamedTuple):
    """A forecast of one trajectory.

    Attributes:
        case: Number of the trajectory.
        last: ``[1, n, c]`` last frame that was given.
        rest: What happened after it.
        fields: ``[k, t, n, c]`` forecasts of that.
        decoded: ``[t, n, c]`` what happened, encoded and decoded: the share of the auto-encoder in the error.
        seconds: Time they took.
    """

    case: int
    last: Tensor
    rest: PointFrames
    fields: Tensor
    decoded: Tensor
    seconds: float


@torch.no_grad()
def calibrate(
    task: Forecaster,
    data: PointTrajectories,
    cases: Iterable[int],
    *,
    given: int | None = None,
    steps: int | None = None,
    samples: int = 8,
    stride: int = 1,
) -> int:
    """Learn from trajectories that were held out how much variance ensembles lack.

    Sets ``task.missing_variance`` and ``task.calibration``. It holds for forecasts like these, from as many given
    frames.

    Args:
        task: Generator with its auto-encoder.
        data: Trajectories.
        cases: Which of them; none of them should have been trained on.
        given: Frames that are known; see :class:`~meshops.tasks.segments.GenerateSettings`, as the next three.
        steps: Frames to predict.
        samples: Size of the ensembles, at least two; a deterministic model gives one.
        stride: Frames of the data from one frame to the next.

    Returns:
        Frames ahead that are calibrated: as many as the longest trajectory has.

    Raises:
        InputError: No trajectory is long enough, or one sample of a model that is not deterministic.
    """
    if samples < 2 and not task.spec.deterministic:
        raise InputError(f"the spread is that of two samples or more, got samples = {samples}")
    first, ahead = _horizon(task, given, steps)
    trials = _forecasts(task, data, cases, first, ahead, stride=stride, samples=samples)
    rows = [missing_variance(trial.fields, trial.rest.series()) for trial in trials]
    if not rows:
        raise InputError(f"no trajectory to calibrate with is longer than the {first} frames that are given")
    table = pad_sequence(rows, batch_first=True, padding_value=math.nan)  # [cases, t, c]
    task.missing_variance = table.nanmean(0).float()
    frames = table.shape[1]
    found = {"trajectories": len(rows), "given": first, "frames": frames}
    task.calibration = {**found, "samples": samples, "stride": stride}
    return frames


@torch.no_grad()
def judge_forecasts(
    task: Forecaster,
    data: PointTrajectories,
    context: Context,
    *,
    given: int | None = None,
    steps: int | None = None,
    samples: int = 8,
    stride: int = 1,
    cases: int = 0,
    integration: int = 10,
    method: Method = "midpoint",
) -> Report:
    """Ensembles of forecasts from the first frames of every trajectory, scored against the truth.

    Values are divided by the scale of their field in training, so that fields of unlike units can be averaged. Where
    points move, the places of the frames to come are known.

    Args:
        task: Generator with its auto-encoder.
        data: Trajectories.
        context: Its folder takes ``forecast.html`` and ``errors.png``.
        given: Frames that are known; see :class:`~meshops.tasks.segments.GenerateSettings`, as the next four.
        steps: Frames to predict.
        samples: Size of the ensembles.
        stride: Frames of the data from one frame to the next.
        cases: Trajectories at most.
        integration: Steps of the integration.
        method: Of the integration.

    Returns:
        ``curves``: mean over trajectories of every score of
        :func:`meshops.metrics.ensembles.ensemble_errors` against time, ``relative_l2_kept`` of the last given frame,
        and ``relative_l2_decoded`` of the truth that was only encoded and decoded; ``mean``: ``relative_l2`` (of the
        ensemble mean), ``relative_l2_one`` (of a sample), ``relative_l2_kept``, ``relative_l2_decoded`` and ``crps``,
        means over time; of a generator that was calibrated ``expected_over_skill`` and ``coverage_90``, the share of
        values within 1.645 expected errors of the mean (0.86 for a reliable ensemble of 8 that lacks nothing: its
        variance is a guess from 8). ``spread``, ``skill`` and
        ``expected`` are averaged as squares. ``details``: on grids ``bands_sample`` and ``bands_mean``, errors of the
        power spectrum at the last step, low to high, of a sample and of the ensemble mean; ``seconds_per_forecast``.

    Raises:
        InputError: No trajectory is long enough.
    """
    from meshops.viz import forecast_curves, forecast_page

    first, ahead = _horizon(task, given, steps)
    rows, folder = context.track(min(cases or len(data), len(data)), "forecasting"), context.folder
    tables: dict[str, dict[str, Tensor]] = {}  # trajectory -> score -> against time
    bands, seconds, diverged, pictures = [], [], [], []
    trials = _forecasts(
        task, data, rows, first, ahead, stride=stride, samples=samples, steps=integration, method=method
    )
    for trial in trials:
        name, fields, truth = data.cases[trial.case], trial.fields, trial.rest.series()
        seconds.append(trial.seconds)
        if not bool(torch.isfinite(fields).all()):
            diverged.append(name)
            continue
        calibrated = task.missing_variance is not None and (task.spec.deterministic or samples > 1)
        expected = task.expected_error(fields) if calibrated else None
        scale = task.autoencoder.norm.scale.cpu()
        tables[name] = forecast_errors(fields, truth, trial.last, scale=scale, expected=expected, decoded=trial.decoded)
        if data.spec.grid:
            bands.append(forecast_bands(fields[:, -1], truth[-1], grid=data.spec.grid, spacing=data.spec.spacing))
        if folder is not None and len(tables) == 1:
            pictures += forecast_page(
                folder / "forecast.html",
                trial.rest,
                fields,
                expected=expected,
                grid=data.spec.grid,
                box=(data.spec.low, data.spec.high),
                label=data.spec.labels()[0],
                case=name,
                given=first,
                time_step=data.spec.time_step * stride,
            )
    if not seconds:
        raise InputError(
            f"no trajectory is long enough: a forecast from {first} frames needs more than those; the longest has "
            f"{max(data.lengths)}"
        )
    report = _report(tables, first, samples)
    report.details |= {"stride": stride, "seconds_per_forecast": sum(seconds) / len(seconds)}
    report.lines.append(f"{report.details['seconds_per_forecast']:.3g} seconds a forecast")
    if bands:
        report.details["bands_sample"], report.details["bands_mean"] = torch.stack(bands).nanmean(0).tolist()
    if diverged:
        report.lines.append(f"note: not finite and in no mean: {', '.join(diverged)}")
    if folder is not None and tables:
        trained = task.spec.frames - first
        pictures.append(forecast_curves(folder / "errors.png", report.curves, trained=trained))
    report.pictures = pictures
    return report


def _forecasts(
    task: Forecaster,
    data: PointTrajectories,
    cases: Iterable[int],
    given: int,
    ahead: int,
    *,
    stride: int,
    **how: Any,
) -> Iterator[Trial]:
    """Forecasts of the trajectories that are longer than what is given, ``ahead`` frames or to their end."""
    for case in cases:
        available = (data.lengths[case] - 1) // stride + 1
        if available <= given:
            continue
        whole = data.window(case, 0, min(given + ahead, available), stride)
        rest = whole.crop(given, whole.frames - given)
        parameters = data.parameters(case, task.spec.parameters) or None
        begin = time.perf_counter()
        queries = rest if whole.moving else None
        fields = task.forecast(whole.crop(0, given), rest.frames, queries=queries, parameters=parameters, **how)
        seconds = time.perf_counter() - begin
        decoded = whole.series(task.autoencoder.through(whole))[given:]
        yield Trial(case, whole.series()[given - 1 : given], rest, fields, decoded, seconds)


def _horizon(task: Forecaster, given: int | None, steps: int | None) -> tuple[int, int]:
    """Frames that are known, which must fit the generator, and frames to predict."""
    segment, factor = task.spec.frames, task.spec.time_factor
    if segment == 1:
        raise InputError("segments of one frame have nothing to forecast; train the auto-encoder on more frames")
    first = min(1 + factor, segment - factor) if given is None else given
    check_run("given", first, segment - 1, factor)
    return first, steps or 2 * segment - first


def _report(tables: Mapping[str, Mapping[str, Tensor]], first: int, samples: int) -> Report:
    """Means over trajectories and time, to the end of the shortest."""
    found = forecast_scores(tables)
    steps, members = (len(found.curves["crps"]), len(found.ranks) - 1) if tables else (0, samples)
    report = Report(
        kind="generate",
        title=f"{first} frames given, {steps} ahead, {members} samples, mean of {len(tables)} trajectories",
        mean=found.mean or dict.fromkeys(COLUMNS),
        cases=found.cases,
        curves={key: line.tolist() for key, line in found.curves.items()},
        details={"trajectories": len(tables), "given": first, "steps": steps, "samples": members},
        columns=dict(COLUMNS),
    )
    if tables:
        report.baselines["last given frame kept"] = {"relative_l2": found.mean["relative_l2_kept"]}
        report.baselines["truth encoded and decoded"] = {"relative_l2": found.mean["relative_l2_decoded"]}
        report.details["rank_histogram"] = found.ranks.tolist()
    return report
