"""Geo-FNO's benchmarks: axis orders, splits, edges, stand-ins, both kinds of .mat files, and messages."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from torch.testing import assert_close

from meshops.data.convert import to_pyvista
from meshops.datasets import Airfoil, Darcy, Elasticity, Pipe, Plasticity, detect
from meshops.datasets.geo_fno.base import unit_grid
from meshops.datasets.geo_fno.files import choose, grid_cells, grid_edges
from meshops.datasets.geo_fno.standin import darcy_coefficient, solve_darcy, unit_cell, von_mises_stress
from meshops.errors import InputError, MissingDataError

SETS: dict[str, Any] = {
    "darcy": Darcy,
    "elasticity": Elasticity,
    "plasticity": Plasticity,
    "airfoil": Airfoil,
    "pipe": Pipe,
}


def coded(*shape: int) -> np.ndarray:
    """An array whose entries tell their indices: 1 + sum of index_k * 10^k."""
    return 1 + sum(np.arange(n).reshape(-1, *(1,) * (len(shape) - k - 1)) * 10**k for k, n in enumerate(shape)).astype(
        np.float64
    )


def write_v73(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As MATLAB writes them: HDF5 behind 512 bytes of its own, axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, values in arrays.items():
            file.create_dataset(key, data=values.T)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(512))


def write_mat(path: Path, arrays: dict[str, np.ndarray], *, v73: bool = False) -> None:
    if v73:
        write_v73(path, arrays)
    else:
        scipy.io.savemat(path, arrays)


@pytest.fixture(scope="module")
def standins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("geo_fno")
    return {
        name: kind.standin(folder / name, 4, **({"points": 21} if name == "darcy" else {}))
        for name, kind in SETS.items()
    }


@pytest.mark.parametrize("v73", [False, True])
def test_darcy_axes_and_files(tmp_path: Path, v73: bool) -> None:
    for number in (1, 2):
        coeff = coded(5, 7, 9) + 1000 * number
        name = f"piececonst_r421_N1024_smooth{number}.mat"
        write_mat(tmp_path / name, {"coeff": coeff, "sol": -coeff}, v73=v73)
    train = Darcy(tmp_path, num_train=4, num_test=2, subsample=2)
    test = Darcy(tmp_path, "test", num_train=4, num_test=2, subsample=2)
    assert train.cases == tuple(f"smooth1/{n:04d}" for n in range(4))
    assert test.cases == ("smooth2/0000", "smooth2/0001")
    graph = train[3]
    expected = 1001 + 3 + 10 * np.arange(0, 7, 2)[:, None] + 100 * np.arange(0, 9, 2)
    assert_close(graph.x.view(4, 5), torch.tensor(expected, dtype=torch.float32))
    assert torch.equal(graph.y, -graph.x) and graph.x_names == ("coefficient",)
    assert float(test[1].x[0]) == 2002
    # The first axis is the second coordinate, as in the reference code.
    assert_close(graph.pos[1], torch.tensor([0.25, 0.0]))
    assert_close(graph.pos[5], torch.tensor([0.0, 1 / 3]))
    every = Darcy(tmp_path, "all", subsample=1)
    assert len(every) == 10 and float(every[-1].x[-1]) == 2001 + 4 + 60 + 800
    assert test.files(0) == {"smooth2": tmp_path / "piececonst_r421_N1024_smooth2.mat"}


def test_darcy_default_grid_is_85_x_85() -> None:
    pos = unit_grid((421, 421), 5)
    assert pos.shape == (85, 85, 2) and pos[0, -1].tolist() == [1.0, 0.0] and pos[-1, 0].tolist() == [0.0, 1.0]


def test_elasticity_axes(tmp_path: Path) -> None:
    folder = tmp_path / "elasticity" / "Meshes"
    folder.mkdir(parents=True)
    np.save(folder / "Random_UnitCell_XY_10.npy", coded(6, 2, 5))
    np.save(folder / "Random_UnitCell_sigma_10.npy", coded(6, 5))
    data = Elasticity(tmp_path, "test", num_train=2, num_test=2)
    assert data.cases == ("0003", "0004")  # the last ones, not those that follow
    graph = data[0]
    assert graph.pos[:, 0].tolist() == [301 + n for n in range(6)]
    assert (graph.pos[:, 1] - graph.pos[:, 0]).tolist() == [10] * 6
    assert graph.field("stress").tolist() == [31 + n for n in range(6)]
    assert graph.get("edge_index") is None and graph.get("x") is None and graph.num_cells == 0
    assert data.parameters(0) == {}
    np.save(folder / "Random_UnitCell_rr_10.npy", coded(42, 5))
    assert data.parameters(0)["radius_07"] == 38
    assert Elasticity(folder, "all")[4].pos[0, 0] == 401


@pytest.mark.parametrize("v73", [False, True])
def test_plasticity_axes(tmp_path: Path, v73: bool) -> None:
    arrays = {"input": coded(5, 4), "output": coded(5, 4, 3, 2, 4)}
    write_mat(tmp_path / "plas_N987_T20.mat", arrays, v73=v73)
    data = Plasticity(tmp_path, "test", num_train=3, num_test=2)
    assert data.cases == ("0003", "0004")
    graph = data[1]
    assert graph.y_sizes == (8,) and graph.y.shape == (12, 8)
    # Node (i, j), step t, channel c.
    y = graph.y.view(4, 3, 2, 4)
    for place in ((0, 0, 0, 0), (2, 1, 1, 3), (3, 2, 0, 1)):
        i, j, t, c = place
        assert float(y[place]) == 1 + 4 + 10 * i + 100 * j + 1000 * t + 10000 * c
    assert graph.x.view(4, 3).tolist() == [[5.0 + 10 * i] * 3 for i in range(4)]
    assert_close(graph.pos.view(4, 3, 2)[1, 2], torch.tensor([1.0, 1 / 3]))


@pytest.mark.parametrize(("kind", "names", "channel"), [(Airfoil, "naca/NACA_Cylinder", 4), (Pipe, "pipe/Pipe", 0)])
def test_curved_grids_axes(tmp_path: Path, kind: Any, names: str, channel: int) -> None:
    (tmp_path / names).parent.mkdir()
    for name, values in (("X", coded(5, 4, 3)), ("Y", -coded(5, 4, 3)), ("Q", coded(5, 6, 4, 3))):
        np.save(tmp_path / f"{names}_{name}.npy", values)
    data = kind(tmp_path, "test", num_train=2, num_test=2)
    assert data.cases == ("0002", "0003")  # those that follow, not the last ones
    graph = data[0]
    node = 2 * 3 + 1
    assert graph.pos[node].tolist() == [123, -123] and graph.get("x") is None
    assert float(graph.y[node]) == 1 + 2 + 10 * channel + 200 + 1000
    assert graph.grid_shape.tolist() == [[4, 3]] and graph.fields == data.fields
    again = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) < 20_000 and torch.equal(again[0].pos, graph.pos)


def test_edges_join_eight_neighbours_both_ways_sorted_by_receiver() -> None:
    rows, columns = 4, 5
    edges = grid_edges(rows, columns)
    slow = [
        (a, b)
        for b in range(rows * columns)
        for a in range(rows * columns)
        if a != b and max(abs(a // columns - b // columns), abs(a % columns - b % columns)) == 1
    ]
    assert edges.T.tolist() == [list(pair) for pair in slow]
    assert torch.bincount(edges[1])[6] == 8 and torch.bincount(edges[1])[0] == 3
    assert {tuple(e) for e in edges.T.tolist()} == {tuple(e) for e in edges.flip(0).T.tolist()}


def test_cells_are_the_quads_of_the_grid() -> None:
    assert grid_cells(3, 3).tolist() == [[0, 3, 4, 1], [1, 4, 5, 2], [3, 6, 7, 4], [4, 7, 8, 5]]
    places = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(3.0), indexing="ij"), -1).view(-1, 2)
    corners = places[grid_cells(4, 3)]
    one, two = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    assert torch.equal((one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]).abs(), torch.full((6,), 2.0))


@pytest.mark.parametrize("name", SETS)
def test_standins_have_the_published_layout(standins: dict[str, Path], name: str) -> None:
    shapes = {
        "elasticity": (972, 1),
        "plasticity": (101 * 31, 80),
        "airfoil": (221 * 51, 1),
        "pipe": (129 * 129, 1),
        "darcy": (25, 1),
    }
    data = SETS[name](standins[name], "all")
    assert detect(standins[name]) == name and len(data) == 4 and list(data.check()) == []
    for graph in data:
        assert tuple(graph.y.shape) == shapes[name] and graph.y.dtype == torch.float32
        assert bool(torch.isfinite(graph.y).all()) and graph.validate()
    assert not torch.equal(data[0].y, data[1].y)
    assert len(SETS[name](standins[name], num_train=3, num_test=1)) == 3
    test = SETS[name](standins[name], "test", num_train=3, num_test=1)
    assert test.cases == (("smooth2/0000",) if name == "darcy" else ("0003",))


def test_a_grid_can_be_drawn(standins: dict[str, Path]) -> None:
    graph = Airfoil(standins["airfoil"], "all")[0]
    mesh = to_pyvista(graph)
    assert (mesh.n_points, mesh.n_cells) == (221 * 51, 220 * 50)


def test_darcy_solver_against_a_series() -> None:
    # -lap u = 1 in the unit square: u = 0.0736713 in the middle.
    ones = solve_darcy(np.ones((41, 41)))
    assert ones[20, 20] == pytest.approx(0.0736713, rel=1e-3) and ones[0].max() == 0
    assert np.allclose(solve_darcy(np.full((41, 41), 4.0)), ones / 4)
    assert set(np.unique(darcy_coefficient(0, 21))) == {3.0, 12.0}


def test_elastic_plate_without_a_hole_is_stretched_evenly() -> None:
    side = np.linspace(0, 1, 9)
    points = np.stack(np.meshgrid(side, 4 * side), -1).reshape(-1, 2)
    points[:, 1] = points[:, 1] / 4
    index = np.arange(81).reshape(9, 9)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    stress = von_mises_stress(points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))
    # Far from the held side the stress is the traction, 1.
    assert stress.reshape(9, 9)[6:, 2:-2] == pytest.approx(1.0, abs=0.05)


def test_the_unit_cell_uses_every_point() -> None:
    points, triangles, radii = unit_cell(0)
    assert points.shape == (972, 2) and len(np.unique(triangles)) == 972 and radii.shape == (42,)
    assert np.hypot(*(points - 0.5).T).min() == pytest.approx(radii.min())


def test_missing_files_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"Darcy: no folder .*; download Darcy_421.zip"):
        Darcy(tmp_path / "nothing")
    with pytest.raises(MissingDataError, match=r"no file NACA_Cylinder_X.npy or .*'airfoil/naca'.*Google Drive"):
        Airfoil(tmp_path)
    np.save(tmp_path / "Pipe_X.npy", np.zeros((2, 3, 3)))
    with pytest.raises(MissingDataError, match=r"no file .*Pipe_Y.npy; download"):
        Pipe(tmp_path)
    write_mat(tmp_path / "piececonst_r421_N1024_smooth1.mat", {"coeff": coded(2, 4, 4), "sol": coded(2, 4, 4)})
    assert len(Darcy(tmp_path, num_train=2, subsample=1)) == 2  # the other file is needed for the test only
    with pytest.raises(MissingDataError, match=r"smooth2.mat; download"):
        Darcy(tmp_path, "test", subsample=1)


def test_too_few_samples(standins: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"'train' wants 1000 samples, the file holds 4; give num_train="):
        Pipe(standins["pipe"])
    with pytest.raises(InputError, match=r"'test' wants 3 \+ 2 samples, the file holds 4"):
        Elasticity(standins["elasticity"], "test", num_train=3, num_test=2)
    with pytest.raises(InputError, match="must be at least 1, got 0 and 80"):
        Plasticity(standins["plasticity"], num_train=0)
    with pytest.raises(InputError, match="split must be one of 'train', 'test', 'all', got 'val'"):
        Airfoil(standins["airfoil"], "val")
    published = {"num_train": 1000, "num_test": 200, "what": ""}
    assert choose("test", 2000, last=True, **published) == range(1800, 2000)
    assert choose("test", 2000, last=False, **published) == range(1000, 1200)
    assert choose("test", 1024, last=False, apart=True, **published) == range(200)


def test_wrong_shapes_keys_and_options(tmp_path: Path, standins: dict[str, Path]) -> None:
    path = tmp_path / "plas_N987_T20.mat"
    write_mat(path, {"input": coded(5, 4), "output": coded(5, 4, 3, 4, 2)})
    with pytest.raises(
        InputError, match=r"'output' must be \[samples, points, points, steps, 4\], got \(5, 4, 3, 4, 2"
    ):
        Plasticity(tmp_path, "all")
    write_mat(path, {"inputs": coded(5, 4), "output": coded(5, 4, 3, 2, 4)})
    with pytest.raises(InputError, match=r"no array 'input'; it holds 'inputs', 'output'"):
        Plasticity(tmp_path, "all")
    write_v73(path, {"output": coded(5, 4, 3, 2, 4)})
    with pytest.raises(InputError, match=r"no entry 'input' in '/'; it holds 'output'"):
        Plasticity(tmp_path, "all")
    for name, shape in (("X", (5, 4, 3)), ("Y", (5, 3, 4)), ("Q", (5, 4, 4, 3))):
        np.save(tmp_path / f"NACA_Cylinder_{name}.npy", np.zeros(shape))
    with pytest.raises(InputError, match=r"'Y' must be \[5, 4, 3\], got \(5, 3, 4\)"):
        Airfoil(tmp_path, "all")
    np.save(tmp_path / "NACA_Cylinder_Y.npy", np.zeros((5, 4, 3)))
    with pytest.raises(InputError, match=r"more than 4 channels on its second axis, got \(5, 4, 4, 3\)"):
        Airfoil(tmp_path, "all")
    with pytest.raises(InputError, match="subsample must be 1 to 10 for 21 x 21 points, got 0"):
        Darcy(standins["darcy"], "all", subsample=0)
    with pytest.raises(InputError, match="num must be at least 2, got 1"):
        Darcy.standin(tmp_path, 1)


def test_damaged_files_are_named(tmp_path: Path, standins: dict[str, Path]) -> None:
    whole = (standins["plasticity"] / "plas_N987_T20.mat").read_bytes()
    path = tmp_path / "plas_N987_T20.mat"
    path.write_bytes(whole[:60])
    with pytest.raises(InputError, match=r"plas_N987_T20.mat: cannot be read as a .mat file"):
        Plasticity(tmp_path, "all")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"plas_N987_T20.mat"):
        Plasticity(tmp_path, "all")[0]
    np.save(tmp_path / "Random_UnitCell_XY_10.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"cannot be read as a .npy file of numbers \(Array can't be memory-mapped"):
        Elasticity(tmp_path)
