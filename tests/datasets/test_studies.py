"""Studies as plain folders: what is written is what was solved, in formats that others read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops.cli.main import main
from meshops.data.openfoam import read_case
from meshops.datasets.folder.tables import read_table
from meshops.datasets.studies import STUDIES, write_study
from meshops.errors import InputError
from meshops.solvers.plate import plate
from meshops.solvers.tunnel import tunnel_flow
from meshops.solvers.wake import wake


def rows_of(path: Path) -> dict[str, dict[str, float]]:
    """Case -> column -> number."""
    table = read_table(path)
    return {row[0]: dict(zip(table.columns[1:], map(float, row[1:]), strict=True)) for row in table.rows}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_front_is_one_mesh_with_arrays_and_a_table(tmp_path: Path) -> None:
    told = write_study("front", tmp_path / "a", cases=3, seed=5, num_points=1000)
    assert told.startswith("3 flows on one mesh of 1000 nodes")
    assert sorted(bytes_of(tmp_path / "a")) == ["mesh.vtu", "parameters.csv", "pressure.npy", "velocity.npy"]
    mesh = pv.read(tmp_path / "a" / "mesh.vtu")
    pressure, velocity = (np.load(tmp_path / "a" / f"{name}.npy") for name in ("pressure", "velocity"))
    assert pressure.shape == (3, mesh.n_points) == (3, 1000) and velocity.shape == (3, 1000, 2)
    table = read_table(tmp_path / "a" / "parameters.csv")
    assert table.columns == ("case", "angle", "mach") and table.units == {"angle": "deg"} and len(table.rows) == 3
    speed = np.linalg.norm(velocity, axis=2)
    far = np.abs(mesh.points[:, 0]) > 4.5
    mach = np.array(table.numeric("mach"))
    np.testing.assert_allclose(np.median(speed[:, far], 1) / 340.3, mach, rtol=0.01)
    write_study("front", tmp_path / "b", cases=3, seed=5, num_points=1000)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_plates_have_meshes_of_their_own_and_a_table(tmp_path: Path) -> None:
    pytest.importorskip("skfem")
    write_study("plate", tmp_path, cases=2, seed=7, num_points=400)
    table = read_table(tmp_path / "results.csv")
    assert table.units == {"load": "N", "largest_stress": "Pa", "mass": "kg"}
    for case, name in enumerate(("plate_0000", "plate_0001")):
        mesh, found = pv.read(tmp_path / f"{name}.vtu"), plate(7 + case, num_points=400)
        np.testing.assert_array_equal(mesh.points[:, :2], found.points)
        np.testing.assert_array_equal(mesh["von_mises"], found.von_mises)
        assert mesh["displacement"].shape == (400, 3) and not mesh["displacement"][:, 2].any()
        expected = {"load": found.load, "largest_stress": found.von_mises.max(), "mass": found.mass}
        assert rows_of(tmp_path / "results.csv")[name] == pytest.approx(expected)


def test_wakes_are_series_that_readers_open(tmp_path: Path) -> None:
    write_study("wake_files", tmp_path, cases=2, num_points=400, frames=3, spin_up=0.2)
    reader = pv.get_reader(tmp_path / "wake_0001" / "wake_0001.pvd")
    found = wake(1, num_points=400, frames=3, spin_up=0.2, motion="fixed")
    assert reader.time_values == pytest.approx(found.time.tolist())
    reader.set_active_time_point(2)
    (mesh,) = reader.read()
    np.testing.assert_array_equal(mesh["pressure"], found.pressure[2].numpy())
    np.testing.assert_array_equal(mesh["velocity"][:, :2], found.velocity[2].numpy())
    rows = rows_of(tmp_path / "parameters.csv")
    assert rows["wake_0001"]["reynolds"] == pytest.approx(found.parameters["reynolds"])


def test_openfoam_cases_are_read_by_vtk(tmp_path: Path) -> None:
    write_study("foam", tmp_path, cases=1, seed=3, resolution=6, layers=5)
    flow = tunnel_flow(3, resolution=6, layers=5)
    mesh = read_case(tmp_path / "case_0000")  # the last time
    np.testing.assert_allclose(mesh.cell_data["U"], flow.velocity, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(mesh.cell_data["p"], flow.pressure, rtol=1e-5, atol=1e-3)
    for patch, part in flow.mesh.patches.items():
        face = read_case(tmp_path / "case_0000", region=patch)
        assert face.n_cells == part.stop - part.start
        np.testing.assert_allclose(face.cell_data["p"], flow.patch_pressure[patch], rtol=1e-5, atol=1e-3)
    area = np.linalg.norm(flow.mesh.face_areas[flow.mesh.patches["body"]], axis=1).sum()
    assert read_case(tmp_path / "case_0000", region="body").area == pytest.approx(area, rel=1e-3)
    row = rows_of(tmp_path / "cases.csv")["case_0000"]
    assert row["speed"] == flow.speed and row["cl"] == pytest.approx(flow.lift)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fronts", {}, "no study 'fronts'; did you mean 'front'"),
        ("plate", {"colour": 3}, "unknown option 'colour'; allowed: 'num_points'"),
        ("foam", {"cases": 0}, "at least 1 case"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path: Path, name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_study(name, tmp_path / "out", **{"cases": 1, **options})
    assert not (tmp_path / "out").exists() and set(STUDIES) == {"front", "plate", "wake_files", "foam"}


def test_the_command_writes_all_or_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "foam"
    small = ["generate", "foam", "--resolution", "4", "--option", "layers=3"]
    assert main([*small, "--cases", "2", "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 2 OpenFOAM cases of ")
    assert sorted(path.name for path in out.iterdir()) == ["case_0000", "case_0001", "cases.csv"]
    assert main([*small, "--out", str(out)]) == 2  # not over another
    assert "exists already" in capsys.readouterr().err

    def stop(seed: int, **_: object) -> object:
        if seed == 1:
            raise KeyboardInterrupt
        return tunnel_flow(seed, resolution=4, layers=3)

    monkeypatch.setitem(STUDIES, "foam", (STUDIES["foam"][0], stop))
    monkeypatch.setattr("meshops.datasets.studies.tunnel_flow", stop)
    assert main(["generate", "foam", "--cases", "3", "--out", str(tmp_path / "half")]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["foam"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["foam", "--points", "8"], "--points is for irregular meshes; foam takes --resolution"),
        (["front", "--frames", "8"], "--frames is for trajectories; front is steady"),
        (["plate", "--test", "1"], "--test is not for plate: it is written as a plain folder"),
        (["plate", "--vary", "load=1:2"], "--vary is for grids"),
        (["riemann_2d", "--points", "8"], "--points is for irregular meshes; riemann_2d takes --resolution"),
        (["wakes"], "no generator 'wakes'; did you mean 'wake'"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["generate", *options, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
