"""One page about an ensemble: its animation, its error and CRPS against time, spread against skill, ranks of the truth.

Numbers that are not given are taken from the one trajectory shown. They follow:

- CRPS of m members, in the fair form that does not reward few of them (Ferro 2014):
  ``mean_i |x_i - y| - 1 / (2 m (m - 1)) sum_ij |x_i - x_j|``.
- Spread: root of the mean unbiased variance, times ``sqrt((m + 1) / m)``, with which it equals the root mean square
  error of the mean when the truth is like one more member (Fortin et al. 2014).
- Rank of the truth: the number of members below it; a tie with k members counts as 1 / (k + 1) in each place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.metrics import crps, rank_histogram, spread_skill
from meshops.viz.animation import array, checked_points, checked_rows, frame_width, frame_words, moments_of
from meshops.viz.film import Film, GridPainter, Painter, PointPainter
from meshops.viz.movie import Page, Plot, kind_of, write_page
from meshops.viz.report import AnyTable, Table
from meshops.viz.timeplot import numbers, rank_plot, skill_plot, time_plot

BINS = 10  # of spread against skill
EXPECTED = "expected error"


@dataclass(frozen=True, kw_only=True)
class EnsembleNumbers:
    """What an ensemble says about one trajectory.

    Attributes:
        error: ``[t]`` root mean square error of the mean.
        crps: ``[t]`` fair CRPS.
        spread: ``[t]`` spread, comparable with ``error``.
        bin_spread, bin_error: Both over cells of like spread, ``[k]``, from little to much.
        ranks: ``[m + 1]`` how often the truth has which rank.
        left_out: Values with a truth or member that is not finite; they count nowhere.
    """

    error: np.ndarray
    crps: np.ndarray
    spread: np.ndarray
    bin_spread: np.ndarray
    bin_error: np.ndarray
    ranks: np.ndarray
    left_out: int


def ensemble_numbers(truth: Tensor, samples: Tensor) -> EnsembleNumbers:
    """Error, CRPS, spread and ranks of an ensemble, over all places alike.

    Args:
        truth: ``[t, ...]``.
        samples: ``[m, t, ...]``, two members at least.
    """
    true, members = (torch.from_numpy(part) for part in _checked(truth, samples))
    count, steps = members.shape[:2]
    curves = torch.full((3, steps), torch.nan, dtype=torch.float64)
    squares, variances, ranks, left_out = [], [], torch.zeros(count + 1, dtype=torch.float64), 0
    for step in range(steps):
        y, x = true[step].flatten(), members[:, step].flatten(1)
        known = torch.isfinite(y) & torch.isfinite(x).all(0)
        left_out += int((~known).sum())
        y, x = y[known], x[:, known]
        if not len(y):
            continue
        found = spread_skill(x, y, axes=None)
        curves[:, step] = torch.stack([found.skill, crps(x, y, fair=True).mean(), found.spread])
        squares.append((x.double().mean(0) - y.double()).square())
        variances.append(x.double().var(0))
        ranks += rank_histogram(x, y)
    if not squares:
        raise InputError("no place and time has a finite truth and finite members; check the samples")
    error, score, spread = curves.numpy()
    bins = _bins(torch.cat(variances).numpy(), torch.cat(squares).numpy())
    factor = math.sqrt((count + 1) / count)
    return EnsembleNumbers(
        error=error, crps=score, spread=spread, bin_spread=factor * bins[0], bin_error=bins[1], ranks=ranks.numpy(),
        left_out=left_out,
    )  # fmt: skip


def ensemble_page(
    path: str | Path,
    *,
    truth: Tensor,
    samples: Tensor,
    pos: Tensor | None = None,
    triangles: Tensor | None = None,
    extent: Sequence[float] | None = None,
    times: Sequence[float] | Tensor | None = None,
    time_unit: str = "",
    label: str = "",
    title: str = "Ensemble",
    subtitle: str = "",
    fps: float = 8,
    shown: int = 2,
    clim: Sequence[float] | None = None,
    width: int | None = None,
    expected: Tensor | None = None,
    curves: Mapping[str, Sequence[float] | Tensor] | None = None,
    spread_skill: tuple[Sequence[float] | Tensor, Sequence[float] | Tensor] | None = None,
    ranks: Sequence[float] | Tensor | None = None,
    table: AnyTable | None = None,
) -> Path:
    """Write one page about an ensemble: animation, curves, spread against skill, rank histogram, numbers.

    Args:
        path: ``.html``.
        truth: ``[t, nx, ny]`` on a grid, ``[t, n]`` on points.
        samples: ``[m, t, nx, ny]`` or ``[m, t, n]``, two members at least.
        pos: ``[n, 2]`` or ``[t, n, 2]``, with values on points.
        triangles: ``[f, 3]``, with ``pos``; None: dots.
        extent: Left, right, bottom and top of a grid.
        times: ``[t]``; None: steps.
        time_unit: Such as ``"s"``.
        label: Of the values, with the unit.
        title: Head of the page.
        subtitle: Below it, such as model and case.
        fps: Frames per second.
        shown: How many of the members are shown.
        clim: Limits of the colors of truth, mean and members; None: percentiles of all of them.
        width: Largest width of the frames in pixels; None: 960.
        expected: Like ``truth``: what the error of the mean is expected to be, if more is known than the spread.
        curves: Name -> ``[t]``, e.g. over a whole test set; None: from the samples, as are the next three.
        spread_skill: Spread and error over groups of like spread, ``[k]`` each.
        ranks: ``[m + 1]`` counts.
        table: Of numbers, beside the plots.

    Returns:
        The file.

    Raises:
        InputError: Shapes do not fit together, fewer than two members, or another suffix.

    Example:
        >>> truth = torch.rand(5, 16, 16)
        >>> samples = truth + 0.1 * torch.randn(4, 5, 16, 16)
        >>> ensemble_page("waves.html", truth=truth, samples=samples, label="height (m)")  # doctest: +SKIP
    """
    if kind_of(path, fps) != ".html":
        raise InputError(f"the page of an ensemble ends in '.html', got '{path}'; animate_grid writes other files")
    size = frame_width(width, ".html")
    found = ensemble_numbers(truth, samples)
    rows, painter = _rows(truth, samples, shown, expected), _painter(truth, pos, triangles, extent)
    values = checked_rows(rows, 3 if pos is None else 2, "[t, nx, ny]" if pos is None else "[t, n]")
    steps = len(found.error)
    words = frame_words(times, steps, time_unit)
    moments, axis = moments_of(times, steps, time_unit)
    line = None
    if expected is not None:
        known = expected.double().masked_fill(~torch.isfinite(truth), math.nan)
        line = known.square().flatten(1).nanmean(1).sqrt()
    plots = _plots(found, moments, axis, label, line, curves, spread_skill, ranks)
    film = Film(values, painter, words, label=label, own=["spread", EXPECTED], clim=clim, width=size)
    page = Page(
        title=title,
        subtitle=subtitle,
        summary=_summary(found, steps),
        heading="How good it is, and whether it knows",
        plots=plots,
        tables=[("Numbers", table if table is not None else _table(found, words))],
        notes=_notes(found, expected is not None),
    )
    return write_page(film, path, fps=fps, page=page)


def _checked(truth: Tensor, samples: Tensor) -> tuple[np.ndarray, np.ndarray]:
    true, members = array("truth", truth), array("samples", samples)
    if members.ndim != true.ndim + 1 or members.shape[1:] != true.shape or true.ndim < 2:
        raise InputError(
            f"samples must be [members, *truth], got {list(members.shape)} for a truth [t, ...] of {list(true.shape)}; "
            "stack the members along the first axis"
        )
    if len(members) < 2:
        raise InputError(f"an ensemble has at least two members, got {len(members)}; animate_grid shows a single one")
    if not true.size:
        raise InputError(f"truth of shape {list(true.shape)} is empty; give at least one frame and one cell")
    return true, members


def _rows(truth: Tensor, samples: Tensor, shown: int, expected: Tensor | None) -> dict[str, Tensor]:
    """Truth, mean, spread, what is expected of the error, and the first members."""
    if shown < 0:
        raise InputError(f"shown must be 0 or more members, got {shown}; 0 shows none")
    exact = samples.to(torch.float64)
    rows = {"truth": truth, "mean": exact.mean(0), "spread": exact.std(0)}
    if expected is not None:
        if expected.shape != truth.shape:
            raise InputError(f"expected must be like truth {list(truth.shape)}, got {list(expected.shape)}")
        rows[EXPECTED] = expected
    return rows | {f"sample {n}": member for n, member in enumerate(samples[:shown], start=1)}


def _painter(truth: Tensor, pos: Tensor | None, triangles: Tensor | None, extent: Sequence[float] | None) -> Painter:
    if pos is not None:
        count, nodes = checked_rows({"truth": truth}, 2, "[t, n] with pos")["truth"].shape
        return PointPainter(*checked_points(pos, triangles, count, nodes))
    if truth.dim() == 2:
        raise InputError(f"truth on points, [t, n] = {list(truth.shape)}, needs their places; give pos [n, 2] as well")
    _, across, down = checked_rows({"truth": truth}, 3, "[t, nx, ny]")["truth"].shape
    return GridPainter((across, down), extent)


def _plots(
    found: EnsembleNumbers, moments: Sequence[float], axis: str, label: str, expected: Tensor | None,
    curves: Mapping[str, Sequence[float] | Tensor] | None,
    spread_skill: tuple[Sequence[float] | Tensor, Sequence[float] | Tensor] | None,
    ranks: Sequence[float] | Tensor | None,
) -> list[Plot]:  # fmt: skip
    own: dict[str, Sequence[float] | Tensor] = {
        "RMSE of the mean": torch.from_numpy(found.error),
        "CRPS": torch.from_numpy(found.crps),
        "spread": torch.from_numpy(found.spread),
    }
    shown = dict(curves or own)
    if expected is not None:
        shown[EXPECTED] = expected
    pairs = spread_skill or (torch.from_numpy(found.bin_spread), torch.from_numpy(found.bin_error))
    counts = torch.from_numpy(found.ranks) if ranks is None else ranks
    places = len(numbers("ranks", counts))
    return [
        time_plot(shown, moments, axis, ylabel=label),
        skill_plot(
            *pairs, label=label,
            caption="Spread against skill, over groups of like spread. On the line the spread says the error; "
            "above it the ensemble is too sure of itself.",
        ),
        rank_plot(
            counts,
            caption=f"Rank of the truth among {places - 1} members. Flat is calibrated; high ends mean too little "
            "spread, a hump too much, a slope a bias.",
        ),
    ]  # fmt: skip


def _bins(variance: np.ndarray, square: np.ndarray) -> np.ndarray:
    """``[2, k]`` roots of the mean variance and square error over equally many values of like variance."""
    order = np.argsort(variance, kind="stable")
    groups = np.array_split(order, min(BINS, len(order)))
    return np.sqrt([[values[group].mean() for group in groups] for values in (variance, square)])


def _summary(found: EnsembleNumbers, steps: int) -> list[tuple[str, str | float | int]]:
    error, spread = _root_mean(found.error), _root_mean(found.spread)
    return [
        ("members", len(found.ranks) - 1),
        ("steps", steps),
        ("RMSE of the mean", error),
        ("CRPS", float(np.nanmean(found.crps))),
        ("spread / RMSE", spread / error if error > 0 else math.nan),
    ]


def _table(found: EnsembleNumbers, words: Sequence[str]) -> Table:
    ends = found.ranks[[0, -1]].sum() / found.ranks.sum()
    expected = 2 / len(found.ranks)
    lines = {"RMSE of the mean": found.error, "CRPS": found.crps, "spread": found.spread}
    means = (_root_mean(found.error), float(np.nanmean(found.crps)), _root_mean(found.spread))
    rows = [
        [name, float(line[0]), float(line[-1]), mean] for (name, line), mean in zip(lines.items(), means, strict=True)
    ]
    ratio = [float(found.spread[n] / found.error[n]) if found.error[n] > 0 else math.nan for n in (0, -1)]
    rows.append(["spread / RMSE", *ratio, means[2] / means[0] if means[0] > 0 else math.nan])
    rows.append([f"truth outside all members (calibrated: {100 * expected:.3g} %)", "", "", f"{100 * ends:.3g} %"])
    return Table(["quantity", f"first ({words[0]})", f"last ({words[-1]})", "all"], rows)


def _notes(found: EnsembleNumbers, expected: bool) -> list[str]:
    members = len(found.ranks) - 1
    notes = [
        f"spread: standard deviation of {members} members; in plots and numbers times √({members + 1} / {members})"
    ]
    if expected:
        notes.append("expected error: standard deviation of the error of the mean, from the spread and what it lacks")
    if found.left_out:
        notes.append(f"{found.left_out:,} values that are not finite are gray and left out of the numbers")
    return notes


def _root_mean(line: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(line**2)))
