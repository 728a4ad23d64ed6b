"""Every format: written and read again, what is said, and what a file of another kind is called."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import meshio
import numpy as np
import pytest
import pyvista as pv
from pyvista.examples import cells as kinds
from vtkmodules import vtkIOParallelXML
from vtkmodules.vtkIOGeometry import vtkGLTFWriter
from vtkmodules.vtkIOHDF import vtkHDFWriter
from vtkmodules.vtkIOIOSS import vtkIOSSWriter
from vtkmodules.vtkIOParallel import vtkEnSightWriter
from vtkmodules.vtkIOXdmf2 import vtkXdmfWriter

from meshops.data import formats, readers, surface, vectors, writers
from meshops.data.blocks import as_mesh
from meshops.data.cell_checks import NAMES, check_mesh
from meshops.data.cells import Mesh, cells_of, make_cells, mesh_of
from meshops.errors import DataWarning, InputError


def brick() -> pv.UnstructuredGrid:
    """24 hexahedra with a scalar at the cells, a scalar and a vector at the points."""
    grid = as_mesh(pv.ImageData(dimensions=(3, 4, 5)), "brick")
    grid.points = np.asarray(grid.points, dtype=np.float64)
    grid.cell_data["p"] = np.arange(24.0)
    grid.point_data["T"] = np.arange(60.0)
    grid.point_data["U"] = np.arange(180.0).reshape(60, 3)
    return grid


def write_vtk(writer: object, mesh: object, path: Path) -> Path:
    writer.SetFileName(str(path))  # type: ignore[attr-defined]
    writer.SetInputData(mesh)  # type: ignore[attr-defined]
    assert writer.Write()  # type: ignore[attr-defined]
    return path


def write_ensight(path: Path) -> Path:
    """An EnSight case of two times and two parts, in text."""
    times, parts = (0.5, 1.5), {"fluid": 0.0, "solid": 1.0}
    path.write_text(
        "FORMAT\ntype: ensight gold\nGEOMETRY\nmodel: a.geo\nVARIABLE\nscalar per element: 1 p a.p**\n"
        "vector per node: 1 U a.U**\nTIME\ntime set: 1\nnumber of steps: 2\nfilename start number: 0\n"
        "filename increment: 1\ntime values: 0.5 1.5\n"
    )
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float)
    geometry = ["title", "by hand", "node id assign", "element id assign"]
    for number, (name, shift) in enumerate(parts.items(), start=1):
        geometry += ["part", f"{number:10d}", name, "coordinates", f"{8:10d}"]
        geometry += [f"{x:12.5e}" for x in (corners + np.array([shift, 0, 0])).T.ravel()]
        geometry += ["hexa8", f"{1:10d}", "".join(f"{i:10d}" for i in range(1, 9))]
    path.with_suffix(".geo").write_text("\n".join(geometry) + "\n")
    for step, time in enumerate(times):
        p, u = ["p"], ["U"]
        for number in (1, 2):
            p += ["part", f"{number:10d}", "hexa8", f"{10 * number + time:12.5e}"]
            u += ["part", f"{number:10d}", "coordinates"] + [
                f"{time + axis:12.5e}" for axis in range(3) for _ in range(8)
            ]
        (path.parent / f"a.p{step:02d}").write_text("\n".join(p) + "\n")
        (path.parent / f"a.U{step:02d}").write_text("\n".join(u) + "\n")
    return path


def write_meshio(path: Path, name: str) -> Path:
    grid = brick()
    cells = [("hexahedron", grid.cell_connectivity.reshape(-1, 8))]
    data = {"T": np.asarray(grid.point_data["T"])} if name not in ("abaqus", "nastran") else {}
    mesh = meshio.Mesh(np.asarray(grid.points), cells, point_data=data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mesh.write(path, file_format=name)
    return path


def write_ensight_by_vtk(path: Path) -> Path:
    grid = brick()
    grid.cell_data["BlockId"] = np.ones(24, np.int32)
    writer = vtkEnSightWriter()
    writer.SetFileName(str(path.with_suffix("")))
    writer.SetBaseName(path.stem)
    writer.SetPath(str(path.parent))
    writer.SetInputData(grid)
    writer.Write()
    writer.WriteCaseFile(1)
    return next(path.parent.glob("*.case"))


WRITERS: dict[str, Callable[[Path], Path]] = {
    "a.vtu": lambda path: writers.write_mesh(brick(), path),
    "a.vtk": lambda path: writers.write_mesh(brick(), path),
    "a.vtkhdf": lambda path: write_vtk(vtkHDFWriter(), brick(), path),
    "a.xmf": lambda path: write_vtk(vtkXdmfWriter(), brick(), path),
    "b.case": write_ensight_by_vtk,
    "a.inp": lambda path: write_meshio(path, "abaqus"),
    "a.bdf": lambda path: write_meshio(path, "nastran"),
    "b.dat": lambda path: write_meshio(path, "nastran"),
    "a.dat": lambda path: write_meshio(path, "tecplot"),
    "a.med": lambda path: write_meshio(path, "med"),
    "a.xdmf": lambda path: write_meshio(path, "xdmf"),
    "a.avs": lambda path: write_meshio(path, "avsucd"),
    "b.inp": lambda path: write_meshio(path, "avsucd"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_volume_in_every_format(name: str, tmp_path: Path) -> None:
    read = readers.open_mesh(WRITERS[name](tmp_path / name))
    mesh, notes = read.mesh, read.notes
    assert (mesh.n_cells, mesh.n_points) == (24, 60) and notes.cells == {"hexahedron": 24}
    assert surface.volume_geometry(mesh)[1].sum() == pytest.approx(24.0)
    assert notes.format and notes.precision in ("float32", "float64", "text")
    order = np.lexsort(np.asarray(mesh.points).T)
    wanted = np.lexsort(np.asarray(brick().points).T)
    for field, arrays in (("T", mesh.point_data), ("U", mesh.point_data)):
        found = arrays.get(field, arrays.get(f"{field}_n"))
        if found is not None:
            assert np.allclose(np.asarray(found)[order], np.asarray(brick().point_data[field])[wanted])
    if name in ("a.vtu", "a.vtk", "a.vtkhdf", "a.xmf"):
        assert {"T", "U"} <= set(mesh.point_data) and mesh.cell_data["p"].tolist() == list(range(24))


def test_ensight_has_parts_and_times(tmp_path: Path) -> None:
    path = write_ensight(tmp_path / "a.case")
    read = readers.open_mesh(path)
    assert read.notes.parts == ("fluid", "solid") and read.notes.times == (0.5, 1.5) and read.notes.time == 1.5
    assert read.mesh.cell_data["p"].tolist() == [11.5, 21.5] and read.mesh.n_points == 12
    solid = readers.open_mesh(path, region="solid", time=0.5)
    assert solid.mesh.cell_data["p"].tolist() == [20.5] and solid.notes.chosen == ("solid",)
    assert solid.mesh.point_data["U"].tolist() == [[0.5, 1.5, 2.5]] * 8


def test_exodus_has_blocks_and_whole_vectors(tmp_path: Path) -> None:
    read = readers.open_mesh(write_vtk(vtkIOSSWriter(), brick(), tmp_path / "a.exo"))
    assert read.mesh.point_data["U"].shape == (60, 3) and read.mesh.cell_data["p"].sum() == 276
    assert not any(vectors.is_reserved(name) for name in (*read.mesh.cell_data, *read.mesh.point_data))


def test_gltf_and_vtkhdf_surfaces(tmp_path: Path) -> None:
    ball = pv.Sphere(theta_resolution=8, phi_resolution=6)
    ball.clear_data()
    ball.cell_data["p"] = np.arange(float(ball.n_cells))
    read = readers.open_mesh(write_vtk(vtkHDFWriter(), ball, tmp_path / "a.vtkhdf"))
    assert isinstance(read.mesh, pv.PolyData) and np.array_equal(read.mesh.cell_data["p"], ball.cell_data["p"])
    tree = pv.MultiBlock({"a": pv.MultiBlock({"b": ball})})
    write_vtk(vtkGLTFWriter(), tree, tmp_path / "a.gltf")
    assert readers.read_mesh(tmp_path / "a.gltf").n_cells == ball.n_cells


FLUENT = """(0 "one hexahedron")
(2 3)
(10 (0 1 8 0 3))
(10 (1 1 8 1 3)(
0 0 0
1 0 0
1 1 0
0 1 0
0 0 1
1 0 1
1 1 1
0 1 1
))
(12 (0 1 1 0))
(12 (2 1 1 1 4))
(13 (0 1 6 0))
(13 (3 1 2 3 4)(
1 2 3 4 1 0
5 8 7 6 1 0
))
(13 (4 3 6 5 4)(
1 5 6 2 1 0
2 6 7 3 1 0
3 7 8 4 1 0
4 8 5 1 1 0
))
(39 (2 fluid air)())
(39 (3 wall caps)())
(39 (4 velocity-inlet sides)())
"""


@pytest.mark.parametrize("name", ["a.msh", "a.cas"])
def test_fluent(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FLUENT)
    read = readers.open_mesh(tmp_path / name)
    assert read.mesh.n_cells == 1 and read.notes.parts == ("air",)
    assert surface.volume_geometry(read.mesh)[1].sum() == pytest.approx(1.0)
    assert read.notes.remarks == ["zones of faces are not read: caps, sides"]


def test_fluent_seen_in_the_field(shared_data: Path) -> None:
    folder = shared_data / "field" / "other-msh" / "input"
    mesh = readers.read_mesh(folder / "two_triangles_fluent.msh")
    assert mesh.n_cells == 2 and surface.cell_geometry(mesh)[2].sum() == pytest.approx(1.0)
    with pytest.raises(InputError, match=r"the content is not '.vtp' but a multi-block index \(.vtm\)"):
        readers.read_mesh(folder / "multiblock_named.vtp")


@pytest.mark.parametrize("kind", ["vti", "vts", "vtr"])
def test_grids_in_pieces_keep_the_order_of_the_grid(kind: str, tmp_path: Path) -> None:
    grid = pv.ImageData(dimensions=(4, 3, 5))
    whole = {"vti": grid, "vts": grid.cast_to_structured_grid(), "vtr": grid.cast_to_rectilinear_grid()}[kind]
    whole.cell_data["T"] = np.arange(float(whole.n_cells))
    name = {"vti": "Image", "vts": "Structured", "vtr": "Rectilinear"}[kind]
    writer = getattr(vtkIOParallelXML, f"vtkXMLP{name}{'Data' if kind == 'vti' else 'Grid'}Writer")()
    writer.SetNumberOfPieces(3)
    writer.SetStartPiece(0)
    writer.SetEndPiece(2)
    mesh = readers.read_mesh(write_vtk(writer, whole, tmp_path / f"a.p{kind}"))
    assert mesh.cell_data["T"].tolist() == list(range(24)) and np.array_equal(mesh.points, grid.points)
    assert np.allclose(mesh.cell_centers().points, grid.cell_centers().points)


KINDS = [name for name in dir(kinds) if name[0].isupper() and name not in ("CellType", "Empty", "Iterable", "Literal",
         "Sequence", "TYPE_CHECKING", "UnstructuredGrid")]  # fmt: skip


@pytest.mark.parametrize("suffix", [".vtu", ".vtk"])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_cell_and_every_place_of_a_field(name: str, suffix: str, tmp_path: Path) -> None:
    one = getattr(kinds, name)()
    mesh = one.merge(one.translate((10.0, 0, 0)), merge_points=False)
    mesh.clear_data()
    rng = np.random.default_rng(0)
    for data, count in ((mesh.point_data, mesh.n_points), (mesh.cell_data, mesh.n_cells)):
        data["scalar"] = rng.random(count)
        data["vector"] = rng.random((count, 3)).astype(np.float32)
        data["tensor"] = rng.random((count, 9))
        data["whole"] = rng.integers(-9, 9, count)
    mesh.field_data["Re"] = [1e6]
    path = writers.write_mesh(mesh, tmp_path / f"a{suffix}")
    high = int(mesh.celltypes[0]) in (35,) or cells_of(mesh).size[0] > {68: 3, 69: 7, 70: 9, 71: 15, 72: 27, 73: 18,
           75: 3, 76: 7, 77: 9, 78: 15, 79: 27, 80: 18}.get(int(mesh.celltypes[0]), 99)  # fmt: skip
    if high:
        with pytest.raises(InputError, match=r"order \d+ elements are not supported"):
            readers.read_mesh(path)
        return
    read = readers.open_mesh(path)
    assert read.notes.cells == {NAMES[int(mesh.celltypes[0])]: 2}
    for ours, theirs in zip(vars(cells_of(read.mesh)).values(), vars(cells_of(mesh)).values(), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(read.mesh.points, mesh.points) and read.mesh.points.dtype == mesh.points.dtype
    for ours, theirs in ((read.mesh.point_data, mesh.point_data), (read.mesh.cell_data, mesh.cell_data)):
        for field in theirs:
            assert np.array_equal(np.asarray(ours[field]).ravel(), np.asarray(theirs[field]).ravel()), field
    assert float(read.mesh.field_data["Re"][0]) == 1e6


def test_order_three_is_called_by_its_name(tmp_path: Path) -> None:
    for kind, sizes in ((69, {10: 3, 15: 4}), (70, {16: 3, 25: 4}), (72, {64: 3}), (71, {20: 3}), (73, {40: 3})):
        for size, order in sizes.items():
            mesh = mesh_of(np.random.default_rng(0).random((size, 3)), make_cells([size], np.arange(size), [kind]))
            with pytest.raises(InputError, match=f"order {order} elements are not supported"):
                check_mesh(mesh, "a")


def test_lower_cells_beside_volumes_are_said(tmp_path: Path) -> None:
    both = brick().merge(brick().extract_surface(algorithm=None).cast_to_unstructured_grid())
    path = writers.write_mesh(both, tmp_path / "a.vtu")
    assert readers.open_mesh(path).notes.cells == {"quad": 52, "hexahedron": 24}
    with pytest.warns(DataWarning, match="52 cells of lower dimension"):
        graph = readers.read(path, fields=())
    assert graph.num_cells == 24 and any("52 cells of lower dimension" in note for note in graph.notes)


def test_notes_of_a_graph(tmp_path: Path) -> None:
    ball = pv.Sphere(theta_resolution=8, phi_resolution=6)
    ball.clear_data()
    ball.flip_faces(inplace=True)
    for axis in "xyz":
        ball.cell_data[f"wallShear_{axis}"] = np.ones(ball.n_cells)
    graph = readers.read(writers.write_mesh(ball, tmp_path / "a.vtp"))
    assert graph.fields == ("wallShear",) and graph.y_sizes == (3,)
    assert graph.notes == (
        "VTK XML, PolyData",
        "64 triangle",
        "coordinates float32",
        "'wallShear' at the cells is made of the scalars wallShear_x, wallShear_y, wallShear_z",
        "64 of 64 normals were turned to point out of the body",
    )


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("VelocityX", "VelocityY", "VelocityZ", "p"), {"Velocity": 3}),
        (("Ux", "Uy", "Uz"), {"U": 3}),
        (("U:0", "U:1", "U:2"), {"U": 3}),
        (("U[0]", "U[1]"), {"U": 2}),
        (("wall_shear_x", "wall_shear_y", "wall_shear_z"), {"wall_shear": 3}),
        (("MomentumX", "MomentumY"), {"Momentum": 2}),
        (("velocity_1", "velocity_2", "velocity_3"), {}),  # may be three velocities
        (("T1", "T2", "T3"), {}),
        (("max", "may", "p"), {}),
        (("Sxx", "Sxy", "Sxz", "Syy", "Syz", "Szz"), {}),
        (("Ux", "Uz"), {}),
        (("U", "Ux", "Uy", "Uz"), {}),
        (("x", "y", "z"), {}),
    ],
)
def test_scalars_that_are_a_vector(names: tuple[str, ...], wanted: dict[str, int]) -> None:
    assert {name: len(parts) for name, parts in vectors.vectors_in(names).items()} == wanted


def test_joined_vectors_keep_their_values() -> None:
    mesh = brick()
    values = np.random.default_rng(0).random((60, 2))
    mesh.point_data["Vx"], mesh.point_data["Vy"] = values.T
    assert vectors.join_components(mesh) == ["'V' at the points is made of the scalars Vx, Vy"]
    assert np.array_equal(mesh.point_data["V"], np.pad(values, ((0, 0), (0, 1)))) and "Vx" not in mesh.point_data


def test_reserved_names_are_no_fields(tmp_path: Path) -> None:
    mesh = brick()
    mesh.point_data.clear()
    mesh.cell_data["vtkOriginalCellIds"] = np.arange(24.0)
    mesh.cell_data["GlobalElementId"] = np.arange(24.0)
    graph = readers.read(writers.write_mesh(mesh, tmp_path / "a.vtu"))
    assert graph.fields == ("p",)
    assert not any(vectors.is_reserved(name) for name in ("p", "ghost_fluid", "Rank2", "IdOfPart", "Temperature"))


def test_what_a_file_is_called(tmp_path: Path) -> None:
    contents = {
        "a.stl": (b"$MeshFormat\n4.1 0 8\n", "not '.stl' but '.msh'"),
        "b.vtp": (b"PK\x03\x04rest", "a ZIP archive; unpack it"),
        "c.vtu": (b"\x1f\x8b\x08rest", "compressed by gzip; unpack it"),
        "d.obj": (b"ISO-10303-21;\n", "a STEP file, which is no mesh"),
        "e.vtu": (b"\x89HDF\r\n\x1a\n", "but an HDF5 file"),
        "f.cgns": (b'<?xml version="1.0"?>\n<VTKFile type="UnstructuredGrid">', "but '.vtu'"),
        "g.vtu": (b'<VTKFile type="Collection">', r"but a ParaView collection \(.pvd\)"),
        "h.plt": (b"#!TDV112\x00", "a binary Tecplot file, which is not read"),
        "i.vtp": (b'<VTKFile type="Table"></VTKFile>', "holds a Table, which is no mesh"),
        "j.abc": (b"0 0 0", "cannot read files ending in '.abc'"),
    }
    for name, (content, said) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=said) as caught:
            readers.read_mesh(tmp_path / name)
        assert "damaged" not in str(caught.value) and str(caught.value).count("\n") <= 2


def test_every_ending_of_the_documentation_is_in_the_table() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "meshes.md").read_text("utf-8")
    named = {word for line in text.splitlines() if line.startswith("|") for word in line.replace("`", " ").split()
             if word.startswith(".") and word.strip(".,").isalnum()}  # fmt: skip
    assert {word.rstrip(",").lower() for word in named} <= set(formats.SUFFIXES) | {".h5"}


def test_a_series_is_json(tmp_path: Path) -> None:
    (tmp_path / "a.series").write_text(json.dumps([1, 2]))
    with pytest.raises(InputError, match="no series of ParaView"):
        readers.read_mesh(tmp_path / "a.series")


def test_meshes_from_python_are_checked_too() -> None:
    from meshops.data.clean import clean_mesh

    mesh: Mesh = pv.PolyData(np.zeros((3, 3)), faces=[3, 0, 1, 7])
    with pytest.raises(InputError, match="a cell names point 7 of 3"):
        clean_mesh(mesh, label="a")
