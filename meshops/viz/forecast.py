"""Pictures of forecasts that were judged: an ensemble beside what happened, and errors against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from meshops.viz.ensemble import ensemble_page
from meshops.viz.pictures import curve_picture

if TYPE_CHECKING:
    from meshops.data.point_frames import PointFrames

CURVES = {
    "relative_l2": "mean of the ensemble",
    "relative_l2_sample": "one sample",
    "relative_l2_kept": "last given frame kept",
    "relative_l2_decoded": "truth encoded and decoded",
}


def forecast_page(
    path: Path,
    truth: PointFrames,
    samples: Tensor,
    *,
    expected: Tensor | None = None,
    grid: Sequence[int] = (),
    box: tuple[Sequence[float], Sequence[float]] = ((), ()),
    label: str = "",
    case: str = "",
    given: int = 1,
    time_step: float = 0.0,
) -> list[Path]:
    """Write a page with the first channel of an ensemble, in 3-D its middle plane.

    Args:
        path: ``.html``.
        truth: What happened, one trajectory.
        samples: ``[k, t, n, c]``; one alone is shown as two.
        expected: ``[t, n, c]`` what the error of the mean is expected to be.
        grid: Cells along each axis where the points are those of a grid.
        box: Its lower and upper corner.
        label: Of the values, with the unit.
        case: What was forecast.
        given: Frames that were known.
        time_step: Time between frames, s; 0: not known.

    Returns:
        The page; nothing in one dimension and of free points in space.
    """
    dim = truth.pos.shape[1]
    if dim == 1 or (dim == 3 and not grid):
        return []
    low, high = box
    where: dict[str, Any] = {"extent": [low[0], high[0], low[1], high[1]]} if grid else {"pos": truth.places()}
    if time_step:
        where |= {"times": [(given + i) * time_step for i in range(truth.frames)], "time_unit": "s"}
    members = _plane(samples, grid)
    return [
        ensemble_page(
            path,
            truth=_plane(truth.series(), grid),
            samples=members.expand(max(2, len(members)), *members.shape[1:]),
            expected=None if expected is None else _plane(expected, grid),
            **where,
            label=label,
            title="Forecast",
            subtitle=f"{case}: {given} frames given, {truth.frames} predicted",
        )
    ]


def forecast_curves(path: Path, curves: Mapping[str, Sequence[float]], *, trained: int) -> Path:
    """Draw errors against frames ahead beside the last given frame.

    Args:
        path: A picture.
        curves: ``relative_l2`` of the mean, ``relative_l2_sample`` and ``relative_l2_kept``, among others.
        trained: Frames ahead that the generator was trained for.
    """
    lines = {label: curves[key] for key, label in CURVES.items() if key in curves}
    title = f"forecast; trained to {trained} frames ahead"
    curve_picture(lines, path, xlabel="frames ahead", ylabel="relative L2 error", title=title)
    return path


def _plane(values: Tensor, grid: Sequence[int]) -> Tensor:
    """First channel of ``[..., n, c]``, on a grid as it lies there, of a volume the middle plane."""
    first = values[..., 0]
    if not grid:
        return first
    whole: Tensor = first.unflatten(-1, tuple(grid))
    return whole[..., grid[2] // 2] if len(grid) == 3 else whole
