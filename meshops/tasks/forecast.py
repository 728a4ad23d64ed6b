"""From snapshots on points to ensembles of whole futures, anywhere: what a generator of latents can do.

Latents are drawn by flow matching (:mod:`meshops.nn.flow`); fields are made of them by the auto-encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from meshops.checks import check_counts
from meshops.data.normalize import Normalizer, QuantityNormalizer
from meshops.data.point_frames import PointFrames
from meshops.errors import InputError
from meshops.metrics.ensembles import expected_error
from meshops.nn.causal_tower import check_run
from meshops.nn.flow import Method, flow_sample
from meshops.nn.known_frames import ASKED, Known, TaskName
from meshops.nn.model import judging
from meshops.tasks.autoencode import AutoencodeTask
from meshops.tasks.base import Stored, Task
from meshops.tasks.latent_steps import ask, march
from meshops.tasks.segments import GenerateSettings, GenerateSpec


class Sampling(TypedDict, total=False):
    """How latents are drawn, see :meth:`Forecaster.sample`."""

    steps: int
    method: Method
    guidance: float


class Forecaster(Task[Any, dict[str, Tensor]]):
    """A generator of latents, their normalisation and that of parameters, and the auto-encoder that makes fields.

    Args:
        model: See :class:`~meshops.models.echo.generator.EchoGenerator`.
        spec: What is generated.
        norm: Of the channels of the latents.
        parameter_norm: Of the parameters (or their logarithms).

    Attributes:
        missing_variance: ``[frames, c]`` variance that ensembles lack (below 0: have too much), by frames ahead,
            squared units, from trajectories that were held out (:func:`meshops.tasks.forecast_scores.calibrate`); None:
            not known.
        calibration: How it was found.
        carry: ``[frames, c]`` share of what the auto-encoder lost of the last given frame that is still lost so many
            frames later (:func:`meshops.tasks.carry.learn_carry`), and that forecasts give back; None: nothing.
        weight: ``[d]`` of every channel of the latent in the loss.
        change_scale: ``[d]`` of changes from a latent frame to the next, of generators of steps.
    """

    remembered = ("missing_variance", "calibration", "carry")
    model: Any
    spec: GenerateSpec
    weight: Tensor
    change_scale: Tensor

    def __init__(
        self, model: nn.Module, spec: GenerateSpec, norm: Normalizer, parameter_norm: QuantityNormalizer
    ) -> None:
        super().__init__(model, spec)
        self.norm, self.parameter_norm = norm, parameter_norm
        self.asked = GenerateSettings().asked()
        self.missing_variance: Tensor | None = None
        self.carry: Tensor | None = None
        ones = torch.ones(spec.latent[0])
        self.register_buffer("weight", ones, persistent=spec.weigh)
        self.register_buffer("change_scale", ones.clone(), persistent=bool(spec.history))
        self.calibration: dict[str, Stored] = {}

    @property
    def autoencoder(self) -> AutoencodeTask:
        """What makes latents and fields of each other.

        Raises:
            InputError: There is none.
        """
        if "autoencoder" not in self._parts:
            raise InputError("the generator has no auto-encoder; give it one: task.attach({'autoencoder': ...})")
        return cast("AutoencodeTask", self._parts["autoencoder"])

    def sample(
        self,
        known: Known,
        *,
        parameters: Tensor | None = None,
        generator: torch.Generator | None = None,
        steps: int = 10,
        method: Method = "midpoint",
        guidance: float = 1.0,
    ) -> tuple[Tensor, Tensor | None]:
        """Latents ``[b, d, t, *cells]`` as the auto-encoder has them, and parameters ``[b, g]`` where generated.

        Observed latents come back as they are, up to rounding.

        Args:
            known: What is known.
            parameters: ``[b, g]`` in their units; None: not known.
            generator: Of the noise.
            steps: Of the integration.
            method: See :func:`meshops.nn.flow.integrate`.
            guidance: Weight w of classifier-free guidance, ``v_0 + w (v - v_0)`` with v_0 without parameters.

        Raises:
            InputError: Guidance of a model that identifies parameters, or parameters that do not fit.
        """
        if guidance != 1.0 and self.spec.identify:
            raise InputError(
                "guidance hides the parameters, and this model generates what it is not told; use guidance 1"
            )
        b, size = len(known.latent), known.latent[0].numel()
        encoded = None if parameters is None else self.parameter_norm(parameters)
        width = len(self.spec.parameters) if self.spec.identify and encoded is None else 0

        def velocity(r: Tensor, state: Tensor, told: Tensor | None) -> Tensor:
            made = self.model(
                state[:, :size].view_as(known.latent),
                known.latent,
                known.observed,
                r.expand(b),
                known.task,
                hint=known.hint,
                start=known.start,
                parameters=told,
                given=torch.full((b,), told is not None, device=state.device),
                noisy_parameters=state[:, size:] if width else None,
            )
            return torch.cat([made.latent.flatten(1)] + ([made.parameters] if width else []), 1)

        def guided(r: Tensor, state: Tensor) -> Tensor:
            speed = velocity(r, state, encoded)
            if guidance == 1.0 or encoded is None:
                return speed
            base = velocity(r, state, None)
            return base + guidance * (speed - base)

        # latents and the parameters that are looked for, one row each
        tokens = pad(known.latent.flatten(1), (0, width))
        wanted = pad(known.wanted().expand_as(known.latent).flatten(1), (0, width), value=True)
        with judging(self):
            if self.spec.deterministic:
                end = torch.where(wanted, velocity(tokens.new_zeros(()), tokens, encoded), tokens)
            else:
                end = flow_sample(guided, tokens, wanted, steps=steps, method=method, generator=generator)
            found = self.parameter_norm.inverse(end[:, size:]) if width else None
            return self.norm.inverse(end[:, :size].view_as(known.latent), axis=1), found

    def forecast(
        self,
        given: PointFrames,
        frames: int,
        *,
        queries: PointFrames | None = None,
        samples: int = 8,
        parameters: Mapping[str, float] | None = None,
        seed: int = 0,
        overlap: int | None = None,
        **how: Unpack[Sampling],
    ) -> Tensor:
        """The frames that follow, ``[samples, frames, q, c]``, physical units; longer than a segment by windows.

        A window after the first starts with the last ``overlap`` frames of the one before, decoded at the given points
        and encoded anew, so that its first latent is again that of a first frame. Given points that move are then where
        ``queries`` says, so those should be all the points, not a few of them.

        Args:
            given: The first ``1 + f j`` frames of one trajectory, see :func:`meshops.point_frames`.
            frames: How many to predict.
            queries: Points of the result (values are not read); None: those of ``given``, if they stay. Points that
                move: of every frame that is predicted, equally many.
            samples: Size of the ensemble, 1 or more; a deterministic model gives one.
            parameters: Of the equation, by name; None: not known.
            seed: Of the samples.
            overlap: Frames that windows share, ``1 + f j``, all of them predicted ones; None: ``1 + f``, or 1 where the
                given ones leave no more.
            **how: ``steps``, ``method`` and ``guidance``, see :meth:`sample`.

        Raises:
            InputError: The numbers of frames do not fit, all frames of a segment are given, or nobody says where points
                that move will be.
        """
        factor, segment = self.spec.time_factor, self.spec.frames
        check_run("given", given.frames, segment - 1, factor)
        if self.spec.history:
            if overlap is not None:
                raise InputError("overlap is of windows, and this generator goes step by step; leave it out")
            return self._stepped(given, frames, queries, samples, parameters, seed, how)
        shared = min(1 + factor, 1 + (segment - given.frames - 1) // factor * factor) if overlap is None else overlap
        check_run("overlap", shared, segment - given.frames, factor)
        check_counts(1, frames=frames, samples=samples)
        _check_points(given, frames, queries, segment)
        target = given if queries is None else queries
        # where a window is encoded anew; one given frame says nothing of motion, equally many points do
        moves = given.moving or (given.frames == 1 and target.moving and len(given.pos) == int(target.ptr[1]))
        between = target if moves else given
        known = self._known({0: given}, "forward", samples)
        told = self.parameter_norm.rows(parameters, len(known.latent))
        generator = torch.Generator().manual_seed(seed)
        made: list[Tensor] = []
        lost = None
        first, skip = -given.frames, given.frames  # first frame of the window; the first predicted one is 0
        while True:
            latent = self.sample(known, parameters=told, generator=generator, **how)[0]
            fields = self._fields(latent, target.around(first, segment))  # [samples, segment, q, c]
            made.append(fields[:, skip:])
            if lost is None and queries is None:
                lost = given.series()[-1] - fields[:, given.frames - 1]
            if first + segment >= frames:
                return self._given_back(torch.cat(made, 1)[:, :frames], lost)
            tail = fields if between is target else self._fields(latent, between.around(first, segment))
            first, skip = first + segment - shared, shared
            places = between.around(first, shared)
            windows = [places.filled(part[-shared:]) for part in tail.to(given.pos)]
            known = self._known({0: PointFrames.batch(windows)}, "forward")

    def _stepped(
        self, given: PointFrames, frames: int, queries: PointFrames | None, samples: int,
        parameters: Mapping[str, float] | None, seed: int, how: Sampling,
    ) -> Tensor:  # fmt: skip
        """:meth:`forecast` of a generator of steps: all latent frames first, then decoded as one trajectory."""
        check_counts(1, frames=frames, samples=samples)
        if how.get("guidance", 1.0) != 1.0:
            raise InputError("guidance is of generators of whole segments; use guidance 1")
        factor = self.spec.time_factor
        _check_points(given, frames, queries, given.frames)
        target = given if queries is None else queries
        known = self.norm(self.autoencoder.encode(given).to(self.device), axis=1)
        known = known.repeat_interleave(1 if self.spec.deterministic else samples, 0)
        told = self.parameter_norm.rows(parameters, len(known))
        if told is not None:
            told = self.parameter_norm(told)
        last = -(-(given.frames + frames - 1) // factor)  # number of the latent frame that holds the last one
        with judging(self):
            change = ask(
                self.model,
                {"parameters": told, "given": torch.full((len(known),), told is not None, device=self.device)},
            )
            latent = march(
                known, 1 + last, change, length=self.spec.history, scale=self.change_scale,
                deterministic=self.spec.deterministic, steps=how.get("steps", 10),
                method=how.get("method", "midpoint"), generator=torch.Generator().manual_seed(seed),
            )  # fmt: skip
            latent = self.norm.inverse(latent, axis=1)
        fields = self._fields(latent, target.around(-given.frames, 1 + factor * last))
        lost = given.series()[-1] - fields[:, given.frames - 1] if queries is None else None
        return self._given_back(fields[:, given.frames : given.frames + frames], lost)

    def _given_back(self, fields: Tensor, lost: Tensor | None) -> Tensor:
        """Forecasts ``[b, t, q, c]`` with what is carried on of ``lost [b, q, c]``."""
        if self.carry is None or lost is None:
            return fields
        factor = self.carry.to(fields)[: fields.shape[1]]
        return torch.cat([
            fields[:, : len(factor)] + factor[:, None] * lost.to(fields).unsqueeze(1), fields[:, len(factor) :]
        ], 1)  # fmt: skip

    def complete(
        self,
        runs: Mapping[int, PointFrames],
        queries: PointFrames,
        *,
        samples: int = 8,
        parameters: Mapping[str, float] | None = None,
        seed: int = 0,
        **how: Unpack[Sampling],
    ) -> tuple[Tensor, Tensor | None]:
        """One segment from what is known of it: forward, inverse, interpolation, or nothing at all.

        Args:
            runs: Known frames of one trajectory by the number of the first, a multiple of f; each has ``1 + f j``
                frames. Empty: unconditional generation.
            queries: Points of the result, of one trajectory with as many frames as a segment; values are not read.
            samples: See :meth:`forecast`.
            parameters: Of the equation, by name; None: not known (or to be identified).
            seed: Of the samples.
            **how: See :meth:`sample`.

        Returns:
            Fields ``[samples, q, s, c]`` (points that stay: s frames; else s = 1) and, from a model that identifies
            them, parameters ``[samples, g]``.

        Raises:
            InputError: Runs that overlap, do not fit, or leave nothing to generate.
        """
        if queries.frames != self.spec.frames or queries.num_trajectories != 1:
            raise InputError(
                f"queries must be one trajectory of {self.spec.frames} frames, got {queries.num_trajectories} of "
                f"{queries.frames}"
            )
        check_counts(1, samples=samples)
        if self.spec.history:
            raise InputError(
                "this generator goes step by step and forecasts only; call forecast, or train one of whole segments "
                "(task.history: 0)"
            )
        known = self._known(runs, ASKED[0 in runs, any(runs)], samples)
        told, generator = self.parameter_norm.rows(parameters, len(known.latent)), torch.Generator().manual_seed(seed)
        latent, found = self.sample(known, parameters=told, generator=generator, **how)
        fields = torch.stack([self.autoencoder.decode(part.unsqueeze(0), queries) for part in latent])
        return fields, None if found is None else found.cpu()

    def expected_error(self, samples: Tensor) -> Tensor:
        """Standard deviation of the error of the mean of a forecast, ``[frames, q, c]``, units of the fields.

        ``sqrt((k + 1) / k variance + missing)``: samples differ by what the generator does not know, and hide what the
        auto-encoder lost; held-out trajectories say how much that is. Beyond the frames they have, as at their last.

        Args:
            samples: ``[k, frames, q, c]``, see :meth:`forecast`; at least two, but of a deterministic model one.

        Raises:
            InputError: The generator was not calibrated, or not for these samples.
        """
        if self.missing_variance is None:
            raise InputError(
                "the spread was not calibrated: train with held-out trajectories (train.validation), or call "
                "meshops.tasks.forecast_scores.calibrate with some"
            )
        return expected_error(samples, self.missing_variance.cpu(), least=1 if self.spec.deterministic else 2)

    def _known(self, runs: Mapping[int, PointFrames], task: TaskName, samples: int = 1) -> Known:
        """Runs of frames, encoded each by itself, at their places: a segment per trajectory, or ``samples`` of one."""
        factor = self.spec.time_factor
        encoded: dict[int, Tensor] = {}
        left = set(range(self.spec.latent_frames))
        for first, run in sorted(runs.items()):
            if first % factor or first < 0:
                raise InputError(f"a run must begin at a multiple of {factor} frames, got frame {first}")
            if (run.frames - 1) % factor:
                fit = 1 + (run.frames - 1) // factor * factor
                raise InputError(f"a run must have 1 + {factor} j frames, got {run.frames}; crop it to {fit}")
            place = first // factor
            taken = set(range(place, place + 1 + (run.frames - 1) // factor))
            if not taken <= left:
                raise InputError(
                    f"the run of {run.frames} frames from frame {first} does not fit: a segment has {self.spec.frames} "
                    "frames, and runs must not overlap"
                )
            left -= taken
            encoded[place] = self.norm(self.autoencoder.encode(run).to(self.device), axis=1)
        if not left:
            raise InputError("all frames of the segment are given, there is nothing to generate; give fewer")
        b = max((run.num_trajectories for run in runs.values()), default=1)
        known = Known.of_runs(encoded, torch.zeros(b, *self.spec.latent, device=self.device), task)
        return known.repeat(1 if self.spec.deterministic else samples)

    def _fields(self, latent: Tensor, points: PointFrames) -> Tensor:
        """``[b, t, q, c]`` of every latent at points that stay, or at equally many in every frame."""
        return torch.stack([points.series(self.autoencoder.decode(z.unsqueeze(0), points)) for z in latent])


def _check_points(given: PointFrames, frames: int, queries: PointFrames | None, segment: int) -> None:
    """Raise ``InputError`` unless it is known where every predicted frame is wanted."""
    for name, points in (("given", given), ("queries", queries)):
        if points is not None and points.num_trajectories != 1:
            raise InputError(f"forecast takes one trajectory, {name} holds {points.num_trajectories}")
    if queries is not None and queries.moving:
        sizes = queries.ptr.diff()
        if queries.frames != frames or bool((sizes != sizes[0]).any()):
            raise InputError(
                f"queries that move need equally many points in each of the {frames} frames to predict, got "
                f"{queries.frames} frames of {int(sizes.min())} to {int(sizes.max())} points"
            )
    elif given.moving and (queries is None or (queries.frames != frames and given.frames + frames > segment)):
        raise InputError(
            f"the given points move, so queries must say where points are in each of the {frames} frames to predict; "
            "pass meshops.point_frames(pos [frames, n, d], values of any kind)"
        )
