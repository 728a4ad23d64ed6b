"""Lightning module around a task: one optimiser step, validation on whole cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from meshops import ranks
from meshops.nn.optim import make_optimizer, parameter_groups, schedule
from meshops.tasks.base import B, S, Task
from meshops.training.callbacks import LOG_EVERY
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
        self.judged_by: Callable[[Any, Any], dict[str, float]] = task.judge  # of another task where weights are spread
        self._found: dict[int, dict[str, float]] = {}
        self.numbers_of: Callable[[int], Sequence[int]] = lambda step: ()  # samples of a step, set with the stream

    def configure_model(self) -> None:
        """Spread the weights over the processes where that is wanted (FSDP2), as one group."""
        if self.config.strategy == "fsdp" and ranks.count() > 1 and not isinstance(self.task, FSDPModule):
            fully_shard(self.task, mesh=self.device_mesh["data_parallel"])
            register_fsdp_forward_method(self.task, "loss")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        with ranks.averaging():
            parts = self.task.loss(batch)
        loss = parts["loss"]
        if self._is_told(self.trainer.global_step + 1):
            self._tell(parts)
        return loss

    def _is_told(self, step: int) -> bool:
        """Whether somebody reads the losses of a step: telling Lightning of them costs as much as a small layer."""
        config = self.config
        return step == 1 or step == config.steps or step % LOG_EVERY == 0 or step % config.judged_every == 0

    def _tell(self, parts: dict[str, Tensor]) -> None:
        self.log_dict({f"train/{key}": value for key, value in ranks.means_of(parts).items()}, batch_size=1)

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Errors of one whole case; every rank has its own, and may have one less than others."""
        number = int(batch) * ranks.count() + ranks.rank()
        if number < len(self.samples.held_out):
            self._found[number] = self.judged_by(self.samples, self.samples.held_out[number])

    def on_validation_epoch_end(self) -> None:
        """Means over the cases of all ranks where they are defined."""
        found = {number: errors for there in ranks.gathered(self._found) for number, errors in there.items()}
        self._found = {}
        for key in dict.fromkeys(key for errors in found.values() for key in errors):
            known = [value for _, errors in sorted(found.items()) if math.isfinite(value := errors.get(key, math.nan))]
            self.log(f"val/{key}", sum(known) / len(known) if known else math.nan)

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimiser and learning rate by step; normalisation layers, biases and vectors are not decayed."""
        c = self.config
        groups: Any = parameter_groups(self.task, c.lr)
        optimizer = make_optimizer(c.optimizer, groups, lr=c.lr, weight_decay=c.weight_decay, betas=c.betas)
        factor = schedule(c.schedule, steps=c.steps, warmup=c.warmup)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
