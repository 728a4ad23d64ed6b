"""Numbers of a whole case from its conditions and its shape: the regressions of few cases, as a module.

With z = P (v - m), the case vector v shifted and turned (:func:`projection`), and training cases z_i:

    mean      c(z) = c0
    nearest   c(z) = c_i,  i the nearest training case
    linear    c(z) = c0 + W z                                                     (ridge, strength by leave-one-out)
    gp        c_k(z) = c0_k + sum_i a_ik kappa(|| (z - z_i) / l_k ||)             (Matern 5/2, Rasmussen 2006 eq. 4.17)
    gp_even   the same with one length scale l_k for all numbers: many of them, few cases
    rbf       c(z) = c0 + W z + sum_i a_i phi(|| z - z_i ||),  phi(r) = r or r^3 or r^2 log r     (Fasshauer 2007)

Everything is held in float64: dual weights of close cases cancel.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meshops.errors import InputError, listing

Array = NDArray[np.float64]
KERNELS = ("linear", "cubic", "thin_plate_spline")
REGRESSIONS = ("mean", "nearest", "linear", "gp", "gp_even", *(f"rbf_{kernel}" for kernel in KERNELS))
OPTIMISED = 24  # outputs whose length scales are sought; later ones (small components) take those of the last
STRENGTHS = np.logspace(-6, 3, 28)
FEW, LEAST = 3, 0.3  # with fewer cases than so many per number, weaker ridges than this cannot be told from chance


class CaseRegression(nn.Module):
    """``[b, inputs] -> [b, outputs]``; :meth:`fitted` makes one of training cases.

    Args:
        regression: One of :data:`REGRESSIONS`.
        cases: m, training cases.
        inputs: Numbers of a case vector.
        projected: q, numbers it is projected to.
        outputs: k.

    Raises:
        InputError: No such regression.
    """

    shift: Tensor
    projection: Tensor
    offset: Tensor
    slope: Tensor
    cases: Tensor
    dual: Tensor
    length: Tensor

    def __init__(self, regression: str, *, cases: int, inputs: int, projected: int, outputs: int) -> None:
        super().__init__()
        if regression not in REGRESSIONS:
            raise InputError(f"regression must be one of {listing(REGRESSIONS)}, got '{regression}'")
        self.regression = regression
        stored = 0 if regression in ("mean", "linear") else cases
        sizes = {
            "shift": (inputs,), "projection": (inputs, projected), "offset": (outputs,), "slope": (projected, outputs),
            "cases": (stored, projected), "dual": (stored, outputs), "length": (outputs, projected),
        }  # fmt: skip
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    @classmethod
    def fitted(cls, regression: str, vectors: Array, values: Array, *, num_conditions: int = 0) -> CaseRegression:
        """Regression of ``values [m, k]`` on ``vectors [m, inputs]``, the conditions first.

        Args:
            regression: Kind.
            vectors: Of the training cases.
            values: What is to be found.
            num_conditions: Leading numbers of a vector that count as they are; the others describe the shape.
        """
        shift, turn = projection(vectors, num_conditions)
        z = (vectors - shift) @ turn
        out = cls(regression, cases=len(z), inputs=vectors.shape[1], projected=z.shape[1], outputs=values.shape[1])
        found: dict[str, Array] = {"shift": shift, "projection": turn, "offset": values.mean(0)}
        if regression == "nearest":
            found |= {"cases": z, "dual": values}
        elif regression == "linear":
            found["slope"] = ridge(z, values - values.mean(0))
        elif regression.startswith("gp"):
            length, dual = gaussian_process(z, values - values.mean(0), even=regression == "gp_even")
            found |= {"cases": z, "dual": dual, "length": length}
        elif regression.startswith("rbf_"):
            found |= radial_basis(z, values, regression.removeprefix("rbf_"))
        for name, array in found.items():
            getattr(out, name).copy_(torch.as_tensor(array, dtype=torch.float64))
        return out

    def arguments(self) -> dict[str, Any]:
        """What the constructor takes to make one of the same sizes."""
        inputs, projected = self.projection.shape
        return {"regression": self.regression, "cases": len(self.cases), "inputs": inputs, "projected": projected,
                "outputs": len(self.offset)}  # fmt: skip

    def forward(self, vectors: Tensor) -> Tensor:
        """Numbers ``[b, outputs]`` (float64) of case vectors ``[b, inputs]``."""
        z = (vectors.double() - self.shift) @ self.projection
        if self.regression == "nearest":
            return self.dual[torch.cdist(z, self.cases).argmin(1)]
        out = self.offset + z @ self.slope
        if self.regression.startswith("gp"):
            out = out + self._gaussian(z)
        elif self.regression.startswith("rbf_"):
            out = out + radial(torch.cdist(z, self.cases), self.regression.removeprefix("rbf_")) @ self.dual
        return out

    def _gaussian(self, z: Tensor) -> Tensor:
        scaled = (z.unsqueeze(1) - self.cases).unsqueeze(2) / self.length  # [b, m, k, q]
        return (matern(scaled.square().sum(-1).clamp(min=0).sqrt()) * self.dual).sum(1)


def matern(distance: Tensor) -> Tensor:
    """Matern 5/2 kernel of unit variance."""
    r = math.sqrt(5.0) * distance
    return (1 + r + r.square() / 3) * torch.exp(-r)


def radial(distance: Tensor, kernel: str) -> Tensor:
    """Conditionally positive kernel of a distance, with the signs of SciPy's ``RBFInterpolator``."""
    if kernel == "linear":
        return -distance
    if kernel == "cubic":
        return distance**3
    return torch.where(distance > 0, distance.square() * distance.clamp(min=1e-300).log(), 0.0)


