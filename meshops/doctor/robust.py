"""Statistics that a few bad cases cannot spoil: middle of the densest half, predictions that leave a case out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CORE = 0.75  # share of the cases whose spread counts as normal
NUGGETS = (1e-6, 1e-4, 1e-2, 0.1, 0.5)
LENGTHS = (0.5, 1.0, 2.0, 5.0)
MOST_COMPONENTS = 12


def center(values: Array) -> Array:
    """Middle of the shortest interval that holds half of the rows, column by column: ``[n, k] -> [k]``."""
    ordered = np.sort(values, axis=0)
    n = len(ordered)
    half = n // 2 + 1
    width = ordered[half - 1 :] - ordered[: n - half + 1]
    first = width.argmin(axis=0)
    columns = np.arange(ordered.shape[1])
    best = width[first, columns]
    # Where several intervals are equally short, the middle one: nothing is preferred.
    ties = width <= best + 1e-12
    ranks = np.arange(len(width))[:, None]
    chosen = np.round((ties * ranks).sum(0) / np.maximum(ties.sum(0), 1)).astype(np.int64)  # no tie: not finite
    chosen = np.where(ties[chosen, columns], chosen, first)
    inside = np.stack([ordered[c : c + half, k] for k, c in enumerate(chosen)], axis=1)
    return np.asarray(np.median(inside, axis=0))


def deviation(values: Array, floor: Array | float, *, core: float = CORE) -> Array:
    """How far each row is from what the others do, in spreads of their core: ``[n, k]``.

    The middle and spread are those of the *other* rows; the spread is the distance within which ``core`` of them lie,
    and at least ``floor``.
    """
    out = np.zeros(values.shape)
    n = len(values)
    for i in range(n):
        others = np.delete(values, i, axis=0)
        out[i] = (values[i] - center(others)) / spread(others, floor, core=core)
    return out


def spread(values: Array, floor: Array | float, *, core: float = CORE) -> Array:
    """Distance from the middle within which ``core`` of the rows lie, at least ``floor``: ``[n, k] -> [k]``."""
    distance = np.sort(np.abs(values - center(values)), axis=0)
    place = min(len(distance) - 1, int(np.ceil(core * len(distance))) - 1)
    return np.asarray(np.maximum(distance[place], floor), dtype=np.float64)


def components(features: Array) -> Array:
    """Standardised features, reduced to the components that hold 99 % of their variance: ``[n, k] -> [n, m]``."""
    kept = features[:, np.ptp(features, axis=0) > 1e-9 * (np.abs(features).max(axis=0) + 1e-300)]
    if kept.shape[1] == 0:
        return np.zeros((len(features), 0))
    scaled = (kept - np.median(kept, axis=0)) / np.maximum(spread(kept, 1e-12), kept.std(axis=0) * 0.3 + 1e-300)
    scaled = np.clip(scaled, -5, 5)
    scaled = scaled - scaled.mean(0)
    left, size, _ = np.linalg.svd(scaled, full_matrices=False)
    share = np.cumsum(size**2) / max(float((size**2).sum()), 1e-300)
    count = min(int(np.searchsorted(share, 0.99)) + 1, MOST_COMPONENTS, max(1, len(features) // 3))
    scores = left[:, :count] * size[:count]
    return np.asarray(scores / max(float(scores[:, 0].std()), 1e-300))


def left_out(features: Array, target: Array) -> tuple[Array, float]:
    """Prediction of each target from the other rows by a Gaussian process, and the noise it found.

    The kernel is a line plus a bell; width and noise are those with the best predictions of left-out rows.

    Args:
        features: ``[n, m]``, about unit size.
        target: ``[n]``.

    Returns:
        ``[n]`` predictions, and the standard deviation of the noise, in the unit of the target.
    """
    scale = float(spread(target[:, None], 0.0)[0]) or float(target.std()) or 1.0
    values = (target - np.median(target)) / scale
    distance = ((features[:, None] - features[None]) ** 2).sum(-1) / max(features.shape[1], 1)
    line = features @ features.T / max(features.shape[1], 1)
    best: tuple[float, Array, float] | None = None
    for length in LENGTHS:
        bell = np.exp(-0.5 * distance / length**2)
        for nugget in NUGGETS:
            kernel = 1.0 + line + bell + (nugget + 1e-8) * np.eye(len(values))
            inverse = np.linalg.inv(kernel)
            error = (inverse @ values) / np.diag(inverse)
            score = float(np.median(np.abs(error)) + 0.2 * np.mean(np.minimum(np.abs(error), 3.0)))
            if best is None or score < best[0]:
                best = (score, error, nugget)
    assert best is not None
    return target - best[1] * scale, float(1.4826 * np.median(np.abs(best[1])) * scale)
