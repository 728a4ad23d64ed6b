"""Numbers of a case from its conditions and its shape: the regression that finds held-out ones best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.nn.case_regression import CaseRegression
from meshops.selection.folds import Split

Array = NDArray[np.float64]
TRIED = {"constant": "mean", "nearest": "nearest", "ridge": "linear", "Gaussian process": "gp"}


@dataclass(frozen=True, eq=False)
class Numbers:
    """How numbers are found.

    Attributes:
        names: Of the numbers.
        errors: Mean absolute held-out error of each, by what was tried.
        chosen: What finds each number.
        models: Of all learning cases, one per number.
    """

    names: tuple[str, ...]
    errors: dict[str, dict[str, float]]
    chosen: dict[str, str]
    models: tuple[CaseRegression, ...]


def choose_numbers(
    names: Sequence[str], values: Array, vectors: Array, num_conditions: int, split: Split
) -> Numbers | None:
    """Cross-validate regressions of numbers ``[m, k]`` on case vectors ``[m, v]``; None without numbers.

    Rows stand in the order of ``split.learn``.
    """
    if not names:
        return None
    row = {case: i for i, case in enumerate(split.learn)}
    parts = [([row[i] for i in split.rest(k)], [row[i] for i in fold]) for k, fold in enumerate(split.folds)]
    told = vectors.shape[1] > 0 and bool(np.ptp(vectors, axis=0).any())
    tried = TRIED if told and len(values) >= 4 else {"constant": "mean"}
    errors = {}
    for name, regression in tried.items():
        found = np.zeros_like(values)
        for rest, held in parts:
            model = CaseRegression.fitted(regression, vectors[rest], values[rest], num_conditions=num_conditions)
            found[held] = model(torch.as_tensor(vectors[held])).numpy()
        errors[name] = dict(zip(names, np.abs(found - values).mean(0).tolist(), strict=True))
    chosen = {number: min(errors, key=lambda name: errors[name][number]) for number in names}
    models = tuple(
        CaseRegression.fitted(tried[chosen[number]], vectors, values[:, k : k + 1], num_conditions=num_conditions)
        for k, number in enumerate(names)
    )
    return Numbers(tuple(names), errors, chosen, models)
