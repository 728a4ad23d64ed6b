"""Ensembles of forecasts against what happened, on physical units, and how much variance they lack."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.progress import track
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from meshops.data.point_frames import PointFrames
from meshops.datasets.point_trajectories import PointSpec, PointTrajectories
from meshops.errors import InputError
from meshops.metrics.ensembles import ensemble_errors, mean_scores, missing_variance
from meshops.metrics.grids import band_errors
from meshops.nn.flow import Method
from meshops.tasks.base import Context
from meshops.tasks.forecast import Forecaster, check_run
from meshops.tasks.report import Detail, Report, Row

NORMAL_90 = 1.645  # standard deviations that hold 90 % of a normal distribution
COLUMNS = {
    "relative_l2": "relative L2",
    "relative_l2_one": "of a sample",
    "crps": "CRPS",
    "spread_over_skill": "spread / skill",
    "expected_over_skill": "expected / skill",
    "coverage_90": "in 90 % interval",
}
# what the means of a report are made of: one score, or the ratio of two
MEANS = {
    "relative_l2": ("relative_l2",),
    "relative_l2_one": ("relative_l2_sample",),
    "relative_l2_kept": ("relative_l2_kept",),
    "crps": ("crps",),
    "spread_over_skill": ("spread", "skill"),
    "expected_over_skill": ("expected", "skill"),
    "coverage_90": ("coverage_90",),
}
NO_CURVES = ("rank_histogram", "ratio")  # scores that are not averaged against time


class Trial(NamedTuple):
    """A forecast of one trajectory.

    Attributes:
        case: Number of the trajectory.
        whole: Its frames, first those that are given.
        fields: ``[k, t, n, c]`` forecasts of the others.
        seconds: Time it took.
    """

    case: int
    whole: PointFrames
    fields: Tensor
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
        given: Frames that are known; see :func:`judge_forecasts`, as the next three.
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
    first, ahead = horizon(task, given, steps)
    trials = forecasts(task, data, cases, first, ahead, stride=stride, samples=samples)
    rows = [missing_variance(trial.fields, trial.whole.series()[first:]) for trial in trials]
    if not rows:
        raise InputError(f"no trajectory to calibrate with is longer than the {first} frames that are given")
    table = pad_sequence(rows, batch_first=True, padding_value=math.nan)  # [cases, t, c]
    task.missing_variance = table.nanmean(0).float()
    frames = table.shape[1]
    task.calibration = {
        "trajectories": len(rows),
        "given": first,
        "frames": frames,
        "samples": samples,
        "stride": stride,
    }
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
        given: Frames that are known, ``1 + f j``; None: ``1 + f``, or 1 where a segment is no longer.
        steps: Frames to predict; None: to twice the end of a segment; fewer where a trajectory is shorter.
        samples: Size of the ensembles; a deterministic model gives one.
        stride: Frames of the data from one to the next.
        cases: Trajectories at most; 0: all.
        integration: Steps of the integration.
        method: Of the integration.

    Returns:
        ``curves``: mean over trajectories of every score of
        :func:`meshops.metrics.ensembles.ensemble_errors` against time, and ``relative_l2_kept`` of the last given
        frame; ``mean``: ``relative_l2`` (of the ensemble mean), ``relative_l2_one`` (of a sample),
        ``relative_l2_kept`` and ``crps``, means over time; of a generator that was calibrated
        ``expected_over_skill`` and ``coverage_90``, the share of values within 1.645 expected errors of the mean (0.86
        for a reliable ensemble of 8 that lacks nothing: its variance is a guess from 8). ``spread``, ``skill`` and
        ``expected`` are averaged as squares. ``details``: on grids ``bands_sample`` and ``bands_mean``, errors of the
        power spectrum at the last step, low to high, of a sample and of the ensemble mean; ``seconds_per_forecast``.

    Raises:
        InputError: No trajectory is long enough.
    """
    first, ahead = horizon(task, given, steps)
    console, count, folder = context.console, min(cases or len(data), len(data)), context.folder
    rows = track(range(count), "forecasting", console=console, transient=True, disable=not console.is_terminal)
    tables: dict[str, dict[str, Tensor]] = {}  # trajectory -> score -> against time
    bands, seconds, diverged, pictures = [], [], [], []
    trials = forecasts(task, data, rows, first, ahead, stride=stride, samples=samples, steps=integration, method=method)
    for trial in trials:
        name, fields = data.cases[trial.case], trial.fields
        seconds.append(trial.seconds)
        if not bool(torch.isfinite(fields).all()):
            diverged.append(name)
            continue
        calibrated = task.missing_variance is not None and (task.spec.deterministic or samples > 1)
        expected = task.expected_error(fields) if calibrated else None
        tables[name] = _scores(task, trial, first, expected)
        if data.spec.grid:
            bands.append(_bands(fields[:, -1], trial.whole.series()[-1], data.spec))
        if folder is not None and len(tables) == 1:
            pictures += _drawn(folder, trial, first, expected, data, stride)
    if not seconds:
        raise InputError(
            f"no trajectory is long enough: a forecast from {first} frames needs more than those; the longest has "
            f"{max(data.lengths)}"
        )
    report = _report(tables, first, samples)
    if folder is not None and tables:
        from meshops.viz import forecast_curves

        trained = task.spec.frames - first
        pictures.append(forecast_curves(folder / "errors.png", report.curves, trained=trained))
    mean_seconds = sum(seconds) / len(seconds)
    report.pictures = pictures
    report.details |= {"stride": stride, "seconds_per_forecast": mean_seconds}
    if bands:
        report.details["bands_sample"], report.details["bands_mean"] = torch.stack(bands).nanmean(0).tolist()
    report.lines.append(f"{mean_seconds:.3g} seconds a forecast")
    if diverged:
        report.lines.append(f"note: not finite and in no mean: {', '.join(diverged)}")
    return report


