"""Generation of whole latent trajectories: what is known, the flow matching loss, samples, rollouts.

A segment has ``1 + m`` latent frames. What is known of it is a list of *runs* of frames, each encoded by itself: a
causal encoder makes a late latent depend on all earlier frames, which nobody knows when the run is in the middle or at
the end. A run at the start gives exactly the first latents of the segment: they are *observed* and stay as they are.
Later runs are *hints*: the network sees their tokens and generates the frames anew, so that the frames between two
latents are never lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from meshops.data.normalize import Normalizer, Statistics
from meshops.errors import InputError
from meshops.nn.flow import Method, draw_times, flow_pair, integrate, masked_loss

TaskName = Literal["forward", "inverse", "interpolation", "generation"]
TASKS: tuple[TaskName, ...] = ("forward", "inverse", "interpolation", "generation")
LOG_RATIO = 10.0  # positive parameters that vary by more are learnt by their logarithm


@dataclass(frozen=True, kw_only=True)
class GenerateSpec:
    """What is generated. Plain values: it goes into the checkpoint as it is.

    Attributes:
        latent: ``(d, t_z, *cells)`` of a segment.
        time_factor: Frames per latent frame.
        parameters: Names of the parameters of the equation.
        logarithmic: Which of them are learnt by their logarithm.
        tasks: How often forward, inverse, interpolation and generation are trained.
        dropout: How often the parameters are hidden; with ``identify`` they are in half of the examples.
        law: Of the time on the path: ``"uniform"`` or ``"logit_normal"``.
        deterministic: One evaluation instead of a flow.
        identify: Parameters can be generated too.
    """

    latent: tuple[int, ...]
    time_factor: int
    parameters: tuple[str, ...] = ()
    logarithmic: tuple[bool, ...] = ()
    tasks: tuple[float, float, float, float] = (0.45, 0.15, 0.2, 0.2)
    dropout: float = 0.1
    law: str = "uniform"
    deterministic: bool = False
    identify: bool = False

    def __post_init__(self) -> None:
        """Check the probabilities."""
        if len(self.tasks) != 4 or min(self.tasks) < 0 or sum(self.tasks) <= 0:
            raise InputError(f"tasks needs four shares, not all 0 ({', '.join(TASKS)}), got {self.tasks}")
        if self.latent_frames < 2 and (self.tasks[0] or self.tasks[1] or self.tasks[2]):
            raise InputError(
                "segments of one latent frame have nothing to forecast; train the auto-encoder on more frames, or only "
                "generation: tasks (0, 0, 0, 1)"
            )
        if self.latent_frames < 3 and not (self.tasks[0] or self.tasks[1] or self.tasks[3]):
            raise InputError("interpolation needs segments of at least three latent frames; train on more frames")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def latent_frames(self) -> int:
        """Latent frames of a segment."""
        return self.latent[1]

    @property
    def frames(self) -> int:
        """Frames of a segment."""
        return 1 + (self.latent_frames - 1) * self.time_factor

    def model_arguments(self) -> dict[str, Any]:
        """What models want to know."""
        return {
            "latent_channels": self.latent[0], "latent_frames": self.latent[1], "latent_cells": list(self.latent[2:]),
            "num_parameters": len(self.parameters), "deterministic": self.deterministic, "identify": self.identify,
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GenerateSpec:
        """Inverse of :meth:`to_dict`."""
        known = {f.name for f in fields(cls)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
        return cls(**given)


class Known(NamedTuple):
    """What is known of a batch of segments, standardised.

    Attributes:
        latent: ``[b, d, t, *cells]`` tokens of the runs at their places.
        observed: ``[b, t]`` latent frames that are what ``latent`` says.
        hint: ``[b, t]`` latent frames that it says something of; the observed ones are among them.
        start: ``[b, t]`` where a run begins.
        task: ``[b]`` number in :data:`TASKS`.
    """

    latent: Tensor
    observed: Tensor
    hint: Tensor
    start: Tensor
    task: Tensor

    def repeat(self, count: int) -> Known:
        """Every segment ``count`` times, one after the other."""
        return Known(*(part.repeat_interleave(count, 0) for part in self))


class GenerateTask(nn.Module):
    """A generator of latents together with their normalisation and that of the parameters.

    Args:
        model: See :class:`~meshops.models.echo.generator.EchoGenerator`.
        spec: What is generated.
        norm: Of the channels of the latents.
        parameter_norm: Of the parameters (or their logarithms).
    """

    def __init__(self, model: nn.Module, spec: GenerateSpec, norm: Normalizer, parameter_norm: Normalizer) -> None:
        super().__init__()
        self.model: Any = model
        self.spec, self.norm, self.parameter_norm = spec, norm, parameter_norm

    @classmethod
    def fit(cls, model: nn.Module, spec: GenerateSpec, latents: Tensor, parameters: Tensor) -> GenerateTask:
        """Task with statistics of training latents ``[m, d, t, *cells]`` and parameters ``[m, g]``."""
        rows = latents.movedim(1, -1).flatten(0, -2)
        norm = Normalizer.from_statistics(Statistics.of(rows))
        fixed = Normalizer.identity(0)
        if spec.parameters:
            fixed = Normalizer.from_statistics(Statistics.of(_logarithms(parameters, spec)))
        return cls(model, spec, norm, fixed)

    def standardised(self, latent: Tensor) -> Tensor:
        """``[b, d, t, *cells]``, zero mean and unit variance per channel."""
        out: Tensor = self.norm(latent.movedim(1, -1)).movedim(-1, 1)
        return out

    def original(self, latent: Tensor) -> Tensor:
        """Inverse of :meth:`standardised`."""
        return self.norm.inverse(latent.movedim(1, -1)).movedim(-1, 1)

    def encoded_parameters(self, parameters: Tensor) -> Tensor:
        """``[b, g]`` normalised.

        Raises:
            InputError: One that is learnt by its logarithm is not positive.
        """
        out: Tensor = self.parameter_norm(_logarithms(parameters, self.spec))
        return out

    def decoded_parameters(self, values: Tensor) -> Tensor:
        """Inverse of :meth:`encoded_parameters`."""
        out = self.parameter_norm.inverse(values)
        logs = torch.tensor(self.spec.logarithmic, device=out.device)
        return torch.where(logs, out.exp(), out)

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Flow matching loss (or the square error of the clean latents) on what is not observed.

        Args:
            batch: ``latents [b, d, t, *cells]``; ``runs [b, d, t (t - 1) / 2, *cells]`` encodings of the frames from
                latent frame 1, 2, ... on, one after the other (may be empty); ``parameters [b, g]``.
        """
        clean = self.standardised(batch["latents"])
        runs = self.standardised(batch["runs"])
        b, device = len(clean), clean.device
        known = self.draw_known(clean, runs)
        parameters, given = self._draw_parameters(batch["parameters"])
        r = torch.zeros(b) if self.spec.deterministic else draw_times(b, law=self.spec.law)
        r = r.to(device)
        noisy, target = flow_pair(clean, torch.randn_like(clean), r)
        told: dict[str, Any] = {"hint": known.hint, "start": known.start, "parameters": parameters, "given": given}
        if self.spec.identify and parameters is not None:
            noisy_parameters, wanted_parameters = flow_pair(parameters, torch.randn_like(parameters), r)
            told["noisy_parameters"] = torch.zeros_like(parameters) if self.spec.deterministic else noisy_parameters
        made = self.model(noisy, known.latent, known.observed, r, known.task, **told)
        unknown = ~known.observed.view(b, 1, -1, *(1,) * (clean.dim() - 3))
        total = masked_loss(made.latent, clean if self.spec.deterministic else target, unknown)
        out = {"loss": total, "latent": total.detach()}
        if made.parameters is not None and parameters is not None and given is not None:
            aim = parameters if self.spec.deterministic else wanted_parameters
            part = masked_loss(made.parameters, aim, ~given.view(-1, 1))
            out |= {"loss": total + part, "parameters": part.detach()}
        return out

    def draw_known(self, clean: Tensor, runs: Tensor) -> Known:
        """What a training example shows, by its task; tasks with runs are left out where there are none."""
        b, t = len(clean), self.spec.latent_frames
        shares = torch.tensor(self.spec.tasks)
        if not runs.shape[2]:
            shares = shares * torch.tensor([1.0, 0.0, 0.0, 1.0])
        if t < 3:
            shares = shares * torch.tensor([1.0, float(t > 1), 0.0, 1.0])
        task = torch.multinomial(shares, b, replacement=True)
        latent = torch.zeros_like(clean)
        observed, hint, start = (torch.zeros(b, t, dtype=torch.bool) for _ in range(3))
        half = (t + 1) // 2
        for row, name in enumerate(TASKS[int(i)] for i in task):
            head = tail = 0
            if name in ("forward", "interpolation"):
                head = int(torch.randint(1, max(2, min(half, t - 1) + 1), ()))
            if name in ("inverse", "interpolation"):
                tail = int(torch.randint(1, max(2, min(half, t - 1 - head) + 1), ()))
            if head:
                latent[row, :, :head] = clean[row, :, :head]
                observed[row, :head] = hint[row, :head] = start[row, 0] = True
            if tail:
                first = t - tail
                begin = run_offset(first, t)
                latent[row, :, first:] = runs[row, :, begin : begin + tail]
                hint[row, first:] = start[row, first] = True
        device = clean.device
        return Known(latent, observed.to(device), hint.to(device), start.to(device), task.to(device))

    @torch.no_grad()
    def sample(
        self,
        known: Known,
        *,
        parameters: Tensor | None = None,
        steps: int = 10,
        method: Method = "midpoint",
        guidance: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Latents ``[b, d, t, *cells]`` as the auto-encoder has them, and parameters ``[b, g]`` where generated.

        Args:
            known: What is known; observed latents come back as they are, up to the rounding of the standardisation.
            parameters: ``[b, g]`` in their units; None: not known.
            steps: Of the integration.
            method: See :func:`meshops.nn.flow.integrate`.
            guidance: Weight w of classifier-free guidance, ``v_0 + w (v - v_0)`` with v_0 without parameters.
            generator: Of the noise.

        Raises:
            InputError: Guidance of a model that identifies parameters, or parameters that do not fit.
        """
        if guidance != 1.0 and self.spec.identify:
            raise InputError(
                "guidance hides the parameters, and this model generates what it is not told; use guidance 1"
            )
        b, device = len(known.latent), known.latent.device
        encoded = None if parameters is None else self.encoded_parameters(parameters)
        given = torch.full((b,), encoded is not None, device=device)
        mask = known.observed.view(b, 1, -1, *(1,) * (known.latent.dim() - 3)).expand_as(known.latent)
        told: dict[str, Any] = {"hint": known.hint, "start": known.start}
        free_parameters = self.spec.identify and encoded is None

        def velocity(state: Tensor, found: Tensor | None, r: Tensor, *, hide: bool = False) -> Any:
            return self.model(
                state, known.latent, known.observed, r, known.task, parameters=None if hide else encoded,
                given=torch.zeros_like(given) if hide else given, noisy_parameters=found, **told,
            )  # fmt: skip

        size, width = known.latent[0].numel(), len(self.spec.parameters) if free_parameters else 0
        if self.spec.deterministic:
            empty = known.latent.new_zeros(b, width) if width else None
            made = velocity(known.latent, empty, torch.zeros(b, device=device))
            latent = torch.where(mask, known.latent, made.latent)
            return self.original(latent), self.decoded_parameters(made.parameters) if width else None
        noise = torch.randn(b, size + width, generator=generator).to(device)
        start = torch.where(mask, known.latent, noise[:, :size].view_as(known.latent))

        def field(r: Tensor, flat: Tensor) -> Tensor:
            state = flat[:, :size].view_as(known.latent)
            found = flat[:, size:] if width else None
            times = r.expand(b)
            made = velocity(state, found, times)
            speed = made.latent
            if guidance != 1.0 and encoded is not None:
                base = velocity(state, found, times, hide=True).latent
                speed = base + guidance * (speed - base)
            parts = [speed.masked_fill(mask, 0).flatten(1)]
            return torch.cat(parts + ([made.parameters] if width else []), 1)

        end = integrate(field, torch.cat([start.flatten(1), noise[:, size:]], 1), steps=steps, method=method)
        latent = torch.where(mask, known.latent, end[:, :size].view_as(known.latent))
        return self.original(latent), self.decoded_parameters(end[:, size:]) if width else None

    def _draw_parameters(self, parameters: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Normalised parameters and which examples may see them."""
        if not self.spec.parameters:
            return None, None
        share = 0.5 if self.spec.identify else self.spec.dropout
        given = torch.rand(len(parameters)) >= share
        return self.encoded_parameters(parameters), given.to(parameters.device)


def run_offset(first: int, frames: int) -> int:
    """Where the encoding of the run from latent frame ``first`` begins among all runs from 1, 2, ... of a segment.

    Example:
        >>> [run_offset(first, 4) for first in (1, 2, 3)]
        [0, 3, 5]
    """
    return sum(frames - i for i in range(1, first))


def logarithmic(parameters: Tensor) -> tuple[bool, ...]:
    """Which parameters ``[m, g]`` are positive and vary by more than :data:`LOG_RATIO`."""
    low, high = parameters.amin(0), parameters.amax(0)
    return tuple(((low > 0) & (high > LOG_RATIO * low)).tolist())


def _logarithms(parameters: Tensor, spec: GenerateSpec) -> Tensor:
    if parameters.shape[1] != len(spec.parameters):
        raise InputError(
            f"need {len(spec.parameters)} parameters ({', '.join(spec.parameters)}), got {parameters.shape[1]}"
        )
    logs = torch.tensor(spec.logarithmic, dtype=torch.bool, device=parameters.device)
    if bool((logs & (parameters <= 0)).any()):
        names = [n for n, log in zip(spec.parameters, spec.logarithmic, strict=True) if log]
        raise InputError(f"parameters {', '.join(names)} must be positive")
    return torch.where(logs, parameters.clamp(min=1e-30).log(), parameters)
