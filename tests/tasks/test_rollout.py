"""Rollout task, its errors, and a whole run from the command line to the evaluation of the checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import meshops
from meshops.cli.main import main
from meshops.datasets import TheWell
from meshops.errors import CheckpointError, InputError
from meshops.metrics.grids import energy_spectrum, grid_errors, nmse, vrmse
from meshops.models import UNet, create_model
from meshops.tasks.rollout import RolloutSpec, RolloutTask
from meshops.tasks.rollout_surrogate import RolloutSurrogate
from meshops.training.config import DataConfig, RolloutRunConfig, RolloutTaskConfig, TrainConfig
from meshops.training.optim import noam, schedule, step_decay
from meshops.training.rollout import WindowStream, some_frames, spread, train_rollout


def test_vrmse_is_that_of_the_well() -> None:
    truth, guess = torch.randn(2, 3, 4, 8, 6) * 5 + 2, torch.randn(2, 3, 4, 8, 6)
    found = vrmse(guess, truth, dim=2)
    b, t, c = 1, 2, 3
    x, y = guess[b, t, c].double(), truth[b, t, c].double()
    assert_close(found[b, t, c], (((x - y) ** 2).mean() / (y.std() ** 2 + 1e-7)).sqrt())
    assert float(vrmse(truth.mean((3, 4), keepdim=True).expand_as(truth), truth, dim=2).mean()) == pytest.approx(
        math.sqrt(47 / 48), rel=1e-5
    )
    with pytest.raises(InputError, match="differ in shape"):
        vrmse(guess, truth[:1], dim=2)


def test_vrmse_agrees_with_the_wells_own() -> None:
    metrics = pytest.importorskip("the_well.benchmark.metrics", reason="needs the package the_well")
    truth, guess = torch.randn(2, 8, 6, 3), torch.randn(2, 8, 6, 3)

    class Meta:
        n_spatial_dims = 2

    theirs = metrics.VRMSE.eval(guess, truth, Meta())
    assert_close(vrmse(guess.movedim(-1, 1), truth.movedim(-1, 1), dim=2).float(), theirs, rtol=1e-4, atol=1e-5)


def test_nmse_and_the_other_errors() -> None:
    truth, guess = torch.randn(2, 3, 8, 6), torch.randn(2, 3, 8, 6)
    errors = grid_errors(guess, truth, dim=2)
    assert_close(errors["nmse"][1], ((guess[1] - truth[1]) ** 2).double().mean() / (truth[1] ** 2).double().mean())
    assert_close(errors["mse"][0], ((guess[0] - truth[0]) ** 2).double().mean())
    assert_close(errors["mae"][0], (guess[0] - truth[0]).abs().double().mean())
    assert_close(errors["vrmse"], vrmse(guess, truth, dim=2).mean(1))
    assert float(nmse(torch.zeros_like(truth), truth, dim=2)[0]) == pytest.approx(1)


@pytest.mark.parametrize("grid", [(16,), (16, 12), (8, 8, 8)])
def test_spectrum_sums_to_half_the_mean_square_and_finds_waves(grid: tuple[int, ...]) -> None:
    values = torch.randn(2, 3, *grid)
    waves, energy = energy_spectrum(values, dim=len(grid))
    assert_close(energy.sum(1), values.double().square().sum(1).flatten(1).mean(1) / 2)
    place = torch.arange(grid[0]) / grid[0]
    wave = torch.sin(2 * math.pi * 3 * place).view(-1, *[1] * (len(grid) - 1)).expand(grid)
    _, energy = energy_spectrum(wave[None, None], dim=len(grid))
    assert int(energy[0].argmax()) == 3 and float(energy[0, 3]) == pytest.approx(0.25)
    assert len(waves) == energy.shape[1]


SPEC = RolloutSpec(
    channels=("p", "u", "v"), constants=("k",), velocity=(1, 2), spacing=(1.0, 1.0), periodic=(False, False), history=2
)


def toy_task(spec: RolloutSpec = SPEC) -> tuple[RolloutTask, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    frames = torch.randn(6, 3, 8, 8) * torch.tensor([5.0, 2.0, 3.0]).view(3, 1, 1) + torch.tensor([7.0, 1.0, 0.0]).view(
        3, 1, 1
    )
    constants = torch.rand(1, 8, 8)
    model = UNet(spec.in_channels, 3, channels=8, depth=1)
    return RolloutTask.fit(model, spec, [frames], [constants]), frames, constants


def test_normalisation_keeps_directions_of_the_velocity() -> None:
    task, frames, constants = toy_task()
    coded = task.encode(frames[None, :2], constants[None])
    assert coded.shape == (1, 7, 8, 8)
    ratio = frames[1, 1:] / coded[0, 1:3]  # newest frame first
    assert_close(ratio, ratio[0, 0, 0].expand_as(ratio), rtol=1e-4, atol=1e-4)
    assert_close(coded[0, 3:6] * task.norm.scale.view(3, 1, 1) + task.norm.shift.view(3, 1, 1), frames[0])
    every = torch.cat([task.encode(frames[None, i : i + 2], constants[None])[:, 0] for i in range(5)])
    assert abs(float(every.mean())) < 0.2 and float(every.std()) == pytest.approx(1, abs=0.1)


def test_masks_are_not_normalised() -> None:
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 2:] = 1
    mask[1] = 1
    frames = torch.randn(4, 3, 8, 8)
    task = RolloutTask.fit(UNet(SPEC.in_channels, 3, channels=8, depth=1), SPEC, [frames], list(mask))
    assert torch.equal(task.encode(frames[None, :2], mask[:1])[:, -1:], mask[:1])


def test_rollout_feeds_predictions_back() -> None:
    task, frames, constants = toy_task()
    task.eval()
    out = task.rollout(frames[None, :2], constants[None], 3)
    first = task(frames[None, :2], constants[None])
    second = task(torch.stack([frames[None, 1], first], 1), constants[None])
    assert_close(out[:, 0], first)
    assert_close(out[:, 1], second)


def test_a_residual_model_of_zero_keeps_the_last_frame() -> None:
    task, frames, constants = toy_task(RolloutSpec(**{**SPEC.to_dict(), "residual": True}))
    for p in task.model.parameters():
        torch.nn.init.zeros_(p)
    assert_close(task(frames[None, :2], constants[None])[0], frames[1])
    batch = {"frames": frames[None, :2], "constants": constants[None], "target": frames[None, 1]}
    assert float(task.loss(batch)["loss"].detach()) == pytest.approx(0, abs=1e-9)
    assert_close(task.floor(frames[None, :2], constants[None], frames[None, 2])[0], frames[2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("loss", ["mse", "nmse", "mae"])
def test_losses_are_means_over_samples(loss: Any) -> None:
    task, frames, constants = toy_task(RolloutSpec(**{**SPEC.to_dict(), "loss": loss}))
    batch = {
        "frames": torch.stack([frames[:2], frames[1:3]]), "constants": constants.expand(2, 1, 8, 8),
        "target": frames[2:4],
    }  # fmt: skip
    both = task.loss(batch)["loss"]
    each = [task.loss({key: value[i : i + 1] for key, value in batch.items()})["loss"] for i in range(2)]
    assert_close(both, torch.stack(each).mean())
    target = task._normalised(batch["target"].unsqueeze(1))[:, 0]
    guess = task.model(task.encode(batch["frames"], batch["constants"]))
    wanted = (guess - target).abs().mean() if loss == "mae" else (guess - target).square().mean()
    if loss != "nmse":
        assert_close(both, wanted)


def test_windows_come_in_rounds_and_repeat(tmp_path: Path) -> None:
    data = TheWell(TheWell.standin(tmp_path / "w", 4, resolution=8, frames=5))
    stream = WindowStream(data, history=1, stride=2, batch_size=2, steps=4, seed=0)
    assert len(stream.windows) == 2 * 3
    assert len(WindowStream(data, history=1, stride=2, batch_size=2, steps=4, seed=0, cases=1).windows) == 3
    batches = list(stream)
    targets = torch.cat([batch["target"] for batch in batches[:3]])
    assert len({float(t.sum()) for t in targets}) == 6  # a whole round without a repetition
    again = WindowStream(data, history=1, stride=2, batch_size=2, steps=4, seed=0, first_step=lambda: 3)
    assert torch.equal(next(iter(again))["target"], batches[3]["target"])
    with pytest.raises(InputError, match=r"a window takes 9 frames .* lower task.history or task.stride"):
        WindowStream(data, history=4, stride=2, batch_size=1, steps=1, seed=0)


def config(out: Path, root: Path, **model: Any) -> RolloutRunConfig:
    return RolloutRunConfig(
        out=str(out),
        model=model or {"name": "amrtransformer", "channels": 16, "depth": 1, "hidden": 32, "max_size": 8},
        data=DataConfig(name="the_well", root=str(root)),
        task=RolloutTaskConfig(history=2, steps=3, loss="nmse"),
        train=TrainConfig(steps=6, batch_size=2, lr=1e-3, validation=1, val_every=3),
    )


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TheWell.standin(tmp_path_factory.mktemp("data") / "w", 6, resolution=16, frames=6)


def test_statistics_come_from_frames_spread_over_the_set(tmp_path: Path) -> None:
    assert spread(5, 8) == [0, 1, 2, 3, 4] and spread(100, 4) == [0, 33, 66, 99] and spread(1, 3) == [0]
    data = TheWell(TheWell.standin(tmp_path / "w", 4, resolution=8, frames=70))
    frames = some_frames(data, 0)
    assert len(frames) == 32 and torch.equal(frames[-1:], data.window(0, 69, 1))


def test_a_run_leaves_a_checkpoint_that_predicts(
    well: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train_rollout(config(tmp_path / "run", well))
    assert set(result.metrics) >= {"one_step", "floor", "persistence", "rollout", "spectrum", "vrmse"}
    assert len(result.metrics["rollout"]["vrmse"]) == 3
    assert 0 < result.metrics["floor"]["vrmse"] < 0.5
    surrogate = meshops.load(str(tmp_path / "run" / "model.ckpt"))
    assert isinstance(surrogate, RolloutSurrogate)
    frames = TheWell(well, "test").window(0, 0, 2)
    assert_close(surrogate.rollout(frames, 2), result.surrogate.rollout(frames, 2))
    assert surrogate.rollout(frames, 2).shape == (2, 4, 16, 16)
    code = main(["evaluate", str(tmp_path / "run" / "model.ckpt"), "--data", str(well), "--steps", "3", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0 and found["vrmse"] == pytest.approx(result.metrics["vrmse"], rel=1e-6)
    for picture in ("errors.png", "spectrum.png", "rollout.png"):
        assert (tmp_path / "run" / picture).stat().st_size > 5_000
    drawn = ["--steps", "3", "--pictures", str(tmp_path / "drawn")]
    assert main(["evaluate", str(tmp_path / "run" / "model.ckpt"), "--data", str(well), *drawn]) == 0
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 3
    assert main(["predict", str(tmp_path / "run" / "model.ckpt"), "car.stl", "--out", str(tmp_path / "p")]) == 2
    assert "predicts trajectories on grids" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"frames must be \[b, 2, 4, \*grid\]"):
        surrogate.rollout(frames[:1], 2)
    frames[0, 1, 3, 3] = torch.nan
    with pytest.raises(InputError, match=r"channel 1 \('pressure'\) holds NaN"):
        surrogate.rollout(frames, 2)
    from meshops.tasks.surrogate import Surrogate

    with pytest.raises(CheckpointError, match="surrogate of trajectories"):
        Surrogate.load(tmp_path / "run" / "model.ckpt")


def test_a_resumed_run_is_bit_for_bit_the_same(well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at step 5 of 6 (checkpoint at 3), resumed: the same weights, drawn budgets included."""
    model = {"name": "iap", "budget": 30, "channels": 48, "depth": 1, "num_heads": 4, "budget_range": [10, 60]}
    whole = train_rollout(config(tmp_path / "whole", well, **model))
    original = WindowStream.batch

    def stopped(self: WindowStream, step: int) -> Any:
        if step == 4:
            raise KeyboardInterrupt
        return original(self, step)

    monkeypatch.setattr(WindowStream, "batch", stopped)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train_rollout(config(tmp_path / "half", well, **model))
    monkeypatch.setattr(WindowStream, "batch", original)
    resumed = train_rollout(config(tmp_path / "half", well, **model), resume=True)
    for name, value in whole.surrogate.task.state_dict().items():
        assert torch.equal(value, resumed.surrogate.task.state_dict()[name]), name


