"""Runs on trajectories, on grids and on meshes, from settings or a file to the evaluation of the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Data

from meshops.cli.main import main
from meshops.data.grid import grid_graph
from meshops.datasets import Eagle, TheWell
from meshops.errors import InputError
from meshops.surrogate import Surrogate, load
from meshops.tasks import Draw, GridRollout, MeshRollout, RolloutSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train

AMR = {"name": "amrtransformer", "channels": 16, "depth": 1, "hidden": 32, "max_size": 8}


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TheWell.standin(tmp_path_factory.mktemp("data") / "w", 6, resolution=16, frames=6)


def config(out: Path, root: Path, **model: Any) -> RunConfig:
    return RunConfig(
        kind="rollout",
        out=str(out),
        model=model or AMR,
        data=DataConfig(name="the_well", root=str(root)),
        task=RolloutSettings(history=2, steps=3, loss="nmse"),
        train=TrainConfig(steps=6, batch_size=2, lr=1e-3, validation=1, val_every=3, accelerator="cpu"),
    )


def test_a_run_leaves_a_checkpoint_that_predicts_and_repeats_its_numbers(
    well: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(config(tmp_path / "run", well))
    assert {"keep last frame", "token floor"} == set(result.report.baselines)
    assert len(result.report.curves["vrmse"]) == 3 and result.report.mean["vrmse"] is not None
    checkpoint = str(tmp_path / "run" / "model.ckpt")
    task = load(checkpoint).task
    assert isinstance(task, GridRollout) and isinstance(result.surrogate.task, GridRollout)
    frames = TheWell(well, "test").window(0, 0, 2)
    assert_close(task.rollout(frames, 2), result.surrogate.task.rollout(frames, 2))
    assert task.rollout(frames, 2).shape == (2, 4, 16, 16)
    assert main(["evaluate", checkpoint, "--data", str(well), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    for part in ("mean", "baselines", "cases", "curves", "details"):
        assert found[part] == written[part], part
    for picture in ("errors.png", "spectrum.png", "rollout.png"):
        assert (tmp_path / "run" / picture).stat().st_size > 5_000
    drawn = ["--ask", "steps=2", "--pictures", str(tmp_path / "drawn")]
    assert main(["evaluate", checkpoint, "--data", str(well), *drawn]) == 0
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 3 and "step 2" in capsys.readouterr().out
    (tmp_path / "car.stl").write_text("solid")
    assert main(["predict", checkpoint, str(tmp_path / "car.stl"), "--out", str(tmp_path / "p")]) == 2
    assert "works on trajectories" in capsys.readouterr().err


def test_a_resumed_run_is_bit_for_bit_the_same(well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at step 5 of 6 (checkpoint at 3), resumed: the same weights, drawn budgets included."""
    model = {"name": "iap", "budget": 30, "channels": 48, "depth": 1, "num_heads": 4, "budget_range": [10, 60]}
    whole = train(config(tmp_path / "whole", well, **model))
    original, seen = GridRollout.batch, [0]

    def stopped(self: GridRollout, samples: Any, draws: Sequence[Draw]) -> Any:
        seen[0] += 1
        if seen[0] == 5:
            raise KeyboardInterrupt
        return original(self, samples, draws)

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(GridRollout, "batch", stopped)
        train(config(tmp_path / "half", well, **model))
    resumed = train(config(tmp_path / "half", well, **model), resume=True)
    for name, value in whole.surrogate.task.state_dict().items():
        assert torch.equal(value, resumed.surrogate.task.state_dict()[name]), name


def test_the_command_line_trains_from_a_file(well: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        f"kind: rollout\nout: {tmp_path / 'r'}\ndata: {{name: the_well, root: {well}}}\n"
        "model: {name: amrtransformer, channels: 16, depth: 1, hidden: 32, max_size: 8}\n"
        "train: {steps: 2, batch_size: 1, accelerator: cpu}\ntask: {steps: 2}\n"
    )
    assert main(["train", str(file), "--task.residual", "true"]) == 0
    shown = capsys.readouterr().out
    assert "token floor" in shown and "rollout VRMSE step 1" in shown
    assert main(["train", str(file), "--task.nodes", "5", "--out", str(tmp_path / "r2")]) == 2
    assert main(["train", str(file), "--task.stride", "0", "--out", str(tmp_path / "r3")]) == 2
    assert "stride must be a whole number of at least 1, got 0" in capsys.readouterr().err
    file.write_text("kind: waves\n")
    assert main(["train", str(file)]) == 2
    assert "got 'waves'" in capsys.readouterr().err


