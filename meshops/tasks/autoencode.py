"""Compression of trajectories on points: normalisation, the loss of an auto-encoder, encoding and decoding.

Fields are normalised once, here: one shift per channel, one scale per field, so that vectors keep their direction. The
encoder sees a random part of the points, the loss looks at others (ENMA, 2506.06158, E.2: new draw at every step).
An auto-encoder that is trained can be refined on single frames: its convolutions in time then stay as they are, and
trajectories are replayed in a share of the steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import partial, reduce
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from meshops import ranks
from meshops.checks import at_least
from meshops.data.normalize import Normalizer, Statistics
from meshops.data.point_frames import PointFrames
from meshops.data.sampling import spread
from meshops.data.tensor_cache import fingerprint
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.errors import InputError, listing
from meshops.metrics.losses import relative_errors
from meshops.nn.causal_tower import Latent, check_frames, compression
from meshops.nn.model import judging
from meshops.ops.segment import segment_sum
from meshops.tasks.base import ALONE, CaseSource, Context, Draw, Plain, Task, register_task
from meshops.tasks.report import Report, Row, means
from meshops.tasks.windows import (
    AutoencodeSamples,
    AutoencodeSettings,
    AutoencodeSpec,
    WindowSettings,
    check_lengths,
    check_parts,
    count_learnt,
)

FITTED_WINDOWS = 32  # what the statistics are taken from
JUDGED_WINDOWS = 2  # per trajectory, evenly spread


@register_task("autoencode")
class AutoencodeTask(Task[AutoencodeSamples, PointFrames]):
    """An auto-encoder together with the normalisation of its fields.

    Args:
        model: Has ``encode_frames``, ``decode_frames``, ``notes``, ``time_factor`` and ``latent_shape``, as
            :class:`~meshops.models.echo.autoencoder.EchoAutoencoder` has, and to be refined a ``tower``.
        spec: What is compressed.
        norm: Of the fields.
        constant_norm: Of the constant channels.

    Attributes:
        compression: ``rate``, numbers of a training example over those of its latent, and shape ``latent`` of that.
        cases: Trajectories it learnt from.
        refined: Error of trajectories ``before`` and ``after`` refining.
    """

    Settings: ClassVar[type] = AutoencodeSettings
    remembered = ("compression", "cases", "refined")
    usage = "surrogate.task.encode(...), .decode(...) or .reconstruct(...)"
    model: Any
    spec: AutoencodeSpec

    def __init__(self, model: nn.Module, spec: AutoencodeSpec, norm: Normalizer, constant_norm: Normalizer) -> None:
        super().__init__(model, spec)
        self.norm, self.constant_norm = norm, constant_norm
        self.asked: dict[str, Plain] = {"parts": (1.0, 0.5, 0.2), "cases": 0}
        self.compression: dict[str, Plain] = {}
        self.cases = 0
        self.refined: dict[str, float] = {}

    @classmethod
    def samples(cls, data: CaseSource, settings: object, context: Context = ALONE) -> AutoencodeSamples:
        """Windows of the first trajectories; with ``start``, an auto-encoder that is trained further (``begun``)."""
        assert isinstance(settings, AutoencodeSettings)
        start = context.start
        if start is not None and not isinstance(start, AutoencodeTask):
            raise InputError(f"task.start holds a surrogate of kind '{start.kind}'; give one of kind '{cls.kind}'")
        if settings.refine and start is None:
            raise InputError("refining needs an auto-encoder to start from; give task.start, e.g. runs/.../model.ckpt")
        if start is None:
            points = PointTrajectories(data, settings.fields)
            offered = asdict(points.spec) | {"time_step": points.spec.time_step * settings.stride}
        else:
            if settings.fields is not None and tuple(settings.fields) != start.spec.fields:
                raise InputError(
                    f"task.fields are {listing(settings.fields)}, the auto-encoder was trained with "
                    f"{listing(start.spec.fields)}; use those"
                )
            points, offered = start.spec.opened(data, settings.stride), start.spec.to_dict()
        kept = count_learnt(points, context.held_out, settings.frames, settings.stride)
        asked = {f.name: getattr(settings, f.name) for f in fields(WindowSettings)}
        samples = AutoencodeSamples(points, AutoencodeSpec.from_dict(offered | asked), settings, kept)
        if start is not None:
            samples.begun = _begun(start, samples, context)
        return samples

    @classmethod
    def fit(cls, model: nn.Module, samples: AutoencodeSamples, settings: object) -> Self:
        """Task with statistics of some windows."""
        del settings
        rows = samples.windows[:: max(1, len(samples.windows) // FITTED_WINDOWS)]
        frames = samples.settings.learned
        task = cls.fitted(model, samples.spec, (samples.window(*row, frames) for row in rows))
        task.begin(lambda: (samples.window(*row, frames) for row in rows))
        task._learn_from(samples)
        return task

    @classmethod
    def fitted(cls, model: nn.Module, spec: AutoencodeSpec, windows: Iterable[PointFrames]) -> Self:
        """Task with statistics of windows, at least one (every point and frame counts once)."""
        values, constants = [], []
        for part in windows:  # one after the other: a window may be large
            values.append(Statistics.of(part.values.flatten(0, 1)))
            if part.constants is not None and spec.constants:
                constants.append(Statistics.of(part.constants))
        norm = Normalizer.by_field(reduce(Statistics.merge, values), spec.slices().values())
        fixed = Normalizer.from_statistics(reduce(Statistics.merge, constants)) if constants else Normalizer.identity(0)
        return cls(model, spec, norm, fixed)

    def begin(self, windows: Callable[[], Iterable[PointFrames]]) -> None:
        """Let models that can begin as principal components of training windows do so.

        Args:
            windows: Gives them from the start each time it is called, physical units.
        """
        if hasattr(self.model, "fit_components"):
            with judging(self):
                self.model.fit_components(
                    lambda: (
                        self._inputs(w, self.norm(w.values.float())) for w in (p.to(self.device) for p in windows())
                    )
                )

    @classmethod
    def empty(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """See the base class."""
        made = AutoencodeSpec.from_dict(spec)
        return cls(model, made, Normalizer.identity(made.channels), Normalizer.identity(len(made.constants)))

    def batch(self, samples: AutoencodeSamples, draws: Sequence[Draw]) -> PointFrames:
        """Windows, or single frames, one after the other."""
        return samples.read([draw.number for draw in draws], [draw.seed for draw in draws])

    def loss(self, batch: PointFrames) -> dict[str, Tensor]:
        """Relative L2 error of the reconstruction, mean over trajectories (or their frames), and the KL term."""
        low, high = self.spec.points
        fraction = float(torch.empty(()).uniform_(low, high)) if low < high else low
        source = batch.subsample(fraction) if fraction < 1 else batch
        target = batch.subsample(1.0, most=self.spec.targets) if self.spec.targets else batch
        latent = self.latents_of(source)
        z = latent.mean
        if latent.log_variance is not None and self.training:
            z = z + torch.randn_like(z) * (0.5 * latent.log_variance).exp()
        elif self.spec.noise and self.training:
            z = z + self.spec.noise * torch.randn_like(z)
        whole = self.spec.relative_to == "window"
        errors = relative_errors(
            self.normalised_fields_of(z, target),
            self.norm(target.values),
            target.trajectory_ptr if whole else target.ptr,
            each=not whole,
        )
        error = ranks.mean(errors)
        divergence = latent.kl()
        return {"loss": error + self.spec.kl * divergence, "relative_l2": error.detach(), "kl": divergence.detach()}

    def judge(self, samples: AutoencodeSamples, case: object) -> dict[str, float]:
        """Error of the first window of a trajectory; 0 where its fields are zero and nothing can be said."""
        assert isinstance(case, int)
        error = self.error(samples.window(case, 0, self.spec.frames))
        return {"error": error if math.isfinite(error) else 0.0}

    def finished(self, samples: AutoencodeSamples, context: Context) -> Sequence[str]:
        """Free the weights that were kept while refining, and say what it did to trajectories."""
        del context
        if not samples.settings.refine:
            return ()
        for weight in self.model.tower.temporal_parameters():
            weight.requires_grad_(True)
        self.refined["after"] = _trajectory_error(self, samples)
        return ["trajectories before and after refining: {before:.4f}, {after:.4f}".format(**self.refined)]

    @torch.no_grad()
    def evaluate(self, data: CaseSource, *, context: Context = ALONE, **asked: Plain) -> Report:
        """Relative L2 errors of trajectories that are reconstructed from a part of their points, always at all points.

        Asked are ``parts`` of the points, and ``cases`` at most (0: all).
        """
        chosen = self.asking(asked)
        parts, most = check_parts(chosen["parts"], "parts"), at_least("cases", chosen["cases"], 0)
        self.to(context.device)
        points = self.spec.opened(data)
        check_lengths(points.lengths, self.spec.frames, self.spec.stride)
        rows: dict[str, Row] = {}
        windows: dict[str, dict[str, float]] = {}
        count = min(most or len(points), len(points))
        for case, found in enumerate(ranks.shared_out(range(count), lambda case: self._errors(points, case, parts))):
            windows |= found
            if found:
                rows[points.cases[case]] = means(found)
        curves = ranks.shared_out(range(len(rows)), partial(self._curves, points))
        table = pad_sequence([curve for each in curves for curve in each], batch_first=True)
        squares = {name: {key: error**2 for key, error in errors.items()} for name, errors in windows.items()}
        return Report(
            kind=self.kind,
            title=f"relative L2 error by part of the points given, mean of {len(rows)} trajectories",
            mean=means(rows),
            cases=rows,
            details={
                "frames": self.spec.frames,
                "stride": self.spec.stride,
                "mean_square": means(squares),
                **({"compression": round(float(self.compression["rate"]), 2)} if self.compression else {}),  # type: ignore[arg-type]
                **({"trajectory_error": dict(self.refined)} if self.refined else {}),
            },
            columns={_key(part): f"{100 * part:g} %" for part in parts},
            curves={"relative_l2": table.nanmean(0).tolist()} if len(table) else {},
        )

    def error(self, window: PointFrames, part: float = 1.0, *, seed: int = 0) -> float:
        """Mean over fields of ``||u' - u|| / ||u||`` over all points and frames, from a part of the points.

        Fields that are zero everywhere do not count; NaN if all of them are.
        """
        source = window.subsample(part, generator=torch.Generator().manual_seed(seed))
        wrong = self.decode(self.encode(source), window) - window.values
        parts = [(wrong[..., c].norm(), window.values[..., c].norm()) for c in self.spec.slices().values()]
        defined = [error / size.clamp(min=1e-12) for error, size in parts if float(size) > 0]
        return float(torch.stack(defined).mean()) if defined else math.nan

    def frame_errors(self, window: PointFrames) -> Tensor:
        """``[t]`` the same of every frame by itself, from all points, for a trajectory of any length."""
        wrong = (self.through(window) - window.values).square()
        found = []
        for c in self.spec.slices().values():
            error, size = (segment_sum(part[..., c].sum(2), window.ptr) for part in (wrong, window.values.square()))
            found.append(torch.where(size > 0, error / size.clamp(min=1e-30), torch.nan).sqrt().flatten())
        return torch.stack(found).nanmean(0)

    def through(self, points: PointFrames) -> Tensor:
        """Fields ``[q, s, c]`` of one trajectory of any length after they went through the latents, nothing generated.

        In segments one after the other; the last one ends where the trajectory ends, and counts where it is new.
        """
        factor, frames = self.model.time_factor, points.frames
        length = min(self.spec.frames, 1 + (frames - 1) // factor * factor)
        parts = []
        for first in range(0, frames, length):
            begin = min(first, frames - length)
            made = self.reconstruct(points.crop(begin, length))
            new = int(points.ptr[first] - points.ptr[begin]) if points.moving else 0
            parts.append(made[new:] if points.moving else made[:, first - begin :])
        return torch.cat(parts, 0 if points.moving else 1)

    def encode(self, source: PointFrames) -> Tensor:
        """Latents ``[b, d, t_z, *cells]`` of ``1 + f m`` :func:`meshops.point_frames`; errors as :meth:`latents_of`."""
        with judging(self):
            return self.latents_of(source.to(self.device)).mean

    def decode(self, latent: Tensor, queries: PointFrames) -> Tensor:
        """Fields ``[q, s, c]`` at points, physical units, on the CPU; errors as :meth:`normalised_fields_of`."""
        with judging(self):
            found = self.normalised_fields_of(latent.to(self.device), queries.to(self.device))
            return self.norm.inverse(found).cpu()

    def reconstruct(self, source: PointFrames, queries: PointFrames | None = None) -> Tensor:
        """``[q, s, c]`` fields after they went through the latents, at ``queries`` or at the same points."""
        return self.decode(self.encode(source), source if queries is None else queries)

    def latents_of(self, source: PointFrames) -> Latent:
        """Latents of trajectories in physical units, with gradients; all on the device of the task.

        Raises:
            InputError: The number of frames does not fit, points outside of the box, or values that are not finite.
        """
        if source.values.shape[2] != self.spec.channels:
            raise InputError(
                f"the fields are {', '.join(self.spec.fields)} ({self.spec.channels} channels), got "
                f"{source.values.shape[2]} channels"
            )
        if not bool(torch.isfinite(source.values).all()):
            raise InputError("the fields hold NaN or infinite values; drop those frames or points")
        made: Latent = self.model.encode_frames(self._inputs(source, self.norm(source.values.float())))
        return made

    def normalised_fields_of(self, latent: Tensor, queries: PointFrames) -> Tensor:
        """:meth:`decode` before the units are put back, with gradients; all on the device of the task.

        Raises:
            InputError: The queries have other trajectories or frames than the latent, or lie outside of the box.
        """
        made: Tensor = self.model.decode_frames(latent, self._inputs(queries, queries.values))
        return made

    def fingerprint(self) -> str:
        """Hash of weights and settings: latents of one auto-encoder mean nothing to another."""
        words = [sorted(self.spec.to_dict().items()), sorted(getattr(self.model, "neighbors", {}).items())]
        return fingerprint(words, sorted(self.state_dict().items()))

    def _learn_from(self, samples: AutoencodeSamples) -> None:
        """Note what the samples are and ask for; raise ``InputError`` unless the model takes so many frames."""
        settings = samples.settings
        for number in (settings.frames, settings.learned):
            check_frames(number, self.model.time_factor)
        factor = self.model.time_factor
        if settings.learned < 1 + factor and factor > 1:
            raise InputError(
                f"examples of {settings.learned} frames are shorter than what the model compresses, {factor} frames "
                f"into one; give task.frames and task.learn_frames at least {1 + factor}, or layers without 'time'"
            )
        self.asked = {"parts": settings.test_points, "cases": settings.cases}
        self.cases = max(self.cases, samples.cases)
        frame = samples.window(0, 0, 1)
        shape = tuple(self.model.latent_shape(settings.frames))
        rate = compression(len(frame.pos), self.spec.channels, settings.frames, shape)
        self.compression = {"rate": rate, "latent": list(shape)}
        samples.remarks.append(
            f"{len(frame.pos)} points x {settings.frames} frames -> latent {' x '.join(map(str, shape))}, {rate:.1f} "
            "times smaller"
        )
        samples.remarks += self.model.notes(frame.to(self.device))

    def _errors(
        self, points: PointTrajectories, case: int, parts: Sequence[float] = (1.0,)
    ) -> dict[str, dict[str, float]]:
        """Window of a trajectory -> part of the points -> error; no window where it is too short."""
        frames, stride = self.spec.frames, self.spec.stride
        found = {}
        for start in spread(max(0, points.lengths[case] - (frames - 1) * stride), JUDGED_WINDOWS):
            window = points.window(case, start, frames, stride)
            found[f"{case} {start}"] = {_key(part): self.error(window, part, seed=start) for part in parts}
        return found

    def _curves(self, points: PointTrajectories, case: int) -> list[Tensor]:
        """Errors of the frames of the windows of :meth:`_errors`."""
        frames, stride = self.spec.frames, self.spec.stride
        starts = spread(max(0, points.lengths[case] - (frames - 1) * stride), JUDGED_WINDOWS)
        return [self.frame_errors(points.window(case, start, frames, stride)).cpu() for start in starts]

    def _inputs(self, points: PointFrames, values: Tensor) -> PointFrames:
        """Points with these values, their constants normalised."""
        known = self.spec.constants and points.constants is not None
        fixed = self.constant_norm(points.constants) if known else None
        return replace(points, pos=points.pos.float(), values=values, constants=fixed)


def _begun(start: AutoencodeTask, samples: AutoencodeSamples, context: Context) -> AutoencodeTask:
    """The auto-encoder of an earlier run with the settings of this one; refining, without its weights in time."""
    task = AutoencodeTask(start.model, samples.spec, start.norm, start.constant_norm)
    task.made, task.cases = start.made, start.cases
    task.to(context.device)
    task._learn_from(samples)
    if samples.settings.refine:
        task.refined = {"before": _trajectory_error(task, samples)}
        for weight in task.model.tower.temporal_parameters():
            weight.requires_grad_(False)
    return task


def _trajectory_error(task: AutoencodeTask, samples: AutoencodeSamples) -> float:
    """Mean error of the held-out trajectories; of those that are learnt where none is held out."""
    windows: dict[str, dict[str, float]] = {}
    for case in samples.held_out or range(len(samples.points)):
        windows |= task._errors(samples.points, case)
    return float(means(windows)[_key(1.0)] or 0)


def _key(part: float) -> str:
    return f"rel_l2@{part}"
