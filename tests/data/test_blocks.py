"""Meshes in blocks and pieces: split, written, read, compared with what was split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vtkmodules.vtkIOParallelXML import vtkXMLPUnstructuredGridWriter

from meshops.data import readers, surface
from meshops.data.blocks import Block, as_mesh, read_blocks, short_names, take_cells
from meshops.data.cells import Mesh, cells_of
from meshops.data.reading import ReadNotes
from meshops.errors import InputError

QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def volume(seed: int = 0) -> pv.UnstructuredGrid:
    grid = as_mesh(pv.ImageData(dimensions=(4, 4, 3)), "grid")
    grid.points = np.asarray(grid.points) + 0.2 * np.random.default_rng(seed).random(grid.points.shape)
    return with_fields(grid)


def ball() -> pv.PolyData:
    mesh = pv.Sphere(theta_resolution=8, phi_resolution=6)
    mesh.clear_data()
    return with_fields(mesh)


def with_fields(mesh: Mesh) -> Mesh:
    mesh.cell_data["id"] = np.arange(mesh.n_cells)
    mesh.cell_data["p"] = np.sin(np.arange(mesh.n_cells))
    mesh.point_data["T"] = np.cos(np.arange(mesh.n_points))
    mesh.point_data["U"] = np.random.default_rng(1).random((mesh.n_points, 3))
    return mesh


def rows(mesh: Mesh) -> dict[int, tuple[object, ...]]:
    """What each cell is, by its number, whatever the order and the numbers of its points."""
    cells = cells_of(mesh)
    out = {}
    for i, (start, size) in enumerate(zip(cells.start, cells.size, strict=True)):
        nodes = cells.nodes[start : start + size]
        corner = np.column_stack([mesh.points[nodes], mesh.point_data["T"][nodes], mesh.point_data["U"][nodes]])
        out[int(mesh.cell_data["id"][i])] = (int(cells.kind[i]), float(mesh.cell_data["p"][i]), corner.tobytes())
    return out


def split(mesh: Mesh, count: int, seed: int) -> list[Mesh]:
    owner = np.random.default_rng(seed).integers(0, count, mesh.n_cells)
    return [take_cells(mesh, np.flatnonzero(owner == i)) for i in range(count) if (owner == i).any()]


def write_pvd(path: Path, parts: list[Mesh], times: tuple[float, ...] = (0.0,)) -> Path:
    lines = []
    for t in times:
        for i, part in enumerate(parts):
            copy = part.copy()
            copy.cell_data["p"] = np.asarray(copy.cell_data["p"]) + t
            name = f"part_{i}_{t}.{'vtp' if isinstance(part, pv.PolyData) else 'vtu'}"
            copy.save(path.parent / name)
            lines.append(f'<DataSet timestep="{t}" part="{i}" file="{name}"/>')
    path.write_text('<VTKFile type="Collection"><Collection>' + "".join(lines) + "</Collection></VTKFile>")
    return path


def write_vtm(path: Path, parts: list[Mesh]) -> Path:
    pv.MultiBlock({f"zone {i}": part for i, part in enumerate(parts)}).save(path)
    return path


def write_pvtu(path: Path, parts: list[Mesh]) -> Path:
    kind = "PolyData" if isinstance(parts[0], pv.PolyData) else "UnstructuredGrid"
    pieces = []
    for i, part in enumerate(parts):
        part.save(path.parent / f"piece {i}.{'vtp' if kind == 'PolyData' else 'vtu'}")
        pieces.append(f'<Piece Source="piece {i}.{"vtp" if kind == "PolyData" else "vtu"}"/>')
    path.write_text(f'<VTKFile type="P{kind}"><P{kind} GhostLevel="0">{"".join(pieces)}</P{kind}></VTKFile>')
    return path


@QUIET
@given(seed=st.integers(0, 999), count=st.integers(1, 5), form=st.sampled_from(["vtm", "pvd", "p"]), flat=st.booleans())
def test_a_mesh_in_pieces_is_the_mesh(seed: int, count: int, form: str, flat: bool, tmp_path: Path) -> None:
    mesh = ball() if flat else volume(seed)
    parts = split(mesh, count, seed)
    path = tmp_path / {"vtm": "a.vtm", "pvd": "a.pvd", "p": "a.pvtp" if flat else "a.pvtu"}[form]
    {"vtm": write_vtm, "pvd": write_pvd, "p": write_pvtu}[form](path, parts)
    read = readers.open_mesh(path)
    assert rows(read.mesh) == rows(mesh) and type(read.mesh) is type(mesh)
    assert read.mesh.n_points == mesh.n_points  # every seam is closed
    if len(parts) > 1 and form != "p":
        assert len(read.notes.parts) == len(parts) and read.cell_part is not None
        sizes = np.bincount(read.cell_part, minlength=len(parts))
        assert sizes.tolist() == [part.n_cells for part in parts]


@QUIET
@given(seed=st.integers(0, 999), which=st.sets(st.integers(0, 3), min_size=1))
def test_chosen_blocks_are_read_and_no_others(seed: int, which: set[int], tmp_path: Path) -> None:
    parts = split(volume(seed), 4, seed)
    which = {i for i in which if i < len(parts)} or {0}
    write_vtm(tmp_path / "a.vtm", parts)
    read = readers.open_mesh(tmp_path / "a.vtm", region=[f"zone {i}" for i in sorted(which)])
    wanted = {}
    for i in which:
        wanted |= rows(parts[i])
    assert rows(read.mesh) == wanted and read.notes.chosen == tuple(f"zone {i}" for i in sorted(which))


def test_a_slit_stays_open_and_a_seam_is_closed() -> None:
    left = pv.Plane(center=(-0.5, 0, 0), i_resolution=2, j_resolution=2)
    slit = left.append_polydata(left.copy())  # each point twice in one block
    right = pv.Plane(center=(0.5, 0, 0), i_resolution=2, j_resolution=2)
    for mesh in (slit, right):
        mesh.clear_data()
    read = read_blocks([Block("a", slit), Block("b", right)], ReadNotes(), None, "label")
    assert read.mesh.n_points == slit.n_points + right.n_points  # which of the two would the seam belong to
    other = pv.Plane(center=(-0.5, 0, 0), i_resolution=2, j_resolution=2)
    other.clear_data()
    assert read_blocks([Block("a", other), Block("b", right)], ReadNotes(), None, "").mesh.n_points == 15


def test_points_with_two_values_stay_two() -> None:
    left, right = (pv.Plane(center=(x, 0, 0), i_resolution=1, j_resolution=1) for x in (-0.5, 0.5))
    for mesh, value in ((left, 1.0), (right, 2.0)):
        mesh.clear_data()
        mesh.point_data["T"] = np.full(4, value)
    read = read_blocks([Block("a", left), Block("b", right)], ReadNotes(), None, "label")
    assert read.mesh.n_points == 8 and sorted(read.mesh.point_data["T"]) == [1.0] * 4 + [2.0] * 4


def test_arrays_that_some_blocks_lack(tmp_path: Path) -> None:
    a, b = split(volume(), 2, 0)
    del b.cell_data["p"], b.cell_data["id"]
    b.point_data["U"] = np.ones((b.n_points, 2))
    read = readers.open_mesh(write_vtm(tmp_path / "a.vtm", [a, b]))
    values = np.asarray(read.mesh.cell_data["p"])
    assert np.isfinite(values[: a.n_cells]).all() and np.isnan(values[a.n_cells :]).all()
    assert "id" not in read.mesh.cell_data and "U" not in read.mesh.point_data
    assert read.notes.remarks == [
        "'U' at the points has several numbers of components in the parts: left out",
        "'id' at the cells is missing in 1 of 2 parts: left out",
        "'p' at the cells is missing in 1 of 2 parts: NaN there",
    ]


def test_blocks_of_lower_dimension_wait_to_be_asked_for(tmp_path: Path) -> None:
    solid = volume()
    wall = solid.extract_surface(algorithm=None)
    pv.MultiBlock({"solid": solid, "wall": wall}).save(tmp_path / "a.vtm")
    read = readers.open_mesh(tmp_path / "a.vtm")
    assert read.mesh.n_cells == solid.n_cells and read.notes.parts == ("solid", "wall")
    assert read.notes.chosen == ("solid",) and "not read, choose them as region: wall" in read.notes.remarks
    assert "parts 'solid' of 2" in read.notes.lines()
    assert readers.open_mesh(tmp_path / "a.vtm", region="wall").mesh.n_cells == wall.n_cells


def test_nested_blocks_and_names_that_repeat(tmp_path: Path) -> None:
    a, b, c = split(volume(), 3, 0)
    inner = pv.MultiBlock({"air": a, "water": b})
    pv.MultiBlock({"one": inner, "two": pv.MultiBlock({"air": c})}).save(tmp_path / "a.vtm")
    read = readers.open_mesh(tmp_path / "a.vtm", region="one/.*")
    assert read.notes.parts == ("one/air", "one/water", "two/air") and read.mesh.n_cells == a.n_cells + b.n_cells
    assert short_names(["a/x", "a/y", "a/y"]) == ["x", "y", "y"]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_ghost_cells_of_pieces_count_once(level: int, tmp_path: Path) -> None:
    mesh = volume()
    pieces = []
    for x in range(2):
        inside = (mesh.cell_centers().points[:, 0] > 1.5) == bool(x)
        near = np.abs(mesh.cell_centers().points[:, 0] - 1.5) < 0.9 * level
        piece = take_cells(mesh, np.flatnonzero(inside | near))
        ghost = ~inside[np.asarray(piece.cell_data["id"])]
        piece.cell_data["vtkGhostType"] = ghost.astype(np.uint8)
        pieces.append(piece)
    read = readers.open_mesh(write_pvtu(tmp_path / "a.pvtu", pieces))
    assert rows(read.mesh) == rows(mesh) and "vtkGhostType" not in read.mesh.cell_data
    ghosts = sum(int(np.sum(piece.cell_data["vtkGhostType"])) for piece in pieces)
    assert bool(read.notes.remarks) == bool(ghosts)


def test_pieces_that_vtk_wrote_with_ghosts(tmp_path: Path) -> None:
    mesh = volume()
    writer = vtkXMLPUnstructuredGridWriter()
    writer.SetFileName(str(tmp_path / "a.pvtu"))
    writer.SetInputData(mesh)
    writer.SetNumberOfPieces(3)
    writer.SetStartPiece(0)
    writer.SetEndPiece(2)
    writer.SetGhostLevel(1)
    writer.Write()
    assert rows(readers.read_mesh(tmp_path / "a.pvtu")) == rows(mesh)


def test_hidden_cells_are_left_out(tmp_path: Path) -> None:
    mesh = volume()
    mesh.cell_data["vtkGhostType"] = np.where(np.arange(mesh.n_cells) < 5, 32, 0).astype(np.uint8)
    mesh.save(tmp_path / "a.vtu")
    read = readers.open_mesh(tmp_path / "a.vtu")
    assert read.mesh.cell_data["id"].tolist() == list(range(5, mesh.n_cells))
    assert read.notes.remarks == ["5 ghost cells (copies or hidden) were dropped"]


def test_times_of_a_collection(tmp_path: Path) -> None:
    path = write_pvd(tmp_path / "a.pvd", [volume()], times=(0.0, 0.5, 2.0))
    last = readers.open_mesh(path)
    assert last.notes.time == 2.0 and last.notes.times == (0.0, 0.5, 2.0) and "time 2 of 3" in last.notes.lines()
    assert np.allclose(last.mesh.cell_data["p"], volume().cell_data["p"] + 2.0)
    middle = readers.open_mesh(path, time=0.5)
    assert middle.notes.time == 0.5 and np.allclose(middle.mesh.cell_data["p"], volume().cell_data["p"] + 0.5)
    with pytest.raises(InputError, match=r"there is no time 1; times: '0', '0.5', '2'"):
        readers.open_mesh(path, time=1.0)
    with pytest.raises(InputError, match=r"time=1.0, but the file says no times"):
        readers.open_mesh(tmp_path / "part_0_0.5.vtu", time=1.0)


def test_the_time_of_a_single_file(tmp_path: Path) -> None:
    mesh = volume()
    mesh.field_data["TimeValue"] = [0.25]
    mesh.save(tmp_path / "a.vtu")
    assert readers.open_mesh(tmp_path / "a.vtu", time=0.25).notes.time == 0.25
    with pytest.raises(InputError, match=r"there is no time 1; times: '0.25'"):
        readers.open_mesh(tmp_path / "a.vtu", time=1.0)


def test_series_of_paraview(tmp_path: Path) -> None:
    write_pvd(tmp_path / "a.pvd", [volume()], times=(1.0, 3.0))
    files = [{"name": f"part_0_{t}.vtu", "time": t} for t in (3.0, 1.0)]
    (tmp_path / "a.vtu.series").write_text(json.dumps({"file-series-version": "1.0", "files": files}))
    assert readers.open_mesh(tmp_path / "a.vtu.series").notes.time == 3.0
    assert readers.read_mesh(tmp_path / "a.vtu.series", time=1).cell_data["p"][0] == 1.0
    (tmp_path / "b.series").write_text('{"files": [{"name": "none.vtu", "time": "x"}]}')
    with pytest.raises(InputError, match="no series of ParaView"):
        readers.read_mesh(tmp_path / "b.series")


def test_collections_that_do_not_fit_together(tmp_path: Path) -> None:
    path = write_pvtu(tmp_path / "a.pvtu", split(volume(), 2, 0))
    (tmp_path / "piece 1.vtu").unlink()
    with pytest.raises(InputError, match=r"the piece 'piece 1.vtu' is missing; copy all files that belong to it"):
        readers.read_mesh(path)
    path = write_pvd(tmp_path / "a.pvd", [volume()])
    (tmp_path / "part_0_0.0.vtu").unlink()
    with pytest.raises(InputError, match=r"the file 'part_0_0.0.vtu' is missing"):
        readers.read_mesh(path)
    path.write_text(path.read_text()[:40])
    with pytest.raises(InputError, match="the index is damaged or cut off"):
        readers.read_mesh(path)
    path.write_text('<VTKFile type="Collection"><Collection><DataSet file="a.pvd"/></Collection></VTKFile>')
    with pytest.raises(InputError, match="names another collection"):
        readers.read_mesh(path)
    vtm = write_vtm(tmp_path / "b.vtm", split(volume(), 2, 0))
    next((tmp_path / "b").glob("*_1*.vtu")).unlink()
    with pytest.raises(InputError, match=r"b.vtm: cannot be read"):
        readers.read_mesh(vtm)


@pytest.mark.parametrize("dimensions", [(4, 3, 2), (4, 3, 1), (3, 1, 4)])
@pytest.mark.parametrize("kind", ["vti", "vts", "vtr", "vtk"])
def test_grids_keep_their_order(kind: str, dimensions: tuple[int, int, int], tmp_path: Path) -> None:
    grid = pv.ImageData(dimensions=dimensions, spacing=(0.5, 1.0, 2.0))
    if kind == "vts":
        grid = grid.cast_to_structured_grid()
    if kind == "vtr":
        grid = pv.RectilinearGrid(*(np.arange(n) * s for n, s in zip(dimensions, (0.5, 1.0, 2.0), strict=True)))
    grid.cell_data["T"] = np.arange(float(grid.n_cells))
    grid.point_data["x"] = grid.points[:, 0].copy()
    grid.save(tmp_path / f"a.{kind}")
    read = readers.open_mesh(tmp_path / f"a.{kind}")
    assert read.mesh.cell_data["T"].tolist() == list(range(grid.n_cells))
    assert np.array_equal(read.mesh.points, grid.points)
    assert np.allclose(read.mesh.cell_centers().points, grid.cell_centers().points)
    flat = 1 in dimensions
    assert set(read.notes.cells) == {"quad" if flat else "hexahedron"}
    size = np.prod([(n - 1) * s for n, s in zip(dimensions, (0.5, 1.0, 2.0), strict=True) if n > 1])
    measure = surface.cell_geometry(read.mesh)[2] if flat else surface.volume_geometry(read.mesh)[1]
    assert measure.sum() == pytest.approx(size)


def test_collections_seen_in_the_field(shared_data: Path) -> None:
    folder = shared_data / "field" / "vtk-collections" / "input"
    for name in ("car.vtm", "car.pvtp", "car.pvd"):
        mesh = readers.read_mesh(folder / name)
        _, normals, areas = surface.outward_geometry(mesh, label=name)
        assert (mesh.n_cells, mesh.n_points) == (720, 362) and areas.sum() == pytest.approx(0.496834, rel=1e-5)
        assert np.abs((normals * areas[:, None]).sum(axis=0)).max() < 1e-6
        drag = -(mesh.cell_data["pMean"] * normals[:, 0] * areas).sum() * 2 / 0.12509
        assert drag == pytest.approx(0.5234, abs=0.002) and "wallShearStressMean" in mesh.cell_data
    assert readers.read_mesh(folder / "car.vtm", region="front").n_cells == 360
    for name in ("box.vti", "box.vts", "box.vtr"):
        mesh = readers.read_mesh(folder / name)
        assert mesh.cell_data["T"].tolist() == list(range(24))
        assert surface.volume_geometry(mesh)[1].sum() == pytest.approx(1.0)
