"""Whether the cells of a mesh can be worked on at all: lists that fit, points that exist, types that are known.

Readers of VTK hand damaged lists on as they are; everything behind them may rely on these checks.
"""

from __future__ import annotations

import numpy as np
import pyvista as pv
from vtkmodules.util.numpy_support import vtk_to_numpy

from meshops.data.cells import DIMENSION, POLYHEDRON, Array, Mesh, cells_of
from meshops.errors import InputError

DAMAGED = "the file is damaged, export it again"
# Number of points of cells whose type fixes it.
FIXED = {
    1: 1, 3: 2, 5: 3, 8: 4, 9: 4, 10: 4, 11: 8, 12: 8, 13: 6, 14: 5, 15: 10, 16: 12, 21: 3, 22: 6, 23: 8, 24: 10,
    25: 20, 26: 15, 27: 13, 28: 9, 29: 27, 30: 6, 31: 12, 32: 18, 33: 24, 34: 7, 35: 4, 37: 19,
}  # fmt: skip
LEAST = {2: 1, 4: 2, 6: 3, 7: 3, 36: 6, 41: 1, 42: 4}
NAMES = {
    0: "empty", 1: "vertex", 2: "poly_vertex", 3: "line", 4: "poly_line", 5: "triangle", 6: "triangle_strip",
    7: "polygon", 8: "pixel", 9: "quad", 10: "tetra", 11: "voxel", 12: "hexahedron", 13: "wedge", 14: "pyramid",
    15: "pentagonal_prism", 16: "hexagonal_prism", 21: "quadratic_edge", 22: "quadratic_triangle",
    23: "quadratic_quad", 24: "quadratic_tetra", 25: "quadratic_hexahedron", 26: "quadratic_wedge",
    27: "quadratic_pyramid", 28: "biquadratic_quad", 29: "triquadratic_hexahedron", 30: "quadratic_linear_quad",
    31: "quadratic_linear_wedge", 32: "biquadratic_quadratic_wedge", 33: "biquadratic_quadratic_hexahedron",
    34: "biquadratic_triangle", 35: "cubic_line", 36: "quadratic_polygon", 37: "triquadratic_pyramid",
    41: "convex_point_set", 42: "polyhedron", 68: "lagrange_curve", 69: "lagrange_triangle",
    70: "lagrange_quadrilateral", 71: "lagrange_tetrahedron", 72: "lagrange_hexahedron", 73: "lagrange_wedge",
    74: "lagrange_pyramid", 75: "bezier_curve", 76: "bezier_triangle", 77: "bezier_quadrilateral",
    78: "bezier_tetrahedron", 79: "bezier_hexahedron", 80: "bezier_wedge", 81: "bezier_pyramid",
}  # fmt: skip
# Most points of a Lagrange or Bezier cell of order 2, by its place in the list of kinds above.
OF_ORDER_2 = {68: 3, 69: 7, 70: 9, 71: 15, 72: 27, 73: 18, 74: 14}


def check_mesh(mesh: Mesh, label: str) -> None:
    """Refuse cells that name what is not there, arrays of the wrong length, and cells of order 3 and more.

    Raises:
        InputError: Names the first thing that is wrong.
    """
    _check_offsets(mesh, label)
    cells = cells_of(mesh)
    nodes = cells.nodes
    for ids in (nodes, cells.face_nodes):
        if ids.size and not (0 <= int(ids.min()) and int(ids.max()) < mesh.n_points):
            wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
            raise InputError(f"{label}: a cell names point {wrong} of {mesh.n_points}; {DAMAGED}")
    if cells.kind.size != cells.size.size or (DIMENSION[cells.kind] < 0).any():
        wrong = int(cells.kind[DIMENSION[cells.kind] < 0][0]) if (DIMENSION[cells.kind] < 0).any() else -1
        what = f"a cell has the type {wrong}, which VTK does not have" if wrong >= 0 else "cells without a type"
        raise InputError(f"{label}: {what}; {DAMAGED}")
    _check_sizes(cells.kind, cells.size, label)
    if (cells.kind == POLYHEDRON).any():
        faces = cells.num_faces
        if faces.size != cells.kind.size or int(faces.sum()) != cells.face_size.size or (cells.face_size < 1).any():
            raise InputError(f"{label}: the faces of the polyhedra do not fit together; {DAMAGED}")
        if (faces[cells.kind == POLYHEDRON] < 4).any():
            raise InputError(f"{label}: a polyhedron has fewer than four faces; {DAMAGED}")
    _check_arrays(mesh, label)


