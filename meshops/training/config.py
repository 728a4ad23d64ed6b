"""Settings of a run: what a YAML file may say, with defaults. Every field is also ``--group.field value``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from meshops.checks import check_amounts, check_counts
from meshops.errors import InputError, listing
from meshops.tasks import get_task
from meshops.tasks.base import Plain


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which cases.

    Attributes:
        name: Dataset, see meshops.datasets.names(); empty: recognised from the files in root.
        root: Folder of the dataset; not needed for ahmed_mini.
        train: Name of the training split.
        test: Name of the split the run is judged on at the end; empty: none.
        options: Further arguments of the dataset, such as split_method or protocol.
        store: auto: cases that would fill the memory are read once into a store beside the runs and streamed from it;
            off: never; or the folder of the store.
    """

    name: str = "ahmed_mini"
    root: str | None = None
    train: str = "train"
    test: str = "test"
    options: dict[str, object] = field(default_factory=dict)
    store: str = "auto"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How it is learnt.

    Attributes:
        steps: Optimiser steps.
        batch_size: Samples (of different cases) per step, of each process where there are several.
        node_budget: Fewer samples in a step where a process would have more nodes than this; 0: off.
        optimizer: adamw or lion.
        lr: Peak learning rate.
        weight_decay: Decoupled weight decay.
        betas: Of the optimiser.
        schedule: cosine (to zero), noam (falls as 1 / sqrt(step)) or step_decay (5 % less every 5,000 steps).
        warmup: Fraction of the steps with rising learning rate; noam may have more than 1.
        ema: Decay of the averaged weights that are evaluated and saved; 0: off.
        clip: Largest gradient norm; 0: off.
        precision: 32-true, bf16-mixed or 16-mixed.
        seed: Of everything random.
        deterministic: Refuse operations that differ from run to run (some of a GPU); on a CPU runs are equal anyway.
        not_finite: What is done when a loss or gradients are infinite or NaN: stop (the batch is saved and its cases
            are named) or skip the step, up to ten in a row and one in a hundred.
        validation: Number of training cases held out to choose the best checkpoint; 0: the last one is kept.
        val_every: Steps between validations and checkpoints; default a tenth of the run.
        accelerator: cpu, gpu or auto.
        devices: Number of processes, one per GPU, that torchrun starts on a machine.
        strategy: How several processes train: ddp (each holds all weights and has samples of its own), fsdp (weights,
            gradients and the state of the optimiser are spread over them), patches (each step is one mesh, whose
            patches are spread over them; mspt with variant paper, batch_size 1); auto: ddp.
        threads: CPU threads of torch; 0: its default.
    """

    steps: int = 1000
    batch_size: int = 2
    node_budget: int = 0
    optimizer: Literal["adamw", "lion"] = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    schedule: Literal["cosine", "noam", "step_decay"] = "cosine"
    warmup: float = 0.05
    ema: float = 0.99
    clip: float = 1.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    seed: int = 0
    deterministic: bool = False
    not_finite: Literal["stop", "skip"] = "stop"
    validation: int = 0
    val_every: int | None = None
    accelerator: str = "auto"
    devices: int = 1
    strategy: Literal["auto", "ddp", "fsdp", "patches"] = "auto"
    threads: int = 0

    @property
    def judged_every(self) -> int:
        """Steps from one validation or checkpoint to the next."""
        return min(self.val_every or max(1, self.steps // 10), self.steps)

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        check_counts(
            1, "train.", steps=self.steps, batch_size=self.batch_size, devices=self.devices, val_every=self.val_every
        )
        check_counts(
            0,
            "train.",
            validation=self.validation,
            threads=self.threads,
            seed=self.seed,
            node_budget=self.node_budget,
        )
        check_amounts("train.", weight_decay=self.weight_decay, clip=self.clip)
        if not 0 < self.lr < float("inf"):
            raise InputError(f"train.lr must be positive, got {self.lr}")
        if not 0 <= self.ema < 1:
            raise InputError(f"train.ema is a decay in [0, 1), got {self.ema}")
        longest = float("inf") if self.schedule == "noam" else 1  # noam may rise over more steps than the run has
        if not 0 <= self.warmup <= longest or self.warmup == float("inf"):
            raise InputError(f"train.warmup is a share of the steps in [0, {longest}], got {self.warmup}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"train.betas must be in [0, 1), got {list(self.betas)}")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"train.{name} must be one of {listing(allowed)}, got '{getattr(self, name)}'")
        if self.strategy == "patches" and (self.batch_size != 1 or self.node_budget):
            raise InputError(
                f"train.strategy 'patches' spreads one mesh a step over the processes: set train.batch_size to 1 and "
                f"leave out train.node_budget, got {self.batch_size} and {self.node_budget}"
            )


CHOICES = {
    "optimizer": ("adamw", "lion"),
    "schedule": ("cosine", "noam", "step_decay"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "not_finite": ("stop", "skip"),
    "accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "strategy": ("auto", "ddp", "fsdp", "patches"),
}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run.

    Attributes:
        kind: What is learnt: fields (of finished cases), rollout (trajectories, step by step), autoencode (trajectories
            to small latents and back), generate (whole futures as ensembles).
        out: Folder of the run; made if missing. Default: runs/<kind>.
        model: Name of a registered model and its arguments: {name: mspt, depth: 4, ...}.
        data: Which cases.
        task: What is learnt of them; settings of the kind.
        train: How.
    """

    kind: str = "fields"
    out: str = ""
    model: dict[str, object] = field(default_factory=lambda: {"name": "mspt"})
    data: DataConfig = field(default_factory=DataConfig)
    task: object = None
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        """Fill in what depends on the kind; see that the settings of the task are its own."""
        settings = get_task(self.kind).Settings
        if self.task is None:
            object.__setattr__(self, "task", settings())
        if not isinstance(self.task, settings):
            raise InputError(
                f"kind '{self.kind}' takes the settings {settings.__name__}, got {type(self.task).__name__}"
            )
        if not self.out:
            object.__setattr__(self, "out", f"runs/{self.kind}")

    def to_dict(self) -> dict[str, Plain]:
        """Plain values, as in a run file."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class StagesConfig:
    """Runs that follow each other.

    Attributes:
        kind: stages: each run starts from the checkpoint of the one before.
        stages: Run files, beside this one.
        out: Folder of the runs, one folder each: 1_<name of the file>, ...
    """

    kind: Literal["stages"] = "stages"
    stages: tuple[str, ...] = ()
    out: str = "runs/stages"


def setting(config: RunConfig, name: str, default: Plain = None) -> Plain:
    """A setting of the task that only some kinds have."""
    value: Plain = getattr(config.task, name, default)
    return value


def flat(values: Mapping[str, Plain], prefix: str = "") -> dict[str, Plain]:
    """Nested settings by dotted name; lists for tuples."""
    out: dict[str, Plain] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return out
