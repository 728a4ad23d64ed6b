from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import torch
from sklearn.neighbors import NearestNeighbors

from meshops.data.convert import to_pyvista
from meshops.datasets import ShapeNetCar
from meshops.datasets.shapenet_car.dataset import EMPTY, find_cars, split_cars
from meshops.errors import DataWarning, InputError, MissingDataError

FOLD_SIZES = (100, 99, 97, 100, 100, 96, 100, 98, 99)


@pytest.fixture
def copy(car_root: Path, tmp_path: Path) -> Path:
    """A stand-in that a test may damage."""
    return Path(shutil.copytree(car_root, tmp_path / "cars"))


def car_files(root: Path, index: int) -> tuple[pv.UnstructuredGrid, pv.UnstructuredGrid]:
    files = ShapeNetCar(root, "all").files(index)
    return pv.read(files["pressure"]), pv.read(files["velocity"])


def test_protocol_a_rows_are_exterior_volume_points_then_all_surface_points(car_root: Path):
    data = ShapeNetCar(car_root, "test")
    graph = data[0].validate()
    surface, volume = car_files(car_root, 0)
    # The obvious way: tuples of coordinates, as the released code does it.
    surface_points, volume_points = ([tuple(row) for row in mesh.points.tolist()] for mesh in (surface, volume))
    on_surface = set(surface_points)
    exterior = [i for i, point in enumerate(volume_points) if point not in on_surface]
    velocity_of = dict(zip(volume_points, volume["point_vectors"].tolist(), strict=True))
    assert len(exterior) == 28_504 and graph.num_nodes == 32_186
    assert data.fields == ("velocity", "pressure") and data.units == ("m/s", "Pa")
    pos = np.concatenate([volume.points[exterior], surface.points])
    assert np.array_equal(graph.pos.numpy(), pos)
    expected = [velocity_of.get(point, [0.0, 0.0, 0.0]) for point in surface_points]
    velocity = np.concatenate([volume["point_vectors"][exterior], expected])
    assert np.array_equal(graph.field("velocity").numpy(), velocity.astype(np.float32))
    assert np.array_equal(graph.field("pressure")[28_504:].numpy(), surface.active_scalars)
    assert not graph.field("pressure")[:28_504].any()
    assert graph.node_type.bincount().tolist() == [3586, 96, 28_504]
    assert (graph.node_type != 2).sum() == 3682
    without = (np.abs(expected).max(axis=1) == 0).mean()
    assert without == pytest.approx(0.73, abs=0.005)  # "about 73 %" of the surface has no velocity


def test_protocol_a_features(car_root: Path):
    graph = ShapeNetCar(car_root, "test")[0]
    surface, _ = car_files(car_root, 0)
    assert graph.x_names == ("x", "y", "z", "sdf", "normal_x", "normal_y", "normal_z")
    assert torch.equal(graph.x[:, :3], graph.pos)
    volume = graph.pos[:28_504].numpy()
    distance, nearest = NearestNeighbors(n_neighbors=1).fit(surface.points).kneighbors(volume)
    assert graph.x[:28_504, 3].numpy() == pytest.approx(distance[:, 0], abs=1e-6)
    assert not graph.x[28_504:, 3].any()
    away = (volume - surface.points[nearest[:, 0]]) / (distance + 1e-8)
    assert graph.x[:28_504, 4:].numpy() == pytest.approx(away, abs=1e-4)
    # Normals of an ellipsoid are known; the unused points have none.
    points, normal = graph.pos[graph.node_type == 0].numpy(), graph.x[graph.node_type == 0, 4:].numpy()
    center = (points.max(0) + points.min(0)) / 2
    gradient = (points - center) / np.square(np.ptp(points, axis=0) / 2)
    exact = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    cosine = (exact * normal).sum(axis=1)
    assert cosine.min() > 0.97 and cosine.mean() > 0.999
    assert not graph.normal[graph.node_type == 1].any()