def count_kinds(mesh: Mesh) -> dict[str, int]:
    """Number of cells of each kind, by the names of VTK."""
    kinds, counts = np.unique(cells_of(mesh).kind, return_counts=True)
    return {NAMES.get(int(k), f"type_{k}"): int(n) for k, n in zip(kinds, counts, strict=True)}


def _check_offsets(mesh: Mesh, label: str) -> None:
    if isinstance(mesh, pv.PolyData):
        arrays = [mesh.GetVerts(), mesh.GetLines(), mesh.GetPolys(), mesh.GetStrips()]
    else:
        arrays = [mesh.GetCells(), mesh.GetPolyhedronFaces(), mesh.GetPolyhedronFaceLocations()]
    for array in arrays:
        if array is None or array.GetNumberOfCells() == 0:
            continue
        offsets = vtk_to_numpy(array.GetOffsetsArray())
        stored = array.GetConnectivityArray().GetNumberOfTuples()
        if int(offsets[0]) < 0 or int(offsets[-1]) > stored or (offsets[1:] < offsets[:-1]).any():
            raise InputError(f"{label}: the lists of the cells run backwards or past their end; {DAMAGED}")
    faces, locations = (arrays[1], arrays[2]) if len(arrays) == 3 else (None, None)
    if faces is not None and locations is not None and locations.GetNumberOfCells():
        ids = vtk_to_numpy(locations.GetConnectivityArray())
        if ids.size and not (0 <= int(ids.min()) and int(ids.max()) < faces.GetNumberOfCells()):
            raise InputError(f"{label}: a polyhedron names faces that are not there; {DAMAGED}")


def _check_sizes(kind: Array, size: Array, label: str) -> None:
    for number in np.unique(kind):
        sizes = size[kind == number]
        least, most = int(sizes.min()), int(sizes.max())
        name = NAMES.get(int(number), f"type {number}")
        wanted = FIXED.get(int(number))
        if wanted is not None and (least != wanted or most != wanted):
            wrong = least if least != wanted else most
            raise InputError(f"{label}: a {name} has {wrong} points instead of {wanted}; {DAMAGED}")
        if least < LEAST.get(int(number), 0):
            raise InputError(f"{label}: a {name} has {least} points; {DAMAGED}")
        check_order(int(number), most, label)


def check_order(kind: int, num_points: int, label: str) -> None:
    """Refuse elements of order 3 and more: nothing here integrates over curved cells."""
    base = kind - 7 if kind >= 75 else kind
    limit = OF_ORDER_2.get(base)
    if kind == 35 or (limit is not None and num_points > limit):
        order = 3
        while limit is not None and _points_of(base, order) < num_points:
            order += 1
        raise InputError(
            f"{label}: order {order} elements are not supported ({NAMES[kind]} of {num_points} points); "
            "export the mesh in order 1 or 2"
        )


def _points_of(kind: int, order: int) -> int:
    """Points of a Lagrange cell."""
    n = order + 1
    return {
        68: n, 69: n * (n + 1) // 2, 70: n * n, 71: n * (n + 1) * (n + 2) // 6, 72: n**3,
        73: n * n * (n + 1) // 2, 74: n * (n + 1) * (2 * n + 1) // 6,
    }[kind]  # fmt: skip


def _check_arrays(mesh: Mesh, label: str) -> None:
    for attributes, count, place in (
        (mesh.GetPointData(), mesh.n_points, "point"),
        (mesh.GetCellData(), mesh.n_cells, "cell"),
    ):
        for i in range(attributes.GetNumberOfArrays()):
            array = attributes.GetAbstractArray(i)
            if array is not None and array.GetNumberOfTuples() != count:
                raise InputError(
                    f"{label}: the {place} array '{array.GetName()}' has {array.GetNumberOfTuples()} rows for {count} "
                    f"{place}s; {DAMAGED}"
                )
