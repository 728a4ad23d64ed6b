"""Runs on graphs and on moving meshes, from the command to the files; interrupted runs end like others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from meshops.training.draws import DrawStream
from meshops.training.graphs import train_fields, train_mesh_rollout

import meshops
from meshops.cli.main import main
from meshops.data.graph_files import cell_edges
from meshops.datasets import Eagle
from meshops.datasets.mesh_files import MeshFiles, write_graphs
from meshops.errors import InputError, MissingDataError
from meshops.training.config import (
    DataConfig,
    FieldsRunConfig,
    MeshRolloutRunConfig,
    MeshRolloutTaskConfig,
    TrainConfig,
)

pytest.importorskip("skfem", reason="the generators need scikit-fem")


@pytest.fixture(scope="module")
def darcy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MeshFiles.standin(tmp_path_factory.mktemp("darcy"), num=4)


def settings(darcy: Path, out: Path, **changes: Any) -> FieldsRunConfig:
    model = {"name": "amq", "arguments": {"channels": 64, "depth": 1}, "budget": 5, "warmup": 1, "explore": 1}
    return FieldsRunConfig(
        out=str(out), model=model,
        data=DataConfig(name="mesh_files", root=str(darcy), options={"inputs": "coefficient"}),
        train=TrainConfig(steps=6, batch_size=2, val_every=3, **changes),
    )  # fmt: skip


def test_a_run_leaves_a_model_numbers_and_a_picture(darcy: Path, tmp_path: Path) -> None:
    result = train_fields(settings(darcy, tmp_path / "run", validation=1))
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(numbers["mean"]) == {"solution"} and len(numbers["cases"]) == 1
    assert (tmp_path / "run" / "case.png").stat().st_size > 10_000
    graph = MeshFiles(darcy, "test", inputs=["coefficient"])[0]
    loaded = meshops.load(str(tmp_path / "run" / "model.ckpt"))
    assert torch.equal(loaded.predict(graph.clone())["solution"], result.surrogate.predict(graph.clone())["solution"])


def test_an_interrupted_run_ends_like_one_that_was_not(darcy: Path, tmp_path: Path) -> None:
    """Phases, explorations and the average of the auxiliary network continue where they were."""
    whole = train_fields(settings(darcy, tmp_path / "a"))
    half = settings(darcy, tmp_path / "b")
    train_fields(replace(half, train=replace(half.train, steps=3, schedule="step_decay", warmup=0.0)))
    other = settings(darcy, tmp_path / "c", schedule="step_decay", warmup=0.0)
    once = train_fields(other)
    (tmp_path / "b" / "config.yaml").write_text(
        (tmp_path / "c" / "config.yaml").read_text().replace(str(tmp_path / "c"), str(tmp_path / "b"))
    )
    resumed = train_fields(replace(other, out=str(tmp_path / "b")), resume=True)
    for key, value in once.surrogate.task.state_dict().items():
        assert torch.equal(value, resumed.surrogate.task.state_dict()[key]), key
    assert whole.metrics["mean"] != once.metrics["mean"]


def test_the_verbs_from_generation_to_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    assert main(["generate", "darcy", "--num", "4", "--points", "80", "--test", "1", "--out", str(data)]) == 0
    assert main(["data", "check", str(data)]) == 0
    arguments = '{"channels": 64, "depth": 1}'
    train = ["train", "--kind", "fields", "--data.name", "mesh_files", "--data.root", str(data), "--model.name", "amq",
             "--data.options.inputs", "coefficient", "--model.arguments", arguments, "--train.steps", "2",
             "--train.batch_size", "1", "--out", str(run)]  # fmt: skip
    assert main(train) == 0
    capsys.readouterr()
    small = str(tmp_path / "small.ckpt")
    assert main(["compress", str(run / "model.ckpt"), "--budget", "6", "--out", small]) == 0
    assert "rows at 4, 8 bits, cost of uniform 6 bits, assignment auxiliary" in capsys.readouterr().out
    file = str(next((data / "test").glob("*.vtu")))
    assert main(["predict", small, file, "--out", str(tmp_path / "out"), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)[file]
    assert numbers["integers"] and numbers["nodes"] == 80 and "solution" in numbers["errors"]
    mesh = meshops.read(numbers["written"], location="point")
    assert "solution_predicted" in mesh.fields and len(mesh.pos) == 80
    assert main(["evaluate", small, "--data", str(data)]) == 0
    assert "relative L2 error, mean of 1 cases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["compress", "x.ckpt"], "where to write is missing; give --out"),
        (["compress", "x.ckpt", "--out", "y.ckpt"], "no such checkpoint"),
        (["generate", "darcy", "--out", "{}/a", "--resolution", "8"], "--resolution is for grids"),
        (["generate", "darcy", "--out", "{}/a", "--frames", "8"], "--frames is for trajectories"),
        (["generate", "darcy", "--out", "{}/a", "--option", "colour=3"], "unknown option 'colour'"),
        (["train", "--kind", "fields", "--model.name", "mspt"], "the folder of the data is needed"),
        (["train", "--kind", "cells"], "kind must be one of steady, rollout, fields, mesh_rollout"),
    ],
)
def test_bad_commands(arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [part.format(tmp_path) for part in arguments]
    if given[0] == "train" and "fields" in given:
        given += ["--data.name", "mesh_files", "--out", str(tmp_path / "r")]
    assert main(given) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    "model",
    [
        {"name": "mspt", "patching": "hilbert", "num_patches": 5},
        {"name": "transolver", "num_slices": 4},
        {"name": "transformer"},
    ],
    ids=str,
)
def test_models_of_points_are_trained_saved_and_read(model: dict[str, Any], darcy: Path, tmp_path: Path) -> None:
    small = {"channels": 16, "depth": 1, "num_heads": 2}
    config = replace(settings(darcy, tmp_path / "run"), model=model | small)
    result = train_fields(config)
    graph = MeshFiles(darcy, "test", inputs=["coefficient"])[0]
    loaded = meshops.load(str(tmp_path / "run" / "model.ckpt"))
    assert torch.equal(loaded.predict(graph.clone())["solution"], result.surrogate.predict(graph.clone())["solution"])


def test_models_of_other_kinds_are_refused(darcy: Path, tmp_path: Path) -> None:
    config = settings(darcy, tmp_path / "run")
    with pytest.raises(InputError, match="not made for graphs; use mppde"):
        train_fields(replace(config, model={"name": "unet"}))
        train_fields(replace(config, model={"name": "unet", "channels": 8}))
    with pytest.raises(InputError, match=r"validation must be in 0\.\.2, got 3"):
        train_fields(replace(config, train=replace(config.train, validation=3)))


def test_rollouts_on_moving_meshes(tmp_path: Path) -> None:
    root = Eagle.standin(tmp_path / "eagle")
    config = MeshRolloutRunConfig(
        out=str(tmp_path / "run"),
        model={"name": "graphvit", "channels": 8, "tokens": 16, "depth": 1, "attention_depth": 1,
               "clustering": "kmeans"},
        data=DataConfig(name="eagle", root=str(root)), task=MeshRolloutTaskConfig(horizon=2, steps=3),
        train=TrainConfig(steps=2, batch_size=1),
    )  # fmt: skip
    result = train_mesh_rollout(config)
    assert list(result.metrics["n_rmse"]) == ["1", "3"] and result.metrics["first_frame_kept"] > 0
    assert main(["evaluate", str(tmp_path / "run" / "model.ckpt"), "--data", str(root), "--steps", "3"]) == 0
    with pytest.raises(InputError, match=r"lower task\.horizon"):
        train_mesh_rollout(replace(config, task=MeshRolloutTaskConfig(horizon=500)))


def test_streams_are_a_function_of_the_step() -> None:
    stream = DrawStream(5, list, batch_size=2, steps=10, seed=0)
    drawn = list(stream)
    assert sorted(n for part in drawn[:5] for n in part) == sorted([*range(5)] * 2)
    assert list(DrawStream(5, list, batch_size=2, steps=10, seed=0, first_step=lambda: 4)) == drawn[4:]


def test_mesh_files(darcy: Path, tmp_path: Path) -> None:
    data = MeshFiles(darcy, inputs=["coefficient"])
    graph = data[0]
    assert data.fields == ("solution",) and graph.pos.shape[1] == 2 and graph.x_names == ("coefficient",)
    assert list(data.check()) == []
    with pytest.raises(InputError, match="no array 'speed' at the points; arrays there: 'coefficient', 'solution'"):
        MeshFiles(darcy, inputs=["speed"])
    with pytest.raises(InputError, match="no field left to predict"):
        MeshFiles(darcy, inputs=["coefficient", "solution"])
    with pytest.raises(MissingDataError, match="no files for the split"):
        MeshFiles(tmp_path)
    flat = write_graphs(list(data), tmp_path / "flat", test=0) / "train"
    assert len(MeshFiles(flat, "train", inputs=["coefficient"])) == 2 and len(MeshFiles(flat, "test")) == 1


def test_edges_of_solid_cells() -> None:
    import pyvista as pv

    from meshops.data.convert import from_pyvista

    grid = pv.ImageData(dimensions=(2, 2, 2)).cast_to_unstructured_grid()
    assert cell_edges(from_pyvista(grid, location="point")).shape == (2, 8 * 7)