def test_areas_and_normals_integrate_over_the_closed_surface(car_root: Path):
    graph = ShapeNetCar(car_root, "test")[0]
    surface, _ = car_files(car_root, 0)
    assert float(graph.area.sum()) == pytest.approx(surface.area, rel=1e-4)
    assert not graph.area[graph.node_type == 2].any()
    assert float((graph.normal * graph.area[:, None])[graph.node_type == 0].sum(0).abs().max()) < 1e-2


def test_protocol_b(car_root: Path):
    with pytest.warns(DataWarning, match="3 of 889 cars on disk, so protocol B's split is not the published one"):
        data = ShapeNetCar(car_root, "train", protocol="B")
    graph = data[0]
    assert len(data) == 2 and data.fields == ("pressure",)
    assert graph.num_nodes == 3586 and graph.get("x") is None and graph.num_cells == 3584
    surface, _ = car_files(car_root, ShapeNetCar(car_root, "all").cases.index(data.cases[0]))
    kept = np.delete(np.arange(3682), np.arange(16, 112))
    assert np.array_equal(graph.pos.numpy(), surface.points[kept])
    assert np.array_equal(graph.field("pressure").numpy(), surface.active_scalars[kept])


def test_protocol_c(car_root: Path):
    a, c = ShapeNetCar(car_root, "test")[0], ShapeNetCar(car_root, "test", protocol="C")[0]
    keep = a.node_type != 1
    assert c.num_nodes == 28_504 + 3586
    assert c.x_names == ("sdf", "normal_x", "normal_y", "normal_z")
    assert torch.equal(c.pos, a.pos[keep]) and torch.equal(c.y, a.y[keep]) and torch.equal(c.x, a.x[keep, 3:])


@pytest.mark.parametrize("protocol", ["A", "B", "C"])
def test_predictions_can_be_written_back_on_the_quads(car_root: Path, protocol: str):
    data = ShapeNetCar(car_root, "all", protocol=protocol)
    graph = data[0]
    surface, _ = car_files(car_root, 0)
    mesh = to_pyvista(graph, values={"prediction": graph.field("pressure") * 2})
    assert mesh.n_cells == 3584
    corners = np.asarray(mesh.points)[np.asarray(mesh.faces).reshape(-1, 5)[:, 1:]]
    assert np.array_equal(corners, surface.points[surface.cells_dict[9]])
    values = np.asarray(mesh["prediction"])[np.asarray(mesh.faces).reshape(-1, 5)[:, 1:]]
    assert np.array_equal(values, 2 * surface.active_scalars[surface.cells_dict[9]])


def test_split_by_folder():
    cars = tuple(f"param{fold}/{i:03d}" for fold, size in enumerate(FOLD_SIZES) for i in range(size))
    assert len(cars) == 889
    for protocol in ("A", "C"):
        splits = split_cars(cars, protocol)
        assert len(splits["train"]) == 789 and len(splits["test"]) == 100
        assert all(car.startswith("param0/") for car in splits["test"])
    assert len(split_cars(cars, "A", test_fold=2)["test"]) == 97
    with pytest.raises(InputError, match=r"test_fold must be 0..8, got 9"):
        split_cars(cars, "A", test_fold=9)


def test_split_by_permutation():
    cars = tuple(f"param0/{i:03d}" for i in range(889))
    splits = split_cars(cars, "B")
    assert len(splits["train"]) == 700 and len(splits["test"]) == 189
    # The smallest of the test indices published with UPT.
    assert [int(car[-3:]) for car in splits["test"][:8]] == [4, 5, 8, 11, 14, 15, 16, 21]
    assert splits["train"] == tuple(sorted(splits["train"]))


def test_listing_skips_empty_shells_and_loose_files(copy: Path):
    folder = copy / "training_data"
    before = find_cars(folder)
    (folder / "param1" / EMPTY[0]).mkdir()
    (folder / "param1" / "scratch.d").mkdir()
    (folder / "param1" / "drags.npy").write_bytes(b"")
    (folder / "param2" / "notes").write_text("x")
    assert find_cars(folder) == before
    assert [name.split("/")[0] for name in before] == ["param0", "param1", "param2"]


