"""Written and read again: every format that can be written, every kind of cell, every place of a field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

import meshops
from meshops.data import readers
from meshops.data.cells import FLAT_TYPES, cells_of, mesh_of
from meshops.data.clean import clean_mesh
from meshops.data.write_back import in_parts, write_back
from meshops.data.writers import as_grid, as_surface, with_predictions, write_mesh
from meshops.errors import DataWarning, InputError

FIELD = Path(__file__).parent / "field"
PLACES = ("point", "cell")
SHAPES = ((), (3,), (2,))

NAMES = (
    "Vertex", "PolyVertex", "Line", "PolyLine", "Triangle", "TriangleStrip", "Polygon", "Pixel", "Quadrilateral",
    "Tetrahedron", "Voxel", "Hexahedron", "Wedge", "Pyramid", "PentagonalPrism", "HexagonalPrism", "Polyhedron",
    "QuadraticEdge", "QuadraticTriangle", "QuadraticQuadrilateral", "QuadraticPolygon", "QuadraticTetrahedron",
    "QuadraticHexahedron", "QuadraticWedge", "QuadraticPyramid", "BiQuadraticQuadrilateral", "BiQuadraticTriangle",
    "TriQuadraticHexahedron",
)  # fmt: skip
FLAT = ("Triangle", "Polygon", "Quadrilateral")


def one(kind: str) -> pv.UnstructuredGrid:
    """Two cells of a kind, apart, so that an order can be wrong."""
    first = getattr(pv.examples.cells, kind)()
    first.clear_data()
    second = first.copy()
    second.points = np.asarray(first.points) + np.array([5.0, 0.25, 0.5])
    both = pv.MultiBlock([first, second]).combine()
    both.clear_data()
    return both


def filled(mesh: pv.DataSet, place: str, dtype: type = np.float32) -> pv.DataSet:
    data = mesh.point_data if place == "point" else mesh.cell_data
    rows = mesh.n_points if place == "point" else mesh.n_cells
    for number, shape in enumerate(SHAPES):
        data[f"f{number}_predicted"] = np.arange(rows * int(np.prod(shape)), dtype=dtype).reshape(rows, *shape) + 0.5
    return mesh


def assert_same(found: pv.DataSet, mesh: pv.DataSet) -> None:
    np.testing.assert_array_equal(found.points, mesh.points)
    ours, theirs = cells_of(mesh), cells_of(found)
    for part in ("size", "nodes", "kind", "num_faces", "face_size", "face_nodes"):
        np.testing.assert_array_equal(getattr(theirs, part), getattr(ours, part), err_msg=part)
    for before, after in ((mesh.point_data, found.point_data), (mesh.cell_data, found.cell_data)):
        assert set(before) <= set(after)
        for name in before:
            np.testing.assert_array_equal(after[name], before[name])
            assert np.asarray(after[name]).dtype == np.asarray(before[name]).dtype


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("suffix", [".vtu", ".vtk"])
def test_every_kind_of_cell_as_a_grid(tmp_path: Path, suffix: str, kind: str, place: str) -> None:
    mesh = filled(one(kind), place)
    assert_same(pv.read(write_back(mesh, tmp_path / "out", source=Path(f"in{suffix}"))), mesh)
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix}"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", NAMES)
def test_every_kind_of_cell_as_parts(tmp_path: Path, kind: str, place: str) -> None:
    mesh = filled(one(kind), place)
    path = write_back(mesh, tmp_path / "out", source=Path("in.cgns"), parts=("b", "a"), cell_part=np.array([1, 0]))
    blocks = pv.read(path)
    assert path.suffix == ".vtm" and blocks.keys() == ["b", "a"]
    for name, cell in (("b", 1), ("a", 0)):
        block = blocks[name]
        assert block.n_cells == 1
        data, whole = (block.cell_data, mesh.cell_data) if place == "cell" else (block.point_data, mesh.point_data)
        if place == "cell":
            np.testing.assert_array_equal(data["f1_predicted"], whole["f1_predicted"][[cell]])
        else:
            rows = [int(np.flatnonzero((np.asarray(mesh.points) == point).all(1))[0]) for point in block.points]
            np.testing.assert_array_equal(data["f1_predicted"], whole["f1_predicted"][rows])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", FLAT)
@pytest.mark.parametrize("suffix", [".vtp", ".stl", ".ply", ".obj", ".vtu", ".vtk"])
def test_faces_as_a_surface_and_as_a_grid(tmp_path: Path, suffix: str, kind: str, place: str) -> None:
    cells = one(kind)
    surface = filled(mesh_of(np.asarray(cells.points), cells_of(cells)), place)
    assert isinstance(surface, pv.PolyData)
    path = write_back(surface, tmp_path / "out", source=Path(f"in{suffix}"))
    expected = ".vtp" if suffix in (".stl", ".ply", ".obj") else suffix
    assert path.suffix == expected
    back = pv.read(path)
    assert_same(back, surface)
    assert isinstance(back, pv.UnstructuredGrid if suffix == ".vtu" else pv.PolyData)
    grid = as_grid(surface)
    again = pv.read(write_back(grid, tmp_path / "grid", source=Path(f"in{suffix}")))
    assert_same(again, surface)


@pytest.mark.parametrize("source", ["in.cgns", "in.e", "in.msh", "in.su2", "in.case", "case", "in.foam", "in.pvd"])
def test_what_vtk_cannot_write_becomes_vtu(tmp_path: Path, source: str) -> None:
    for name in ("Quadrilateral", "Hexahedron"):
        mesh = filled(one(name), "cell")
        path = write_back(mesh, tmp_path / name, source=Path(source))
        assert path.suffix == ".vtu"
        assert_same(pv.read(path), mesh)


def grids() -> dict[str, pv.DataSet]:
    image = pv.ImageData(dimensions=(4, 3, 3), spacing=(0.5, 0.25, 1.0), origin=(1.0, -2.0, 0.5))
    rectilinear = pv.RectilinearGrid([0.0, 0.5, 2.0], [0.0, 1.0], [0.0, 0.25, 1.0, 4.0])
    structured = image.cast_to_structured_grid()
    points = np.array(structured.points)
    points[:, 2] += 0.1 * points[:, 0] ** 2
    structured.points = points
    plane = pv.ImageData(dimensions=(5, 4, 1))
    return {"image.vti": image, "plane.vti": plane, "grid.vtr": rectilinear, "bent.vts": structured,
            "image.vtk": image, "grid.vtk": rectilinear, "bent.vtk": structured}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", list(grids()))
def test_structured_grids_stay_structured(tmp_path: Path, name: str, place: str) -> None:
    grid = grids()[name]
    grid.cell_data["mine"] = np.arange(grid.n_cells)
    grid.save(tmp_path / name)
    mesh = filled(grid.cast_to_unstructured_grid(), place)
    path = write_back(mesh, tmp_path / "out", source=tmp_path / name)
    assert path.suffix == Path(name).suffix
    back = pv.read(path)
    assert type(back) is type(grid) and back.dimensions == grid.dimensions
    np.testing.assert_allclose(back.points, grid.points)
    data, expected = (back.point_data, mesh.point_data) if place == "point" else (back.cell_data, mesh.cell_data)
    for key in expected:
        np.testing.assert_array_equal(data[key], expected[key])
    np.testing.assert_array_equal(back.cell_data["mine"], np.arange(grid.n_cells))


def test_a_scaled_grid_that_lost_cells_keeps_its_shape(tmp_path: Path) -> None:
    for name, grid in grids().items():
        grid.save(tmp_path / name)
        whole = grid.cast_to_unstructured_grid()
        whole.points = np.asarray(whole.points, dtype=np.float64) * 0.001
        whole.cell_data["T_predicted"] = np.arange(whole.n_cells, dtype=np.float32)
        kept = np.arange(whole.n_cells) != 2
        part = whole.extract_cells(kept)
        part.points = np.asarray(part.points)  # the corner points of all cells are still there
        back = pv.read(write_back(part, tmp_path / "out", source=tmp_path / name))
        assert back.n_cells == grid.n_cells, name
        found = np.asarray(back.cell_data["T_predicted"])
        np.testing.assert_array_equal(found[kept], np.arange(grid.n_cells)[kept])
        assert np.isnan(found[2])
        np.testing.assert_allclose(back.length, 0.001 * grid.length, rtol=1e-3)


def test_points_that_parts_share_are_in_each() -> None:
    plane = filled(pv.Plane(i_resolution=4, j_resolution=1), "point")
    side = (plane.cell_centers().points[:, 0] > 0).astype(int)
    blocks = in_parts(plane, ("left", "right"), side)
    assert [blocks[name].n_points for name in ("left", "right")] == [6, 6]
    for name in ("left", "right"):
        for point, value in zip(blocks[name].points, blocks[name]["f0_predicted"], strict=True):
            assert value == plane["f0_predicted"][plane.find_closest_point(point)]


def test_a_part_without_cells_is_an_empty_block(tmp_path: Path) -> None:
    mesh = filled(one("Tetrahedron"), "cell")
    path = write_back(mesh, tmp_path / "out", source=Path("a.e"), parts=("a", "b", "c"), cell_part=np.array([0, 2]))
    assert [block.n_cells if block is not None else 0 for block in pv.read(path)] == [1, 0, 1]


def test_blocks_replace_blocks_and_fail_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = pv.MultiBlock({"a": pv.Sphere(), "b": pv.Cube()})
    path = write_mesh(blocks, tmp_path / "out.vtm")
    write_mesh(pv.MultiBlock({"a": pv.Sphere()}), path)
    assert pv.read(path).keys() == ["a"] and len(list((tmp_path / "out").iterdir())) == 1
    before = path.read_bytes()
    monkeypatch.setattr("meshops.data.writers.run_writer", lambda *_: ["No space left on device"])
    with pytest.raises(InputError, match="No space left"):
        write_mesh(blocks, path)
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["out", "out.vtm"]


def test_a_plane_file_is_written_again_as_it_was(tmp_path: Path) -> None:
    source = FIELD / "write-back" / "plane.vtu"
    graph = meshops.read(source, location="point")
    back, mesh = pv.read(meshops.write_mesh(graph, tmp_path / "copy.vtu")), pv.read(source)
    assert isinstance(back, pv.UnstructuredGrid) and back.n_cells == 98 and back.n_points == 64
    assert set(back.celltypes) == {5}
    np.testing.assert_allclose(back.points, mesh.points, atol=1e-7)
    for name in graph.fields:
        np.testing.assert_allclose(back.point_data[name], mesh.point_data[name], rtol=1e-6)
    surface = pv.read(meshops.write_mesh(graph, tmp_path / "copy.vtp"))
    assert isinstance(surface, pv.PolyData) and surface.n_cells == 98


@pytest.mark.parametrize("kind", FLAT)
def test_flat_cells_of_a_grid_are_written_both_ways(tmp_path: Path, kind: str) -> None:
    """Also where the mesh went through a graph, which remembers no class of VTK."""
    mesh = filled(one(kind), "cell")
    mesh.save(tmp_path / "in.vtu")
    with pytest.warns(DataWarning, match="the surface is open"):
        graph = meshops.read(tmp_path / "in.vtu", location="cell")
    back = readers.read_mesh(meshops.write_mesh(graph, tmp_path / "out.vtu"))
    assert isinstance(back, pv.UnstructuredGrid)
    np.testing.assert_array_equal(cells_of(back).kind, cells_of(mesh).kind)
    np.testing.assert_array_equal(back.cell_data["f0_predicted"], mesh.cell_data["f0_predicted"])
    assert as_surface(back).n_cells == 2 and as_surface(one("Tetrahedron")) is None
    assert np.isin(cells_of(mesh).kind, FLAT_TYPES).all()


def test_dropped_cells_do_not_shift_the_others(tmp_path: Path) -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [2, 0, 0]], dtype=np.float32)
    mesh = pv.PolyData(points, faces=[3, 0, 1, 2, 3, 0, 1, 4, 3, 1, 3, 2])  # the second has no area
    mesh.cell_data["part"] = np.array([0, 0, 1])
    with pytest.warns(DataWarning, match="1 cells without area"):
        report = clean_mesh(mesh, label="a")
    out = with_predictions(report.mesh, {"p": np.array([7.0, 8.0])})
    path = write_back(out, tmp_path / "out", source=Path("a.vtm"), parts=("a", "b"), cell_part=out.cell_data["part"])
    assert [pv.read(path)[name]["p_predicted"].tolist() for name in ("a", "b")] == [[7.0], [8.0]]