def forecasts(
    task: Forecaster,
    data: PointTrajectories,
    cases: Iterable[int],
    given: int,
    ahead: int,
    *,
    stride: int,
    samples: int,
    **how: Any,
) -> Iterator[Trial]:
    """Forecasts of the trajectories that are longer than what is given.

    Args:
        task: Generator with its auto-encoder.
        data: Trajectories.
        cases: Which of them.
        given: Frames that are known.
        ahead: Frames to predict; fewer where a trajectory ends.
        stride: Frames of the data from one frame to the next.
        samples: Size of the ensembles.
        **how: See :class:`meshops.tasks.forecast.Sampling`.
    """
    for index in cases:
        available = (data.lengths[index] - 1) // stride + 1
        if available <= given:
            continue
        whole = data.window(index, 0, min(given + ahead, available), stride)
        rest = whole.crop(given, whole.frames - given)
        parameters = data.parameters(index, task.spec.parameters) or None
        begin = time.perf_counter()
        fields = task.forecast(
            whole.crop(0, given),
            rest.frames,
            queries=rest if whole.moving else None,
            parameters=parameters,
            samples=samples,
            **how,
        )
        yield Trial(index, whole, fields, time.perf_counter() - begin)


def horizon(task: Forecaster, given: int | None, steps: int | None) -> tuple[int, int]:
    """Frames that are known and frames to predict.

    Raises:
        InputError: The known frames do not fit the generator.
    """
    segment, factor = task.spec.frames, task.spec.time_factor
    if segment == 1:
        raise InputError("segments of one frame have nothing to forecast; train the auto-encoder on more frames")
    first = min(1 + factor, segment - factor) if given is None else given
    check_run("given", first, segment - 1, factor)
    return first, steps or 2 * segment - first


