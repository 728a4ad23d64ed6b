"""Training runs of generative systems: an auto-encoder of trajectories (two stages) and a generator of its latents."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.console import Console

from meshops.data.point_frames import PointFrames
from meshops.datasets.point_trajectories import PointTrajectories, open_points
from meshops.errors import InputError
from meshops.models import create_model
from meshops.models.registry import model_arguments
from meshops.nn.causal_tower import check_frames, compression
from meshops.tasks.autoencode import AutoencodeSpec, AutoencodeTask
from meshops.tasks.generate import GenerateSpec, GenerateTask, logarithmic
from meshops.tasks.generative_surrogate import AutoencodeSurrogate, GenerateSurrogate, checked_lengths
from meshops.training.config import AutoencodeRunConfig, GenerateRunConfig, TrainConfig
from meshops.training.draws import count_weights, finish, fit_draws, run_info, training_count
from meshops.training.evaluate_generative import autoencoding_error, calibrate, evaluate_autoencoder, evaluate_forecasts
from meshops.training.folder import open_folder
from meshops.training.latents import FILE, encoded_segments
from meshops.training.results import RunResult

MOST_WINDOWS = 32  # what the statistics are taken from


def train_autoencoder(
    config: AutoencodeRunConfig, *, resume: bool = False, console: Console | None = None
) -> RunResult[AutoencodeSurrogate]:
    """Train an auto-encoder of trajectories, or refine one on single frames, judge it, write the run folder.

    Args:
        config: Settings.
        resume: Continue the run in ``config.out`` exactly where it stopped.
        console: Where progress goes; None: silent.

    Raises:
        InputError: A setting, a file or a folder cannot be used.
    """
    out = console or Console(quiet=True)
    folder = open_folder(config, resume)
    torch.manual_seed(config.train.seed)
    first = AutoencodeSurrogate.load(config.task.start) if config.task.start else None
    wanted = first.spec.fields if first is not None else config.task.fields
    data = _data(config, config.data.train, wanted)
    kept = training_count(len(data), config.train.validation)
    frames, stride = config.task.frames, config.task.stride
    _check_lengths(data, kept, frames, stride)
    _check_stride(first, stride)
    short = _learn_frames(config)
    span = (short - 1) * stride + 1
    windows = [(i, s) for i in range(kept) for s in range(data.lengths[i] - span + 1)]
    if first is not None:
        task, name, arguments = _continued(first, config), first.model_name, first.model_arguments
    else:
        if config.task.refine:
            raise InputError("refining needs an auto-encoder to start from; give task.start, e.g. runs/.../model.ckpt")
        spec = autoencode_spec(data, config)
        name, arguments = named(config.model, spec.model_arguments(), "echoautoencoder, cells: 32")
        model = create_model(name, **arguments)
        some = windows[:: max(1, len(windows) // MOST_WINDOWS)]
        task = AutoencodeTask.fit(model, spec, (_read(data, config, *window, short) for window in some))
    _check_data(data, task.spec)
    for number in (frames, short):
        check_frames(number, task.model.time_factor)
    window = _read(data, config, 0, 0, 1)
    shape = task.model.latent_shape(frames)
    points = len(window.pos)
    rate = compression(points, task.spec.channels, frames, shape)
    weights = count_weights(task.model)
    out.print(f"data: {len(data)} trajectories of {config.data.name}, fields {', '.join(task.spec.fields)}")
    out.print(
        f"model: {name}, {weights / 1e6:.2f} M weights; {points} points x {frames} frames -> latent "
        f"{' x '.join(map(str, shape))}, {rate:.1f} times smaller"
    )
    alone = task.model.neighborhood(window.pos, window.ptr).num_empty
    if alone:
        out.print(
            f"note: {alone} of {task.model.grid.num_nodes} latent nodes see no point within their radius (inside of a "
            "body, or fewer points than cells); they take the nearest"
        )
    batch = _refining(data, config, windows, kept) if config.task.refine else _trajectories(data, config, windows)
    count = _refining_count(data, windows, kept) if config.task.refine else len(windows)
    before = None
    if config.task.refine:
        before = _trajectory_error(task, data, config)
        for weight in task.model.tower.temporal_parameters():
            weight.requires_grad_(False)

    def judge(task: AutoencodeTask, index: int) -> dict[str, float]:
        window = _read(data, config, index, 0, frames).to(task.norm.scale.device)
        return {"error": autoencoding_error(task, window)}

    seconds = fit_draws(task, config, folder, count, batch, range(kept, len(data)), judge, resume, out)
    for weight in task.model.tower.temporal_parameters():
        weight.requires_grad_(True)
    info = run_info(config, kept, task.model, stride=stride) | {"compression": {"rate": rate, "latent": list(shape)}}
    surrogate = AutoencodeSurrogate(task.to(device_of(config.train)).eval(), name, arguments, info)
    metrics: dict[str, Any] = {"compression": round(rate, 2)}
    if config.data.test:
        test = _data(config, config.data.test, wanted)
        metrics |= evaluate_autoencoder(task, test, frames=frames, stride=stride, parts=config.task.test_points)
        shown = ", ".join(f"{part}: {error:.4f}" for part, error in metrics["mean"].items())
        out.print(f"test: {len(test)} trajectories, relative L2 error by part of the points given {shown}")
    if before is not None:
        metrics["trajectory_error"] = {"before": before, "after": _trajectory_error(task, data, config)}
        out.print(
            "trajectories before and after refining: {before:.4f}, {after:.4f}".format(**metrics["trajectory_error"])
        )
    return finish(surrogate, metrics, folder, seconds, out)


def train_generator(
    config: GenerateRunConfig, *, resume: bool = False, console: Console | None = None
) -> RunResult[GenerateSurrogate]:
    """Train a generator of latents with a frozen auto-encoder, judge its forecasts, write the run folder.

    Args:
        config: Settings; ``task.start`` is the auto-encoder.
        resume: Continue the run in ``config.out`` exactly where it stopped.
        console: Where progress goes; None: silent.

    Raises:
        InputError: A setting, a file or a folder cannot be used.
        CheckpointError: The auto-encoder or the cache of latents is not what it should be.
    """
    out = console or Console(quiet=True)
    if not config.task.start:
        raise InputError("a generator needs an auto-encoder; give task.start, e.g. runs/.../model.ckpt")
    autoencoder = AutoencodeSurrogate.load(config.task.start)
    folder = open_folder(config, resume)
    torch.manual_seed(config.train.seed)
    frames, factor, stride = autoencoder.spec.frames, autoencoder.task.model.time_factor, config.task.stride
    data = _data(config, config.data.train, autoencoder.spec.fields)
    _check_data(data, autoencoder.spec)
    kept = training_count(len(data), config.train.validation)
    _check_lengths(data, kept, frames, stride)
    _check_stride(autoencoder, stride)
    device = device_of(config.train)
    autoencoder.task.to(device)
    every = config.task.every or max(1, frames // 2)
    start = time.perf_counter()
    needed = config.task.tasks[1] + config.task.tasks[2] > 0
    shared: dict[str, Any] = {"every": every, "stride": stride, "runs": needed, "reuse": resume, "console": out}
    latents = encoded_segments(autoencoder.task, data, range(kept), folder / FILE, **shared)
    encoding = time.perf_counter() - start
    spec = GenerateSpec(
        latent=tuple(latents.latents.shape[1:]), time_factor=factor, parameters=data.spec.parameters,
        logarithmic=logarithmic(latents.parameters), tasks=config.task.tasks, dropout=config.task.dropout,
        law=config.task.law, deterministic=config.task.deterministic, identify=config.task.identify,
    )  # fmt: skip
    name, arguments = named(config.model, spec.model_arguments(), "echogenerator, channels: 256")
    task = GenerateTask.fit(create_model(name, **arguments), spec, latents.latents, latents.parameters)
    weights = count_weights(task.model)
    told = f", parameters {', '.join(spec.parameters)}" if spec.parameters else ""
    out.print(f"data: {len(latents)} segments of {frames} frames from {kept} trajectories{told}")
    out.print(f"model: {name}, {weights / 1e6:.2f} M weights, {len(task.model.places)} tokens")
    held = range(kept, len(data))
    judged = [
        encoded_segments(autoencoder.task, data, range(i, i + 1), folder / f"validation_{i}.pt", **shared).batch([0])
        for i in held
    ]

    def judge(task: GenerateTask, sample: dict[str, torch.Tensor]) -> dict[str, float]:
        device = task.norm.scale.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            rows = {key: value.expand(8, *value.shape[1:]).to(device) for key, value in sample.items()}
            return {"error": float(task.loss(rows)["loss"])}

    seconds = {"encode": round(encoding, 1)}
    seconds |= fit_draws(task, config, folder, len(latents), latents.batch, judged, judge, resume, out)
    info = run_info(config, kept, task.model, stride=stride)
    surrogate = GenerateSurrogate(task.to(device).eval(), name, arguments, info, autoencoder=autoencoder)
    metrics: dict[str, Any] = {}
    begin = time.perf_counter()
    asked: dict[str, Any] = {
        "given": config.task.given, "steps": config.task.steps, "samples": config.task.samples, "stride": stride
    }  # fmt: skip
    if len(held):
        if int(autoencoder.info.get("data", {}).get("training cases", 0)) > kept:
            out.print("note: the auto-encoder was trained on held-out trajectories too; it will lose more of new ones "
                      "than is expected: give all stages the same train.validation")  # fmt: skip
        ahead = calibrate(surrogate, data, held, **asked | {"samples": max(2, config.task.samples)})
        out.print(f"spread: calibrated for {ahead} frames ahead (held-out trajectories: {len(held)})")
    if config.data.test:
        test = _data(config, config.data.test, autoencoder.spec.fields)
        metrics = evaluate_forecasts(
            surrogate, test, cases=config.task.cases, folder=folder, console=out, **asked
        )  # fmt: skip
        seconds["test"] = round(time.perf_counter() - begin, 1)
        out.print(
            f"test: {metrics['trajectories']} trajectories, {metrics['steps']} frames ahead: relative L2 error of the "
            f"mean {metrics['relative_l2']:.4f}, of one sample {metrics['relative_l2_one']:.4f}, last given frame kept "
            f"{metrics['relative_l2_kept']:.4f}"
        )
    return finish(surrogate, metrics, folder, seconds, out)


def named(settings: dict[str, Any], known: dict[str, Any], example: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of ``{name: ..., argument: ...}`` with the sizes the data have."""
    given = dict(settings)
    name = given.pop("name", None)
    if name is None:
        raise InputError(f"model.name is missing; e.g. model: {{name: {example}}}")
    return name, {key: value for key, value in known.items() if key in model_arguments(name)} | given


