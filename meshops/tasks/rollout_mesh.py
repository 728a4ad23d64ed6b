"""Trajectories on meshes that may move.

States are normalised once, here. A model sees ``[state, one-hot kind of node, inputs, conditions]`` and predicts the
change to the next frame; inputs are known at the nodes beforehand, conditions are parameters of the trajectory, the
same at every node, and so is the length of the step where it varies. Nodes whose kind is forced (walls, inflow) take
their value from the data, in training and in rollouts. Training unrolls a few steps with gradients through all of them
(EAGLE), or feeds predictions back without gradients before the one step that learns (pushforward: Brandstetter et al.,
2202.03376, sec. 3.2). A model that wants the clusters a set has stored (k-means of EAGLE) gets them wherever frames are
read from a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from meshops import ranks
from meshops.data.mesh_graph import MeshGraph
from meshops.data.normalize import Normalizer
from meshops.datasets.mesh_trajectory import NODE_TYPES, MeshTrajectoryDataset, MeshWindow
from meshops.datasets.trajectory import varying_parameters
from meshops.errors import InputError, listing
from meshops.nn.mesh_model import LearnsWithTruth
from meshops.nn.model import judging
from meshops.tasks.base import Plain
from meshops.tasks.mesh_states import Frames, MeshRolloutSpec, known_norm, mesh_norms, n_rmse, told
from meshops.tasks.report import Row
from meshops.tasks.rollout import RolloutSamples, RolloutSettings, RolloutTask, Score

MOST_WINDOWS = 32  # what the statistics of trajectories are taken from
STILL = 1e-6  # of its size: a mesh that moves less does not
HORIZON = 5  # steps of a training window
MARKS = (1, 10, 50, 100, 250)  # steps that rollouts are judged after, beside the last
KEPT = "first frame kept"


class MeshRollout(RolloutTask[MeshTrajectoryDataset, list[Frames]]):
    """A model of one step on a mesh together with the normalisation of the state.

    Args:
        model: On graphs or points, ``[n, channels + 9 + inputs + conditions (+ 1)] -> [n, channels]``.
        spec: What is learnt.
        norm: Of the state: one scale per field, so that vectors keep their direction.
        position: ``[dim + 1]`` shift and scale of the positions.
        known: Normalisation of inputs and conditions; None: as they are.
    """

    usage = "surrogate.task.rollout(window)"
    space, source, offers = "mesh", MeshTrajectoryDataset, frozenset({"graph", "points"})
    judged, steps = "rollouts", 50
    spec: MeshRolloutSpec
    position: Tensor

    def __init__(
        self, model: nn.Module, spec: MeshRolloutSpec, norm: Normalizer, position: Tensor,
        known: Normalizer | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, spec)
        self.norm = norm
        self.register_buffer("position", position.to(torch.float32))
        count = len(spec.inputs) + len(spec.conditions) + spec.uneven
        self.known_norm = (known or Normalizer.identity(count)) if count else None

    @classmethod
    def horizon(cls, settings: RolloutSettings) -> int:
        """Steps with gradients through all of them, from one frame."""
        if settings.history > 1:
            raise InputError(f"on meshes the model sees one frame: task.history must be 1, got {settings.history}")
        return settings.window(HORIZON)

    @classmethod
    def spec_of(cls, data: MeshTrajectoryDataset, settings: RolloutSettings) -> MeshRolloutSpec:
        """Fields of a state, and which nodes are forced."""
        given, told_of = data.spec, _chosen(data, settings.conditions)
        rows = [data.parameters(index) for index in range(len(data))] if told_of else []
        return MeshRolloutSpec(
            fields=given.fields,
            sizes=given.sizes,
            units=given.units,
            weights=given.weights,
            forced=given.forced,
            inputs=given.inputs,
            uneven=given.uneven,
            conditions=told_of,
            ranges=tuple((min(r[name] for r in rows), max(r[name] for r in rows)) for name in told_of),
            location=given.location,
            moves=_moves(data),
            time_step=given.time_step * settings.stride,
            dim=data[0].pos.shape[1],
            loss=settings.loss,
            residual=settings.residual is not False,
            pushforward=settings.pushforward,
            noise=settings.noise,
        )

    @classmethod
    def fitted(cls, model: nn.Module, samples: RolloutSamples[MeshTrajectoryDataset]) -> Self:
        """Statistics of some windows (each node and frame counts once)."""
        assert isinstance(samples.spec, MeshRolloutSpec)
        chosen = samples.windows[:: max(1, len(samples.windows) // MOST_WINDOWS)]
        data, spec = samples.data, samples.spec
        read = [data.window(i, start, samples.span).every(samples.stride) for i, start in chosen]
        rows = (told(spec, data.parameters(i), data.cases[i]) for i in range(samples.cases))
        norms = mesh_norms(spec, ((w.state, w.pos) for w in read))
        return cls(model, spec, *norms, known_norm(spec, read, rows))

    @classmethod
    def blank(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Statistics of nothing."""
        made = MeshRolloutSpec.from_dict(spec)
        return cls(model, made, Normalizer.identity(made.channels), torch.zeros(made.dim + 1))

    def batch(self, samples: RolloutSamples[MeshTrajectoryDataset], draws: Iterable[tuple[int, int]]) -> list[Frames]:
        """Windows of the draws; nothing about them is random."""
        data, span, stride = samples.data, samples.span, samples.stride
        return [self.frames(data, *samples.windows[number], span, stride) for number, _ in draws]

    def frames(self, data: MeshTrajectoryDataset, index: int, start: int, span: int, stride: int) -> Frames:
        """Every ``stride``-th of ``span`` frames of a trajectory, with the clusters the set keeps if the model asks."""
        size, clusters = stored_cluster_size(self.model), None
        if size:
            found = [data.clusters(index, frame, size) for frame in range(start, start + span, stride)]
            known = [labels for labels in found if labels is not None]
            clusters = known if len(known) == len(found) else None
        conditions = told(self.spec, data.parameters(index), data.cases[data.position(index)])
        return Frames.of(data.window(index, start, span).every(stride), clusters, conditions)

    def inputs(self, frames: Frames, frame: int, state: Tensor) -> object:
        """What the model takes of one frame that has a next; ``state [n, c]`` normalised."""
        parts = [state, one_hot(frames.node_type[frame].clamp(0, NODE_TYPES - 1), NODE_TYPES).to(state.dtype)]
        known = [] if frames.x is None else [frames.x[frame]]
        known += [] if frames.conditions is None else [frames.conditions.expand(len(state), -1)]
        if self.spec.uneven and frames.times is not None:
            step = (frames.times[frame + 1] - frames.times[frame]).to(state)
            known.append(step.expand(len(state), 1))
        if self.known_norm is not None:
            parts.append(self.known_norm(torch.cat(known, 1)))
        graph = MeshGraph(
            pos=(frames.pos[frame] - self.position[:-1]) / self.position[-1],
            x=torch.cat(parts, 1),
            edge_index=frames.edges[frame],
        )
        graph.counted = ~self.known(frames, frame + 1)  # nodes whose output is used, for models that choose
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
        share = ranks.weight(len(batch))
        return {key: share * value for key, value in _mean([self._window_loss(frames) for frames in batch]).items()}

    def _window_loss(self, frames: Frames) -> dict[str, Tensor]:
        steps = len(frames.state) - 1
        state = self.norm(frames.state[0])
        if self.spec.noise and self.training:
            free = ~self.known(frames, 0).unsqueeze(1)
            state = state + self.spec.noise * torch.randn_like(state) * free
        if self.spec.pushforward:
            ahead = self.ahead(steps)
            with torch.no_grad():
                for frame in range(ahead):
                    state = self.step(frames, frame, state)
            return self._learn(frames, ahead, state)[0]
        learnt = []
        for frame in range(steps):
            parts, state = self._learn(frames, frame, state)
            learnt.append(parts)
        return _mean(learnt)

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

    def rollout(self, frames: Frames | MeshWindow, conditions: Mapping[str, float] | None = None) -> Tensor:
        """``[t - 1, n, c]`` states after the first frame, physical units, on the CPU.

        Args:
            frames: Meshes and kinds of nodes of all frames, from ``data.window(index, start, length)``; of the states
                only the first and those of forced nodes are read.
            conditions: Of a window: those of ``spec.conditions`` by name, e.g. ``data.parameters(index)``.

        Raises:
            InputError: Shapes do not fit the model, there is one frame only, values are not finite, or a condition is
                missing.
        """
        if isinstance(frames, MeshWindow):
            frames = Frames.of(frames, conditions=told(self.spec, conditions or {}, "rollout"))
        wanted = (self.spec.channels, self.spec.dim)
        if frames.state.dim() != 3 or frames.pos.dim() != 3 or (frames.state.shape[2], frames.pos.shape[2]) != wanted:
            raise InputError(
                f"state must be [t, n, {wanted[0]}] ({', '.join(self.spec.fields)}) and pos [t, n, {wanted[1]}], got "
                f"{tuple(frames.state.shape)} and {tuple(frames.pos.shape)}"
            )
        known = ((frames.x, self.spec.inputs), (frames.conditions, self.spec.conditions))
        for (values, names), what in zip(known, ("inputs", "conditions"), strict=True):
            count = 0 if values is None else values.shape[-1]
            if count != len(names):
                raise InputError(f"the model takes {len(names)} {what} ({listing(names)}), got {count}")
        if self.spec.uneven and (frames.times is None or len(frames.times) != len(frames.state)):
            raise InputError("the model is told the length of each step; give the times [t] of the frames")
        if len(frames.state) < 2:
            raise InputError("a rollout needs the meshes of at least two frames, got 1")
        if not bool(torch.isfinite(frames.state[0]).all() and torch.isfinite(frames.pos).all()):
            raise InputError("the first state or the positions hold NaN or infinite values; repair or drop the case")
        with judging(self):
            return self.unroll(frames.to(self.device)).cpu()

    @torch.no_grad()
    def judge(self, samples: RolloutSamples[MeshTrajectoryDataset], case: object) -> dict[str, float]:
        """N-RMSE of a rollout of as many steps as the run is judged on."""
        ours, _ = self._curves(samples.data, int(str(case)), int(str(self.asked["steps"])), samples.stride)
        return {"error": float(ours[-1])}

    def score(self, data: MeshTrajectoryDataset, index: int, asked: Mapping[str, int]) -> Score:
        """N-RMSE of a rollout from the first frame, after 1, 10, 50, ... and all steps, beside that frame kept."""
        curves = self._curves(data, index, asked["steps"], asked["stride"])
        marks = _marks(asked["steps"])
        return Score({name: _at(curve, marks) for name, curve in zip(("", KEPT), curves, strict=True)}, {})

    def columns(self, steps: int) -> dict[str, str]:
        """N-RMSE after some steps."""
        return {f"n_rmse@{mark}": f"N-RMSE +{mark}" for mark in _marks(steps)}

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


