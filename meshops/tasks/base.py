"""The spine: what is learnt and how it is judged, the same for every kind of task.

    data ─Task.samples─▶ Samples ─Task.fit─▶ Task ─loss(batch(draws))─▶ trained Task ─evaluate─▶ Report

A task holds a model together with the normalisation of what goes in and out; values are normalised once, there, and put
back once, there. A kind is one subclass with ``@register_task``: training, checkpoints, evaluation
and the command line know it. Which samples a step sees is a function of (seed, step, rank) alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, Self, TypeAlias, TypeVar

import torch
from rich.console import Console
from torch import Tensor, nn
from torch_geometric.data import Data

from meshops.datasets.base import CaseDataset
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError, did_you_mean, listing
from meshops.progress import followed
from meshops.tasks.report import Report

Plain: TypeAlias = "bool | int | float | str | Sequence[Plain] | Mapping[str, Plain] | None"
Stored: TypeAlias = "Plain | Tensor | Mapping[str, Stored]"
CaseSource: TypeAlias = Sequence[Data] | CaseDataset | TrajectoryDataset | MeshTrajectoryDataset

K = TypeVar("K", bound="Task")  # type: ignore[type-arg]
_KINDS: dict[str, type[Task]] = {}  # type: ignore[type-arg]


class Draw(NamedTuple):
    """One training example: the number of a sample, and the seed of all that is random about it."""

    number: int
    seed: int


@dataclass(frozen=True)
class Spec:
    """What a task learns, as plain values that go into the checkpoint."""

    def to_dict(self) -> dict[str, Plain]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Plain]) -> Self:
        """Inverse of :meth:`to_dict`; lists become tuples."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: _tuples(value) for key, value in values.items() if key in known})

    def model_arguments(self) -> dict[str, Plain]:
        """What models may want to know, by the names of their arguments."""
        return {}


@dataclass(frozen=True)
class Made:
    """How to build a model again.

    Attributes:
        name: Registered name.
        arguments: Of its constructor.
        integers: Its layers hold integers, see :mod:`meshops.models.compress`.
    """

    name: str
    arguments: Mapping[str, Plain] = field(default_factory=dict)
    integers: bool = False


@dataclass(frozen=True)
class Context:
    """What samples are made with, and where cases are judged.

    Attributes:
        held_out: The last so many cases are kept for validation.
        start: Trained task that is built on or continued (``task.start``).
        console: Where progress goes.
        folder: Of the run: caches and pictures; None: none are written.
        device: Where models work.
        reuse: A cache in the folder may be read.
    """

    held_out: int = 0
    start: Task | None = None  # type: ignore[type-arg]
    console: Console = field(default_factory=lambda: Console(quiet=True))
    folder: Path | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    reuse: bool = False

    def track(self, count: int, what: str = "testing") -> Iterable[int]:
        """Numbers of cases, with progress: a bar on a terminal, elsewhere a line every ten seconds."""
        return followed(range(count), what, self.console)


ALONE = Context()
"""No folder, no progress, on the CPU."""


class Samples(ABC):
    """Numbered training samples of a kind, and the cases that are held out to choose the weights.

    Attributes:
        spec: What can be learnt of them.
        offers: What they can give to a model: ``"points"``, ``"graph"``, ``"grid"``, ...
        held_out: Cases for validation.
        cases: Number of training cases.
        begun: Trained task that is continued, None: a new model is built.
        remarks: What was decided about them, a sentence each.
    """

    spec: Spec
    offers: frozenset[str]
    held_out: Sequence[object] = ()
    cases: int
    begun: Task | None = None  # type: ignore[type-arg]
    remarks: Sequence[str] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def describe(self) -> str:
        """What they are, for the screen: ``24 cases, fields pMean, wallShearStressMean``."""

    def size(self, number: int) -> int:
        """Nodes of a sample, by which batches are shared out among processes; 1 where all are alike."""
        del number
        return 1

    def notes(self) -> Sequence[str]:
        """The remarks, for the screen."""
        return tuple(self.remarks)


S = TypeVar("S", bound=Samples)
B = TypeVar("B")


