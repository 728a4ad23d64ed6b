"""Lightning, set up for any task: averaged weights, checkpoints that a kill cannot destroy, exact resume."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from rich.console import Console
from torch.utils.data import DataLoader

from meshops import ranks
from meshops.errors import CheckpointError, InputError, first_line
from meshops.io import no_room, replacing
from meshops.tasks.base import B, S, Samples, Task
from meshops.tensor_files import load_tensors
from meshops.training.agree import SameWeights
from meshops.training.by_patches import ByPatches
from meshops.training.callbacks import (
    LOG_EVERY,
    AveragedWeights,
    LogLines,
    RandomState,
    StepProgress,
    StopOnSignal,
    take_buffers,
)
from meshops.training.config import TrainConfig
from meshops.training.guards import NotFinite
from meshops.training.module import TaskModule
from meshops.training.stream import DrawStream, mix


class WholeCheckpoints(TorchCheckpointIO):  # type: ignore[misc]
    """Checkpoints are written beside their target, read again, and only then renamed; they hold no code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write one; the file that was there stays until the new one is whole.

        Raises:
            InputError: The disk is full.
        """
        del storage_options
        with no_room(path), replacing(path) as partial:
            torch.save(checkpoint, partial)
            torch.load(partial, map_location="cpu", weights_only=True, mmap=True)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read one.

        Raises:
            CheckpointError: It is damaged.
        """
        del weights_only, map_location  # Lightning moves what it holds
        try:
            return load_tensors(Path(path))
        except Exception as error:  # torch raises many kinds here, none of them documented
            raise CheckpointError(
                f"{path}: not a readable checkpoint ({first_line(error)}); start the run anew"
            ) from None


def fit(task: Task[S, B], samples: S, config: TrainConfig, folder: Path, *, resume: bool, console: Console) -> None:
    """Train; afterwards the task holds the averaged weights (of the best checkpoint with validation).

    Args:
        task: What is trained.
        samples: What it learns from.
        config: Steps, optimiser, hardware.
        folder: Of the run.
        resume: Continue from ``checkpoints/last.ckpt`` where there is one.
        console: Shows progress.

    Raises:
        InputError: The weights became infinite or NaN.
        Stopped: Ctrl-C or SIGTERM; the step that ran was finished and ``checkpoints/last.ckpt`` written.
    """
    if config.node_budget and type(samples).size is Samples.size:
        raise InputError(
            "train.node_budget counts the nodes of meshes, which this kind of samples has not; set train.batch_size"
        )
    every = config.judged_every
    validation = len(samples.held_out) > 0
    one_mesh = config.strategy == "patches" and ranks.count() > 1
    learnt = (
        deepcopy(task) if config.strategy == "fsdp" else task
    )  # weights that are spread cannot be made whole in place
    module, average = TaskModule(learnt, samples, config), AveragedWeights(config.ema)
    if learnt is not task:
        module.judged_by, average.judged = task.judge, task
    path = folder / "checkpoints" / "last.ckpt"
    stop, guard = StopOnSignal(path, every if validation else 0), NotFinite(config.not_finite, folder)
    best = ModelCheckpoint(
        path.parent,
        filename="best",
        monitor="val/error" if validation else "train/loss",
        every_n_train_steps=None if validation else every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    last = ModelCheckpoint(  # after a validation and what it says of the best, so that a resumed run knows of it
        path.parent,
        filename="last",
        every_n_train_steps=None if validation else every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    _quiet_lightning()
    trainer = pl.Trainer(
        max_steps=config.steps,
        max_epochs=-1,
        accelerator=config.accelerator,
        precision=config.precision,
        gradient_clip_val=config.clip or None,
        callbacks=[
            *([ByPatches(task.model)] if one_mesh else []),
            average,
            RandomState(),
            StepProgress(console),
            LogLines(folder / "log.jsonl"),
            stop,
            guard,
            best,
            last,
            *([SameWeights(every)] if ranks.count() > 1 and learnt is task else []),
        ],
        **processes(config),
        logger=_loggers(folder),
        val_check_interval=every if validation else None,
        check_val_every_n_epoch=None if validation else 1,
        num_sanity_val_steps=0,
        log_every_n_steps=LOG_EVERY,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    stream = DrawStream(
        task,
        samples,
        batch_size=config.batch_size,
        steps=config.steps,
        seed=config.seed,
        first_step=lambda: int(trainer.global_step),
        rank=0 if one_mesh else trainer.global_rank,
        world_size=1 if one_mesh else trainer.world_size,
        node_budget=config.node_budget,
    )
    module.numbers_of = lambda step: [draw.number for draw in stream.whole(step)]
    numbers: Any = range(-(-len(samples.held_out) // ranks.count()))
    cases = DataLoader(numbers, batch_size=None) if validation else None
    begun = path if resume and path.is_file() else None
    if not one_mesh:
        _draw_apart(config.seed)
    with threads(config.threads), deterministic(config.deterministic), stop.listening():
        trainer.fit(module, DataLoader(stream, batch_size=None), cases, ckpt_path=begun, weights_only=True)
    if guard.skipped:
        console.print(f"note: {guard.skipped} of {config.steps} steps were skipped, their loss or gradients not finite")
    if learnt is not task:
        task.to(module.device)
        take_buffers(task, learnt)
    average.copy_to(task)
    if validation and best.best_model_path:
        state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        average.load_state_dict(state["callbacks"]["AveragedWeights"])
        average.copy_to(task)
    if not all(bool(p.isfinite().all()) for p in task.parameters()):
        raise InputError("the learnt weights are not finite: lower train.lr and start anew")


def processes(config: TrainConfig) -> dict[str, Any]:
    """How Lightning is to use the processes that ``torchrun`` started, as arguments of its trainer."""
    if ranks.count() == 1:
        return {"devices": 1, "plugins": [WholeCheckpoints()]}
    here = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.count()))
    strategy: Any = DDPStrategy(find_unused_parameters=True)
    if config.strategy == "fsdp":
        strategy = ModelParallelStrategy(ranks.count(), 1, save_distributed_checkpoint=False)
    return {
        "devices": here,
        "num_nodes": ranks.count() // here,
        "strategy": strategy,
        "plugins": [WholeCheckpoints(), TorchElasticEnvironment()],
    }


def _draw_apart(seed: int) -> None:
    """Noise and dropout of a rank are its own; those of the first are those of a run in one process."""
    if ranks.rank() and ranks.count() > 1:
        own = mix(seed, 3, ranks.rank())
        torch.manual_seed(own)
        np.random.seed(own % 2**32)
        random.seed(own)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """CPU threads of torch inside; 0: as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Inside, operations of PyTorch that give other results at every call are refused, where wanted."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _loggers(folder: Path) -> list[Any]:
    from lightning.pytorch.loggers import TensorBoardLogger

    from meshops.optional import available

    return [TensorBoardLogger(folder, name="logs", version="tensorboard")] if available("tensorboard") else []


def _quiet_lightning() -> None:
    """Lightning's hints about workers and hardware are not for our users."""
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*`IterableDataset` has `__len__`.*", ".*isinstance.treespec.*"):
        warnings.filterwarnings("ignore", text)
    warnings.filterwarnings("ignore", module="lightning")
