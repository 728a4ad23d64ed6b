"""Several blocks, pieces or zones as one mesh; grids without lists of cells; cells that are ghosts.

Blocks that a format names are parts. Points that two blocks have in common become one; points that lie on each other
within a block (a slit, a baffle) never do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvista as pv

from meshops.data.cells import (
    FLAT_TYPES,
    HEXAHEDRON,
    PIXEL,
    QUAD,
    VOXEL,
    Array,
    Cells,
    Mesh,
    cells_of,
    mesh_of,
    running_sum,
)  # fmt: skip
from meshops.data.reading import MeshRead, ReadNotes, Region, choose_parts
from meshops.errors import InputError

# Bits of vtkGhostType that say a cell is not to be counted: a copy of another piece's, refined elsewhere, hidden.
GHOST_CELL = 1 | 8 | 32
GHOST_ARRAY = "vtkGhostType"
# Values at a point two blocks share may differ by this much of their range and count as one.
SAME = 1e-5


@dataclass(frozen=True, eq=False)
class Block:
    """A piece of a mesh: name of its part (empty: none), mesh, whether it is read unless others are asked for."""

    name: str
    mesh: Mesh
    by_default: bool = True


def read_blocks(blocks: Sequence[Block], notes: ReadNotes, region: Region, label: str) -> MeshRead:
    """Choose parts and merge them; blocks of one name are one part.

    Without a wish the parts of the highest dimension are read, the others (side sets, boundary patches) are named in
    the notes.

    Raises:
        InputError: No block has cells, or there is no such part.
    """
    blocks = [Block(block.name, without_ghosts(block.mesh, notes), block.by_default) for block in blocks]
    any_points = any(block.mesh.n_points for block in blocks)
    blocks = [block for block in blocks if block.mesh.n_cells or (block.mesh.n_points and len(blocks) == 1)]
    if not blocks:
        what = "cells" if any_points else "points"
        raise InputError(f"{label}: the mesh is empty (no {what}); check the export")
    names = tuple(dict.fromkeys(block.name for block in blocks if block.name))
    if not names:
        return MeshRead(merge([block.mesh for block in blocks], notes)[0], notes)
    notes.parts = names
    if region is None:
        blocks = _default_blocks(blocks, notes)
        notes.chosen = tuple(name for name in names if any(block.name == name for block in blocks))
    else:
        notes.chosen = choose_parts(names, region, groups=notes.groups, label=label)
        blocks = [block for block in blocks if block.name in notes.chosen]
    mesh, block_of = merge([block.mesh for block in blocks], notes)
    place = np.array([notes.chosen.index(block.name) if block.name else len(notes.chosen) for block in blocks])
    if (place == len(notes.chosen)).any():
        notes.parts, notes.chosen = (*notes.parts, "unnamed"), (*notes.chosen, "unnamed")
    return MeshRead(mesh, notes, place[block_of])


def _default_blocks(blocks: list[Block], notes: ReadNotes) -> list[Block]:
    there = [block for block in blocks if block.by_default] or blocks
    top = max(_top(block.mesh) for block in there)
    kept = [block for block in there if _top(block.mesh) == top]
    dropped = dict.fromkeys(block.name for block in blocks if block not in kept)
    if dropped:
        names = ", ".join(list(dropped)[:12]) + (f" and {len(dropped) - 12} more" if len(dropped) > 12 else "")
        notes.remarks.append(f"not read, choose them as region: {names}")
    return kept


def _top(mesh: Mesh) -> int:
    dimension = cells_of(mesh).dimension
    return int(dimension.max()) if dimension.size else -1


def merge(meshes: Sequence[Mesh], notes: ReadNotes) -> tuple[Mesh, Array]:
    """One mesh of several and, for each cell, the place of the mesh it comes from.

    Arrays that some meshes lack are filled with NaN, or left out where they are no floating-point numbers or have
    several numbers of components; both are remarks.
    """
    if len(meshes) == 1:
        return meshes[0], np.zeros(meshes[0].n_cells, dtype=np.int64)
    cells = [cells_of(mesh) for mesh in meshes]
    num_points = np.array([mesh.n_points for mesh in meshes])
    point_data = _together([m.point_data for m in meshes], num_points, "points", notes)
    cell_data = _together([m.cell_data for m in meshes], np.array([c.size.size for c in cells]), "cells", notes)
    points = np.concatenate([np.asarray(mesh.points) for mesh in meshes])
    kept, renumber = _weld(points, num_points, point_data)
    joined = _concatenate(cells, running_sum(num_points)[:-1], renumber)
    grids = any(isinstance(mesh, pv.UnstructuredGrid) for mesh in meshes)
    out = mesh_of(points[kept], joined, as_grid=grids or not np.isin(joined.kind, FLAT_TYPES).all())
    for name, values in point_data.items():
        out.point_data[name] = values[kept]
    for name, values in cell_data.items():
        out.cell_data[name] = values
    for mesh in reversed(meshes):
        for name in mesh.field_data:
            out.field_data[name] = mesh.field_data[name]
    return out, np.repeat(np.arange(len(meshes)), [c.size.size for c in cells])


def _concatenate(cells: Sequence[Cells], first_point: Array, renumber: Array) -> Cells:
    nodes = np.concatenate([c.nodes + start for c, start in zip(cells, first_point, strict=True)])
    faces = np.concatenate([c.face_nodes + start for c, start in zip(cells, first_point, strict=True)])
    columns = ([getattr(c, name) for c in cells] for name in ("size", "kind", "num_faces", "face_size"))
    size, kind, num_faces, face_size = (np.concatenate(column) for column in columns)
    return Cells(size, renumber[nodes], kind, num_faces, face_size, renumber[faces])


def _weld(points: Array, num_points: Array, data: Mapping[str, Array]) -> tuple[Array, Array]:
    """Points to keep, and the new number of every point; see the head of this file for which are one."""
    owner = np.repeat(np.arange(num_points.size), num_points)
    order = np.lexsort((owner, *points.T))
    ordered, owners = points[order], owner[order]
    same_place = np.r_[False, (ordered[1:] == ordered[:-1]).all(axis=1)]
    place = np.cumsum(~same_place) - 1
    twice = np.r_[False, same_place[1:] & (owners[1:] == owners[:-1])]  # within one block: a slit
    apart = np.zeros(int(place[-1]) + 1, dtype=bool)
    apart[place[twice]] = True
    first = np.flatnonzero(~same_place)[place]  # position in the order of the first point there
    for values in data.values():
        rows = values[order].reshape(order.size, -1)
        if rows.dtype.kind == "f":
            finite = np.abs(rows[np.isfinite(rows)])
            unlike = ~(np.abs(rows - rows[first]) <= SAME * (finite.max() if finite.size else 0.0))
            unlike &= ~(np.isnan(rows) & np.isnan(rows[first]))
        else:
            unlike = rows != rows[first]
        apart[place[unlike.any(axis=1)]] = True
    target = np.where(apart[place], np.arange(order.size), first)
    root = np.empty(order.size, dtype=np.int64)
    root[order] = order[target]
    kept = np.flatnonzero(root == np.arange(root.size))
    number = np.empty(root.size, dtype=np.int64)
    number[kept] = np.arange(kept.size)
    return kept, number[root]


def _together(tables: Sequence[Any], counts: Array, place: str, notes: ReadNotes) -> dict[str, Array]:
    out = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        arrays = [np.asarray(table[name]) if name in table else None for table in tables]
        there = [a for a in arrays if a is not None]
        shape, dtype = there[0].shape[1:], np.result_type(*[a.dtype for a in there])
        if any(a.shape[1:] != shape for a in there):
            notes.remarks.append(f"'{name}' at the {place} has several numbers of components in the parts: left out")
            continue
        missing = len(arrays) - len(there)
        if missing and dtype.kind != "f":
            notes.remarks.append(f"'{name}' at the {place} is missing in {missing} of {len(arrays)} parts: left out")
            continue
        if missing:
            notes.remarks.append(f"'{name}' at the {place} is missing in {missing} of {len(arrays)} parts: NaN there")
        full = [
            np.full((count, *shape), np.nan, dtype) if a is None else a for a, count in zip(arrays, counts, strict=True)
        ]
        out[name] = np.concatenate(full).astype(dtype, copy=False)
    return out


def without_ghosts(mesh: Mesh, notes: ReadNotes) -> Mesh:
    """The mesh without the cells its ``vtkGhostType`` says are not its own, and without that array."""
    if GHOST_ARRAY not in mesh.cell_data and GHOST_ARRAY not in mesh.point_data:
        return mesh
    out = mesh
    if GHOST_ARRAY in mesh.cell_data:
        ghost = (np.asarray(mesh.cell_data[GHOST_ARRAY]).astype(np.int64) & GHOST_CELL) != 0
        if ghost.any():
            out = take_cells(mesh, np.flatnonzero(~ghost))
            notes.remarks.append(f"{int(ghost.sum())} ghost cells (copies or hidden) were dropped")
    out = out.copy(deep=False)
    for data in (out.cell_data, out.point_data):
        if GHOST_ARRAY in data:
            del data[GHOST_ARRAY]
    return out


def take_cells(mesh: Mesh, index: Array) -> Mesh:
    """Some cells of a mesh and the points they use, with all arrays."""
    cells = cells_of(mesh).take(index)
    used = np.zeros(mesh.n_points, dtype=bool)
    used[cells.nodes] = True
    used[cells.face_nodes] = True
    renumber = np.cumsum(used) - 1
    moved = Cells(
        cells.size, renumber[cells.nodes], cells.kind, cells.num_faces, cells.face_size, renumber[cells.face_nodes]
    )
    flat = isinstance(mesh, pv.PolyData) and np.isin(moved.kind, FLAT_TYPES).all()
    out = mesh_of(np.asarray(mesh.points)[used], moved, as_grid=not flat)
    if not len(index):  # PyVista takes no arrays without rows
        return out
    for name in mesh.point_data:
        out.point_data[name] = np.asarray(mesh.point_data[name])[used]
    for name in mesh.cell_data:
        out.cell_data[name] = np.asarray(mesh.cell_data[name])[index]
    for name in mesh.field_data:
        out.field_data[name] = mesh.field_data[name]
    return out


def leaves(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path ``a/b/c`` and data set of every leaf of a VTK collection; pieces of one block share its path."""
    if data is None:
        return
    kind = data.GetClassName()
    if kind in ("vtkMultiPieceDataSet", "vtkPartitionedDataSet"):
        for i in range(data.GetNumberOfPartitions() if kind.startswith("vtkPart") else data.GetNumberOfPieces()):
            leaf = data.GetPartitionAsDataObject(i) if kind.startswith("vtkPart") else data.GetPieceAsDataObject(i)
            yield from leaves(leaf, prefix)
    elif kind in ("vtkMultiBlockDataSet", "vtkPartitionedDataSetCollection"):
        whole = kind == "vtkMultiBlockDataSet"
        key = type(data).NAME()
        for i in range(data.GetNumberOfBlocks() if whole else data.GetNumberOfPartitionedDataSets()):
            child = data.GetBlock(i) if whole else data.GetPartitionedDataSet(i)
            about: Any = data.GetMetaData(i) if data.HasMetaData(i) else None
            named = about is not None and bool(about.Has(key)) and bool(about.Get(key))
            own = about.Get(key).strip() if named else f"block_{i}"
            yield from leaves(child, f"{prefix}/{own}" if prefix else own)
    elif data.IsA("vtkCompositeDataSet"):
        raise InputError(f"holds a {kind}, which is no mesh; export it as a multi-block or unstructured grid")
    else:
        yield prefix, data


