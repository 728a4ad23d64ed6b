"""Windows of trajectories on points: what an auto-encoder is asked to learn, and the samples it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from meshops.checks import check_amounts, check_counts, check_fractions
from meshops.data.point_frames import PointFrames
from meshops.data.symmetry import check_symmetries, moved
from meshops.datasets.point_trajectories import PointSpec, PointTrajectories
from meshops.errors import InputError, listing
from meshops.tasks.base import CaseSource, Plain, Samples, Spec, training_count


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """How trajectories are cut, and what of them an auto-encoder sees in training.

    Attributes:
        frames: Frames compressed at a time, 1 + f m for a model that compresses f-fold in time.
        stride: Frames of the data from one of them to the next.
        points: Part of the points the encoder sees, least and most.
        targets: Points the loss looks at in every graph; 0: all that are read.
        kl: Weight of the Kullback-Leibler term, for models with kl: true.
        noise: Standard deviation of noise on the latents.
        relative_to: The loss is the error over the size of the ``"window"``, or of every ``"frame"`` by itself, which
            lets quiet frames count as much as loud ones.
    """

    frames: int = 21
    stride: int = 1
    points: tuple[float, float] = (0.5, 1.0)
    targets: int = 0
    kl: float = 1e-4
    noise: float = 0.01
    relative_to: Literal["window", "frame"] = "window"


@dataclass(frozen=True, kw_only=True)
class AutoencodeSettings(WindowSettings):
    """What is learnt of trajectories on points, beside :class:`WindowSettings`.

    Attributes:
        fields: Fields to compress; default: all the dataset has.
        learn_frames: Frames of a training example, 1 + f j; 0: all of them. Short ones give more steps, less alike.
        most_points: Points of every graph that are read at most; 0: all.
        augment: Where the equation allows: ``shift`` along periodic axes, mirror images (``flip``), quarter ``turn``;
            a new draw for every example, see :mod:`meshops.data.symmetry`.
        start: Checkpoint to continue from: an auto-encoder that was trained before.
        refine: Learn single frames instead (stage 2): convolutions in time stay as they are, trajectories are replayed.
        replay: Share of the steps with trajectories when refining.
        test_points: Parts of the points it is judged with.
        cases: Trajectories it is judged on at most; 0: all.
    """

    fields: tuple[str, ...] | None = None
    learn_frames: int = 0
    most_points: int = 0
    augment: tuple[str, ...] = ()
    start: str = ""
    refine: bool = False
    replay: float = 0.5
    test_points: tuple[float, ...] = (1.0, 0.5, 0.2)
    cases: int = 0

    def __post_init__(self) -> None:
        """Check every number."""
        check_counts(1, "task.", frames=self.frames, stride=self.stride)
        check_counts(0, "task.", most_points=self.most_points, targets=self.targets, cases=self.cases)
        check_amounts("task.", kl=self.kl, noise=self.noise)
        check_fractions("task.", replay=self.replay)
        if self.relative_to not in ("window", "frame"):
            raise InputError(f"task.relative_to must be window or frame, got '{self.relative_to}'")
        if len(self.points) != 2 or not 0 < self.points[0] <= self.points[1] <= 1:
            raise InputError(f"points must be two fractions 0 < least <= most <= 1, got {tuple(self.points)}")
        check_parts(self.test_points, "task.test_points")
        if not 1 <= self.learned <= self.frames:
            raise InputError(
                f"task.learn_frames must be in 1..{self.frames} (task.frames), or 0 for all of them, got "
                f"{self.learn_frames}"
            )

    @property
    def learned(self) -> int:
        """Frames of a training example."""
        return self.learn_frames or self.frames


@dataclass(frozen=True, kw_only=True)
class AutoencodeSpec(WindowSettings, PointSpec, Spec):
    """What is compressed and how it was learnt; ``time_step`` is that from one frame of a window to the next."""

    def model_arguments(self) -> dict[str, Plain]:
        """What models want to know."""
        return {
            "in_channels": self.channels,
            "low": list(self.low),
            "high": list(self.high),
            "periodic": list(self.periodic),
            "num_constants": len(self.constants),
            "node_types": self.node_types,
        }

    def opened(self, data: CaseSource, stride: int | None = None) -> PointTrajectories:
        """The trajectories of a set with these fields.

        Raises:
            InputError: The set has other fields or constants, or a run asks for another ``stride``.
        """
        points = PointTrajectories(data, self.fields)
        found = points.spec
        if (found.fields, found.sizes, found.constants) != (self.fields, self.sizes, self.constants):
            raise InputError(
                f"the data have fields {found.fields} and constants {found.constants}, the auto-encoder has "
                f"{self.fields} and {self.constants}; choose the same with task.fields"
            )
        if stride not in (None, self.stride):
            raise InputError(f"task.stride is {stride}, the auto-encoder was trained with {self.stride}; use that")
        return points


class AutoencodeSamples(Samples):
    """Windows of trajectories; when refining, half of the numbers are single frames (by ``task.replay``).

    Args:
        points: Trajectories.
        spec: What is compressed.
        settings: The ``task:`` block.
        cases: How many of the trajectories are learnt; the others are held out.

    Attributes:
        windows: Trajectory and first frame of each window.
        singles: Trajectory and number of each frame, when refining.
        border: Numbers below this are windows.
        remarks: How much smaller the latent is, and which of its nodes see no point; known once there is a model.
    """

    offers = frozenset({"autoencoder"})
    spec: AutoencodeSpec
    held_out: range

    def __init__(
        self, points: PointTrajectories, spec: AutoencodeSpec, settings: AutoencodeSettings, cases: int
    ) -> None:
        check_symmetries(settings.augment, points.spec)
        self.points, self.spec, self.settings, self.cases = points, spec, settings, cases
        self.held_out = range(cases, len(points))
        lengths = points.lengths[:cases]
        span = (settings.learned - 1) * settings.stride + 1
        self.windows = [(i, first) for i, length in enumerate(lengths) for first in range(length - span + 1)]
        self.singles = [(i, t) for i, length in enumerate(lengths) for t in range(length)] if settings.refine else []
        # as many numbers as it takes to draw every window and every frame
        self.count = 2 * max(len(self.windows), len(self.singles)) if settings.refine else len(self.windows)
        self.border = round(self.count * settings.replay) if settings.refine else self.count
        self.remarks: list[str] = []

    def __len__(self) -> int:
        """Number of windows, or of what is drawn from when refining."""
        return self.count

    def describe(self) -> str:
        """Trajectories and fields."""
        return f"{len(self.points)} trajectories, fields {', '.join(self.spec.fields)}"

    def read(self, numbers: Sequence[int], seeds: Sequence[int] | None = None) -> PointFrames:
        """Samples by their numbers; the first one decides whether they are windows or single frames.

        Args:
            numbers: Of samples.
            seeds: Of what is drawn about each, where ``task.augment`` moves them; None: they stay.
        """
        if numbers[0] < self.border:
            chosen, frames = [self.windows[i % len(self.windows)] for i in numbers], self.settings.learned
        else:
            chosen, frames = [self.singles[i % len(self.singles)] for i in numbers], 1
        windows = [self.window(*place, frames) for place in chosen]
        if seeds is not None and self.settings.augment:
            draws = [torch.Generator().manual_seed(seed) for seed in seeds]
            windows = [
                moved(window, self.points.spec, self.settings.augment, generator=draw)
                for window, draw in zip(windows, draws, strict=True)
            ]
        return PointFrames.batch(windows)

    def window(self, index: int, start: int, frames: int) -> PointFrames:
        """Some frames of a trajectory; the same points of it in every window, all of them in a single frame."""
        whole = self.points.window(index, start, frames, self.settings.stride)
        most = self.settings.most_points
        if not most or (self.settings.refine and frames == 1):
            return whole
        return whole.subsample(1.0, most=most, generator=torch.Generator().manual_seed(index))


def count_learnt(points: PointTrajectories, held_out: int, frames: int, stride: int) -> int:
    """How many trajectories are learnt when the last ``held_out`` are for validation.

    Raises:
        InputError: None would be left, or :func:`check_lengths` of them or of one that is held out.
    """
    kept = training_count(len(points), held_out)
    for lengths in (points.lengths[:kept], *([length] for length in points.lengths[kept:])):
        check_lengths(lengths, frames, stride)
    return kept


def check_lengths(lengths: Sequence[int], frames: int, stride: int) -> None:
    """Raise ``InputError`` if no trajectory holds ``frames`` frames at a stride."""
    span = (frames - 1) * stride + 1
    if max(lengths) < span:
        raise InputError(
            f"no trajectory is long enough: a segment takes {span} frames ({frames} at stride {stride}), the longest "
            f"has {max(lengths)}; lower task.frames or task.stride"
        )


def check_parts(parts: Plain, name: str) -> tuple[float, ...]:
    """Parts of the points; raise ``InputError`` unless there are some, all of them above 0 and at most 1."""
    rows = parts if isinstance(parts, Sequence) and not isinstance(parts, str) else (parts,)
    found = tuple(float(part) for part in rows if isinstance(part, int | float) and 0 < part <= 1)
    if not found or len(found) != len(rows):
        raise InputError(f"{name} must be parts of the points, each 0 < part <= 1, got {listing(rows)}")
    return found
