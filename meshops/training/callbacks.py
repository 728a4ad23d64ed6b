"""Lightning callbacks: averaged weights, random-number state, progress with time left, the log, a clean stop."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from meshops import ranks
from meshops.errors import InputError, Stopped
from meshops.io import plain, write_text
from meshops.progress import Heartbeat

LOG_EVERY = 10  # steps between lines of the log


class AveragedWeights(Callback):  # type: ignore[misc]
    """Exponential moving average of the weights (Polyak averaging), used for validation and for the final model.

    The decay rises from 0.1 so that early averages are not dominated by the initial weights.

    Weights that are spread over processes are averaged where they are, and gathered to be judged or written.

    Args:
        decay: Of the average.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.judged: nn.Module | None = None  # gets the whole weights to be judged; None: the task that learns
        self.average: dict[str, Tensor] = {}
        self._live: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start from the weights as they are, unless a checkpoint brought an average."""
        live = dict(module.task.named_parameters())
        if not self.average:
            self.average = {name: p.detach().clone() for name, p in live.items()}
        self.average = {name: spread_as(live[name], value) for name, value in self.average.items()}

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Weights that are spread come from a checkpoint later than others."""
        self.on_fit_start(trainer, module)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Move the average towards the weights."""
        step = trainer.global_step
        decay = min(self.decay, step / (step + 9))
        live = dict(module.task.named_parameters())
        torch._foreach_lerp_(
            [local(value) for value in self.average.values()], [local(live[name]) for name in self.average], 1 - decay
        )

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Validate with the average."""
        if self.judged is None:
            self._live = {name: p.detach().clone() for name, p in module.task.named_parameters()}
        else:
            take_buffers(self.judged, module.task)
        self.copy_to(module.task if self.judged is None else self.judged)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Go on with the weights."""
        if self.judged is None:
            _copy(self._live, module.task)

    def copy_to(self, task: nn.Module) -> None:
        """Put the average into a task that is whole."""
        _copy({name: whole(value) for name, value in self.average.items()}, task)

    def state_dict(self) -> dict[str, Any]:
        """Part of the Lightning checkpoint."""
        return {"average": {name: whole(value) for name, value in self.average.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.average = state_dict["average"]


class RandomState(Callback):  # type: ignore[misc]
    """Random-number generators of all processes in the checkpoint: a resumed run draws what it would have drawn."""

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain numbers only: of the first process, and of the others in ``"others"``."""
        first, *others = ranks.gathered(self._own())
        return {**first, "others": others} if others else first

    def _own(self) -> dict[str, Any]:
        kind, keys, position, has_gauss, cached = np.random.get_state()
        version, internal, gauss = random.getstate()
        state = {
            "torch": torch.get_rng_state(),
            "numpy": [kind, [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
            "python": [version, list(internal), gauss],
        }
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state_all()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until training starts, since setting up draws numbers too."""
        all_ranks = [state_dict, *state_dict.get("others", ())]
        if len(all_ranks) != ranks.count():
            raise InputError(
                f"the run was begun by {len(all_ranks)} processes and is resumed by {ranks.count()}: its batches would "
                f"be others: start {len(all_ranks)} (torchrun --nproc-per-node; one: without it), or a new run"
            )
        self._restored = all_ranks[ranks.rank()]

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Restore the state of the checkpoint."""
        if self._restored is None:
            return
        state, self._restored = self._restored, None
        torch.set_rng_state(state["torch"].cpu())
        kind, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


class StepProgress(Callback):  # type: ignore[misc]
    """Progress over all steps with time left: a bar in a terminal, elsewhere a line every ten seconds.

    The first line comes after a few seconds, also when a step takes longer.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Progress | None = None
        self._start = 0.0
        self._first = self._step = 0
        self._line = ""
        self._beat: Heartbeat | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Open the bar."""
        self._start = time.monotonic()
        self._first = self._step = trainer.global_step
        if trainer.is_global_zero and self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                       TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
            self.bar = Progress(*columns, console=self.console)
            self.bar.add_task("training", total=trainer.max_steps, completed=self._first, note="")
            self.bar.start()
        elif trainer.is_global_zero:
            self._beat = Heartbeat(lambda: self._told(trainer), self.console)
            self._beat.__enter__()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """One step further."""
        if not trainer.is_global_zero:
            return
        self._step = trainer.global_step
        self._line = _note(trainer)
        if self.bar is not None:
            self.bar.update(self.bar.tasks[0].id, completed=self._step, note=self._line)
        elif self._step == trainer.max_steps:
            self.console.print(self._told(trainer))

    def _told(self, trainer: Trainer) -> str:
        """Where the run is; called from another thread, so that it only reads what a step has left."""
        done, steps, spent = self._step - self._first, trainer.max_steps, time.monotonic() - self._start
        left = f", {spent / done * (steps - self._step):.0f} s left" if done else ", in its first step"
        return f"  step {self._step}/{steps}  {self._line}  {spent:.0f} s{left}"

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        if self._beat is not None:
            self._beat.__exit__()
            self._beat = None

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Close the bar when training stops early."""
        self.on_train_end(trainer, module)


def _note(trainer: Trainer) -> str:
    metrics = trainer.callback_metrics
    note = f"loss {float(metrics['train/loss']):.3f}" if "train/loss" in metrics else ""
    return note + (f"  val {float(metrics['val/error']):.3f}" if "val/error" in metrics else "")


class LogLines(Callback):  # type: ignore[misc]
    """Losses, errors and the learning rate every ten steps, a line of JSON each; a resumed run appends to its log.

    Args:
        path: File; lines of steps that are run again are dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Keep what was logged up to the step a run starts from."""
        if trainer.is_global_zero and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _step(line) <= trainer.global_step]
            write_text(self.path, "".join(f"{line}\n" for line in kept))

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Losses of the step."""
        step = trainer.global_step
        if trainer.is_global_zero and (step % LOG_EVERY == 0 or step == trainer.max_steps):
            self._write(trainer, "train/", {"lr": trainer.optimizers[0].param_groups[0]["lr"]})

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Errors of the held-out cases."""
        if trainer.is_global_zero:
            self._write(trainer, "val/", {})

    def _write(self, trainer: Trainer, prefix: str, more: dict[str, float]) -> None:
        found = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith(prefix)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain({"step": trainer.global_step, **found, **more})) + "\n")


class StopOnSignal(Callback):  # type: ignore[misc]
    """Ctrl-C and SIGTERM let the step end, write a checkpoint to continue from, and raise :class:`Stopped`.

    A second Ctrl-C stops at once; the last checkpoint is then an older one. Several processes all stop after the same
    step, and take no notice of further signals, which torchrun sends by itself.

    Args:
        path: Of the checkpoint.
        judged_every: Steps from one validation to the next, after which the run writes the checkpoint itself; 0: none.
    """

    def __init__(self, path: Path, judged_every: int = 0) -> None:
        self.path, self.judged_every = path, judged_every
        self.received = self._after_validation = 0
        self._before: dict[int, Any] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Put back what handled the signals before."""
        if main := threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except SystemExit:
            raise KeyboardInterrupt from None  # Lightning leaves this way when it is interrupted
        finally:
            for number, handler in self._before.items() if main else ():
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Listen; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._take)

    def _take(self, number: int, frame: Any) -> None:
        if self.received and ranks.count() == 1:
            raise KeyboardInterrupt
        self.received = self.received or number

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Stop between two steps; where a validation follows, it is still made."""
        received = ranks.largest(self.received)
        if not received or trainer.global_step >= trainer.max_steps:
            return
        if self.judged_every and trainer.global_step % self.judged_every == 0:
            self._after_validation = received
            return
        trainer.save_checkpoint(self.path)
        raise Stopped(received, trainer.global_step, self.path.parents[1])

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Stop after a validation."""
        if self._after_validation:
            raise Stopped(self._after_validation, trainer.global_step, self.path.parents[1])


def _step(line: str) -> float:
    """Step of a line of the log; infinity for one that a kill or a full disk left half written."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")


def local(value: Tensor) -> Tensor:
    """What this process holds of weights that may be spread."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: Tensor) -> Tensor:
    """Weights that may be spread, gathered; all ranks must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def spread_as(like: Tensor, value: Tensor) -> Tensor:
    """Weights on the device of others, and spread as these are."""
    if isinstance(like, DTensor) and not isinstance(value, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value.to(like.device)


def take_buffers(task: nn.Module, learnt: nn.Module) -> None:
    """Copy what a model keeps beside its weights."""
    there = dict(learnt.named_buffers())
    for name, buffer in task.named_buffers():
        buffer.copy_(there[name])


def _copy(values: dict[str, Tensor], task: nn.Module) -> None:
    with torch.no_grad():
        for name, p in task.named_parameters():
            p.copy_(values[name])