class Task(nn.Module, ABC, Generic[S, B]):
    """A model, its normalisation, its loss and its judge.

    Attributes:
        kind: Name in run files and checkpoints.
        Settings: Class of the ``task:`` block of a run file.
        model: The network.
        spec: What is learnt.
        made: How to build the network again.
        asked: What the run was asked to be judged on, so that an evaluation repeats its numbers.
    """

    kind: ClassVar[str] = ""
    trained: ClassVar[bool] = True
    Settings: ClassVar[type]

    def __init__(self, model: nn.Module, spec: Spec) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.made = Made("")
        self.asked: dict[str, Plain] = {}
        self._parts: dict[str, Task] = {}  # type: ignore[type-arg]

    @classmethod
    @abstractmethod
    def samples(cls, data: CaseSource, settings: object, context: Context = ALONE) -> S:
        """Training samples of cases, some of them for validation.

        Args:
            data: Cases.
            settings: The ``task:`` block.
            context: What is held out, what it starts from, where progress and caches go.

        Raises:
            InputError: The cases cannot be used for this task; says why.
        """

    @classmethod
    def fit(cls, model: nn.Module, samples: S, settings: object) -> Self:
        """Task with the statistics of the training samples (float64); by default there are none."""
        del settings
        return cls(model, samples.spec)

    @classmethod
    @abstractmethod
    def empty(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Task of the right sizes, for loading weights into."""

    @abstractmethod
    def batch(self, samples: S, draws: Sequence[Draw]) -> B:
        """What one training step sees: a function of the draws alone."""

    @abstractmethod
    def loss(self, batch: B) -> dict[str, Tensor]:
        """``"loss"`` and its parts."""

    @abstractmethod
    def judge(self, samples: S, case: object) -> dict[str, float]:
        """Errors of one held-out case, among them ``"error"``, by which weights are chosen."""

    @abstractmethod
    def evaluate(self, data: CaseSource, *, context: Context = ALONE, **asked: Plain) -> Report:
        """Errors on every case; ``asked`` overrides what the run was asked, see :attr:`asked`."""

    def predict(self, case: object) -> object:
        """Fields of one case, physical units, on its own nodes.

        Raises:
            InputError: This kind predicts something else.
        """
        raise InputError(
            f"a surrogate of kind '{self.kind}' works on trajectories: judge it with 'meshops evaluate', or use "
            f"{self.usage} in Python"
        )

    usage: ClassVar[str] = "surrogate.task"

    def finished(self, samples: S, context: Context) -> Sequence[str]:
        """Called once after training; returns sentences for the screen."""
        del samples, context
        return ()

    remembered: ClassVar[tuple[str, ...]] = ()

    def memory(self) -> dict[str, Stored]:
        """What a checkpoint keeps beside weights, spec and settings: the attributes named in ``remembered``."""
        return {name: getattr(self, name) for name in self.remembered}

    def remember(self, memory: Mapping[str, Stored]) -> None:
        """Inverse of :meth:`memory`."""
        for name in self.remembered:
            setattr(self, name, memory[name])

    def parts(self) -> dict[str, Task]:  # type: ignore[type-arg]
        """Trained tasks this one works with, by name; a checkpoint holds them too."""
        return dict(self._parts)

    def attach(self, parts: Mapping[str, Task]) -> None:  # type: ignore[type-arg]
        """Inverse of :meth:`parts`: they move with the task, but are neither trained nor among its weights."""
        self._parts = dict(parts)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the parts along."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for part in self._parts.values():
            part._apply(fn, recurse)
        return self

    @property
    def device(self) -> torch.device:
        """Where the model is; one on integers may have buffers only."""
        return next(chain(self.parameters(), self.buffers())).device

    def asking(self, asked: Mapping[str, Plain]) -> dict[str, Plain]:
        """What is asked, over what the run was asked; None counts as not asked.

        Raises:
            InputError: Something this kind cannot be asked.
        """
        unknown = [key for key, value in asked.items() if key not in self.asked and value is not None]
        if unknown:
            raise InputError(
                f"a surrogate of kind '{self.kind}' cannot be asked for {listing(unknown)}; it takes "
                f"{listing(self.asked)}"
            )
        return {**self.asked, **{key: value for key, value in asked.items() if value is not None}}


def register_task(name: str, *, trained: bool = True) -> Callable[[type[K]], type[K]]:
    """Decorator: make a class of tasks known by its kind to training, checkpoints, evaluation and the command line.

    Args:
        name: The kind.
        trained: ``meshops train`` makes such ones, by steps.
    """

    def register(task: type[K]) -> type[K]:
        task.kind, task.trained = name, trained
        _KINDS[name] = task
        return task

    return register


def get_task(kind: str) -> type[Task]:  # type: ignore[type-arg]
    """Class of a kind.

    Raises:
        InputError: Unknown kind; lists those there are.
    """
    if kind not in _KINDS:
        hint = did_you_mean(kind, _KINDS)
        raise InputError(f"{hint}kind must be one of {listing(list_tasks())}, got '{kind}'")
    return _KINDS[kind]


def list_tasks() -> list[str]:
    """Registered kinds that are trained by steps, sorted."""
    return sorted(kind for kind, task in _KINDS.items() if task.trained)


def training_count(count: int, held_out: int) -> int:
    """How many of ``count`` cases are left when the last ``held_out`` are for validation.

    Raises:
        InputError: There are none, or none would be left.
    """
    if not count:
        raise InputError("there is no case to learn from")
    if not 0 <= held_out < count:
        raise InputError(f"train.validation must be in 0..{count - 1}, got {held_out}")
    return count - held_out


def _tuples(value: Plain) -> Plain:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
