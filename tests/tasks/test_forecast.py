from pathlib import Path
from typing import Any

import pytest
import torch

from meshops.data.normalize import Normalizer
from meshops.data.point_frames import PointFrames, point_frames
from meshops.errors import InputError
from meshops.metrics.losses import relative_errors
from meshops.models.echo import EchoAutoencoder, EchoGenerator
from meshops.surrogate import Surrogate, load
from meshops.tasks import AutoencodeSettings, AutoencodeTask, GenerateTask
from meshops.tasks.base import Made
from meshops.tasks.carry import learn_carry
from meshops.tasks.segments import GenerateSpec
from meshops.tasks.windows import AutoencodeSpec

SPEC = AutoencodeSpec(
    fields=("velocity", "pressure"), sizes=(2, 1), units=("m/s", "Pa"), low=(0.0, 0.0), high=(2.0, 1.0),
    periodic=(True, False), frames=9,
)  # fmt: skip


def frames(count: int = 9, points: int = 40, seed: int = 0) -> PointFrames:
    torch.manual_seed(seed)
    return point_frames(torch.rand(points, 2) * torch.tensor([2.0, 1.0]), 3 + torch.randn(count, points, 3))


def moving(count: int = 9, points: int = 40) -> PointFrames:
    torch.manual_seed(3)
    pos = torch.rand(count, points, 2) * torch.tensor([2.0, 1.0])
    return point_frames(pos, torch.randn(count, points, 3))


def autoencoder() -> AutoencodeTask:
    torch.manual_seed(0)
    arguments: dict[str, Any] = SPEC.model_arguments() | {
        "cells": 4, "channels": 8, "latent_channels": 3, "layers": ["res", "space", "time", "res"]
    }  # fmt: skip
    model = EchoAutoencoder(**arguments)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    task = AutoencodeTask.fitted(model, SPEC, [frames(seed=s) for s in range(3)])
    task.made = Made("echoautoencoder", arguments)
    return task.eval()


def generator(**options: Any) -> GenerateTask:
    made = autoencoder()
    latents = torch.cat([made.encode(frames(seed=s)) for s in range(4)])
    spec = GenerateSpec(latent=tuple(latents.shape[1:]), time_factor=2, **options)
    arguments = spec.model_arguments() | {"channels": 16, "depth": 1, "num_heads": 2}
    model = EchoGenerator(**arguments)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    task = GenerateTask.fitted(model, spec, latents, torch.rand(4, len(spec.parameters)))
    task.made = Made("echogenerator", arguments)
    task.attach({"autoencoder": made})
    return task.eval()


def test_normalisation_has_one_scale_per_field() -> None:
    norm = autoencoder().norm
    assert float(norm.scale[0]) == float(norm.scale[1]) != float(norm.scale[2])
    assert isinstance(norm, Normalizer)


def test_relative_errors_are_per_trajectory() -> None:
    both = PointFrames.batch([frames(seed=1), frames(points=11, seed=2)])
    guess = both.values + torch.randn_like(both.values)
    slow = [
        float((guess[a:b] - both.values[a:b]).norm() / both.values[a:b].norm()) for a, b in ((0, 40), (40, 51))
    ]  # fmt: skip
    torch.testing.assert_close(relative_errors(guess, both.values, both.trajectory_ptr), torch.tensor(slow))
    split = both.by_frame()
    order = torch.cat([guess[:40].transpose(0, 1).flatten(0, 1), guess[40:].transpose(0, 1).flatten(0, 1)])
    torch.testing.assert_close(
        relative_errors(order.unsqueeze(1), split.values, split.trajectory_ptr), torch.tensor(slow)
    )


def test_a_start_from_rest_does_not_rule_the_loss() -> None:
    still = point_frames(torch.rand(10, 2), torch.full((1, 10, 3), 1e-9))
    assert float(relative_errors(still.values + 0.1, still.values, still.ptr)) == pytest.approx(10, rel=1e-3)


def test_double_precision_is_taken() -> None:
    made, source = autoencoder(), frames()
    double = point_frames(source.pos.double(), source.values.double().transpose(0, 1))
    torch.testing.assert_close(made.reconstruct(double), made.reconstruct(source), rtol=1e-4, atol=1e-5)


def test_training_loss_sees_a_part_of_the_points() -> None:
    task = autoencoder().train()
    windows = PointFrames.batch([frames(), frames(seed=1)])
    a, b = task.loss(windows), task.loss(windows)
    assert float(a["relative_l2"]) != float(b["relative_l2"]) and float(a["loss"]) > 0
    a["loss"].backward()
    assert all(p.grad is not None for p in task.parameters())


