"""A mesh with new arrays, back in the format of the file it came from: points, cells and parts as they were.

.vtp .vtu .vtk .vti .vts .vtr .vtm     the same format; structured grids stay structured
.stl .ply .obj                         .vtp: these hold no fields
anything else                          .vtu, or .vtm where the mesh has several parts
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from scipy.spatial import cKDTree

from meshops.data.blocks import take_cells
from meshops.data.cells import Array, Mesh
from meshops.data.vtk_io import catch_messages
from meshops.data.writers import as_grid, as_surface, write_mesh

STRUCTURED = (".vti", ".vts", ".vtr")
WITHOUT_FIELDS = (".stl", ".ply", ".obj")
NEAR = 1e-5  # of the size of a grid: centres of the same cell are not further apart


def write_back(
    mesh: Mesh, path: Path, *, source: Path | None = None, parts: Sequence[str] = (), cell_part: Array | None = None
) -> Path:
    """Write a mesh as the file was that it was read from.

    Args:
        mesh: With the arrays to write; its cells may be fewer than those of the file.
        path: Without ending.
        source: The file; None: not from a file.
        parts: Names of the parts of the file that were read.
        cell_part: ``[c]`` place of the part of each cell in ``parts``; None: no parts.

    Returns:
        Path with the ending that was chosen.

    Raises:
        InputError: It cannot be written.
    """
    suffix = "" if source is None else source.suffix.lower()
    if source is None or suffix in WITHOUT_FIELDS:
        return write_mesh(mesh, _ending(path, ".vtp" if isinstance(mesh, pv.PolyData) else ".vtu"))
    if cell_part is not None and (len(parts) > 1 or suffix == ".vtm"):
        return write_mesh(in_parts(mesh, parts, cell_part), _ending(path, ".vtm"))
    if suffix in (*STRUCTURED, ".vtk"):
        grid = _structured(source) if source.is_file() else None
        if grid is not None:
            return write_mesh(_onto(grid, mesh), _ending(path, suffix))
    if suffix == ".vtk":
        return write_mesh(mesh, _ending(path, ".vtk"))
    surface = as_surface(mesh) if suffix == ".vtp" else None
    return write_mesh(
        as_grid(mesh) if surface is None else surface, _ending(path, ".vtu" if surface is None else ".vtp")
    )


def in_parts(mesh: Mesh, parts: Sequence[str], cell_part: Array) -> pv.MultiBlock:
    """A block for each part, with the points it uses and all arrays."""
    blocks = pv.MultiBlock()
    for place, name in enumerate(parts):
        blocks.append(take_cells(mesh, np.flatnonzero(cell_part == place)), name)
    return blocks


def _ending(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _structured(source: Path) -> Any:
    """The grid of a file where it is structured, else None."""
    with catch_messages():
        data = pv.read(source)
    return data if isinstance(data, pv.ImageData | pv.StructuredGrid | pv.RectilinearGrid) else None


def _onto(grid: Any, mesh: Mesh) -> Any:
    """The structured grid with the arrays of a mesh that was made of it; NaN where the mesh lost a cell or point."""
    scale = mesh.length / grid.length if grid.length else 1.0
    if abs(scale - 1) > 1e-6:
        _rescale(grid, scale)
    points, cells = mesh.n_points == grid.n_points, mesh.n_cells == grid.n_cells
    at_points = None if points else _places(np.asarray(grid.points), np.asarray(mesh.points), grid.length)
    at_cells = None if cells else _places(_centers(grid), _centers(mesh), grid.length)
    pairs = ((grid.point_data, mesh.point_data, at_points), (grid.cell_data, mesh.cell_data, at_cells))
    for ours, theirs, place in pairs:
        for name in theirs:
            if name not in ours:
                ours[name] = np.asarray(theirs[name]) if place is None else _spread(np.asarray(theirs[name]), place)
    return grid


def _centers(data: Any) -> Array:
    centers: Array = np.asarray(data.cell_centers().points)
    return centers


def _places(wanted: Array, there: Array, length: float) -> Array:
    """Row of ``there`` that lies where each row of ``wanted`` does, -1 for none."""
    distance, row = cKDTree(there).query(wanted)
    place: Array = np.where(distance <= NEAR * length, row, -1)
    return place


def _spread(values: Array, place: Array) -> Array:
    out = np.full((len(place), *values.shape[1:]), np.nan, dtype=np.result_type(values.dtype, np.float32))
    out[place >= 0] = values[place[place >= 0]]
    return out


def _rescale(grid: Any, scale: float) -> None:
    if isinstance(grid, pv.ImageData):
        grid.origin, grid.spacing = np.array(grid.origin) * scale, np.array(grid.spacing) * scale
    elif isinstance(grid, pv.RectilinearGrid):
        grid.x, grid.y, grid.z = grid.x * scale, grid.y * scale, grid.z * scale
    else:
        grid.points = np.asarray(grid.points, dtype=np.float64) * scale