def autoencode_spec(data: PointTrajectories, config: AutoencodeRunConfig) -> AutoencodeSpec:
    """What a dataset offers, as a task."""
    given, wanted = data.spec, config.task
    return AutoencodeSpec(
        fields=given.fields, sizes=given.sizes, units=given.units, low=given.low, high=given.high,
        periodic=given.periodic, time_step=given.time_step * wanted.stride, frames=wanted.frames,
        constants=given.constants, node_types=given.node_types, points=wanted.points, targets=wanted.targets,
        kl=wanted.kl, noise=wanted.noise,
    )  # fmt: skip


def _continued(first: AutoencodeSurrogate, config: AutoencodeRunConfig) -> AutoencodeTask:
    """The auto-encoder of an earlier run with the settings of this one."""
    values = first.spec.to_dict()
    names = ("points", "targets", "kl", "noise", "frames")
    spec = AutoencodeSpec.from_dict(values | {name: getattr(config.task, name) for name in names})
    return AutoencodeTask(first.task.model, spec, first.task.norm, first.task.constant_norm)


def _data(config: Any, split: str, fields: Sequence[str] | None) -> PointTrajectories:
    return open_points(
        config.data.name, root=config.data.root, split=split, options=config.data.options, fields=fields
    )  # fmt: skip


