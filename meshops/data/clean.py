"""What makes a mesh unusable is refused, what is harmless is dropped and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyvista as pv

from meshops.data.cell_checks import check_mesh
from meshops.data.cells import (
    STRIP,
    Array,
    Cells,
    Mesh,
    as_polygons,
    cells_of,
    expand_strips,
    mesh_of,
    running_sum,
)
from meshops.data.convert import choose_location, field_array
from meshops.data.surface import cell_geometry, volume_geometry
from meshops.errors import InputError, warn

# A cell is degenerate when area / (longest edge)^2 or volume / (longest extent)^3 is not above this.
FLAT_AREA, FLAT_VOLUME = 1e-10, 1e-14
# Coordinates beyond this (m) count as infinite: volumes would overflow in single precision.
LARGEST = 1e12


@dataclass(frozen=True)
class CleanReport:
    """A mesh fit for use and what was done to it.

    Attributes:
        mesh: The cleaned mesh; the very object that came in when nothing had to be changed.
        kept_cells: ``[c]`` for each cell the id of the cell of the original mesh it comes from.
        messages: One sentence per change.
    """

    mesh: Mesh
    kept_cells: Array
    messages: tuple[str, ...]


def clean_mesh(
    mesh: Mesh, *, label: str, fields: Sequence[str] = (), keep_unused_points: bool = True, cloud: bool = False
) -> CleanReport:
    """Check coordinates and fields, drop cells that cannot carry a value.

    Dropped are cells of lower dimension than the mesh (lines and faces beside volumes) and cells without area or
    volume. Triangle strips become triangles. The input is not changed.

    Args:
        mesh: PolyData or UnstructuredGrid.
        label: How messages call it, usually the file.
        fields: Arrays that will be used: they must be finite.
        keep_unused_points: Keep points that belong to no cell.
        cloud: Points without cells are a mesh too, and stay as they are.

    Raises:
        InputError: No points or cells, NaN or infinite coordinates or field values, a missing field.

    Warns:
        DataWarning: Cells were dropped or changed.
    """
    check_points(mesh, label)
    check_mesh(mesh, label)
    cells = cells_of(mesh)
    top = int(cells.dimension.max()) if cells.size.size else 0
    if cloud and top == 0:
        check_fields(mesh, fields, label)
        return CleanReport(mesh, np.arange(mesh.n_cells), ())
    if top < 2:
        what = "no cells" if cells.size.size == 0 else "vertices only" if top == 0 else "lines only"
        raise InputError(
            f"{label}: holds {mesh.n_points} points and {what}; a mesh needs faces or volumes (a profile along a line "
            "can be given as a strip of quads). In Python a point cloud is read with location='free'; 'look' and 'fit' "
            "take a folder of them"
        )
    num_strips = int((cells.kind == STRIP).sum())
    cells, parent = expand_strips(cells)
    messages = []
    if num_strips:
        messages.append(f"{num_strips} triangle strips were split into triangles")
    keep = cells.dimension == top
    if not keep.all():
        messages.append(f"{int((~keep).sum())} cells of lower dimension (vertices, lines, faces) were dropped")
    work = _rebuild(mesh, cells, parent) if num_strips else mesh
    good = _has_extent(work, cells, top, label)
    flat = keep & ~good
    if flat.any():
        what = "area" if top == 2 else "volume"
        messages.append(
            f"{int(flat.sum())} cells without {what} were dropped, the first is cell {parent[flat.argmax()]}"
        )
    keep &= good
    if not keep.any():
        raise InputError(f"{label}: all {cells.size.size} cells have no {'area' if top == 2 else 'volume'}")
    out = work if keep.all() else _rebuild(mesh, cells.take(np.flatnonzero(keep)), parent[keep])
    if not keep_unused_points:
        out, num_unused = drop_unused_points(out)
        messages += [f"{num_unused} points in no cell were dropped"] if num_unused else []
    check_fields(out, fields, label)
    for message in messages:
        warn(f"{label}: {message}")
    return CleanReport(out, parent[keep], tuple(messages))


def check_points(mesh: Mesh, label: str) -> None:
    """Refuse a mesh without points or with coordinates that are not finite."""
    if mesh.n_points == 0:
        raise InputError(f"{label}: the mesh is empty (0 points); check the export")
    bad = ~(np.abs(np.asarray(mesh.points)) < LARGEST).all(axis=1)
    if bad.any():
        first = int(bad.argmax())
        raise InputError(
            f"{label}: {int(bad.sum())} points have NaN or infinite coordinates, "
            f"the first is point {first} at {tuple(float(v) for v in mesh.points[first])}; repair the export"
        )


def check_fields(mesh: Mesh, fields: Sequence[str], label: str) -> None:
    """Refuse missing fields and values that are not finite."""
    for name in fields:
        array, where = field_array(mesh, name, choose_location(mesh, fields), label)
        bad = ~np.isfinite(array.reshape(array.shape[0], -1)).all(axis=1)
        if bad.any():
            raise InputError(
                f"{label}: {where} array '{name}' holds {int(bad.sum())} NaN or infinite values, "
                f"the first at {where} {int(bad.argmax())}; repair the export or drop those {where}s"
            )


def drop_unused_points(mesh: Mesh) -> tuple[Mesh, int]:
    """Return the mesh without points that belong to no cell, and how many those were."""
    cells = cells_of(mesh)
    used = np.zeros(mesh.n_points, dtype=bool)
    used[cells.nodes] = True
    used[cells.face_nodes] = True
    if used.all():
        return mesh, 0
    renumber = np.cumsum(used) - 1
    moved = Cells(
        cells.size, renumber[cells.nodes], cells.kind, cells.num_faces, cells.face_size, renumber[cells.face_nodes]
    )
    out = mesh_of(np.asarray(mesh.points)[used], moved, as_grid=isinstance(mesh, pv.UnstructuredGrid))
    _copy_arrays(mesh, out, np.flatnonzero(used), np.arange(mesh.n_cells))
    return out, int((~used).sum())


def _rebuild(mesh: Mesh, cells: Cells, parent: Array) -> Mesh:
    out = mesh_of(np.asarray(mesh.points), cells, as_grid=isinstance(mesh, pv.UnstructuredGrid))
    _copy_arrays(mesh, out, np.arange(mesh.n_points), parent)
    return out


def _copy_arrays(source: Mesh, target: Mesh, points: Array, cells: Array) -> None:
    for name in source.point_data:
        target.point_data[name] = np.asarray(source.point_data[name])[points]
    for name in source.cell_data:
        target.cell_data[name] = np.asarray(source.cell_data[name])[cells]


def _has_extent(mesh: Mesh, cells: Cells, top: int, label: str) -> Array:
    """``[c]``: cells whose area or volume is not negligible against their longest side."""
    points = np.asarray(mesh.points, dtype=np.float64)
    size, nodes = as_polygons(cells) if top == 2 else (cells.size, cells.nodes)
    measure = cell_geometry(mesh)[2] if top == 2 else volume_geometry(mesh, label=label)[1]
    out = np.zeros(size.size, dtype=bool)
    filled = np.flatnonzero(size > 0)
    if filled.size == 0:
        return out
    start = running_sum(size[filled])[:-1]
    corners = points[nodes]
    extent = np.maximum.reduceat(corners, start, axis=0) - np.minimum.reduceat(corners, start, axis=0)
    longest = np.linalg.norm(extent, axis=1)
    limit = FLAT_AREA * longest**2 if top == 2 else FLAT_VOLUME * longest**3
    out[filled] = measure[filled] > limit
    return out
