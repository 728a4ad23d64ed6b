"""Frames of panels side by side, drawn fast: what stands still is drawn once, the fields for every frame.

Panels share one color scale, except those that ask for their own; every scale has its bar below its panels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from meshops.errors import InputError
from meshops.viz.colors import NAN_COLOR, ColorScale, color_scale
from meshops.viz.layout import FONTS, INK, SOFT

# Pixels of a frame.
DPI = 100
WIDTH = 960
NARROWEST = 360
MOST_HEIGHT = 0.6  # of the width, for the panels
SIDE_BY_SIDE = 1.35  # another line must make panels larger by this
MARGIN = 16
GAP = 14
TITLE = 34
HEADING = 22
BAR_BLOCK = 70
BAR_WIDTH = 420
LETTER = 6.6  # average width at the size of a heading

# Panels with a scale of their own look unlike the others, so that nobody reads them with the wrong bar.
OWN_MAP = "magma"

# Percentiles are taken from this many values of a panel; the smallest and the largest from all of them.
MOST_VALUES = 1_000_000


class Painter(Protocol):
    """How one panel is drawn: on a grid or on points.

    Attributes:
        aspect: Width over height of what is drawn.
    """

    aspect: float

    def add(self, axes: Any, size: tuple[int, int], **style: Any) -> Any:
        """Put the first frame into empty axes of ``size`` pixels; ``style`` holds ``norm`` and ``cmap``."""

    def show(self, drawn: Any, values: Any, frame: int) -> Any:
        """Change what is drawn to masked values of a frame; returns what is to be drawn."""


class Film:
    """All frames of an animation.

    Args:
        rows: Panel -> ``[t, ...]`` values; what is not finite is drawn gray.
        painter: Draws one panel.
        words: What stands over each frame, such as its time.
        title: Before these words.
        label: Of the bars, with the unit.
        own: Panels with their own sequential scale; the others share one.
        clim: Limits of the shared scale; None: percentiles.
        width: Largest width in pixels.
    """

    def __init__(
        self, rows: Mapping[str, np.ndarray], painter: Painter, words: Sequence[str], *, title: str = "",
        label: str = "", own: Sequence[str] = (), clim: Sequence[float] | None = None, width: int = WIDTH,
    ) -> None:  # fmt: skip
        self.rows, self.painter, self.words, self.label = rows, painter, words, label
        self.title = title
        shared = {name: values for name, values in rows.items() if name not in own}
        self.groups = {tuple(shared): _scale(shared, clim)} if shared else {}
        self.groups |= {(name,): _own_scale(rows[name], name) for name in rows if name in own}
        self.columns, self.lines, self.panel = arrange(len(rows), painter.aspect, width)
        across, down = self.panel
        room = max(2 * MARGIN + self.columns * (across + GAP) - GAP, NARROWEST)
        tall = TITLE + self.lines * (HEADING + down + GAP) + BAR_BLOCK
        self.size = (room + room % 2, tall + tall % 2)  # even, for films

    @property
    def remarks(self) -> list[str]:
        """One sentence per color scale: whose it is and what its limits leave out."""
        return [f"{', '.join(names)}: {scale.remark}" for names, scale in self.groups.items()]

    def palette(self, most: int) -> np.ndarray:
        """``[k, 3]`` uint8, at most so many colors for all frames: of letters, of missing values, of the scales."""
        letters = np.linspace(_rgb(INK), 255, 16).round()
        soft = np.linspace(_rgb(SOFT), 255, 8).round()
        each = max((most - len(letters) - len(soft) - 1) // len(self.groups), 8)
        scales = [s.colors[np.linspace(0, 255, each).round().astype(int)] * 255 for s in self.groups.values()]
        return np.concatenate([letters, soft, [_rgb(NAN_COLOR)], *scales]).round().astype(np.uint8)

    def frames(self) -> Iterator[np.ndarray]:
        """``[height, width, 3]`` uint8, one after the other."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import ListedColormap, Normalize
        from matplotlib.figure import Figure

        across, down = self.size
        figure = Figure(figsize=(across / DPI, down / DPI), dpi=DPI, facecolor="white")
        canvas: Any = FigureCanvasAgg(figure)
        places = {name: self._place(n) for n, name in enumerate(self.rows)}
        styles: dict[str, dict[str, Any]] = {}
        for names, scale in self.groups.items():
            colors = ListedColormap(scale.colors, bad=NAN_COLOR)
            style = {"norm": Normalize(scale.low, scale.high), "cmap": colors}
            styles |= dict.fromkeys(names, style)
            self._bar(figure, names, scale, style)
        panels = {}
        for name, (x, y) in places.items():
            self._text(figure, x, y - HEADING / 2, cut(name, self.panel[0] / LETTER), size=9.5, weight="bold")
            panels[name] = self._axes(figure, x, y, *self.panel)
            panels[name].set_axis_off()
        canvas.draw()
        empty = canvas.copy_from_bbox(figure.bbox)
        heading = self._text(figure, MARGIN, TITLE / 2, "", size=11, weight="bold")
        drawn = {name: self.painter.add(axes, self.panel, **styles[name]) for name, axes in panels.items()}
        for frame, words in enumerate(self.words):
            canvas.restore_region(empty)
            for name, values in self.rows.items():
                drawn[name] = self.painter.show(drawn[name], np.ma.masked_invalid(values[frame]), frame)
                figure.draw_artist(drawn[name])
            room = across / (LETTER * 1.25) - len(words) - 4
            heading.set_text(f"{cut(self.title, room)}:  {words}" if self.title else words)
            figure.draw_artist(heading)
            yield np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _place(self, n: int) -> tuple[float, float]:
        """Left and top of a panel; one that stands alone is in the middle."""
        line, column = divmod(n, self.columns)
        across, down = self.panel
        free = self.size[0] - 2 * MARGIN - self.columns * (across + GAP) + GAP
        return MARGIN + free / 2 + column * (across + GAP), TITLE + HEADING + line * (HEADING + down + GAP)

    def _span(self, names: tuple[str, ...]) -> tuple[float, float]:
        """Left and right of a bar: below the longest run of its panels, or one of equal parts under several lines."""
        if self.lines > 1:
            n, part = list(self.groups).index(names), (self.size[0] - 2 * MARGIN) / len(self.groups)
            return MARGIN + n * part, MARGIN + (n + 1) * part
        runs: list[list[int]] = [[]]
        for n, name in enumerate(self.rows):
            if name in names:
                runs[-1].append(n)
            elif runs[-1]:
                runs.append([])
        run = max(runs, key=len)
        return self._place(run[0])[0], self._place(run[-1])[0] + self.panel[0]

    def _bar(self, figure: Any, names: tuple[str, ...], scale: ColorScale, style: Mapping[str, Any]) -> None:
        from matplotlib.cm import ScalarMappable

        left, right = self._span(names)
        width = min(right - left - 2 * MARGIN, BAR_WIDTH)
        top = self.size[1] - BAR_BLOCK
        axes = self._axes(figure, (left + right - width) / 2, top, width, 11)
        bar = figure.colorbar(ScalarMappable(**style), cax=axes, orientation="horizontal", extend=scale.extend)
        bar.outline.set_visible(False)
        axes.tick_params(labelsize=8, color=SOFT, labelcolor=INK, length=3, pad=2)
        axes.xaxis.get_offset_text().set_fontsize(7)
        axes.locator_params(nbins=max(2, int(width // 75)))
        parts = [", ".join(names)] if len(self.groups) > 1 else []
        words = ": ".join([*parts, *([self.label] if self.label else [])])
        if self.label and len(words) > (right - left) / LETTER:
            words = self.label if len(names) > 1 else words
        self._text(figure, (left + right) / 2, top + 52, cut(words, (right - left) / LETTER), size=8.5, ha="center")

    def _axes(self, figure: Any, x: float, y: float, width: float, height: float) -> Any:
        across, down = self.size
        return figure.add_axes((x / across, 1 - (y + height) / down, width / across, height / down))

    def _text(self, figure: Any, x: float, y: float, words: str, *, size: float, **style: Any) -> Any:
        across, down = self.size
        style = {"va": "center", "color": INK, "family": FONTS} | style
        return figure.text(x / across, 1 - y / down, words, fontsize=size, parse_math=False, **style)


class GridPainter:
    """Plane grids, the first axis to the right.

    Args:
        shape: Cells in both directions.
        extent: Left, right, bottom and top; None: square cells.
    """

    def __init__(self, shape: tuple[int, int], extent: Sequence[float] | None = None) -> None:
        self.shape = shape
        left, right, bottom, top = extent or (0, shape[0], 0, shape[1])
        if not (left < right and bottom < top):
            raise InputError(f"extent must be (left, right, bottom, top) in rising order, got {extent}; swap its ends")
        self.aspect = (right - left) / (top - bottom)

    def add(self, axes: Any, size: tuple[int, int], **style: Any) -> Any:
        """Cells as sharp squares where there is a pixel for each; averaged where there is not."""
        few = self.shape[0] <= size[0] and self.shape[1] <= size[1]
        start = np.zeros(self.shape[::-1])
        return axes.imshow(start, origin="lower", aspect="auto", interpolation="nearest" if few else "auto", **style)

    def show(self, drawn: Any, values: Any, frame: int) -> Any:
        """Change the values."""
        drawn.set_data(values.T)
        return drawn


class PointPainter:
    """Points in the plane that may move: smooth colors on triangles, dots without.

    Args:
        pos: ``[1, n, 2]`` or ``[t, n, 2]``.
        triangles: ``[m, 3]``; None: dots.
    """

    def __init__(self, pos: np.ndarray, triangles: np.ndarray | None) -> None:
        self.pos, self.triangles = pos, triangles
        low, high = pos.min(axis=(0, 1)), pos.max(axis=(0, 1))
        room = np.maximum(high - low, 1e-3 * (high - low).max() or 1.0)
        middle, room = (low + high) / 2, room * (1.0 if triangles is not None else 1.04)
        self.low, self.high = middle - room / 2, middle + room / 2
        self.aspect = float(room[0] / room[1])

    def add(self, axes: Any, size: tuple[int, int], **style: Any) -> Any:
        """The limits hold every place of every point, so that the frame stands still."""
        axes.set_xlim(self.low[0], self.high[0])
        axes.set_ylim(self.low[1], self.high[1])
        if self.triangles is not None:
            return self._mesh(axes, 0, **style)
        area = size[0] * size[1] / self.pos.shape[1] * (72 / DPI) ** 2  # square points per dot
        x, y = self.pos[0].T
        return axes.scatter(x, y, c=np.zeros(len(x)), s=min(max(0.8 * area, 1.5), 50.0), linewidths=0, **style)

    def show(self, drawn: Any, values: Any, frame: int) -> Any:
        """Change the values, and the places where the points move."""
        moves = len(self.pos) > 1
        if self.triangles is not None and moves:
            axes, style = drawn.axes, {"norm": drawn.norm, "cmap": drawn.cmap}
            drawn.remove()
            drawn = self._mesh(axes, frame, **style)
        elif moves:
            drawn.set_offsets(self.pos[frame])
        drawn.set_array(values)
        return drawn

    def _mesh(self, axes: Any, frame: int, **style: Any) -> Any:
        from matplotlib.collections import TriMesh
        from matplotlib.tri import Triangulation

        x, y = self.pos[frame].T
        return axes.add_collection(TriMesh(Triangulation(x, y, self.triangles), **style), autolim=False)


def arrange(count: int, aspect: float, width: int) -> tuple[int, int, tuple[int, int]]:
    """Columns, lines and (width, height) of panels such that they are as large as the frame allows."""
    best: tuple[float, int, int, tuple[int, int]] | None = None
    aspect = min(max(aspect, 0.2), 8.0)
    for lines in range(1, count + 1):
        columns = -(-count // lines)
        across = (width - 2 * MARGIN + GAP) / columns - GAP
        across = min(across, aspect * (MOST_HEIGHT * width / lines - HEADING - GAP))
        if best is None or across > SIDE_BY_SIDE * best[0]:
            best = across, columns, lines, (max(int(across), 24), max(int(across / aspect), 24))
    assert best is not None
    return best[1:]


def cut(words: str, room: float) -> str:
    """Words of at most so many letters."""
    most = max(int(room), 6)
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def _scale(rows: Mapping[str, np.ndarray], clim: Sequence[float] | None, **choice: Any) -> ColorScale:
    """The project's scale over all panels and frames; of many values, percentiles of some drawn at random."""
    some, low, high = [], np.inf, -np.inf
    for values in rows.values():
        known = values[np.isfinite(values)]
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
        if known.size > MOST_VALUES:
            known = known[np.random.default_rng(0).integers(known.size, size=MOST_VALUES)]
        some.append(known)
    if not np.isfinite(low):
        raise InputError(
            f"nothing to draw in {', '.join(map(repr, rows))}: no value of any frame is finite; check the field or "
            "leave it out"
        )
    return replace(color_scale(np.concatenate(some), clim=clim, **choice), minimum=low, maximum=high)


def _own_scale(values: np.ndarray, name: str) -> ColorScale:
    """Sequential, from zero where nothing is negative: a spread is read by its size."""
    scale = _scale({name: values}, None, cmap=OWN_MAP)
    if scale.minimum < 0:
        return scale
    top = scale.high if scale.maximum > 0 else 1.0
    return replace(_scale({name: values}, (0.0, top), cmap=OWN_MAP), limits="0 to the 99 % percentile")


def _rgb(color: str) -> list[float]:
    return [int(color[n : n + 2], 16) for n in (1, 3, 5)]
