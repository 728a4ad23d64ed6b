"""Ensembles of forecasts against what happened, on physical units, and how much variance they lack."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from meshops.data.point_frames import PointFrames
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.errors import InputError
from meshops.metrics.ensembles import ensemble_errors, missing_variance
from meshops.metrics.grids import band_errors
from meshops.nn.flow import Method
from meshops.tasks.base import B, Context, S
from meshops.tasks.forecast import Forecaster, check_run
from meshops.tasks.report import Detail, Report, Row

NORMAL_90 = 1.645  # standard deviations that hold 90 % of a normal distribution
ROOTS = ("spread", "skill", "expected")  # averaged as squares: the ratio of a reliable ensemble is 1 only then
COLUMNS = {
    "relative_l2": "relative L2",
    "relative_l2_one": "of a sample",
    "crps": "CRPS",
    "spread_over_skill": "spread / skill",
    "expected_over_skill": "expected / skill",
    "coverage_90": "in 90 % interval",
}


@dataclass(frozen=True, kw_only=True)
class ForecastSettings:
    """What forecasts are judged on.

    Attributes:
        given: Frames that are known, ``1 + f j``; None: ``1 + f``, or 1 where a segment is no longer.
        steps: Frames to predict; None: to twice the end of a segment; fewer where a trajectory is shorter.
        samples: Size of the ensembles; a deterministic model gives one.
        stride: Frames of the data from one to the next.
        cases: Trajectories at most; 0: all.
        integration: Steps of the integration.
        method: Of the integration.
    """

    given: int | None = None
    steps: int | None = None
    samples: int = 8
    stride: int = 1
    cases: int = 0
    integration: int = 10
    method: Method = "midpoint"


@dataclass(eq=False)
class _Found:
    """What forecasts of some trajectories gave: scores against time, by trajectory."""

    tables: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    bands: list[Tensor] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)


@torch.no_grad()
def calibrate(
    task: Forecaster[S, B],
    data: PointTrajectories,
    cases: Sequence[int],
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
        given: Frames that are known; see :class:`ForecastSettings`, as the next three.
        steps: Frames to predict.
        samples: Size of the ensembles, at least two; a deterministic model gives one.
        stride: Frames of the data from one to the next.

    Returns:
        Frames ahead that are calibrated: as many as the longest trajectory has.

    Raises:
        InputError: No trajectory is long enough, or one sample of a model that is not deterministic.
    """
    if samples < 2 and not task.spec.deterministic:
        raise InputError(f"the spread is that of two samples or more, got samples = {samples}")
    first, wanted = horizon(task, given, steps)
    rows = []
    for index in cases:
        whole = _whole(data, index, first, wanted, stride)
        if whole is not None:
            fields = _forecast(task, data, index, whole, first, samples=samples)
            rows.append(missing_variance(fields, whole.series()[first:]))
    if not rows:
        raise InputError(f"no trajectory to calibrate with is longer than the {first} frames that are given")
    longest = max(len(row) for row in rows)
    table = torch.full((len(rows), longest, rows[0].shape[1]), math.nan, dtype=torch.float64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    task.missing_variance = table.nanmean(0).float()
    task.calibration = {
        "trajectories": len(rows),
        "given": first,
        "frames": longest,
        "samples": samples,
        "stride": stride,
    }
    return longest


@torch.no_grad()
def judge_forecasts(
    task: Forecaster[S, B], data: PointTrajectories, asked: ForecastSettings, context: Context
) -> Report:
    """Ensembles of forecasts from the first frames of every trajectory, scored against the truth.

    Values are divided by the scale of their field in training, so that fields of unlike units can be averaged. Where
    points move, the places of the frames to come are known.

    Args:
        task: Generator with its auto-encoder.
        data: Trajectories.
        asked: Lengths, size of the ensembles, integration.
        context: Its folder takes ``forecast.html`` and ``errors.png``.

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
    first, wanted = horizon(task, asked.given, asked.steps)
    found = _Found()
    console = context.console
    count = min(asked.cases or len(data), len(data))
    rows = track(range(count), "forecasting", console=console, transient=True, disable=not console.is_terminal)
    for index in rows:
        whole = _whole(data, index, first, wanted, asked.stride)
        if whole is not None:
            _score(task, data, index, whole, first, asked, context.folder, found)
    if not found.seconds:
        raise InputError(
            f"no trajectory is long enough: a forecast from {first} frames needs more than those; the longest has "
            f"{max(data.lengths)}"
        )
    report = _report(found, first, asked)
    if context.folder is not None and found.tables:
        report.pictures.append(_draw_curves(context.folder, report.curves, first, task.spec.frames))
    return report


def horizon(task: Forecaster[S, B], given: int | None, steps: int | None) -> tuple[int, int]:
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


def _whole(data: PointTrajectories, index: int, first: int, wanted: int, stride: int) -> PointFrames | None:
    """The frames of a forecast; None if nothing of the trajectory is left to predict."""
    available = (data.lengths[index] - 1) // stride + 1
    return None if available <= first else data.window(index, 0, min(first + wanted, available), stride)


def _forecast(
    task: Forecaster[S, B], data: PointTrajectories, index: int, whole: PointFrames, first: int, **chosen: Any
) -> Tensor:
    """``[samples, frames, n, c]`` after the first frames of a trajectory."""
    ahead = whole.frames - first
    queries = whole.crop(first, ahead) if whole.moving else None
    parameters = data.parameters(index, task.spec.parameters) or None
    return task.forecast(whole.crop(0, first), ahead, queries=queries, parameters=parameters, **chosen)


def _score(
    task: Forecaster[S, B],
    data: PointTrajectories,
    index: int,
    whole: PointFrames,
    first: int,
    asked: ForecastSettings,
    folder: Path | None,
    found: _Found,
) -> None:
    """Forecast one trajectory and add its scores; one that is not finite has none."""
    begin = time.perf_counter()
    fields = _forecast(
        task, data, index, whole, first, samples=asked.samples, steps=asked.integration, method=asked.method
    )
    found.seconds.append(time.perf_counter() - begin)
    if not bool(torch.isfinite(fields).all()):
        found.diverged.append(data.cases[index])
        return
    scale = task.autoencoder.norm.scale.cpu()
    truth = whole.series()
    ahead, kept = truth[first:] / scale, truth[first - 1 : first] / scale
    scores = ensemble_errors(fields / scale, ahead)
    scores["relative_l2_kept"] = _relative(kept.expand_as(ahead), ahead)
    expected = None
    if task.missing_variance is not None and (task.spec.deterministic or asked.samples > 1):
        expected = task.expected_error(fields)
        scores |= _expectation(fields.mean(0) - truth[first:], expected, scale)
    found.tables[data.cases[index]] = scores
    if data.spec.grid:
        found.bands.append(_bands(fields[:, -1], truth[-1], data))
    if folder is not None and len(found.tables) == 1:
        found.pictures += _draw(folder, fields, whole, first, data, index, asked.stride, expected)


def _relative(prediction: Tensor, truth: Tensor) -> Tensor:
    """Relative L2 error of each frame of ``[t, n, c]``; NaN where the truth is zero."""
    error = (prediction.double() - truth.double()).square().mean((1, 2))
    size = truth.double().square().mean((1, 2))
    return torch.where(size > 0, error / size, torch.nan).sqrt()


def _expectation(wrong: Tensor, expected: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """Expected errors ``[t]`` as root mean squares, comparable with ``skill``, and how often they hold."""
    return {
        "expected": (expected / scale).double().square().mean((1, 2)).sqrt(),
        "coverage_90": (wrong.abs() <= NORMAL_90 * expected).double().mean((1, 2)),
    }


def _bands(samples: Tensor, truth: Tensor, data: PointTrajectories) -> Tensor:
    """Errors of the power spectrum in three bands ``[2, 3]``: of a sample, and of the ensemble mean."""
    spec, dim = data.spec, len(data.spec.grid)
    spacing = [(b - a) / n for a, b, n in zip(spec.low, spec.high, spec.grid, strict=True)]

    def on_grid(values: Tensor) -> Tensor:
        out: Tensor = values.movedim(-1, -2).unflatten(-1, spec.grid)
        return out

    both = (on_grid(samples), on_grid(samples.mean(0, keepdim=True)))
    wanted = on_grid(truth)
    found = [band_errors(part, wanted.expand_as(part), dim=dim, spacing=spacing) for part in both]
    return torch.stack([part.flatten(0, -2).nanmean(0) for part in found])


def _report(found: _Found, first: int, asked: ForecastSettings) -> Report:
    """Means over trajectories and time, to the end of the shortest."""
    tables = found.tables
    shortest = min((len(table["crps"]) for table in tables.values()), default=0)
    cut = {
        case: {key: values[:shortest] for key, values in table.items() if key not in ("rank_histogram", "ratio")}
        for case, table in tables.items()
    }
    names = next(iter(cut.values()), {})
    scores = {key: torch.stack([table[key] for table in cut.values()]) for key in names}
    lines = {key: values.nanmean(0) for key, values in scores.items()}
    lines |= {key: scores[key].square().mean(0).sqrt() for key in ROOTS if key in scores}
    mean = _over_time(lines)
    samples = asked.samples
    details: dict[str, Detail] = {}
    if tables:
        ranks = torch.stack([table["rank_histogram"].sum(0) for table in tables.values()]).sum(0)
        samples = len(ranks) - 1
        details["rank_histogram"] = (ranks / ranks.sum()).tolist()
    if found.bands:
        details["bands_sample"], details["bands_mean"] = torch.stack(found.bands).nanmean(0).tolist()
    seconds = sum(found.seconds) / len(found.seconds)
    report = Report(
        kind="generate",
        title=f"{first} frames given, {shortest} ahead, {samples} samples, mean of {len(tables)} trajectories",
        mean=mean,
        cases={case: _over_time(table) for case, table in cut.items()},
        baselines={"last given frame kept": {"relative_l2": mean["relative_l2_kept"]}} if tables else {},
        curves={key: line.tolist() for key, line in lines.items()},
        details={
            "trajectories": len(tables),
            "given": first,
            "steps": shortest,
            "samples": samples,
            "stride": asked.stride,
            "seconds_per_forecast": seconds,
            **details,
        },
        columns=dict(COLUMNS),
        lines=[f"{seconds:.3g} seconds a forecast"],
        pictures=list(found.pictures),
    )
    if found.diverged:
        report.lines.append(f"note: not finite and in no mean: {', '.join(found.diverged)}")
    return report


def _over_time(lines: dict[str, Tensor]) -> Row:
    """Means of scores against time; roots of mean squares as such, and their ratios."""
    if not lines:
        return dict.fromkeys(COLUMNS)
    mean = {key: _defined(line).mean() for key, line in lines.items()}
    mean |= {key: lines[key].square().mean().sqrt() for key in ROOTS if key in lines}
    out = {
        "relative_l2": mean["relative_l2"],
        "relative_l2_one": mean["relative_l2_sample"],
        "relative_l2_kept": mean["relative_l2_kept"],
        "crps": mean["crps"],
    }
    if "spread" in mean:
        out["spread_over_skill"] = mean["spread"] / mean["skill"]
    if "expected" in mean:
        out |= {"expected_over_skill": mean["expected"] / mean["skill"], "coverage_90": mean["coverage_90"]}
    return {key: float(value) if bool(torch.isfinite(value)) else None for key, value in out.items()}


def _defined(line: Tensor) -> Tensor:
    return line[~line.isnan()]


def _draw(
    folder: Path,
    fields: Tensor,
    whole: PointFrames,
    first: int,
    data: PointTrajectories,
    index: int,
    stride: int,
    expected: Tensor | None,
) -> list[Path]:
    """A page with the animation of the first channel (its middle plane in 3-D); none in one dimension."""
    from meshops.viz import ensemble_page

    truth, samples = whole.series()[first:, :, 0], fields[..., 0]
    parts = [truth, samples, *([] if expected is None else [expected[..., 0]])]
    options: dict[str, Any] = {}
    grid = data.spec.grid
    if grid:
        parts = [part.unflatten(-1, grid) for part in parts]
        if len(grid) == 1:
            return []
        if len(grid) == 3:
            parts = [part[..., grid[2] // 2] for part in parts]
        options["extent"] = [data.spec.low[0], data.spec.high[0], data.spec.low[1], data.spec.high[1]]
    elif whole.pos.shape[1] == 2:
        options["pos"] = whole.places()[first:] if whole.moving else whole.pos
    else:
        return []
    truth, samples = parts[:2]
    if len(samples) < 2:
        samples = samples.expand(2, *samples.shape[1:])
    options["expected"] = parts[2] if len(parts) > 2 else None
    step = data.spec.time_step * stride
    if step:
        options |= {"times": [(first + i) * step for i in range(len(truth))], "time_unit": "s"}
    name, unit = data.spec.fields[0], data.spec.units[0]
    path = folder / "forecast.html"
    ensemble_page(
        path,
        truth=truth,
        samples=samples,
        label=f"{name} ({unit})" if unit else name,
        title="Forecast",
        subtitle=f"{data.cases[index]}: {first} frames given, {len(truth)} predicted",
        **options,
    )
    return [path]


def _draw_curves(folder: Path, curves: dict[str, list[float]], first: int, segment: int) -> Path:
    from meshops.viz import curve_picture

    names = {
        "relative_l2": "mean of the ensemble",
        "relative_l2_sample": "one sample",
        "relative_l2_kept": "last given frame kept",
    }
    path = folder / "errors.png"
    curve_picture(
        {label: curves[key] for key, label in names.items()},
        path,
        xlabel="frames ahead",
        ylabel="relative L2 error",
        title=f"forecast; trained to {segment - first} frames ahead",
    )
    return path
