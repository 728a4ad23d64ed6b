"""The same verbs on a volume of polyhedra and on real cars: train briefly, predict the file, get its cells back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import yaml

from meshops.cli.main import main

MODEL = {"name": "mspt", "channels": 32, "depth": 2, "num_heads": 2, "num_patches": 8}
TASK = {"nodes": 512, "passes": 1, "max_sources": 256, "radii": [0.2]}


def train(folder: Path, data: dict, steps: int) -> Path:
    settings = {
        "out": str(folder / "run"),
        "data": data,
        "task": TASK,
        "model": MODEL,
        "train": {"steps": steps, "threads": 1, "lr": 2e-3},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    assert main(["train", str(folder / "run.yaml")]) == 0
    return folder / "run" / "model.ckpt"


@pytest.mark.filterwarnings("ignore:.*outer faces were taken for the body")
def test_volume_of_polyhedra(shared_data, tmp_path, capsys):
    root = shared_data / "ahmed_rans"
    options = {"domain": "volume", "split_method": {"train": "1,7,13,19", "test": "25"}}
    checkpoint = train(tmp_path, {"name": "ahmed_ml", "root": str(root), "options": options}, 200)
    metrics = json.loads((checkpoint.parent / "metrics.json").read_text())
    source = root / "run_25" / "volume_25.vtu"
    capsys.readouterr()
    assert (
        main(["predict", str(checkpoint), str(source), "--out", str(tmp_path / "out"), "--no-pictures", "--json"]) == 0
    )
    numbers = json.loads(capsys.readouterr().out)[str(source)]
    before, after = pv.read(source), pv.read(tmp_path / "out" / "volume_25_predicted.vtu")
    assert after.n_cells == before.n_cells and np.array_equal(after.celltypes, before.celltypes)
    assert set(before.cell_data) | {"pMean_predicted", "UMean_predicted", "pMean_error", "UMean_error"} == set(
        after.cell_data
    )
    expected = np.linalg.norm(after["UMean_error"]) / np.linalg.norm(before["UMean"])
    assert abs(numbers["errors"]["UMean"]["rel_l2"] - expected) < 1e-4
    assert numbers["forces"] is None
    velocity = before["UMean"]
    constant = np.linalg.norm(velocity - velocity.mean(0)) / np.linalg.norm(velocity)
    assert metrics["mean"]["velocity_rel_l2"] < 0.8 * constant


def test_real_cars(shared_data, tmp_path, capsys, recwarn):
    root = shared_data / "shapenet_car"
    data = {"name": "shapenet_car", "root": str(root), "train": "all", "test": "all", "options": {"domain": "surface"}}
    checkpoint = train(tmp_path, data, 200)
    metrics = json.loads((checkpoint.parent / "metrics.json").read_text())
    assert metrics["mean"]["pressure_rel_l2"] < 0.5 * metrics["baselines"]["mean"]["pressure_rel_l2"]
    source = root / "training_data" / "param0" / "neuralop_car_1" / "quadpress_smpl.vtk"
    capsys.readouterr()
    arguments = [
        str(source),
        "--out",
        str(tmp_path / "out"),
        "--no-pictures",
        "--json",
        "--truth",
        "pressure=point_scalars",
    ]
    assert main(["predict", str(checkpoint), *arguments]) == 0
    numbers = json.loads(capsys.readouterr().out)[str(source)]
    after = pv.read(tmp_path / "out" / "quadpress_smpl_predicted.vtk")
    assert after.n_cells == 3584 and after.point_data["pressure_predicted"].shape == (3682,)
    # reading the file and reading the dataset are the same case
    known = metrics["cases"]["param0/neuralop_car_1"]["pressure_rel_l2"]
    assert abs(numbers["errors"]["pressure"]["rel_l2"] - known) < 0.02
