"""Generation of whole latent trajectories: what is learnt, the flow matching loss, samples.

Latents of all training segments are made once, by an auto-encoder that stays as it is. What a training example shows is
drawn anew at every step (:mod:`meshops.nn.known_frames`); the loss counts what is not observed. Forecasts from fields
to fields: :mod:`meshops.tasks.forecast`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from meshops.checks import check_counts
from meshops.data.normalize import Normalizer, QuantityNormalizer, Statistics
from meshops.data.point_frames import PointFrames
from meshops.errors import InputError
from meshops.nn.causal_tower import check_run
from meshops.nn.flow import draw_times, flow_pair, masked_loss
from meshops.nn.known_frames import draw_known
from meshops.tasks.autoencode import AutoencodeTask
from meshops.tasks.base import ALONE, CaseSource, Context, Draw, Plain, register_task
from meshops.tasks.carry import learn_carry
from meshops.tasks.forecast import Forecaster
from meshops.tasks.forecast_scores import calibrate, judge_forecasts
from meshops.tasks.latent_steps import ask, change_scale, decoder_gain, step_loss
from meshops.tasks.latents import encoded_segments
from meshops.tasks.report import Report
from meshops.tasks.segments import GenerateSamples, GenerateSettings, GenerateSpec
from meshops.tasks.windows import count_learnt

JUDGED_DRAWS = 8  # examples of a held-out segment


@register_task("generate")
class GenerateTask(Forecaster):
    """How a generator is trained and judged; what it can do: :class:`~meshops.tasks.forecast.Forecaster`."""

    Settings: ClassVar[type] = GenerateSettings
    usage = "surrogate.task.forecast(...) or .complete(...)"

    @classmethod
    def samples(cls, data: CaseSource, settings: object, context: Context = ALONE) -> GenerateSamples:
        """Latents of all segments of the first trajectories, made by the auto-encoder ``start`` and kept in a file."""
        assert isinstance(settings, GenerateSettings)
        start = context.start
        if start is None:
            raise InputError("a generator needs an auto-encoder; give task.start, e.g. runs/.../model.ckpt")
        if not isinstance(start, AutoencodeTask):
            raise InputError(f"task.start holds a surrogate of kind '{start.kind}'; give one of kind 'autoencode'")
        stride, frames = settings.stride, start.spec.frames
        points = start.spec.opened(data, stride)
        kept = count_learnt(points, context.held_out, frames, stride)
        if settings.given is not None:
            check_run("given", settings.given, frames - 1, start.model.time_factor)
        start.to(context.device)
        begin = time.perf_counter()

        encode = partial(
            encoded_segments,
            start,
            points,
            every=settings.every or max(1, frames // 2),
            stride=stride,
            runs=settings.tasks[1] + settings.tasks[2] > 0 and not settings.history,
            reuse=context.reuse,
            context=context,
        )
        folder = context.folder
        learnt = encode(range(kept), folder and folder / "latents.pt")
        spent = time.perf_counter() - begin
        each = [encode(range(i, i + 1), folder and folder / f"validation_{i}.pt") for i in range(kept, len(points))]
        held = [{name: values[:1] for name, values in found.items()} for found in each]
        said = [f"segments encoded in {spent:.1f} s"]
        return GenerateSamples(
            points=points, autoencoder=start, latents=learnt, held_out=held, settings=settings, cases=kept, remarks=said
        )

    @classmethod
    def fit(cls, model: nn.Module, samples: GenerateSamples, settings: object) -> Self:
        """Task with statistics of the latents and parameters."""
        assert isinstance(settings, GenerateSettings)
        task = cls.fitted(model, samples.spec, samples.latents["latents"], samples.latents["parameters"])
        task.attach({"autoencoder": samples.autoencoder})
        task.weigh(samples.points.window(0, 0, samples.spec.frames, settings.stride))
        task.asked = settings.asked()
        return task

    @classmethod
    def fitted(cls, model: nn.Module, spec: GenerateSpec, latents: Tensor, parameters: Tensor) -> Self:
        """Task with statistics of training latents ``[m, d, t, *cells]`` and parameters ``[m, g]``."""
        norm = Normalizer.from_statistics(Statistics.of(latents.movedim(1, -1).flatten(0, -2)))
        task = cls(model, spec, norm, QuantityNormalizer.fitted(parameters, spec.parameters, spec.logarithmic))
        if spec.history:
            task.change_scale.copy_(change_scale(norm(latents, axis=1)))
        return task

    def weigh(self, window: PointFrames) -> None:
        """Where the spec asks for it, find what the decoder does with every channel, from a training segment."""
        if self.spec.weigh:
            gain = decoder_gain(self.autoencoder, window, self.norm.scale)
            gain = gain * self.change_scale.square() if self.spec.history else gain
            self.weight.copy_(gain / gain.mean())

    @classmethod
    def empty(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """See the base class."""
        made = GenerateSpec.from_dict(spec)
        quantities = QuantityNormalizer.fitted(None, made.parameters, made.logarithmic)
        return cls(model, made, Normalizer.identity(made.latent[0]), quantities)

    def batch(self, samples: GenerateSamples, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """Latents of segments, of later runs of their frames, and parameters."""
        return samples.batch([draw.number for draw in draws])

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Flow matching loss (or the square error of the clean latents) on what is not observed.

        Args:
            batch: ``latents [b, d, t, *cells]``; ``runs [b, d, t (t - 1) / 2, *cells]`` encodings of the frames from
                latent frame 1, 2, ... on, one after the other (may be empty); ``parameters [b, g]``.
        """
        clean = self.norm(batch["latents"], axis=1)
        b, device = len(clean), clean.device
        if self.spec.history:
            parameters, given = self._draw_parameters(batch["parameters"])
            change = ask(self.model, {"parameters": parameters, "given": given})
            total = step_loss(clean, change, scale=self.change_scale, weight=self.weight, **self.spec.step())
            return {"loss": total, "latent": total.detach()}
        known = draw_known(clean, self.norm(batch["runs"], axis=1), self.spec.tasks)
        parameters, given = self._draw_parameters(batch["parameters"])
        r = torch.zeros(b) if self.spec.deterministic else draw_times(b, law=self.spec.law)
        r = r.to(device)
        noisy, target = flow_pair(clean, torch.randn_like(clean), r)
        told: dict[str, Any] = {"hint": known.hint, "start": known.start, "parameters": parameters, "given": given}
        if self.spec.identify and parameters is not None:
            noisy_parameters, wanted_parameters = flow_pair(parameters, torch.randn_like(parameters), r)
            told["noisy_parameters"] = torch.zeros_like(parameters) if self.spec.deterministic else noisy_parameters
        made = self.model(noisy, known.latent, known.observed, r, known.task, **told)
        root = self.weight.sqrt().view(1, -1, *(1,) * (clean.dim() - 2))
        aim = clean if self.spec.deterministic else target
        total = masked_loss(root * made.latent, root * aim, known.wanted())
        out = {"loss": total, "latent": total.detach()}
        if made.parameters is not None and parameters is not None and given is not None:
            aim = parameters if self.spec.deterministic else wanted_parameters
            part = masked_loss(made.parameters, aim, ~given.view(-1, 1))
            out |= {"loss": total + part, "parameters": part.detach()}
        return out

    def judge(self, samples: GenerateSamples, case: object) -> dict[str, float]:
        """Loss of a held-out segment, the same examples of it every time."""
        del samples
        assert isinstance(case, dict)
        device = self.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            rows = {key: value.expand(JUDGED_DRAWS, *value.shape[1:]).to(device) for key, value in case.items()}
            return {"error": float(self.loss(rows)["loss"])}

    def finished(self, samples: GenerateSamples, context: Context) -> Sequence[str]:
        """Calibrate the spread on the held-out trajectories."""
        del context
        held = range(samples.cases, len(samples.points))
        out = []
        if samples.settings.carry:
            given = samples.settings.given or min(1 + self.spec.time_factor, self.spec.frames - self.spec.time_factor)
            self.carry = learn_carry(
                self.autoencoder, samples.points, range(samples.cases), given=given, stride=samples.settings.stride
            )
            share = float(self.carry[0].mean())
            out.append(f"given back of what the auto-encoder lost of the last frame: {share:.2f} one frame later")
        if not held:
            return out
        if samples.autoencoder.cases > samples.cases:
            out.append(
                "note: the auto-encoder was trained on held-out trajectories too; it will lose more of new ones than "
                "is expected: give all stages the same train.validation"
            )
        chosen: dict[str, Any] = {name: self.asked[name] for name in ("given", "steps", "samples", "stride")}
        chosen["samples"] = max(2, chosen["samples"])
        try:
            ahead = calibrate(self, samples.points, held, **chosen)
        except InputError as error:  # what was learnt is worth more than its calibration
            return [*out, f"note: the spread was not calibrated: {error}"]
        return [*out, f"spread: calibrated for {ahead} frames ahead (held-out trajectories: {len(held)})"]

    def evaluate(self, data: CaseSource, *, context: Context = ALONE, **asked: Plain) -> Report:
        """Ensembles of forecasts, scored; what is asked: see :func:`meshops.tasks.forecast_scores.judge_forecasts`."""
        chosen: dict[str, Any] = self.asking(asked)
        counts = ("given", "steps", "samples", "stride", "integration")
        check_counts(1, **{key: chosen[key] for key in counts})
        check_counts(0, cases=chosen["cases"])
        self.to(context.device)
        points = self.autoencoder.spec.opened(data)
        return judge_forecasts(self, points, context, **chosen)

    def _draw_parameters(self, parameters: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Normalised parameters and which examples may see them."""
        if not self.spec.parameters:
            return None, None
        share = 0.5 if self.spec.identify else self.spec.dropout
        given = torch.rand(len(parameters)) >= share
        return self.parameter_norm(parameters), given.to(parameters.device)
