"""Darcy flow and Poisson's equation on irregular triangles of the unit square, linear finite elements.

    - div (a grad u) = f  in the square,   u = 0  on its sides

Weak form: the integral of ``a grad u . grad v`` equals that of ``f v`` for all piecewise linear v that are 0 on the
sides. Darcy: f = 1 and a of two values, a thresholded Gaussian random field (Li et al. 2021, *Fourier neural
operator*, section 5.2: covariance ``(-Laplacian + 9) ** -2`` with zero Neumann conditions, values 12 and 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.data.edges import VTK_TRIANGLE, triangle_edges
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.optional import require
from meshops.solvers.unstructured import square_mesh

Array = np.ndarray[Any, Any]
Field = Callable[[Array], Array]  # [n, 2] -> [n]

INSIDE, BOUNDARY = 0, 6  # kinds of nodes, as in MeshGraphNets
LOW = 3.0  # smaller coefficient of Darcy flow


def darcy(seed: int = 0, *, num_points: int = 900, contrast: float = 4.0, modes: int = 16) -> MeshGraph:
    """Pressure of a flow through a medium of two permeabilities under an even source.

    Args:
        seed: Of the mesh and the coefficient.
        num_points: n.
        contrast: Larger over smaller coefficient; the smaller is 3.
        modes: Waves of the random field along each axis.

    Returns:
        Graph with ``x`` the coefficient at the nodes and ``y`` the ``solution``, both without units.

    Raises:
        InputError: Too few points, or a contrast or number of modes that makes no sense.
    """
    if not contrast >= 1:
        raise InputError(f"contrast must be at least 1, got {contrast}")
    generator = torch.Generator().manual_seed(seed)
    raw = random_field(generator, modes=modes, shift=3.0, power=2.0)
    points, triangles = square_mesh(num_points, generator)

    def coefficient(at: Array) -> Array:
        return np.where(raw(at) >= 0, LOW * contrast, LOW)

    value = solve_diffusion(
        points, triangles, coefficient=coefficient(points[triangles].mean(1)), source=lambda at: np.ones(len(at))
    )
    return _graph(points, triangles, coefficient(points), ("coefficient",), value, f"darcy_{seed:04d}")


def poisson(seed: int = 0, *, num_points: int = 900, modes: int = 8) -> MeshGraph:
    """Potential of a smooth random source of mean square about 1.

    Args:
        seed: Of the mesh and the source.
        num_points: n.
        modes: Waves of the source along each axis.

    Returns:
        Graph with ``x`` the source at the nodes and ``y`` the ``solution``, both without units.

    Raises:
        InputError: Too few points or no modes.
    """
    generator = torch.Generator().manual_seed(seed)
    source = random_field(generator, modes=modes, shift=6.0, power=3.0)
    points, triangles = square_mesh(num_points, generator)
    value = solve_diffusion(points, triangles, coefficient=np.ones(len(triangles)), source=source)
    return _graph(points, triangles, source(points), ("source",), value, f"poisson_{seed:04d}")


def random_field(generator: torch.Generator, *, modes: int, shift: float, power: float) -> Field:
    """Smooth Gaussian field of mean 0 and mean square about 1 with zero normal slope at the sides of the unit square.

    Waves ``cos(pi k x) cos(pi l y)`` with amplitudes ``(pi^2 (k^2 + l^2) + shift^2) ** (-power / 2)``, without the
    constant one.
    """
    if modes < 2:
        raise InputError(f"modes must be at least 2, got {modes}")
    wave = np.arange(modes)
    spread = (np.pi**2 * (wave[:, None] ** 2 + wave**2) + shift**2) ** (-power / 2)
    spread[0, 0] = 0.0
    half = np.where(wave == 0, 1.0, 0.5)  # mean square of a wave
    spread /= np.sqrt((spread**2 * half[:, None] * half).sum())
    amplitude = spread * torch.randn(modes, modes, generator=generator, dtype=torch.float64).numpy()

    def field(at: Array) -> Array:
        across, along = (np.cos(np.pi * at[:, axis, None] * wave) for axis in range(2))
        value: Array = np.einsum("nk,kl,nl->n", across, amplitude, along)
        return value

    return field


def solve_diffusion(points: Array, triangles: Array, *, coefficient: Array, source: Field) -> Array:
    """Nodal values ``[n]`` of ``-div (a grad u) = f`` with u = 0 on the boundary, P1 elements.

    Args:
        points: ``[n, 2]``.
        triangles: ``[f, 3]``.
        coefficient: ``[f]`` a, one per triangle, positive.
        source: f at points ``[k, 2]``.
    """
    fem = require("skfem", extra="fem", purpose="Darcy and Poisson cases")
    mesh = fem.MeshTri(np.ascontiguousarray(points.T), np.ascontiguousarray(triangles.T))
    basis = fem.Basis(mesh, fem.ElementTriP1(), intorder=4)

    @fem.BilinearForm  # type: ignore[untyped-decorator]
    def stiffness(u: Any, v: Any, _: Any) -> Any:
        return coefficient[:, None] * (u.grad * v.grad).sum(0)

    @fem.LinearForm  # type: ignore[untyped-decorator]
    def load(v: Any, w: Any) -> Any:
        return source(w.x.reshape(2, -1).T).reshape(w.x.shape[1:]) * v

    system = fem.condense(stiffness.assemble(basis), load.assemble(basis), D=basis.get_dofs())
    value: Array = fem.solve(*system)
    return value


def mesh_graph(points: Array, triangles: Array, **attributes: Any) -> MeshGraph:
    """Graph of a triangle mesh: places, cells, edges, and kinds of nodes (6 where a side has one triangle, else 0)."""
    cells = torch.from_numpy(triangles)
    sides = torch.cat([cells[:, [0, 1]], cells[:, [1, 2]], cells[:, [2, 0]]]).sort(1).values
    unique, count = sides.unique(dim=0, return_counts=True)
    node_type = torch.full((len(points),), INSIDE)
    node_type[unique[count == 1].flatten()] = BOUNDARY
    return MeshGraph(
        pos=torch.from_numpy(points).float(),
        node_type=node_type,
        edge_index=triangle_edges(cells, len(points)),
        cell_size=torch.full((len(cells),), 3),
        cell_nodes=cells.flatten(),
        cell_type=torch.full((len(cells),), VTK_TRIANGLE),
        location="point",
        **attributes,
    )


def _graph(points: Array, triangles: Array, given: Array, x_names: Sequence[str], value: Array, name: str) -> MeshGraph:
    x, y = (_column(values) for values in (given, value))
    return mesh_graph(
        points, triangles, x=x, x_names=tuple(x_names), y=y, y_names=("solution",), y_sizes=(1,), y_units=("",),
        name=name,
    )  # fmt: skip


def _column(values: Array) -> Tensor:
    return torch.from_numpy(values).float().view(-1, 1)
