"""Segments of latent frames: what a generator is asked to learn, and the samples it learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from meshops.checks import check_amounts, check_counts
from meshops.data.normalize import logarithmic
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.errors import InputError
from meshops.nn.known_frames import TASKS, allowed_shares
from meshops.tasks.autoencode import AutoencodeTask
from meshops.tasks.base import Plain, Samples, Spec

Law = Literal["uniform", "logit_normal"]


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """How a generator learns.

    Attributes:
        tasks: How often forward, inverse, interpolation and generation are trained.
        dropout: How often the parameters of the equation are hidden; with identify in half of the examples.
        law: Of the time on the path: uniform or logit_normal.
        deterministic: One evaluation instead of a flow.
        identify: Parameters of the equation can be generated too.
        history: Latent frames from which the next one is learnt, step by step (:mod:`meshops.tasks.latent_steps`); only
            forecasts then. 0: whole segments at once.
        jitter: Noise on the latent frames a step sees in training: largest standard deviation, over that of the latent.
            Steps then lead back from where earlier ones went astray.
        weigh: The loss counts every channel of the latent by what the decoder makes of it.
    """

    tasks: tuple[float, float, float, float] = (0.45, 0.15, 0.2, 0.2)
    dropout: float = 0.1
    law: Law = "uniform"
    deterministic: bool = False
    identify: bool = False
    history: int = 0
    jitter: float = 0.0
    weigh: bool = False

    def __post_init__(self) -> None:
        """Check shares and law."""
        tasks = self.tasks
        if len(tasks) != 4 or not all(share >= 0 and math.isfinite(share) for share in tasks) or not any(tasks):
            raise InputError(f"tasks needs four shares, not all 0 ({', '.join(TASKS)}), got {tuple(tasks)}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be in [0, 1), got {self.dropout}")
        check_counts(0, "task.", history=self.history)
        check_amounts("task.", jitter=self.jitter)
        if self.history and self.identify:
            raise InputError("a generator of steps (task.history) identifies no parameters; set identify: false")
        if self.law not in get_args(Law):
            raise InputError(f"task.law must be one of {', '.join(get_args(Law))}, got '{self.law}'")


@dataclass(frozen=True, kw_only=True)
class GenerateSettings(FlowSettings):
    """What is learnt of latents, beside :class:`FlowSettings`.

    Attributes:
        start: Checkpoint of the auto-encoder.
        stride: Frames of the data from one frame to the next.
        every: Frames from one segment to the next one that is learnt; default: half a segment.
        given: Frames that forecasts of the test start from, 1 + f j; default 1 + f, or 1 where a segment is no longer.
        steps: Frames they predict; default: to twice the end of a segment, where trajectories are that long.
        samples: Size of their ensembles; a deterministic model gives one.
        cases: Test trajectories at most; 0: all.
        carry: Forecasts give back what the auto-encoder lost of the last given frame, as long as it lasts
            (:mod:`meshops.tasks.carry`).
    """

    start: str = ""
    stride: int = 1
    every: int | None = None
    given: int | None = None
    steps: int | None = None
    samples: int = 8
    cases: int = 0
    carry: bool = False

    def __post_init__(self) -> None:
        """Check every number."""
        super().__post_init__()
        counts = {"every": self.every, "given": self.given, "steps": self.steps, "samples": self.samples}
        check_counts(1, "task.", stride=self.stride, **counts)
        check_counts(0, "task.", cases=self.cases)

    def asked(self) -> dict[str, Plain]:
        """What forecasts are judged on."""
        names = ("given", "steps", "samples", "cases", "stride")
        return {name: getattr(self, name) for name in names} | {"integration": 10, "method": "midpoint"}


@dataclass(frozen=True, kw_only=True)
class GenerateSpec(FlowSettings, Spec):
    """What is generated, and how it was learnt. Plain values: it goes into the checkpoint as it is.

    Attributes:
        latent: ``(d, t_z, *cells)`` of a segment.
        time_factor: Frames per latent frame.
        parameters: Names of the parameters of the equation.
        logarithmic: Which of them are learnt by their logarithm.
        periodic: Whether the ends of each axis meet.
    """

    latent: tuple[int, ...]
    time_factor: int
    parameters: tuple[str, ...] = ()
    logarithmic: tuple[bool, ...] = ()
    periodic: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        """Check the shares."""
        super().__post_init__()
        if self.latent_frames < 2 and any(self.tasks[:3]):
            raise InputError(
                "segments of one latent frame have nothing to forecast; train the auto-encoder on more frames, or only "
                "generation: tasks (0, 0, 0, 1)"
            )
        if self.history >= self.latent_frames:
            raise InputError(
                f"task.history must be below the {self.latent_frames} latent frames of a segment, got {self.history}"
            )
        allowed_shares(self.tasks, self.latent_frames)

    @property
    def latent_frames(self) -> int:
        """Latent frames of a segment."""
        return self.latent[1]

    @property
    def frames(self) -> int:
        """Frames of a segment."""
        return 1 + (self.latent_frames - 1) * self.time_factor

    def step(self) -> dict[str, Any]:
        """How a step is learnt."""
        return {"length": self.history, "law": self.law, "deterministic": self.deterministic, "jitter": self.jitter}

    def model_arguments(self) -> dict[str, Plain]:
        """What models want to know."""
        return {
            "latent_channels": self.latent[0],
            "latent_frames": self.history + 1 if self.history else self.latent[1],
            "latent_cells": list(self.latent[2:]),
            "num_parameters": len(self.parameters),
            "deterministic": self.deterministic,
            "identify": self.identify,
            "periodic": list(self.periodic) or None,
        }


@dataclass(eq=False, kw_only=True)
class GenerateSamples(Samples):
    """Latents of segments.

    Attributes:
        points: Trajectories they are of.
        autoencoder: What made them.
        latents: Of the trajectories that are learnt, see :func:`meshops.tasks.latents.encoded_segments`.
        held_out: Latents of the first segment of each of the others.
        settings: The ``task:`` block.
        cases: How many trajectories are learnt.
        remarks: How long encoding took.
    """

    offers = frozenset({"latents"})
    points: PointTrajectories
    autoencoder: AutoencodeTask
    latents: dict[str, Tensor]
    held_out: Sequence[dict[str, Tensor]]
    settings: GenerateSettings
    cases: int
    remarks: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Say what can be learnt of them."""
        found = {
            "latent": self.latents["latents"].shape[1:],
            "time_factor": self.autoencoder.model.time_factor,
            "parameters": self.points.spec.parameters,
            "logarithmic": logarithmic(self.latents["parameters"]),
            "periodic": self.points.spec.periodic,
        }
        self.spec: GenerateSpec = GenerateSpec.from_dict(asdict(self.settings) | found)

    def __len__(self) -> int:
        """Number of segments."""
        return len(self.latents["latents"])

    def describe(self) -> str:
        """Segments, trajectories, parameters."""
        told = f", parameters {', '.join(self.spec.parameters)}" if self.spec.parameters else ""
        return f"{len(self)} segments of {self.spec.frames} frames from {self.cases} trajectories{told}"

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Some of them, as the loss takes them."""
        return {name: values[list(rows)] for name, values in self.latents.items()}
