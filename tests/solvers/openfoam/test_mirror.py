"""The mirror image of a half: twice the volume, no seam, vectors turned."""

from __future__ import annotations

import numpy as np
import pytest
import pyvista as pv

from meshops.data.cells import POLYHEDRON, Cells, as_polygons, cell_faces, cells_of, mesh_of
from meshops.data.polygons import outer_faces, polygon_geometry
from meshops.solvers.openfoam.mirror import flat_walls, mirrored


def box() -> pv.UnstructuredGrid:
    """A hexahedron, a wedge, a pyramid and a tetrahedron beside y = 0."""
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1],
                       [2, 0, 0], [2, 0, 1], [0.5, 0.5, 2], [0.5, 0, 2.0], [1, 0, 2.5]], dtype=float)  # fmt: skip
    cells = [8, 0, 1, 2, 3, 4, 5, 6, 7, 6, 1, 8, 2, 5, 9, 6, 5, 4, 5, 6, 7, 10, 4, 4, 5, 10, 11]
    kinds = [pv.CellType.HEXAHEDRON, pv.CellType.WEDGE, pv.CellType.PYRAMID, pv.CellType.TETRA]
    return pv.UnstructuredGrid(cells, kinds, points)


def as_polyhedra(mesh: pv.UnstructuredGrid) -> pv.UnstructuredGrid:
    """The same cells, each as a polyhedron."""
    cells = cells_of(mesh)
    owner, size, nodes = cell_faces(cells)
    order = np.argsort(owner, kind="stable")
    start = np.cumsum(size) - size
    entries = np.concatenate([nodes[start[i] : start[i] + size[i]] for i in order])
    count = np.bincount(owner, minlength=cells.size.size)
    kind = np.full(cells.size.size, POLYHEDRON, np.uint8)
    made = Cells(cells.size, cells.nodes, kind, count, size[order], entries)
    return mesh_of(np.asarray(mesh.points), made, as_grid=True)


def volumes(mesh: pv.UnstructuredGrid) -> np.ndarray:
    """By the theorem of Gauss over the faces of each cell, signed."""
    owner, size, nodes = cell_faces(cells_of(mesh))
    center, vector = polygon_geometry(np.asarray(mesh.points, dtype=float), size, nodes)
    return np.bincount(owner, weights=np.einsum("ij,ij->i", center, vector) / 3)


@pytest.mark.parametrize("polyhedra", [False, True])
def test_a_mirrored_volume_has_its_cells_twice_and_no_seam(polyhedra: bool) -> None:
    half = as_polyhedra(box()) if polyhedra else box()
    half.cell_data["U"] = np.arange(12.0).reshape(4, 3)
    half.cell_data["p"] = np.arange(4.0)
    whole = mirrored(half)
    assert volumes(whole) == pytest.approx(np.tile(volumes(half), 2))  # signed: the order of corners turns too
    _, size, nodes = cell_faces(cells_of(whole))
    outside = outer_faces(size, nodes)
    center, _ = polygon_geometry(np.asarray(whole.points, dtype=float), size, nodes)
    assert np.abs(center[outside][:, 1]).min() > 0.1  # nothing is left open at the plane
    assert whole.n_points == 2 * half.n_points - int((np.asarray(half.points)[:, 1] == 0).sum())
    assert np.asarray(whole.cell_data["p"]).tolist() == [0, 1, 2, 3] * 2
    assert np.asarray(whole.cell_data["U"])[4:].tolist() == [[0, -1, 2], [3, -4, 5], [6, -7, 8], [9, -10, 11]]


def test_a_mirrored_surface_closes_and_faces_as_before() -> None:
    whole = pv.Cube(x_length=2, y_length=2, z_length=2).triangulate().subdivide(2, "linear").clean()
    faces = whole.regular_faces[np.asarray(whole.cell_centers().points)[:, 1] > 0]
    both = mirrored(pv.PolyData.from_regular_faces(whole.points, faces)).clean()
    assert both.n_open_edges == 0
    size, nodes = as_polygons(cells_of(both))
    center, vector = polygon_geometry(np.asarray(both.points, dtype=float), size, nodes)
    assert np.einsum("ij,ij->", center, vector) / 3 == pytest.approx(8)
    assert (np.einsum("ij,ij->i", center, vector) > 0).all()  # out of the cube, on both sides


def test_uneven_outer_walls_become_flat_and_nothing_else_moves() -> None:
    mesh = pv.ImageData(dimensions=(5, 5, 5)).cast_to_unstructured_grid()
    even = np.asarray(mesh.points, dtype=float).copy()
    mesh.points = even + 1e-5 * np.sin(np.arange(even.size)).reshape(even.shape)
    flat_walls(mesh)
    points = np.asarray(mesh.points)
    for axis in range(3):
        assert len(np.unique(points[even[:, axis] == 0, axis])) == 1
    inner = ((even > 0) & (even < 4)).all(axis=1)
    assert (points[inner] != even[inner]).any()
