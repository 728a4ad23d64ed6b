"""A parametric study on one mesh: `meshops fit` beside what a scikit-learn user would write.

    meshops generate front --cases 100 --seed 0 --out data/front
    python benchmarks/one_mesh.py data/front --cases 10 20 80 --minutes 3

The user's way: principal components, their number and the regression (Gaussian process or radial basis functions) by
five-fold cross-validation on the learning cases; the best of each is tested on twenty cases, always the same.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from scipy.interpolate import RBFInterpolator
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from meshops.datasets import CaseDataset
from meshops.datasets import open as open_folder
from meshops.datasets.subset import CaseSubset
from meshops.selection import FitConfig, fit

TESTED = 20
RANKS = (2, 3, 5, 8, 12, 20, 40, 60)


def main(argv: list[str] | None = None) -> dict[int, dict[str, float]]:
    """Print a table; return the mean errors by number of cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--cases", type=int, nargs="+", default=[10, 20, 80])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", action="store_true", help="let networks compete")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    data = open_folder(args.folder)
    assert isinstance(data, CaseDataset)
    order = np.random.default_rng(args.seed).permutation(len(data))
    test = [int(i) for i in order[:TESTED]]
    out = {}
    for count in args.cases:
        learn = [int(i) for i in order[TESTED : TESTED + count]]
        out[count] = scikit(data, learn, test) | ours(data, learn, test, args)
        print(f"{count} cases: " + ", ".join(f"{name} {error:.4f}" for name, error in out[count].items()), flush=True)
    return out


def ours(data: CaseDataset, learn: list[int], test: list[int], args: argparse.Namespace) -> dict[str, float]:
    """A fit of learning and test cases, the test cases named as the outer split."""
    names = tuple(data.cases[i] for i in test)
    networks = None if args.networks else ()
    with TemporaryDirectory() as folder:
        config = FitConfig(minutes=args.minutes, out=str(Path(folder) / "fit"), test=names, networks=networks)
        start = time.perf_counter()
        result = fit(CaseSubset(data, [*learn, *test]), config, console=Console(stderr=True, markup=False))
    error = float(np.mean([float(result.report.mean[key] or 0.0) for key in result.report.columns]))
    return {f"meshops fit ({', '.join(result.found.blend)}, {time.perf_counter() - start:.0f} s)": error}


def scikit(data: CaseDataset, learn: list[int], test: list[int]) -> dict[str, float]:
    """Errors on the test cases of the best components with each regression."""
    fields = [data[i].y.double().numpy() for i in range(len(data))]
    slices = list(data[0].field_slices().values())
    z = np.array([list(data.conditions_of(i).values()) for i in range(len(data))])
    out = {}
    for name, predict in {"components + GP": gaussian, "components + RBF": radial}.items():
        folds = list(KFold(5, shuffle=True, random_state=0).split(learn))
        scores = {}
        for rank in RANKS:
            if rank >= len(learn) * 4 // 5:
                continue
            errors = []
            for rest, held in folds:
                train, ask = [learn[i] for i in rest], [learn[i] for i in held]
                errors += relative(predict(z, fields, slices, train, ask, rank), fields, slices, ask)
            scores[rank] = float(np.mean(errors))
        rank = min(scores, key=lambda r: scores[r])
        found = predict(z, fields, slices, learn, test, rank)
        out[f"{rank} {name}"] = float(np.mean(relative(found, fields, slices, test)))
    return out


def gaussian(z, fields, slices, train, ask, rank):
    """Components of all fields together, each coefficient a Gaussian process with the better of two kernels."""

    def regress(inputs, values, asked):
        columns = []
        for column in values.T:
            made = [
                GaussianProcessRegressor(ConstantKernel() * kernel + WhiteKernel(1e-4, (1e-9, 1.0)), normalize_y=True,
                                         n_restarts_optimizer=1, random_state=0).fit(inputs, column)
                for kernel in (RBF([1.0] * inputs.shape[1]), Matern([1.0] * inputs.shape[1], nu=2.5))
            ]  # fmt: skip
            columns.append(max(made, key=lambda m: m.log_marginal_likelihood_value_).predict(asked))
        return np.stack(columns, 1)

    return reduced(regress, z, fields, slices, train, ask, rank)


def radial(z, fields, slices, train, ask, rank):
    """The same with thin-plate splines."""
    return reduced(lambda x, y, a: RBFInterpolator(x, y)(a), z, fields, slices, train, ask, rank)


def reduced(regress, z, fields, slices, train, ask, rank):
    """Scale each field, decompose, regress, and back."""
    scale = np.concatenate([np.full(s.stop - s.start, np.std([fields[i][:, s] for i in train])) for s in slices])
    rows = np.stack([(fields[i] / scale).ravel() for i in train])
    pca, scaler = PCA(rank).fit(rows), StandardScaler().fit(z[train])
    found = regress(scaler.transform(z[train]), pca.transform(rows), scaler.transform(z[ask]))
    return [row.reshape(fields[0].shape) * scale for row in pca.inverse_transform(found)]


def relative(found, fields, slices, cases):
    """Mean over the fields of the relative L2 error, for each case."""
    return [
        np.mean([np.linalg.norm((f - fields[i])[:, s]) / np.linalg.norm(fields[i][:, s]) for s in slices])
        for f, i in zip(found, cases, strict=True)
    ]


if __name__ == "__main__":
    main()
