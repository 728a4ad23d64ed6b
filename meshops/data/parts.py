"""Parts of a mesh: cells of a file that were chosen by name, and what is said about the others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from meshops.data.cells import Array, Cells, mesh_of
from meshops.data.reading import MeshRead, ReadNotes, Region, choose_parts, wanted_parts
from meshops.errors import InputError, listing


def select_cells(
    points: Array,
    cells: Cells,
    members: Mapping[str, Array],
    notes: ReadNotes,
    region: Region,
    *,
    label: str,
    point_data: Mapping[str, Array] | None = None,
    cell_data: Mapping[str, Array] | None = None,
) -> MeshRead:
    """Mesh of the chosen parts; without a wish, of all cells of the highest dimension.

    Cells of lower dimension are boundaries that can be chosen by name; they are no cells of the mesh. Points keep
    their numbers, unless a part was asked for: then those of other parts are left out.

    Args:
        points: ``[m, 3]`` float64.
        cells: All cells of the file, in its order.
        members: Part -> ids of its cells; a cell may be in several.
        notes: Format, groups, times; parts, chosen parts, cells and remarks are added.
        region: Parts that are wanted.
        label: How messages call the file.
        point_data: Arrays with a row per point.
        cell_data: Arrays with a row per cell of the file.

    Raises:
        InputError: A wished part does not exist, or the mesh is empty.
    """
    dimension = cells.dimension
    if cells.size.size == 0:
        raise InputError(f"{label}: the mesh is empty (no cells); check the export")
    top = dimension == dimension.max()
    notes.parts = tuple(members)
    if wanted_parts(region):
        notes.chosen = choose_parts(notes.parts, region, groups=notes.groups, label=label)
        keep = np.zeros(dimension.size, dtype=bool)
        for name in notes.chosen:
            keep[members[name]] = True
        if not keep.any():
            raise InputError(f"{label}: the part {listing(notes.chosen)} holds no cells; choose another")
    else:
        keep = top
        notes.chosen = tuple(name for name, ids in members.items() if top[ids].any())
        _say_markers(notes, members, int((~top).sum()))
    index = np.flatnonzero(keep)
    part = np.full(dimension.size, -1, dtype=np.int64)
    for place, name in reversed(list(enumerate(notes.chosen))):
        part[members[name]] = place
    chosen = cells.take(index)
    used = used_points(chosen, len(points)) if wanted_parts(region) else np.arange(len(points))
    if wanted_parts(region):
        renumber = np.zeros(len(points), dtype=np.int64)
        renumber[used] = np.arange(used.size)
        chosen = Cells(chosen.size, renumber[chosen.nodes], chosen.kind, *_no_faces(chosen))
    mesh = mesh_of(points[used], chosen, as_grid=True)
    for name, values in (point_data or {}).items():
        mesh.point_data[name] = values[used]
    for name, values in (cell_data or {}).items():
        mesh.cell_data[name] = values[index]
    idle = len(points) - used_points(cells, len(points)).size
    if idle and not wanted_parts(region):
        notes.remarks.append(f"{idle:,} points belong to no cell")
    body = None
    if wanted_parts(region) and set(chosen.dimension) >= {2, 3}:
        body = mesh_of(points[used], chosen.take(np.flatnonzero(chosen.dimension == 2)), as_grid=True)
    return MeshRead(mesh, notes, part[index] if notes.chosen else None, body=body)


def used_points(cells: Cells, num_points: int) -> Array:
    """Points that belong to a cell, ascending."""
    used = np.zeros(num_points, dtype=bool)
    used[cells.nodes] = True
    used[cells.face_nodes] = True
    return np.flatnonzero(used)


def _say_markers(notes: ReadNotes, members: Mapping[str, Array], count: int) -> None:
    if count:
        left = [name for name in members if name not in notes.chosen]
        names = f" in the parts {listing(left, 20)}, to be chosen as region," if left else ""
        notes.remarks.append(f"{count:,} cells of lower dimension (boundaries){names} are no cells of the mesh")


def _no_faces(cells: Cells) -> tuple[Array, Array, Array]:
    return cells.num_faces, cells.face_size, cells.face_nodes
