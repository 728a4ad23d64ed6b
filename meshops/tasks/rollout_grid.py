"""Trajectories on regular grids.

Channels are normalised once, here, see :mod:`meshops.tasks.grid_channels`. The input of a model is
``[b, h c + k, *grid]``: the newest frame first, the one before, ..., then the channels that do not change.
Models of points and of graphs see the grid through :class:`~meshops.nn.on_grid.OnGrid`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from meshops.data.normalize import Normalizer
from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError, listing
from meshops.metrics.grids import energy_spectrum, grid_errors, vrmse
from meshops.nn.grid_model import GridModel, LossPairs
from meshops.nn.on_grid import OnGrid
from meshops.ops.scores import check_fields
from meshops.ops.segment import segment_mean
from meshops.tasks.base import ALONE, CaseSource, Context, Plain, judging, spread
from meshops.tasks.checks import at_least
from meshops.tasks.grid_channels import GridRolloutSpec, channel_norms, grid_rollout_spec
from meshops.tasks.report import Report, Row
from meshops.tasks.rollout import (
    RolloutSamples,
    RolloutSettings,
    RolloutTask,
    kept_for_training,
    numbered_windows,
    progress,
)
from meshops.tasks.rollout_report import FLOOR, KEPT, Future, draw_rollout, grid_report

MOST_CASES, MOST_FRAMES = 64, 32  # what the statistics are taken from, evenly spread over the set
STEPS, WINDOWS = 20, 32  # of a rollout; one-step windows per trajectory, evenly spread
BATCH = 8  # windows worked on at a time
OFFERS = frozenset({"grid", "points", "graph"})


class GridBatch(NamedTuple):
    """Windows, physical units.

    Attributes:
        frames: ``[b, h, c, *grid]``, oldest first.
        constants: ``[b, k, *grid]``.
        target: ``[b, s, c, *grid]``, the frames that follow.
    """

    frames: Tensor
    constants: Tensor
    target: Tensor


class GridRollout(RolloutTask[TrajectoryDataset, GridBatch]):
    """A model of one step on grids together with the normalisation of its channels.

    Args:
        model: ``[b, h c + k, *grid] -> [b, c, *grid]``, normalised, or a model of points or graphs.
        spec: What is learnt.
        norm: Of the channels.
        constant_norm: Of the channels that do not change.
    """

    usage = "surrogate.task.rollout(frames, steps)"
    space = "grid"
    source = TrajectoryDataset
    spec: GridRolloutSpec

    def __init__(self, model: nn.Module, spec: GridRolloutSpec, norm: Normalizer, constant_norm: Normalizer) -> None:
        super().__init__(model, spec)
        self.norm = norm
        self.constant_norm = constant_norm
        self.asked = {"steps": STEPS, "stride": 1, "cases": 0, "windows": WINDOWS}

    @classmethod
    def samples(cls, data: CaseSource, settings: object, context: Context = ALONE) -> RolloutSamples[TrajectoryDataset]:
        """Windows of trajectories on grids; see the base class."""
        assert isinstance(data, TrajectoryDataset) and isinstance(settings, RolloutSettings)
        kept, steps = kept_for_training(data, context.held_out), settings.window(settings.pushforward + 1)
        if steps > settings.pushforward + 1:
            raise InputError(
                f"on grids gradients go through one step: task.horizon must be {settings.pushforward + 1}, one more "
                f"than task.pushforward, got {steps}; leave it out"
            )
        span = (settings.history + steps - 1) * settings.stride + 1
        windows = numbered_windows(
            data.lengths,
            span,
            cases=kept,
            knobs="task.history or task.stride",
            what=f"history {settings.history}, stride {settings.stride}",
        )
        return RolloutSamples(
            data=data,
            spec=grid_rollout_spec(data, settings),
            offers=OFFERS,
            names=data.spec.channels,
            windows=windows,
            span=span,
            stride=settings.stride,
            cases=kept,
        )

    @classmethod
    def fit(cls, model: nn.Module, samples: RolloutSamples[TrajectoryDataset], settings: object) -> Self:
        """Task with statistics of some training frames, evenly spread."""
        assert isinstance(samples.spec, GridRolloutSpec) and isinstance(settings, RolloutSettings)
        data, some = samples.data, spread(samples.cases, MOST_CASES)
        frames, constants = (some_frames(data, i) for i in some), (data.constants(i) for i in some)
        out = cls(model, samples.spec, *channel_norms(samples.spec, frames, constants))
        out.asked |= {"steps": settings.steps or STEPS, "stride": settings.stride, "cases": settings.cases}
        return out

    @classmethod
    def empty(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Task of the right sizes."""
        made = GridRolloutSpec.from_dict(spec)
        return cls(model, made, Normalizer.identity(len(made.channels)), Normalizer.identity(len(made.constants)))

    @property
    def on_grid(self) -> GridModel:
        """The model as a map of fields on a grid."""
        if isinstance(self.model, GridModel):
            return self.model
        spec = self.spec
        return OnGrid(self.model, spacing=spec.spacing, periodic=spec.periodic, extent=spec.extent)

    def batch(self, samples: RolloutSamples[TrajectoryDataset], draws: Iterable[tuple[int, int]]) -> GridBatch:
        """Windows of the draws; nothing about them is random.

        Raises:
            InputError: Their grids differ.
        """
        data, history, parts = samples.data, self.spec.history, []
        for number, _ in draws:
            index, start = samples.windows[number]
            frames = data.window(index, start, samples.span)[:: samples.stride]
            parts.append((frames[:history], data.constants(index), frames[history:]))
        shapes = sorted({tuple(frames.shape[2:]) for frames, *_ in parts})
        if len(shapes) > 1:
            raise InputError(f"the grids of the set differ ({shapes}); use train.batch_size 1")
        return GridBatch(*(torch.stack(column) for column in zip(*parts, strict=True)))

    def encode(self, frames: Tensor, constants: Tensor) -> Tensor:
        """Input of the model from ``frames [b, h, c, *grid]``, oldest first, and ``constants [b, k, *grid]``."""
        newest_first = self._normalised(frames.flip(1)).flatten(1, 2)
        fixed = self.constant_norm(constants.movedim(1, -1)).movedim(-1, 1)
        return torch.cat([newest_first, fixed], 1)

    def forward(self, frames: Tensor, constants: Tensor) -> Tensor:
        """Next frame ``[b, c, *grid]``, physical units."""
        out = self.on_grid(self.encode(frames, constants))
        if self.spec.residual:
            out = out + self._normalised(frames[:, -1:])[:, 0]
        return self._physical(out)

    def loss(self, batch: GridBatch) -> dict[str, Tensor]:
        """``loss`` of one step, after some without gradients where the spec says so (2202.03376, sec. 3.2)."""
        frames, constants, target = batch
        ahead = self.ahead(target.shape[1])
        if ahead:
            frames = torch.cat([frames, self.unroll(frames, constants, ahead)], 1)[:, -self.spec.history :]
        truth = self._normalised(target[:, ahead : ahead + 1])[:, 0]
        if self.spec.residual:
            truth = truth - self._normalised(frames[:, -1:])[:, 0]
        model, fields = self.on_grid, self.encode(frames, constants)
        if isinstance(model, OnGrid):
            return model.learn(fields, truth, self._criterion)
        return self._criterion(model.loss_pairs(fields, truth))

    def _criterion(self, pairs: LossPairs) -> dict[str, Tensor]:
        return {"loss": pair_loss(pairs, self.spec.loss)}

    @torch.no_grad()
    def unroll(self, frames: Tensor, constants: Tensor, steps: int) -> Tensor:
        """``[b, steps, c, *grid]``: every prediction becomes part of the next input.

        Args:
            frames: ``[b, h, c, *grid]`` first frames, oldest first, physical units.
            constants: ``[b, k, *grid]``.
            steps: Number of frames to predict.
        """
        window, out = frames, []
        for _ in range(steps):
            following = self(window, constants)
            out.append(following)
            window = torch.cat([window[:, 1:], following.unsqueeze(1)], 1)
        return torch.stack(out, 1)

    def rollout(self, frames: Tensor, steps: int, constants: Tensor | None = None) -> Tensor:
        """The frames that follow, ``[b, steps, c, *grid]`` (of one trajectory without b), physical units, on the CPU.

        Args:
            frames: ``[b, h, c, *grid]`` or ``[h, c, *grid]``, oldest first, physical units.
            steps: How many to predict.
            constants: ``[b, k, *grid]`` or ``[k, *grid]``; not needed when the model has none.

        Raises:
            InputError: Shapes do not fit the model, or values are not finite.
        """
        at_least("steps", steps, 1)
        single = frames.dim() == self.spec.dim + 2
        frames = frames.unsqueeze(0) if single else frames
        fixed = self._checked(frames, constants)
        with judging(self):
            out = self.unroll(frames.to(self.device).float(), fixed.to(self.device).float(), steps).cpu()
        return out[0] if single else out

    def _checked(self, frames: Tensor, constants: Tensor | None) -> Tensor:
        """``[b, k, *grid]`` constants of frames, both checked."""
        spec = self.spec
        wanted = (spec.history, len(spec.channels))
        if frames.dim() != spec.dim + 3 or tuple(frames.shape[1:3]) != wanted:
            raise InputError(
                f"frames must be [b, {wanted[0]}, {wanted[1]}, *grid] (history, channels) with {spec.dim} grid axes, "
                f"got {tuple(frames.shape)}"
            )
        for place in range(frames.shape[1]):
            check_fields(frames[:, place], spec.channels)
        grid = tuple(frames.shape[3:])
        if constants is None and spec.constants:
            raise InputError(f"the model needs the constant channels {', '.join(spec.constants)}; give constants=")
        fixed = frames.new_zeros(0, *grid) if constants is None else constants
        fixed = fixed.expand(len(frames), *fixed.shape) if fixed.dim() == spec.dim + 1 else fixed
        if tuple(fixed.shape) != (len(frames), len(spec.constants), *grid):
            raise InputError(
                f"constants must be [{len(frames)}, {len(spec.constants)}, {', '.join(map(str, grid))}] or the same "
                f"without the first, got {tuple(fixed.shape)}"
            )
        if spec.constants:
            check_fields(fixed, spec.constants)
        return fixed

    @torch.no_grad()
    def floor(self, frames: Tensor, constants: Tensor, target: Tensor) -> Tensor:
        """``target`` after it went through the tokens of the model: no prediction can be closer.

        The same tensor where the model works in every cell.
        """
        start = self._normalised(frames[:, -1:])[:, 0] if self.spec.residual else torch.zeros_like(target)
        wanted = self._normalised(target.unsqueeze(1))[:, 0] - start
        reached = self.on_grid.floor(self.encode(frames, constants), wanted)
        return target if reached is wanted else self._physical(start + reached)

    @torch.no_grad()
    def judge(self, samples: RolloutSamples[TrajectoryDataset], case: object) -> dict[str, float]:
        """VRMSE of one step, over up to nine windows of a trajectory."""
        index, data = int(str(case)), samples.data
        length = self.spec.history * samples.stride + 1
        starts = range(0, data.lengths[index] - length + 1, max(1, (data.lengths[index] - length) // 8))
        windows = torch.stack([data.window(index, s, length)[:: samples.stride] for s in starts]).to(self.device)
        constants = data.constants(index).to(self.device)
        guess = self(windows[:, :-1], constants.expand(len(windows), *constants.shape))
        return {"error": float(vrmse(guess, windows[:, -1], dim=self.spec.dim).mean())}

    def evaluate(self, data: CaseSource, *, context: Context = ALONE, **asked: Plain) -> Report:
        """Errors of one step in physical units beside keeping the last frame, and along rollouts.

        Args:
            data: Trajectories.
            context: Progress; with a folder, ``rollout.png``, ``errors.png`` and ``spectrum.png`` are drawn there.
            **asked: ``steps`` of the rollouts, which start at the first frames (fewer where a trajectory is short);
                ``stride``; ``cases``, trajectories at most (0: all); ``windows`` of one step per trajectory.
        """
        found, wanted = self.trajectories(data), self.numbers(asked)
        self._check(found)
        count = min(wanted["cases"] or len(found), len(found))
        rows: dict[str, dict[str, Row]] = {"": {}, KEPT: {}, FLOOR: {}}
        futures: list[Future] = []
        with judging(self):
            for index in progress(count, context):
                for name, row in self._one_step(found, index, wanted["stride"], wanted["windows"]).items():
                    rows[name][found.cases[index]] = row
                future = self._future(found, index, wanted["steps"], wanted["stride"])
                futures.append(future if not futures else future._replace(truth=None, predicted=None))
        report = grid_report(self.kind, rows, futures, {key: wanted[key] for key in ("steps", "stride")})
        if context.folder is not None:
            report.pictures += draw_rollout(report.curves, futures[0], context.folder, label=self.spec.channels[0])
        return report

    def _check(self, data: TrajectoryDataset) -> None:
        spec, given = self.spec, data.spec
        if not len(data):
            raise InputError("there is no trajectory to judge the surrogate on")
        if (given.channels, given.constants, given.dim) != (spec.channels, spec.constants, spec.dim):
            raise InputError(
                f"the {given.dim}-D data with channels {listing(given.channels)} and constants "
                f"{listing(given.constants)} do not fit the surrogate, which is {spec.dim}-D with channels "
                f"{listing(spec.channels)} and constants {listing(spec.constants)}"
            )

    def _one_step(self, data: TrajectoryDataset, index: int, stride: int, most: int) -> dict[str, Row]:
        """Errors of the model, of the newest frame and of the floor, where there is one, over a trajectory."""
        found: dict[str, list[dict[str, Tensor]]] = {}
        for batch in one_step_windows(data, index, self.spec.history, stride, most):
            frames, constants, target = (part.to(self.device) for part in batch)
            target = target[:, 0]
            guesses = {"": self(frames, constants), KEPT: frames[:, -1], FLOOR: self.floor(frames, constants, target)}
            for name, guess in guesses.items():
                if guess is not target:
                    found.setdefault(name, []).append(self._errors(guess, target))
        return {name: {key: _mean([p[key] for p in parts]) for key in parts[0]} for name, parts in found.items()}

    def _errors(self, guess: Tensor, target: Tensor) -> dict[str, Tensor]:
        dim = self.spec.dim
        errors = grid_errors(guess, target, dim=dim)
        errors["nmse"] = errors["nmse"].masked_fill(target.flatten(-dim - 1).eq(0).all(-1), torch.nan)
        each = vrmse(guess, target, dim=dim)
        return errors | {f"vrmse_{name}": each[:, place] for place, name in enumerate(self.spec.channels)}

    def _future(self, data: TrajectoryDataset, index: int, steps: int, stride: int) -> Future:
        """A rollout from the first frames of a trajectory."""
        spec = self.spec
        steps = min(steps, (data.lengths[index] - 1) // stride + 1 - spec.history)
        frames = data.window(index, 0, (spec.history + steps - 1) * stride + 1)[::stride].to(self.device)
        first, truth = frames[: spec.history], frames[spec.history :]
        predicted = self.unroll(first.unsqueeze(0), data.constants(index).to(self.device).unsqueeze(0), steps)[0]
        kept = first[-1:].expand_as(truth)
        curve = {
            f"{key}{end}": self._errors(guess, truth)[key].tolist()
            for end, guess in (("", predicted), ("_kept", kept))
            for key in ("vrmse", "nmse")
        }
        channels = list(spec.velocity) or [0]
        energies = [
            energy_spectrum(part[-1, channels], dim=spec.dim, spacing=spec.spacing)[1].cpu()
            for part in (truth, predicted)
        ]
        return Future(truth.cpu(), predicted.cpu(), curve, torch.stack(energies))

    def _normalised(self, frames: Tensor) -> Tensor:
        out: Tensor = self.norm(frames.movedim(2, -1)).movedim(-1, 2)
        return out

    def _physical(self, values: Tensor) -> Tensor:
        return self.norm.inverse(values.movedim(1, -1)).movedim(-1, 1)


def pair_loss(pairs: LossPairs, name: str) -> Tensor:
    """Mean over samples of the error of each."""
    difference = pairs.prediction - pairs.truth
    error = difference.abs() if name == "mae" else difference.square()
    per_sample = segment_mean(error.mean(1), pairs.ptr)
    if name == "nmse":
        per_sample = per_sample / segment_mean(pairs.truth.square().mean(1), pairs.ptr).clamp(min=1e-12)
    return per_sample.mean()


def some_frames(data: TrajectoryDataset, index: int) -> Tensor:
    """``[t, c, *grid]`` frames of one trajectory, evenly spread: all of a short one."""
    length = data.lengths[index]
    if length <= MOST_FRAMES:
        return data.window(index, 0, length)
    return torch.cat([data.window(index, start, 1) for start in spread(length, MOST_FRAMES)])


def one_step_windows(data: TrajectoryDataset, index: int, history: int, stride: int, most: int) -> Iterator[GridBatch]:
    """Batches of up to ``most`` windows, spread over a trajectory.

    Raises:
        InputError: It is shorter than a window.
    """
    length = history * stride + 1
    if data.lengths[index] < length:
        raise InputError(
            f"{data.cases[index]}: a step takes {length} frames (history {history}, stride {stride}), it has "
            f"{data.lengths[index]}; leave it out or lower stride"
        )
    starts, constants = spread(data.lengths[index] - length + 1, most), data.constants(index)
    for first in range(0, len(starts), BATCH):
        windows = torch.stack([data.window(index, s, length)[::stride] for s in starts[first : first + BATCH]])
        yield GridBatch(windows[:, :-1], constants.expand(len(windows), *constants.shape), windows[:, -1:])


def _mean(parts: list[Tensor]) -> float | None:
    """Mean over the values that are defined."""
    values = torch.cat(parts)
    known = values[torch.isfinite(values)]
    return float(known.mean()) if len(known) else None
