"""Trajectories: the next frame from the last ones, and whole futures by feeding it back; on grids and on meshes.

What is learnt and asked is the same; how frames are read, normalised and judged belongs to the space they live in:
:class:`~meshops.tasks.rollout_grid.GridRollout` and :class:`~meshops.tasks.rollout_mesh.MeshRollout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, Self, TypeVar, cast, get_args

import torch
from rich.progress import track
from torch import nn

from meshops.datasets.graph_trajectories import as_trajectories
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError, listing
from meshops.tasks.base import ALONE, CaseSource, Context, Plain, Samples, Spec, Task, training_count
from meshops.tasks.checks import at_least

RolloutLoss = Literal["mse", "nmse", "mae"]
LOSSES: tuple[str, ...] = get_args(RolloutLoss)

D = TypeVar("D", TrajectoryDataset, MeshTrajectoryDataset)
B = TypeVar("B")
T = TypeVar("T", bound="RolloutTask")  # type: ignore[type-arg]
_SPACES: dict[str, type[RolloutTask]] = {}  # type: ignore[type-arg]


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """What is learnt of trajectories.

    Attributes:
        history: Frames the model sees, at least 1; on meshes 1.
        loss: mse, nmse (over the mean square of the truth) or mae, of normalised values.
        residual: Predict the change from the newest frame; default: false on grids, true on meshes.
        stride: Frames of the data from one step of the model to the next.
        steps: Steps of the rollouts the run is judged on; default: 20 on grids, 50 on meshes.
        cases: Trajectories it is judged on at most; 0: all of the split.
        horizon: Steps of a training window, on meshes with gradients through all of them; default: 5 on meshes, on
            grids one more than pushforward.
        pushforward: Learn one step after up to so many without gradients, fewer than horizon; 0: off.
    """

    history: int = 1
    loss: RolloutLoss = "mse"
    residual: bool | None = None
    stride: int = 1
    steps: int | None = None
    cases: int = 0
    horizon: int | None = None
    pushforward: int = 0

    def __post_init__(self) -> None:
        """Check every number for sense."""
        at_least("task.history", self.history, 1)
        at_least("task.stride", self.stride, 1)
        at_least("task.cases", self.cases, 0)
        at_least("task.pushforward", self.pushforward, 0)
        for name, value in (("steps", self.steps), ("horizon", self.horizon)):
            if value is not None:
                at_least(f"task.{name}", value, 1)
        if self.loss not in LOSSES:
            raise InputError(f"task.loss must be one of {listing(LOSSES)}, got {self.loss!r}")

    def window(self, default: int) -> int:
        """Steps of a training window.

        Raises:
            InputError: ``pushforward`` leaves no step to learn.
        """
        horizon = default if self.horizon is None else self.horizon
        if self.pushforward >= horizon:
            raise InputError(
                f"task.pushforward must be less than task.horizon, the steps of a window, got {self.pushforward} and "
                f"{horizon}; the step after those without gradients is the one that is learnt"
            )
        return horizon


@dataclass(frozen=True, kw_only=True)
class RolloutSpec(Spec):
    """What is learnt, wherever the frames live.

    Attributes:
        space: ``"grid"`` or ``"mesh"``.
        time_step: Time of one step, s; 0 where it varies or is unknown.
        loss: See :class:`RolloutSettings`.
        residual: The model predicts the change from the newest frame.
        pushforward: See :class:`RolloutSettings`.
    """

    space: str
    time_step: float = 0.0
    loss: RolloutLoss = "mse"
    residual: bool = False
    pushforward: int = 0


@dataclass(eq=False)
class RolloutSamples(Samples, Generic[D]):
    """Windows of trajectories, numbered trajectory by trajectory and start by start.

    Attributes:
        data: Trajectories.
        spec: What can be learnt of them.
        offers: What they give to a model.
        names: Of the channels or fields, for the screen.
        windows: Trajectory and first frame of each sample.
        span: Frames of the data a window reaches over.
        stride: Of these, every so many are taken.
        cases: Number of trajectories that are learnt; those behind are held out.
    """

    data: D
    spec: RolloutSpec
    offers: frozenset[str]
    names: tuple[str, ...]
    windows: list[tuple[int, int]]
    span: int
    stride: int
    cases: int

    @property
    def held_out(self) -> Sequence[object]:  # type: ignore[override]
        """Trajectories for validation."""
        return range(self.cases, len(self.data))

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.windows)

    def describe(self) -> str:
        """For the screen."""
        return f"{self.cases} trajectories, {len(self)} windows, {', '.join(self.names)}"


class RolloutTask(Task[RolloutSamples[D], B], Generic[D, B]):
    """A model of one step in time, in the space the data live in.

    Subclasses are final, one per space: they say ``space`` and ``source``, the class of the data.
    """

    kind = "rollout"
    Settings = RolloutSettings
    usage = "surrogate.task.rollout(...)"
    spec: RolloutSpec
    space: ClassVar[str] = ""
    source: ClassVar[type] = object

    def __init_subclass__(cls, **options: object) -> None:
        """Note the space."""
        super().__init_subclass__(**options)
        _SPACES[cls.space] = cls

    @classmethod
    def samples(cls, data: CaseSource, settings: object, context: Context = ALONE) -> RolloutSamples[D]:
        """Windows of trajectories on grids or meshes; see the base class."""
        found = as_trajectories(data)
        return space_of(found).samples(found, settings, context)

    @classmethod
    def fit(cls, model: nn.Module, samples: RolloutSamples[D], settings: object) -> Self:
        """Task with the statistics of the training trajectories."""
        return cast(Self, _SPACES[samples.spec.space].fit(model, samples, settings))

    @classmethod
    def empty(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Task of the right sizes."""
        space = spec.get("space")
        if space not in _SPACES:
            raise InputError(f"the checkpoint is of trajectories on {space!r}; known are {listing(_SPACES)}")
        return cast(Self, _SPACES[str(space)].empty(model, spec))

    def trajectories(self, data: CaseSource) -> D:
        """The same data, if this task can be judged on them.

        Raises:
            InputError: They live in another space.
        """
        found = as_trajectories(data)
        if not isinstance(found, self.source):
            raise InputError(
                f"the surrogate was made for trajectories on a {self.space}, got {type(found).__name__}, on a "
                f"{space_of(found).space}"
            )
        return found  # type: ignore[return-value]

    def numbers(self, asked: Mapping[str, Plain]) -> dict[str, int]:
        """What is asked, as whole numbers.

        Raises:
            InputError: Something this kind cannot be asked, or no sensible number.
        """
        return {key: at_least(key, value, 0 if key == "cases" else 1) for key, value in self.asking(asked).items()}

    def ahead(self, steps: int) -> int:
        """Steps to take without gradients before the one that is learnt, of a window of ``steps``; drawn anew."""
        pushforward = self.spec.pushforward
        return int(torch.randint(min(pushforward, steps - 1) + 1, ())) if pushforward else 0


