"""The VTK files of ShapeNet-Car as arrays, with the derived quantities of the published preprocessing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from scipy.spatial import cKDTree

from meshops.data import readers
from meshops.datasets.formats.npy_rows import npy_member
from meshops.errors import InputError, listing

Array = np.ndarray[Any, Any]

NUM_POINTS, NUM_QUADS, NUM_VOLUME_POINTS, NUM_COMMON = 3682, 3584, 29498, 994
# Points of the surface file that belong to no quad.
UNUSED = range(16, 112)


@dataclass(frozen=True)
class CarSurface:
    """Content of ``quadpress_smpl.vtk``: points [m, 3], quads [q, 4], pressure [m], unit normals [m, 3], areas [m]."""

    points: Array
    quads: Array
    pressure: Array
    normals: Array
    areas: Array


@dataclass(frozen=True)
class CarVolume:
    """Exterior points [n, 3] with sdf [n], normals [n, 3], velocity [n, 3]; velocity of the surface points [m, 3]."""

    points: Array
    sdf: Array
    normals: Array
    velocity: Array
    surface_velocity: Array


def read_surface(path: Path) -> CarSurface:
    """Read ``quadpress_smpl.vtk``; the pressure is its active point scalars, whatever their name.

    Raises:
        InputError: It is no grid of quads, or has no scalars.
    """
    mesh = readers.read_mesh(path)
    quads = mesh.cells_dict.get(pv.CellType.QUAD) if isinstance(mesh, pv.UnstructuredGrid) else None
    if quads is None or len(quads) != mesh.n_cells:
        raise InputError(f"{path}: expected an unstructured grid of quads only; is this the published file?")
    values = mesh.point_data.active_scalars
    if values is None:
        raise InputError(f"{path}: no point scalars (pressure); arrays present: {listing(mesh.point_data.keys())}")
    points, quads = np.asarray(mesh.points), np.asarray(quads, dtype=np.int64)
    normals, areas = _point_normals(points, quads)
    return CarSurface(points, quads, np.asarray(values).reshape(-1), normals, areas)


def _point_normals(points: Array, quads: Array) -> tuple[Array, Array]:
    """Average the outward normals of the quads at each point (unit), and share their areas; 0 without quads."""
    faces = np.hstack([np.full((len(quads), 1), 4), quads])
    oriented = pv.PolyData(points, faces=faces).compute_normals(
        cell_normals=True, point_normals=False, auto_orient_normals=True, consistent_normals=True
    )
    p1, p2, p3, p4 = points[quads].astype(np.float64).transpose(1, 0, 2)
    doubled = np.linalg.norm(np.cross(p2 - p1, p3 - p1), axis=1) + np.linalg.norm(np.cross(p3 - p1, p4 - p1), axis=1)
    sums, areas = np.zeros((len(points), 3)), np.zeros(len(points))
    for corner in quads.T:
        np.add.at(sums, corner, np.asarray(oriented.cell_data["Normals"], dtype=np.float64))
        np.add.at(areas, corner, doubled / 8)
    counts = np.maximum(np.bincount(quads.reshape(-1), minlength=len(points)), 1)[:, None]
    # The two small constants are those of the released preprocessing.
    means = sums / counts
    means /= np.abs(means).max(axis=1, keepdims=True) + 1e-8
    means /= np.linalg.norm(means, axis=1, keepdims=True) + 1e-8
    return means, areas


def read_volume(path: Path, surface: CarSurface) -> CarVolume:
    """Read ``hexvelo_smpl.vtk`` and part its points into exterior ones and those equal, to the bit, to a surface point.

    The distance is to the nearest surface *point*, those without a quad included, as in the released preprocessing.

    Raises:
        InputError: It has no vectors, or several.
    """
    points, velocity = points_and_vectors(path)
    keys, surface_keys = _keys(points), _keys(surface.points)
    on_surface = set(surface_keys)
    outside = np.array([key not in on_surface for key in keys])
    row = {key: index for index, key in enumerate(keys)}
    found = np.array([row.get(key, -1) for key in surface_keys])
    surface_velocity = np.where((found >= 0)[:, None], velocity[found], 0.0)
    exterior = points[outside].astype(np.float64)
    distance, nearest = cKDTree(surface.points.astype(np.float64)).query(exterior)
    away = (exterior - surface.points[nearest]) / (distance[:, None] + 1e-8)
    return CarVolume(points[outside], distance, away, velocity[outside], surface_velocity)


def points_and_vectors(path: Path) -> tuple[Array, Array]:
    """Points ``[n, 3]`` and the one vector array ``[n, 3]`` of a file.

    Raises:
        InputError: It has no point vectors, or several.
    """
    mesh = readers.read_mesh(path)
    arrays = [name for name, values in mesh.point_data.items() if values.ndim == 2 and values.shape[1] == 3]
    if len(arrays) != 1:
        raise InputError(f"{path}: expected one point vector array (velocity), got {listing(arrays)}")
    return np.asarray(mesh.points), np.asarray(mesh.point_data[arrays[0]])


def _keys(points: Array) -> list[bytes]:
    """Coordinates as exact keys; adding zero makes -0.0 and 0.0 the same."""
    rows = np.ascontiguousarray(points.astype(np.float32) + np.float32(0))
    return [row.tobytes() for row in rows]


def count_problems(path: Path, surface: CarSurface) -> Iterator[tuple[Path | None, str]]:
    """Say what differs from the published numbers of points and quads."""
    for what, count, expected in (
        ("points", len(surface.points), NUM_POINTS),
        ("quads", len(surface.quads), NUM_QUADS),
    ):
        if count != expected:
            yield path, f"{count} {what} instead of {expected}"
    unused = sorted(set(range(len(surface.points))) - set(np.unique(surface.quads).tolist()))
    if unused != list(UNUSED):
        yield path, f"{len(unused)} points belong to no quad, expected the {len(UNUSED)} points 16..111"


def copy_problems(path: Path, values: Array) -> Iterator[tuple[Path | None, str]]:
    """Say what differs between an ``.npy`` file and the same values in a VTK file."""
    if not path.is_file():
        yield path, "the file is missing"
        return
    npy_member(path)
    copy = np.load(path, allow_pickle=False).reshape(-1)
    if copy.size != values.size:
        yield path, f"{copy.size} values instead of {values.size}"
    elif not np.allclose(copy, values.reshape(-1), rtol=1e-5, atol=1e-4):
        worst = float(np.abs(copy - values.reshape(-1)).max())
        yield path, f"differs from the values in the VTK file by up to {worst:.3g}; download the case again"
