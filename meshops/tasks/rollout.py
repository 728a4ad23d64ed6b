"""Trajectories: the next frame from the last ones, and whole futures by feeding it back; on grids and on meshes.

What is learnt and asked is the same, and so are the steps from data to a report; how frames are read, normalised and
compared belongs to the space they live in: :class:`~meshops.tasks.rollout_grid.GridRollout` and
:class:`~meshops.tasks.rollout_mesh.MeshRollout`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, NamedTuple, Self, TypeVar, cast, get_args

import torch
from torch import Tensor, nn

from meshops import ranks
from meshops.checks import check_amounts, check_counts
from meshops.datasets.graph_trajectories import as_trajectories
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError, listing
from meshops.nn.model import judging
from meshops.tasks.base import ALONE, CaseSource, Context, Plain, Samples, Spec, Task, register_task, training_count
from meshops.tasks.report import Report, Row, means

RolloutLoss = Literal["mse", "nmse", "mae"]
LOSSES: tuple[str, ...] = get_args(RolloutLoss)

D = TypeVar("D", TrajectoryDataset, MeshTrajectoryDataset)
B = TypeVar("B")
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
        horizon: Steps of a training window; default: 5 on meshes, on grids one more than pushforward. Gradients go
            through all of them on meshes, on grids through those after pushforward.
        pushforward: Take up to so many steps without gradients, fewer than horizon, before those that are learnt (on
            meshes one); 0: off.
        conditions: Parameters of the trajectories the model is told; default: on meshes all that differ between them,
            on grids none, where sets give what published models see as constant channels.
        noise: Standard deviation of normal noise on the normalised first frames of a training window; the model learns
            to take it away (GNS, 2002.09405, sec. 4.2.2, in which it is put on the states as here); 0: none.
    """

    history: int = 1
    loss: RolloutLoss = "mse"
    residual: bool | None = None
    stride: int = 1
    steps: int | None = None
    cases: int = 0
    horizon: int | None = None
    pushforward: int = 0
    noise: float = 0.0
    conditions: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check every number for sense."""
        check_counts(1, "task.", history=self.history, stride=self.stride, steps=self.steps, horizon=self.horizon)
        check_counts(0, "task.", cases=self.cases, pushforward=self.pushforward)
        check_amounts("task.", noise=self.noise)
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
        conditions: Names of the parameters of a trajectory the model is told.
        loss, residual, pushforward, noise: See :class:`RolloutSettings`.
    """

    space: str
    conditions: tuple[str, ...] = ()
    time_step: float = 0.0
    loss: RolloutLoss = "mse"
    residual: bool = False
    pushforward: int = 0
    noise: float = 0.0

    def names(self) -> tuple[str, ...]:
        """What changes in time."""
        raise NotImplementedError

    def form(self, noun: str = "") -> str:
        """What data must be like, in words: ``2-D data with fields 'velocity' of 2 channels``."""
        raise NotImplementedError


@dataclass(eq=False)
class RolloutSamples(Samples, Generic[D]):
    """Windows of trajectories, numbered trajectory by trajectory and start by start.

    Attributes:
        data: Trajectories.
        windows: Trajectory and first frame of each sample.
        span: Frames of the data a window reaches over.
        stride: Of these, every so many are taken.
    """

    data: D
    spec: RolloutSpec
    offers: frozenset[str]
    windows: list[tuple[int, int]]
    span: int
    stride: int
    cases: int
    held_out: range
    _nodes: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.windows)

    def size(self, number: int) -> int:
        """Nodes of the mesh of a trajectory; those of grids are alike."""
        if not isinstance(self.data, MeshTrajectoryDataset):
            return 1
        case = self.windows[number][0]
        if case not in self._nodes:
            self._nodes[case] = self.data.window(case, 0, 1).pos.shape[1]
        return self._nodes[case]

    def describe(self) -> str:
        """For the screen."""
        return f"{self.cases} trajectories, {len(self)} windows, {', '.join(self.spec.names())}"


