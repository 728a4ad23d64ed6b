"""A training run on trajectories: windows of a dataset, one-step training, judged on one step and on rollouts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch.utils.data import IterableDataset

from meshops.datasets import create_trajectories
from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError
from meshops.models import create_model
from meshops.models.registry import model_arguments
from meshops.nn.grid_model import GridModel, on_grid
from meshops.tasks.grid_metrics import vrmse
from meshops.tasks.rollout import RolloutSpec, RolloutTask
from meshops.tasks.rollout_surrogate import RolloutSurrogate
from meshops.tasks.surrogate import software
from meshops.training.config import RolloutRunConfig, RolloutTaskConfig
from meshops.training.draws import count_weights, training_count
from meshops.training.evaluate_rollout import draw_rollout, evaluate_rollout
from meshops.training.folder import numbers, open_folder, write_json
from meshops.training.results import RunResult
from meshops.training.stream import mix

MOST_CASES, MOST_FRAMES = 64, 32  # what the statistics are taken from, evenly spread over the set


class WindowStream(IterableDataset[Any]):
    """Batches of windows of trajectories, a function of (seed, step, rank): a resumed run sees what it would have.

    Windows are drawn in shuffled rounds: each is seen once before any is seen again.

    Args:
        data: Trajectories.
        history: Frames of the input.
        stride: Frames from one step to the next.
        batch_size: Windows per step and rank.
        steps: Total number of steps.
        seed: Of the order.
        cases: Use the first so many trajectories; None: all.
        first_step: Asked when iteration starts.
        rank: Of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        data: TrajectoryDataset,
        *,
        history: int,
        stride: int,
        batch_size: int,
        steps: int,
        seed: int,
        cases: int | None = None,
        first_step: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        self.data, self.history, self.stride, self.batch_size = data, history, stride, batch_size
        self.steps, self.seed, self.first_step = steps, seed, first_step
        self.rank, self.world_size = rank, world_size
        self._shuffled: tuple[int, Tensor] | None = None
        span = history * stride
        lengths, shapes = data.lengths[:cases], data.shapes[:cases]
        self.windows = [(i, start) for i, length in enumerate(lengths) for start in range(length - span)]
        if not self.windows:
            raise InputError(
                f"no trajectory is long enough: a window takes {span + 1} frames (history {history}, stride {stride}), "
                f"the longest trajectory has {max(lengths, default=0)}; lower task.history or task.stride"
            )
        if len(set(shapes)) > 1 and batch_size > 1:
            raise InputError(f"the grids of the set differ ({sorted(set(shapes))}); use train.batch_size 1")

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in range(self.first_step(), self.steps):
            yield self.batch(step)

    def batch(self, step: int) -> dict[str, Tensor]:
        """``frames [b, h, c, *grid]``, ``constants [b, k, *grid]`` and ``target [b, c, *grid]`` of one step."""
        first = (step * self.world_size + self.rank) * self.batch_size
        parts = []
        for draw in range(first, first + self.batch_size):
            round_, place = divmod(draw, len(self.windows))
            index, start = self.windows[int(self._order(round_)[place])]
            frames = self.data.window(index, start, self.history * self.stride + 1)[:: self.stride]
            parts.append((frames[:-1], self.data.constants(index), frames[-1]))
        frames, constants, target = (torch.stack(column) for column in zip(*parts, strict=True))
        return {"frames": frames, "constants": constants, "target": target}

    def _order(self, round_: int) -> Tensor:
        """Order of the windows in a round; kept until the next."""
        if self._shuffled is None or self._shuffled[0] != round_:
            generator = torch.Generator().manual_seed(mix(self.seed, 3, round_))
            self._shuffled = round_, torch.randperm(len(self.windows), generator=generator)
        return self._shuffled[1]


