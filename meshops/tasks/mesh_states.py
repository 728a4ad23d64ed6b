"""States of trajectories on meshes: what they mean to a task, their frames, normalisation and error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from meshops.aero.case_spec import CaseSpec
from meshops.data.mesh_graph import field_slices
from meshops.data.normalize import Normalizer, Statistics
from meshops.datasets.mesh_trajectory import NODE_TYPES, MeshWindow
from meshops.errors import InputError, listing, some
from meshops.tasks.base import Plain
from meshops.tasks.rollout import RolloutSpec, condition_values


@dataclass(frozen=True, kw_only=True)
class MeshRolloutSpec(RolloutSpec):
    """What is learnt of trajectories on meshes.

    Attributes:
        fields: Names of the fields of a state.
        sizes: Channels of each.
        units: Unit of each.
        weights: Weight of each field in the loss; empty: 1.
        forced: Kinds of nodes whose values are known.
        inputs: Names of the channels that are known at the nodes beforehand.
        uneven: Whether the model is told the length of each step.
        ranges: Lowest and highest of each condition in the data.
        dim: Space dimensions.
        location: ``"point"`` or ``"cell"``: where the fields live in files.
        moves: Whether the meshes of the data change from frame to frame.
    """

    space: str = "mesh"
    residual: bool = True
    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    units: tuple[str, ...]
    weights: tuple[float, ...] = ()
    forced: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ()
    uneven: bool = False
    ranges: tuple[tuple[float, float], ...] = ()
    dim: int = 2
    location: Literal["cell", "point"] = "point"
    moves: bool = False

    def __post_init__(self) -> None:
        """Check that weights fit the fields."""
        if self.weights and len(self.weights) != len(self.fields):
            raise InputError(f"give one weight per field ({len(self.fields)}), got {len(self.weights)}")

    @property
    def channels(self) -> int:
        """Channels of a state."""
        return sum(self.sizes)

    def names(self) -> tuple[str, ...]:
        """Those of the fields."""
        return self.fields

    def form(self, noun: str = "") -> str:
        """``2-D data with fields 'velocity', 'pressure' of 2, 1 channels``."""
        known = f" and inputs {listing(self.inputs)}" if self.inputs else ""
        return f"{self.dim}-D {noun}with fields {listing(self.fields)} of {some(self.sizes)} channels{known}"

    def case_spec(self) -> CaseSpec:
        """A state as a case: fields, inputs and conditions of a file."""
        return CaseSpec(
            fields=self.fields, sizes=self.sizes, units=self.units, dim=self.dim, inputs=self.inputs,
            conditions=self.conditions, location=self.location,
        )  # fmt: skip

    def slices(self) -> dict[str, slice]:
        """Channel range of each field."""
        return field_slices(self.fields, self.sizes)

    def model_arguments(self) -> dict[str, Plain]:
        """What models want to know: sizes, and the channels of a field that is called velocity."""
        sizes: dict[str, Plain] = {
            "in_channels": self.channels + NODE_TYPES + len(self.inputs) + len(self.conditions) + self.uneven,
            "out_channels": self.channels,
            "pos_dim": self.dim,
        }
        flow = self.slices().get("velocity")
        if flow is not None and flow.stop - flow.start == self.dim:
            sizes["velocity"] = list(range(flow.start, flow.stop))
        return sizes


class Frames(NamedTuple):
    """Consecutive frames of one trajectory, physical units.

    Attributes:
        pos: ``[t, n, d]``, m.
        state: ``[t, n, c]``.
        node_type: ``[t, n]`` int64.
        edges: t tensors ``[2, e]``.
        x: ``[t, n, k]`` what is known at the nodes beforehand; None: nothing.
        cluster: t tensors ``[n]``, where the set has stored clusters.
        conditions: ``[k]`` parameters of the trajectory the model is told; None: none.
        times: ``[t]`` s, where steps differ in length; None: they do not.
    """

    pos: Tensor
    state: Tensor
    node_type: Tensor
    edges: list[Tensor]
    x: Tensor | None = None
    cluster: list[Tensor] | None = None
    conditions: Tensor | None = None
    times: Tensor | None = None

    @classmethod
    def of(
        cls, window: MeshWindow, cluster: Sequence[Tensor] | None = None, conditions: Tensor | None = None
    ) -> Frames:
        """Frames of a window of a set."""
        edges: list[Tensor] = []
        for frame, cells in enumerate(window.triangles):
            same = frame > 0 and cells is window.triangles[frame - 1]
            edges.append(edges[-1] if same else window.edges(frame))
        kept = None if cluster is None else list(cluster)
        return cls(window.pos, window.state, window.node_type, edges, window.x, kept, conditions, window.times)

    def to(self, device: torch.device) -> Frames:
        """The same on a device."""

        def moved(part: Tensor | list[Tensor] | None) -> Any:
            if part is None:
                return None
            return [one.to(device) for one in part] if isinstance(part, list) else part.to(device)

        return Frames(*map(moved, self))


def mesh_norms(spec: MeshRolloutSpec, parts: Iterable[tuple[Tensor, Tensor]]) -> tuple[Normalizer, Tensor]:
    """Normalisation of the state, one scale per field, and ``[dim + 1]`` middle and half extent of the positions.

    Args:
        spec: Says which channels are a field.
        parts: ``state [t, n, c]`` and ``pos [t, n, d]`` of some windows.
    """
    rows = [(state.flatten(0, 1), pos.flatten(0, 1)) for state, pos in parts]
    norm = Normalizer.by_field(Statistics.over(state for state, _ in rows), spec.slices().values())
    return norm, Statistics.over(pos for _, pos in rows).box()


def known_norm(spec: MeshRolloutSpec, windows: Iterable[MeshWindow], rows: Iterable[Tensor | None]) -> Normalizer:
    """Normalisation of what is known beforehand: inputs at the nodes, conditions of the trajectory, length of the step.

    Args:
        spec: Says which there are.
        windows: Some of the data.
        rows: ``[g]`` conditions of each trajectory.
    """
    found, parts = list(windows), [Normalizer.identity(0)]
    if spec.inputs:
        parts.append(Normalizer.from_statistics(Statistics.over(w.x.flatten(0, 1) for w in found if w.x is not None)))
    if spec.conditions:
        known = torch.stack([row for row in rows if row is not None])
        parts.append(Normalizer.from_statistics(Statistics.of(known)))
    if spec.uneven:
        lengths = [w.times.diff().unsqueeze(1) for w in found if w.times is not None]
        parts.append(Normalizer.from_statistics(Statistics.over(lengths)))
    return Normalizer(torch.cat([part.shift for part in parts]), torch.cat([part.scale for part in parts]))


def told(spec: MeshRolloutSpec, given: Mapping[str, float], label: str) -> Tensor | None:
    """``[k]`` values of the conditions of a spec; None where it has none.

    Raises:
        InputError: One is missing, or no finite number.
    """
    values = condition_values(spec, given, label)
    return None if values is None else torch.tensor(values)


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
