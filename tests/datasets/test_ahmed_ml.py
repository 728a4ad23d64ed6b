from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import torch

from meshops.datasets import AhmedMini, AhmedML
from meshops.datasets.ahmed.layout import download_advice
from meshops.datasets.ahmed.ml import ab_upt_split
from meshops.datasets.runs import hash_split, parse_runs, split_runs
from meshops.errors import DataWarning, InputError, MissingDataError

EXPLICIT = {"train": "1-3", "test": [4]}


@pytest.fixture
def copy(ahmed_root: Path, tmp_path: Path) -> Path:
    """A stand-in that a test may damage."""
    return Path(shutil.copytree(ahmed_root, tmp_path / "ahmed"))


def test_standin_is_read_back_as_the_shipped_cases(ahmed_root: Path):
    data, mini = AhmedML(ahmed_root, "all"), AhmedMini("all")
    assert data.cases == ("run_1", "run_2", "run_3", "run_4")
    for i in range(4):
        graph, expected = data[i], mini[i]
        for key in ("pos", "y", "normal", "area", "cell_nodes", "cell_size", "points"):
            assert torch.equal(graph[key], expected[key]), key
        assert data.parameters(i) == mini.parameters(i)
        assert data.numbers_of(i) == mini.numbers_of(i)
    assert list(data.check()) == []