def test_the_command_line_trains_from_a_file(well: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        f"kind: rollout\nout: {tmp_path / 'r'}\ndata: {{name: the_well, root: {well}}}\n"
        "model: {name: vit, patch_size: 4, channels: 16, depth: 1, num_heads: 2}\n"
        "train: {steps: 2, batch_size: 1}\ntask: {steps: 2}\n"
    )
    assert main(["train", str(file), "--task.residual", "true"]) == 0
    shown = capsys.readouterr().out
    assert "token floor" in shown and "rollout VRMSE step 1" in shown
    assert main(["train", str(file), "--task.nodes", "5"]) == 2
    file.write_text("kind: waves\n")
    assert main(["train", str(file)]) == 2
    assert (
        "kind must be one of steady, rollout, fields, mesh_rollout, autoencode, generate, stages, got 'waves'"
        in capsys.readouterr().err
    )


def test_generate_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "w")
    few = ["--resolution", "8", "--frames", "3"]
    assert main(["generate", "riemann_2d", "--num", "3", "--out", out, *few]) == 0
    assert "3 simulations of riemann_2d, 3 frames of 8 x 8 cells" in capsys.readouterr().out
    assert main(["generate", "riemann_2d", "--num", "3", "--out", out, *few]) == 2
    assert "exists already; choose another --out" in capsys.readouterr().err
    assert main(["generate", "gray_scott", "--layout", "cfdbench", "--out", out + "2"]) == 2
    assert main(["generate", "riemann_2d", "--num", "2", "--train", "2", "--test", "1", "--out", out + "3"]) == 2
    assert "more than --num 2" in capsys.readouterr().err
    assert main(["data", "check", out]) == 0


def test_published_schedules() -> None:
    peak = 256**-0.5 * 4000**-0.5
    rate = noam(warmup_steps=4000)
    assert peak * rate(3999) == pytest.approx(9.88e-4, rel=1e-3)
    for step in (0, 999, 15999):
        now = step + 1
        assert peak * rate(step) == pytest.approx(256**-0.5 * min(now**-0.5, now * 4000**-1.5))
    decay = step_decay()
    assert 5e-4 * decay(0) == pytest.approx(1e-6) and 5e-4 * decay(2500) == pytest.approx(5e-4)
    assert decay(7500) == pytest.approx(0.95) and 5e-4 * decay(10**7) == pytest.approx(1e-5)
    with pytest.raises(InputError, match="schedule must be"):
        schedule("linear", steps=10, warmup=0.1)


def test_fno_comes_from_its_package() -> None:
    pytest.importorskip("neuralop", reason="needs the package neuraloperator")
    model = create_model("fno", in_channels=3, out_channels=2, modes=4, channels=8, depth=1)
    assert model(torch.randn(1, 3, 16, 16)).shape == (1, 2, 16, 16)
    assert all(isinstance(value, torch.Tensor) for value in model.state_dict().values())