def train_rollout(
    config: RolloutRunConfig, *, resume: bool = False, console: Console | None = None
) -> RunResult[RolloutSurrogate]:
    """Train a model of one step, judge it on the test split, write the run folder.

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
    data = open_trajectories(config, config.data.train)
    spec = rollout_spec(data, config.task)
    out.print(f"data: {len(data)} trajectories of {config.data.name}, channels {', '.join(spec.channels)}")
    model, arguments = build(config.model, spec)
    weights = count_weights(model)
    out.print(f"model: {config.model['name']}, {weights / 1e6:.2f} M weights")
    kept = training_count(len(data), config.train.validation)
    start = time.perf_counter()
    some = spread(kept, MOST_CASES)
    task = RolloutTask.fit(model, spec, (some_frames(data, i) for i in some), (data.constants(i) for i in some))
    seconds = {"prepare": time.perf_counter() - start}
    start = time.perf_counter()
    _fit(task, config, folder, data, kept, resume, out)
    seconds["train"] = time.perf_counter() - start
    info = {
        "data": {"name": config.data.name, "training trajectories": kept},
        "model": {"weights": weights},
        "run": {"date": time.strftime("%Y-%m-%d"), "steps": config.train.steps, "stride": config.task.stride},
        "software": software(),
    }
    surrogate = RolloutSurrogate(task.cpu().eval(), config.model["name"], arguments, info)
    metrics: dict[str, Any] = {}
    if config.data.test:
        test = open_trajectories(config, config.data.test)
        out.print(f"test: {len(test)} held-out trajectories")
        start = time.perf_counter()
        metrics = evaluate_rollout(
            task, test, steps=config.task.steps, stride=config.task.stride, cases=config.task.cases, console=out
        )
        draw_rollout(task, test, metrics, folder, steps=config.task.steps, stride=config.task.stride)
        seconds["test"] = time.perf_counter() - start
    metrics["seconds"] = {key: round(value, 1) for key, value in seconds.items()}
    surrogate.info["held_out"] = numbers(metrics)
    surrogate.save(folder / "model.ckpt")
    write_json(folder / "metrics.json", metrics)
    pictures = ", errors.png, spectrum.png" + (", rollout.png" if spec.dim > 1 else "") if config.data.test else ""
    out.print(f"written to {folder}: model.ckpt, metrics.json{pictures}")
    return RunResult(folder, surrogate, metrics)


def spread(count: int, most: int) -> list[int]:
    """Up to ``most`` numbers from 0 to ``count - 1``, evenly spread, the ends among them."""
    picked = min(count, most)
    return sorted({round(i * (count - 1) / max(picked - 1, 1)) for i in range(picked)})


def some_frames(data: TrajectoryDataset, index: int) -> Tensor:
    """``[t, c, *grid]`` frames of one trajectory, evenly spread: all of a short one."""
    length = data.lengths[index]
    if length <= MOST_FRAMES:
        return data.window(index, 0, length)
    return torch.cat([data.window(index, start, 1) for start in spread(length, MOST_FRAMES)])


def rollout_spec(data: TrajectoryDataset, task: RolloutTaskConfig) -> RolloutSpec:
    """What a dataset offers, as a task."""
    spec = data.spec
    return RolloutSpec(
        channels=spec.channels, constants=spec.constants, velocity=spec.velocity, spacing=spec.spacing,
        periodic=spec.periodic, time_step=spec.time_step * task.stride, history=task.history, loss=task.loss,
        residual=task.residual,
    )  # fmt: skip


def build(settings: dict[str, Any], spec: RolloutSpec) -> tuple[GridModel, dict[str, Any]]:
    """Model from ``{name: ..., argument: ...}``, told what it wants to know of the data.

    Raises:
        InputError: No name, no such model or argument, or a model that is not for grids.
    """
    given = dict(settings)
    name = given.pop("name", None)
    if name is None:
        raise InputError("model.name is missing; e.g. model: {name: iap, budget: 1024}")
    known = spec.model_arguments()
    if spec.residual and "residual" in model_arguments(name):
        known["residual"] = False  # the task adds the newest frame itself
    arguments = {key: value for key, value in known.items() if key in model_arguments(name)} | given
    model = create_model(name, **arguments)
    if not {"grid", "points"} & getattr(model, "takes", frozenset()):
        raise InputError(
            f"model '{name}' is not made for regular grids; use one of iap, amrtransformer, vit, unet, fno, or one of "
            "points: mspt, transolver, transformer, gino"
        )
    return on_grid(model, spec.spacing), arguments


def open_trajectories(config: RolloutRunConfig, split: str) -> TrajectoryDataset:
    """The dataset of a run."""
    return create_trajectories(config.data.name, root=config.data.root, split=split, **config.data.options)


def _fit(
    task: RolloutTask, config: RolloutRunConfig, folder: Path, data: TrajectoryDataset, kept: int, resume: bool,
    console: Console,
) -> None:  # fmt: skip
    from meshops.training.fit import fit  # Lightning takes seconds to import

    def stream(trainer: Any) -> WindowStream:
        return WindowStream(
            data,
            cases=kept,
            history=config.task.history,
            stride=config.task.stride,
            batch_size=config.train.batch_size,
            steps=config.train.steps,
            seed=config.train.seed,
            first_step=lambda: int(trainer.global_step),
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )

    def judge(task: RolloutTask, index: int) -> dict[str, float]:
        length = config.task.history * config.task.stride + 1
        starts = range(0, data.lengths[index] - length + 1, max(1, (data.lengths[index] - length) // 8))
        windows = torch.stack([data.window(index, s, length)[:: config.task.stride] for s in starts])
        constants = data.constants(index).expand(len(windows), *data.constants(index).shape)
        device = task.norm.scale.device
        windows, constants = windows.to(device), constants.to(device)
        with torch.no_grad():
            return {"error": float(vrmse(task(windows[:, :-1], constants), windows[:, -1], dim=task.spec.dim).mean())}

    fit(
        task, config.train, folder, stream=stream, validation=range(kept, len(data)), judge=judge,
        resume=resume, console=console,
    )  # fmt: skip