def _scores(task: Forecaster, trial: Trial, first: int, expected: Tensor | None) -> dict[str, Tensor]:
    """Scores of a forecast against time."""
    scale, truth = task.autoencoder.norm.scale.cpu(), trial.whole.series()
    ahead = truth[first:] / scale
    scores = ensemble_errors(trial.fields / scale, ahead)
    kept = (truth[first - 1 : first] / scale).expand_as(ahead)
    scores["relative_l2_kept"] = ensemble_errors(kept.unsqueeze(0), ahead)["relative_l2"]
    if expected is not None:
        wrong = trial.fields.mean(0) - truth[first:]
        scores["expected"] = (expected / scale).double().square().mean((1, 2)).sqrt()
        scores["coverage_90"] = (wrong.abs() <= NORMAL_90 * expected).double().mean((1, 2))
    return scores


def _bands(samples: Tensor, truth: Tensor, spec: PointSpec) -> Tensor:
    """Errors of the power spectrum in three bands ``[2, 3]``: of a sample, and of the ensemble mean."""
    spacing = [(b - a) / n for a, b, n in zip(spec.low, spec.high, spec.grid, strict=True)]
    mean, wanted, each = (
        values.movedim(-1, -2).unflatten(-1, spec.grid) for values in (samples.mean(0, keepdim=True), truth, samples)
    )
    found = [band_errors(v, wanted.expand_as(v), dim=len(spec.grid), spacing=spacing) for v in (each, mean)]
    return torch.stack([part.flatten(0, -2).nanmean(0) for part in found])


def _report(tables: Mapping[str, Mapping[str, Tensor]], first: int, samples: int) -> Report:
    """Means over trajectories and time, to the end of the shortest."""
    steps = min((len(table["crps"]) for table in tables.values()), default=0)
    cut = {
        case: {key: values[:steps] for key, values in table.items() if key not in NO_CURVES}
        for case, table in tables.items()
    }
    names = next(iter(cut.values()), {})
    lines = mean_scores({key: torch.stack([table[key] for table in cut.values()]) for key in names})
    mean = _over_time(lines)
    details: dict[str, Detail] = {}
    if tables:
        ranks = torch.stack([table["rank_histogram"].sum(0) for table in tables.values()]).sum(0)
        samples = len(ranks) - 1
        details["rank_histogram"] = (ranks / ranks.sum()).tolist()
    return Report(
        kind="generate",
        title=f"{first} frames given, {steps} ahead, {samples} samples, mean of {len(tables)} trajectories",
        mean=mean,
        cases={case: _over_time(table) for case, table in cut.items()},
        baselines={"last given frame kept": {"relative_l2": mean["relative_l2_kept"]}} if tables else {},
        curves={key: line.tolist() for key, line in lines.items()},
        details={"trajectories": len(tables), "given": first, "steps": steps, "samples": samples, **details},
        columns=dict(COLUMNS),
    )


def _over_time(lines: Mapping[str, Tensor]) -> Row:
    """Means of scores against time, and ratios of those."""
    if not lines:
        return dict.fromkeys(COLUMNS)
    mean = mean_scores(lines)
    out: Row = {}
    for name, (score, *over) in MEANS.items():
        if score in mean:
            value = mean[score] / mean[over[0]] if over else mean[score]
            out[name] = float(value) if bool(torch.isfinite(value)) else None
    return out


def _drawn(
    folder: Path, trial: Trial, first: int, expected: Tensor | None, data: PointTrajectories, stride: int
) -> list[Path]:
    """A page of a forecast, where it can be drawn."""
    from meshops.viz import forecast_page

    spec, rest = data.spec, trial.whole.crop(first, trial.whole.frames - first)
    name, unit, step = spec.fields[0], spec.units[0], spec.time_step * stride
    times = {"times": [(first + i) * step for i in range(rest.frames)], "time_unit": "s"} if step else {}
    return forecast_page(
        folder / "forecast.html",
        rest,
        trial.fields,
        expected=expected,
        grid=spec.grid,
        box=(spec.low, spec.high),
        label=f"{name} ({unit})" if unit else name,
        title="Forecast",
        subtitle=f"{data.cases[trial.case]}: {first} frames given, {rest.frames} predicted",
        **times,
    )
