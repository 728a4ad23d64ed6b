"""What runs on numbered samples share: their stream, the fit, what is known of a run, and what it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.utils.data import IterableDataset

from meshops.errors import InputError
from meshops.io import write_json
from meshops.tasks.surrogate import software
from meshops.training.folder import numbers
from meshops.training.results import RunResult
from meshops.training.stream import mix


class DrawStream(IterableDataset[Any]):
    """Batches of numbered samples, a function of (seed, step, rank): a resumed run sees what it would have.

    Args:
        count: Number of samples; drawn in shuffled rounds.
        batch: Makes a batch of a list of numbers.
        batch_size: Samples per step and rank.
        steps: Total number of steps.
        seed: Of the order.
        first_step: Asked when iteration starts.
        rank: Of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        count: int,
        batch: Callable[[list[int]], Any],
        *,
        batch_size: int,
        steps: int,
        seed: int,
        first_step: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        self.count, self.make, self.batch_size, self.steps, self.seed = count, batch, batch_size, steps, seed
        self.first_step, self.rank, self.world_size = first_step, rank, world_size
        self._shuffled: tuple[int, list[int]] | None = None

    def __iter__(self) -> Iterator[Any]:
        for step in range(self.first_step(), self.steps):
            yield self.make(self.numbers(step))

    def numbers(self, step: int) -> list[int]:
        """Samples of one step."""
        first = (step * self.world_size + self.rank) * self.batch_size
        return [self._order(draw // self.count)[draw % self.count] for draw in range(first, first + self.batch_size)]

    def _order(self, round_: int) -> list[int]:
        if self._shuffled is None or self._shuffled[0] != round_:
            generator = torch.Generator().manual_seed(mix(self.seed, 2, round_))
            self._shuffled = round_, torch.randperm(self.count, generator=generator).tolist()
        return self._shuffled[1]


def fit_draws(
    task: Any, config: Any, folder: Path, count: int, batch: Callable[[list[int]], Any], validation: Sequence[Any],
    judge: Any, resume: bool, console: Console,
) -> dict[str, float]:  # fmt: skip
    """Train on batches of ``count`` numbered samples; seconds it took."""
    from meshops.training.fit import fit  # Lightning takes seconds to import

    def stream(trainer: Any) -> DrawStream:
        return DrawStream(
            count, batch, batch_size=config.train.batch_size, steps=config.train.steps, seed=config.train.seed,
            first_step=lambda: int(trainer.global_step), rank=trainer.global_rank, world_size=trainer.world_size,
        )  # fmt: skip

    start = time.perf_counter()
    fit(task, config.train, folder, stream=stream, validation=validation, judge=judge, resume=resume, console=console)
    return {"train": round(time.perf_counter() - start, 1)}


def count_weights(model: torch.nn.Module) -> int:
    """Learnable numbers of a model."""
    return sum(p.numel() for p in model.parameters())


def training_count(count: int, held_out: int) -> int:
    """How many of ``count`` training cases are left when the last ``held_out`` are for validation.

    Raises:
        InputError: None would be left.
    """
    if not 0 <= held_out < count:
        raise InputError(f"train.validation must be in 0..{count - 1}, got {held_out}")
    return count - held_out


def run_info(config: Any, kept: int, model: torch.nn.Module, **run: Any) -> dict[str, Any]:
    """What a checkpoint says of its run; ``kept`` training cases, ``run``: more about it."""
    return {
        "data": {"name": config.data.name, "training cases": kept},
        "model": {"weights": count_weights(model)},
        "run": {"date": time.strftime("%Y-%m-%d"), "steps": config.train.steps, **run},
        "software": software(),
    }


def finish(
    surrogate: Any, metrics: dict[str, Any], folder: Path, seconds: dict[str, float], console: Console
) -> RunResult[Any]:
    """Write the checkpoint and the metrics."""
    metrics["seconds"] = seconds
    surrogate.info["held_out"] = numbers(metrics)
    surrogate.save(folder / "model.ckpt")
    write_json(folder / "metrics.json", metrics)
    console.print(f"written to {folder}: model.ckpt, metrics.json")
    return RunResult(folder, surrogate, metrics)
