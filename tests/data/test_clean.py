"""Cleaning: what is refused, what is dropped, and what is said about it."""

from __future__ import annotations

import numpy as np
import pytest
import pyvista as pv

from meshops.data.clean import clean_mesh
from meshops.errors import DataWarning, InputError


def plate(num: int = 3) -> pv.PolyData:
    mesh = pv.Plane(i_resolution=num, j_resolution=num)
    mesh.clear_data()
    mesh.cell_data["p"] = np.arange(mesh.n_cells, dtype=float)
    mesh.point_data["T"] = np.arange(mesh.n_points, dtype=float)
    return mesh


def test_sound_mesh_comes_back_untouched() -> None:
    mesh = plate()
    report = clean_mesh(mesh, label="plate", fields=("p", "T"))
    assert report.mesh is mesh and report.messages == ()
    assert report.kept_cells.tolist() == list(range(9))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bad_coordinates(value: float) -> None:
    mesh = plate()
    mesh.points[[3, 7], 1] = value
    with pytest.raises(
        InputError, match=r"a.vtp: 2 points have NaN or infinite coordinates, the first is point 3 at \("
    ):
        clean_mesh(mesh, label="a.vtp")


@pytest.mark.parametrize("name, where", [("p", "cell"), ("T", "point")])
def test_bad_field(name: str, where: str) -> None:
    mesh = plate()
    mesh[name][[4, 6]] = np.nan
    with pytest.raises(
        InputError,
        match=f"a.vtp: {where} array '{name}' holds 2 NaN or infinite values, the first at {where} 4; repair",
    ):
        clean_mesh(mesh, label="a.vtp", fields=(name,))
    clean_mesh(mesh, label="a.vtp")  # nobody asked for the field


def test_missing_field_lists_the_arrays() -> None:
    with pytest.raises(InputError, match="no array 'U'; cell arrays: 'p'; point arrays: 'T'"):
        clean_mesh(plate(), label="a.vtp", fields=("U",))


def test_cells_without_area_are_dropped_and_counted() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]], dtype=np.float32)
    mesh = pv.PolyData(points, faces=[3, 0, 1, 3, 3, 0, 1, 2, 3, 2, 2, 1])
    mesh.cell_data["p"] = np.array([np.nan, 5.0, np.nan])  # values of dropped cells do not matter
    mesh.point_data["T"] = np.arange(4.0)
    with pytest.warns(DataWarning, match="a.stl: 2 cells without area were dropped, the first is cell 0"):
        report = clean_mesh(mesh, label="a.stl", fields=("p",))
    assert report.kept_cells.tolist() == [1] and report.mesh.cell_data["p"].tolist() == [5.0]
    assert report.mesh.n_points == 4 and report.mesh.point_data["T"].tolist() == [0, 1, 2, 3]
    assert mesh.n_cells == 3 and len(report.messages) == 1
    with pytest.raises(InputError, match="all 2 cells have no area"):
        clean_mesh(mesh.extract_cells([0, 2]), label="a.stl")


def test_slivers_are_kept() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1e-5, 0], [0, 1e-5, 0]])
    assert clean_mesh(pv.PolyData(points, faces=[4, 0, 1, 2, 3]), label="layer").messages == ()


def test_cells_without_volume_are_dropped() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], dtype=float)
    mesh = pv.UnstructuredGrid([4, 0, 1, 2, 3, 4, 0, 1, 2, 4], [10, 10], points)
    with pytest.warns(DataWarning, match="1 cells without volume were dropped, the first is cell 1"):
        report = clean_mesh(mesh, label="a.vtu")
    assert report.kept_cells.tolist() == [0] and isinstance(report.mesh, pv.UnstructuredGrid)


def test_faces_and_lines_beside_volumes_are_dropped() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
    mesh = pv.UnstructuredGrid([1, 0, 2, 0, 1, 4, 0, 1, 2, 3, 3, 0, 1, 2], [1, 3, 10, 5], points)
    mesh.cell_data["p"] = np.arange(4.0)
    with pytest.warns(DataWarning, match="3 cells of lower dimension"):
        report = clean_mesh(mesh, label="a.msh")
    assert report.kept_cells.tolist() == [2] and report.mesh.cell_data["p"].tolist() == [2.0]


def test_meshes_without_cells() -> None:
    cloud = pv.PolyData()
    cloud.points = np.zeros((3, 3))
    for mesh, what in (
        (cloud, "no cells"),
        (pv.PolyData(np.zeros((3, 3))), "vertices only"),
        (pv.Line(), "lines only"),
    ):
        with pytest.raises(InputError, match=f"points and {what}; a mesh needs faces or volumes"):
            clean_mesh(mesh, label="a.vtp")
    with pytest.raises(InputError, match=r"a.vtp: the mesh is empty \(0 points\)"):
        clean_mesh(pv.PolyData(), label="a.vtp")


def test_strips_become_triangles() -> None:
    strips = pv.Sphere(theta_resolution=8, phi_resolution=8).strip()
    strips.clear_data()
    strips.cell_data["id"] = np.arange(strips.n_cells)
    with pytest.warns(DataWarning, match="triangle strips were split into triangles"):
        report = clean_mesh(strips, label="a.vtk")
    assert report.mesh.is_all_triangles and report.mesh.n_cells == strips.triangulate().n_cells
    assert np.array_equal(report.mesh.cell_data["id"], report.kept_cells)


def test_unused_points_can_be_dropped() -> None:
    mesh = plate(2)
    mesh = pv.PolyData(np.concatenate([[[9, 9, 9]], mesh.points]), faces=mesh.faces + 0)
    faces = mesh.faces.reshape(-1, 5).copy()
    faces[:, 1:] += 1
    mesh = pv.PolyData(mesh.points, faces=faces)
    mesh.point_data["T"] = np.arange(10.0)
    assert clean_mesh(mesh, label="a").mesh.n_points == 10
    with pytest.warns(DataWarning, match="1 points in no cell were dropped"):
        report = clean_mesh(mesh, label="a", keep_unused_points=False)
    assert report.mesh.point_data["T"].tolist() == list(range(1, 10))
    assert report.mesh.area == pytest.approx(mesh.area)
