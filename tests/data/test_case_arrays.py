"""A case in named arrays: NumPy, HDF5, MATLAB give the same mesh; cells, grids, single numbers, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from meshops.data.cells import cells_of
from meshops.data.readers import open_mesh
from meshops.errors import InputError


def hdf5(path: Path, arrays: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[f"group/{name}"] = values


WRITERS: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    ".npz": lambda path, arrays: np.savez(path, **arrays),
    ".h5": hdf5,
    ".mat": lambda path, arrays: savemat(path, arrays),
}


def arrays(points: str = "points") -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {points: rng.random((30, 2)), "p": rng.random(30), "U": rng.random((30, 2)), "speed": 30.0,
            "history": rng.random(7)}  # fmt: skip


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("points", ["points", "pos", "node_coords", "coordinates"])
def test_points_values_and_single_numbers(ending: str, points: str, tmp_path: Path) -> None:
    given, path = arrays(points), tmp_path / f"case{ending}"
    WRITERS[ending](path, given)
    read = open_mesh(path)
    mesh = read.mesh
    np.testing.assert_allclose(np.asarray(mesh.points)[:, :2], given[points])
    assert mesh.n_points == 30 and float(mesh.field_data["speed"][0]) == 30
    np.testing.assert_allclose(mesh.point_data["p"], given["p"])
    np.testing.assert_allclose(mesh.point_data["U"], given["U"])
    assert any("history [7]" in text for text in read.notes.remarks)


@pytest.mark.parametrize("first", [0, 1])
def test_cells_counted_from_either_number(first: int, tmp_path: Path) -> None:
    points = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    np.savez(tmp_path / "a.npz", vertices=points, triangles=np.array([[0, 1, 2], [0, 2, 3]]) + first, stress=[1.0, 2.0])
    mesh = open_mesh(tmp_path / "a.npz").mesh
    assert cells_of(mesh).nodes.tolist() == [0, 1, 2, 0, 2, 3] and mesh.cell_data["stress"].tolist() == [1, 2]


def test_four_corners_are_a_tetrahedron_in_space_and_a_quad_in_the_plane(tmp_path: Path) -> None:
    solid = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    for points, kind in ((solid, 10), (np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), 9)):
        np.savez(tmp_path / "a.npz", pos=points, cells=np.array([[0, 1, 2, 3]]), p=np.arange(4.0))
        assert cells_of(open_mesh(tmp_path / "a.npz").mesh).kind.tolist() == [kind]


def test_a_grid_of_coordinates(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 2, 4))
    np.savez(tmp_path / "a.npz", x=x, y=y, T=x + 10 * y)
    mesh = open_mesh(tmp_path / "a.npz").mesh
    np.testing.assert_allclose(mesh.point_data["T"], mesh.points[:, 0] + 10 * mesh.points[:, 1], rtol=1e-6)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_without_coordinates_says_what_it_holds(ending: str, tmp_path: Path) -> None:
    WRITERS[ending](tmp_path / f"a{ending}", {"pressure": np.zeros(12)})
    with pytest.raises(InputError, match=r"no coordinates of points; .* The file holds .*pressure \[12\]"):
        open_mesh(tmp_path / f"a{ending}")


def test_objects_are_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=np.random.default_rng(0).random((9, 3)), p=np.zeros(9), o=np.array([print]))
    assert list(open_mesh(tmp_path / "a.npz").mesh.point_data) == ["p"]
