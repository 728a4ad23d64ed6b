"""Runs of fields on graphs, from the command to the files; interrupted runs end like others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import meshops
from meshops.cli.main import main
from meshops.data.graph_files import cell_edges
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.mesh_files import MeshFiles, write_graphs
from meshops.errors import CheckpointError, InputError, MissingDataError
from meshops.nn import QuantLinear
from meshops.ops.quantize import fake_quantize_weight, weight_step
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.tasks.build import build_model
from meshops.training import DataConfig, RunConfig, TrainConfig, train

pytest.importorskip("skfem", reason="the generators need scikit-fem")


@pytest.fixture(scope="module")
def darcy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MeshFiles.standin(tmp_path_factory.mktemp("darcy"), num=4)


def settings(darcy: Path, out: Path, **changes: Any) -> RunConfig:
    model = {
        "name": "amq", "arguments": {"channels": 64, "depth": 1}, "bits": [4, 8], "budget": 5, "warmup": 1,
        "explore": 1,
    }  # fmt: skip
    return RunConfig(
        out=str(out), model=model,
        data=DataConfig(name="mesh_files", root=str(darcy), options={"inputs": "coefficient"}),
        train=TrainConfig(steps=6, batch_size=2, val_every=3, **changes),
    )  # fmt: skip


def field(surrogate: meshops.Surrogate, graph: MeshGraph) -> torch.Tensor:
    return torch.as_tensor(surrogate.predict(graph.clone()).fields["solution"])


def test_a_run_leaves_a_model_numbers_and_a_picture(darcy: Path, tmp_path: Path) -> None:
    result = train(settings(darcy, tmp_path / "run", validation=1))
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"solution_rel_l2", "solution_mae", "solution_r2"} == set(numbers["mean"]) and len(numbers["cases"]) == 1
    assert set(numbers["baselines"]) == {"mean", "nearest", "average"}
    assert (tmp_path / "run" / "case.png").stat().st_size > 10_000
    graph = MeshFiles(darcy, "test", inputs=["coefficient"])[0]
    loaded = meshops.load(str(tmp_path / "run" / "model.ckpt"))
    assert torch.equal(field(loaded, graph), field(result.surrogate, graph))


@pytest.mark.parametrize("validation", [0, 1])
def test_an_interrupted_run_ends_like_one_that_was_not(
    validation: int, darcy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phases, explorations and the average of the auxiliary network continue where they were."""
    whole = train(settings(darcy, tmp_path / "a", validation=validation))
    original, seen = FieldsTask.batch, [0]

    def interrupted(self: FieldsTask, samples: Any, draws: Any) -> Any:
        seen[0] += 1
        if seen[0] == 5:
            raise KeyboardInterrupt
        return original(self, samples, draws)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FieldsTask, "batch", interrupted)
        train(settings(darcy, tmp_path / "b", validation=validation))
    resumed = train(settings(darcy, tmp_path / "b", validation=validation), resume=True)
    for key, value in whole.surrogate.task.state_dict().items():
        assert torch.equal(value, resumed.surrogate.task.state_dict()[key]), key
    assert whole.report.mean == resumed.report.mean


@pytest.mark.parametrize("ranges", ["row", "tensor"])
def test_quantisers_of_a_run_are_whole_and_fit_its_averaged_weights(darcy: Path, tmp_path: Path, ranges: str) -> None:
    """After warm-up, joint steps, validations in between and averaging, as the trainer does them, and once saved."""
    config = settings(darcy, tmp_path / "run", validation=1, lr=5e-3)
    model = {**config.model, "warmup": 20, "explore": 4, "ranges": ranges}
    config = replace(config, model=model, train=replace(config.train, steps=40, val_every=4))
    task = train(config).surrogate.task
    assert all(bool(value.isfinite().all()) for value in task.state_dict().values())
    layers = [m for m in task.model.main.modules() if isinstance(m, QuantLinear)]  # type: ignore[union-attr]
    for layer in layers:
        for width in layer.log_step:
            weight = layer.weight.detach()
            learned, fresh = (
                float((fake_quantize_weight(weight, int(width), step) - weight).norm())
                for step in (layer.step_at(int(width)).detach(), weight_step(weight, int(width)))
            )
            assert learned < 1.5 * fresh, (layer.name, width)  # stale steps: 5 and more
    loaded = meshops.load(str(tmp_path / "run" / "model.ckpt"))
    graph = MeshFiles(darcy, "test", inputs=["coefficient"])[0]
    before = {key: value.clone() for key, value in loaded.task.state_dict().items()}
    small = loaded.compress()
    error = (field(loaded, graph) - field(small, graph)).norm() / field(loaded, graph).norm()
    assert float(error) < 0.1  # roundings flip
    assert all(torch.equal(value, before[key]) for key, value in loaded.task.state_dict().items())
    small.save(tmp_path / "small.ckpt")
    assert torch.equal(field(meshops.load(str(tmp_path / "small.ckpt")), graph), field(small, graph))


