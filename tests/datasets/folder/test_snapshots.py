"""Arrays of all cases beside the one mesh that they share."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import pyvista as pv
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from meshops import datasets
from meshops.datasets import FolderCases, Study, guess_study
from meshops.datasets.folder.snapshots import orientations
from meshops.errors import InputError
from meshops.testing import check_dataset

CASES = 7


@pytest.fixture
def mesh() -> pv.UnstructuredGrid:
    """81 points, 128 cells."""
    made = pv.ImageData(dimensions=(9, 9, 1)).cast_to_unstructured_grid().triangulate()
    made.clear_data()
    return made


@pytest.fixture
def values(mesh: pv.UnstructuredGrid) -> np.ndarray:
    """``[cases, points, 2]``."""
    angle = np.linspace(-3, 3, CASES)[:, None]
    first = np.sin(mesh.points[None, :, 0] / 3 + angle)
    return np.stack([first, first * mesh.points[None, :, 1]], 2)


def opened(folder: Path) -> FolderCases:
    data = datasets.open(folder)
    assert isinstance(data, FolderCases) and data.study.layout == "snapshots" and len(data) == CASES
    return data


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "mat", "mat7.3", "csv", "csv with header"])
def test_either_orientation_of_every_format(
    tmp_path: Path, mesh: pv.UnstructuredGrid, values: np.ndarray, kind: str, order: tuple[int, int]
) -> None:
    array = values[:, :, 0].transpose(order)
    mesh.save(tmp_path / "mesh.vtu")
    if kind == "npy":
        np.save(tmp_path / "pressure.npy", array)
    elif kind == "npz":
        np.savez_compressed(tmp_path / "all.npz", pressure=array)
    elif kind in ("h5", "mat7.3"):
        with h5py.File(tmp_path / f"all.{'h5' if kind == 'h5' else 'mat'}", "w") as file:
            file["results/pressure"] = array
    elif kind == "mat":
        savemat(tmp_path / "all.mat", {"pressure": array})
    else:
        head = ",".join(f"c{i}" for i in range(array.shape[1])) if "header" in kind else ""
        np.savetxt(tmp_path / "pressure.csv", array, delimiter=",", header=head, comments="")
    (tmp_path / "parameters.csv").write_text("angle [deg]\n" + "\n".join(str(i * 0.5) for i in range(CASES)))
    data = opened(tmp_path)
    assert data.fields == ("pressure",) and data.location == "point"
    for i in (0, 3, CASES - 1):
        np.testing.assert_allclose(data[i].y[:, 0], values[i, :, 0], atol=1e-6)
        assert data.conditions_of(i) == {"angle": i * 0.5}
    check_dataset(data)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_vectors(tmp_path: Path, mesh: pv.UnstructuredGrid, values: np.ndarray, order: tuple[int, ...]) -> None:
    mesh.save(tmp_path / "mesh.vtu")
    np.save(tmp_path / "velocity.npy", values.transpose(order))
    np.save(tmp_path / "mach.npy", np.linspace(0.1, 0.7, CASES))
    data = opened(tmp_path)
    assert data.study.fields[0].size == 2 and data.study.fields[0].role == "velocity"
    np.testing.assert_allclose(data[4].field("velocity"), values[4], atol=1e-6)
    assert data.conditions_of(6) == {"mach": pytest.approx(0.7)}


def test_cells_and_one_file_per_case(tmp_path: Path, mesh: pv.UnstructuredGrid) -> None:
    mesh.save(tmp_path / "mesh.vtu")
    cells = np.random.default_rng(0).normal(size=(CASES, 128))
    for i in range(CASES):
        np.save(tmp_path / f"T_{i:02d}.npy", cells[i])
    rows = "\n".join(f"T_{i:02d},{i}" for i in reversed(range(CASES)))
    (tmp_path / "cases.csv").write_text("case,load\n" + rows)
    data = opened(tmp_path)
    assert (
        data.location == "cell" and data.cases[2] == "T_02" and data[0].edge_index.shape == (2, 2 * (3 * 128 - 32) // 2)
    )
    np.testing.assert_allclose(data[5].y[:, 0], cells[5], atol=1e-6)


def test_the_study_file_keeps_axes_and_refuses_others(
    tmp_path: Path, mesh: pv.UnstructuredGrid, values: np.ndarray
) -> None:
    mesh.save(tmp_path / "mesh.vtu")
    np.save(tmp_path / "p.npy", values[:, :, 0])
    path = guess_study(tmp_path).save(tmp_path)
    assert Study.load(path).snapshots[0].axes == ("cases", "nodes")
    text = path.read_text()
    path.write_text(text.replace("axes: [cases, nodes]", "axes: [nodes, cases]"))
    with pytest.raises(InputError, match="has 7 rows for 81 points of the mesh; correct its axes"):
        datasets.open(tmp_path)
    path.write_text(text.replace("axes: [cases, nodes]", "axes: [cases, seats]"))
    with pytest.raises(InputError, match="axes of 'p' must be of 'cases', 'nodes'"):
        datasets.open(tmp_path)


def test_ambiguous_shapes_are_said(tmp_path: Path) -> None:
    mesh = pv.ImageData(dimensions=(3, 3, 1)).cast_to_unstructured_grid()
    mesh.save(tmp_path / "mesh.vtu")
    np.save(tmp_path / "p.npy", np.arange(81.0).reshape(9, 9))  # nine cases on nine points
    study = guess_study(tmp_path)
    assert "AMBIGUOUS" in study.guesses["snapshots.p"] and study.snapshots[0].axes == ("cases", "nodes")


@settings(max_examples=100, deadline=None)
@given(
    cases=st.integers(2, 50),
    points=st.integers(60, 400),
    cells=st.integers(401, 900),
    channels=st.integers(1, 9),
    order=st.permutations([0, 1, 2]),
    known=st.booleans(),
)
def test_orientation_is_found(
    cases: int, points: int, cells: int, channels: int, order: list[int], known: bool
) -> None:
    """Whatever the order of the axes, they are told apart by the counts of the mesh and of the table."""
    for nodes, place in ((points, "point"), (cells, "cell")):
        names, sizes = ["cases", "nodes", "channels"], [cases, nodes, channels]
        shape, axes = [sizes[i] for i in order], tuple(names[i] for i in order)
        if not known and cases <= 9:
            continue  # cases and channels look alike
        assert (axes, place) in orientations(shape, points, cells, cases if known else None)
        if not (known and cases == channels):
            assert orientations(shape, points, cells, cases if known else None)[0] == (axes, place)
        flat = [i for i in order if i != 2]
        found = orientations([sizes[i] for i in flat], points, cells, cases if known else None)
        assert found == [(tuple(names[i] for i in flat), place)]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY garbage", b"\x80\x04."])
def test_damaged_arrays_are_named(
    tmp_path: Path, mesh: pv.UnstructuredGrid, values: np.ndarray, content: bytes
) -> None:
    mesh.save(tmp_path / "mesh.vtu")
    np.save(tmp_path / "p.npy", values[:, :, 0])
    study = guess_study(tmp_path)
    (tmp_path / "p.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"p\.npy: cannot be read"):
        study.open()


def test_parameters_without_a_header_are_numbered(tmp_path: Path) -> None:
    mesh = pv.ImageData(dimensions=(5, 4, 1)).cast_to_unstructured_grid()
    mesh.save(tmp_path / "mesh.vtu")
    values = np.random.default_rng(0).uniform(1, 2, (7, 2))
    np.save(tmp_path / "pressure.npy", values[:, :1] * np.arange(1.0, 21.0))
    np.savetxt(tmp_path / "parameters.csv", values, delimiter=",")
    data = datasets.open(tmp_path)
    rows = np.array([list(data.conditions_of(i).values()) for i in range(len(data))])
    assert [entry.name for entry in data.study.conditions] == ["parameters_0", "parameters_1"]
    assert np.allclose(rows, values)
