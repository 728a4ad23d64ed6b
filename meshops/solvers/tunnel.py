"""Half an ellipsoid on the ground of a tunnel: polyhedral mesh fitted to the body, and the exact potential flow.

The ground is the mirror plane of the ellipsoid, so that the closed form of :mod:`meshops.solvers.ellipsoid_flow` holds
beside it; inlet, outlet, sides and top of the tunnel carry the values of that flow. Stream along +x, ground z = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshops.errors import InputError
from meshops.solvers.ellipsoid_flow import ellipsoid_velocity, ellipsoidal_coordinate

Array = np.ndarray[Any, Any]

BOX = ((-3.0, 5.0), (-2.5, 2.5), (0.0, 3.0))  # of the tunnel, in lengths of the body
GROWTH = 1.25  # of the layers away from the body
PATCHES = ("body", "inlet", "outlet", "sides", "top", "ground")
HEXAHEDRON = ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))  # outward


@dataclass(frozen=True, eq=False)
class FaceMesh:
    """Cells as OpenFOAM has them: by their faces, those inside first.

    Attributes:
        points: ``[n, 3]``, m.
        faces: ``[f, 4]`` quadrilaterals with normals out of their owner.
        owner: ``[f]`` cell of each face; of two the lower.
        neighbour: ``[i]`` the other cell of the faces inside.
        patches: Name -> slice of the faces.
        centres: ``[c, 3]`` of the cells.
    """

    points: Array
    faces: Array
    owner: Array
    neighbour: Array
    patches: Mapping[str, slice]
    centres: Array

    @classmethod
    def of(cls, points: Array, cells: Array, patch_of: Any) -> FaceMesh:
        """Faces of hexahedra ``[c, 8]``; ``patch_of`` names the patch of each outer face by cell and side."""
        faces = np.concatenate([cells[:, list(side)] for side in HEXAHEDRON])
        cell, side = np.tile(np.arange(len(cells)), 6), np.repeat(np.arange(6), len(cells))
        _, where, count = np.unique(np.sort(faces, 1), axis=0, return_inverse=True, return_counts=True)
        where = where.reshape(-1)
        order = np.lexsort([cell, where])
        twice = count[where[order]] == 2
        first, second = order[twice][0::2], order[twice][1::2]
        inside = np.lexsort([cell[second], cell[first]])
        first, second = first[inside], second[inside]
        outer = order[~twice]
        names = patch_of(cell[outer], side[outer])
        outer, names = outer[np.argsort(names, kind="stable")], np.sort(names, kind="stable")
        ends = len(first) + np.searchsorted(names, np.arange(len(PATCHES) + 1))
        patches = {name: slice(int(ends[k]), int(ends[k + 1])) for k, name in enumerate(PATCHES)}
        every = np.r_[first, outer]
        return cls(points, faces[every], cell[every], cell[second], patches, points[cells].mean(1))

    @property
    def face_centres(self) -> Array:
        """``[f, 3]``, m."""
        centre: Array = self.points[self.faces].mean(1)
        return centre

    @property
    def face_areas(self) -> Array:
        """``[f, 3]`` normals out of the owner times area, m^2."""
        a, b, c, d = np.moveaxis(self.points[self.faces], 1, 0)
        area: Array = 0.5 * np.cross(c - a, d - b)
        return area


@dataclass(frozen=True, eq=False)
class TunnelFlow:
    """Flow past one body.

    Attributes:
        mesh: Cells and patches.
        velocity: ``[c, 3]`` at the cells, m/s.
        pressure: ``[c]`` over density, 0 far away, m^2/s^2.
        patch_velocity: Patch -> values at its faces.
        patch_pressure: Patch -> values at its faces.
        speed: Of the free stream, m/s.
        size: Length, width and height of the body, m.
        lift: Coefficient of the upward force on the body, with the frontal area; the pressure under it is not known.
    """

    mesh: FaceMesh
    velocity: Array
    pressure: Array
    patch_velocity: Mapping[str, Array]
    patch_pressure: Mapping[str, Array]
    speed: float
    size: tuple[float, float, float]
    lift: float


def tunnel_flow(seed: int = 0, *, resolution: int = 12, layers: int = 10) -> TunnelFlow:
    """Flow past a body of random size at a random speed.

    Args:
        seed: Of length (0.8 to 1.2 m), width, height and speed (20 to 50 m/s).
        resolution: Cells across the top of the body, even.
        layers: Cells between body and tunnel.
    """
    draw = np.random.default_rng(seed).random(4)
    length = 0.8 + 0.4 * draw[0]
    size = (float(length), float(length * (0.3 + 0.2 * draw[1])), float(length * (0.2 + 0.15 * draw[2])))
    return solve_tunnel(size, float(round(20 + 30 * draw[3], 2)), resolution=resolution, layers=layers)


def solve_tunnel(
    size: tuple[float, float, float], speed: float, *, resolution: int = 12, layers: int = 10
) -> TunnelFlow:
    """Flow past half an ellipsoid.

    Args:
        size: Length, width and height, m.
        speed: Of the free stream, m/s.
        resolution: Cells across the top of the body, even.
        layers: Cells between body and tunnel.

    Raises:
        InputError: A number makes no sense.
    """
    if min(size) <= 0 or speed <= 0 or resolution < 2 or resolution % 2 or layers < 1:
        raise InputError(
            f"size, speed and layers must be positive and resolution even, got {size}, {speed}, {layers}, {resolution}"
        )
    axes = (size[0] / 2, size[1] / 2, size[2])
    mesh = tunnel_mesh(axes, resolution, layers)
    at = {name: mesh.face_centres[part] for name, part in mesh.patches.items()}
    at["body"] = at["body"] / np.sqrt(np.square(at["body"] / axes).sum(1, keepdims=True))  # chords lie within
    faces = {name: _velocity(points, axes, speed) for name, points in at.items()}
    inside = _velocity(mesh.centres, axes, speed)
    pressures = {name: _pressure(velocity, speed) for name, velocity in faces.items()}
    up = mesh.face_areas[mesh.patches["body"], 2]  # out of the cells, into the body
    frontal = np.pi * axes[1] * axes[2] / 2
    lift = float((pressures["body"] * up).sum() / (0.5 * speed**2 * frontal))
    return TunnelFlow(mesh, inside, _pressure(inside, speed), faces, pressures, speed, size, lift)


def _velocity(points: Array, axes: tuple[float, float, float], speed: float) -> Array:
    turned = ellipsoid_velocity(points[:, [1, 2, 0]], (axes[1], axes[2], axes[0]), speed)
    return turned[:, [2, 0, 1]]


def _pressure(velocity: Array, speed: float) -> Array:
    pressure: Array = 0.5 * (speed**2 - np.square(velocity).sum(1))
    return pressure


def tunnel_mesh(axes: tuple[float, float, float], resolution: int, layers: int) -> FaceMesh:
    """Hexahedra in layers from the upper half of an ellipsoid of these semi-axes to the walls of :data:`BOX`."""
    shell, quads, face = _shell(resolution)
    angle = np.tan(np.pi / 4 * shell)  # even angles on the body
    body = angle / np.linalg.norm(angle, axis=1, keepdims=True) * axes
    low, high = np.array(BOX).T * 2 * axes[0]
    box = np.where(shell < 0, -shell * low, shell * high)
    share = (GROWTH ** np.arange(layers + 1) - 1) / (GROWTH**layers - 1)
    points = (body + share[:, None, None] * (box - body)).reshape(-1, 3)
    below = np.arange(layers)[:, None, None] * len(shell) + quads
    cells = np.concatenate([below, below + len(shell)], 2).reshape(-1, 8)
    grounded = np.stack([shell[quads[:, [k, (k + 1) % 4]], 2].max(1) == 0 for k in range(4)], 1)  # sides 2 to 5

    def patch_of(cell: Array, side: Array) -> Array:
        quad, ground = cell % len(quads), PATCHES.index("ground")
        wall = np.array([PATCHES.index(name) for name in ("inlet", "outlet", "sides", "sides", "top")])[face[quad]]
        on_ground = (side >= 2) & grounded[quad, np.maximum(side - 2, 0)]
        return np.where(on_ground, ground, np.where(side == 0, PATCHES.index("body"), wall))

    mesh = FaceMesh.of(points, cells, patch_of)
    if float(ellipsoidal_coordinate(mesh.centres[:, :], axes).min()) <= 0:
        raise InputError(f"resolution={resolution} is too coarse for {layers} layers; use more or fewer layers")
    return mesh


def _shell(resolution: int) -> tuple[Array, Array, Array]:
    """Upper half of the surface of the cube [-1, 1]^3: points, quadrilaterals with normals outward, their side."""
    half = resolution // 2
    corners: dict[tuple[int, int, int], int] = {}
    quads, sides = [], []
    steps = ((0, 0), (1, 0), (1, 1), (0, 1))
    for side, (axis, end) in enumerate(((0, -1), (0, 1), (1, -1), (1, 1), (2, 1))):
        first, second = (axis + 1) % 3, (axis + 2) % 3  # a right-handed triple
        starts = [range(0 if a == 2 else -half, half) for a in (first, second)]
        for i in starts[0]:
            for j in starts[1]:
                ring = []
                for di, dj in steps if end > 0 else steps[::-1]:
                    place = [0, 0, 0]
                    place[axis], place[first], place[second] = end * half, i + di, j + dj
                    ring.append(corners.setdefault((place[0], place[1], place[2]), len(corners)))
                quads.append(ring)
                sides.append(side)
    return np.array(list(corners), dtype=np.float64) / half, np.array(quads), np.array(sides)
