from __future__ import annotations

from pathlib import Path

import pytest

from meshops import datasets
from meshops.errors import InputError, MissingDataError


@pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning")
def test_names_are_sorted_and_every_one_can_be_created(ahmed_root: Path, car_root: Path, tmp_path: Path):
    pytest.importorskip("zarr", reason="the extra 'store' is not installed")
    kinds = ("Airfoil", "AirfRANS", "Darcy", "Elasticity", "Pipe", "Plasticity")
    roots = {name.lower(): getattr(datasets, name).standin(tmp_path / name, 2) for name in kinds}
    roots |= {"ahmed_mini": None, "ahmed_ml": ahmed_root, "shapenet_car": car_root}
    roots |= {"drivaer_ml": datasets.DrivAerML.standin(tmp_path / "runs", 2)}
    roots |= {"drivaer_net": datasets.DrivAerNet.standin(tmp_path / "designs", 2)}
    roots["mesh_files"] = datasets.MeshFiles.standin(tmp_path / "files", 2)
    roots["store"] = datasets.StoredCases.standin(tmp_path / "store", 2)
    roots["study"] = datasets.FolderCases.standin(tmp_path / "study", 3)
    assert datasets.names(datasets.CaseDataset) == tuple(sorted(roots))
    for name in datasets.names(datasets.CaseDataset):
        data = datasets.create(name, root=roots[name], split="all")
        assert isinstance(data, datasets.CaseDataset)
        assert len(data) > 0 and len(data.units) == len(data.fields)
        assert data.fields == data[0].fields


def test_the_names_of_all_kinds():
    kinds = (datasets.CaseDataset, datasets.TrajectoryDataset, datasets.MeshTrajectoryDataset)
    parts = [datasets.names(kind) for kind in kinds]
    assert sorted(name for part in parts for name in part) == list(datasets.names())
    assert parts[1] == ("cfdbench", "navier_stokes", "pdebench", "the_well") and "eagle" in parts[2]


def test_dashes_and_capitals_are_the_same():
    assert len(datasets.create("Ahmed-Mini", split="test")) == 6


def test_detect(ahmed_root: Path, car_root: Path, tmp_path: Path):
    assert datasets.detect(ahmed_root) == "ahmed_ml"
    assert datasets.detect(car_root) == "shapenet_car"
    assert datasets.detect(car_root / "training_data") == "shapenet_car"
    with pytest.raises(InputError, match="no simulations; found no files"):
        datasets.detect(tmp_path)
    with pytest.raises(MissingDataError, match="no folder"):
        datasets.detect(tmp_path / "nothing")


def test_unknown_name():
    text = r"no dataset 'ahmed'; did you mean 'ahmed_ml'\? known: 'ahmed_mini', 'ahmed_ml', 'airfoil', 'airfrans'"
    with pytest.raises(InputError, match=text):
        datasets.create("ahmed")


def test_unknown_option_lists_those_allowed(ahmed_root: Path):
    text = r"ahmed_ml: unknown option 'fold'; did you mean 'fields'\? allowed: 'domain', 'split_method'"
    with pytest.raises(InputError, match=text):
        datasets.create("ahmed_ml", root=ahmed_root, fold=1)


def test_root_is_needed_or_refused(tmp_path: Path):
    with pytest.raises(InputError, match="the folder of the data is needed"):
        datasets.create("shapenet_car")
    with pytest.raises(InputError, match="takes no folder"):
        datasets.create("ahmed_mini", root=tmp_path)