def projection(vectors: Array, num_conditions: int) -> tuple[Array, Array]:
    """Shift ``[inputs]`` and map ``[inputs, q]`` of case vectors.

    Conditions get unit variance. Numbers of the shape are standardised and replaced by their principal components, at
    most a third as many as there are cases, scaled so that the first has unit variance; what does not vary is left out.
    """
    shift, std = vectors.mean(0), vectors.std(0)
    varies = std > 1e-6 * np.maximum(np.abs(shift), 1e-3)
    scale = np.where(varies, 1 / np.where(varies, std, 1.0), 0.0)
    told = np.flatnonzero(varies[:num_conditions])
    columns = [np.eye(len(shift))[:, told] * scale[:, None]]
    shapes = ((vectors - shift) * scale)[:, num_conditions:]
    if shapes.shape[1] and shapes.any():
        _, strength, axes = np.linalg.svd(shapes, full_matrices=False)
        share = np.cumsum(strength**2) / np.sum(strength**2)
        kept = min(int(np.searchsorted(share, 0.99) + 1), max(1, len(vectors) // 3))
        turned = np.zeros((len(shift), kept))
        turned[num_conditions:] = axes[:kept].T * np.sqrt(len(vectors)) / strength[0]
        columns.append(turned * scale[:, None])
    return shift, np.concatenate(columns, 1)


def ridge(z: Array, values: Array) -> Array:
    """Slopes ``[q, k]`` of centred values, one strength per output by leave-one-out."""
    if not z.shape[1]:
        return np.zeros((0, values.shape[1]))
    from sklearn.linear_model import RidgeCV

    strengths = STRENGTHS if len(z) >= FEW * z.shape[1] else STRENGTHS[STRENGTHS >= LEAST]
    model = RidgeCV(alphas=strengths, fit_intercept=False, alpha_per_target=values.shape[1] > 1)
    return np.asarray(model.fit(z, values).coef_).reshape(values.shape[1], z.shape[1]).T


def gaussian_process(z: Array, values: Array, *, even: bool = False) -> tuple[Array, Array]:
    """Length scales ``[k, q]`` and dual weights ``[m, k]`` of centred values, each output by its own likelihood."""
    length, dual = np.ones((values.shape[1], z.shape[1])), np.zeros(values.shape)
    if not z.shape[1]:
        return length, dual
    last: Any = None
    for k, column in enumerate(values.T):
        size = column.std()
        if not size > 0:
            continue
        if k < OPTIMISED or last is None:
            last = _likeliest(z, column / size, even=even)
        amplitude, length[k], noise = last
        gram = amplitude * matern(_distances(z / length[k])).numpy()
        gram[np.diag_indices(len(z))] += noise + 1e-10
        dual[:, k] = amplitude * size * np.linalg.solve(gram, column / size)
    return length, dual


def _likeliest(z: Array, column: Array, *, even: bool) -> tuple[float, Array, float]:
    """Amplitude, length scales and noise of largest marginal likelihood for a column of unit variance."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    lengths = np.full(1 if even else z.shape[1], 2.0)
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(lengths, (0.1, 1e2), nu=2.5) + WhiteKernel(1e-3, (1e-8, 2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = GaussianProcessRegressor(kernel, alpha=1e-10, n_restarts_optimizer=0).fit(z, column).kernel_
    return found.k1.k1.constant_value, np.broadcast_to(found.k1.k2.length_scale, z.shape[1:]), found.k2.noise_level


def radial_basis(z: Array, values: Array, kernel: str) -> dict[str, Array]:
    """Interpolation with a linear tail: the system of Fasshauer (2007, eq. 6.3); repeated cases share their mean."""
    places, group = np.unique(z.round(12), axis=0, return_inverse=True)
    count = np.bincount(group.ravel(), minlength=len(places))
    merged = np.stack([np.bincount(group.ravel(), weights=column) for column in values.T], 1) / count[:, None]
    tail = np.concatenate([np.ones((len(places), 1)), places], 1)
    if len(places) <= tail.shape[1]:
        tail = tail[:, :1]
    width = tail.shape[1]
    gram = radial(_distances(places), kernel).numpy()
    system = np.block([[gram, tail], [tail.T, np.zeros((width, width))]])
    solved = np.linalg.lstsq(system, np.concatenate([merged, np.zeros((width, values.shape[1]))]), rcond=1e-13)[0]
    cases, dual = np.zeros_like(z), np.zeros_like(values)
    cases[: len(places)], dual[: len(places)] = places, solved[: len(places)]
    slope = np.zeros((z.shape[1], values.shape[1]))
    slope[: width - 1] = solved[len(places) + 1 :]
    return {"cases": cases, "dual": dual, "offset": solved[len(places)], "slope": slope}


def _distances(points: Array) -> Tensor:
    rows = torch.as_tensor(points)
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
