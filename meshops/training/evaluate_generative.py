"""Judge auto-encoders by what comes back, and generators by ensembles of forecasts; all on physical units."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from meshops.data.point_frames import PointFrames
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.errors import InputError
from meshops.metrics.ensembles import ensemble_errors, missing_variance, relative_l2
from meshops.metrics.grids import band_errors
from meshops.nn.flow import Method
from meshops.tasks.autoencode import AutoencodeTask
from meshops.tasks.generative_surrogate import GenerateSurrogate, checked_lengths

MOST_WINDOWS = 2  # per trajectory, evenly spread
NORMAL_90 = 1.645  # standard deviations that hold 90 % of a normal distribution


def autoencoding_error(task: AutoencodeTask, window: PointFrames, part: float = 1.0, seed: int = 0) -> float:
    """Mean over fields of ``||u' - u|| / ||u||`` over all points and frames, from a part of the points."""
    source = window.subsample(part, generator=torch.Generator().manual_seed(seed))
    training = task.training
    task.eval()
    wrong = task.reconstruct(source, window) - window.values
    task.train(training)
    return _relative(wrong, window.values, task)


@torch.no_grad()
def evaluate_autoencoder(
    task: AutoencodeTask,
    data: PointTrajectories,
    *,
    frames: int,
    stride: int = 1,
    parts: Sequence[float] = (1.0, 0.5, 0.2),
    cases: int = 0,
) -> dict[str, Any]:
    """Relative L2 errors of reconstructed trajectories, by the part of the points the encoder saw.

    Args:
        task: Auto-encoder.
        data: Trajectories.
        frames: Of a window.
        stride: Frames of the data from one to the next.
        parts: Of the points; the error is always at all of them.
        cases: Trajectories at most; 0: all.

    Returns:
        ``cases`` one by one and ``mean``, each by part (as text); ``mean_square``: means of the squares.

    Raises:
        InputError: No trajectory is long enough.
    """
    checked_lengths(data.lengths, frames, stride)
    device = task.norm.scale.device
    span = (frames - 1) * stride + 1
    table: dict[str, dict[str, float]] = {}
    squares: dict[str, list[float]] = {str(part): [] for part in parts}
    for index in range(len(data) if not cases else min(cases, len(data))):
        places = data.lengths[index] - span + 1
        if places < 1:
            continue
        starts = sorted({round(i * (places - 1) / max(MOST_WINDOWS - 1, 1)) for i in range(MOST_WINDOWS)})
        row: dict[str, list[float]] = {str(part): [] for part in parts}
        for start in starts:
            window = data.window(index, start, frames, stride).to(device)
            for part in parts:
                error = autoencoding_error(task, window, part, seed=start)
                row[str(part)].append(error)
                squares[str(part)].append(error**2)
        table[data.cases[index]] = {part: sum(values) / len(values) for part, values in row.items()}
    mean = {str(part): sum(row[str(part)] for row in table.values()) / max(len(table), 1) for part in parts}
    return {
        "cases": table,
        "mean": mean,
        "mean_square": {part: sum(values) / max(len(values), 1) for part, values in squares.items()},
    }


def _relative(wrong: Tensor, truth: Tensor, task: AutoencodeTask) -> float:
    parts = [
        wrong[..., channels].norm() / truth[..., channels].norm().clamp(min=1e-12)
        for channels in task.spec.slices().values()
    ]
    return float(torch.stack(parts).mean())


