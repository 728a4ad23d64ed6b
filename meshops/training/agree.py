"""What all processes of a run must have in common before the first step, and their weights now and then.

Nothing is sent but checksums. Data that are in memory count to the last bit; of data that are read as they are needed,
the statistics that were made of all of them and a few samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch_geometric.data import Data

from meshops import ranks
from meshops.data.tensor_cache import fingerprint
from meshops.tasks.base import Draw, Samples, Task
from meshops.training.config import RunConfig, flat
from meshops.training.guards import tensors_of

OF_EACH = {"out", "data.root", "train.accelerator", "train.devices", "train.threads"}  # what machines may differ in
TRIED = 8  # samples that are compared where data are not in memory


def agree(task: Task[Any, Any], samples: Samples, config: RunConfig) -> None:
    """See that all ranks have the same settings, data and first weights.

    Raises:
        InputError: They have not; says what differs on which rank.
    """
    if ranks.count() == 1:
        return
    settings = {key: value for key, value in flat(config.to_dict()).items() if key not in OF_EACH}
    tried = sorted({i * (len(samples) - 1) // TRIED for i in range(TRIED + 1)})
    told = (len(samples), [samples.size(i) for i in tried], getattr(samples, "names", ()))
    batches = (pair for i in tried for pair in tensors_of(task.batch(samples, [Draw(i, i)]), f"sample {i}"))
    ranks.check_same(
        {
            "settings": fingerprint(settings, ()),
            "data": fingerprint(told, [*_held(vars(samples)), *batches]),
            "weights": fingerprint("", sorted(task.state_dict().items())),
        }
    )


class SameWeights(Callback):  # type: ignore[misc]
    """Ends a run whose processes have come to have different weights.

    Args:
        every: Steps between looks.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Compare checksums; raises ``InputError``."""
        if trainer.global_step % self.every == 0:
            ranks.check_same({"weights": fingerprint("", module.task.named_parameters())})


def _held(value: Any, name: str = "samples") -> Iterator[tuple[str, Tensor]]:
    """Tensors and arrays in containers and graphs; files and what reads them are left alone."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield name, torch.from_numpy(np.ascontiguousarray(value))
    elif isinstance(value, Data):
        yield from _held(value.to_dict(), name)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _held(part, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _held(part, f"{name}.{i}")