def eagle_config(out: Path, root: Path, **task: Any) -> RunConfig:
    model = {"name": "graphvit", "channels": 8, "tokens": 16, "depth": 1, "attention_depth": 1, "clustering": "kmeans"}
    return RunConfig(
        kind="rollout",
        out=str(out),
        model=model,
        data=DataConfig(name="eagle", root=str(root)),
        task=RolloutSettings(**{"horizon": 2, "steps": 3} | task),
        train=TrainConfig(steps=2, batch_size=1, accelerator="cpu"),
    )


def test_rollouts_on_moving_meshes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stored clusters are used by training and by evaluation: the same checkpoint has the same errors."""
    root = Eagle.standin(tmp_path / "eagle")
    result = train(eagle_config(tmp_path / "run", root))
    assert list(result.report.mean) == ["n_rmse@1", "n_rmse@3"]
    assert result.report.baselines["first frame kept"]["n_rmse@3"] > 0  # type: ignore[operator]
    checkpoint = str(tmp_path / "run" / "model.ckpt")
    assert main(["evaluate", checkpoint, "--data", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    for part in ("mean", "baselines", "cases", "details"):
        assert found[part] == written[part], part
    assert main(["evaluate", checkpoint, "--data", str(root), "--ask", "steps=2"]) == 0
    assert "N-RMSE +2" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"lower task\.horizon"):
        train(eagle_config(tmp_path / "long", root, horizon=500))


def graphs(count: int) -> list[Data]:
    g = torch.Generator().manual_seed(count)
    ring = torch.arange(12)
    edges = torch.cat([torch.stack([ring, ring.roll(1)]), torch.stack([ring.roll(1), ring])], 1)
    decay = 0.7 ** torch.arange(6).view(1, -1, 1)
    return [
        Data(pos=torch.rand(12, 2, generator=g), y=torch.randn(12, 1, 1, generator=g) * decay, edge_index=edges)
        for _ in range(count)
    ]


def waves(count: int) -> list[Data]:
    g = torch.Generator().manual_seed(count)
    decay = 0.7 ** torch.arange(6).view(1, 1, -1, 1)
    return [grid_graph(torch.randn(4, 4, 1, 1, generator=g) * decay, trailing=2) for _ in range(count)]


@pytest.mark.parametrize("model", ["mspt", "meshgraphnet"])
@pytest.mark.parametrize("make", [graphs, waves])
def test_lists_of_graphs_are_trained_on(make: Any, model: str, tmp_path: Path) -> None:
    options = {"num_heads": 2, "num_patches": 4} if model == "mspt" else {}
    result = train(
        RunConfig(
            kind="rollout",
            out=str(tmp_path / "run"),
            model={"name": model, "channels": 8, "depth": 1, **options},
            task=RolloutSettings(steps=3),
            train=TrainConfig(steps=3, batch_size=2, accelerator="cpu", validation=1),
        ),
        data=make(3),
        test=make(2),
    )
    assert len(result.report.cases) == 2
    again = load(tmp_path / "run" / "model.ckpt").evaluate(make(2))
    assert again.mean == result.report.mean and again.cases == result.report.cases


def test_compressed_surrogates_roll_out(tmp_path: Path) -> None:
    settings = eagle_config(tmp_path / "run", Eagle.standin(tmp_path / "eagle"))
    result = train(replace(settings, model={"name": "meshgraphnet", "channels": 8, "depth": 1}))
    task, small = result.surrogate.task, result.surrogate.compress()
    small.save(tmp_path / "b.ckpt")
    loaded = Surrogate.load(tmp_path / "b.ckpt").task
    assert isinstance(task, MeshRollout) and isinstance(small.task, MeshRollout) and isinstance(loaded, MeshRollout)
    window = Eagle(tmp_path / "eagle", "test").window(0, 0, 4)
    exact, found = task.rollout(window), small.task.rollout(window)
    assert torch.equal(loaded.rollout(window), found)
    assert float((found - exact).norm() / exact.norm()) < 0.05
    assert torch.equal(load(tmp_path / "run" / "model.ckpt").task.rollout(window), exact)  # type: ignore[operator]


def test_models_that_take_something_else_are_refused(well: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model 'echogenerator' takes latents, and these data give graph or grid or"):
        train(config(tmp_path / "a", well, name="echogenerator"))
    root = Eagle.standin(tmp_path / "eagle")
    with pytest.raises(InputError, match="model 'unet' takes grid, and these data give graph or points"):
        train(replace(eagle_config(tmp_path / "b", root), model={"name": "unet"}))