def space_of(data: TrajectoryDataset | MeshTrajectoryDataset) -> type[RolloutTask]:  # type: ignore[type-arg]
    """The class of task for trajectories."""
    return next(task for task in _SPACES.values() if task.space and isinstance(data, task.source))


def numbered_windows(lengths: Sequence[int], span: int, *, cases: int, knobs: str, what: str) -> list[tuple[int, int]]:
    """Trajectory and first frame of every window of ``span`` frames.

    Args:
        lengths: Frames of each trajectory.
        span: Frames a window reaches over.
        cases: The first so many trajectories are used.
        knobs: Settings that make a window shorter.
        what: What the window is made of.

    Raises:
        InputError: No trajectory is long enough.
    """
    out = [(i, start) for i, length in enumerate(lengths[:cases]) for start in range(length - span + 1)]
    if not out:
        raise InputError(
            f"no trajectory is long enough: a window takes {span} frames ({what}), the longest has "
            f"{max(lengths[:cases], default=0)}; lower {knobs}"
        )
    return out


def kept_for_training(data: TrajectoryDataset | MeshTrajectoryDataset, held_out: int) -> int:
    """Number of trajectories that are learnt.

    Raises:
        InputError: There is none, or none would be left.
    """
    if not len(data):
        raise InputError("there is no trajectory to learn from")
    return training_count(len(data), held_out)


def progress(count: int, context: Context) -> Iterable[int]:
    """Numbers of cases, with a bar on a terminal."""
    console = context.console
    return track(range(count), "testing", console=console, transient=True, disable=not console.is_terminal)