def _read(
    data: PointTrajectories, config: AutoencodeRunConfig, index: int, start: int, frames: int
) -> PointFrames:  # fmt: skip
    whole = data.window(index, start, frames, config.task.stride)
    most = config.task.most_points
    if not most or (config.task.refine and frames == 1):
        return whole
    generator = torch.Generator().manual_seed(index)  # the same points of a trajectory in every window
    return whole.subsample(1.0, most=most, generator=generator)


def _trajectories(
    data: PointTrajectories, config: AutoencodeRunConfig, windows: Sequence[tuple[int, int]]
) -> Callable[[list[int]], Any]:  # fmt: skip
    frames = _learn_frames(config)

    def batch(chosen: list[int]) -> PointFrames:
        return PointFrames.batch([_read(data, config, *windows[i], frames) for i in chosen])

    return batch


def _learn_frames(config: AutoencodeRunConfig) -> int:
    """Frames of a training example."""
    short, whole = config.task.learn_frames or config.task.frames, config.task.frames
    if not 1 <= short <= whole:
        raise InputError(f"task.learn_frames must be in 1..{whole} (task.frames), or 0 for all of them, got {short}")
    return short


def _refining(
    data: PointTrajectories, config: AutoencodeRunConfig, windows: Sequence[tuple[int, int]], kept: int
) -> Callable[[list[int]], Any]:  # fmt: skip
    """Batches of single frames with all their points, or of trajectories: the first number of a batch decides."""
    singles = [(i, s) for i in range(kept) for s in range(data.lengths[i])]
    whole = _trajectories(data, config, windows)
    border = round(_refining_count(data, windows, kept) * config.task.replay)

    def batch(chosen: list[int]) -> Any:
        if chosen[0] < border:
            return whole([i % len(windows) for i in chosen])
        return PointFrames.batch([_read(data, config, *singles[i % len(singles)], 1) for i in chosen])

    return batch


