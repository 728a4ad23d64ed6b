"""Weights of a blend from held-out predictions: least squares with weights that are not negative (Breiman 1996)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.selection.scores import Sheet, Truth, score
from meshops.trust.stacking import nonnegative_weights

Array = NDArray[np.float64]


def blend_weights(sheets: Sequence[Sheet], truth: Truth, cases: Sequence[int]) -> Array:
    """``[members, fields]`` weights that make the mean squared relative error of the given cases smallest."""
    out = np.zeros((len(sheets), len(truth.channels)))
    for k, channels in enumerate(truth.channels.values()):
        normal, right = np.zeros((len(sheets), len(sheets))), np.zeros(len(sheets))
        for case in cases:
            factor = truth.weights(case)[channels].double().sqrt()
            rows = torch.stack([(sheet[case][:, channels].double() * factor).flatten() for sheet in sheets], 1)
            wanted = (truth.values[case][:, channels].double() * factor).flatten()
            normal += (rows.T @ rows).numpy() / len(cases)
            right += (rows.T @ wanted).numpy() / len(cases)
        out[:, k] = nonnegative_weights(normal, right)
    return out


def blended(sheets: Sequence[Sheet], weights: Array, truth: Truth, case: int) -> torch.Tensor:
    """``[s, c]`` weighted predictions of a case."""
    out = torch.zeros_like(truth.values[case])
    for k, channels in enumerate(truth.channels.values()):
        for sheet, weight in zip(sheets, weights[:, k], strict=True):
            out[:, channels] += float(weight) * sheet[case][:, channels]
    return out


def apart(sheets: Sequence[Sheet], weights: Array, truth: Truth, case: int) -> torch.Tensor:
    """``[s, c]`` weighted standard deviation of what the sheets say of a case."""
    out = torch.zeros_like(truth.values[case])
    for k, channels in enumerate(truth.channels.values()):
        share = torch.as_tensor(weights[:, k], dtype=out.dtype)
        rows = torch.stack([sheet[case][:, channels] for sheet in sheets], -1)
        mean = (rows * share).sum(-1, keepdim=True)
        out[:, channels] = ((rows.square() * share).sum(-1) - mean[..., 0].square()).clamp(min=0).sqrt()
    return out


def nested(sheets: Sequence[Sheet], truth: Truth, folds: Sequence[Sequence[int]]) -> Sheet:
    """Blends of each case by weights that its own fold had no part in: what choosing weights really brings."""
    out: Sheet = [torch.empty(0)] * len(truth.values)
    for fold in folds:
        rest = [case for other in folds for case in other if other is not fold]
        weights = blend_weights(sheets, truth, rest)
        for case in fold:
            out[case] = blended(sheets, weights, truth, case)
    return out


def best(candidates: Mapping[str, Sheet], truth: Truth) -> list[tuple[str, float]]:
    """Names and scores, best first; equal ones in the order they came."""
    scores = [(name, score(truth.table(sheet))) for name, sheet in candidates.items()]
    return sorted(scores, key=lambda item: (not np.isfinite(item[1]), item[1]))
