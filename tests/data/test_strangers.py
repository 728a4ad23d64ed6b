"""What files of strangers look like beside their format: names, empty parts, lines among faces, parts in time."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops.data.readers import open_mesh, read_mesh
from meshops.errors import InputError


@pytest.fixture
def ball() -> pv.PolyData:
    mesh = pv.Sphere(theta_resolution=8, phi_resolution=6)
    mesh.clear_data()
    mesh.cell_data["p"] = np.arange(float(mesh.n_cells))
    return mesh


@pytest.mark.parametrize("suffix", [".stl", ".vtp", ".vtk", ".ply", ".obj"])
@pytest.mark.parametrize("name", ["with blank", "ünï çödé", "日本語", "a'b\"c", "dots.in.name", "[x]*{y}"])
def test_names_of_files(tmp_path: Path, ball: pv.PolyData, name: str, suffix: str) -> None:
    path = tmp_path / f"plain{suffix}"
    ball.save(path)
    named = path.rename(tmp_path / f"{name}{suffix}")
    assert read_mesh(named).n_cells == ball.n_cells


def test_titles_in_latin_1(tmp_path: Path, ball: pv.PolyData) -> None:
    ball.save(tmp_path / "a.vtk", binary=False)
    content = (tmp_path / "a.vtk").read_bytes().replace(b"vtk output", "Körper".encode("latin-1"))
    (tmp_path / "a.vtk").write_bytes(content)
    assert read_mesh(tmp_path / "a.vtk").n_cells == ball.n_cells
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    (tmp_path / "a.stl").write_bytes(f"solid Körper\n{facet}endsolid Körper\n".encode("latin-1"))
    assert read_mesh(tmp_path / "a.stl").n_cells == 1


@pytest.mark.parametrize("name", ["a.vtp.gz", "a.vtp"])
def test_compressed_files_are_to_be_unpacked(tmp_path: Path, ball: pv.PolyData, name: str) -> None:
    ball.save(tmp_path / "plain.vtp")
    (tmp_path / name).write_bytes(gzip.compress((tmp_path / "plain.vtp").read_bytes()))
    with pytest.raises(InputError, match=r"compressed.*unpack it"):
        read_mesh(tmp_path / name)


def test_empty_and_missing_blocks(tmp_path: Path, ball: pv.PolyData) -> None:
    inner = pv.MultiBlock({"wheel é": ball.translate((3, 0, 0))})
    pv.MultiBlock({"body": ball, "empty": pv.PolyData(), "none": None, "sub": inner}).save(tmp_path / "b.vtm")
    found = open_mesh(tmp_path / "b.vtm")
    assert found.mesh.n_cells == 2 * ball.n_cells and {"body", "wheel é"} <= set(found.notes.chosen)
    wheel = read_mesh(tmp_path / "b.vtm", region="wheel.*")
    assert wheel.n_cells == ball.n_cells and wheel.points[:, 0].min() > 2


def test_lines_among_faces_keep_the_order(tmp_path: Path) -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
    cells = np.r_[2, 0, 1, 3, 0, 1, 2, 4, 0, 1, 2, 3]
    grid = pv.UnstructuredGrid(cells, np.array([3, 5, 9], np.uint8), points)
    grid.cell_data["p"] = [1.0, 2.0, 3.0]
    grid.save(tmp_path / "a.vtu")
    found = open_mesh(tmp_path / "a.vtu")
    assert found.notes.cells == {"line": 1, "triangle": 1, "quad": 1}
    assert np.array_equal(found.mesh.cell_data["p"], [1, 2, 3])


def test_parts_in_time(tmp_path: Path, ball: pv.PolyData) -> None:
    rows = []
    for step in range(3):
        for part in range(2):
            mesh = ball.translate((3 * part, 0, 0))
            mesh.cell_data["p"] = np.full(mesh.n_cells, 10.0 * step + part)
            mesh.save(tmp_path / f"t{step}_{part}.vtp")
            rows.append(f'<DataSet timestep="{step / 2}" part="{part}" name="p{part}" file="t{step}_{part}.vtp"/>')
    text = "".join(rows)
    (tmp_path / "s.pvd").write_text(f'<VTKFile type="Collection"><Collection>{text}</Collection></VTKFile>')
    last = open_mesh(tmp_path / "s.pvd")
    assert last.mesh.n_cells == 2 * ball.n_cells and last.notes.times == (0, 0.5, 1)
    assert set(last.mesh.cell_data["p"]) == {20, 21}
    half = open_mesh(tmp_path / "s.pvd", time=0.5, region="p1").mesh
    assert half.n_cells == ball.n_cells and set(half.cell_data["p"]) == {11}
    with pytest.raises(InputError, match="no time 7"):
        open_mesh(tmp_path / "s.pvd", time=7)