def test_round_trips_through_files(tmp_path: Path) -> None:
    made = generator(parameters=("nu",), logarithmic=(True,))
    Surrogate(made).save(tmp_path / "g.ckpt")
    Surrogate(made.autoencoder, {"run": {"steps": 3}}).save(tmp_path / "a.ckpt")
    whole, small = load(tmp_path / "g.ckpt"), load(tmp_path / "a.ckpt")
    again, alone = whole.task, small.task
    assert isinstance(again, GenerateTask) and isinstance(alone, AutoencodeTask)
    assert (whole.kind, small.kind) == ("generate", "autoencode")
    source = frames()
    torch.testing.assert_close(alone.reconstruct(source), made.autoencoder.reconstruct(source))
    given = source.crop(0, 3)
    torch.testing.assert_close(again.forecast(given, 4, samples=2), made.forecast(given, 4, samples=2))
    assert again.spec == made.spec and alone.spec == SPEC and small.info == {"run": {"steps": 3}}
    assert again.autoencoder.fingerprint() == alone.fingerprint()
    for surrogate, words in ((whole, "task.forecast"), (small, "task.encode")):
        with pytest.raises(InputError, match=f"works on trajectories.*{words}"):
            surrogate.predict("car.stl")


def test_the_autoencoder_is_a_part_and_no_weight() -> None:
    made = generator()
    assert set(made.parts()) == {"autoencoder"} and not any("encoder" in name for name in made.state_dict())
    own = {id(p) for p in made.parameters()}
    assert not any(id(p) in own for p in made.autoencoder.parameters())
    made.to(torch.device("meta"))
    assert {p.device.type for p in made.autoencoder.parameters()} == {"meta"}


def test_public_methods_leave_the_mode_and_make_no_gradients() -> None:
    made = generator().train()
    made.autoencoder.train()
    given = frames().crop(0, 3)
    for values in (made.forecast(given, 2, samples=2), made.autoencoder.reconstruct(given)):
        assert not values.requires_grad
    assert made.training and made.autoencoder.training
    assert made.autoencoder.latents_of(given).mean.requires_grad