def short_names(paths: Sequence[str]) -> list[str]:
    """Last names of paths where they tell them apart, else the paths without what all have in common."""
    whole = list(dict.fromkeys(paths))
    for depth in range(1, 1 + max((path.count("/") + 1 for path in whole), default=0)):
        short = {path: "/".join(path.split("/")[-depth:]) for path in whole}
        if len(set(short.values())) == len(whole):
            return [short[path] for path in paths]
    return list(paths)


def as_mesh(data: Any, label: str) -> Mesh:
    """PolyData or UnstructuredGrid of any VTK data set; grids keep the order of their cells and points.

    Raises:
        InputError: It is no mesh (a table, a graph).
    """
    mesh = pv.wrap(data)
    if isinstance(mesh, pv.PolyData | pv.UnstructuredGrid):
        return mesh
    if not isinstance(mesh, pv.DataSet):
        kind = type(mesh).__name__ if mesh is not None else "nothing"
        raise InputError(f"{label}: holds a {kind}, which is no mesh; export a PolyData or UnstructuredGrid")
    grid = mesh.cast_to_unstructured_grid()
    kind_of = np.asarray(grid.celltypes)
    if not np.isin(kind_of, (VOXEL, PIXEL)).any():
        return grid
    cells = cells_of(grid)
    nodes = cells.nodes.copy()
    for old, swaps in ((VOXEL, ((2, 3), (6, 7))), (PIXEL, ((2, 3),))):
        start = cells.start[kind_of == old]
        for a, b in swaps:
            nodes[start + a], nodes[start + b] = nodes[start + b], nodes[start + a]
    kinds = np.where(kind_of == VOXEL, HEXAHEDRON, np.where(kind_of == PIXEL, QUAD, kind_of))
    straight = Cells(cells.size, nodes, kinds.astype(np.uint8), cells.num_faces, cells.face_size, cells.face_nodes)
    out = mesh_of(np.asarray(grid.points), straight, as_grid=True)
    for name in grid.point_data:
        out.point_data[name] = grid.point_data[name]
    for name in grid.cell_data:
        out.cell_data[name] = grid.cell_data[name]
    for name in grid.field_data:
        out.field_data[name] = grid.field_data[name]
    return out
