"""Lightning module around a task: one optimiser step, validation on whole cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from meshops.errors import InputError
from meshops.training.config import TrainConfig
from meshops.training.optim import make_optimizer, parameter_groups, schedule

CHECK_EVERY = 20  # steps between looks at the loss; each look waits for the device
Judge = Callable[[Any, Any], dict[str, float]]


class TaskModule(LightningModule):  # type: ignore[misc]
    """Trains a task: any module with ``loss(batch) -> {"loss": ..., parts ...}``.

    Args:
        task: Model, normalisation, loss.
        config: Optimiser and schedule.
        validation: Cases the weights are chosen on; may be empty.
        judge: Errors of one of them by name, among them ``"error"``, by which checkpoints are compared.
    """

    def __init__(self, task: Any, config: TrainConfig, validation: Sequence[Any], judge: Judge) -> None:
        super().__init__()
        self.task = task
        self.config = config
        self.validation = validation
        self.judge = judge

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        parts = self.task.loss(batch)
        if self.global_step % CHECK_EVERY == 0 and not bool(torch.isfinite(parts["loss"])):
            raise InputError(
                f"the loss is {float(parts['loss'])} at step {self.global_step}: lower train.lr, or look for bad values"
                " with 'meshops data check'"
            )
        self.log_dict({f"train/{key}": value.detach() for key, value in parts.items()}, batch_size=1)
        loss: Tensor = parts["loss"]
        return loss

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Errors of one whole case, averaged over cases by Lightning."""
        errors = self.judge(self.task, self.validation[int(batch)])
        self.log_dict({f"val/{key}": value for key, value in errors.items()}, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Optimiser and learning rate by step; normalisation layers, biases and vectors are not decayed."""
        c = self.config
        groups: Any = parameter_groups(self.task, c.lr)
        optimizer = make_optimizer(c.optimizer, groups, lr=c.lr, weight_decay=c.weight_decay, betas=c.betas)
        factor = schedule(c.schedule, steps=c.steps, warmup=c.warmup)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
