"""Trajectories on meshes that may move.

States are normalised once, here. A model sees ``[state, one-hot kind of node]`` and predicts the change to the next
frame. Nodes whose kind is forced (walls, inflow) take their value from the data, in training and in rollouts.
Training unrolls a few steps with gradients through all of them (EAGLE), or feeds predictions back without gradients
before the one step that learns (pushforward: Brandstetter et al., 2202.03376, sec. 3.2). A model that wants the
clusters a set has stored (k-means of EAGLE) gets them wherever frames are read from a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from meshops.data.mesh_graph import MeshGraph
from meshops.data.normalize import Normalizer
from meshops.datasets.mesh_trajectory import NODE_TYPES, MeshTrajectoryDataset, MeshWindow
from meshops.errors import InputError, listing, some
from meshops.nn.mesh_model import LearnsWithTruth
from meshops.tasks.base import ALONE, CaseSource, Context, Plain, judging
from meshops.tasks.mesh_states import Frames, MeshRolloutSpec, mesh_norms, n_rmse
from meshops.tasks.report import Report, Row, means
from meshops.tasks.rollout import (
    RolloutSamples,
    RolloutSettings,
    RolloutTask,
    kept_for_training,
    numbered_windows,
    progress,
)

MOST_WINDOWS = 32  # what the statistics of trajectories are taken from
STEPS, HORIZON = 50, 5
MARKS = (1, 10, 50, 100, 250)  # steps that rollouts are judged after, beside the last
OFFERS = frozenset({"graph", "points"})
KEPT = "first frame kept"


class MeshRollout(RolloutTask[MeshTrajectoryDataset, list[Frames]]):
    """A model of one step on a mesh together with the normalisation of the state.

    Args:
        model: On graphs or points, ``[n, channels + 9] -> [n, channels]``.
        spec: What is learnt.
        norm: Of the state: one scale per field, so that vectors keep their direction.
        position: ``[dim + 1]`` shift and scale of the positions.
    """

    usage = "surrogate.task.rollout(window)"
    space = "mesh"
    source = MeshTrajectoryDataset
    spec: MeshRolloutSpec
    position: Tensor

    def __init__(self, model: nn.Module, spec: MeshRolloutSpec, norm: Normalizer, position: Tensor) -> None:
        super().__init__(model, spec)
        self.norm = norm
        self.register_buffer("position", position.to(torch.float32))
        self.asked = {"steps": STEPS, "stride": 1, "cases": 0}

    @classmethod
    def samples(
        cls, data: CaseSource, settings: object, context: Context = ALONE
    ) -> RolloutSamples[MeshTrajectoryDataset]:
        """Windows of trajectories on meshes; see the base class."""
        assert isinstance(data, MeshTrajectoryDataset) and isinstance(settings, RolloutSettings)
        if settings.history > 1:
            raise InputError(f"on meshes the model sees one frame: task.history must be 1, got {settings.history}")
        kept, steps = kept_for_training(data, context.held_out), settings.window(HORIZON)
        span, given = steps * settings.stride + 1, data.spec
        windows = numbered_windows(
            data.lengths,
            span,
            cases=kept,
            knobs="task.horizon or task.stride",
            what=f"horizon {steps}, stride {settings.stride}",
        )
        spec = MeshRolloutSpec(
            fields=given.fields,
            sizes=given.sizes,
            units=given.units,
            weights=given.weights,
            forced=given.forced,
            time_step=given.time_step * settings.stride,
            dim=data[0].pos.shape[1],
            loss=settings.loss,
            residual=settings.residual is not False,
            pushforward=settings.pushforward,
        )
        return RolloutSamples(
            data=data,
            spec=spec,
            offers=OFFERS,
            names=given.fields,
            windows=windows,
            span=span,
            stride=settings.stride,
            cases=kept,
        )

    @classmethod
    def fit(cls, model: nn.Module, samples: RolloutSamples[MeshTrajectoryDataset], settings: object) -> Self:
        """Task with statistics of some windows (each node and frame counts once)."""
        assert isinstance(samples.spec, MeshRolloutSpec) and isinstance(settings, RolloutSettings)
        some_windows = samples.windows[:: max(1, len(samples.windows) // MOST_WINDOWS)]
        read = (window_of(samples.data, i, s, samples.span, samples.stride) for i, s in some_windows)
        out = cls(model, samples.spec, *mesh_norms(samples.spec, ((w.state, w.pos) for w in read)))
        out.asked |= {"steps": settings.steps or STEPS, "stride": settings.stride, "cases": settings.cases}
        return out

    @classmethod
    def empty(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Task of the right sizes."""
        made = MeshRolloutSpec.from_dict(spec)
        return cls(model, made, Normalizer.identity(made.channels), torch.zeros(made.dim + 1))

    def batch(self, samples: RolloutSamples[MeshTrajectoryDataset], draws: Iterable[tuple[int, int]]) -> list[Frames]:
        """Windows of the draws; nothing about them is random."""
        return [
            self.frames(samples.data, *samples.windows[number], samples.span, samples.stride) for number, _ in draws
        ]

    def frames(self, data: MeshTrajectoryDataset, index: int, start: int, span: int, stride: int) -> Frames:
        """Every ``stride``-th of ``span`` frames of a trajectory, with the clusters the set keeps if the model asks."""
        size, clusters = stored_cluster_size(self.model), None
        if size:
            found = [data.clusters(index, frame, size) for frame in range(start, start + span, stride)]
            known = [labels for labels in found if labels is not None]
            clusters = known if len(known) == len(found) else None
        return Frames.of(window_of(data, index, start, span, stride), clusters)

    def inputs(self, frames: Frames, frame: int, state: Tensor) -> object:
        """What the model takes of one frame; ``state [n, c]`` normalised."""
        kind = one_hot(frames.node_type[frame].clamp(0, NODE_TYPES - 1), NODE_TYPES).to(state.dtype)
        graph = MeshGraph(
            pos=(frames.pos[frame] - self.position[:-1]) / self.position[-1],
            x=torch.cat([state, kind], 1),
            edge_index=frames.edges[frame],
        )
        if frames.cluster is not None:
            graph.cluster = frames.cluster[frame]
        return self.model.unpack(graph)  # type: ignore[operator]

    def known(self, frames: Frames, frame: int) -> Tensor:
        """``[n]`` True where the value of a frame is taken from the data."""
        kind = frames.node_type[frame]
        return torch.isin(kind, torch.tensor(self.spec.forced, dtype=kind.dtype, device=kind.device))

    def step(self, frames: Frames, frame: int, state: Tensor) -> Tensor:
        """Normalised state of frame + 1 from that of ``frame``."""
        return self._after(frames, frame, state, self.model(self.inputs(frames, frame, state)))

    def _after(self, frames: Frames, frame: int, state: Tensor, out: Tensor) -> Tensor:
        """State that what the model said leads to, forced nodes as in the data."""
        after = state + out if self.spec.residual else out
        known = self.known(frames, frame + 1).unsqueeze(1)
        return torch.where(known, self.norm(frames.state[frame + 1]), after)

    def loss(self, batch: Sequence[Frames]) -> dict[str, Tensor]:
        """``loss`` and its parts, mean over the windows of a batch."""
        totals: dict[str, Tensor] = {}
        for frames in batch:
            _add(totals, self._window_loss(frames), len(batch))
        return totals

    def _window_loss(self, frames: Frames) -> dict[str, Tensor]:
        steps = len(frames.state) - 1
        state = self.norm(frames.state[0])
        if self.spec.pushforward:
            ahead = self.ahead(steps)
            with torch.no_grad():
                for frame in range(ahead):
                    state = self.step(frames, frame, state)
            return self._learn(frames, ahead, state)[0]
        totals: dict[str, Tensor] = {}
        for frame in range(steps):
            parts, state = self._learn(frames, frame, state)
            _add(totals, parts, steps)
        return totals

    def _learn(self, frames: Frames, frame: int, state: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Loss of one step and the state it leads to."""
        inputs = self.inputs(frames, frame, state)
        truth = self.norm(frames.state[frame + 1])
        free = ~self.known(frames, frame + 1)
        made: list[Tensor] = []

        def criterion(out: Tensor) -> dict[str, Tensor]:
            made.append(out)
            return self._errors((state + out if self.spec.residual else out)[free], truth[free], state[free])

        wanted = truth - state.detach() if self.spec.residual else truth
        if isinstance(self.model, LearnsWithTruth):
            parts = self.model.learn(inputs, wanted, criterion)
        else:
            parts = criterion(self.model(inputs))
        return parts, self._after(frames, frame, state, made[0])

    def _errors(self, guess: Tensor, truth: Tensor, state: Tensor) -> dict[str, Tensor]:
        """``loss`` and the error of each field, of ``[n, c]`` normalised states; nmse is over what is predicted."""
        spec = self.spec
        error = (guess - truth).abs() if spec.loss == "mae" else (guess - truth).square()
        parts = {name: error[:, channels].mean() for name, channels in spec.slices().items()}
        if spec.loss == "nmse":
            size = (truth - state.detach() if spec.residual else truth).square()
            parts = {n: p / size[:, spec.slices()[n]].mean().clamp(min=1e-12) for n, p in parts.items()}
        weights = spec.weights or (1.0,) * len(parts)
        total = torch.stack([w * part for w, part in zip(weights, parts.values(), strict=True)]).sum()
        return {"loss": total, **parts}

    @torch.no_grad()
    def unroll(self, frames: Frames) -> Tensor:
        """``[t - 1, n, c]`` states of all frames but the first, physical units, from the first one alone."""
        state, out = self.norm(frames.state[0]), []
        for frame in range(len(frames.state) - 1):
            state = self.step(frames, frame, state)
            out.append(self.norm.inverse(state))
        return torch.stack(out)

    def rollout(self, frames: Frames | MeshWindow) -> Tensor:
        """``[t - 1, n, c]`` states after the first frame, physical units, on the CPU.

        Args:
            frames: Meshes and kinds of nodes of all frames, from ``data.window(index, start, length)``; of the states
                only the first and those of forced nodes are read.

        Raises:
            InputError: Shapes do not fit the model, there is one frame only, or values are not finite.
        """
        frames = Frames.of(frames) if isinstance(frames, MeshWindow) else frames
        wanted = (self.spec.channels, self.spec.dim)
        if frames.state.dim() != 3 or frames.pos.dim() != 3 or (frames.state.shape[2], frames.pos.shape[2]) != wanted:
            raise InputError(
                f"state must be [t, n, {wanted[0]}] ({', '.join(self.spec.fields)}) and pos [t, n, {wanted[1]}], got "
                f"{tuple(frames.state.shape)} and {tuple(frames.pos.shape)}"
            )
        if len(frames.state) < 2:
            raise InputError("a rollout needs the meshes of at least two frames, got 1")
        if not bool(torch.isfinite(frames.state[0]).all() and torch.isfinite(frames.pos).all()):
            raise InputError("the first state or the positions hold NaN or infinite values; repair or drop the case")
        with judging(self):
            return self.unroll(frames.to(self.device)).cpu()

    @torch.no_grad()
    def judge(self, samples: RolloutSamples[MeshTrajectoryDataset], case: object) -> dict[str, float]:
        """N-RMSE of a rollout of as many steps as the run is judged on."""
        steps = self.numbers({})["steps"]
        ours, _ = self._curves(samples.data, int(str(case)), steps, samples.stride)
        return {"error": float(ours[-1])}

    def _curves(self, data: MeshTrajectoryDataset, index: int, steps: int, stride: int) -> tuple[Tensor, Tensor]:
        """``[t]`` N-RMSE of a rollout from the first frame of a trajectory, and of that frame kept."""
        span = min((data.lengths[index] - 1) // stride, steps) * stride + 1
        if span < 2:
            raise InputError(
                f"{data.cases[index]}: a step takes {stride + 1} frames (stride {stride}), it has "
                f"{data.lengths[index]}; leave it out or lower stride"
            )
        frames = self.frames(data, index, 0, span, stride).to(self.device)
        truth = frames.state[1:]
        guesses = (self.unroll(frames), frames.state[:1].expand_as(truth))
        ours, kept = (n_rmse(guess, truth, self.spec, self.norm.scale) for guess in guesses)
        return ours, kept

    def evaluate(self, data: CaseSource, *, context: Context = ALONE, **asked: Plain) -> Report:
        """N-RMSE of rollouts from the first frame of every trajectory, after 1, 10, 50, ... and all steps.

        Args:
            data: Trajectories.
            context: Progress.
            **asked: ``steps``, fewer where a trajectory is short; ``stride``; ``cases``, trajectories at most (0: all).
        """
        found, wanted = self.trajectories(data), self.numbers(asked)
        self._check(found)
        count, steps = min(wanted["cases"] or len(found), len(found)), wanted["steps"]
        marks = [*(mark for mark in MARKS if mark < steps), steps]
        rows: dict[str, Row] = {}
        kept: dict[str, Row] = {}
        with judging(self):
            for index in progress(count, context):
                curves = self._curves(found, index, steps, wanted["stride"])
                rows[found.cases[index]], kept[found.cases[index]] = (_at(curve, marks) for curve in curves)
        return Report(
            kind=self.kind,
            title=f"rollouts, mean of {count} trajectories",
            mean=means(rows),
            cases=rows,
            baselines={KEPT: means(kept)},
            details={"trajectories": count, "steps": steps, "stride": wanted["stride"]},
            columns={f"n_rmse@{mark}": f"N-RMSE +{mark}" for mark in marks},
        )

    def _check(self, data: MeshTrajectoryDataset) -> None:
        spec, given = self.spec, data.spec
        if not len(data):
            raise InputError("there is no trajectory to judge the surrogate on")
        dim = data[0].pos.shape[1]
        if (given.fields, given.sizes, dim) != (spec.fields, spec.sizes, spec.dim):
            raise InputError(
                f"the {dim}-D data with fields {listing(given.fields)} of {some(given.sizes)} channels do not fit the "
                f"surrogate, which is {spec.dim}-D with fields {listing(spec.fields)} of {some(spec.sizes)} channels"
            )


def window_of(data: MeshTrajectoryDataset, index: int, start: int, span: int, stride: int) -> MeshWindow:
    """Every ``stride``-th of ``span`` frames of a trajectory."""
    window = data.window(index, start, span)
    return window if stride == 1 else window.every(stride)


def stored_cluster_size(model: nn.Module) -> int:
    """Nodes of the clusters that a model, or one inside it, wants from the data; 0: none."""
    wanted = (part for part in model.modules() if getattr(part, "clustering", "") == "kmeans")
    return next((int(getattr(part, "cluster_size", 0)) for part in wanted), 0)


def _at(curve: Tensor, marks: Sequence[int]) -> Row:
    """Values of a curve after some steps, or at its end; None where it is not finite."""
    values = {mark: curve[min(mark, len(curve)) - 1] for mark in marks}
    return {f"n_rmse@{mark}": float(value) if bool(value.isfinite()) else None for mark, value in values.items()}


def _add(totals: dict[str, Tensor], parts: Mapping[str, Tensor], count: int) -> None:
    """Add a part in ``count`` of each value."""
    for key, value in parts.items():
        totals[key] = totals.get(key, torch.zeros((), device=value.device)) + value / count
