"""Lightning, set up for any task: averaged weights, checkpoints, exact resume."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from meshops.training.callbacks import AveragedWeights, RandomState, StepProgress
from meshops.training.config import TrainConfig
from meshops.training.module import Judge, TaskModule


def fit(
    task: nn.Module,
    config: TrainConfig,
    folder: Path,
    *,
    stream: Callable[[Any], IterableDataset[Any]],
    validation: Sequence[Any],
    judge: Judge,
    resume: bool,
    console: Console,
) -> None:
    """Train; afterwards the task holds the averaged weights (of the best checkpoint with validation).

    Args:
        task: Has ``loss(batch)``.
        config: Steps, optimiser, hardware.
        folder: Of the run.
        stream: Called with the trainer; batches from step ``trainer.global_step`` on.
        validation: Cases the weights are chosen on.
        judge: See :class:`~meshops.training.module.TaskModule`.
        resume: Continue from ``checkpoints/last.ckpt``.
        console: Shows progress.
    """
    every = min(config.val_every or max(1, config.steps // 10), config.steps)
    module = TaskModule(task, config, validation, judge)
    average = AveragedWeights(config.ema)
    best = ModelCheckpoint(
        folder / "checkpoints",
        filename="best",
        monitor="val/error" if validation else "train/loss",
        every_n_train_steps=None if validation else every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    last = ModelCheckpoint(
        folder / "checkpoints", filename="last", every_n_train_steps=every, save_top_k=1, enable_version_counter=False
    )
    _quiet_lightning()
    trainer = pl.Trainer(
        max_steps=config.steps,
        max_epochs=-1,
        accelerator=config.accelerator,
        devices=config.devices,
        precision=config.precision,
        gradient_clip_val=config.clip or None,
        callbacks=[average, RandomState(), StepProgress(config.steps, console), best, last],
        logger=_loggers(folder),
        val_check_interval=every if validation else None,
        check_val_every_n_epoch=None if validation else 1,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(stream(trainer), batch_size=None)
    numbers: Any = range(len(validation))
    cases: Any = DataLoader(numbers, batch_size=None) if validation else None
    path = folder / "checkpoints" / "last.ckpt" if resume else None
    with threads(config.threads):
        trainer.fit(module, loader, cases, ckpt_path=path, weights_only=True)
    average.copy_to(module)
    if validation and best.best_model_path:
        state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        average.load_state_dict(state["callbacks"]["AveragedWeights"])
        average.copy_to(module)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """CPU threads of torch inside; 0: as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _loggers(folder: Path) -> list[Any]:
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    from meshops.optional import available

    loggers: list[Any] = [CSVLogger(folder, name="logs", version="csv")]
    if available("tensorboard"):
        loggers.append(TensorBoardLogger(folder, name="logs", version="tensorboard"))
    return loggers


def _quiet_lightning() -> None:
    """Lightning's hints about workers and hardware are not for our users."""
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*`IterableDataset` has `__len__`.*", ".*isinstance.treespec.*"):
        warnings.filterwarnings("ignore", text)
    warnings.filterwarnings("ignore", module="lightning")
