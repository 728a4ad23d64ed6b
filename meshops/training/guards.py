"""What is done about a step whose loss or gradients are not finite: stop with the batch saved and named, or skip it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from meshops import ranks
from meshops.errors import InputError, listing
from meshops.io import replacing
from meshops.training.callbacks import local

OnNotFinite = Literal["stop", "skip"]
CHECK_EVERY = 20  # steps between looks on a GPU where a run would stop; each look waits for the device
IN_A_ROW, SHARE = 10, 0.01  # more skipped steps than this, one after the other or of the run, end it
SMALLEST_SCALE = 2.0**-10  # of the loss in 16-mixed; it starts at 2^16 and is halved at each step that overflows
BATCH = "not_finite.pt"


class NotFinite(Callback):  # type: ignore[misc]
    """Looks at loss and gradients of every step.

    A step that is skipped changes no weight: its gradients are removed before the optimiser sees them, while schedule
    and stream of batches go on. All processes of a run decide alike; one whose loss is not finite saves its batch.

    Args:
        wanted: ``"stop"`` or ``"skip"``.
        folder: Where a batch that ended a run is saved, as :data:`BATCH`: ``step``, ``cases`` and ``tensors`` by name.
    """

    def __init__(self, wanted: OnNotFinite, folder: Path) -> None:
        self.wanted, self.folder = wanted, folder
        self.skipped, self._in_a_row, self._bad = 0, 0, ""
        self._batch: Any = None

    def state_dict(self) -> dict[str, Any]:
        """Part of the Lightning checkpoint."""
        return {"skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.skipped, self._in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the batch of this step."""
        self._batch, self._bad = batch, ""

    def on_before_backward(self, trainer: Trainer, module: LightningModule, loss: Tensor) -> None:
        """The loss."""
        if self._looked(trainer, loss):
            own = not bool(torch.isfinite(loss))
            if ranks.any_of(own):
                self._bad = f"the loss is {float(loss.detach())}" if own else "another process has a loss not finite"
                self._decide(trainer, module, own)

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        """The gradients; in 16-mixed the scaler of the loss looks at them and skips by itself."""
        grads = [p.grad for p in module.parameters() if p.grad is not None]
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        if scaled and trainer.global_step % CHECK_EVERY == 0:
            self._check_scale(trainer, module)
        if not self._bad and grads and not scaled and self._looked(trainer, grads[0]):
            finite = bool(torch.stack(torch._foreach_norm([local(grad) for grad in grads])).isfinite().all())
            if not ranks.any_of(not finite):
                self._in_a_row = 0
            else:
                self._bad = "gradients are not finite"
                self._decide(trainer, module, ranks.is_first())
        if self._bad and not scaled:
            for p in module.parameters():
                p.grad = None

    def _check_scale(self, trainer: Trainer, module: Any) -> None:
        """End a run whose gradients overflow in half precision however small the loss is scaled: nothing is learnt."""
        scale = float(trainer.precision_plugin.scaler.get_scale())  # type: ignore[attr-defined]
        if scale < SMALLEST_SCALE:
            step = int(trainer.global_step)
            names = case_names(module.samples, module.numbers_of(step))
            self._save(step, names)
            raise InputError(
                f"gradients overflow in half precision at step {step} ({names}), however small the loss is scaled "
                f"(now {scale:.1e}): train with --train.precision bf16-mixed or 32-true; the batch is in "
                f"{self.folder / BATCH}"
            )

    def _looked(self, trainer: Trainer, value: Tensor) -> bool:
        return self.wanted == "skip" or value.device.type == "cpu" or trainer.global_step % CHECK_EVERY == 0

    def _decide(self, trainer: Trainer, module: Any, save: bool) -> None:
        step = int(trainer.global_step)
        names = case_names(module.samples, module.numbers_of(step))
        told = f"{self._bad} at step {step} ({names})"
        if self.wanted == "stop":
            if save:
                self._save(step, names)
            raise InputError(
                f"{told}: lower train.lr, look for bad values with 'meshops data check', or skip such steps with "
                f"--train.not_finite skip; the batch is in {self.folder / BATCH}"
            )
        self.skipped += 1
        self._in_a_row += 1
        most = max(IN_A_ROW, int(SHARE * trainer.max_steps))
        if self._in_a_row > IN_A_ROW or self.skipped > most:
            if save:
                self._save(step, names)
            raise InputError(
                f"{told}: this is the {self.skipped}th step that would be skipped, {self._in_a_row} in a row; at most "
                f"{most} and {IN_A_ROW} are; lower train.lr or look for bad values with 'meshops data check'; the "
                f"batch is in {self.folder / BATCH}"
            )

    def _save(self, step: int, names: str) -> None:
        with replacing(self.folder / BATCH) as partial:
            torch.save({"step": step, "cases": names, "tensors": dict(tensors_of(self._batch))}, partial)


def case_names(samples: Any, numbers: Iterable[int]) -> str:
    """Which samples, by the names of their cases where there are some."""
    known = getattr(samples, "names", ())
    return "cases " + listing([known[i] if i < len(known) else f"sample {i}" for i in dict.fromkeys(numbers)], 8)


def tensors_of(batch: Any, name: str = "batch") -> Iterable[tuple[str, Tensor]]:
    """All tensors of a batch with their names."""
    if isinstance(batch, Tensor):
        yield name, batch.detach().cpu()
        return
    known = batch.to_dict() if hasattr(batch, "to_dict") else getattr(batch, "__dict__", batch)
    if hasattr(batch, "_asdict"):
        known = batch._asdict()
    items = known.items() if isinstance(known, Mapping) else enumerate(known) if isinstance(known, list | tuple) else ()
    for key, value in items:
        yield from tensors_of(value, f"{name}.{key}")