class Score(NamedTuple):
    """One trajectory, judged.

    Attributes:
        rows: Errors of the surrogate (``""``) and of what it is compared with, by name.
        curves: Numbers along its rollout, each a tensor.
        frames: Truth and prediction of the rollout, where they are kept to be drawn.
    """

    rows: dict[str, Row]
    curves: dict[str, Tensor]
    frames: tuple[Tensor, Tensor] | None = None


@register_task("rollout")
class RolloutTask(Task[RolloutSamples[D], B], Generic[D, B]):
    """A model of one step in time, in the space the data live in; subclasses are final, one per space.

    Attributes:
        space: Its name.
        source: Class of its data.
        offers: What its frames give to a model.
        judged: What the means of a report are of.
        steps: Steps of the rollouts a run is judged on, where it does not say.
    """

    Settings = RolloutSettings
    usage = "surrogate.task.rollout(...)"
    spec: RolloutSpec
    space: ClassVar[str] = ""
    source: ClassVar[type] = object
    offers: ClassVar[frozenset[str]] = frozenset()
    judged: ClassVar[str] = ""
    steps: ClassVar[int] = 1

    def __init__(self, model: nn.Module, spec: RolloutSpec) -> None:
        super().__init__(model, spec)
        self.asked = {"steps": self.steps, "stride": 1, "cases": 0}

    def __init_subclass__(cls, **options: object) -> None:
        """Note the space."""
        super().__init_subclass__(**options)
        _SPACES[cls.space] = cls

    # ---- what a space says

    @classmethod
    @abstractmethod
    def horizon(cls, settings: RolloutSettings) -> int:
        """Steps of a training window; raises ``InputError`` for settings that this space has not."""

    @classmethod
    def telling(cls, data: D, conditions: Sequence[str] | None) -> D:
        """The data as the model sees them, told these conditions."""
        del conditions
        return data

    @classmethod
    @abstractmethod
    def spec_of(cls, data: D, settings: RolloutSettings) -> RolloutSpec:
        """What trajectories offer."""

    @classmethod
    @abstractmethod
    def fitted(cls, model: nn.Module, samples: RolloutSamples[D]) -> Self:
        """Task with the statistics of the training trajectories."""

    @classmethod
    @abstractmethod
    def blank(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Task of the right sizes."""

    @abstractmethod
    def score(self, data: D, index: int, asked: Mapping[str, int]) -> Score:
        """Judge one trajectory.

        Raises:
            InputError: It is shorter than a step.
        """

    @abstractmethod
    def columns(self, steps: int) -> dict[str, str]:
        """Columns of a report, see :class:`Report`."""

    def tell(self, report: Report, first: Score, context: Context) -> None:
        """Add lines to a report, and pictures of the first trajectory."""

    # ---- what all share

    @classmethod
    def samples(cls, data: CaseSource, settings: object, context: Context = ALONE) -> RolloutSamples[D]:
        """Windows of trajectories on grids or meshes."""
        assert isinstance(settings, RolloutSettings)
        found = as_trajectories(data)
        kept, space = training_count(len(found), context.held_out), space_of(found)
        found = space.telling(found, settings.conditions)
        steps = space.horizon(settings)
        span, lengths = (settings.history + steps - 1) * settings.stride + 1, found.lengths[:kept]
        windows = [(i, start) for i, length in enumerate(lengths) for start in range(length - span + 1)]
        if not windows:
            raise InputError(
                f"no trajectory is long enough: a window takes {span} frames (history {settings.history}, horizon "
                f"{steps}, stride {settings.stride}), the longest has {max(lengths)}; "
                "lower task.history or task.stride; on meshes, lower task.horizon"
            )
        spec, held_out = space.spec_of(found, settings), range(kept, len(found))
        return RolloutSamples(found, spec, space.offers, windows, span, settings.stride, kept, held_out)  # type: ignore[arg-type]

    @classmethod
    def fit(cls, model: nn.Module, samples: RolloutSamples[D], settings: object) -> Self:
        """Task with the statistics of the training trajectories."""
        assert isinstance(settings, RolloutSettings)
        out = _SPACES[samples.spec.space].fitted(model, samples)
        out.asked |= {"stride": settings.stride, "cases": settings.cases, "steps": settings.steps or out.steps}
        return cast(Self, out)

    @classmethod
    def empty(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Task of the right sizes."""
        space = spec.get("space")
        if space not in _SPACES:
            raise InputError(f"the checkpoint is of trajectories on {space!r}; known are {listing(_SPACES)}")
        return cast(Self, _SPACES[str(space)].blank(model, spec))

    def ahead(self, steps: int) -> int:
        """Steps to take without gradients before the one that is learnt, of a window of ``steps``; drawn anew."""
        pushforward = self.spec.pushforward
        return int(torch.randint(min(pushforward, steps - 1) + 1, ())) if pushforward else 0

    def evaluate(self, data: CaseSource, *, context: Context = ALONE, **asked: Plain) -> Report:
        """Errors of every trajectory; see :meth:`score` of the space.

        Args:
            data: Trajectories.
            context: Progress; with a folder, what can be drawn is drawn there.
            **asked: ``steps`` of the rollouts, which start at the first frames (fewer where a trajectory is short);
                ``stride``; ``cases``, trajectories at most (0: all); on grids ``windows`` of one step per trajectory.
        """
        wanted = cast("dict[str, int]", self.asking(asked))
        for key, value in wanted.items():
            check_counts(0 if key == "cases" else 1, **{key: value})
        found = self._trajectories(data)
        count = min(wanted["cases"] or len(found), len(found))

        def judged(index: int) -> Score:
            score = self.score(found, index, wanted)
            return score._replace(frames=None) if index else score

        with judging(self):
            scores = ranks.shared_out(context.track(count), judged)
        tables = {
            name: {case: score.rows[name] for case, score in zip(found.cases, scores, strict=False)}
            for name in scores[0].rows
        }
        report = Report(
            kind=self.kind,
            title=f"{self.judged}, mean of {count} trajectories",
            mean=means(tables[""]),
            cases=tables[""],
            baselines={name: means(table) for name, table in tables.items() if name},
            curves={key: _mean([score.curves[key] for score in scores]) for key in scores[0].curves},
            details={"trajectories": count, "steps": wanted["steps"], "stride": wanted["stride"]},
            columns=self.columns(wanted["steps"]),
        )
        self.tell(report, scores[0], context)
        return report

    def _trajectories(self, data: CaseSource) -> D:
        """The same data, if this task can be judged on them."""
        found = as_trajectories(data)
        if not isinstance(found, self.source):
            raise InputError(
                f"the surrogate was made for trajectories on a {self.space}, got {type(found).__name__}, on a "
                f"{space_of(found).space}"
            )
        if not len(found):
            raise InputError("there is no trajectory to judge the surrogate on")
        found = self.telling(found, self.spec.conditions)  # type: ignore[arg-type]
        given = self.spec_of(found, RolloutSettings()).form("data ")
        if given != self.spec.form("data "):
            raise InputError(f"the {given} do not fit the surrogate, which is {self.spec.form()}")
        return found


def condition_values(spec: RolloutSpec, given: Mapping[str, float], label: str) -> list[float] | None:
    """Values of the conditions of a spec, in its order; None where it has none.

    Raises:
        InputError: One is missing, or no finite number.
    """
    if not spec.conditions:
        return None
    lost = [name for name in spec.conditions if not math.isfinite(given.get(name, math.nan))]
    if lost:
        raise InputError(
            f"{label}: the model is told {listing(spec.conditions)}, and {listing(lost)} is no number here; "
            f"given are {listing(given)}"
        )
    return [float(given[name]) for name in spec.conditions]


def space_of(data: TrajectoryDataset | MeshTrajectoryDataset) -> type[RolloutTask]:  # type: ignore[type-arg]
    """The class of task for trajectories."""
    return next(task for task in _SPACES.values() if isinstance(data, task.source))


def _mean(curves: list[Tensor]) -> list[float]:
    """Mean of curves, up to the end of the shortest."""
    shortest = min(map(len, curves))
    out: list[float] = torch.stack([curve[:shortest] for curve in curves]).mean(0).tolist()
    return out
