"""Lightning module around a task: one optimiser step, validation on whole cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from meshops.nn.optim import make_optimizer, parameter_groups, schedule
from meshops.tasks.base import B, S, Task
from meshops.training.config import TrainConfig


class TaskModule(LightningModule):  # type: ignore[misc]
    """Trains a task.

    Args:
        task: Model, normalisation, loss, judge.
        samples: What it learns from; its held-out cases choose the weights.
        config: Optimiser and schedule.
    """

    def __init__(self, task: Task[S, B], samples: S, config: TrainConfig) -> None:
        super().__init__()
        self.task = task
        self.samples = samples
        self.config = config
        self.numbers_of: Callable[[int], Sequence[int]] = lambda step: ()  # samples of a step, set with the stream

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        parts = self.task.loss(batch)
        loss = parts["loss"]
        self.log_dict({f"train/{key}": value.detach() for key, value in parts.items()}, batch_size=1)
        return loss

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Errors of one whole case, averaged by Lightning over the cases where they are defined."""
        errors = self.task.judge(self.samples, self.samples.held_out[int(batch)])
        for key, value in errors.items():
            known = math.isfinite(value)
            self.log(f"val/{key}", value if known else 0.0, batch_size=int(known), sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimiser and learning rate by step; normalisation layers, biases and vectors are not decayed."""
        c = self.config
        groups: Any = parameter_groups(self.task, c.lr)
        optimizer = make_optimizer(c.optimizer, groups, lr=c.lr, weight_decay=c.weight_decay, betas=c.betas)
        factor = schedule(c.schedule, steps=c.steps, warmup=c.warmup)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
