"""Trajectories on meshes that may move: the next state from the last one, and whole futures by feeding it back.

States are normalised once, here. A model sees ``[state, one-hot kind of node]`` and predicts the change to the next
frame. Nodes whose kind is forced (walls, inflow) take their value from the data, in training and in rollouts.
Training unrolls a few steps with gradients through all of them (EAGLE), or feeds predictions back without gradients
before the one step that learns (pushforward: Brandstetter et al., 2202.03376, sec. 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from meshops.data.mesh_graph import MeshGraph, field_slices
from meshops.data.normalize import Normalizer, Statistics
from meshops.errors import InputError
from meshops.nn.mesh_model import LearnsWithTruth

NODE_TYPES = 9


@dataclass(frozen=True, kw_only=True)
class MeshRolloutSpec:
    """What is learnt. Plain values: it goes into the checkpoint as it is.

    Attributes:
        fields: Names of the fields of a state.
        sizes: Channels of each.
        units: Unit of each.
        weights: Weight of each field in the loss; empty: 1.
        forced: Kinds of nodes whose values are known.
        time_step: Time between frames, s; 0 where unknown.
        dim: Space dimensions.
        pushforward: Learn one step after up to so many without gradients, instead of through all steps of a window;
            0: through all.
    """

    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    units: tuple[str, ...]
    weights: tuple[float, ...] = ()
    forced: tuple[int, ...] = ()
    time_step: float = 0.0
    dim: int = 2
    pushforward: int = 0

    def __post_init__(self) -> None:
        """Check that weights fit the fields."""
        if self.weights and len(self.weights) != len(self.fields):
            raise InputError(f"give one weight per field ({len(self.fields)}), got {len(self.weights)}")

    @property
    def channels(self) -> int:
        """Channels of a state."""
        return sum(self.sizes)

    def slices(self) -> dict[str, slice]:
        """Channel range of each field."""
        return field_slices(self.fields, self.sizes)

    def model_arguments(self) -> dict[str, Any]:
        """What models want to know."""
        return {"in_channels": self.channels + NODE_TYPES, "out_channels": self.channels, "pos_dim": self.dim}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MeshRolloutSpec:
        """Inverse of :meth:`to_dict`."""
        known = {f.name for f in fields(cls)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
        return cls(**given)


class Frames(dict[str, Any]):
    """Consecutive frames of one trajectory as a batch for training, physical units.

    Keys: ``pos [t, n, d]``, ``state [t, n, c]``, ``node_type [t, n]``, ``edges`` (t tensors ``[2, e]``) and, where the
    set has stored clusters, ``cluster`` (t tensors ``[n]``).
    """


class MeshRolloutTask(nn.Module):
    """A model of one step on a mesh together with the normalisation of the state.

    Args:
        model: On graphs, ``[n, channels + 9] -> [n, channels]``.
        spec: What is learnt.
        norm: Of the state: one scale per field, so that vectors keep their direction.
        position: ``[dim + 1]`` shift and scale of the positions.
    """

    position: Tensor

    def __init__(self, model: nn.Module, spec: MeshRolloutSpec, norm: Normalizer, position: Tensor) -> None:
        super().__init__()
        self.model, self.spec, self.norm = model, spec, norm
        self.register_buffer("position", position.to(torch.float32))

    @classmethod
    def fit(cls, model: nn.Module, spec: MeshRolloutSpec, windows: Iterable[Mapping[str, Any]]) -> MeshRolloutTask:
        """Task with statistics of some windows (each node and frame counts once)."""
        parts = [(window["state"].flatten(0, 1), window["pos"].flatten(0, 1)) for window in windows]
        stats, place = Statistics.over(p[0] for p in parts), Statistics.over(p[1] for p in parts)
        scale = stats.std.clone()
        for channels in spec.slices().values():
            scale[channels] = stats.std[channels].square().mean().sqrt()
        extent = (place.high - place.low).max() / 2
        position = torch.cat([(place.high + place.low) / 2, extent.view(1)])
        return cls(model, spec, Normalizer(stats.mean.clone(), scale), position)

    def inputs(self, window: Mapping[str, Any], frame: int, state: Tensor) -> Any:
        """What the model takes of one frame; ``state [n, c]`` normalised."""
        kind = one_hot(window["node_type"][frame].clamp(0, NODE_TYPES - 1), NODE_TYPES).to(state.dtype)
        graph = MeshGraph(
            pos=(window["pos"][frame] - self.position[:-1]) / self.position[-1],
            x=torch.cat([state, kind], 1),
            edge_index=window["edges"][frame],
        )
        if "cluster" in window:
            graph.cluster = window["cluster"][frame]
        model: Any = self.model
        return model.unpack(graph)

    def known(self, window: Mapping[str, Any], frame: int) -> Tensor:
        """``[n]`` True where the value of a frame is taken from the data."""
        kind = window["node_type"][frame]
        wanted = torch.tensor(self.spec.forced, dtype=kind.dtype, device=kind.device)
        return torch.isin(kind, wanted)

    def step(self, window: Mapping[str, Any], frame: int, state: Tensor) -> Tensor:
        """Normalised state of frame + 1 from that of ``frame``."""
        model: Any = self.model
        after: Tensor = state + model(self.inputs(window, frame, state))
        return self._forced(window, frame + 1, after)

    def _forced(self, window: Mapping[str, Any], frame: int, state: Tensor) -> Tensor:
        known = self.known(window, frame).unsqueeze(1)
        return torch.where(known, self.norm(window["state"][frame]), state)

    def loss(self, batch: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """``loss`` and its parts, mean over the windows of a batch."""
        totals: dict[str, Tensor] = {}
        for window in batch:
            for key, value in self._window_loss(window).items():
                totals[key] = totals.get(key, torch.zeros((), device=value.device)) + value / len(batch)
        return totals

    def _window_loss(self, window: Mapping[str, Any]) -> dict[str, Tensor]:
        steps = len(window["state"]) - 1
        state = self.norm(window["state"][0])
        if self.spec.pushforward:
            ahead = int(torch.randint(min(self.spec.pushforward, steps - 1) + 1, ()))
            with torch.no_grad():
                for frame in range(ahead):
                    state = self.step(window, frame, state)
            return self._learn(window, ahead, state)[0]
        totals: dict[str, Tensor] = {}
        for frame in range(steps):
            parts, state = self._learn(window, frame, state)
            for key, value in parts.items():
                totals[key] = totals.get(key, torch.zeros((), device=value.device)) + value / steps
        return totals

    def _learn(self, window: Mapping[str, Any], frame: int, state: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Loss of one step and the state it leads to."""
        inputs = self.inputs(window, frame, state)
        truth = self.norm(window["state"][frame + 1])
        free = ~self.known(window, frame + 1)
        made: list[Tensor] = []

        def criterion(change: Tensor) -> dict[str, Tensor]:
            made.append(change)
            error = (state + change - truth)[free].square()
            names = self.spec.slices()
            parts = {name: error[:, channels].mean() for name, channels in names.items()}
            weights = self.spec.weights or (1.0,) * len(names)
            total = torch.stack([w * part for w, part in zip(weights, parts.values(), strict=True)]).sum()
            return {"loss": total, **parts}

        model: Any = self.model
        if isinstance(model, LearnsWithTruth):
            parts = model.learn(inputs, truth - state.detach(), criterion)
        else:
            parts = criterion(model(inputs))
        return parts, self._forced(window, frame + 1, state + made[0])

    @torch.no_grad()
    def rollout(self, window: Mapping[str, Any]) -> Tensor:
        """``[t - 1, n, c]`` states of all frames but the first, physical units, from the first one alone."""
        state, out = self.norm(window["state"][0]), []
        for frame in range(len(window["state"]) - 1):
            state = self.step(window, frame, state)
            out.append(self.norm.inverse(state))
        return torch.stack(out)


def frames_of(window: Any, clusters: Sequence[Tensor] | None = None) -> Frames:
    """A :class:`~meshops.datasets.mesh_trajectory.MeshWindow` as a batch for training."""
    out = Frames(
        pos=window.pos, state=window.state, node_type=window.node_type,
        edges=[window.edges(frame) for frame in range(len(window.state))],
    )  # fmt: skip
    if clusters is not None:
        out["cluster"] = list(clusters)
    return out


def n_rmse(prediction: Tensor, truth: Tensor, spec: MeshRolloutSpec, deviation: Tensor) -> Tensor:
    """``[t]`` cumulative N-RMSE of EAGLE: mean over steps so far of ``mean_n |error| / |sigma|``, summed over fields.

    Args:
        prediction: ``[t, n, c]`` physical units.
        truth: ``[t, n, c]``.
        spec: Says which channels are a field.
        deviation: ``[c]`` standard deviation of each channel over the training set.
    """
    total = torch.zeros(len(truth))
    for channels in spec.slices().values():
        error = (prediction - truth)[..., channels].norm(dim=2).mean(1).cpu()
        total += error / deviation[channels].norm().cpu()
    return total.cumsum(0) / torch.arange(1, len(truth) + 1)
