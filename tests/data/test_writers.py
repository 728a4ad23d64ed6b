"""Writing: the file holds the mesh, predictions lie on the original cells, failures leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import torch

from meshops.data import convert, readers, writers
from meshops.data.cells import cells_of
from meshops.data.clean import clean_mesh
from meshops.errors import DataWarning, InputError


def surface() -> pv.PolyData:
    mesh = pv.Cube(clean=True)
    mesh.clear_data()
    mesh.cell_data["p"] = np.arange(6, dtype=np.float32)
    mesh.cell_data["U"] = np.arange(18, dtype=np.float32).reshape(6, 3)
    mesh.point_data["T"] = np.arange(8, dtype=np.float64)
    return mesh


def volume() -> pv.UnstructuredGrid:
    mesh = pv.examples.cells.Polyhedron()
    mesh.clear_data()
    mesh.cell_data["p"] = np.arange(mesh.n_cells, dtype=np.float32)
    return mesh


@pytest.mark.parametrize("suffix, make", [(".vtp", surface), (".vtk", surface), (".vtu", volume), (".vtk", volume)])
def test_written_is_what_is_read(tmp_path: Path, suffix: str, make: object) -> None:
    mesh = surface() if make is surface else volume()
    path = writers.write_mesh(mesh, tmp_path / "new" / f"a{suffix}")
    back = readers.read_mesh(path)
    assert type(back) is type(mesh) and np.array_equal(back.points, mesh.points)
    for part in ("size", "nodes", "kind", "face_nodes"):
        assert np.array_equal(getattr(cells_of(back), part), getattr(cells_of(mesh), part))
    for data, there in ((mesh.cell_data, back.cell_data), (mesh.point_data, back.point_data)):
        assert list(there) == list(data) and all(np.array_equal(there[name], data[name]) for name in data)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_xml_is_compressed_binary(tmp_path: Path) -> None:
    mesh = pv.Plane(i_resolution=100, j_resolution=100)
    head = writers.write_mesh(mesh, tmp_path / "a.vtp").read_bytes()
    assert b"vtkZLibDataCompressor" in head and b'<AppendedData encoding="raw"' in head
    assert len(head) < 0.5 * mesh.points.nbytes + 0.5 * mesh.faces.nbytes


@pytest.mark.parametrize("suffix", [".stl", ".ply"])
def test_formats_without_fields_say_so(tmp_path: Path, suffix: str) -> None:
    with pytest.warns(DataWarning, match=f"{suffix[1:].upper()} files hold no fields, they were left out"):
        path = writers.write_mesh(surface(), tmp_path / f"a{suffix}")
    back = readers.read_mesh(path)
    assert back.n_cells == (12 if suffix == ".stl" else 6) and back.volume == pytest.approx(1.0)


def test_graphs_are_written_on_their_cells(tmp_path: Path) -> None:
    graph = convert.from_pyvista(surface(), fields=("p", "U"))
    back = readers.read_mesh(writers.write_mesh(graph, tmp_path / "a.vtp"))
    assert np.array_equal(back.cell_data["U"], surface().cell_data["U"]) and back.n_points == 8


def test_predictions_keep_the_original_arrays() -> None:
    mesh = surface()
    out = writers.with_predictions(mesh, {"p": torch.full((6, 1), 2.0), "U": np.zeros((6, 3)), "new": np.ones(6)})
    assert set(out.cell_data) == {"p", "U", "p_predicted", "p_error", "U_predicted", "U_error", "new_predicted"}
    assert np.array_equal(out.cell_data["p"], mesh.cell_data["p"]) and list(mesh.cell_data) == ["p", "U"]
    assert out.cell_data["p_error"].tolist() == [2, 1, 0, -1, -2, -3]
    assert np.array_equal(out.cell_data["U_error"], -mesh.cell_data["U"])
    assert np.array_equal(cells_of(out).nodes, cells_of(mesh).nodes)


def test_predictions_on_points_and_of_another_shape() -> None:
    out = writers.with_predictions(surface(), {"T": np.zeros(8), "p": np.zeros(8)}, association="point")
    assert set(out.point_data) == {"T", "T_predicted", "T_error", "p_predicted"}
    assert "U_error" not in writers.with_predictions(surface(), {"U": np.zeros(6)}).cell_data


def test_predictions_on_the_kept_cells() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]], dtype=np.float32)
    mesh = pv.PolyData(points, faces=[3, 0, 1, 3, 3, 0, 1, 2])
    with pytest.warns(DataWarning, match="without area"):
        report = clean_mesh(mesh, label="a")
    out = writers.with_predictions(mesh, {"p": np.array([7.0])}, kept=report.kept_cells)
    assert np.isnan(out["p_predicted"][0]) and out["p_predicted"][1] == 7.0


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prediction of 'p' has 5 rows for 6 cells; give one row per cell"):
        writers.with_predictions(surface(), {"p": np.zeros(5)})
    with pytest.raises(InputError, match=r"cannot write files ending in '.obj'; supported are '.vtp', '.vtu'"):
        writers.write_mesh(surface(), tmp_path / "a.obj")
    with pytest.raises(InputError, match=r"a '.vtp' file holds a surface, this is an UnstructuredGrid; write a .vtu"):
        writers.write_mesh(volume(), tmp_path / "a.vtp")
    with pytest.raises(InputError, match=r"a '.vti' file holds ImageData, this is PolyData; write a .vtu"):
        writers.write_mesh(surface(), tmp_path / "a.vti")
    with pytest.raises(InputError, match=r"a '.vtu' file holds one mesh, this is MultiBlock; write a .vtm"):
        writers.write_mesh(pv.MultiBlock([surface()]), tmp_path / "a.vtu")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the folder cannot be written .*; choose another"):
        writers.write_mesh(surface(), tmp_path / "file" / "a.vtp")


def test_failed_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = writers.write_mesh(surface(), tmp_path / "a.vtp")
    before = path.read_bytes()
    monkeypatch.setattr(writers, "run_writer", lambda *_: ["No space left on device"])
    with pytest.raises(InputError, match=r"could not be written \(No space left on device\); is the disk full"):
        writers.write_mesh(surface(), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.vtp"]
