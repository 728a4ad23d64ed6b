"""Trajectories as animations: truth, prediction or mean of an ensemble, and its spread, side by side.

The suffix of the path decides: ``.gif``, ``.mp4`` (extra ``video``), or ``.html``, a page with a player that opens
offline. Values that are not finite are gray.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshops.errors import InputError, listing
from meshops.viz.film import NARROWEST, WIDTH, Film, GridPainter, PointPainter
from meshops.viz.movie import Page, Plot, kind_of, write_film
from meshops.viz.report import AnyTable
from meshops.viz.timeplot import time_plot

SPREAD = ("spread",)
GIF_WIDTH = 720


def animate_grid(
    rows: Mapping[str, Tensor],
    path: str | Path,
    *,
    times: Sequence[float] | Tensor | None = None,
    time_unit: str = "",
    label: str = "",
    title: str = "",
    fps: float = 8,
    spread: Sequence[str] = SPREAD,
    clim: Sequence[float] | None = None,
    extent: Sequence[float] | None = None,
    width: int | None = None,
    curves: Mapping[str, Sequence[float] | Tensor] | None = None,
    curve_label: str = "error",
    table: AnyTable | None = None,
) -> Path:
    """Animate fields on a plane grid, one panel per row.

    Args:
        rows: Panel -> ``[t, nx, ny]``, the first axis x, drawn to the right.
        path: ``.gif``, ``.mp4`` or ``.html``.
        times: ``[t]``, shown over the frames; None: the number of the step.
        time_unit: Such as ``"s"``.
        label: Of the color bars, with the unit, such as ``"pressure (Pa)"``.
        title: Before the time, and the head of a page.
        fps: Frames per second, at most 50.
        spread: Panels with a sequential scale of their own; all others share one.
        clim: Limits of the shared scale; None: 1-99 % percentiles over all its panels and frames. Give the limits of
            the truth where a prediction may have blown up.
        extent: Left, right, bottom and top of the grid; None: square cells.
        width: Largest width in pixels; None: 960, and 720 of a GIF.
        curves: Name -> ``[t]``, such as the error; a plot on the page, other files leave it out.
        curve_label: What the curves are, with the unit.
        table: On the page, other files leave it out.

    Returns:
        The file.

    Raises:
        InputError: Rows do not fit together, nothing is finite, or the suffix is unknown.
        MissingPackageError: ``.mp4`` without the extra ``video``.

    Example:
        >>> truth = torch.rand(5, 16, 16)
        >>> animate_grid({"truth": truth, "spread": 0.1 * truth}, "waves.gif", label="height (m)")  # doctest: +SKIP
    """
    kind = kind_of(path, fps)
    values = checked_rows(rows, 3, "[t, nx, ny]")
    shape = next(iter(values.values())).shape
    words = frame_words(times, shape[0], time_unit)
    film = Film(
        values, GridPainter(shape[1:], extent), words, title=title, label=label, own=_own(spread, values), clim=clim,
        width=frame_width(width, kind),
    )  # fmt: skip
    page = _page(title, times, time_unit, shape[0], curves, curve_label, table)
    return write_film(film, path, fps=fps, page=page)


def animate_points(
    pos: Tensor,
    rows: Mapping[str, Tensor],
    path: str | Path,
    *,
    triangles: Tensor | None = None,
    times: Sequence[float] | Tensor | None = None,
    time_unit: str = "",
    label: str = "",
    title: str = "",
    fps: float = 8,
    spread: Sequence[str] = SPREAD,
    clim: Sequence[float] | None = None,
    width: int | None = None,
    curves: Mapping[str, Sequence[float] | Tensor] | None = None,
    curve_label: str = "error",
    table: AnyTable | None = None,
) -> Path:
    """Animate fields on points of the plane, which may move, one panel per row.

    Args:
        pos: ``[n, 2]``, or ``[t, n, 2]`` where the mesh moves.
        rows: Panel -> ``[t, n]``.
        path: ``.gif``, ``.mp4`` or ``.html``.
        triangles: ``[m, 3]``, drawn with smooth colors; a gray corner fades into its neighbors. None: dots.
        times: As for :func:`animate_grid`, and so are all the others.
        time_unit: Of the times.
        label: Of the color bars, with the unit.
        title: Before the time, and the head of a page.
        fps: Frames per second.
        spread: Panels with a scale of their own.
        clim: Limits of the shared scale.
        width: Largest width in pixels.
        curves: For a plot on the page.
        curve_label: What the curves are.
        table: On the page.

    Returns:
        The file.
    """
    kind = kind_of(path, fps)
    values = checked_rows(rows, 2, "[t, n]")
    count, nodes = next(iter(values.values())).shape
    painter = PointPainter(*checked_points(pos, triangles, count, nodes))
    film = Film(
        values, painter, frame_words(times, count, time_unit), title=title, label=label, own=_own(spread, values),
        clim=clim, width=frame_width(width, kind),
    )  # fmt: skip
    page = _page(title, times, time_unit, count, curves, curve_label, table)
    return write_film(film, path, fps=fps, page=page)


def array(name: str, values: Tensor) -> np.ndarray:
    """Real values as floats of NumPy."""
    tensor = torch.as_tensor(values).detach().cpu()
    if tensor.is_complex():
        raise InputError(f"'{name}' holds complex values; give a real part or a magnitude")
    wide = tensor.dtype in (torch.float32, torch.float64)
    return (tensor if wide else tensor.to(torch.float64)).numpy()


def checked_rows(rows: Mapping[str, Tensor], dims: int, words: str) -> dict[str, np.ndarray]:
    """Panels as arrays of one shape, or the reason why they cannot be drawn."""
    if not rows:
        raise InputError(f"no rows to animate; give at least one, such as {{'truth': tensor of shape {words}}}")
    values = {name: array(name, row) for name, row in rows.items()}
    for name, row in values.items():
        if row.ndim != dims:
            volume = dims == 3 and row.ndim == 4
            hint = (
                "cut a plane out of the volume first, such as row[..., 8]" if volume else "choose one channel and case"
            )
            raise InputError(f"row '{name}' must be {words}, got shape {list(row.shape)}; {hint}")
        if 0 in row.shape:
            raise InputError(f"row '{name}' of shape {list(row.shape)} is empty; give at least one frame and one cell")
    if len({row.shape for row in values.values()}) > 1:
        shapes = ", ".join(f"'{name}' {list(row.shape)}" for name, row in values.items())
        raise InputError(f"all rows must have one shape {words}, got {shapes}; cut them to the same frames and places")
    return values


def checked_points(
    pos: Tensor, triangles: Tensor | None, count: int, nodes: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """``[1 or t, n, 2]`` places and ``[m, 3]`` corners, or the reason why they cannot be drawn."""
    points = array("pos", pos)
    allowed = ((nodes, 2), (count, nodes, 2))
    if points.shape not in allowed:
        raise InputError(
            f"pos must be {list(allowed[0])} or {list(allowed[1])} for rows [t, n] = {[count, nodes]}, got "
            f"{list(points.shape)}; of points in space take two coordinates"
        )
    if not np.isfinite(points).all():
        raise InputError("pos holds values that are not finite; only fields may have gaps, leave such points out")
    if triangles is None:
        return points.reshape(-1, nodes, 2), None
    corners = torch.as_tensor(triangles).detach().cpu()
    if corners.dim() != 2 or corners.shape[1] != 3 or corners.is_floating_point() or not len(corners):
        raise InputError(
            f"triangles must be whole numbers [m, 3], got {corners.dtype} {list(corners.shape)}; cut other cells into "
            "triangles, or leave triangles out for dots"
        )
    if int(corners.min()) < 0 or int(corners.max()) >= nodes:
        raise InputError(
            f"triangles must name nodes 0 to {nodes - 1}, got {int(corners.min())} to {int(corners.max())}; give pos "
            "and triangles of the same mesh"
        )
    return points.reshape(-1, nodes, 2), corners.to(torch.int64).numpy()


def frame_words(times: Sequence[float] | Tensor | None, count: int, unit: str) -> list[str]:
    """What stands over each frame: its time, with as many digits as tell the frames apart, or its number."""
    if times is None:
        return [f"step {n} of {count}" for n in range(1, count + 1)]
    moments = [float(moment) for moment in times]
    if len(moments) != count or not all(map(math.isfinite, moments)):
        raise InputError(
            f"times must be {count} finite numbers, one per frame, got {len(moments)}"
            f"{'' if all(map(math.isfinite, moments)) else ' with some not finite'}; leave times out to count steps"
        )
    for digits in range(3, 10):
        shown = [f"t = {moment:.{digits}g}{' ' if unit else ''}{unit}" for moment in moments]
        if len(set(shown)) == len(set(moments)):
            break
    return shown


def moments_of(times: Sequence[float] | Tensor | None, count: int, unit: str) -> tuple[list[float], str]:
    """Where the frames stand on an axis of time, and its name."""
    if times is None:
        return [float(n) for n in range(1, count + 1)], "step"
    return [float(moment) for moment in times], f"time ({unit})" if unit else "time"


def frame_width(width: int | None, kind: str) -> int:
    """Largest width of a frame in pixels."""
    if width is None:
        return GIF_WIDTH if kind == ".gif" else WIDTH
    if width < NARROWEST:
        raise InputError(f"width must be at least {NARROWEST} pixels, got {width}; letters do not fit in less")
    return int(width)


def _own(spread: Sequence[str], rows: Mapping[str, np.ndarray]) -> list[str]:
    names = [spread] if isinstance(spread, str) else list(spread)
    unknown = [name for name in names if name not in rows and name not in SPREAD]
    if unknown:
        raise InputError(f"spread names {listing(unknown)}, which no row has; rows are {listing(rows)}")
    return names


def _page(
    title: str, times: Sequence[float] | Tensor | None, unit: str, count: int,
    curves: Mapping[str, Sequence[float] | Tensor] | None, curve_label: str, table: AnyTable | None,
) -> Page:  # fmt: skip
    plots: list[Plot] = []
    if curves:
        plots.append(time_plot(curves, *moments_of(times, count, unit), ylabel=curve_label))
    tables = [("Numbers", table)] if table is not None else []
    return Page(title=title or "Trajectory", plots=plots, tables=tables)
