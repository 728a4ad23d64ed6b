"""Elastic plate with a hole of random shape, pulled at one end: plane stress, quadratic finite elements.

    div sigma = 0,   sigma = E / (1 - nu^2) ((1 - nu) eps + nu tr(eps) I),   eps = (grad u + grad u^T) / 2

The left end slides along y (its x is held), the right end is pulled evenly along x; the hole and the long sides are
free. Stresses at the points are those of the triangles' corners, averaged by area.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from meshops.errors import InputError
from meshops.optional import require
from meshops.solvers.unstructured import random_void, region_mesh

Array = np.ndarray[Any, Any]

LENGTH, THICKNESS = 0.3, 0.01  # of the plate, m
YOUNG, POISSON_RATIO, DENSITY = 210e9, 0.3, 7850.0  # steel: Pa, 1, kg/m^3
SAMPLES = 2000  # points of the curve of a hole


@dataclass(frozen=True, eq=False)
class Plate:
    """A plate under load.

    Attributes:
        points: ``[n, 2]`` at rest, m.
        triangles: ``[f, 3]`` counter-clockwise.
        displacement: ``[n, 2]``, m.
        stress: ``[n, 3]`` along x, along y, shear, Pa.
        load: Force on the right end, N.
        mass: kg.
    """

    points: Array
    triangles: Array
    displacement: Array
    stress: Array
    load: float
    mass: float

    @property
    def von_mises(self) -> Array:
        """``[n]`` Pa."""
        x, y, shear = self.stress.T
        value: Array = np.sqrt(x**2 - x * y + y**2 + 3 * shear**2)
        return value


def plate(seed: int = 0, *, num_points: int = 1200) -> Plate:
    """Plate of random width with a random hole at a random place, under a random load.

    Args:
        seed: Of mesh, hole, width (80 to 140 mm) and load (20 to 120 kN).
        num_points: n.
    """
    generator = torch.Generator().manual_seed(seed)
    width, along, across, size, part = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    width = 0.08 + 0.06 * width
    void = random_void(generator, low=0.5, high=1.0)
    scale = width * (0.18 + 0.12 * size)
    middle = np.array([LENGTH * (0.35 + 0.3 * along), width * (0.44 + 0.12 * across)])
    turn = np.linspace(0, 2 * np.pi, SAMPLES, endpoint=False)
    hole = middle + scale * void(turn)[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    corners = np.array([[0.0, 0.0], [LENGTH, 0.0], [LENGTH, width], [0.0, width]])

    def edges(at: Array) -> Array:
        relative: Array = np.minimum(1 + 2.5 * np.maximum(np.hypot(*(at - middle).T) / scale - 1, 0), 4.0)
        return relative

    points, triangles = region_mesh(corners, [hole], num_points, generator, size=edges)
    load = round(1e3 * (20 + 100 * part), 0)
    return solve_plate(points, triangles, load=load)


def solve_plate(
    points: Array, triangles: Array, *, load: float, thickness: float = THICKNESS, young: float = YOUNG,
    poisson_ratio: float = POISSON_RATIO, density: float = DENSITY,
) -> Plate:  # fmt: skip
    """Pull a plate by its right end (largest x) while the left end keeps its x.

    Args:
        points: ``[n, 2]``, m.
        triangles: ``[f, 3]`` counter-clockwise.
        load: Force along x, N.
        thickness: m.
        young: Pa.
        poisson_ratio: Below 0.5.
        density: kg/m^3.

    Raises:
        InputError: A number makes no sense.
    """
    from scipy.sparse.linalg import spsolve

    if not (young > 0 and thickness > 0 and density > 0 and -1 < poisson_ratio < 0.5 and np.isfinite(load)):
        raise InputError(
            f"young, thickness and density must be positive and poisson_ratio in (-1, 0.5), got {young}, {thickness}, "
            f"{density}, {poisson_ratio}"
        )
    fem = require("skfem", extra="fem", purpose="plates")
    mesh = fem.MeshTri(np.ascontiguousarray(points.T), np.ascontiguousarray(triangles.T))
    element = fem.ElementVector(fem.ElementTriP2())
    basis = fem.Basis(mesh, element, intorder=4)
    law = _stiffness(poisson_ratio)

    @fem.BilinearForm  # type: ignore[untyped-decorator]
    def work(u: Any, v: Any, _: Any) -> Any:
        return np.einsum("ab,b...,a...->...", law, _strain(u.grad), _strain(v.grad))

    right = mesh.facets_satisfying(lambda x: np.isclose(x[0], points[:, 0].max()))
    end = fem.FacetBasis(mesh, element, facets=right, intorder=4)

    @fem.LinearForm  # type: ignore[untyped-decorator]
    def pull(v: Any, _: Any) -> Any:
        return v[0]

    traction = load / (np.ptp(points[points[:, 0] == points[:, 0].max(), 1]) * thickness * young)
    left = basis.get_dofs(lambda x: np.isclose(x[0], points[:, 0].min())).all(["u^1"])
    corner = np.lexsort((points[:, 1], points[:, 0]))[0]
    free = np.setdiff1d(np.arange(basis.N), np.r_[left, basis.nodal_dofs[1, corner]])
    u = np.zeros(basis.N)
    u[free] = spsolve(work.assemble(basis)[free][:, free].tocsc(), traction * pull.assemble(end)[free])
    corners = (np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.full(3, 1 / 6))
    at_corners = fem.Basis(mesh, element, quadrature=corners)
    stress = young * np.einsum("ab,bfk->afk", law, _strain(at_corners.interpolate(u).grad))
    share, nodes = at_corners.dx.ravel(), mesh.t.T.ravel()
    mean = np.stack([np.bincount(nodes, share * part.ravel()) / np.bincount(nodes, share) for part in stress], 1)
    mass = float(density * thickness * basis.dx.sum())
    return Plate(points, triangles, u[basis.nodal_dofs].T, mean, load, mass)


def _stiffness(ratio: float) -> Array:
    """``[3, 3]`` stress of strain (along x, along y, twice the shear) in plane stress, for Young's modulus 1."""
    return np.array([[1, ratio, 0], [ratio, 1, 0], [0, 0, (1 - ratio) / 2]]) / (1 - ratio**2)


def _strain(gradient: Any) -> Array:
    return np.stack([gradient[0, 0], gradient[1, 1], gradient[0, 1] + gradient[1, 0]])