def test_check_of_the_standin_finds_nothing(car_root: Path):
    assert list(ShapeNetCar(car_root, "all").check()) == []
    assert "cd" in ShapeNetCar(car_root, "all").numbers_of(0)


def test_without_volume_files(copy: Path):
    for path in copy.rglob("hexvelo_smpl.vtk"):
        path.unlink()
    with pytest.warns(
        DataWarning, match="no hexvelo_smpl.vtk under .* protocol A holds the surface rows and the press"
    ):
        data = ShapeNetCar(copy, "train")
    assert data.fields == ("pressure",) and data[0].num_nodes == 3682 and data[0].x.shape == (3682, 7)
    quiet = ShapeNetCar(copy, "train", protocol="C", domain="surface")
    assert quiet[0].num_nodes == 3586 and list(quiet.check()) == []


def test_check_names_what_is_wrong(copy: Path):
    data = ShapeNetCar(copy, "all")
    data.files(0)["velocity"].unlink()
    np.save(data.files(1)["press"], np.load(data.files(1)["press"]) + 1)
    np.save(data.files(1)["velo"], np.zeros(7))
    data.files(1)["cd"].write_text("none\n")
    text = (
        data.files(2)["pressure"].read_text().replace("SCALARS point_scalars float\nLOOKUP_TABLE default", "FIELD f 0")
    )
    data.files(2)["pressure"].write_text(text[: text.index("POINT_DATA")])
    problems = [str(problem) for problem in data.check()]
    assert any("hexvelo_smpl.vtk): the velocity file is missing" in text for text in problems)
    assert any("press.npy): differs from the values in the VTK file by up to 1" in text for text in problems)
    assert any("velo.npy): 7 values instead of 88494" in text for text in problems)
    assert any("cd.txt): " in text and "expected a number, got 'none'" in text for text in problems)
    assert any("no point scalars (pressure)" in text for text in problems)
    with pytest.raises(MissingDataError, match=r"hexvelo_smpl\.vtk; download mlcfd_data\.zip"):
        data[0]


def test_nan_is_named(copy: Path):
    data = ShapeNetCar(copy, "all", protocol="B")
    path = data.files(0)["pressure"]
    lines = path.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("LOOKUP_TABLE")) + 1
    lines[first + 200] = "nan"
    path.write_text("\n".join(lines) + "\n")
    assert any("'pressure' holds 1 NaN" in str(problem) for problem in data.check())


def test_bad_input(car_root: Path, tmp_path: Path):
    with pytest.raises(MissingDataError, match=r"no folder .*; download mlcfd_data.zip \(2.03 GB\)"):
        ShapeNetCar(tmp_path / "nothing")
    with pytest.raises(MissingDataError, match="no folder param0 to param8"):
        ShapeNetCar(tmp_path)
    (tmp_path / "param0").mkdir()
    with pytest.raises(MissingDataError, match="no car in"):
        ShapeNetCar(tmp_path)
    with pytest.raises(InputError, match="protocol must be one of 'A', 'B', 'C', got 'D'"):
        ShapeNetCar(car_root, protocol="D")
    with pytest.raises(InputError, match="split must be one of 'train', 'test', 'all', got 'val'"):
        ShapeNetCar(car_root, "val")
    with pytest.raises(InputError, match="the split 'test' has no case"):
        ShapeNetCar(car_root, "test", test_fold=7)
    with pytest.raises(InputError, match="domain must be one of"):
        ShapeNetCar(car_root, domain="volume")
    with pytest.raises(InputError, match="num must be at least 1"):
        ShapeNetCar.standin(tmp_path, num=0)


def test_two_real_cars(shared_data: Path):
    data = ShapeNetCar(shared_data / "shapenet_car", "test", domain="surface")
    graph = data[0]
    assert data.cases == ("param0/neuralop_car_1",) and graph.num_nodes == 3682
    assert graph.node_type.bincount().tolist() == [3586, 96]
    assert float(graph.pos[graph.node_type == 0, 2].max()) == pytest.approx(2.181, abs=1e-3)
    problems = [str(problem) for problem in data.check()]
    assert all("npy" in text or "quads" in text for text in problems)
