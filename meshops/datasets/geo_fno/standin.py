"""Stand-ins of the Geo-FNO benchmarks: files of the published names, axes and types, from cheap computations.

Darcy (finite volumes) and Elasticity (finite elements) solve their equations; Airfoil and Pipe are closed-form flows;
Plasticity is layout only. None reproduces the published numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from meshops.errors import InputError
from meshops.io import replacing
from meshops.optional import require
from meshops.solvers.joukowski import random_joukowski

Array = np.ndarray[Any, Any]

COEFFICIENTS = (12.0, 3.0)
CELL_POINTS = 972
HOLE_POINTS = 42
SIDE_POINTS = 24
PLASTICITY = (101, 31, 20, 4)
AIRFOIL = (221, 51)
PIPE = (129, 129)
AIRFOIL_MACH = 0.6


def write_darcy(root: Path, num: int, points: int) -> Path:
    """Both .mat files; the last quarter of the samples, at least one, in the second. Returns ``root``."""
    _check(num, least=2)
    if points < 5:
        raise InputError(f"Darcy.standin: points must be at least 5, got {points}")
    test = max(1, num // 4)
    for file, seeds in (("smooth1", range(num - test)), ("smooth2", range(num - test, num))):
        coefficients = [darcy_coefficient(seed, points) for seed in seeds]
        arrays = {"coeff": np.stack(coefficients), "sol": np.stack([solve_darcy(c) for c in coefficients])}
        _save_mat(root / f"piececonst_r421_N1024_{file}.mat", arrays)
    return root


def darcy_coefficient(seed: int, points: int) -> Array:
    """``[points, points]``: 12 where a Gaussian random field of covariance (-lap + 9)^-2 is positive, else 3."""
    import scipy.fft

    wave = np.pi * np.arange(points)
    spectrum = 1 / (wave[:, None] ** 2 + wave**2 + 9)
    spectrum[0, 0] = 0
    # The same waves at every resolution.
    noise = np.zeros((points, points))
    most = min(points, 40)
    noise[:most, :most] = np.random.default_rng(seed).standard_normal((40, 40))[:most, :most]
    field = scipy.fft.idctn(noise * spectrum)
    return np.where(field >= 0, *COEFFICIENTS)


def solve_darcy(coefficient: Array) -> Array:
    """Solution ``[n, n]`` of -div(a grad u) = 1 in the unit square, 0 on its sides: finite volumes around the points.

    Args:
        coefficient: a ``[n, n]`` at the points, the sides included; between two points its harmonic mean counts.
    """
    import scipy.sparse
    import scipy.sparse.linalg

    n = len(coefficient)
    index = np.arange(n * n).reshape(n, n)
    weights, pairs = [], []
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        a, b = coefficient[first], coefficient[second]
        weights.append((2 * a * b / (a + b)).ravel())
        pairs.append(np.stack([index[first].ravel(), index[second].ravel()]))
    weight, pair = np.concatenate(weights), np.concatenate(pairs, 1)
    links = scipy.sparse.coo_matrix((weight, pair), shape=(n * n, n * n)).tocsr()
    links = links + links.T
    matrix = scipy.sparse.diags(np.asarray(links.sum(1)).ravel()) - links
    inside = index[1:-1, 1:-1].ravel()
    load = np.full(len(inside), 1 / (n - 1) ** 2)
    solution = np.zeros(n * n)
    solution[inside] = scipy.sparse.linalg.spsolve(matrix[inside][:, inside].tocsc(), load)
    return solution.reshape(n, n)


def write_elasticity(root: Path, num: int) -> Path:
    """``elasticity/Meshes/Random_UnitCell_{XY,sigma,rr}_10.npy``; returns ``root``."""
    _check(num)
    cells = [unit_cell(seed) for seed in range(num)]
    arrays = {
        "XY": np.stack([points for points, _, _ in cells], -1),
        "sigma": np.stack([von_mises_stress(points, triangles) for points, triangles, _ in cells], -1),
        "rr": np.stack([radii for _, _, radii in cells], -1),
    }
    for name, values in arrays.items():
        _save_npy(root / "elasticity" / "Meshes" / f"Random_UnitCell_{name}_10.npy", values)
    return root


def unit_cell(seed: int) -> tuple[Array, Array, Array]:
    """Unit square with a hole: 972 points ``[n, 2]``, triangles ``[f, 3]`` and 42 radii of the hole."""
    from scipy.spatial import Delaunay

    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(HOLE_POINTS) / HOLE_POINTS
    waves = [(k, *rng.normal(0, 0.08 / k, 2)) for k in (1, 2, 3, 4)]

    def radius(phi: Array) -> Array:
        shape = sum(a * np.cos(k * phi) + b * np.sin(k * phi) for k, a, b in waves)
        out: Array = 0.3 + 0.1 * np.tanh(3 * np.asarray(shape))
        return out

    hole = 0.5 + radius(angle)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    side = np.arange(SIDE_POINTS) / SIDE_POINTS
    ends = np.zeros_like(side)
    square = np.concatenate([np.stack(pair, 1) for pair in
                             ((side, ends), (ends + 1, side), (1 - side, ends + 1), (ends, 1 - side))])  # fmt: skip
    candidates = rng.uniform(0.01, 0.99, (8000, 2))
    away = candidates - 0.5
    clear = np.hypot(*away.T) > radius(np.arctan2(away[:, 1], away[:, 0])) + 0.01
    points = _spread(np.concatenate([hole, square]), candidates[clear], CELL_POINTS)
    triangles = Delaunay(points).simplices
    middle = points[triangles].mean(1) - 0.5
    inside = np.hypot(*middle.T) < radius(np.arctan2(middle[:, 1], middle[:, 0]))
    return points, triangles[~(inside | (triangles < HOLE_POINTS).all(1))], radius(angle)


def von_mises_stress(points: Array, triangles: Array) -> Array:
    """``[n]`` stress at the points of a plate: plane stress, E = 1, nu = 0.3, held below, pulled above by 1.

    Linear triangles; the stress of a point is the mean of its triangles, weighted by area.
    """
    purpose = "the stand-in of Elasticity"
    fem = require("skfem", extra="fem", purpose=purpose)
    elasticity = require("skfem.models.elasticity", extra="fem", purpose=purpose)
    mesh = fem.MeshTri(points.T.copy(), triangles.T.copy())
    basis = fem.Basis(mesh, fem.ElementVector(fem.ElementTriP1()))
    mu, lam = 1 / 2.6, 0.3 / (1 - 0.09)
    stiffness = elasticity.linear_elasticity(lam, mu).assemble(basis)
    top = fem.FacetBasis(
        mesh, fem.ElementVector(fem.ElementTriP1()), facets=mesh.facets_satisfying(lambda x: x[1] > 1 - 1e-9)
    )
    load = fem.LinearForm(lambda v, w: v[1]).assemble(top)
    held = basis.get_dofs(lambda x: x[1] < 1e-9)
    moved = fem.solve(*fem.condense(stiffness, load, D=held))
    gradient = basis.interpolate(moved).grad.mean(-1)
    strain = (gradient + gradient.transpose(1, 0, 2)) / 2
    xx, yy, xy = (
        2 * mu * strain[i, j] + lam * (i == j) * (strain[0, 0] + strain[1, 1]) for i, j in ((0, 0), (1, 1), (0, 1))
    )
    stress = np.sqrt(xx**2 - xx * yy + yy**2 + 3 * xy**2)
    area = np.repeat(basis.dx.sum(-1), 3)
    corner = triangles.ravel()
    total = np.bincount(corner, area, len(points))
    return np.bincount(corner, area * np.repeat(stress, 3), len(points)) / total


def write_plasticity(root: Path, num: int) -> Path:
    """``plas_N987_T20.mat`` with made-up deformations; returns ``root``."""
    _check(num)
    rows, columns, steps, _ = PLASTICITY
    along, depth = np.meshgrid(np.linspace(-25, 25, rows), np.linspace(0, 15, columns), indexing="ij")
    time = np.linspace(1 / steps, 1, steps)
    dies, outputs = [], []
    for seed in range(num):
        die = 10 * _smooth(seed, np.linspace(0, 1, rows))
        press = (die - die.min())[:, None, None] * (depth / 15)[..., None] * time / 2
        spread = 0.1 * along[..., None] * (depth / 15)[..., None] * time
        displaced = np.stack([spread, -press], -1)
        place = np.stack([along, depth], -1)[:, :, None] + displaced
        dies.append(die)
        outputs.append(np.concatenate([place, displaced], -1))
    _save_mat(root / "plas_N987_T20.mat", {"input": np.stack(dies), "output": np.stack(outputs)})
    return root


def write_airfoil(root: Path, num: int) -> Path:
    """``airfoil/naca/NACA_Cylinder_{X,Y,Q}.npy``: density, velocity (2), pressure, Mach number. Returns ``root``."""
    _check(num)
    wake = 2 + 2.6 * np.linspace(0, 1, 51)[1:] ** 1.5
    along = np.concatenate([-wake[::-1], np.linspace(-2, 2, AIRFOIL[0] - 2 * len(wake)), wake])
    out = 4.0 * np.linspace(0, 1, AIRFOIL[1]) ** 2
    place = along[:, None] + 1j * out
    parts: list[list[Array]] = [[], [], []]
    for seed in range(num):
        rng = np.random.default_rng(seed)
        flow = random_joukowski(rng, angle=float(rng.uniform(-0.02, 0.02)))
        zeta = flow.circle(place)
        position, velocity = flow.position(zeta), flow.velocity(zeta)
        speed = (velocity**2).sum(-1)
        heat = 1 + 0.2 * AIRFOIL_MACH**2 * (1 - speed)  # temperature over that of the free stream
        fields = [heat**2.5, velocity[..., 0], velocity[..., 1], heat**3.5, AIRFOIL_MACH * np.sqrt(speed / heat)]
        for part, values in zip(parts, (position[..., 0], position[..., 1], np.stack(fields)), strict=True):
            part.append(values)
    for name, part in zip("XYQ", parts, strict=True):
        _save_npy(root / "airfoil" / "naca" / f"NACA_Cylinder_{name}.npy", np.stack(part))
    return root


def write_pipe(root: Path, num: int) -> Path:
    """``pipe/Pipe_{X,Y,Q}.npy``: velocity (2) and pressure of unit flux and viscosity 0.005. Returns ``root``."""
    _check(num)
    x = np.linspace(0, 10, PIPE[0])[:, None]
    across = np.linspace(-1, 1, PIPE[1])
    parts: list[list[Array]] = [[], [], []]
    for seed in range(num):
        bend = 2 * _smooth(2 * seed, x / 10)
        half = 0.5 * (1 + 0.2 * (_smooth(2 * seed + 1, x / 10) - 0.5))
        u = 0.75 / half * (1 - across**2)
        slope = np.gradient(bend, x[1, 0], axis=0) + across * np.gradient(half, x[1, 0], axis=0)
        fall = 1.5 * 0.005 / half**3 * x[1, 0]
        pressure = np.broadcast_to(fall.sum() - np.cumsum(fall, 0), u.shape)
        for part, values in zip(
            parts, (x + 0 * u, bend + half * across, np.stack([u, u * slope, pressure])), strict=True
        ):
            part.append(values)
    for name, part in zip("XYQ", parts, strict=True):
        _save_npy(root / "pipe" / f"Pipe_{name}.npy", np.stack(part))
    return root


def _spread(points: Array, candidates: Array, count: int) -> Array:
    """``points`` and as many candidates, each the farthest from all before it, as make ``count``."""
    from scipy.spatial import cKDTree

    distance = cKDTree(points).query(candidates)[0]
    chosen = []
    for _ in range(count - len(points)):
        best = int(distance.argmax())
        chosen.append(candidates[best])
        distance = np.minimum(distance, np.hypot(*(candidates - candidates[best]).T))
    return np.concatenate([points, np.array(chosen)])


def _smooth(seed: int, place: Array) -> Array:
    """Random smooth function of [0, 1] with values about 0 to 1."""
    rng = np.random.default_rng(seed)
    waves = (rng.normal(0, 0.4 / k) * np.sin(np.pi * k * place + rng.uniform(0, np.pi)) for k in (1, 2, 3, 4))
    out: Array = 0.5 + 0.5 * np.tanh(np.asarray(sum(waves)))
    return out


def _check(num: int, least: int = 1) -> None:
    if num < least:
        raise InputError(f"standin: num must be at least {least}, got {num}")


def _save_npy(path: Path, values: Array) -> None:
    _write(path, lambda partial: np.save(partial, values))


def _save_mat(path: Path, arrays: dict[str, Array]) -> None:
    import scipy.io

    _write(path, lambda partial: scipy.io.savemat(partial, arrays, appendmat=False, do_compression=True))


def _write(path: Path, save: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        save(partial)
