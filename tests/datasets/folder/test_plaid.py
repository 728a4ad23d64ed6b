"""Samples of PLAID: meshes, scalars inside and beside them, and what a problem definition says."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from meshops import datasets
from meshops.datasets import AhmedMini, FolderCases, guess_study
from meshops.datasets.folder.plaid_files import write_plaid_bodies
from meshops.errors import InputError


@pytest.fixture
def cars(shared_data: Path, tmp_path: Path) -> Path:
    """Ten real cars with scalars: two inside of each CGNS file, one beside it."""
    folder = tmp_path / "cars"
    shutil.copytree(shared_data / "plaid_cars", folder)
    for i in range(10):
        sample = folder / "data" / "train" / f"sample_{i:09d}"
        (sample / "scalars.csv").write_text(f"drag,length\n{i * 0.1},{4 + i}\n")
        path = sample / "meshes" / "mesh_000000000.cgns"
        path.chmod(0o644)
        with h5py.File(path, "a") as file:
            base = file.create_group("Global")
            base.attrs["label"], base.attrs["name"], base.attrs["type"] = b"CGNSBase_t", b"Global", b"I4"
            base.create_dataset(" data", data=np.array([1, 1], dtype=np.int32))
            for name, value in (("angle", 2.0 * i), ("lift", -1.0 * i)):
                node = base.create_group(name)
                node.attrs["label"], node.attrs["name"], node.attrs["type"] = b"DataArray_t", name.encode(), b"R8"
                node.create_dataset(" data", data=np.array([value]))
    return folder


def test_ten_real_cars(shared_data: Path) -> None:
    study = guess_study(shared_data / "plaid_cars")
    assert study.layout == "plaid" and [(f.name, f.place, f.unit, f.role) for f in study.fields] == [
        ("pressure", "point", "Pa", "pressure")
    ]
    data = study.open()
    assert isinstance(data, FolderCases) and len(data) == 10 and data.cases[7] == "sample_000000007"
    assert data[0].pos.shape == (3586, 3) and data[0].num_cells == 7168
    assert len(study.open("test")) == 2 and study.conditions == () == study.numbers


def test_scalars_and_the_problem_definition(cars: Path) -> None:
    before = guess_study(cars)
    assert {q.name for q in before.conditions} == {"angle", "length"} and {q.name for q in before.numbers} == {
        "drag", "lift"}  # fmt: skip
    (cars / "problem_definitions" / "regression_1.yaml").write_text(
        "input_features: [Global/angle, Global/lift]\n"
        "output_features: [Global/drag, Base_2_3/Zone/VertexFields/pressure]\n"
        "train_split: {train: [0, 1, 2, 3, 4, 5, 6]}\ntest_split: {test: [7, 8, 9]}\n"
    )
    study = guess_study(cars)
    assert [q.name for q in study.conditions] == ["angle", "lift"] and [q.name for q in study.numbers] == ["drag"]
    test = study.open("test")
    assert test.cases == ("sample_000000007", "sample_000000008", "sample_000000009")
    assert isinstance(test, FolderCases)
    assert test.conditions_of(1) == {"angle": 16.0, "lift": -8.0} and test.numbers_of(1) == {"drag": pytest.approx(0.8)}


def test_a_split_in_a_table_and_folders_of_splits(cars: Path) -> None:
    problems = cars / "problem_definitions"
    shutil.rmtree(problems)
    (problems / "first").mkdir(parents=True)
    (problems / "first" / "problem_infos.yaml").write_text("input_scalars: [angle]\noutput_fields: [pressure]\n")
    (problems / "first" / "split.csv").write_text("train,0,1,2,3,4\ntest,5,6,7,8,9\n")
    assert len(guess_study(cars).open("test")) == 5
    shutil.rmtree(problems)
    (cars / "data" / "test").mkdir()
    for i in (8, 9):
        shutil.move(cars / "data" / "train" / f"sample_{i:09d}", cars / "data" / "test" / f"sample_{i:09d}")
    assert guess_study(cars).open("test").cases == ("sample_000000008", "sample_000000009")
    assert isinstance(datasets.open(cars), FolderCases)


def test_a_stand_in_is_a_problem_of_plaid(tmp_path: Path) -> None:
    """Scalars in the files, a problem definition: told, learnt and tested on as it says."""
    root = write_plaid_bodies(tmp_path, 4, test=1)
    study = guess_study(root)
    assert study.layout == "plaid" and [q.name for q in study.numbers] == ["cd", "cl"]
    assert [field.role for field in study.fields] == ["pressure", "shear"]
    test, mini = study.open("test"), AhmedMini("all")
    assert test.cases == ("sample_000000003",)
    assert test.numbers_of(0) == {name: mini.numbers_of(3)[name] for name in ("cd", "cl")}
    assert test.conditions_of(0)["slant_length"] == mini.parameters(3)["slant-length"]
    points = mini.mesh(3).cell_data_to_point_data()
    assert np.allclose(test[0].field("pMean"), points.point_data["pMean"])
    with pytest.raises(InputError, match="num must be 3"):
        write_plaid_bodies(tmp_path, 2)
