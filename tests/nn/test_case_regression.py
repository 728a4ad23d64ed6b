"""Regressions of cases against scikit-learn and SciPy, and what must hold for each."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from meshops.errors import InputError
from meshops.nn.case_regression import KERNELS, REGRESSIONS, CaseRegression

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(20, 2)) @ np.diag([3.0, 0.2]) + [5.0, -1.0]
ASKED = RNG.normal(size=(7, 2)) @ np.diag([3.0, 0.2]) + [5.0, -1.0]


def smooth(z: np.ndarray) -> np.ndarray:
    u = (z - [5.0, -1.0]) / [3.0, 0.2]
    return np.stack([np.sin(u[:, 0]) + u[:, 1], u[:, 0] * u[:, 1], 3 + 2 * u[:, 0] - u[:, 1]], 1)


def scaled(z: np.ndarray) -> np.ndarray:
    return (z - Z.mean(0)) / Z.std(0)


def ask(model: CaseRegression, z: np.ndarray) -> np.ndarray:
    return model(torch.as_tensor(z)).numpy()


@pytest.mark.parametrize("kernel", KERNELS)
def test_radial_basis_functions_are_those_of_scipy(kernel: str) -> None:
    model = CaseRegression.fitted(f"rbf_{kernel}", Z, smooth(Z), num_conditions=2)
    other = RBFInterpolator(scaled(Z), smooth(Z), kernel=kernel, degree=1)
    np.testing.assert_allclose(ask(model, ASKED), other(scaled(ASKED)), atol=1e-7)
    np.testing.assert_allclose(ask(model, Z), smooth(Z), atol=1e-8)


def test_the_gaussian_process_is_that_of_scikit_learn() -> None:
    values = smooth(Z)
    model = CaseRegression.fitted("gp", Z, values, num_conditions=2)
    for k in range(2):
        mean, size = values[:, k].mean(), values[:, k].std()
        kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern([2.0, 2.0], (0.1, 1e2), nu=2.5) + WhiteKernel(
            1e-3, (1e-8, 2.0)
        )
        other = GaussianProcessRegressor(kernel, alpha=1e-10).fit(scaled(Z), (values[:, k] - mean) / size)
        # An amplitude of 1,000 over a noise of 1e-8 makes a condition of 1e11, which leaves some five digits.
        np.testing.assert_allclose(ask(model, ASKED)[:, k], mean + size * other.predict(scaled(ASKED)), atol=1e-5)


def test_a_linear_law_is_found_by_the_linear_regression() -> None:
    model = CaseRegression.fitted("linear", Z, smooth(Z), num_conditions=2)
    np.testing.assert_allclose(ask(model, ASKED)[:, 2], smooth(ASKED)[:, 2], atol=1e-3)


def test_the_nearest_case_is_given_back() -> None:
    model = CaseRegression.fitted("nearest", Z, smooth(Z), num_conditions=2)
    nearest = np.linalg.norm(scaled(ASKED)[:, None] - scaled(Z)[None], axis=2).argmin(1)
    np.testing.assert_allclose(ask(model, ASKED), smooth(Z)[nearest], atol=1e-12)


@pytest.mark.parametrize("regression", REGRESSIONS)
def test_units_of_the_conditions_do_not_matter(regression: str) -> None:
    factor = np.array([1e-3, 1e4])
    first = CaseRegression.fitted(regression, Z, smooth(Z), num_conditions=2)
    second = CaseRegression.fitted(regression, Z * factor, smooth(Z), num_conditions=2)
    np.testing.assert_allclose(ask(first, ASKED), ask(second, ASKED * factor), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("regression", REGRESSIONS)
def test_repeated_cases_and_a_constant_column_do_no_harm(regression: str) -> None:
    z = np.concatenate([np.repeat(Z[:10], 2, 0), np.full((20, 1), 7.0)], 1)
    values = np.repeat(smooth(Z[:10]), 2, 0)
    model = CaseRegression.fitted(regression, z, values, num_conditions=3)
    found = ask(model, z)
    assert np.isfinite(found).all()
    if regression.startswith("rbf"):
        np.testing.assert_allclose(found, values, atol=1e-6)


@pytest.mark.parametrize("regression", REGRESSIONS)
def test_a_checkpoint_holds_all_of_it(regression: str) -> None:
    model = CaseRegression.fitted(regression, Z, smooth(Z), num_conditions=1)
    other = CaseRegression(**model.arguments())
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(ask(other, ASKED), ask(model, ASKED))


@pytest.mark.parametrize("regression", REGRESSIONS)
def test_two_cases_and_no_condition_at_all(regression: str) -> None:
    two = CaseRegression.fitted(regression, Z[:2], smooth(Z[:2]), num_conditions=2)
    assert np.isfinite(ask(two, ASKED)).all()
    none = CaseRegression.fitted(regression, Z[:, :0], smooth(Z))
    wanted = smooth(Z)[0] if regression == "nearest" else smooth(Z).mean(0)
    np.testing.assert_allclose(ask(none, ASKED[:, :0]), np.tile(wanted, (7, 1)), atol=1e-9)


def test_shapes_are_told_by_few_components() -> None:
    latent = RNG.normal(size=(20, 2))
    vectors = latent @ RNG.normal(size=(2, 30)) + 1e-9 * RNG.normal(size=(20, 30))
    model = CaseRegression.fitted("gp", vectors, latent[:, :1] ** 2)
    assert model.projection.shape == (30, 2)


def test_an_unknown_regression_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"regression must be one of 'mean', 'nearest'.*got 'spline'"):
        CaseRegression("spline", cases=1, inputs=1, projected=1, outputs=1)
