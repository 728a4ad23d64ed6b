"""Pictures of fields on plane grids: the patches a tokeniser chose drawn over the field, and frames side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meshops.errors import InputError
from meshops.io import write_bytes
from meshops.viz.layout import INK

if TYPE_CHECKING:
    from meshops.partition.grid_patches import GridPatches

DPI = 130


def patches_picture(
    field: Any,
    patches: GridPatches,
    path: str | Path,
    *,
    sample: int = 0,
    title: str | None = None,
    label: str = "",
    cmap: str = "viridis",
) -> Path:
    """Draw the patches of one sample over a field; of overlapping ones the finest at each place.

    Args:
        field: ``[nx, ny]`` values, first axis x (drawn to the right).
        patches: Of a tokeniser, on the same grid.
        path: PNG to write.
        sample: Which sample of the patches.
        title: Over the picture; default the number of patches.
        label: Of the colour bar.
        cmap: Colour map of matplotlib.

    Raises:
        InputError: The grid is not plane, or field and patches differ in shape.
    """
    values = np.asarray(field, dtype=np.float64)
    if patches.dim != 2 or values.shape != patches.shape:
        raise InputError(
            f"only plane grids are drawn and field and patches must agree, got a field {values.shape} and patches on "
            f"{patches.shape}; cut a plane out of a volume first"
        )
    figure, (axes,) = _figure(1, values.shape)
    image = axes.imshow(values.T, origin="lower", cmap=cmap, extent=(0, values.shape[0], 0, values.shape[1]))
    _draw_edges(axes, patches, sample)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label(label)
    count = int(patches.count[sample])
    axes.set_title(title or f"{count:,} patches", loc="left", fontsize=11, fontweight="bold", color=INK)
    return _save(figure, path)


def frames_picture(
    rows: Mapping[str, Sequence[Any]], path: str | Path, *, columns: Sequence[str] = (), label: str = "",
    cmap: str = "viridis",
) -> Path:  # fmt: skip
    """Draw rows of frames with one colour scale, e.g. truth and prediction at several times.

    Args:
        rows: Name -> frames ``[nx, ny]``, as many in each row.
        path: PNG to write.
        columns: Title of each column.
        label: Of the colour bar.
        cmap: Colour map of matplotlib.
    """
    lengths = {len(frames) for frames in rows.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(f"every row needs the same number of frames, got { ({k: len(v) for k, v in rows.items()}) }")
    first = [np.asarray(frame, dtype=np.float64) for frame in next(iter(rows.values()))]
    low, high = min(f.min() for f in first), max(f.max() for f in first)
    figure, axes = _figure(lengths.pop(), first[0].shape, rows=len(rows))
    image = None
    for place, panel in enumerate(axes):
        name, frames = list(rows.items())[place // len(first)]
        column = place % len(first)
        values = np.asarray(frames[column], dtype=np.float64)
        image = panel.imshow(values.T, origin="lower", cmap=cmap, vmin=low, vmax=high)
        panel.set_xticks([])
        panel.set_yticks([])
        if column == 0:
            panel.set_ylabel(name, color=INK)
        if place < len(first) and columns:
            panel.set_title(columns[column], fontsize=10, color=INK)
    figure.colorbar(image, ax=axes, shrink=0.8).set_label(label)
    return _save(figure, path)


def tradeoff_picture(
    curves: Mapping[str, Sequence[tuple[float, float]]], path: str | Path, *, xlabel: str = "tokens",
    ylabel: str = "VRMSE", title: str | None = None,
) -> Path:  # fmt: skip
    """Draw error over cost, both logarithmic, one line with dots per name.

    Args:
        curves: Name -> ``(cost, error)`` pairs.
        path: PNG to write.
        xlabel: What the cost is.
        ylabel: What the error is.
        title: Over the picture.
    """
    figure, (axes,) = _figure(1, (3, 2))
    for name, pairs in curves.items():
        ordered = sorted(pairs)
        axes.plot([p[0] for p in ordered], [p[1] for p in ordered], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(True, which="both", color="#e3e6ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    if title:
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    return _save(figure, path)


def _draw_edges(axes: Any, patches: GridPatches, sample: int) -> None:
    """Lines between cells of different finest patches."""
    from matplotlib.collections import LineCollection

    owner = patches.owner()[sample].cpu().numpy()[: patches.shape[0], : patches.shape[1]]
    lines = []
    for i, j in zip(*np.nonzero(owner[1:] != owner[:-1]), strict=True):
        lines.append([(i + 1, j), (i + 1, j + 1)])
    for i, j in zip(*np.nonzero(owner[:, 1:] != owner[:, :-1]), strict=True):
        lines.append([(i, j + 1), (i + 1, j + 1)])
    axes.add_collection(LineCollection(lines, colors="white", linewidths=0.5, alpha=0.8))
    axes.set_xlabel("cells")


def _figure(columns: int, shape: Sequence[int], rows: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = 6.5 if columns * rows == 1 else max(2.2 * columns + 1, 4)
    height = width * rows / columns * shape[1] / shape[0] * 0.85 + 0.6
    figure = Figure(figsize=(width, min(max(height, 2.5), 12)), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    return figure, list(grid.ravel())


def _save(figure: Any, path: str | Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return write_bytes(path, buffer.getvalue())