def _refining_count(data: PointTrajectories, windows: Sequence[tuple[int, int]], kept: int) -> int:
    """Numbers to draw from, so that every window and every frame can be drawn."""
    return 2 * max(len(windows), sum(data.lengths[:kept]))


def device_of(config: TrainConfig) -> torch.device:
    """Where a run works."""
    gpu = config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def _check_lengths(data: PointTrajectories, kept: int, frames: int, stride: int) -> None:
    """Raise ``InputError`` unless there is a training segment and every validation trajectory holds one."""
    checked_lengths(data.lengths[:kept], frames, stride)
    for length in data.lengths[kept:]:
        checked_lengths((length,), frames, stride)


def _check_stride(first: AutoencodeSurrogate | None, stride: int) -> None:
    """Raise ``InputError`` unless an auto-encoder was trained with the same stride."""
    trained = stride if first is None else int(first.info.get("run", {}).get("stride", stride))
    if trained != stride:
        raise InputError(f"task.stride is {stride}, the auto-encoder was trained with {trained}; use that")


def _trajectory_error(task: AutoencodeTask, data: PointTrajectories, config: AutoencodeRunConfig) -> float:
    """Mean error of trajectories, on the test split where there is one."""
    judged = _data(config, config.data.test, task.spec.fields) if config.data.test else data
    found = evaluate_autoencoder(task, judged, frames=config.task.frames, stride=config.task.stride, parts=(1.0,))
    return float(found["mean"]["1.0"])


def _check_data(data: PointTrajectories, spec: AutoencodeSpec) -> None:
    """Raise ``InputError`` unless the data have the fields the auto-encoder was trained on."""
    if (data.spec.fields, data.spec.sizes, data.spec.constants) != (spec.fields, spec.sizes, spec.constants):
        raise InputError(
            f"the data have fields {data.spec.fields} and constants {data.spec.constants}, the auto-encoder has "
            f"{spec.fields} and {spec.constants}; choose the same with task.fields"
        )