def test_standin_stl_is_the_closed_surface(ahmed_root: Path):
    data = AhmedML(ahmed_root, "all")
    stl = pv.read(data.files(0)["stl"])
    assert stl.is_all_triangles and stl.n_open_edges == 0
    assert stl.volume == pytest.approx(0.0840, abs=1e-3)
    triangles = np.asarray(stl.points, dtype=np.float64)[stl.regular_faces]
    signed = np.einsum("ij,ij->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6
    assert signed == pytest.approx(stl.volume, rel=1e-5)  # outward


def test_pressure_and_shear_make_the_published_drag(ahmed_root: Path):
    data = AhmedML(ahmed_root, "all")
    for i in range(4):
        graph, area = data[i], data.parameters(i)["frontal-area"]
        pressure = -(graph.field("pMean")[:, None] * graph.normal * graph.area[:, None]).sum(0)
        friction = data.flow.shear_sign * (graph.field("wallShearStressMean") * graph.area[:, None]).sum(0)
        drag = float((pressure + friction)[0]) / (data.flow.dynamic_pressure * area)
        assert drag == pytest.approx(data.numbers_of(i)["cd"], rel=0.02)


def test_ab_upt_split():
    splits = ab_upt_split()
    assert {name: len(runs) for name, runs in splits.items()} == {"train": 400, "val": 50, "test": 50}
    assert sorted(run for runs in splits.values() for run in runs) == list(range(1, 501))
    # First ids of the lists published with the AB-UPT training code.
    assert splits["train"][:8] == (1, 2, 3, 5, 6, 7, 8, 9)
    assert splits["val"][:8] == (24, 26, 29, 38, 41, 55, 59, 104)
    assert splits["test"][:8] == (4, 11, 12, 19, 20, 22, 56, 109)
    named = {"name": "AhmedML", "key": "ahmed_ml", "published": ab_upt_split, "advice": download_advice}
    assert split_runs(range(1, 501), "auto", **named) == splits


def test_hash_split_never_moves_a_run():
    few, many = hash_split(range(1, 31), "ahmed_ml"), hash_split(range(1, 501), "ahmed_ml")
    assert set(few["train"]) <= set(many["train"]) and set(few["test"]) <= set(many["test"])
    assert len(many["train"]) == pytest.approx(400, abs=20)
    assert few["val"] == ()


def test_auto_says_which_split_it_took(ahmed_root: Path):
    with pytest.warns(DataWarning, match="4 of 500 runs on disk.*split by a hash"):
        train = AhmedML(ahmed_root, "train")
    assert train.runs == hash_split(range(1, 5), "ahmed_ml")["train"]


def test_explicit_split(ahmed_root: Path):
    assert AhmedML(ahmed_root, "train", split_method=EXPLICIT).runs == (1, 2, 3)
    assert AhmedML(ahmed_root, "all", split_method=EXPLICIT).runs == (1, 2, 3, 4)
    with pytest.raises(InputError, match="split must be one of 'train', 'test', 'all', got 'val'"):
        AhmedML(ahmed_root, "val", split_method=EXPLICIT)


def test_parse_runs():
    assert parse_runs("1-3, 7,run_9") == (1, 2, 3, 7, 9)
    assert parse_runs([3, 1, 3]) == (1, 3)
    with pytest.raises(InputError, match="'a' in '1,a' is no run number"):
        parse_runs("1,a")
    with pytest.raises(InputError, match="runs backwards; write it as '3-5'"):
        parse_runs("5-3")


def test_bad_splits(ahmed_root: Path):
    with pytest.raises(InputError, match="run 2 is in both 'train' and 'test'"):
        AhmedML(ahmed_root, split_method={"train": "1-2", "test": "2-4"})
    with pytest.raises(
        MissingDataError, match="2 runs that are not on disk: '5', '6'; download it from the Hugging Face"
    ):
        AhmedML(ahmed_root, split_method={"train": "1-6"})
    with pytest.raises(MissingDataError, match="needs 496 runs that are not on disk"):
        AhmedML(ahmed_root, split_method="ab-upt")
    with pytest.raises(InputError, match="split_method must be one of 'auto', 'ab-upt', 'hash', got 'random'"):
        AhmedML(ahmed_root, split_method="random")


def test_missing_folder_and_runs(tmp_path: Path):
    with pytest.raises(MissingDataError, match=r"neashton/ahmedml.*10\.57967/hf/5002"):
        AhmedML(tmp_path / "nothing")
    with pytest.raises(MissingDataError, match="no folder run_<i>"):
        AhmedML(tmp_path)


def test_missing_file_of_a_case(copy: Path):
    (copy / "run_2" / "boundary_2.vtp").unlink()
    (copy / "run_3" / "ahmed_3.stl").unlink()
    data = AhmedML(copy, "all")
    with pytest.raises(MissingDataError, match=r"boundary_2.vtp; download.*run_2/\*.vtp"):
        data[1]
    assert [str(problem) for problem in data.check()] == ["run_2 (boundary_2.vtp): the boundary file is missing"]


def test_volume_files_are_wanted_only_for_the_volume(ahmed_root: Path):
    data = AhmedML(ahmed_root, "all", domain="volume")
    assert data.fields == ("pMean", "UMean") and data.units == ("m^2/s^2", "m/s")
    with pytest.raises(MissingDataError, match=r"about 5.5 GB.*run_1/\*.vtu"):
        data[0]
    with pytest.raises(InputError, match="domain must be one of 'surface', 'volume', 'all', got 'slices'"):
        AhmedML(ahmed_root, domain="slices")


def test_check_names_nan_missing_arrays_and_damaged_files(copy: Path):
    path = copy / "run_1" / "boundary_1.vtp"
    mesh = pv.read(path)
    mesh["pMean"][5] = np.nan
    mesh.save(path)
    path = copy / "run_2" / "boundary_2.vtp"
    mesh = pv.read(path)
    del mesh.cell_data["wallShearStressMean"]
    mesh.save(path)
    path = copy / "run_3" / "boundary_3.vtp"
    path.write_bytes(path.read_bytes()[:5000])
    (copy / "run_4" / "force_mom_varref_4.csv").write_text("cd,cl\n0.3\n")
    problems = {problem.case: str(problem) for problem in AhmedML(copy, "all").check()}
    assert "pMean" in problems["run_1"] and "NaN" in problems["run_1"]
    assert "'wallShearStressMean'" in problems["run_2"]
    assert "boundary_3.vtp" in problems["run_3"]
    assert "1 values for 2 columns" in problems["run_4"]


def test_tables_of_all_runs_stand_in_for_those_of_a_run(copy: Path):
    data = AhmedML(copy, "all")
    expected = data.parameters(1)
    for name in ("geo_parameters_2.csv", "force_mom_2.csv", "force_mom_varref_2.csv"):
        (copy / "run_2" / name).unlink()
    assert data.parameters(1) == {} and data.numbers_of(1) == {}
    assert list(data.check()) == []  # the tables are optional
    rows = "\n".join(f"{run}," + ",".join(f"{value:.9g}" for value in expected.values()) for run in (1, 2))
    (copy / "geo_parameters_all.csv").write_text("run, " + ", ".join(expected) + "\n" + rows)
    (copy / "force_mom_all.csv").write_text("run, cd, cl\n2, 0.25, 0.5\n")
    assert data.parameters(1) == expected
    assert data.numbers_of(1) == {"cd": 0.25, "cl": 0.5}
    (copy / "force_mom_all.csv").write_text("cd, cl\n0.25, 0.5\n")
    with pytest.raises(InputError, match="no column 'run'"):
        data.numbers_of(1)
    assert "no column 'run'" in str(next(data.check()))


def test_published_cell_areas_are_used(copy: Path):
    count = int(AhmedML(copy, "all")[0].num_nodes)
    areas = np.linspace(1, 2, count, dtype=np.float32)
    np.save(copy / "run_1" / "boundary_cell_area_1.npy", areas)
    assert np.array_equal(AhmedML(copy, "all")[0].area.numpy(), areas)
    np.save(copy / "run_1" / "boundary_cell_area_1.npy", areas[1:])
    with pytest.raises(InputError, match=f"expected {count} areas"):
        AhmedML(copy, "all")[0]


def test_fields_can_be_chosen(ahmed_root: Path):
    data = AhmedML(ahmed_root, "all", fields=("pMean",))
    assert data[0].y.shape[1] == 1 and data.units == ("m^2/s^2",)
    with pytest.raises(InputError, match="'UMean'"):
        AhmedML(ahmed_root, "all", fields=("UMean",))[0]


def test_standin_number(tmp_path: Path):
    with pytest.raises(InputError, match=r"num must be 1..30, got 31"):
        AhmedML.standin(tmp_path, num=31)


def test_real_folder(shared_data: Path):
    root = shared_data / "ahmed_rans"
    data = AhmedML(root, "test", split_method={"train": "1-24", "test": "25-30"})
    assert data.cases == tuple(f"run_{run}" for run in range(25, 31))
    volume = AhmedML(root, "all", domain="volume", split_method={"with volume": "1,7"})[0]
    assert volume.y.shape == (int(volume.num_nodes), 4) and bool((volume.area > 0).all())
    assert float(volume.field("UMean")[:, 0].max()) == pytest.approx(1.3, abs=0.3)
