"""Weights of a blend from held-out errors: w >= 0, sum 1 (stacking, Wolpert 1992; constraints of Breiman 1996)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]
SUM = 1e3  # how strongly the sum of the weights is held to 1
WORSE = 1.3  # times the root mean square error of the best: sources that are worse get no weight


def nonnegative_weights(normal: Array, right: Array) -> Array:
    """Weights w >= 0 of sum 1 with the smallest w' N w - 2 w' r."""
    count = len(right)
    size = max(np.trace(normal) / count, 1e-30)
    lower = np.linalg.cholesky(normal + 1e-8 * size * np.eye(count))
    system = np.concatenate([lower.T, SUM * np.sqrt(size) * np.ones((1, count))])
    target = np.concatenate([np.linalg.solve(lower, right), [SUM * np.sqrt(size)]])
    weights, _ = nnls(system, target)
    return np.asarray(weights / weights.sum()) if weights.sum() > 0 else np.full(count, 1 / count)


def even_weights(errors: Array, strength: float = 1.0) -> Array:
    """``[k]`` weights of sources with held-out ``errors [m, k]``, drawn towards equal ones.

    They solve::

        min_w  w' C w + s |w - 1/k|^2,     C = E' E / m,  s = strength * trace(C) / k

    Of a few dozen cases the best weights cannot be told from chance; equal ones of those sources that are nearly as
    good as the best can hardly be wrong.
    """
    size = np.sqrt(np.mean(errors**2, axis=0))
    good = size <= WORSE * size.min() + 1e-300
    kept = errors[:, good]
    count = kept.shape[1]
    square = kept.T @ kept / len(kept)
    pull = strength * max(np.trace(square) / count, 1e-300)
    weights = np.zeros(errors.shape[1])
    weights[good] = nonnegative_weights(square + pull * np.eye(count), np.full(count, pull / count))
    return weights


def nested_blend(found: Array, wanted: Array, folds: Sequence[Sequence[int]]) -> Array:
    """``[m]`` held-out blends: the weights of each fold are those of the other folds' errors."""
    out = np.empty(len(wanted))
    for fold in folds:
        rest = [i for other in folds if other is not fold for i in other]
        weights = even_weights((found - wanted[:, None])[rest]) if rest else np.full(found.shape[1], 1 / found.shape[1])
        out[list(fold)] = found[list(fold)] @ weights
    return out
