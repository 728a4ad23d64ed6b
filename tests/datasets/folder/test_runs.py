"""Run files that name a study: finished cases, trajectories, published layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops import datasets
from meshops.cli.main import main
from meshops.datasets import AhmedMini, MeshTrajectoryDataset, Study, guess_study
from meshops.errors import InputError


def test_a_series_is_learnt_by_rollout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "waves"
    for c in range(4):
        for t in range(6):
            mesh = pv.ImageData(dimensions=(5, 5, 1)).cast_to_unstructured_grid()
            mesh.point_data["h"] = np.sin(mesh.points[:, 0] - 0.2 * t + c)
            path = folder / f"wave_{c}" / f"step_{t:03d}.vtu"
            path.parent.mkdir(parents=True, exist_ok=True)
            mesh.save(path)
    data = datasets.create("study", folder, "train")
    assert isinstance(data, MeshTrajectoryDataset) and len(data) == 3
    command = ["train", "--kind", "rollout", "--data.name", "study", "--data.root", str(folder),
               "--model", '{"name": "meshgraphnet", "channels": 8, "depth": 1}',
               "--train.steps", "2", "--train.accelerator", "cpu",
               "--out", str(tmp_path / "run")]  # fmt: skip
    assert main(command) == 0
    assert "mean of 1 trajectories" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["mean"]


def test_published_layouts_take_changes_of_their_study(tmp_path: Path) -> None:
    folder = AhmedMini("all").to_case_folder(tmp_path / "runs", range(4))
    study = guess_study(folder)
    assert study.layout == "ahmed_ml" and study.flow_stated and {q.name for q in study.numbers} == {"cd", "cl"}
    path = study.save(folder)
    text = path.read_text()
    path.write_text(text.replace("speed: 1.0", "speed: 38.9").replace("  wallShearStressMean: {", "  #"))
    data = datasets.open(folder)
    assert data.fields == ("pMean",) and data.flow.speed == 38.9  # type: ignore[union-attr]
    assert data[0].y.shape[1] == 1
    path.write_text(text.replace("layout: ahmed_ml", "layout: airfrans"))
    with pytest.raises(InputError):
        datasets.open(folder)


def test_a_folder_that_looks_published_but_is_not_is_a_study(tmp_path: Path) -> None:
    """Names as AhmedML has them, other arrays."""
    for i in (1, 2, 3):
        path = tmp_path / f"run_{i}" / f"boundary_{i}.vtp"
        path.parent.mkdir()
        mesh = pv.Icosphere(nsub=1)
        mesh.clear_data()
        mesh.cell_data["Cp"] = i * mesh.cell_centers().points[:, 0]
        mesh.save(path)
    study = guess_study(tmp_path)
    assert study.layout == "folders" and [f.name for f in study.fields] == ["Cp"]
    study.save(tmp_path)
    assert datasets.detect(tmp_path) == "study" and datasets.detect(tmp_path / "study.yaml") == "study"
    data = datasets.open_data(root=tmp_path / "study.yaml")
    assert len(data) == 3
    assert Study.load(tmp_path).fields == study.fields