def test_judging_before_training_sets_no_ranges(darcy: Path, tmp_path: Path) -> None:
    """The state of the first step is what it is whether somebody looked at the network or not."""
    config = settings(darcy, tmp_path / "run")
    samples = FieldsTask.samples(MeshFiles(darcy, "train", inputs=["coefficient"]), FieldsSettings())
    built, made = build_model({**config.model, "ranges": "tensor"}, samples.spec.model_arguments(), samples.offers)
    task = FieldsTask.fit(built, samples, FieldsSettings())
    task.made = made
    before = {key: value.clone() for key, value in task.state_dict().items()}
    errors = task.judge(samples, samples.graphs[0])
    assert errors["error"] < 100
    assert all(torch.equal(value, before[key]) for key, value in task.state_dict().items())
    with pytest.raises(InputError, match="ranges have not been learned yet; train before compressing"):
        meshops.Surrogate(task).compress()


def test_checkpoints_of_older_quantisers_say_so(darcy: Path, tmp_path: Path) -> None:
    train(settings(darcy, tmp_path / "run"))
    path = tmp_path / "run" / "model.ckpt"
    content = torch.load(path, weights_only=True)
    content["weights"]["model.target_stats"] = torch.zeros(2)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not told its budget; train again"):
        meshops.load(str(path))


def test_the_schedule_matters(darcy: Path, tmp_path: Path) -> None:
    """Two runs that differ in it alone have different errors: what is compared above is learnt."""
    one = train(settings(darcy, tmp_path / "a"))
    other = train(settings(darcy, tmp_path / "b", schedule="step_decay", warmup=0.0))
    assert one.report.mean != other.report.mean


def test_the_verbs_from_generation_to_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    assert main(["generate", "darcy", "--num", "4", "--points", "80", "--test", "1", "--out", str(data)]) == 0
    assert main(["data", "check", str(data)]) == 0
    arguments = '{"channels": 64, "depth": 1}'
    command = ["train", "--kind", "fields", "--data.name", "mesh_files", "--data.root", str(data),
             "--model.name", "amq", "--data.options.inputs", "coefficient", "--model.arguments", arguments,
             "--model.bits", "[4, 8]",
             "--train.steps", "2", "--train.batch_size", "1", "--out", str(run)]  # fmt: skip
    assert main(command) == 0
    capsys.readouterr()
    small = str(tmp_path / "small.ckpt")
    assert main(["compress", str(run / "model.ckpt"), "--budget", "6", "--out", small]) == 0
    told = capsys.readouterr().out
    assert "rows at 4, 8 bits, cost of uniform 6 bits, assignment auxiliary" in told
    assert "the 42 % of the rows at 8 bits hold at least 94 % of the rounding noise" in told
    file = str(next((data / "test").glob("*.vtu")))
    assert main(["predict", small, file, "--out", str(tmp_path / "out"), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)[file]
    assert meshops.load(small).task.made.integers and numbers["nodes"] == 80 and "solution" in numbers["errors"]
    mesh = meshops.read(str(tmp_path / "out" / f"{Path(file).stem}_predicted.vtu"), location="point")
    assert "solution_predicted" in mesh.fields and len(mesh.pos) == 80
    assert main(["evaluate", small, "--data", str(data)]) == 0
    assert "relative L2 error, mean of 1 held-out cases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["compress", "x.ckpt"], "where to write is missing; give --out"),
        (["compress", "x.ckpt", "--out", "y.ckpt"], "no such checkpoint"),
        (["generate", "darcy", "--out", "{}/a", "--resolution", "8"], "--resolution is for grids"),
        (["generate", "darcy", "--out", "{}/a", "--frames", "8"], "--frames is for trajectories"),
        (["generate", "darcy", "--out", "{}/a", "--option", "colour=3"], "unknown option 'colour'"),
        (
            ["train", "--kind", "fields", "--model.name", "mspt", "--data.name", "mesh_files"],
            "the folder of the data is needed",
        ),
        (
            ["train", "--kind", "cells"],
            "kind must be one of autoencode, fields, generate, rollout, stages, got 'cells'",
        ),
    ],
)
def test_bad_commands(arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [part.format(tmp_path) for part in arguments]
    if given[0] == "train" and "fields" in given:
        given += ["--out", str(tmp_path / "r")]
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
    result = train(config)
    graph = MeshFiles(darcy, "test", inputs=["coefficient"])[0]
    loaded = meshops.load(str(tmp_path / "run" / "model.ckpt"))
    assert torch.equal(field(loaded, graph), field(result.surrogate, graph))


def test_models_of_other_kinds_are_refused(darcy: Path, tmp_path: Path) -> None:
    config = settings(darcy, tmp_path / "run")
    for model in ({"name": "unet"}, {"name": "unet", "channels": 8}):
        with pytest.raises(InputError, match=r"'unet' takes grid, and these data give graph or points; use .*'mppde'"):
            train(replace(config, model=model))
    with pytest.raises(InputError, match=r"validation must be in 0\.\.2, got 3"):
        train(replace(config, train=replace(config.train, validation=3)))


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
