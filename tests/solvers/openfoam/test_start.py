"""Fields that become the start of a case: patches are kept, gradients are exact, wrong files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meshops.data.openfoam import read_case
from meshops.datasets.formats.foam import write_mesh_files, write_settings
from meshops.errors import InputError
from meshops.solvers.openfoam.ahmed_case import AhmedSettings, write_start_fields
from meshops.solvers.openfoam.programs import Programs
from meshops.solvers.openfoam.solve import Prepared, begin, prepare_copy, start_fields, stream_of
from meshops.solvers.openfoam.start import StartRun, estimated_turbulence, read_geometry, uniform_value, write_start
from meshops.solvers.tunnel import tunnel_flow

STREAM = AhmedSettings().turbulence


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A meshed case with a start, made without OpenFOAM."""
    folder = tmp_path_factory.mktemp("foam") / "case"
    write_mesh_files(folder, tunnel_flow(0, resolution=6).mesh)
    write_settings(folder, time=100)
    write_start_fields(folder, AhmedSettings(half=False))
    return folder


def copy(case: Path, to: Path) -> Prepared:
    return prepare_copy(to, case, length=1.0, residual=1e-4, timeout=10.0, stream=stream_of(case))


def test_the_gradient_is_the_sum_over_the_faces_of_each_cell(case: Path) -> None:
    geometry = read_geometry(case)
    mesh, values = geometry.mesh, np.sin(geometry.center @ np.array([[1.0], [2.0], [3.0]]))
    found = geometry.gradient(values)
    for cell in (0, 17, len(values) - 1):
        total = np.zeros((3, 1))
        for face in range(len(mesh.owner)):
            inside = face < len(mesh.neighbour)
            if mesh.owner[face] == cell or (inside and mesh.neighbour[face] == cell):
                other = mesh.neighbour[face] if inside else mesh.owner[face]
                sign = 1 if mesh.owner[face] == cell else -1
                mean = (values[mesh.owner[face]] + values[other]) / 2
                total += sign * geometry.face_vector[face][:, None] * mean
        assert found[cell] == pytest.approx(total / geometry.volume[cell])
    box = np.ptp(mesh.points, axis=0).prod()
    assert 0.8 * box < geometry.volume.sum() < box  # all but the body


def test_a_uniform_velocity_leaves_the_turbulence_of_the_stream(case: Path) -> None:
    geometry = read_geometry(case)
    count = len(geometry.volume)
    calm = estimated_turbulence(geometry, np.tile([1.0, 0.0, 0.0], (count, 1)), 1.0, STREAM)
    assert all(calm[name] == pytest.approx(np.full(count, STREAM[name])) for name in ("k", "nut", "omega"))
    sheared = estimated_turbulence(geometry, np.c_[5 * geometry.center[:, 2], np.zeros((count, 2))], 1.0, STREAM)
    assert (sheared["k"] >= STREAM["k"]).all()
    assert sheared["k"].max() > 2 * STREAM["k"]
    assert sheared["omega"] == pytest.approx(sheared["k"] / sheared["nut"])


def test_what_is_written_is_read_back_and_the_patches_stay(case: Path, tmp_path: Path) -> None:
    made = copy(case, tmp_path / "mesh")
    count = len(read_geometry(case).volume)
    values = {"U": np.arange(3.0 * count).reshape(count, 3), "p": np.linspace(-1, 1, count)}
    folder, _ = begin(made, "network", Programs({}, {}), {"network": lambda mesh: values})
    mesh = read_case(folder, time="0").mesh
    assert np.asarray(mesh.cell_data["U"]) == pytest.approx(values["U"])
    assert np.asarray(mesh.cell_data["p"]) == pytest.approx(values["p"], abs=1e-8)
    for name in ("U", "k", "omega"):
        before, after = ((f / "0" / name).read_text().partition("boundaryField")[2] for f in (case, folder))
        assert before == after
    assert (case / "0" / "U").read_text().count("uniform") == (made.folder / "0" / "U").read_text().count("uniform")


def test_a_macro_of_the_patches_becomes_the_value_it_had(case: Path, tmp_path: Path) -> None:
    folder = copy(case, tmp_path / "mesh").folder
    (folder / "0" / "p").write_text("internalField uniform 0.25;\nboundaryField { inlet { value $internalField; } }\n")
    assert uniform_value(folder / "0" / "p") == 0.25
    write_start(folder, {"p": np.array([1.0, 2.0])})
    text = (folder / "0" / "p").read_text()
    assert "inlet { value uniform 0.25; }" in text
    assert "nonuniform List<scalar>\n2\n(\n1\n2\n)" in text
    assert uniform_value(folder / "0" / "p") is None


def test_what_cannot_be_a_start_is_refused(case: Path, tmp_path: Path) -> None:
    made = copy(case, tmp_path / "mesh")
    count = len(read_geometry(case).volume)
    with pytest.raises(InputError, match="not finite"):
        write_start(made.folder, {"p": np.full(count, np.nan)})
    with pytest.raises(InputError, match=f"{count} cells, but the prediction has"):
        start_fields(made, {"U": np.zeros((3, 3)), "p": np.zeros(3)})
    with pytest.raises(InputError, match="no start 'exact'; there are: 'stream', 'potential'"):
        begin(made, "exact", Programs({}, {}))
    (made.folder / "0" / "omega").unlink()
    with pytest.raises(InputError, match="cases of the k-omega models"):
        stream_of(made.folder)
    (made.folder / "0" / "p").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="writeFormat ascii"):
        write_start(made.folder, {"p": np.zeros(count)})
    (tmp_path / "no" / "0").mkdir(parents=True)
    with pytest.raises(InputError, match="has no folder constant/polyMesh"):
        prepare_copy(tmp_path / "b", tmp_path / "no", length=1, residual=1e-4, timeout=1, stream=STREAM)


def test_the_iteration_from_which_the_drag_has_settled() -> None:
    drag = np.array([3.0, 1.005, 2.0, 1.009, 0.995, 1.0])
    run = StartRun("stream", 6, True, 1e-5, 1.0, 0.0, np.arange(1.0, 7.0), drag, 10.0 ** -np.arange(6))
    assert run.settled(1.0, 0.01) == 4
    assert run.settled(1.0, 2.5) == 1
    assert run.settled(2.0, 0.01) is None
    assert run.below(1e-3) == 5
    assert run.below(1e-9) is None
