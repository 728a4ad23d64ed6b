"""Panels, color bars and lettering on one sheet: matplotlib without its global state."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshops.io import write_bytes
from meshops.viz.camera import View
from meshops.viz.colors import ColorScale

# Pixels. Twice the width of a page in the report, so that pictures stay sharp on dense screens and on paper.
SHEET_WIDTH = 1800
MARGIN = 36
GAP = 30
STRIP = 92
AXES_ROOM = 74
BAR_BLOCK = 128
TITLE_BLOCK = 64
MOST_HEIGHT = 900
DPI = 150
INK = "#22262c"
SOFT = "#5c6470"
FLOW_COLOR = "#0b6e99"
FONTS = ("DejaVu Sans",)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A horizontal color bar under columns ``first`` to ``last``."""

    scale: ColorScale
    label: str
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A picture with its caption.

    Attributes:
        picture: ``[height, width, 3]`` uint8.
        caption: Below the picture.
        heading: Above it.
        view, frame: For the arrow of the flow and the small axes; no arrow without them.
        axes: Extent (left, right, bottom, top) and the names of both axes when coordinates are to be shown.
    """

    picture: np.ndarray
    caption: str = ""
    heading: str = ""
    view: View | None = None
    flow: np.ndarray | None = None
    axes: tuple[tuple[float, float, float, float], str, str] | None = None


def row_height(aspects: Sequence[float], *, most: int = MOST_HEIGHT, axes: bool = False) -> int:
    """Find the height in pixels at which panels side by side fill the sheet; ``axes`` leaves room for coordinates."""
    gap, left_room = (GAP + AXES_ROOM, AXES_ROOM) if axes else (GAP, 0)
    width = SHEET_WIDTH - 2 * MARGIN - left_room - gap * (len(aspects) - 1)
    return max(120, min(most, int(width / sum(aspects))))


def sheet(rows: Sequence[Sequence[Panel]], bars: Sequence[Bar], path: str | Path, *, title: str | None) -> Path:
    """Put rows of panels, bars below them and a title above on one PNG, and write it whole."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    title_block = TITLE_BLOCK if title else 24
    heading = [34 if any(p.heading for p in row) else 0 for row in rows]
    axes_room = [AXES_ROOM if any(p.axes for p in row) else 0 for row in rows]
    heights = [max(p.picture.shape[0] for p in row) for row in rows]
    total = title_block + sum(heights) + sum(heading) + len(rows) * STRIP + sum(axes_room)
    total += BAR_BLOCK if bars else 0
    figure = Figure(figsize=(SHEET_WIDTH / DPI, total / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    pen = _Pen(figure, SHEET_WIDTH, total)
    if title:
        pen.text(MARGIN, 20, textwrap.shorten(title, 110, placeholder=" …"), size=11, weight="bold", va="top")
    y = title_block
    columns: list[tuple[float, float]] = []
    for i, row in enumerate(rows):
        y += heading[i]
        columns = _columns(row, GAP + axes_room[i], left_room=axes_room[i])
        for panel, (left, right) in zip(row, columns, strict=True):
            pen.panel(panel, left, y, right - left, axes_room[i])
        y += heights[i] + axes_room[i] + STRIP
    for bar in bars:
        left, right = columns[bar.first][0], columns[bar.last][1]
        pen.bar(bar, left, right, y)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return write_bytes(path, _smaller(buffer.getvalue()))


def _columns(row: Sequence[Panel], gap: int, left_room: int) -> list[tuple[float, float]]:
    widths = [p.picture.shape[1] for p in row]
    x = (SHEET_WIDTH - left_room - sum(widths) - gap * (len(row) - 1)) / 2 + left_room
    out = []
    for width in widths:
        out.append((x, x + width))
        x += width + gap
    return out


def _smaller(png: bytes) -> bytes:
    """Drop the alpha channel and pack harder."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return min(png, buffer.getvalue(), key=len)


class _Pen:
    """Draws on a figure in pixels from the top left corner."""

    def __init__(self, figure: Any, width: int, height: int) -> None:
        self.figure, self.width, self.height = figure, width, height

    def area(self, x: float, y: float, width: float, height: float) -> Any:
        bottom = self.height - y - height
        return self.figure.add_axes((x / self.width, bottom / self.height, width / self.width, height / self.height))

    def text(self, x: float, y: float, words: str, *, size: float = 8.5, color: str = INK, **style: Any) -> None:
        style.setdefault("va", "center")
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            words,
            fontsize=size,
            color=color,
            family=FONTS,
            parse_math=False,
            **style,
        )

    def panel(self, panel: Panel, x: float, y: float, width: float, axes_room: int) -> None:
        height = panel.picture.shape[0]
        axes = self.area(x, y, width, height)
        if panel.heading:
            self.text(x + width / 2, y - 14, panel.heading, size=9.5, weight="bold", ha="center")
        if panel.axes is None:
            axes.imshow(panel.picture, interpolation="none")
            axes.set_axis_off()
        else:
            extent, horizontal, vertical = panel.axes
            axes.imshow(panel.picture, interpolation="none", extent=extent, aspect="auto")
            axes.set_xlabel(horizontal, fontsize=8, color=SOFT)
            axes.set_ylabel(vertical, fontsize=8, color=SOFT)
            axes.tick_params(labelsize=7.5, color=SOFT, labelcolor=SOFT)
            for side in axes.spines.values():
                side.set_color("#9aa1ab")
        below = y + height + axes_room
        self.text(x + width / 2, below + 40, panel.caption, color=SOFT, ha="center")
        if panel.view is not None:
            if panel.axes is None:
                self._triad(panel.view, x + 46, below + 52)
            if panel.flow is not None:
                self._flow(panel.view, panel.flow, x + width - 60, below + 40)

    def bar(self, bar: Bar, left: float, right: float, y: float) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize

        width = min(0.7 * (right - left), 900)
        axes = self.area((left + right - width) / 2, y + 12, width, 22)
        mapped = ScalarMappable(Normalize(bar.scale.low, bar.scale.high), ListedColormap(bar.scale.colors))
        drawn = self.figure.colorbar(mapped, cax=axes, orientation="horizontal", extend=bar.scale.extend)
        drawn.outline.set_linewidth(0.4)
        axes.tick_params(labelsize=8, color=SOFT, labelcolor=INK, length=3)
        axes.xaxis.get_offset_text().set_fontsize(8)
        axes.locator_params(nbins=7 if width > 500 else 4)
        self.text((left + right) / 2, y + 82, bar.label, size=9, ha="center")
        self.text((left + right) / 2, y + 106, bar.scale.remark, size=7.5, color=SOFT, ha="center")

    def _triad(self, view: View, x: float, y: float) -> None:
        for name, axis in zip("xyz", np.eye(3), strict=True):
            dx, dy = 32 * view.project(axis)
            if np.hypot(dx, dy) < 6:
                continue
            self._arrow(x, y, dx, -dy, SOFT, 1.1)
            stretch = 1 + 13 / np.hypot(dx, dy)
            self.text(x + dx * stretch, y - dy * stretch, name, size=7.5, color=SOFT, ha="center")

    def _flow(self, view: View, flow: np.ndarray, x: float, y: float) -> None:
        dx, dy = 66 * view.project(flow)
        if np.hypot(dx, dy) < 14:
            word = "flow toward you ⊙" if view.toward @ flow > 0 else "flow away from you ⊗"
            self.text(x + 56, y - 28, word, size=8, color=FLOW_COLOR, ha="right")
            return
        self._arrow(x - dx / 2, y + dy / 2, dx, -dy, FLOW_COLOR, 2.4)
        self.text(x - abs(dx) / 2 - 10, y, "flow", size=8, color=FLOW_COLOR, ha="right")

    def _arrow(self, x: float, y: float, dx: float, dy: float, color: str, width: float) -> None:
        from matplotlib.patches import FancyArrowPatch

        ends = [(x / self.width, 1 - y / self.height), ((x + dx) / self.width, 1 - (y + dy) / self.height)]
        self.figure.add_artist(
            FancyArrowPatch(
                *ends, transform=self.figure.transFigure, arrowstyle="-|>", mutation_scale=6 + 3 * width,
                color=color, linewidth=width, shrinkA=0, shrinkB=0,
            )
        )  # fmt: skip