def test_forecasts_beyond_the_segment_at_other_points() -> None:
    made, given = generator(), frames().crop(0, 3)
    inside = made.forecast(given, 6, samples=3)
    assert inside.shape == (3, 6, 40, 3)
    long = made.forecast(given, 20, samples=3)
    assert long.shape == (3, 20, 40, 3)
    torch.testing.assert_close(long[:, :6], inside)  # the first window is the same
    elsewhere = made.forecast(given, 20, samples=3, queries=frames(points=7, seed=5))
    assert elsewhere.shape == (3, 20, 7, 3)
    same = made.forecast(given, 20, samples=3, queries=given)
    torch.testing.assert_close(same, long, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(made.forecast(given, 6, samples=3, seed=1), inside)


def test_forecasts_on_points_that_move() -> None:
    made, walk = generator(), moving(23)
    given, ahead = walk.crop(0, 3), walk.crop(3, 20)
    long = made.forecast(given, 20, samples=3, queries=ahead)
    assert long.shape == (3, 20, 40, 3)
    inside, _ = made.complete({0: given}, walk.crop(0, 9), samples=3)
    wanted = torch.stack([walk.crop(0, 9).series(part)[3:] for part in inside])
    torch.testing.assert_close(long[:, :6], wanted)
    short = made.forecast(given, 6, samples=3, queries=ahead.crop(0, 6))
    torch.testing.assert_close(long[:, :6], short)


class Carrier:
    """In the place of an auto-encoder: fields are (x, y, time), latents the time of their first frame."""

    def __init__(self, real: AutoencodeTask, latent: tuple[int, ...]) -> None:
        self.norm, self.latent, self.points = real.norm, latent, []

    def encode(self, run: PointFrames) -> torch.Tensor:
        torch.testing.assert_close(run.values[..., :2], run.pos.unsqueeze(1).expand(-1, run.values.shape[1], -1))
        first = run.values[run.ptr[:-1], 0, 2].view(run.num_trajectories, -1)[:, 0]
        self.points.append(int(run.ptr[1]))
        return first.view(-1, 1, 1, 1, 1).expand(-1, *self.latent)[:, :, : 1 + (run.frames - 1) // 2].clone()

    def decode(self, latent: torch.Tensor, points: PointFrames) -> torch.Tensor:
        time = latent.flatten()[0] + torch.arange(points.frames)
        if points.moving:
            time, pos = time.repeat_interleave(points.ptr.diff()).view(-1, 1, 1), points.pos.unsqueeze(1)
        else:
            time = time.view(1, -1, 1).expand(len(points.pos), -1, 1)
            pos = points.pos.unsqueeze(1).expand(-1, points.frames, -1)
        return torch.cat([pos, time], 2)


@pytest.mark.parametrize("given", [1, 3, 5, 7])
@pytest.mark.parametrize("moves", [True, False])
def test_every_window_is_where_and_when_the_points_are(
    given: int, moves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = generator()
    carrier = Carrier(made.autoencoder, made.spec.latent)
    made.attach({"autoencoder": carrier})  # type: ignore[dict-item]
    made.norm = Normalizer.identity(len(made.norm.scale))
    monkeypatch.setattr(made, "sample", lambda known, **_: (known.latent[:, :, :1].expand_as(known.latent), None))

    def track(count: int, points: int, first: int, move: bool) -> PointFrames:
        torch.manual_seed(points)
        pos = torch.rand(count if move else 1, points, 2).expand(count, -1, -1)
        return point_frames(pos, torch.cat([pos, (first + torch.arange(count)).view(-1, 1, 1) + 0 * pos[..., :1]], 2))

    for ahead in (1, 2, 6, 9, 20):
        whole = track(given + ahead, 10, -given, moves)
        for overlap in (None, *range(1, 10 - given, 2)):
            for queries in (whole.crop(given, ahead), track(ahead, 4, 0, True), track(1, 4, 0, False)):
                if moves and given > 1 and not queries.moving and queries.frames != ahead and given + ahead > 9:
                    continue  # nobody says where the points are
                carrier.points.clear()
                out = made.forecast(whole.crop(0, given), ahead, queries=queries, samples=2, overlap=overlap)
                times = torch.arange(float(ahead)).view(1, -1, 1).expand(2, -1, out.shape[2])
                torch.testing.assert_close(out[..., 2], times)
                places = queries.places()
                places = places if places.dim() == 3 else places.expand(ahead, -1, -1)
                torch.testing.assert_close(out[..., :2], places.expand(2, -1, -1, -1))
                if not moves:  # probes do not change what windows see
                    assert set(carrier.points) == {10}


def test_points_that_move_without_moving_are_points_that_stay() -> None:
    made, whole = generator(deterministic=True), frames(23)
    split = whole.by_frame()
    on_meshes = made.forecast(split.crop(0, 3), 20, queries=split.crop(3, 20))
    torch.testing.assert_close(on_meshes, made.forecast(whole.crop(0, 3), 20), rtol=1e-3, atol=1e-3)
    probes = made.forecast(whole.crop(0, 3), 20, queries=moving(20, points=5))  # fields where probes move
    assert probes.shape == (1, 20, 5, 3)
    still = made.forecast(whole.crop(0, 3), 20, queries=whole.keep(torch.arange(5)).by_frame().crop(3, 20))
    torch.testing.assert_close(still, on_meshes[:, :, :5], rtol=1e-3, atol=1e-3)


def test_expected_error_adds_what_ensembles_hide(tmp_path: Path) -> None:
    made, given = generator(), frames().crop(0, 3)
    samples = made.forecast(given, 8, samples=3)
    with pytest.raises(InputError, match=r"spread was not calibrated: train with held-out trajectories"):
        made.expected_error(samples)
    made.missing_variance = torch.tensor([[0.0, 1.0, 4.0], [9.0, 0.0, 0.0]])
    expected = made.expected_error(samples)
    variance = samples.var(0) * 4 / 3
    torch.testing.assert_close(expected[0], (variance[0] + torch.tensor([0.0, 1.0, 4.0])).sqrt())
    for step in (1, 5, 7):  # the last that is known holds on
        torch.testing.assert_close(expected[step], (variance[step] + torch.tensor([9.0, 0.0, 0.0])).sqrt())
    for wrong in (samples[:1], samples[0], samples[..., :1]):
        with pytest.raises(InputError, match=r"samples must be \[k, frames, q, 3\] of a forecast with k >= 2, got"):
            made.expected_error(wrong)
    made.missing_variance -= 100.0  # an ensemble that varies too much
    assert float(made.expected_error(samples).max()) == 0
    made.missing_variance += 100.0
    one = generator(deterministic=True)
    one.missing_variance = torch.tensor([[4.0, 4.0, 4.0]])
    torch.testing.assert_close(one.expected_error(one.forecast(given, 2)), torch.full((1, 1, 1), 2.0).expand(2, 40, 3))
    Surrogate(made).save(tmp_path / "g.ckpt")
    again = load(tmp_path / "g.ckpt").task
    assert isinstance(again, GenerateTask)
    torch.testing.assert_close(again.expected_error(samples), expected)


def test_complete_takes_runs_anywhere() -> None:
    made, whole = generator(), frames()
    for runs in ({}, {0: whole.crop(0, 5)}, {6: whole.crop(6, 3)}, {0: whole.crop(0, 1), 4: whole.crop(4, 5)}):
        fields, found = made.complete(runs, whole, samples=2)
        assert fields.shape == (2, 40, 9, 3) and found is None
    walk = moving()
    fields, _ = made.complete({0: walk.crop(0, 3)}, walk, samples=2)
    assert fields.shape == (2, 360, 1, 3)
    one, _ = generator(deterministic=True).complete({0: whole.crop(0, 5)}, whole)
    assert one.shape == (1, 40, 9, 3)


def test_identified_parameters() -> None:
    made, whole = generator(parameters=("nu",), logarithmic=(True,), identify=True), frames()
    _, found = made.complete({0: whole.crop(0, 5)}, whole, samples=4)
    assert found is not None and found.shape == (4, 1)
    assert made.complete({0: whole.crop(0, 5)}, whole, samples=4, parameters={"nu": 0.1})[1] is None


def test_error_messages() -> None:
    made, whole = generator(), frames()
    with pytest.raises(InputError, match=r"given frames must be one of 1, 3, 5, 7 .*got 4; crop them"):
        made.forecast(whole.crop(0, 4), 2)
    with pytest.raises(InputError, match=r"given frames must be one of .*got 9"):
        made.forecast(whole, 2)
    with pytest.raises(InputError, match=r"given points move, so queries must say where .* the 2 frames"):
        made.forecast(moving().crop(0, 3), 2)
    with pytest.raises(InputError, match=r"given points move.* the 12 frames"):
        made.forecast(moving().crop(0, 3), 12, queries=whole)
    with pytest.raises(InputError, match=r"all frames of the segment are given.*give fewer"):
        made.complete({0: whole}, whole)
    with pytest.raises(InputError, match="begin at a multiple of 2 frames, got frame 3"):
        made.complete({3: whole.crop(3, 3)}, whole)
    with pytest.raises(InputError, match="does not fit"):
        made.complete({0: whole.crop(0, 5), 4: whole.crop(4, 5)}, whole)
    with pytest.raises(InputError, match=r"1 \+ 2 j frames, got 4; crop it to 3"):
        made.complete({0: whole.crop(0, 4)}, whole)
    with pytest.raises(InputError, match="queries must be one trajectory of 9 frames, got 1 of 5"):
        made.complete({}, whole.crop(0, 5))
    with pytest.raises(InputError, match="takes the parameters none, got nu"):
        made.forecast(whole.crop(0, 3), 2, parameters={"nu": 1.0})
    with pytest.raises(InputError, match="takes the parameters nu, got Re; give all"):
        generator(parameters=("nu",), logarithmic=(True,)).forecast(whole.crop(0, 3), 2, parameters={"Re": 1.0})
    with pytest.raises(InputError, match="frames must be a whole number of at least 1, got -1"):
        made.forecast(whole.crop(0, 3), -1)
    with pytest.raises(InputError, match="samples must be a whole number of at least 1, got 0"):
        made.forecast(whole.crop(0, 3), 1, samples=0)
    with pytest.raises(InputError, match=r"overlap frames must be one of 1, 3, 5 \(1 \+ 2 j\), got 7"):
        made.forecast(whole.crop(0, 3), 1, overlap=7)
    with pytest.raises(InputError, match=r"equally many points in each of the 2 frames .* got 9 frames of 40 to 40"):
        made.forecast(whole.crop(0, 3), 2, queries=moving())
    with pytest.raises(InputError, match="forecast takes one trajectory, given holds 2"):
        made.forecast(PointFrames.batch([whole, whole]).crop(0, 3), 2)
    with pytest.raises(InputError, match="the latent holds 1 trajectories of 9 frames, the queries are 1 of 1"):
        made.autoencoder.reconstruct(whole, whole.crop(0, 1))
    with pytest.raises(InputError, match=r"velocity, pressure \(3 channels\), got 2"):
        made.autoencoder.encode(point_frames(whole.pos, torch.randn(9, 40, 2)))
    with pytest.raises(InputError, match="use guidance 1"):
        generator(parameters=("nu",), logarithmic=(True,), identify=True).complete({}, whole, guidance=2.0)
    bad = frames()
    bad.values[3, 2, 0] = float("nan")
    with pytest.raises(InputError, match="NaN or infinite"):
        made.autoencoder.encode(bad)
    far = point_frames(torch.full((4, 2), 5.0), torch.randn(9, 4, 3))
    with pytest.raises(InputError, match="4 of 4 points lie outside"):
        made.autoencoder.encode(far)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"frames": 0}, "frames must be a whole number of at least 1, got 0"),
        ({"stride": 0}, "stride must be a whole number of at least 1, got 0"),
        ({"learn_frames": 30}, "task.learn_frames must be in 1..21"),
        ({"most_points": -1}, "most_points must be a whole number of at least 0, got -1"),
        ({"targets": -1}, "targets must be a whole number of at least 0, got -1"),
        ({"kl": -1.0}, "kl must be a finite number, at least 0, got -1.0"),
        ({"noise": float("nan")}, "noise must be a finite number, at least 0, got nan"),
        ({"replay": 1.5}, "replay must be from 0 to 1, got 1.5"),
        ({"points": (0.0, 1.0)}, "points must be two fractions 0 < least <= most <= 1"),
        ({"test_points": ()}, "test_points must be parts of the points"),
        ({"test_points": (1.0, 2.0)}, "test_points must be parts of the points, each 0 < part <= 1, got '1.0', '2.0'"),
        ({"cases": -1}, "cases must be a whole number of at least 0, got -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        AutoencodeSettings(**wrong)


def test_steps_go_on_for_any_length_without_encoding_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made, given = generator(history=2, weigh=True), frames().crop(0, 3)
    calls: list[int] = []
    plain = AutoencodeTask.encode

    def counted(self: AutoencodeTask, source: PointFrames) -> Any:
        calls.append(source.frames)
        return plain(self, source)

    monkeypatch.setattr(AutoencodeTask, "encode", counted)
    long = made.forecast(given, 23, samples=2, steps=2)  # segments have nine frames
    assert calls == [3] and long.shape == (2, 23, 40, 3) and not torch.equal(long[0], long[1])
    torch.testing.assert_close(made.forecast(given, 6, samples=2, steps=2), long[:, :6], rtol=1e-4, atol=1e-4)
    elsewhere = made.forecast(given, 6, queries=frames(points=11).crop(0, 3), samples=2, steps=2)
    assert elsewhere.shape == (2, 6, 11, 3)
    walk = moving()
    out = made.forecast(walk.crop(0, 3), 6, queries=walk.crop(3, 6), samples=2, steps=2)
    assert out.shape == (2, 6, 40, 3)
    assert made.forecast(given.crop(0, 1), 4, samples=2, steps=2).shape == (2, 4, 40, 3)  # less than the history
    made.carry = torch.tensor([[0.5, 0.5, 1.0], [0.25, 0.0, 0.0]])
    Surrogate(made).save(tmp_path / "g.ckpt")
    again = load(tmp_path / "g.ckpt").task
    assert isinstance(again, GenerateTask) and again.carry is not None
    back = again.forecast(given, 6, samples=2, steps=2)
    known = made.autoencoder.encode(given)
    lost = given.series()[-1] - given.series(made.autoencoder.decode(known, given))[-1]
    for step in range(2):
        wanted = long[:, step] + made.carry[step] * lost
        torch.testing.assert_close(back[:, step], wanted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(back[:, 2:], long[:, 2:6], rtol=1e-4, atol=1e-4)
    one = generator(history=2, deterministic=True)
    assert one.forecast(given, 5, samples=4).shape == (1, 5, 40, 3)
    with pytest.raises(InputError, match="goes step by step and forecasts only; call forecast"):
        made.complete({0: given}, frames())
    with pytest.raises(InputError, match="overlap is of windows"):
        made.forecast(given, 4, overlap=1)


class Still:
    """Trajectories at hand."""

    def __init__(self, windows: list[PointFrames]) -> None:
        self.windows, self.lengths = windows, [w.frames for w in windows]

    def window(self, index: int, start: int, count: int, stride: int = 1) -> PointFrames:
        return self.windows[index].pick(range(start, start + count * stride, stride))


def test_what_is_carried_on_is_least_squares() -> None:
    encoder, data = autoencoder(), Still([frames(count=14, seed=s) for s in (5, 6)])
    found = learn_carry(encoder, data, range(2), given=3)  # type: ignore[arg-type]
    rows = []
    for index in range(2):
        for first in (0, 2, 3, 5):
            window = data.window(index, first, 9)
            rows.append(window.values - encoder.through(window))
    lost = torch.cat(rows)  # [n, t, c]
    for step in range(6):
        for c in range(3):
            slope = torch.linalg.lstsq(lost[:, 2, c : c + 1], lost[:, 3 + step, c : c + 1]).solution
            assert float(found[step, c]) == pytest.approx(float(slope), abs=1e-4)
