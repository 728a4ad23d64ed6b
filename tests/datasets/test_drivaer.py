"""DrivAerML and DrivAerNet++ in their published layouts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import torch

from meshops.datasets import AhmedMini, AhmedML, DrivAerML, DrivAerNet, detect
from meshops.datasets.drivaer.ml import HIDDEN, ab_upt_split
from meshops.datasets.drivaer.net import matched
from meshops.errors import DataWarning, InputError, MissingDataError


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return DrivAerML.standin(tmp_path_factory.mktemp("ml"), num=3)


@pytest.fixture(scope="module")
def designs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return DrivAerNet.standin(tmp_path_factory.mktemp("net"), num=5)


def integrated(data: DrivAerML | DrivAerNet, index: int, pressure: str, shear: str) -> float:
    """Drag of the fields, by hand."""
    graph, flow = data[index], data.flow_of(index)
    force = -(graph.field(pressure)[:, None] * graph.normal * graph.area[:, None]).sum(0)
    force = force + flow.shear_sign * (graph.field(shear) * graph.area[:, None]).sum(0)
    area = AhmedMini("all").parameters(index)["frontal-area"]
    return float(force[0]) / (flow.dynamic_pressure * area)


def test_the_split_of_ab_upt_leaves_the_hidden_runs_out():
    splits = ab_upt_split()
    assert {name: len(members) for name, members in splits.items()} == {"train": 400, "val": 34, "test": 50}
    every = sorted(run for members in splits.values() for run in members)
    assert every == [run for run in range(1, 501) if run not in HIDDEN]


def test_a_folder_of_runs_is_known_and_read(runs: Path):
    assert detect(runs) == "drivaer_ml"
    data = DrivAerML(runs, "all")
    assert data.cases == ("run_1", "run_2", "run_3") and data.fields == ("pMeanTrim", "wallShearStressMeanTrim")
    for index in range(3):
        assert integrated(data, index, *data.fields) == pytest.approx(data.numbers_of(index)["cd"], rel=0.02)
        assert data.flow_of(index).frontal_area == AhmedMini("all").parameters(index)["frontal-area"]
        assert "frontal-area" not in data.parameters(index) and len(data.parameters(index)) > 5
    assert list(data.check()) == []
    with pytest.warns(DataWarning, match="3 of 484 runs on disk"):
        DrivAerML(runs, "train")


def test_runs_of_ahmed_bodies_stay_what_they_are(tmp_path: Path):
    assert detect(AhmedML.standin(tmp_path, num=1)) == "ahmed_ml"


def test_a_volume_in_parts_is_joined_when_asked(runs: Path, tmp_path: Path):
    root = Path(shutil.copytree(runs, tmp_path / "runs"))
    grid = pv.ImageData(dimensions=(5, 4, 3)).cast_to_unstructured_grid()
    rng = np.random.default_rng(0)
    grid.cell_data["pMeanTrim"] = rng.standard_normal(grid.n_cells).astype(np.float32)
    grid.cell_data["UMeanTrim"] = rng.standard_normal((grid.n_cells, 3)).astype(np.float32)
    whole = root / "run_2" / "volume_2.vtu"
    grid.save(whole)
    content = whole.read_bytes()
    for number, part in enumerate((content[:1000], content[1000:])):
        whole.with_name(f"{whole.name}.0{number}.part").write_bytes(part)
    whole.unlink()
    options = {"domain": "volume", "split_method": {"train": [2], "test": [1]}}
    with pytest.raises(InputError, match=r"published in 2 parts; give join_parts=True .*cat volume_2.vtu"):
        DrivAerML(root, "train", **options)[0]
    assert not whole.exists()
    graph = DrivAerML(root, "train", join_parts=True, **options)[0]
    assert whole.read_bytes() == content
    assert np.array_equal(graph.field("UMeanTrim"), grid.cell_data["UMeanTrim"])
    with pytest.raises(MissingDataError, match="run_1"):
        DrivAerML(root, "test", join_parts=True, **options)[0]
    whole.unlink()
    whole.with_name("volume_2.vtu.00.part").unlink()
    with pytest.raises(InputError, match="missing parts"):
        DrivAerML(root, "train", join_parts=True, **options)[0]


def test_designs_are_known_and_their_two_files_become_one(designs: Path):
    assert detect(designs) == "drivaer_net"
    data = DrivAerNet(designs, "all")
    assert data.fields == ("p", "wallShearStress") and len(data) == 5
    for index in range(2):
        mesh = AhmedMini("all").mesh(index).cell_data_to_point_data()
        expected = np.asarray(mesh.point_data["wallShearStressMean"]) * 900
        assert np.allclose(data[index].field("wallShearStress"), expected, atol=1e-4)
        assert data.numbers_of(index) == pytest.approx(
            {k: v for k, v in AhmedMini("all").numbers_of(index).items() if k in ("cd", "cl")}
        )
        assert integrated(data, index, *data.fields) == pytest.approx(data.numbers_of(index)["cd"], rel=0.1)
        assert not {"Average Cd", "Average Cl"} & set(data.parameters(index))
    assert [len(DrivAerNet(designs, split)) for split in ("train", "val", "test")] == [3, 1, 1]
    assert list(data.check()) == []


def test_two_meshes_under_one_name_are_refused(designs: Path, tmp_path: Path):
    root = Path(shutil.copytree(designs, tmp_path / "net"))
    data = DrivAerNet(root, "all")
    path = data.files(0)["shear"]
    mesh = pv.read(path)
    mesh.points[7, 0] += 0.01
    mesh.save(path)
    with pytest.raises(InputError, match=rf"of {data.cases[0]} are of different meshes \(1 points of one"):
        data[0]
    assert DrivAerNet(root, "all", fields=["p"])[0].fields == ("p",)


def test_points_in_another_order_are_matched():
    points = torch.rand(500, 3)
    order = torch.randperm(500)
    row = matched(points, points[order], "a")
    assert torch.equal(order[row], torch.arange(500))
    with pytest.raises(InputError, match="500 and 499 points"):
        matched(points, points[1:], "a")


def test_lists_of_designs_are_needed_and_may_name_more_than_is_there(designs: Path, tmp_path: Path):
    root = Path(shutil.copytree(designs, tmp_path / "net"))
    lists = root / "train_val_test_splits"
    with open(lists / "train_design_ids.txt", "a") as file:
        file.write("F_D_WM_WW_0001\n")
    with pytest.warns(DataWarning, match="1 of 6 listed designs are not on disk"):
        assert len(DrivAerNet(root, "train")) == 3
    shutil.rmtree(lists)
    with pytest.raises(MissingDataError, match=r"no list of designs .*train_val_test_splits"):
        DrivAerNet(root, "train")
    ids = DrivAerNet(root, "all").cases
    with pytest.raises(InputError, match=f"design {ids[0]} is in both 'train' and 'test'"):
        DrivAerNet(root, "train", splits={"train": ids[:2], "test": ids[:1]})
    with pytest.raises(MissingDataError, match=r"no \.vtk file"):
        DrivAerNet(tmp_path, "all")
