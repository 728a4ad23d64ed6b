"""PyVista <-> MeshGraph: nothing is lost on the way there and back."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch

from meshops.data import convert
from meshops.data.cells import Array, Mesh, cells_of, expand_strips, make_cells, mesh_of
from meshops.errors import DataWarning, InputError

PARTS = ("size", "nodes", "kind", "num_faces", "face_size", "face_nodes")
LINEAR_CELLS = (
    "Triangle", "Quadrilateral", "Pixel", "Polygon", "Tetrahedron", "Voxel", "Hexahedron", "Wedge", "Pyramid",
    "PentagonalPrism", "HexagonalPrism", "Polyhedron",
)  # fmt: skip
QUADRATIC_CELLS = (
    "QuadraticTriangle", "BiQuadraticTriangle", "QuadraticQuadrilateral", "QuadraticPolygon",
    "BiQuadraticQuadrilateral", "QuadraticTetrahedron", "QuadraticHexahedron", "TriQuadraticHexahedron",
    "QuadraticWedge", "QuadraticPyramid", "LagrangeTriangle", "LagrangeHexahedron", "BezierTetrahedron",
)  # fmt: skip


def assert_same_cells(a: Mesh, b: Mesh) -> None:
    for part in PARTS:
        assert np.array_equal(getattr(cells_of(a), part), getattr(cells_of(b), part)), part
    assert np.array_equal(a.points, b.points) and a.points.dtype == b.points.dtype


def polyhedra() -> pv.UnstructuredGrid:
    """A polyhedral octahedron and cube, with a hexahedron between them in the list of cells."""
    cube = pv.Cube(clean=True)
    octahedron = pv.Octahedron()
    cubes = cells_of(cube).nodes.reshape(6, 4)
    eights = cells_of(octahedron).nodes.reshape(-1, 3) + 8
    hexahedron = np.arange(8) + 8 + octahedron.n_points
    brick = pv.ImageData(dimensions=(2, 2, 2), origin=(5, 0, 0)).cast_to_unstructured_grid().points
    brick = brick[[0, 1, 3, 2, 4, 5, 7, 6]]
    flat = [len(eights), *np.c_[np.full(len(eights), 3), eights].ravel()]
    flat_cube = [6, *np.c_[np.full(6, 4), cubes].ravel()]
    cells = [len(flat), *flat, 8, *hexahedron, len(flat_cube), *flat_cube]
    points = np.concatenate([cube.points, octahedron.points + 3, brick])
    return pv.UnstructuredGrid(np.array(cells), np.array([42, 12, 42], dtype=np.uint8), points.astype(np.float64))


@pytest.mark.parametrize("location", ["cell", "point"])
@pytest.mark.parametrize("name", LINEAR_CELLS + QUADRATIC_CELLS)
def test_every_cell_type_survives(name: str, location: convert.Where) -> None:
    maker = getattr(pv.examples.cells, name, None)
    if maker is None:
        pytest.skip(f"this PyVista has no example of {name}")
    mesh = maker()
    graph = convert.from_pyvista(mesh, location=location)
    assert graph.validate().num_cells == mesh.n_cells and bool((graph.area >= 0).all())
    back = convert.to_pyvista(graph)
    assert_same_cells(mesh, back)
    assert isinstance(back, pv.PolyData) == (name in ("Triangle", "Quadrilateral", "Polygon"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("location", ["cell", "point"])
def test_polyhedra_survive(location: convert.Where, dtype: type) -> None:
    mesh = polyhedra()
    mesh.points = mesh.points.astype(dtype)
    graph = convert.from_pyvista(mesh, location=location)
    assert graph.cell_num_faces.tolist() == [8, 0, 6]
    back = convert.to_pyvista(graph)
    assert_same_cells(mesh, back)
    for i in range(3):
        assert [f.point_ids for f in back.get_cell(i).faces] == [f.point_ids for f in mesh.get_cell(i).faces]
    if location == "cell":
        assert graph.area.tolist() == pytest.approx(mesh.compute_cell_sizes()["Volume"].tolist(), rel=1e-5)


def test_cells_in_a_batch_point_at_their_own_points() -> None:
    one, two = polyhedra(), pv.examples.cells.Polyhedron()
    batch = Batch.from_data_list([convert.from_pyvista(m, location="cell") for m in (one, two)])
    offset = one.n_points
    assert torch.equal(batch.cell_nodes[-cells_of(two).nodes.size :], torch.from_numpy(cells_of(two).nodes) + offset)
    assert torch.equal(
        batch.face_nodes[-cells_of(two).face_nodes.size :] - offset, torch.from_numpy(cells_of(two).face_nodes)
    )


@st.composite
def polygon_meshes(draw: st.DrawFn) -> pv.PolyData:
    num_points = draw(st.integers(5, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = np.array(draw(st.lists(st.integers(3, 5), min_size=1, max_size=20)))
    nodes = np.concatenate([rng.choice(num_points, k, replace=False) for k in size])
    points = rng.normal(size=(num_points, 3)).astype(draw(st.sampled_from([np.float32, np.float64])))
    mesh = mesh_of(points, make_cells(size, nodes, np.where(size == 3, 5, np.where(size == 4, 9, 7))))
    mesh.cell_data["p"] = rng.normal(size=size.size).astype(np.float32)
    mesh.cell_data["U"] = rng.normal(size=(size.size, 3)).astype(np.float32)
    mesh.point_data["q"] = rng.normal(size=num_points).astype(np.float32)
    return mesh


@pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning")
@settings(max_examples=50, deadline=None)
@given(polygon_meshes())
def test_random_polygons_survive(mesh: pv.PolyData) -> None:
    graph = convert.from_pyvista(mesh, fields=("U", "p"), location="cell", units=("m/s", "Pa"))
    back = convert.to_pyvista(graph.validate())
    assert_same_cells(mesh, back)
    assert np.array_equal(back.cell_data["p"], mesh.cell_data["p"])
    assert np.array_equal(back.cell_data["U"], mesh.cell_data["U"])
    on_points = convert.from_pyvista(mesh, fields=("q",))
    assert on_points.location == "point"
    assert_same_cells(mesh, convert.to_pyvista(on_points))
    assert np.array_equal(convert.to_pyvista(on_points).point_data["q"], mesh.point_data["q"])


def test_what_a_surface_graph_holds() -> None:
    mesh = pv.Cube(clean=True)
    mesh.cell_data["p"] = np.arange(6.0)
    mesh.cell_data["U"] = np.arange(18.0).reshape(6, 3)
    graph = convert.from_pyvista(mesh, fields=("p", "U"), units=("Pa", "m/s"), label="cube")
    assert (graph.location, graph.name) == ("cell", "cube")
    assert (graph.y_names, graph.y_sizes, graph.y_units) == (("p", "U"), (1, 3), ("Pa", "m/s"))
    assert graph.pos.dtype == graph.y.dtype == graph.area.dtype == torch.float32
    assert torch.equal(graph.field("U"), torch.arange(18.0).reshape(6, 3))
    assert torch.allclose(graph.normal, graph.pos * 2) and torch.allclose(graph.area, torch.ones(6))
    extra = convert.to_pyvista(graph, values={"cp": torch.arange(6.0), "w": np.zeros((6, 2))})
    assert {"p", "U", "cp", "w"} == set(extra.cell_data.keys())


def test_areas_and_normals_are_shared_out_to_points() -> None:
    mesh = pv.Sphere(theta_resolution=40, phi_resolution=40).clean()
    graph = convert.from_pyvista(mesh, location="point")
    assert float(graph.area.sum()) == pytest.approx(mesh.area, rel=1e-5)
    assert float((graph.normal * graph.pos).sum(dim=1).min()) > 0.49
    assert graph.get("points") is None and int(graph.node_type.sum()) == 0


def test_points_in_no_cell_are_marked() -> None:
    points = np.array([[0, 0, 0], [9, 9, 9], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
    mesh = pv.PolyData(points, faces=[3, 0, 2, 3])
    graph = convert.from_pyvista(mesh, location="point").validate()
    assert graph.node_type.tolist() == [0, 1, 0, 0]
    assert graph.area[1] == 0 and graph.normal[1].tolist() == [0, 0, 0]
    assert_same_cells(mesh, convert.to_pyvista(graph))


def test_fields_are_averaged_with_a_word() -> None:
    mesh = pv.Plane(i_resolution=2, j_resolution=1)
    mesh.point_data["T"] = mesh.points[:, 0].copy()
    mesh.cell_data["p"] = np.array([2.0, 4.0])
    with pytest.warns(DataWarning, match="field 'T' is on the points; each cell got the mean of its points"):
        graph = convert.from_pyvista(mesh, fields=("T", "p"), label="plane")
    assert graph.location == "cell" and graph.field("T").tolist() == [-0.25, 0.25]
    with pytest.warns(DataWarning, match="field 'p' is on the cells; each point got the mean of the cells around it"):
        graph = convert.from_pyvista(mesh, fields=("p",), location="point")
    assert graph.y.ravel().tolist() == [2.0, 3.0, 4.0, 2.0, 3.0, 4.0]


def test_point_clouds() -> None:
    mesh = pv.PolyData(np.random.default_rng(0).random((5, 3)))
    mesh.clear_data()
    cloud = pv.PolyData()
    cloud.points = mesh.points
    cloud.point_data["p"] = np.arange(5.0)
    with pytest.raises(InputError, match="holds 5 points and no cells; read it with location='free'"):
        convert.from_pyvista(cloud, fields=("p",))
    graph = convert.from_pyvista(cloud, fields=("p",), location="free").validate()
    assert graph.num_cells == 0 and graph.location == "free"
    back = convert.to_pyvista(graph)
    assert back.n_verts == 5 and back.point_data["p"].tolist() == [0, 1, 2, 3, 4]


def test_messages() -> None:
    mesh = pv.Cube(clean=True)
    mesh.clear_data()
    mesh.cell_data["p"] = np.arange(6.0)
    mesh.point_data["T"] = np.arange(8.0)
    mesh.cell_data["name"] = np.array(list("abcdef"))
    with pytest.raises(InputError) as error:
        convert.from_pyvista(mesh, fields=("pMean",), label="car.vtp")
    assert str(error.value).startswith(
        "car.vtp: there is no array 'pMean'; cell arrays: 'p', 'name'; point arrays: 'T'.\n"
    )
    with pytest.raises(InputError, match="array 'name' holds <U1, not numbers"):
        convert.from_pyvista(mesh, fields=("name",))
    with pytest.raises(InputError, match="2 units for 1 fields"):
        convert.from_pyvista(mesh, fields=("p",), units=("Pa", "m"))
    with pytest.raises(InputError, match="location must be 'cell', 'point', 'free' or 'auto', got 'node'"):
        convert.from_pyvista(mesh, location="node")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"write \('p',\)"):
        convert.from_pyvista(mesh, fields="p")
    graph = convert.from_pyvista(mesh, label="cube")
    with pytest.raises(InputError, match="cube: 'p' has 5 rows for 6 nodes"):
        convert.to_pyvista(graph, values={"p": torch.zeros(5)})
    with pytest.raises(InputError, match="no longer holds its cells"):
        convert.to_pyvista(graph.without_cells())


def test_strips_become_the_triangles_vtk_makes() -> None:
    strips = pv.Sphere(theta_resolution=12, phi_resolution=8).strip()
    assert strips.n_strips > 0
    cells, parent = expand_strips(cells_of(strips))
    ours = mesh_of(np.asarray(strips.points), cells)
    theirs = strips.triangulate()
    assert ours.n_cells == theirs.n_cells

    def rims(mesh: pv.PolyData) -> Array:
        triangles = cells_of(mesh).nodes.reshape(-1, 3)
        turned = np.stack([np.roll(t, -t.argmin()) for t in triangles])
        return turned[np.lexsort(turned.T)]

    assert np.array_equal(rims(ours), rims(theirs))
    assert set(parent) == set(range(strips.n_cells))


def test_real_volume_both_ways_in_time(shared_data: Path) -> None:
    mesh = pv.read(shared_data / "ahmed_rans" / "run_1" / "volume_1.vtu")
    start = time.process_time()
    graph = convert.from_pyvista(mesh, fields=("pMean", "UMean"))
    there = time.process_time()
    back = convert.to_pyvista(graph)
    again = time.process_time()
    assert_same_cells(mesh, back)
    assert np.array_equal(back.cell_data["UMean"], mesh.cell_data["UMean"])
    assert there - start < 2.0 and again - there < 2.0


def test_real_car_keeps_its_unused_points(shared_data: Path) -> None:
    mesh = pv.read(next((shared_data / "shapenet_car").rglob("param0/*/quadpress_smpl.vtk")))
    name = mesh.point_data.keys()[0]
    graph = convert.from_pyvista(mesh, fields=(name,)).validate()
    assert graph.location == "point" and graph.num_nodes == 3682
    assert graph.node_type.nonzero().ravel().tolist() == list(range(16, 112))
