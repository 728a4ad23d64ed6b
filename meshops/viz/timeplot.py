"""Plots beside an animation: curves against time, spread against skill, ranks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.viz.colors import PALETTE
from meshops.viz.layout import INK, SOFT
from meshops.viz.movie import Plot

DPI = 150
SIZE = (4.3, 3.1)
GRID = "#e3e6ea"
LINES = ("-", "--", "-.", ":")

# Curves that are positive and differ by more than this factor get a logarithmic axis.
WIDE = 30.0


def time_plot(
    curves: Mapping[str, Sequence[float] | Tensor], moments: Sequence[float], xlabel: str, *, ylabel: str = "",
    caption: str = "",
) -> Plot:  # fmt: skip
    """Draw curves against time with a place for the line that follows the animation; NaN are gaps.

    Args:
        curves: Name -> ``[t]``.
        moments: ``[t]``.
        xlabel: Name of the time, with the unit.
        ylabel: What the curves are.
        caption: Below the plot; default the names of the curves.
    """
    lines = {name: numbers(name, values) for name, values in curves.items()}
    for name, line in lines.items():
        if len(line) != len(moments):
            raise InputError(f"curve '{name}' must have one value per frame, {len(moments)}, got {len(line)}; cut it")
    figure, axes = _axes()
    known = np.concatenate([line[np.isfinite(line)] for line in lines.values()])
    if known.size and known.min() > 0 and known.max() > WIDE * known.min():
        axes.set_yscale("log")
    for n, (name, line) in enumerate(lines.items()):
        shown = np.where(np.isfinite(line), line, np.nan)
        style = {"color": PALETTE[n % len(PALETTE)], "linestyle": LINES[n % len(LINES)], "label": name}
        axes.plot(moments, shown, linewidth=1.7, marker="o" if len(line) < 3 else None, **style)
    axes.set_xlabel(xlabel, color=SOFT)
    axes.set_ylabel(ylabel, color=SOFT)
    if len(lines) > 1 or not ylabel:
        axes.legend(frameon=False, fontsize=8)
    png = _png(figure)
    box = axes.get_position()
    ends = axes.transData.transform([(moment, 1.0) for moment in moments])[:, 0]
    return Plot(
        png=png,
        caption=caption or f"{', '.join(lines)} against {xlabel.partition(' (')[0]}",
        places=[float(x) for x in ends / figure.bbox.width],
        band=(1 - box.y1, 1 - box.y0),
    )


def skill_plot(spread: Sequence[float] | Tensor, error: Sequence[float] | Tensor, *, label: str, caption: str) -> Plot:
    """Draw error over spread with the diagonal on which an ensemble says its own error."""
    x, y = numbers("spread", spread), numbers("error", error)
    if len(x) != len(y):
        raise InputError(f"spread and error must have one length, got {len(x)} and {len(y)}; give pairs")
    figure, axes = _axes()
    known = np.isfinite(x) & np.isfinite(y)
    top = 1.06 * max(float(np.concatenate([x[known], y[known]]).max(initial=0.0)), 1e-30)
    axes.plot([0, top], [0, top], color=SOFT, linestyle="--", linewidth=1, label="spread = error")
    axes.plot(x[known], y[known], color=PALETTE[0], marker="o", markersize=4.5, linewidth=1.2, label="measured")
    axes.set(xlim=(0, top), ylim=(0, top), box_aspect=1)
    unit = f", {label}" if label else ""
    axes.set_xlabel(f"spread{unit}", color=SOFT)
    axes.set_ylabel(f"error of the mean{unit}", color=SOFT)
    axes.legend(frameon=False, fontsize=8)
    return Plot(png=_png(figure), caption=caption)


def rank_plot(ranks: Sequence[float] | Tensor, *, caption: str) -> Plot:
    """Draw how often the truth lies between which members, with the line of a calibrated ensemble."""
    counts = numbers("ranks", ranks)
    if len(counts) < 2 or not np.isfinite(counts).all() or counts.min() < 0 or not counts.sum() > 0:
        raise InputError(
            f"ranks must be counts of at least two ranks and not all zero, got {np.array2string(counts, threshold=8)}; "
            "give [members + 1] counts"
        )
    share = 100 * counts / counts.sum()
    figure, axes = _axes()
    axes.bar(np.arange(len(share)), share, width=0.86, color=PALETTE[0])
    axes.axhline(100 / len(share), color=INK, linestyle="--", linewidth=1, label="calibrated")
    axes.set_xlabel("rank of the truth among the members", color=SOFT)
    axes.set_ylabel("share (%)", color=SOFT)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, 1.18 * max(share.max(), 100 / len(share)))
    axes.legend(frameon=False, fontsize=8)
    return Plot(png=_png(figure), caption=caption)


def numbers(name: str, values: Sequence[float] | Tensor) -> np.ndarray:
    """``[k]`` float64."""
    line = torch.as_tensor(values).detach().cpu().to(torch.float64).numpy()
    if line.ndim != 1 or not line.size:
        raise InputError(
            f"'{name}' must be numbers in one row, got shape {list(line.shape)}; take a mean over the rest"
        )
    return line


def _axes() -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)  # inches around: the page frames it closely
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, color=SOFT)
    return figure, axes


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
