"""Drag of ShapeNet-Car as the Transolver protocol computes it, to be comparable with published C_D errors.

Source: the drag formula released with Transolver (thuml/Transolver, Car-Design-ShapeNetCar). It is a benchmark
convention rather than physics: the second term is no velocity gradient, and the density is 0.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError

Array = np.ndarray[Any, Any]

SPEED = 20.0
DENSITY = 0.3
VISCOSITY = 1.8e-5
QUAD = 9


@dataclass(frozen=True)
class CarDrag:
    """Drag of one car.

    Attributes:
        coefficient: C_D = 2 F / (U^2 S rho).
        pressure_force: Share of the pressure along the flow (+z), N.
        gradient_force: Share of the "velocity gradient" term, N; 0 without velocities.
        frontal_area: S, m^2.
    """

    coefficient: float
    pressure_force: float
    gradient_force: float
    frontal_area: float


def car_drag(
    points: Array | Tensor,
    quads: Array | Tensor,
    pressure: Array | Tensor,
    velocity: Array | Tensor | None = None,
    *,
    speed: float = SPEED,
    density: float = DENSITY,
    viscosity: float = VISCOSITY,
    frontal_area: float | None = None,
) -> CarDrag:
    """Drag along +z from fields at the points of the surface.

    F = - sum p A n_z - viscosity * sum g_z A n_z over the quads, with p the mean of a quad's corners, A the area of its
    two triangles, n its outward normal and g the sum of three corner difference quotients of the velocity.

    Args:
        points: ``[m, 3]``, m; points of no quad are ignored.
        quads: ``[q, 4]`` of a closed surface, oriented alike; a surface that faces inward is turned.
        pressure: ``[m]``, Pa.
        velocity: ``[m, 3]``, m/s; None leaves the second term out.
        speed: U, m/s; 20 m/s (72 km/h) in this set.
        density: rho, kg/m^3. The literal 0.3 of the released formula, whose origin is not stated (air has 1.2);
            keep it to compare with published values.
        viscosity: Pa s.
        frontal_area: S, m^2; None: area of the convex hull of the used points along the flow.

    Raises:
        InputError: Shapes do not fit, or there is no area.

    Example:
        >>> graph = ShapeNetCar("data/shapenet_car", "test")[0]  # doctest: +SKIP
        >>> car_drag(graph.pos, quads_of(graph), graph.field("pressure"), graph.field("velocity"))  # doctest: +SKIP
    """
    points, quads, pressure = (_array(values) for values in (points, quads, pressure))
    quads = quads.astype(np.int64)
    _check(points, quads, pressure)
    corners = points[quads]
    normals, areas = _oriented(corners)
    along = areas * normals[:, 2]
    pressure_force = -float(pressure.reshape(-1)[quads].mean(axis=1) @ along)
    gradient_force = 0.0
    if velocity is not None:
        gradient_force = -viscosity * float(_gradient(corners, _array(velocity)[quads])[:, 2] @ along)
    area = hull_area(points[np.unique(quads)]) if frontal_area is None else frontal_area
    if not area > 0 or not speed > 0 or not density > 0:
        raise InputError(f"car_drag: frontal area, speed and density must be positive, got {area}, {speed}, {density}")
    coefficient = 2 * (pressure_force + gradient_force) / (speed**2 * area * density)
    return CarDrag(coefficient, pressure_force, gradient_force, area)


def hull_area(points: Array | Tensor) -> float:
    """Area of the convex hull of the points seen along z, m^2.

    Raises:
        InputError: The points lie on a line.
    """
    try:
        return float(ConvexHull(_array(points)[:, :2]).volume)
    except (QhullError, ValueError) as error:
        raise InputError("car_drag: the points span no area across the flow (z); check axes and units") from error


def quads_of(graph: MeshGraph) -> Array:
    """``[q, 4]`` node numbers of the quads that travel with a graph.

    Raises:
        InputError: It carries none.
    """
    if graph.get("cell_size") is None or graph.get("location") != "point":
        raise InputError(
            f"{graph.label}: drag needs the surface quads; use a graph that still has its cells on its nodes"
        )
    sizes, nodes = _array(graph.cell_size).astype(np.int64), _array(graph.cell_nodes).astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    quads = _array(graph.cell_type) == QUAD
    if not quads.any():
        raise InputError(f"{graph.label}: no quads among its {len(sizes)} cells")
    corners: Array = nodes[starts[quads][:, None] + np.arange(4)]
    return corners


def _check(points: Array, quads: Array, pressure: Array) -> None:
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"car_drag: points must be [m, 3], got {points.shape}")
    if quads.ndim != 2 or quads.shape[1] != 4 or len(quads) == 0:
        raise InputError(f"car_drag: quads must be [q, 4] with q > 0, got {quads.shape}")
    if quads.min() < 0 or quads.max() >= len(points):
        raise InputError(f"car_drag: quads use points {quads.min()}..{quads.max()}, allowed 0..{len(points) - 1}")
    if pressure.size != len(points):
        raise InputError(f"car_drag: pressure has {pressure.size} values for {len(points)} points")


def _oriented(corners: Array) -> tuple[Array, Array]:
    """Outward unit normals ``[q, 3]`` and areas ``[q]`` of quads ``[q, 4, 3]``."""
    p1, p2, p3, p4 = corners.transpose(1, 0, 2)
    first, second = np.cross(p2 - p1, p3 - p1), np.cross(p3 - p1, p4 - p1)
    areas = (np.linalg.norm(first, axis=1) + np.linalg.norm(second, axis=1)) / 2
    # The sum of both triangles' area vectors is Newell's normal, which VTK uses.
    total = first + second
    normals = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-30)
    volume = float(np.einsum("ij,ij->", corners.mean(axis=1) - corners.mean(axis=(0, 1)), total))
    return (normals if volume >= 0 else -normals), areas


def _gradient(corners: Array, velocity: Array) -> Array:
    """``[q, 3]`` sum of three difference quotients between pairs of corners; not a Jacobian."""
    p1, p2, p3, p4 = corners.transpose(1, 0, 2)
    u1, u2, u3, u4 = velocity.transpose(1, 0, 2)
    pairs = (
        (u2 - u1 + u3 - u4, p2 - p1 + p3 - p4),
        (u3 - u1 + u4 - u2, p3 - p1 + p4 - p2),
        (u4 - u1 + u2 - u3, p4 - p1 + p2 - p3),
    )
    total: Array = np.zeros_like(u1)
    for change, step in pairs:
        total += change / (np.linalg.norm(step, axis=1, keepdims=True) + 1e-8)
    return total


def _array(values: Array | Tensor) -> Array:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return array.astype(np.float64)
