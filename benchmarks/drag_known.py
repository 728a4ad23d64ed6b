"""What the drag of the shipped Ahmed bodies can be told from: regressions on the parameters that made the shapes.

    OMP_NUM_THREADS=1 python benchmarks/drag_known.py ../shared/data/ahmed_rans

A surrogate sees a surface; these yardsticks are told the eight numbers it was drawn from (``geo_parameters_<i>.csv``).
Judged are runs 25 to 30 by the 24 others, and all 30 by five folds of three seeds, those of ``benchmarks/trust.py``.
Mean absolute error of the drag coefficient, mean of the last hundred iterations.
"""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = NDArray[np.float64]


def table(path: Path) -> dict[str, float]:
    """First row of a CSV file."""
    head, row = list(csv.reader(path.open()))[:2]
    return {name.strip().lower(): float(value) for name, value in zip(head, row, strict=True)}


def gaussian_process(columns: int) -> Any:
    """A length scale of its own for every parameter."""
    kernel = ConstantKernel(1.0) * RBF(np.full(columns, 3.0), (0.5, 1e3)) + WhiteKernel(0.1, (1e-4, 2.0))
    return GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=1, random_state=0)


YARDSTICKS: dict[str, Callable[[int], Any]] = {
    "nearest shape": lambda columns: KNeighborsRegressor(1),
    "ridge": lambda columns: RidgeCV(np.logspace(-3, 3, 25)),
    "Gaussian process": gaussian_process,
}


def errors(made: Callable[[int], Any] | None, x: Array, y: Array, learn: Sequence[int], held: Sequence[int]) -> Array:
    """Absolute errors on the cases that are held out; None: the mean of the others."""
    if made is None:
        return np.abs(y[held] - y[learn].mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # length scales at their bounds
        model = make_pipeline(StandardScaler(), made(x.shape[1])).fit(x[learn], y[learn])
    return np.abs(model.predict(x[held]) - y[held])


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("root", type=Path)
    root = options.parse_args().root
    runs = range(1, 31)
    x = np.array([list(table(root / f"run_{i}" / f"geo_parameters_{i}.csv").values()) for i in runs])
    y = np.array([table(root / f"run_{i}" / f"force_mom_{i}.csv")["cd"] for i in runs])
    sys.stdout.write(
        "| told the parameters | runs 25 to 30 | 30 runs, five folds, three seeds |\n| --- | --- | --- |\n"
    )
    for name, made in {"constant": None, **YARDSTICKS}.items():
        fixed = errors(made, x, y, list(range(24)), list(range(24, 30))).mean()
        rows = []
        for seed in range(3):
            for fold in np.array_split(np.random.default_rng(seed).permutation(30), 5):
                held = sorted(map(int, fold))
                rows.append(errors(made, x, y, [i for i in range(30) if i not in held], held))
        sys.stdout.write(f"| {name} | {fixed:.4f} | {np.concatenate(rows).mean():.4f} |\n")


if __name__ == "__main__":
    main()