def _chosen(data: MeshTrajectoryDataset, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Conditions that are told: those that differ, or those that are wanted.

    Raises:
        InputError: A trajectory does not state one.
    """
    for index, case in enumerate(data.cases if wanted else ()):
        known = data.parameters(index)
        lost = [name for name in wanted or () if name not in known]
        if lost:
            raise InputError(f"{case}: no condition {listing(lost)} to tell the model; the case has {listing(known)}")
    return varying_parameters(data) if wanted is None else tuple(wanted)


def _moves(data: MeshTrajectoryDataset) -> bool:
    """Whether the nodes of the first trajectory are elsewhere in its second frame."""
    if data.lengths[0] < 2:
        return False
    pos = data.window(0, 0, 2).pos
    size = float((pos[0].amax(0) - pos[0].amin(0)).max())
    return bool((pos[1] - pos[0]).abs().max() > STILL * size)


def stored_cluster_size(model: nn.Module) -> int:
    """Nodes of the clusters that a model, or one inside it, wants from the data; 0: none."""
    wanted = (part for part in model.modules() if getattr(part, "clustering", "") == "kmeans")
    return next((int(getattr(part, "cluster_size", 0)) for part in wanted), 0)


def _marks(steps: int) -> list[int]:
    return [*(mark for mark in MARKS if mark < steps), steps]


def _at(curve: Tensor, marks: Sequence[int]) -> Row:
    """Values of a curve after some steps, or at its end; None where it is not finite."""
    values = {mark: curve[min(mark, len(curve)) - 1] for mark in marks}
    return {f"n_rmse@{mark}": float(value) if bool(value.isfinite()) else None for mark, value in values.items()}


def _mean(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of each value; one that a part has not counts as zero there."""
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: cast(Tensor, sum(part[key] / len(parts) for part in parts if key in part)) for key in keys}
