"""Rollouts on grids and what both spaces share: settings, samples, losses, errors; models of points on grids."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from meshops.cli.main import main
from meshops.data.grid import grid_graph
from meshops.data.sampling import spread
from meshops.datasets import Eagle, TheWell
from meshops.datasets.graph_trajectories import GridTrajectories
from meshops.errors import InputError
from meshops.metrics.grids import energy_spectrum, grid_errors, nmse, vrmse
from meshops.models import AMRTransformer, UNet, create_model
from meshops.models.registry import model_arguments
from meshops.nn.optim import noam, schedule, step_decay
from meshops.tasks import GridRollout, MeshRollout, RolloutSettings, RolloutTask
from meshops.tasks.base import Context, Draw, Task, get_task
from meshops.tasks.grid_channels import GridRolloutSpec, channel_norms
from meshops.tasks.rollout_grid import GridBatch, some_frames


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


SPEC = GridRolloutSpec(
    channels=("p", "u", "v"), constants=("k",), velocity=(1, 2), spacing=(1.0, 1.0), periodic=(False, False), history=2
)


def toy_task(spec: GridRolloutSpec = SPEC) -> tuple[GridRollout, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    scale, shift = torch.tensor([5.0, 2.0, 3.0]).view(3, 1, 1), torch.tensor([7.0, 1.0, 0.0]).view(3, 1, 1)
    frames = torch.randn(6, 3, 8, 8) * scale + shift
    constants = torch.rand(1, 8, 8)
    model = UNet(spec.in_channels, 3, channels=8, depth=1)
    return GridRollout(model, spec, *channel_norms(spec, [frames], [constants])), frames, constants


def one(frames: torch.Tensor, constants: torch.Tensor, target: torch.Tensor) -> GridBatch:
    return GridBatch(frames.unsqueeze(0), constants.unsqueeze(0), target[None, None])


def made(data: Any, settings: RolloutSettings, held_out: int = 0, **model: Any) -> tuple[Any, Any]:
    """Task and samples, built as a run does."""
    torch.manual_seed(0)
    kind = get_task("rollout")
    samples: Any = kind.samples(data, settings, Context(held_out=held_out))
    name = model.pop("name", "unet")
    known = {k: v for k, v in samples.spec.model_arguments().items() if k in model_arguments(name)}
    small = {"channels": 8, "depth": 1} | model
    return kind.fit(create_model(name, **known | small), samples, settings), samples


def learnt(task: Any, samples: Any, steps: int = 48, lr: float = 5e-3) -> list[float]:
    """Losses of some steps of training, without that of an auxiliary network."""
    optimizer = torch.optim.Adam(task.parameters(), lr)
    losses = []
    for step in range(steps):
        numbers = [step % len(samples), (step + len(samples) // 2) % len(samples)]
        parts = task.loss(task.batch(samples, [Draw(number, 0) for number in numbers]))
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        losses.append(float(parts["loss"].detach()) - float(parts.get("auxiliary", torch.zeros(())).detach()))
    task.eval()
    return losses


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
    norms = channel_norms(SPEC, [frames], list(mask))
    task = GridRollout(UNet(SPEC.in_channels, 3, channels=8, depth=1), SPEC, *norms)
    assert torch.equal(task.encode(frames[None, :2], mask[:1])[:, -1:], mask[:1])


def test_rollout_feeds_predictions_back() -> None:
    task, frames, constants = toy_task()
    task.eval()
    out = task.rollout(frames[None, :2], 3, constants=constants[None])
    first = task(frames[None, :2], constants[None])
    second = task(torch.stack([frames[None, 1], first], 1), constants[None])
    assert_close(out[:, 0], first)
    assert_close(out[:, 1], second)
    assert_close(task.rollout(frames[:2], 3, constants), out[0])


def test_a_residual_model_of_zero_keeps_the_last_frame() -> None:
    task, frames, constants = toy_task(replace(SPEC, residual=True))
    for p in task.model.parameters():
        torch.nn.init.zeros_(p)
    assert_close(task(frames[None, :2], constants[None])[0], frames[1])
    assert float(task.loss(one(frames[:2], constants, frames[1]))["loss"].detach()) == pytest.approx(0, abs=1e-9)
    assert_close(task.floor(frames[None, :2], constants[None], frames[None, 2])[0], frames[2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("loss", ["mse", "nmse", "mae"])
def test_losses_are_means_over_samples(loss: Any) -> None:
    task, frames, constants = toy_task(replace(SPEC, loss=loss))
    windows = torch.stack([frames[:2], frames[1:3]])
    batch = GridBatch(windows, constants.expand(2, 1, 8, 8), frames[2:4].unsqueeze(1))
    both = task.loss(batch)["loss"]
    each = [task.loss(GridBatch(*(part[i : i + 1] for part in batch)))["loss"] for i in range(2)]
    assert_close(both, torch.stack(each).mean())
    target = task._normalised(batch.target)[:, 0]
    guess = task.model(task.encode(batch.frames, batch.constants))
    wanted = (guess - target).abs().mean() if loss == "mae" else (guess - target).square().mean()
    if loss != "nmse":
        assert_close(both, wanted)


def test_pushforward_on_grids_learns_the_step_after_those_without_gradients() -> None:
    task, frames, constants = toy_task(replace(SPEC, pushforward=2))
    batch = GridBatch(frames[None, :2], constants[None], frames[None, 2:5])
    plain, _, _ = toy_task()
    plain.load_state_dict(task.state_dict())
    ahead = task.unroll(frames[None, :2], constants[None], 2)[0]
    windows = [frames[:2], torch.stack([frames[1], ahead[0]]), ahead]
    wanted = {
        round(float(plain.loss(one(w, constants, frames[2 + i]))["loss"].detach()), 5) for i, w in enumerate(windows)
    }
    assert {round(float(task.loss(batch)["loss"].detach()), 5) for _ in range(20)} == wanted and len(wanted) == 3


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", ["unet", "amrtransformer", "mspt"])
def test_a_longer_horizon_on_grids_is_the_mean_of_steps_that_feed_each_other(name: str, residual: bool) -> None:
    task, frames, constants = toy_task(replace(SPEC, residual=residual))
    if name != "unet":
        sizes = {k: v for k, v in task.spec.model_arguments().items() if k in model_arguments(name)}
        task.model = create_model(name, **sizes | {"channels": 8, "depth": 1, "num_heads": 1} | AS_SMALL[name])
    batch = GridBatch(frames[None, :2], constants[None], frames[None, 2:5])
    start, wanted = frames[None, :2], []
    for step in range(3):
        now = GridBatch(start, constants[None], frames[None, 2 + step : 3 + step])
        wanted.append(task.loss(now)["loss"])
        start = torch.cat([start[:, 1:], task(start, constants[None]).unsqueeze(1)], 1)
    found = task.loss(batch)["loss"]
    assert_close(found, torch.stack(wanted).mean(), atol=1e-5, rtol=1e-5)
    (slope,) = torch.autograd.grad(found, next(task.model.parameters()))
    (first,) = torch.autograd.grad(wanted[0] / 3, next(task.model.parameters()))
    assert not torch.allclose(slope, first)  # later steps have a say


AS_SMALL: dict[str, dict[str, Any]] = {"amrtransformer": {"hidden": 8, "max_size": 4}, "mspt": {"num_patches": 4}}


def test_pushforward_and_horizon_together_learn_the_last_steps() -> None:
    task, frames, constants = toy_task(replace(SPEC, pushforward=1))
    batch = GridBatch(frames[None, :2], constants[None], frames[None, 2:5])
    plain, _, _ = toy_task()
    plain.load_state_dict(task.state_dict())
    ahead = task.unroll(frames[None, :2], constants[None], 1)[0]
    starts = [(frames[:2], 2), (torch.stack([frames[1], ahead[0]]), 3)]
    wanted = set()
    for start, first in starts:
        two = GridBatch(start[None], constants[None], frames[None, first : first + 2])
        wanted.add(round(float(plain.loss(two)["loss"].detach()), 4))
    assert {round(float(task.loss(batch)["loss"].detach()), 4) for _ in range(20)} == wanted and len(wanted) == 2


def test_noise_is_on_the_input_in_training_alone_and_its_correction_is_learnt() -> None:
    task, frames, constants = toy_task(replace(SPEC, noise=0.5, residual=True))
    batch = one(frames[:2], constants, frames[2])
    assert task.eval().loss(batch)["loss"] == task.loss(batch)["loss"]
    assert task.train().loss(batch)["loss"] != task.loss(batch)["loss"]
    many = frames[None, :2].expand(500, -1, -1, -1, -1)
    noise = (task._noisy(many) - many) / task.norm.scale.view(3, 1, 1)
    assert_close(noise.std((0, 3, 4)), torch.full((2, 3), 0.5), rtol=0.02, atol=0)
    for p in task.model.parameters():
        torch.nn.init.zeros_(p)  # keeps the noisy frame: its error is the step and the noise
    step = (task._normalised(frames[2]) - task._normalised(frames[1])).square().mean()
    losses = torch.stack([task.loss(batch)["loss"] for _ in range(50)])
    assert_close(losses.mean(), step + 0.25, rtol=0.05, atol=0)


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TheWell.standin(tmp_path_factory.mktemp("data") / "w", 6, resolution=16, frames=6)


def test_samples_are_windows_trajectory_by_trajectory(tmp_path: Path) -> None:
    data = TheWell(TheWell.standin(tmp_path / "w", 4, resolution=8, frames=5))
    settings = RolloutSettings(stride=2)
    task, samples = made(data, settings)
    assert samples.windows == [(i, s) for i in range(2) for s in range(3)] and len(samples) == 6
    assert samples.describe() == "2 trajectories, 6 windows, density, pressure, velocity_x, velocity_y"
    batch = task.batch(samples, [Draw(4, 0), Draw(1, 7)])
    assert torch.equal(batch.frames[0], data.window(1, 1, 1)) and torch.equal(batch.target[1], data.window(0, 3, 1))
    assert len({float(task.batch(samples, [Draw(i, 0)]).target.sum()) for i in range(6)}) == 6
    part = get_task("rollout").samples(data, settings, Context(held_out=1))
    assert len(part) == 3 and list(part.held_out) == [1] and part.cases == 1
    with pytest.raises(InputError, match=r"a window takes 9 frames .* lower task.history or task.stride"):
        RolloutTask.samples(data, RolloutSettings(history=4, stride=2))
    with pytest.raises(InputError, match=r"validation must be in 0\.\.1, got 2"):
        RolloutTask.samples(data, settings, Context(held_out=2))


def test_statistics_come_from_frames_spread_over_the_set(tmp_path: Path) -> None:
    assert spread(5, 8) == [0, 1, 2, 3, 4] and spread(100, 4) == [0, 33, 66, 99] and spread(1, 3) == [0]
    data = TheWell(TheWell.standin(tmp_path / "w", 4, resolution=8, frames=70))
    frames = some_frames(data, 0)
    assert len(frames) == 32 and torch.equal(frames[-1:], data.window(0, 69, 1))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"history": 0}, "task.history must be a whole number of at least 1, got 0"),
        ({"stride": -1}, "task.stride must be a whole number of at least 1, got -1"),
        ({"steps": 0}, "task.steps must be a whole number of at least 1, got 0"),
        ({"cases": -2}, "task.cases must be a whole number of at least 0, got -2"),
        ({"horizon": 0}, "task.horizon must be a whole number of at least 1, got 0"),
        ({"pushforward": 1.5}, r"task.pushforward must be a whole number of at least 0, got 1\.5"),
        ({"loss": "l2"}, "task.loss must be one of 'mse', 'nmse', 'mae', got 'l2'"),
        ({"horizon": 2, "pushforward": 2}, "task.pushforward must be less than task.horizon"),
        ({"noise": -0.1}, r"task.noise must be a finite number, at least 0, got -0\.1"),
    ],
)
def test_settings_without_sense_are_refused(settings: Any, text: str, well: Path) -> None:
    with pytest.raises(InputError, match=text):
        RolloutTask.samples(TheWell(well), RolloutSettings(**settings))


def test_the_newest_frame_is_added_once() -> None:
    """A model that could add it itself is told not to."""
    assert "residual" in model_arguments("amrtransformer")
    assert replace(SPEC, residual=True).model_arguments()["residual"] is False
    assert "residual" not in SPEC.model_arguments() and SPEC.model_arguments()["previous"] == [4, 5]


def test_a_report_has_errors_yardsticks_curves_and_pictures(well: Path, tmp_path: Path) -> None:
    model = {"name": "amrtransformer", "channels": 16, "hidden": 32, "max_size": 8}
    task, samples = made(TheWell(well), RolloutSettings(history=2, steps=3, loss="nmse"), 1, **model)
    assert isinstance(task.model, AMRTransformer) and task.asked["steps"] == 3
    test = TheWell(well, "test")
    report = task.evaluate(test, context=Context(folder=tmp_path))
    assert list(report.cases) == list(test.cases) and set(report.mean) >= {"vrmse", "nmse", "mse", "mae"}
    assert {f"vrmse_{name}" for name in test.spec.channels} <= set(report.mean)
    assert set(report.baselines) == {"keep last frame", "token floor"}
    assert 0 < report.baselines["token floor"]["vrmse"] < 0.5  # type: ignore[operator]
    assert [len(report.curves[key]) for key in ("vrmse", "nmse", "vrmse_kept", "nmse_kept")] == [3] * 4
    assert len(report.curves["spectrum_truth"]) == len(report.curves["spectrum_prediction"]) == 9
    assert report.details == {"trajectories": len(test), "steps": 3, "stride": 1}
    assert "token floor" in report.table() and "rollout VRMSE step 1" in report.table()
    assert [path.name for path in report.pictures] == ["errors.png", "spectrum.png", "rollout.png"]
    assert all(path.stat().st_size > 5_000 for path in report.pictures)
    first, *_ = task.batch(samples, [Draw(0, 0)])
    assert task.judge(samples, 1)["error"] > 0 and first.shape == (1, 2, 4, 16, 16)
    again = task.evaluate(test)
    assert again.mean == report.mean and again.curves == report.curves and again.pictures == []
    fewer = task.evaluate(test, steps=2, stride=2, cases=1, windows=1)
    assert fewer.details == {"trajectories": 1, "steps": 2, "stride": 2} and len(fewer.curves["vrmse"]) == 1


def test_errors_are_those_of_the_definition(well: Path) -> None:
    """One-step errors: means over windows of a trajectory, then over trajectories."""
    task, _ = made(TheWell(well), RolloutSettings())
    task.eval()
    test = TheWell(well, "test")
    rows = []
    with torch.no_grad():
        for index in range(len(test)):
            frames = test.window(index, 0, test.lengths[index])
            rows.append(float(vrmse(task(frames[:-1, None], frames[:-1, :0]), frames[1:], dim=2).mean()))
    assert task.evaluate(test).mean["vrmse"] == pytest.approx(sum(rows) / len(rows), rel=1e-5)
    assert "token floor" not in task.evaluate(test).baselines  # a U-Net works in every cell


def grids(count: int = 3, frames: int = 5, shape: tuple[int, ...] = (6, 5), seed: int = 0) -> list[Any]:
    g = torch.Generator().manual_seed(seed)
    values = [torch.randn(*shape, frames, 2, generator=g) for _ in range(count)]
    return [grid_graph(v, periodic=(True, False)[: len(shape)], names=("p", "q"), trailing=2) for v in values]


def test_undefined_errors_are_none() -> None:
    task, _ = made(grids(), RolloutSettings(steps=2))
    zero, hole = grids(2, seed=1)
    zero.y = torch.zeros_like(zero.y)
    hole.y[0] = torch.nan
    report = task.evaluate([zero, hole], context=Context())
    assert report.cases["0"]["nmse"] is None and report.cases["0"]["mse"] is not None
    assert report.cases["1"]["mse"] is None and report.cases["1"]["vrmse_q"] is None
    assert report.mean["nmse"] is None and report.mean["mse"] == report.cases["0"]["mse"]
    assert "–" in report.table()


def test_pictures_of_rollouts_that_are_not_finite(tmp_path: Path) -> None:
    task, _ = made(grids(), RolloutSettings(steps=2))
    hole = grids(1, seed=1)[0]
    hole.y[0] = torch.nan
    assert task.evaluate([hole], context=Context(folder=tmp_path)).pictures == []
    with torch.no_grad():
        next(task.model.parameters()).fill_(torch.inf)
    drawn = task.evaluate(grids(1), context=Context(folder=tmp_path)).pictures
    assert [path.name for path in drawn] == ["errors.png", "spectrum.png", "rollout.png"]


def test_data_that_do_not_fit_are_explained(well: Path, tmp_path: Path) -> None:
    task, _ = made(TheWell(well), RolloutSettings(history=2))
    with pytest.raises(InputError, match=r"channels 'p', 'q' and constants none do not fit the surrogate, .*'density'"):
        task.evaluate(grids())
    with pytest.raises(InputError, match="made for trajectories on a grid, got Eagle, on a mesh"):
        task.evaluate(Eagle(Eagle.standin(tmp_path / "eagle", num=2)))
    with pytest.raises(InputError, match="cannot be asked for 'samples'; it takes 'steps', 'stride', 'cases'"):
        task.evaluate(TheWell(well, "test"), samples=3)
    with pytest.raises(InputError, match="steps must be a whole number of at least 1, got 0"):
        task.evaluate(TheWell(well, "test"), steps=0)
    with pytest.raises(InputError, match=r"a step takes 9 frames .*, it has 6; leave it out or lower stride"):
        task.evaluate(TheWell(well, "test"), stride=4)
    with pytest.raises(InputError, match="there is no trajectory to judge"):
        empty = GridTrajectories(grids())
        empty.cases = empty.lengths = ()
        task.evaluate(empty)
    with pytest.raises(InputError, match=r"grids of the set differ .* use train.batch_size 1"):
        mixed, some = made([*grids(1), *grids(1, shape=(4, 5))], RolloutSettings())
        mixed.batch(some, [Draw(0, 0), Draw(len(some) - 1, 0)])
    with pytest.raises(InputError, match=r"works on trajectories: .* surrogate\.task\.rollout\(frames, steps\)"):
        task.predict("car.stl")


def test_rollouts_of_wrong_frames_are_refused(well: Path) -> None:
    task, _ = made(TheWell(well), RolloutSettings(history=2))
    frames = TheWell(well, "test").window(0, 0, 2)
    assert task.rollout(frames, 2).shape == (2, 4, 16, 16)
    assert task.rollout(frames[None], 2).shape == (1, 2, 4, 16, 16)
    with pytest.raises(InputError, match=r"frames must be \[b, 2, 4, \*grid\]"):
        task.rollout(frames[:1], 2)
    with pytest.raises(InputError, match="steps must be a whole number"):
        task.rollout(frames, 0)
    with pytest.raises(InputError, match=r"constants must be \[1, 0, 16, 16\] .* got \(1, 1, 16, 16\)"):
        task.rollout(frames, 2, frames[0, :1])
    frames[0, 1, 3, 3] = torch.nan
    with pytest.raises(InputError, match=r"channel 1 \('pressure'\) holds NaN"):
        task.rollout(frames, 2)
    toy, values, constants = toy_task()
    with pytest.raises(InputError, match="needs the constant channels k; give constants="):
        toy.rollout(values[:2], 1)
    constants[0, 0, 0] = torch.inf
    with pytest.raises(InputError, match=r"channel 0 \('k'\) holds NaN or infinite"):
        toy.rollout(values[:2], 1, constants)


def test_a_task_is_what_its_spec_and_weights_say(well: Path) -> None:
    task, _ = made(TheWell(well), RolloutSettings(history=2, residual=True))
    fresh = create_model("unet", in_channels=8, out_channels=4, channels=8, depth=1)
    other: Any = get_task("rollout").empty(fresh, task.spec.to_dict())
    other.load_state_dict(task.state_dict())
    frames = TheWell(well, "test").window(0, 0, 2)
    assert isinstance(other, GridRollout) and other.spec == task.spec
    assert torch.equal(other.rollout(frames, 2), task.rollout(frames, 2))
    with pytest.raises(InputError, match="trajectories on 'sphere'; known are 'grid', 'mesh'"):
        RolloutTask.empty(fresh, {"space": "sphere"})


def fading(count: int = 2) -> list[Any]:
    """Waves along a periodic axis that die out."""
    place = torch.arange(8) / 8
    waves = [torch.sin(2 * math.pi * (place + i / 5)).view(8, 1) * torch.cos(place[:4] * 3 + i) for i in range(count)]
    frames = [torch.stack([0.7**t * w for t in range(9)], -1).unsqueeze(-1) for w in waves]
    return [grid_graph(f, periodic=(True, False), trailing=2) for f in frames]


MODELS: dict[str, dict[str, Any]] = {
    "mspt": {"num_heads": 2, "num_patches": 4, "channels": 16},
    "transolver": {"num_heads": 2, "num_slices": 4, "channels": 16},
    "meshgraphnet": {"channels": 16, "depth": 2},
    "mppde": {"channels": 16, "depth": 2},
    "gino": {"channels": 8, "cells": 4},
    "amq": {"arguments": {"channels": 64, "depth": 1}, "bits": (4, 8), "warmup": 2, "explore": 2},
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_points_and_graphs_learn_on_grids(name: str) -> None:
    torch.manual_seed(0)
    settings = RolloutSettings(residual=True, steps=3)
    samples: Any = RolloutTask.samples(fading(), settings)
    assert samples.offers == {"grid", "points", "graph"}
    known = {k: v for k, v in samples.spec.model_arguments().items() if k in model_arguments(name)}
    task: Any = RolloutTask.fit(create_model(name, **known | MODELS[name]), samples, settings)
    # At 5e-3 GINO's losses leap by a hundred at some seeds, whatever kernels run; at 1e-3 they fall at every seed
    # that was tried.
    losses = learnt(task, samples, lr=1e-3 if name == "gino" else 5e-3)
    assert sum(losses[-8:]) < 0.6 * sum(losses[:8])
    report = task.evaluate(fading())
    assert set(report.baselines) == {"keep last frame"} and None not in report.mean.values()
    assert "model.model" not in " ".join(task.state_dict())  # the model itself, so that it can be compressed


def test_a_graph_model_sees_across_the_periodic_axis() -> None:
    settings = RolloutSettings(steps=2)
    task, _ = made(fading(), settings, name="meshgraphnet", depth=2)
    task.eval()
    frames = grids(1, shape=(8, 4))[0].y.view(8, 4, 5, 2)[..., :1].permute(2, 3, 0, 1)[:1].clone()
    changed = frames.clone()
    changed[0, 0, 0] += 1
    moved = (task.rollout(changed, 1) - task.rollout(frames, 1)).abs().amax((0, 1, 3)) > 0
    assert moved.tolist() == [True, True, True, False, False, False, True, True]  # two layers, both ways around


def test_training_judges_on_the_same_numbers_as_evaluation(well: Path) -> None:
    """What a run was asked is repeated by the task that comes out of the checkpoint."""
    settings = RolloutSettings(history=2, stride=1, steps=3, cases=2)
    task, _ = made(TheWell(well), settings)
    report = task.evaluate(TheWell(well, "test"))
    fresh = create_model("unet", in_channels=8, out_channels=4, channels=8, depth=1)
    loaded: Task[Any, Any] = get_task("rollout").empty(fresh, task.spec.to_dict())
    loaded.load_state_dict(task.state_dict())
    loaded.asked = dict(task.asked)
    again = loaded.evaluate(TheWell(well, "test"))
    assert again.to_dict() == report.to_dict()


def test_the_kind_has_two_spaces() -> None:
    assert get_task("rollout") is RolloutTask and GridRollout.kind == MeshRollout.kind == "rollout"
    with pytest.raises(InputError, match=r"graph 0: y must be \[n, t, c\]"):
        RolloutTask.samples([grid_graph(torch.zeros(4, 4, 2))], RolloutSettings())


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


def decaying(count: int) -> GridTrajectories:
    """Fields on a grid that decay at the rate of the trajectory."""
    graphs = []
    for i in range(count):
        rate = 0.1 + 0.8 * i / (count - 1)
        start = 1 + torch.rand(8, 8, generator=torch.Generator().manual_seed(i))
        decay = torch.exp(-0.5 * rate * torch.arange(5)).view(5, 1, 1, 1)
        frames = decay * start
        graph = grid_graph(frames.movedim(0, -1).movedim(0, -1), spacing=(0.1, 0.1), periodic=(True, True),
                           names=("c",), trailing=2)  # fmt: skip
        graph.name, graph.conditions = f"run {i}", {"rate": rate}
        graphs.append(graph)
    return GridTrajectories(graphs)


def unet(spec: Any, channels: int) -> UNet:
    known = model_arguments("unet")
    return UNet(**{key: value for key, value in spec.model_arguments().items() if key in known}, channels=channels)


def trained_on_grids(data: GridTrajectories, conditions: tuple[str, ...] | None) -> GridRollout:
    settings = RolloutSettings(residual=True, conditions=conditions)
    samples = RolloutTask.samples(data, settings)
    torch.manual_seed(0)
    known = model_arguments("meshgraphnet")
    sizes = {key: value for key, value in samples.spec.model_arguments().items() if key in known}
    task = RolloutTask.fit(create_model("meshgraphnet", **sizes, channels=16, depth=1), samples, settings)
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        task.loss(task.batch(samples, [Draw(i, 0) for i in range(len(samples))]))["loss"].backward()
        optimizer.step()
    assert isinstance(task, GridRollout)
    return task.eval()


def test_conditions_on_grids_are_told_where_they_are_named() -> None:
    data = decaying(8)
    told, blind = trained_on_grids(data, ("rate",)), trained_on_grids(data, None)
    assert told.spec.constants == told.spec.conditions == ("rate",) and blind.spec.in_channels == 1
    errors = [float(task.evaluate(data).mean["vrmse"]) for task in (told, blind)]  # type: ignore[arg-type]
    assert errors[0] < 0.6 * errors[1], errors
    first = data.window(3, 0, 1)
    slow, fast = (told.rollout(first, 3, conditions={"rate": rate})[-1].mean() for rate in (0.2, 0.8))
    assert fast < slow
    both = told.rollout(torch.stack([first, first]), 3, conditions={"rate": 0.2})
    assert_close(both[1, -1].mean(), slow, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="told 'rate', and 'rate' is no number here"):
        told.rollout(first, 3)
    with pytest.raises(InputError, match="run 0: no condition 'speed' to tell the model; the case has 'rate'"):
        RolloutTask.samples(data, RolloutSettings(conditions=("speed",)))
    with pytest.raises(InputError, match="'c' is a channel of the data already"):
        RolloutTask.samples(data, RolloutSettings(conditions=("c",)))


def test_conditions_stand_behind_the_constants_of_the_data() -> None:
    spec = replace(SPEC, constants=("k", "rate"), conditions=("rate",), history=1)
    task = GridRollout(unet(spec, 4), spec,
                       *channel_norms(spec, [torch.randn(2, 3, 8, 8)], [torch.randn(2, 8, 8)]))  # fmt: skip
    frames, k = torch.randn(2, 1, 3, 8, 8), torch.randn(1, 8, 8)
    plane = torch.full((1, 8, 8), 0.7)
    wanted = task.unroll(frames, torch.cat([k, plane]).expand(2, 2, 8, 8), 2)
    assert_close(task.rollout(frames, 2, k, {"rate": 0.7}), wanted.detach(), atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match=r"constants must be \[2, 2, 8, 8\]"):
        task.rollout(frames, 2, torch.randn(1, 4, 4), {"rate": 0.7})
