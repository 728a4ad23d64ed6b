"""Any set of trajectories, on grids or on meshes, as trajectories on free points in one box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch_geometric.data import Data

from meshops.data.mesh_graph import field_slices
from meshops.data.point_frames import PointFrames, grid_frames
from meshops.datasets.base import CaseDataset
from meshops.datasets.graph_trajectories import as_trajectories
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.trajectory import TrajectoryDataset, varying_parameters
from meshops.errors import InputError, listing

MOST_CASES = 32  # that the box of a set of meshes is taken from, first, middle and last frame
MARGIN = 0.02  # of the box, where it is not known exactly


@dataclass(frozen=True, kw_only=True)
class PointSpec:
    """What the channels and the box of a set mean.

    Attributes:
        fields: Names of the fields; the components of a velocity are one.
        sizes: Channels of each.
        units: Unit of each, ``""`` where unknown.
        low: Lower corner of the box, m.
        high: Upper corner, m.
        periodic: Whether the ends of each axis meet.
        time_step: Time between frames, s; 0 where unknown.
        constants: Names of the channels that do not change.
        parameters: Names of what varies between trajectories.
        node_types: Whether points have kinds.
        grid: Cells along each axis of a regular grid; empty for meshes.
    """

    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    units: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    periodic: tuple[bool, ...]
    time_step: float = 0.0
    constants: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    node_types: bool = False
    grid: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of all fields."""
        return sum(self.sizes)

    def slices(self) -> dict[str, slice]:
        """Channel range of each field."""
        return field_slices(self.fields, self.sizes)

    def labels(self) -> list[str]:
        """Each field with its unit, where it is known: ``pressure (Pa)``."""
        return [f"{name} ({unit})" if unit else name for name, unit in zip(self.fields, self.units, strict=True)]

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size of the cells of a grid along each axis, m."""
        return tuple((b - a) / n for a, b, n in zip(self.low, self.high, self.grid, strict=True))


class PointTrajectories:
    """Trajectories of a dataset as :class:`~meshops.data.point_frames.PointFrames`.

    Args:
        data: Trajectories on grids or on meshes, or a list of graphs, see :mod:`meshops.datasets.graph_trajectories`.
        fields: Names of the fields to read; None: all.

    Raises:
        InputError: No trajectory at all, cases that are none, or no such field.

    Attributes:
        cases: Name of each trajectory.
        lengths: Frames of each.
        spec: What channels and box mean.
    """

    def __init__(
        self,
        data: Sequence[Data] | CaseDataset | TrajectoryDataset | MeshTrajectoryDataset,
        fields: Sequence[str] | None = None,
    ) -> None:
        if not len(data):
            raise InputError("the set of trajectories is empty; choose another split")
        self.data = data = as_trajectories(data)
        self.cases, self.lengths = data.cases, data.lengths
        whole = _grid_spec(data) if isinstance(data, TrajectoryDataset) else _mesh_spec(data)
        self.spec, self._columns = _chosen(whole, fields)

    def __len__(self) -> int:
        """Number of trajectories."""
        return len(self.cases)

    def window(self, index: int, start: int, frames: int, stride: int = 1) -> PointFrames:
        """``frames`` frames of one trajectory, ``stride`` apart, all points."""
        span = (frames - 1) * stride + 1
        if isinstance(self.data, TrajectoryDataset):
            values = self.data.window(index, start, span)[::stride]
            kept = values[:, self._columns]
            return grid_frames(kept, self.data.spec.spacing, constants=self.data.constants(index))
        found = self.data.window(index, start, span)
        return PointFrames.of_frames(
            found.pos[::stride], found.state[::stride][:, :, self._columns], node_type=found.node_type[::stride]
        )  # fmt: skip

    def parameters(self, index: int, names: Sequence[str] | None = None) -> dict[str, float]:
        """Parameters of one trajectory: those named, or those that differ within the set.

        Raises:
            InputError: The set does not have them.
        """
        wanted = self.spec.parameters if names is None else tuple(names)
        if not wanted:
            return {}
        given = self.data.parameters(index)
        missing = [name for name in wanted if name not in given]
        if missing:
            raise InputError(f"{self.cases[index]}: no parameter {listing(missing)}; the set has {listing(given)}")
        return {name: given[name] for name in wanted}


def _chosen(spec: PointSpec, fields: Sequence[str] | None) -> tuple[PointSpec, list[int]]:
    """The same with some of the fields, and their channels."""
    slices = spec.slices()
    names = tuple(fields or spec.fields)
    unknown = [name for name in names if name not in slices]
    if unknown:
        raise InputError(f"no field {listing(unknown)}; the set has {listing(spec.fields)}")
    places = [spec.fields.index(name) for name in names]
    columns = [channel for name in names for channel in range(slices[name].start, slices[name].stop)]
    sizes, units = tuple(spec.sizes[i] for i in places), tuple(spec.units[i] for i in places)
    return replace(spec, fields=names, sizes=sizes, units=units), columns


def _grid_spec(data: TrajectoryDataset) -> PointSpec:
    spec = data.spec
    shapes = set(data.shapes)
    if len(shapes) > 1:
        raise InputError(f"the grids of the set differ ({sorted(shapes)}); use trajectories of one shape")
    names, sizes, units = _grouped(spec.channels, spec.velocity, spec.units)
    shape = data.shapes[0]
    return PointSpec(
        fields=names, sizes=sizes, units=units, low=(0.0,) * spec.dim,
        high=tuple(n * s for n, s in zip(shape, spec.spacing, strict=True)), periodic=spec.periodic,
        time_step=spec.time_step, constants=spec.constants, parameters=varying_parameters(data), grid=shape,
    )  # fmt: skip


def _mesh_spec(data: MeshTrajectoryDataset) -> PointSpec:
    low, high = [], []
    for index in range(0, len(data), max(1, len(data) // MOST_CASES)):
        last = data.lengths[index] - 1
        for frame in sorted({0, last // 2, last}):
            pos = data.window(index, frame, 1).pos[0]
            low.append(pos.amin(0))
            high.append(pos.amax(0))
    least, most = torch.stack(low).amin(0), torch.stack(high).amax(0)
    margin = MARGIN * (most - least).max()
    return PointSpec(
        fields=data.spec.fields, sizes=data.spec.sizes, units=data.spec.units, low=tuple((least - margin).tolist()),
        high=tuple((most + margin).tolist()), periodic=(False,) * len(least), time_step=data.spec.time_step,
        parameters=varying_parameters(data), node_types=True,
    )  # fmt: skip


def _grouped(
    channels: Sequence[str], velocity: Sequence[int], units: Sequence[str]
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]:
    """Fields of a grid: neighbouring components of the velocity are one."""
    given = tuple(units) or ("",) * len(channels)
    together = len(velocity) > 1 and list(velocity) == list(range(velocity[0], velocity[0] + len(velocity)))
    names, sizes, kept = [], [], []
    for place, name in enumerate(channels):
        if together and place in velocity:
            if place == velocity[0]:
                names.append("velocity")
                sizes.append(len(velocity))
                kept.append(given[place])
            continue
        names.append(name)
        sizes.append(1)
        kept.append(given[place])
    return tuple(names), tuple(sizes), tuple(kept)
