"""Cells of a mesh in compressed form, taken from and given back to VTK without loss.

Type numbers and node orders are those of VTK. Faces of the volume cells are listed with normals pointing the same way
(all out of the cell or all into it), so that signed volumes are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyvista as pv
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import VTK_UNSIGNED_CHAR
from vtkmodules.vtkCommonDataModel import vtkCellArray

from meshops.errors import InputError, listing

Array = np.ndarray[Any, Any]
Mesh: TypeAlias = pv.PolyData | pv.UnstructuredGrid

VERTEX, POLY_VERTEX, LINE, POLY_LINE, TRIANGLE, STRIP, POLYGON, PIXEL, QUAD = range(1, 10)
TETRA, VOXEL, HEXAHEDRON, WEDGE, PYRAMID, PENTAGONAL_PRISM, HEXAGONAL_PRISM = range(10, 17)
QUADRATIC_POLYGON, CONVEX_POINT_SET, POLYHEDRON = 36, 41, 42
FLAT_TYPES = (TRIANGLE, POLYGON, QUAD)

# Higher-order type -> linear type with the same corners; the corners come first in the list of nodes.
LINEAR = {22: 5, 34: 5, 69: 5, 76: 5, 23: 9, 28: 9, 30: 9, 70: 9, 77: 9, 24: 10, 71: 10, 78: 10}
LINEAR |= {25: 12, 29: 12, 33: 12, 72: 12, 79: 12, 26: 13, 31: 13, 32: 13, 73: 13, 80: 13}
LINEAR |= {27: 14, 37: 14, 74: 14, 81: 14}
CORNERS = {TRIANGLE: 3, QUAD: 4, TETRA: 4, HEXAHEDRON: 8, WEDGE: 6, PYRAMID: 5}

FACES: dict[int, tuple[tuple[int, ...], ...]] = {
    TETRA: ((0, 1, 3), (1, 2, 3), (2, 0, 3), (0, 2, 1)),
    VOXEL: ((0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6)),
    HEXAHEDRON: ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)),
    WEDGE: ((0, 1, 2), (3, 5, 4), (0, 3, 4, 1), (1, 4, 5, 2), (2, 5, 3, 0)),
    PYRAMID: ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
    PENTAGONAL_PRISM: (
        (0, 4, 3, 2, 1),
        (5, 6, 7, 8, 9),
        *((i, (i + 1) % 5, (i + 1) % 5 + 5, i + 5) for i in range(5)),
    ),
    HEXAGONAL_PRISM: (
        (0, 5, 4, 3, 2, 1),
        (6, 7, 8, 9, 10, 11),
        *((i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6) for i in range(6)),
    ),
}

# Dimension of each cell type, -1 for a number VTK does not know.
DIMENSION = np.full(256, -1, dtype=np.int8)
DIMENSION[[0, VERTEX, POLY_VERTEX]] = 0
DIMENSION[[LINE, POLY_LINE, 21, 35, 68, 75]] = 1
DIMENSION[[TRIANGLE, STRIP, POLYGON, PIXEL, QUAD, 22, 23, 28, 30, 34, 36, 69, 70, 76, 77]] = 2
DIMENSION[[*range(10, 17), 24, 25, 26, 27, 29, 31, 32, 33, 37, 41, 42, *range(71, 75), *range(78, 82)]] = 3


@dataclass(frozen=True)
class Cells:
    """Cells of a mesh.

    Attributes:
        size: ``[c]`` int64, number of nodes of each cell.
        nodes: ``[sum(size)]`` int64, node lists one after the other.
        kind: ``[c]`` uint8, VTK cell types.
        num_faces: ``[c]`` int64, faces of each polyhedron, 0 for other cells.
        face_size, face_nodes: the faces of the polyhedra in the same form.
    """

    size: Array
    nodes: Array
    kind: Array
    num_faces: Array
    face_size: Array
    face_nodes: Array

    @property
    def start(self) -> Array:
        """``[c]``: where the nodes of each cell begin."""
        return running_sum(self.size)[:-1]

    @property
    def owner(self) -> Array:
        """``[sum(size)]``: the cell each entry of ``nodes`` belongs to."""
        return np.repeat(np.arange(self.size.size), self.size)

    @property
    def dimension(self) -> Array:
        """``[c]``: 0 for vertices, 1 for lines, 2 for faces, 3 for volumes, -1 for unknown types."""
        out: Array = DIMENSION[self.kind]
        return out

    def take(self, index: Array) -> Cells:
        """Return the cells ``index`` (ids, may repeat) in that order."""
        size, num_faces = self.size[index], self.num_faces[index]
        entries = gather_ranges(self.start[index], size)
        faces = gather_ranges(running_sum(self.num_faces)[:-1][index], num_faces)
        face_size = self.face_size[faces]
        face_entries = gather_ranges(running_sum(self.face_size)[:-1][faces], face_size)
        return Cells(size, self.nodes[entries], self.kind[index], num_faces, face_size, self.face_nodes[face_entries])


def make_cells(size: Array, nodes: Array, kind: Array) -> Cells:
    """Cells without polyhedra."""
    none = np.zeros(0, dtype=np.int64)
    size = np.asarray(size, dtype=np.int64)
    return Cells(
        size, np.asarray(nodes, dtype=np.int64), np.asarray(kind, np.uint8), np.zeros(size.size, np.int64), none, none
    )


def running_sum(sizes: Array) -> Array:
    """``[c] -> [c + 1]``: running sum with a leading zero."""
    out = np.zeros(sizes.size + 1, dtype=np.int64)
    np.cumsum(sizes, out=out[1:])
    return out


def gather_ranges(start: Array, size: Array) -> Array:
    """``concatenate([arange(s, s + k) for s, k in zip(start, size)])``."""
    out: Array = np.arange(int(size.sum()), dtype=np.int64)
    out += np.repeat(start - running_sum(size)[:-1], size)
    return out


def segment_sum(values: Array, owner: Array, count: int) -> Array:
    """Sum the rows of ``values [m, d]`` (or ``[m]``) that share an owner: ``[count, d]`` float64."""
    if values.ndim == 1:
        total: Array = np.bincount(owner, weights=values, minlength=count)
        return total
    out: Array = np.empty((count, values.shape[1]))
    for i, column in enumerate(values.T):
        out[:, i] = np.bincount(owner, weights=column, minlength=count)
    return out


def cells_of(mesh: Mesh) -> Cells:
    """Return the cells of a PyVista mesh, in its order (for PolyData: vertices, lines, polygons, strips)."""
    if isinstance(mesh, pv.PolyData):
        return _poly_cells(mesh)
    size, nodes = _lists(mesh.GetCells())
    kind = np.asarray(mesh.celltypes, dtype=np.uint8)
    cells = make_cells(size, nodes, kind)
    faces, locations = mesh.GetPolyhedronFaces(), mesh.GetPolyhedronFaceLocations()
    if not (kind == POLYHEDRON).any() or faces is None or locations is None:
        return cells
    num_faces, face_ids = _lists(locations)
    face_size, face_nodes = _lists(faces)
    if num_faces.size != kind.size or np.array_equal(face_ids, np.arange(face_size.size)):
        return Cells(size, nodes, kind, num_faces, face_size, face_nodes)
    entries = gather_ranges(running_sum(face_size)[:-1][face_ids], face_size[face_ids])
    return Cells(size, nodes, kind, num_faces, face_size[face_ids], face_nodes[entries])


def mesh_of(points: Array, cells: Cells, *, as_grid: bool = False) -> Mesh:
    """Make a PyVista mesh: PolyData when all cells are triangles, quads or polygons, else an UnstructuredGrid."""
    if not as_grid and bool(np.isin(cells.kind, FLAT_TYPES).all()):
        poly = pv.PolyData()
        poly.points = np.ascontiguousarray(points)
        poly.SetPolys(cell_array(cells.size, cells.nodes))
        return poly
    grid = pv.UnstructuredGrid()
    grid.points = np.ascontiguousarray(points)
    kind = numpy_to_vtk(np.ascontiguousarray(cells.kind), deep=True, array_type=VTK_UNSIGNED_CHAR)
    connectivity = cell_array(cells.size, cells.nodes)
    if (cells.kind == POLYHEDRON).any():
        locations = cell_array(cells.num_faces, np.arange(cells.face_size.size))
        grid.SetPolyhedralCells(kind, connectivity, locations, cell_array(cells.face_size, cells.face_nodes))
    else:
        grid.SetCells(kind, connectivity)
    return grid


def as_polygons(cells: Cells) -> tuple[Array, Array]:
    """Corner lists ``(size [c], nodes)`` of 2-D cells in the order of their rim; other cells get size 0."""
    size = np.where(np.isin(cells.kind, (*FLAT_TYPES, PIXEL)), cells.size, 0)
    for kind, base in LINEAR.items():
        if base in (TRIANGLE, QUAD):
            size[cells.kind == kind] = CORNERS[base]
    half = cells.kind == QUADRATIC_POLYGON
    size[half] = cells.size[half] // 2
    if size.size and size.sum() == cells.nodes.size:
        nodes = cells.nodes
    else:
        nodes = cells.nodes[gather_ranges(cells.start, size)]
    pixels = running_sum(size)[:-1][cells.kind == PIXEL]
    if pixels.size:
        nodes = nodes.copy()
        nodes[pixels + 2], nodes[pixels + 3] = nodes[pixels + 3], nodes[pixels + 2]
    return size, nodes


def cell_faces(cells: Cells, label: str = "mesh") -> tuple[Array, Array, Array]:
    """Faces of all volume cells: ``(owner cell [f], size [f], nodes)``, grouped by cell type.

    Raises:
        InputError: A volume cell type without known faces.
    """
    owners, sizes, nodes = [], [], []
    linear = linear_kind(cells)
    start = cells.start
    for kind in np.unique(linear[DIMENSION[linear] == 3]):
        index = np.flatnonzero(linear == kind)
        if kind == POLYHEDRON:
            owners.append(np.repeat(np.arange(cells.kind.size), cells.num_faces))
            sizes.append(cells.face_size)
            nodes.append(cells.face_nodes)
            continue
        if int(kind) not in FACES:
            raise InputError(
                f"{label}: {index.size} cells have VTK type {kind}, whose faces are not known; "
                f"known volume types are {listing(sorted(FACES))} and 42 (polyhedron); export polyhedra instead"
            )
        for face in FACES[int(kind)]:
            owners.append(index)
            sizes.append(np.full(index.size, len(face)))
            nodes.append(cells.nodes[start[index][:, None] + np.array(face)].reshape(-1))
    if not owners:
        none = np.zeros(0, dtype=np.int64)
        return none, none, none
    return np.concatenate(owners), np.concatenate(sizes), np.concatenate(nodes)


def linear_kind(cells: Cells) -> Array:
    """``[c]`` VTK types with higher-order cells replaced by the linear cell on their corners."""
    table = np.arange(256, dtype=np.uint8)
    for kind, base in LINEAR.items():
        table[kind] = base
    out: Array = table[cells.kind]
    return out


def expand_strips(cells: Cells) -> tuple[Cells, Array]:
    """Replace triangle strips by triangles: the new cells and, for each, the id of the old one."""
    strips = cells.kind == STRIP
    index = np.arange(cells.kind.size)
    if not strips.any():
        return cells, index
    parts = np.where(strips, np.maximum(cells.size - 2, 0), 1)
    parent = np.repeat(index, parts)
    flat = strips[parent]
    step = (np.arange(parent.size) - np.repeat(running_sum(parts)[:-1], parts))[flat]
    first = cells.start[parent[flat]] + step
    odd = step % 2
    triangles = np.stack([cells.nodes[first + odd], cells.nodes[first + 1 - odd], cells.nodes[first + 2]], axis=1)
    out = cells.take(parent[~flat])
    size = np.full(parent.size, 3)
    size[~flat] = out.size
    kind = np.full(parent.size, TRIANGLE, dtype=np.uint8)
    kind[~flat] = out.kind
    num_faces = np.zeros(parent.size, dtype=np.int64)
    num_faces[~flat] = out.num_faces
    nodes = np.empty(int(size.sum()), dtype=np.int64)
    of_triangle = np.repeat(flat, size)
    nodes[of_triangle] = triangles.reshape(-1)
    nodes[~of_triangle] = out.nodes
    return Cells(size, nodes, kind, num_faces, out.face_size, out.face_nodes), parent


def _poly_cells(mesh: pv.PolyData) -> Cells:
    sizes, nodes, kinds = [], [], []
    for which, array in enumerate((mesh.GetVerts(), mesh.GetLines(), mesh.GetPolys(), mesh.GetStrips())):
        if array is None or array.GetNumberOfCells() == 0:
            continue
        size, ids = _lists(array)
        kind = np.full(size.size, POLYGON, dtype=np.uint8)
        if which == 2:
            kind[size == 3], kind[size == 4] = TRIANGLE, QUAD
        elif which == 3:
            kind[:] = STRIP
        else:
            kind[:] = np.where(size == which + 1, VERTEX + 2 * which, POLY_VERTEX + 2 * which)
        sizes.append(size)
        nodes.append(ids)
        kinds.append(kind)
    if not sizes:
        return make_cells(np.zeros(0), np.zeros(0), np.zeros(0))
    return make_cells(np.concatenate(sizes), np.concatenate(nodes), np.concatenate(kinds))


def _lists(array: vtkCellArray | None) -> tuple[Array, Array]:
    if array is None or array.GetNumberOfCells() == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    offsets = vtk_to_numpy(array.GetOffsetsArray()).astype(np.int64)
    nodes = vtk_to_numpy(array.GetConnectivityArray()).astype(np.int64)
    return np.diff(offsets), nodes[offsets[0] : offsets[-1]]


def cell_array(size: Array, nodes: Array) -> vtkCellArray:
    """Lists of points as VTK stores them."""
    out = vtkCellArray()
    offsets = numpy_to_vtk(running_sum(size), deep=True)
    out.SetData(offsets, numpy_to_vtk(np.ascontiguousarray(nodes, dtype=np.int64), deep=True))
    return out
