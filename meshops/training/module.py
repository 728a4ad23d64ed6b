"""Lightning module around a task: one optimiser step, validation on whole meshes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.tasks.inference import predict_nodes
from meshops.tasks.metrics import relative_l2
from meshops.tasks.steady import SteadyTask
from meshops.training.config import TrainConfig
from meshops.training.optim import make_optimizer, warmup_cosine

CHECK_EVERY = 20  # steps between looks at the loss; each look waits for the device


class SteadyModule(LightningModule):  # type: ignore[misc]
    """Trains a :class:`SteadyTask`.

    Args:
        task: Model, normalisation, loss.
        config: Optimiser and schedule.
        validation: Prepared cases the weights are chosen on; may be empty.
    """

    def __init__(self, task: SteadyTask, config: TrainConfig, validation: Sequence[MeshGraph] = ()) -> None:
        super().__init__()
        self.task = task
        self.config = config
        self.validation = validation

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch of subsets."""
        parts = self.task.loss(batch)
        if self.global_step % CHECK_EVERY == 0 and not bool(torch.isfinite(parts["loss"])):
            raise InputError(
                f"the loss is {float(parts['loss'])} at step {self.global_step}: lower train.lr, or look for bad values"
                " with 'meshops data check'"
            )
        self.log_dict({f"train/{key}": value.detach() for key, value in parts.items()}, batch_size=1)
        return parts["loss"]

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Relative L2 of each field of one whole case, averaged over cases by Lightning."""
        case = self.validation[int(batch)]
        values = self.task.output_norm.inverse(predict_nodes(self.task, case, passes=1).to(self.device)).cpu()
        errors = {
            name: relative_l2(values[:, channels], case.y[:, channels])
            for name, channels in self.task.spec.slices().items()
        }
        errors["rel_l2"] = sum(errors.values()) / len(errors)
        self.log_dict({f"val/{key}": value for key, value in errors.items()}, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Optimiser with warm-up and cosine decay; normalisation layers, biases and vectors are not decayed."""
        c = self.config
        decayed = [p for p in self.task.parameters() if p.dim() > 1]
        others = [p for p in self.task.parameters() if p.dim() <= 1]
        groups: Any = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        optimizer = make_optimizer(c.optimizer, groups, lr=c.lr, weight_decay=c.weight_decay, betas=c.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(c.steps, warmup=c.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