@torch.no_grad()
def calibrate(
    surrogate: GenerateSurrogate,
    data: PointTrajectories,
    cases: Sequence[int],
    *,
    given: int | None = None,
    steps: int | None = None,
    samples: int = 8,
    stride: int = 1,
) -> int:
    """Learn from trajectories that were held out how much variance ensembles lack.

    Sets ``surrogate.missing_variance`` and ``surrogate.info["calibration"]``. It holds for forecasts like these, from
    as many given frames.

    Args:
        surrogate: Generator with its auto-encoder.
        data: Trajectories.
        cases: Which of them; none of them should have been trained on.
        given: Frames that are known; see :func:`evaluate_forecasts`, as the next two.
        steps: Frames to predict.
        samples: Size of the ensembles, at least two; a deterministic model gives one.
        stride: Frames of the data from one to the next.

    Returns:
        Frames ahead that are calibrated: as many as the longest trajectory has.

    Raises:
        InputError: No trajectory is long enough, or one sample of a model that is not deterministic.
    """
    if samples < 2 and not surrogate.spec.deterministic:
        raise InputError(f"the spread is that of two samples or more, got samples = {samples}")
    first, wanted = _horizon(surrogate, given, steps)
    rows = []
    for index in cases:
        whole = _whole(data, index, first, wanted, stride)
        if whole is not None:
            fields = _forecast(surrogate, data, index, whole, first, samples=samples)
            rows.append(missing_variance(fields, whole.series()[first:]))
    if not rows:
        raise InputError(f"no trajectory to calibrate with is longer than the {first} frames that are given")
    longest = max(len(row) for row in rows)
    table = torch.full((len(rows), longest, rows[0].shape[1]), math.nan, dtype=torch.float64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    surrogate.missing_variance = table.nanmean(0).float()
    surrogate.info["calibration"] = {
        "trajectories": len(rows), "given": first, "frames": longest, "samples": samples, "stride": stride
    }  # fmt: skip
    return longest


@torch.no_grad()
def evaluate_forecasts(
    surrogate: GenerateSurrogate,
    data: PointTrajectories,
    *,
    given: int | None = None,
    steps: int | None = None,
    samples: int = 8,
    stride: int = 1,
    cases: int = 0,
    integration: int = 10,
    method: Method = "midpoint",
    folder: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Ensembles of forecasts from the first frames of every trajectory, scored against the truth.

    Values are divided by the scale of their field in training, so that fields of unlike units can be averaged. Where
    points move, the places of the frames to come are known.

    Args:
        surrogate: Generator with its auto-encoder.
        data: Trajectories.
        given: Frames that are known, ``1 + f j``; None: ``1 + f``, or 1 where a segment is no longer.
        steps: Frames to predict; None: to twice the end of a segment; fewer where a trajectory is shorter.
        samples: Size of the ensembles; a deterministic model gives one.
        stride: Frames of the data from one to the next.
        cases: Trajectories at most; 0: all.
        integration: Steps of the integration.
        method: Of the integration.
        folder: Where ``forecast.html`` and ``errors.png`` go; None: nothing is drawn.
        console: Shows progress.

    Returns:
        ``curves``: mean over trajectories of every score of
        :func:`meshops.metrics.ensembles.ensemble_errors` against time, and ``relative_l2_kept`` of the last given
        frame; ``relative_l2`` (of the ensemble mean), ``relative_l2_one`` (of a sample), ``relative_l2_kept`` and
        ``crps``: means over time; ``seconds``: of one forecast; on grids ``bands``: errors of the power spectrum at the
        last step, low to high, of a sample and of the ensemble mean; of a surrogate that was calibrated
        ``expected_over_skill`` and ``coverage_90``, the share of values within 1.645 expected errors of the mean (0.86
        for a reliable ensemble of 8 that lacks nothing: its variance is a guess from 8). ``spread``, ``skill`` and
        ``expected`` are averaged as squares.
    """
    segment, scale = surrogate.spec.frames, surrogate.autoencoder.task.norm.scale.cpu()
    first, wanted = _horizon(surrogate, given, steps)
    tables: list[dict[str, Tensor]] = []
    bands: list[Tensor] = []
    seconds: list[float] = []
    count = min(cases or len(data), len(data))
    rows = track(range(count), "forecasting", console=console, transient=True,
                 disable=console is None or not console.is_terminal)  # fmt: skip
    for index in rows:
        whole = _whole(data, index, first, wanted, stride)
        if whole is None:
            continue
        begin = time.perf_counter()
        fields = _forecast(surrogate, data, index, whole, first, samples=samples, steps=integration, method=method)
        seconds.append(time.perf_counter() - begin)
        truth = whole.series()
        ahead, kept = truth[first:], truth[first - 1 : first].expand_as(truth[first:])
        scores = ensemble_errors(fields / scale, ahead / scale)
        scores["relative_l2_kept"] = relative_l2(kept / scale, ahead / scale, axes=(1, 2))
        expected = None
        if surrogate.missing_variance is not None and (surrogate.spec.deterministic or samples > 1):
            expected = surrogate.expected_error(fields)
            scores |= _expectation(fields.mean(0) - ahead, expected, scale)
        tables.append(scores)
        if data.spec.grid:
            bands.append(_bands(fields[:, -1], ahead[-1], data))
        if folder is not None and len(tables) == 1:
            _draw(folder, fields, whole, first, data, index, stride, expected)
    if not tables:
        raise InputError(
            f"no trajectory is long enough: a forecast from {first} frames needs more than those; the longest has "
            f"{max(data.lengths)}"
        )
    shortest = min(len(table["crps"]) for table in tables)
    scores = {
        key: torch.stack([table[key][:shortest] for table in tables])
        for key in tables[0] if key not in ("rank_histogram", "ratio")
    }  # fmt: skip
    # standard deviations are averaged as variances: the ratio of a reliable ensemble is 1 only then
    roots = [key for key in ("spread", "skill", "expected") if key in scores]
    lines = {key: values.nanmean(0) for key, values in scores.items()}
    lines |= {key: scores[key].square().mean(0).sqrt() for key in roots}
    mean = {key: float(line.mean()) for key, line in lines.items()}
    mean |= {key: float(lines[key].square().mean().sqrt()) for key in roots}
    curves = {key: line.tolist() for key, line in lines.items()}
    ranks = torch.stack([table["rank_histogram"].sum(0) for table in tables]).sum(0)
    out = {
        "trajectories": len(tables), "given": first, "steps": shortest, "samples": len(ranks) - 1,
        "relative_l2": mean["relative_l2"], "relative_l2_one": mean["relative_l2_sample"],
        "relative_l2_kept": mean["relative_l2_kept"], "crps": mean["crps"],
        "seconds_per_forecast": sum(seconds) / len(seconds), "curves": curves,
        "rank_histogram": (ranks / ranks.sum()).tolist(),
    }  # fmt: skip
    if "spread" in mean:
        out["spread_over_skill"] = mean["spread"] / mean["skill"]
    if "expected" in mean:
        out |= {"expected_over_skill": mean["expected"] / mean["skill"], "coverage_90": mean["coverage_90"]}
    if bands:
        sample, middle = torch.stack(bands).nanmean(0).tolist()
        out["bands"] = {"sample": sample, "mean": middle}
    if folder is not None:
        _draw_curves(folder, curves, first, segment)
    return out


def _horizon(surrogate: GenerateSurrogate, given: int | None, steps: int | None) -> tuple[int, int]:
    """Frames that are known and frames to predict."""
    segment, factor = surrogate.spec.frames, surrogate.spec.time_factor
    if given is not None and given < 1:
        raise InputError(f"given must be at least 1 frame, got {given}")
    first = min(1 + factor, segment - factor) if given is None else given
    return first, steps or 2 * segment - first


def _whole(data: PointTrajectories, index: int, first: int, wanted: int, stride: int) -> PointFrames | None:
    """The frames of a forecast; None if nothing of the trajectory is left to predict."""
    available = (data.lengths[index] - 1) // stride + 1
    return None if available <= first else data.window(index, 0, min(first + wanted, available), stride)


def _forecast(
    surrogate: GenerateSurrogate, data: PointTrajectories, index: int, whole: PointFrames, first: int, **chosen: Any
) -> Tensor:  # fmt: skip
    """``[samples, frames, n, c]`` after the first frames of a trajectory."""
    ahead = whole.frames - first
    queries = whole.crop(first, ahead) if whole.moving else None
    parameters = data.parameters(index, surrogate.spec.parameters) or None
    return surrogate.forecast(whole.crop(0, first), ahead, queries=queries, parameters=parameters, **chosen)


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


def _draw(
    folder: Path, fields: Tensor, whole: PointFrames, first: int, data: PointTrajectories, index: int, stride: int,
    expected: Tensor | None,
) -> None:  # fmt: skip
    """A page with the animation of the first channel (its middle plane in 3-D)."""
    from meshops.viz import ensemble_page

    truth, samples = whole.series()[first:, :, 0], fields[..., 0]
    parts = [truth, samples, *([] if expected is None else [expected[..., 0]])]
    options: dict[str, Any] = {}
    if data.spec.grid:
        parts = [part.unflatten(-1, data.spec.grid) for part in parts]
        if len(data.spec.grid) == 1:
            return
        if len(data.spec.grid) == 3:
            parts = [part[..., data.spec.grid[2] // 2] for part in parts]
        options["extent"] = [data.spec.low[0], data.spec.high[0], data.spec.low[1], data.spec.high[1]]
    elif whole.pos.shape[1] == 2:
        options["pos"] = whole.places()[first:] if whole.moving else whole.pos
    else:
        return
    truth, samples = parts[:2]
    if len(samples) < 2:
        samples = samples.expand(2, *samples.shape[1:])
    options["expected"] = parts[2] if len(parts) > 2 else None
    step = data.spec.time_step * stride
    if step:
        options |= {"times": [(first + i) * step for i in range(len(truth))], "time_unit": "s"}
    name, unit = data.spec.fields[0], data.spec.units[0]
    ensemble_page(
        folder / "forecast.html", truth=truth, samples=samples, label=f"{name} ({unit})" if unit else name,
        title="Forecast", subtitle=f"{data.cases[index]}: {first} frames given, {len(truth)} predicted", **options,
    )  # fmt: skip


def _draw_curves(folder: Path, curves: dict[str, list[float]], first: int, segment: int) -> None:
    from meshops.viz import curve_picture

    names = {"relative_l2": "mean of the ensemble", "relative_l2_sample": "one sample",
             "relative_l2_kept": "last given frame kept"}  # fmt: skip
    curve_picture(
        {label: curves[key] for key, label in names.items()}, folder / "errors.png", xlabel="frames ahead",
        ylabel="relative L2 error", title=f"forecast; trained to {segment - first} frames ahead",
    )  # fmt: skip
