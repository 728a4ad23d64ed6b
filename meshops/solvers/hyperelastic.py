"""Stretched rubber with a random void: compressible neo-Hookean solid in plane strain, quadratic finite elements.

Energy per undeformed volume, with ``F = I + grad u``, ``J = det F`` (Bonet and Wood 2008, equation 6.27):

    W = mu / 2 (tr F^T F - 2) - mu ln J + lambda / 2 (ln J)^2

First Piola-Kirchhoff stress ``P = dW/dF = mu (F - F^-T) + lambda ln J F^-T``, Cauchy stress ``sigma = P F^T / J``.
Weak form: the integral of ``P : grad v`` over the undeformed body is 0 for all v that vanish where the displacement is
given. Newton's method with load steps. The unit cell and its void are like those of Geo-FNO's elasticity (Li et al.
2023, section 4.1), which has another material and a traction instead of a displacement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.optional import require
from meshops.solvers.darcy import mesh_graph
from meshops.solvers.unstructured import cell_mesh, random_void

Array = np.ndarray[Any, Any]

ITERATIONS = 12  # Newton's, per load step
SMALLEST_STEP = 1 / 32  # of the load


@dataclass(frozen=True, eq=False)
class Stretched:
    """A body at rest under load.

    Attributes:
        displacement: ``[n, 2]`` at the points, m.
        cauchy: ``[n, 3, 3]`` Cauchy stress at the points, Pa, from displacement gradients averaged by area.
        residuals: Norm of the unbalanced force over that of the reactions after each iteration, per load step.
    """

    displacement: Array
    cauchy: Array
    residuals: tuple[tuple[float, ...], ...]

    @property
    def von_mises(self) -> Array:
        """``[n]`` Pa: root of 3/2 times the squares of the stress without its mean."""
        mean = np.trace(self.cauchy, axis1=1, axis2=2)[:, None, None] / 3
        value: Array = np.sqrt(1.5 * ((self.cauchy - mean * np.eye(3)) ** 2).sum((1, 2)))
        return value


def hyperelastic(
    seed: int = 0, *, num_points: int = 972, stretch: float = 1.15, young: float = 1e6, poisson_ratio: float = 0.4
) -> MeshGraph:
    """Unit cell with a random void, bottom clamped, top pulled up.

    Args:
        seed: Of the mesh and the void.
        num_points: n; 972 as in Geo-FNO's set.
        stretch: Height of the stretched cell over that at rest.
        young: Young's modulus at small strain, Pa.
        poisson_ratio: At small strain.

    Returns:
        Graph of the undeformed mesh with ``y`` = von Mises ``stress`` (Pa) and ``displacement`` (m); no ``x``.

    Raises:
        InputError: Newton's method does not converge, or a number makes no sense.
    """
    generator = torch.Generator().manual_seed(seed)
    points, triangles = cell_mesh(num_points, random_void(generator), generator)
    found = solve_stretch(points, triangles, stretch=stretch, young=young, poisson_ratio=poisson_ratio)
    y = torch.from_numpy(np.column_stack([found.von_mises, found.displacement])).float()
    return mesh_graph(
        points, triangles, y=y, y_names=("stress", "displacement"), y_sizes=(1, 2), y_units=("Pa", "m"),
        name=f"hyperelastic_{seed:04d}",
    )  # fmt: skip


def solve_stretch(
    points: Array, triangles: Array, *, stretch: float, young: float = 1e6, poisson_ratio: float = 0.4,
    clamped: bool = True, load_steps: int = 1, tolerance: float = 1e-9,
) -> Stretched:  # fmt: skip
    """Pull the top (largest y) of a body up while its bottom stays.

    Args:
        points: ``[n, 2]``, m.
        triangles: ``[f, 3]``.
        stretch: Displacement of the top over the height of the body, plus 1.
        young: Pa.
        poisson_ratio: Below 0.5.
        clamped: Whether bottom points keep their x too; otherwise only the leftmost does.
        load_steps: Number of steps; a step that fails is halved.
        tolerance: Of the unbalanced force over the reactions.

    Raises:
        InputError: A number makes no sense, or the smallest load step fails.
    """
    if not (stretch > 0 and young > 0 and -1 < poisson_ratio < 0.5 and load_steps >= 1):
        raise InputError(
            f"stretch and young must be positive, poisson_ratio in (-1, 0.5) and load_steps at least 1, got "
            f"{stretch}, {young}, {poisson_ratio}, {load_steps}"
        )
    body = _Body(points, triangles, 1.0 / (2 * (1 + poisson_ratio)), poisson_ratio, clamped)  # in units of young
    full = (stretch - 1) * np.ptp(points[:, 1])
    u, load, step = np.zeros(body.basis.N), 0.0, 1.0 / load_steps
    residuals = []
    while load < 1 - 1e-12:
        trial = u if load == 0 else u * (load + step) / load  # guess: the body stretches on
        solved, history = body.newton(trial, (load + step) * full, tolerance)
        if solved is not None:
            u, load = solved, load + step
            step = min(step, 1 - load) if load < 1 else step
            residuals.append(history)
        elif step / 2 < SMALLEST_STEP:
            raise InputError(
                f"Newton's method failed at {100 * load:.0f} % of stretch {stretch}, residuals "
                f"{[f'{value:.1e}' for value in history[-3:]]}; use a smaller stretch or more points"
            )
        else:
            step /= 2
    return Stretched(body.at_points(u), young * body.cauchy(u), tuple(residuals))


class _Body:
    """Quadratic elements of one mesh: internal force, tangent and stress, in units of Young's modulus."""

    def __init__(self, points: Array, triangles: Array, mu: float, poisson_ratio: float, clamped: bool) -> None:
        fem = require("skfem", extra="fem", purpose="hyperelastic cases")
        self.fem, self.mu, self.lam = fem, mu, 2 * mu * poisson_ratio / (1 - 2 * poisson_ratio)
        self.mesh = fem.MeshTri(np.ascontiguousarray(points.T), np.ascontiguousarray(triangles.T))
        self.basis = fem.Basis(self.mesh, fem.ElementVector(fem.ElementTriP2()), intorder=4)
        low, high = points[:, 1].min(), points[:, 1].max()
        bottom = self.basis.get_dofs(lambda x: np.isclose(x[1], low))
        self.top = self.basis.get_dofs(lambda x: np.isclose(x[1], high)).all(["u^2"])
        fixed = bottom.all() if clamped else bottom.all(["u^2"])
        corner = np.flatnonzero(points[:, 1] == low)[points[points[:, 1] == low, 0].argmin()]
        self.given = np.unique(np.concatenate([fixed, self.top, self.basis.nodal_dofs[:1, corner]]))
        self.free = np.setdiff1d(np.arange(self.basis.N), self.given)

    def newton(self, u: Array, top: float, tolerance: float) -> tuple[Array | None, tuple[float, ...]]:
        """Displacement with the top at ``top``, or None, and the residual after each iteration.

        The first iteration also carries the boundary to its new place.
        """
        from scipy.sparse.linalg import spsolve

        u = u.copy()
        history: list[float] = []
        target = np.zeros_like(u)
        target[self.top] = top
        force, tangent = self.assemble(u)
        for _ in range(ITERATIONS):
            change = np.zeros_like(u)
            change[self.given] = target[self.given] - u[self.given]
            right = -(force + tangent @ change)[self.free]
            change[self.free] = spsolve(tangent[self.free][:, self.free].tocsc(), right)
            u += change
            if self.smallest_volume(u) <= 0.01:
                return None, tuple(history)
            force, tangent = self.assemble(u)
            scale = np.abs(force[self.given]).sum()
            history.append(float(np.linalg.norm(force[self.free]) / max(scale, 1e-14)))
            if history[-1] < tolerance or not scale:
                return u, tuple(history)
        return None, tuple(history)

    def assemble(self, u: Array) -> tuple[Array, Any]:
        """Internal force ``[dofs]`` (the integral of ``P : grad v``) and its derivative."""
        mu, lam = self.mu, self.lam
        gradient = _deformation(self.basis.interpolate(u).grad)
        inverse, volume = _inverse(gradient)
        turned = np.einsum("ji...->ij...", inverse)  # F^-T
        stress = mu * (gradient - turned) + lam * np.log(volume) * turned
        eye = np.eye(2)
        modulus = (  # dP_ij / dF_kl
            mu * np.einsum("ik,jl->ijkl", eye, eye)[..., None, None]
            + lam * np.einsum("ij...,kl...->ijkl...", turned, turned)
            + (mu - lam * np.log(volume)) * np.einsum("il...,kj...->ijkl...", turned, turned)
        )

        @self.fem.LinearForm  # type: ignore[untyped-decorator]
        def internal(v: Any, _: Any) -> Any:
            return np.einsum("ij...,ij...->...", stress, v.grad)

        @self.fem.BilinearForm  # type: ignore[untyped-decorator]
        def derivative(du: Any, v: Any, _: Any) -> Any:
            return np.einsum("ijkl...,kl...,ij...->...", modulus, du.grad, v.grad, optimize=True)

        return internal.assemble(self.basis), derivative.assemble(self.basis).tocsr()

    def smallest_volume(self, u: Array) -> float:
        """Smallest J of all points of integration."""
        return float(_inverse(_deformation(self.basis.interpolate(u).grad))[1].min())

    def at_points(self, u: Array) -> Array:
        """Displacement ``[n, 2]`` of the points of the mesh."""
        value: Array = u[self.basis.nodal_dofs].T
        return value

    def cauchy(self, u: Array) -> Array:
        """``[n, 3, 3]``: from F at the corners of the triangles, averaged by area."""
        corners = (np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.full(3, 1 / 6))
        basis = self.fem.Basis(self.mesh, self.basis.elem, quadrature=corners)
        gradient = _deformation(basis.interpolate(u).grad)  # [2, 2, f, 3]
        share, nodes = basis.dx.ravel(), self.mesh.t.T.ravel()
        mean = np.zeros((2, 2, self.mesh.p.shape[1]))
        for i, j in np.ndindex(2, 2):
            mean[i, j] = np.bincount(nodes, share * gradient[i, j].ravel()) / np.bincount(nodes, share)
        _, volume = _inverse(mean)
        out = np.zeros((mean.shape[2], 3, 3))
        out[:, :2, :2] = np.moveaxis(self.mu * (np.einsum("ik...,jk...->ij...", mean, mean)), 2, 0)
        out[:, 2, 2] = self.mu
        pressure = self.lam * np.log(volume) - self.mu
        stress: Array = (out + pressure[:, None, None] * np.eye(3)) / volume[:, None, None]
        return stress


def _deformation(gradient: Array) -> Array:
    """``F = I + grad u``; ``[2, 2, ...]``, derivatives along the second axis."""
    return np.asarray(gradient) + np.eye(2).reshape(2, 2, *[1] * (gradient.ndim - 2))


def _inverse(f: Array) -> tuple[Array, Array]:
    """Inverse and determinant of ``[2, 2, ...]``."""
    volume = f[0, 0] * f[1, 1] - f[0, 1] * f[1, 0]
    return np.array([[f[1, 1], -f[0, 1]], [-f[1, 0], f[0, 0]]]) / volume, volume
