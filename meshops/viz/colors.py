"""Which colors a field gets: limits that a few hot cells cannot spoil, and a map that fits its sign.

Magnitudes get a perceptually uniform sequential map. Fields of both signs (gauge pressure, errors) get a
diverging map with its middle at zero and equal steps on both sides; the bar is cut to the range in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meshops.errors import InputError

SEQUENTIAL = "viridis"
DIVERGING = "coolwarm"
PERCENTILES = (1.0, 99.0)
NAN_COLOR = "#b8bcc2"

# A field counts as two-signed when its smaller side reaches this part of the larger one.
TWO_SIGNED = 0.05

# Twelve colors that stay apart in print and for most color-blind readers, light enough for dark cell edges.
PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ddcc55", "#66ccee", "#aa3377",
    "#f08a4b", "#8fd9b6", "#bbbbbb", "#332288", "#f2b6c9", "#8c6d46",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ColorScale:
    """How values become colors.

    Attributes:
        low, high: Values at the ends of the bar.
        colors: ``[256, 3]`` red, green, blue in 0..1, from ``low`` to ``high``.
        minimum, maximum: Of the finite values, so that a caption can say what the limits leave out.
        limits: Where ``low`` and ``high`` come from.
        diverging: Zero has the middle color.
    """

    low: float
    high: float
    colors: np.ndarray
    minimum: float
    maximum: float
    limits: str
    diverging: bool

    @property
    def extend(self) -> str:
        """Which ends of the bar are passed by values, in matplotlib's words."""
        span = 1e-6 * (self.high - self.low)
        below, above = self.minimum < self.low - span, self.maximum > self.high + span
        return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[
            (below, above)
        ]

    @property
    def remark(self) -> str:
        """What the reader must know about the limits."""
        full = f"full range {number(self.minimum)} to {number(self.maximum)}".replace("-", "−")
        if self.extend == "neither":
            return full
        return f"color limits: {self.limits}; {full}"


def number(value: float) -> str:
    """Four significant digits, no exponent where none is needed."""
    return f"{value:.4g}"


def magnitude(values: np.ndarray) -> np.ndarray:
    """``[n]`` scalars as they are, ``[n, k]`` vectors by length."""
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    return values if values.ndim == 1 else np.linalg.norm(values.astype(np.float64), axis=1)


def color_scale(
    values: np.ndarray,
    *,
    clim: Sequence[float] | None = None,
    cmap: str | None = None,
    diverging: bool | None = None,
    floor: float = 0.0,
    weights: np.ndarray | None = None,
) -> ColorScale:
    """Choose limits and colors for scalar values ``[n]``.

    Args:
        values: Scalars; NaN and infinite ones are left out.
        clim: Fixed limits; None for the 1-99 % percentiles.
        cmap: A matplotlib map; None chooses by sign. A named map is stretched over the limits as it is.
        diverging: Force (or forbid) the map centered at zero; None decides by the signs present.
        floor: Smallest half-width of the limits, e.g. the size of rounding noise.
        weights: ``[n]`` areas, so that a percentile is a part of the surface and not of the number of cells.
    """
    finite = np.asarray(values, dtype=np.float64)
    known = np.isfinite(finite)
    finite, weights = finite[known], None if weights is None else np.asarray(weights)[known]
    if finite.size == 0:
        raise InputError(f"nothing to draw: none of the {np.size(values)} values is finite; check the field")
    minimum, maximum = float(finite.min()), float(finite.max())
    if clim is None:
        low, high = _percentiles(finite, weights)
    else:
        low, high = (float(v) for v in clim)
        if not low < high:
            raise InputError(f"clim must be (low, high) with low < high, got ({low}, {high})")
    if diverging is None:
        diverging = cmap is None and low < 0 < high and min(-low, high) >= TWO_SIGNED * max(-low, high)
    if clim is None:
        low, high = _widen(low, high, floor, diverging)
    colors = _colors(low, high, cmap or (DIVERGING if diverging else SEQUENTIAL), diverging)
    return ColorScale(
        low=low,
        high=high,
        colors=colors,
        minimum=minimum,
        maximum=maximum,
        limits="as given" if clim is not None else "1–99 % percentiles" + (" by area" if weights is not None else ""),
        diverging=diverging,
    )


def patch_colors(patch_of_cell: np.ndarray, neighbors: np.ndarray, num_patches: int) -> np.ndarray:
    """Color number of each patch, ``[p]``, such that touching patches differ.

    Greedy coloring, patches with most neighbors first; among the free colors the least used one is taken.

    Args:
        patch_of_cell: ``[n]``, only its range is checked.
        neighbors: ``[2, e]`` pairs of touching patches, both directions.
        num_patches: p.
    """
    if patch_of_cell.size and int(patch_of_cell.max()) >= num_patches:
        raise InputError(f"patch {int(patch_of_cell.max())} found, but num_patches is {num_patches}")
    start = np.searchsorted(neighbors[0], np.arange(num_patches + 1))
    order = np.lexsort((np.random.default_rng(0).permutation(num_patches), -np.diff(start)))
    color = np.full(num_patches, -1, dtype=np.int64)
    used = np.zeros(len(PALETTE), dtype=np.int64)
    for patch in order:
        taken = color[neighbors[1, start[patch] : start[patch + 1]]]
        blocked = np.bincount(taken[taken >= 0], minlength=len(PALETTE))
        color[patch] = int(np.lexsort((used, blocked))[0])
        used[color[patch]] += 1
    return color


def _percentiles(values: np.ndarray, weights: np.ndarray | None) -> tuple[float, float]:
    if weights is None or not weights.sum() > 0:
        low, high = np.percentile(values, PERCENTILES)
        return float(low), float(high)
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    low, high = values[order][np.minimum(np.searchsorted(share, np.divide(PERCENTILES, 100)), len(values) - 1)]
    return float(low), float(high)


def _widen(low: float, high: float, floor: float, diverging: bool) -> tuple[float, float]:
    """Limits of (nearly) constant fields, and equal ones for two-signed noise."""
    if diverging and floor and max(-low, high) < floor:
        return -floor, floor
    half = max(floor, 1e-6 * max(abs(low), abs(high)), 1e-30)
    if high - low < 2 * half:
        middle = 0.0 if diverging else 0.5 * (low + high)
        return middle - half, middle + half
    return low, high


def _colors(low: float, high: float, cmap: str, centered: bool) -> np.ndarray:
    import matplotlib

    if cmap not in matplotlib.colormaps:
        raise InputError(f"unknown color map '{cmap}'; use a matplotlib name such as '{SEQUENTIAL}' or '{DIVERGING}'")
    steps = np.linspace(low, high, 256)
    reach = max(abs(low), abs(high))
    places = 0.5 + 0.5 * steps / reach if centered else np.linspace(0.0, 1.0, 256)
    return np.asarray(matplotlib.colormaps[cmap](places))[:, :3]
