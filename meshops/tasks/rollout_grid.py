"""Trajectories on regular grids.

Channels are normalised once, here, see :mod:`meshops.tasks.grid_channels`. The input of a model is
``[b, h c + k, *grid]``: the newest frame first, the one before, ..., then the channels that do not change.
Models of points and of graphs see the grid through :class:`~meshops.nn.on_grid.OnGrid`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from meshops.checks import check_counts
from meshops.data.normalize import Normalizer
from meshops.data.sampling import spread
from meshops.datasets.told_parameters import ToldParameters, planes
from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError
from meshops.metrics.grids import channel_errors, energy_spectrum, vrmse
from meshops.nn.grid_model import GridModel, LossPairs
from meshops.nn.model import judging
from meshops.nn.on_grid import OnGrid
from meshops.ops.scores import check_fields
from meshops.tasks.base import Context, Plain
from meshops.tasks.grid_channels import GridRolloutSpec, channel_norms
from meshops.tasks.report import Report, Row, shown
from meshops.tasks.rollout import RolloutSamples, RolloutSettings, RolloutTask, Score, condition_values

MOST_CASES, MOST_FRAMES = 64, 32  # what the statistics are taken from, evenly spread over the set
WINDOWS = 32  # one-step windows per trajectory, evenly spread
BATCH = 8  # windows worked on at a time
COLUMNS = {"vrmse": "VRMSE", "nmse": "NMSE", "mse": "MSE", "mae": "MAE"}
KEPT, FLOOR = "keep last frame", "token floor"


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
    space, source, offers = "grid", TrajectoryDataset, frozenset({"grid", "points", "graph"})
    judged, steps = "one step", 20
    spec: GridRolloutSpec

    def __init__(self, model: nn.Module, spec: GridRolloutSpec, norm: Normalizer, constant_norm: Normalizer) -> None:
        super().__init__(model, spec)
        self.norm = norm
        self.constant_norm = constant_norm
        self.asked |= {"windows": WINDOWS}

    @classmethod
    def horizon(cls, settings: RolloutSettings) -> int:
        """Steps without gradients, and with gradients after those: one where nothing is said."""
        return settings.window(settings.pushforward + 1)

    @classmethod
    def telling(cls, data: TrajectoryDataset, conditions: Sequence[str] | None) -> TrajectoryDataset:
        """Conditions are channels that do not change."""
        return ToldParameters(data, conditions) if conditions else data

    @classmethod
    def spec_of(cls, data: TrajectoryDataset, settings: RolloutSettings) -> GridRolloutSpec:
        """Channels, axes and the extent of the first grid."""
        given = data.spec
        sides = [cells * size for cells, size in zip(data.shapes[0], given.spacing, strict=True)]
        return GridRolloutSpec(
            channels=given.channels,
            constants=given.constants,
            conditions=tuple(settings.conditions or ()),
            velocity=given.velocity,
            spacing=given.spacing,
            periodic=given.periodic,
            extent=max(sides) / 2,
            time_step=given.time_step * settings.stride,
            history=settings.history,
            loss=settings.loss,
            residual=bool(settings.residual),
            pushforward=settings.pushforward,
            noise=settings.noise,
        )

    @classmethod
    def fitted(cls, model: nn.Module, samples: RolloutSamples[TrajectoryDataset]) -> Self:
        """Statistics of some training frames, evenly spread."""
        assert isinstance(samples.spec, GridRolloutSpec)
        data, some = samples.data, spread(samples.cases, MOST_CASES)
        frames, constants = (some_frames(data, i) for i in some), (data.constants(i) for i in some)
        return cls(model, samples.spec, *channel_norms(samples.spec, frames, constants))

    @classmethod
    def blank(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Statistics of nothing."""
        made = GridRolloutSpec.from_dict(spec)
        return cls(model, made, Normalizer.identity(len(made.channels)), Normalizer.identity(len(made.constants)))

    @property
    def on_grid(self) -> GridModel:
        """The model as a map of fields on a grid."""
        if isinstance(self.model, GridModel):
            return self.model
        spec = self.spec
        return OnGrid(self.model, spacing=spec.spacing, periodic=spec.periodic, extent=spec.extent)

    # ---- learning

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
        return torch.cat([newest_first, self._each(self.constant_norm, constants)], 1)

    def forward(self, frames: Tensor, constants: Tensor) -> Tensor:
        """Next frame ``[b, c, *grid]``, physical units."""
        out = self.on_grid(self.encode(frames, constants))
        return self._physical(out + self._normalised(frames[:, -1]) if self.spec.residual else out)

    def loss(self, batch: GridBatch) -> dict[str, Tensor]:
        """``loss``, mean over the learnt steps, after some without gradients (2202.03376, sec. 3.2) or with noise."""
        frames, constants, target = batch
        ahead, learnt = self.ahead(target.shape[1]), target.shape[1] - self.spec.pushforward
        if self.spec.noise and self.training:
            frames = self._noisy(frames)
        if ahead:
            frames = torch.cat([frames, self.unroll(frames, constants, ahead)], 1)[:, -self.spec.history :]
        found: list[dict[str, Tensor]] = []
        for step in range(ahead, ahead + learnt):
            parts, following = self._learn(frames, constants, target[:, step])
            found.append(parts)
            frames = torch.cat([frames[:, 1:], following.unsqueeze(1)], 1)
        return {key: torch.stack([parts[key] for parts in found]).mean() for key in found[0]}

    def _learn(self, frames: Tensor, constants: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Loss of one step and the frame it leads to, physical units."""
        truth, newest = self._normalised(target), self._normalised(frames[:, -1])
        if self.spec.residual:
            truth = truth - newest
        model, fields = self.on_grid, self.encode(frames, constants)

        def criterion(pairs: LossPairs) -> dict[str, Tensor]:
            return {"loss": pairs.error(self.spec.loss)}

        if isinstance(model, OnGrid):
            parts, out = model.learn(fields, truth, criterion)
        else:
            pairs, out = model.loss_and_fields(fields, truth)
            parts = criterion(pairs)
        return parts, self._physical(out + newest if self.spec.residual else out)

    def _noisy(self, frames: Tensor) -> Tensor:
        """Frames with noise on the normalised values."""
        values = self._normalised(frames)
        return self._physical(values + self.spec.noise * torch.randn_like(values))

    # ---- use

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

    def rollout(
        self, frames: Tensor, steps: int, constants: Tensor | None = None, conditions: Mapping[str, float] | None = None
    ) -> Tensor:
        """The frames that follow, ``[b, steps, c, *grid]`` (of one trajectory without b), physical units, on the CPU.

        Args:
            frames: ``[b, h, c, *grid]`` or ``[h, c, *grid]``, oldest first, physical units.
            steps: How many to predict.
            constants: ``[b, k, *grid]`` or ``[k, *grid]`` without the conditions; not needed when the model has none.
            conditions: Those of ``spec.conditions`` by name, e.g. ``data.parameters(index)``.

        Raises:
            InputError: Shapes do not fit the model, values are not finite, or a condition is missing.
        """
        check_counts(1, steps=steps)
        single = frames.dim() == self.spec.dim + 2
        frames = frames.unsqueeze(0) if single else frames
        constants = self._with_conditions(frames, constants, conditions or {})
        fixed = self._checked(frames, constants)
        with judging(self):
            out = self.unroll(frames.to(self.device).float(), fixed.to(self.device).float(), steps).cpu()
        return out[0] if single else out

    def _with_conditions(self, frames: Tensor, constants: Tensor | None, given: Mapping[str, float]) -> Tensor | None:
        """Constants with a plane for each condition behind them."""
        values = condition_values(self.spec, given, "rollout")
        if values is None or frames.dim() != self.spec.dim + 3:
            return constants
        told = planes(values, frames[0, 0])
        if constants is None:
            return told
        if constants.shape[-self.spec.dim :] != told.shape[1:]:
            return constants  # is refused
        told = told.expand(*constants.shape[: -self.spec.dim - 1], *told.shape)
        return torch.cat([constants, told], constants.dim() - self.spec.dim - 1)

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
        start = self._normalised(frames[:, -1]) if self.spec.residual else torch.zeros_like(target)
        wanted = self._normalised(target) - start
        reached = self.on_grid.floor(self.encode(frames, constants), wanted)
        return target if reached is wanted else self._physical(start + reached)

    # ---- judgement

    @torch.no_grad()
    def judge(self, samples: RolloutSamples[TrajectoryDataset], case: object) -> dict[str, float]:
        """VRMSE of one step, over up to nine windows of a trajectory."""
        index, data, stride = int(str(case)), samples.data, samples.stride
        last = data.lengths[index] - self.spec.history * stride - 1
        windows = windows_of(data, index, range(0, last + 1, max(1, last // 8)), self.spec.history, stride)
        frames, constants, target = (part.to(self.device) for part in windows)
        return {"error": float(vrmse(self(frames, constants), target[:, 0], dim=self.spec.dim).mean())}

    def score(self, data: TrajectoryDataset, index: int, asked: Mapping[str, int]) -> Score:
        """Errors of one step, physical units, beside keeping the last frame; a rollout from the first frames."""
        spec, stride = self.spec, asked["stride"]
        rows = self._one_step(data, index, stride, asked["windows"])
        steps = min(asked["steps"], (data.lengths[index] - 1) // stride + 1 - spec.history)
        frames = data.window(index, 0, (spec.history + steps - 1) * stride + 1)[::stride].to(self.device)
        first, truth = frames[: spec.history], frames[spec.history :]
        predicted = self.unroll(first.unsqueeze(0), data.constants(index).to(self.device).unsqueeze(0), steps)[0]
        channels = list(spec.velocity) or [0]
        curves: dict[str, Tensor] = {}
        for end, guess in (("", predicted), ("_kept", first[-1:].expand_as(truth))):
            errors = channel_errors(guess, truth, spec.channels, dim=spec.dim)
            curves |= {f"{key}{end}": errors[key].float().cpu() for key in ("vrmse", "nmse")}
        for name, part in (("truth", truth), ("prediction", predicted)):
            energy = energy_spectrum(part[-1, channels], dim=spec.dim, spacing=spec.spacing)[1]
            curves[f"spectrum_{name}"] = energy.cpu()
        return Score(rows, curves, (truth.cpu(), predicted.cpu()))

    def _one_step(self, data: TrajectoryDataset, index: int, stride: int, most: int) -> dict[str, Row]:
        """Errors of the model, of the newest frame and of the floor, where there is one, over a trajectory."""
        found: dict[str, list[dict[str, Tensor]]] = {}
        for batch in one_step_windows(data, index, self.spec.history, stride, most):
            frames, constants, target = (part.to(self.device) for part in batch)
            target = target[:, 0]
            guesses = {"": self(frames, constants), KEPT: frames[:, -1], FLOOR: self.floor(frames, constants, target)}
            for name, guess in guesses.items():
                if guess is not target:
                    errors = channel_errors(guess, target, self.spec.channels, dim=self.spec.dim)
                    found.setdefault(name, []).append(errors)
        return {name: {key: _mean([p[key] for p in parts]) for key in parts[0]} for name, parts in found.items()}

    def columns(self, steps: int) -> dict[str, str]:
        """Errors of one step."""
        return dict(COLUMNS)

    def tell(self, report: Report, first: Score, context: Context) -> None:
        """The VRMSE at a few steps; ``rollout.png``, ``errors.png`` and ``spectrum.png``."""
        ours, kept = report.curves["vrmse"], report.curves["vrmse_kept"]
        places = sorted({0, len(ours) // 4, len(ours) // 2, len(ours) - 1})
        steps = (f"step {i + 1}: {shown(ours[i])} (kept {shown(kept[i])})" for i in places)
        report.lines.append("rollout VRMSE " + ", ".join(steps))
        if context.folder is not None and first.frames is not None:
            from meshops.viz.rollout import draw_rollout  # matplotlib

            label = self.spec.channels[0]
            report.pictures += draw_rollout(report.curves, *first.frames, context.folder, label=label)

    # ---- values

    def _each(self, function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """A function of the channels, the last axis, of ``[..., c, *grid]``."""
        place = -self.spec.dim - 1
        return function(values.movedim(place, -1)).movedim(-1, place)

    def _normalised(self, values: Tensor) -> Tensor:
        return self._each(self.norm, values)

    def _physical(self, values: Tensor) -> Tensor:
        return self._each(self.norm.inverse, values)


def some_frames(data: TrajectoryDataset, index: int) -> Tensor:
    """``[t, c, *grid]`` frames of one trajectory, evenly spread: all of a short one."""
    length = data.lengths[index]
    if length <= MOST_FRAMES:
        return data.window(index, 0, length)
    return torch.cat([data.window(index, start, 1) for start in spread(length, MOST_FRAMES)])


def windows_of(data: TrajectoryDataset, index: int, starts: Iterable[int], history: int, stride: int) -> GridBatch:
    """Windows of one step of a trajectory."""
    windows = torch.stack([data.window(index, start, history * stride + 1)[::stride] for start in starts])
    constants = data.constants(index)
    return GridBatch(windows[:, :-1], constants.expand(len(windows), *constants.shape), windows[:, -1:])


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
    starts = spread(data.lengths[index] - length + 1, most)
    for first in range(0, len(starts), BATCH):
        yield windows_of(data, index, starts[first : first + BATCH], history, stride)


def _mean(parts: list[Tensor]) -> float | None:
    """Mean over the values that are defined."""
    values = torch.cat(parts)
    known = values[torch.isfinite(values)]
    return float(known.mean()) if len(known) else None
