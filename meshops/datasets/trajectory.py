"""Simulations in time on regular grids: read window by window, so that a set may be larger than the memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from meshops.data.grid import grid_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseProblem, unreadable
from meshops.errors import InputError


@dataclass(frozen=True, kw_only=True)
class GridSpec:
    """What the channels and axes of a set mean; the same for all its trajectories.

    Attributes:
        channels: Name of each channel that changes in time, e.g. ``("density", "velocity_x", "velocity_y")``.
        constants: Name of each channel that does not: coefficients, masks, parameters spread over the grid.
        velocity: Channels (positions in ``channels``) that are the components of the velocity, one per axis; empty
            where the set has no velocity or does not say which channels they are.
        spacing: Cell size along each axis, m.
        periodic: Whether opposite ends of each axis are the same place.
        time_step: Time between frames, s; 0 where it varies.
        units: Unit of each channel, ``""`` where unknown.
    """

    channels: tuple[str, ...]
    spacing: tuple[float, ...]
    periodic: tuple[bool, ...]
    constants: tuple[str, ...] = ()
    velocity: tuple[int, ...] = ()
    time_step: float = 0.0
    units: tuple[str, ...] = field(default=())

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return len(self.spacing)


class Trajectories(Dataset[MeshGraph], ABC):
    """What sets of trajectories on grids and on meshes share.

    Attributes:
        cases: Name of each trajectory, in the order of the indices.
        lengths: Number of frames of each.
    """

    cases: tuple[str, ...]
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        """Number of trajectories of the split."""
        return len(self.cases)

    def __iter__(self) -> Iterator[MeshGraph]:
        """What indices give, in order."""
        return (self[index] for index in range(len(self)))

    @classmethod
    @abstractmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Write a few small trajectories from a real solver in the published layout; return ``root``."""

    @abstractmethod
    def check(self) -> Iterator[CaseProblem]:
        """Read every trajectory and report what is wrong; nothing is raised."""

    def position(self, index: int) -> int:
        """``index`` counted from 0; negative ones count from the end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__} has {len(self)} trajectories, got index {index}")
        return index % len(self)

    def parameters(self, index: int) -> dict[str, float]:
        """Parameters of one trajectory by name (a speed, a viscosity, a load); empty when the set has none."""
        self.position(index)
        return {}

    def check_window(self, index: int, start: int, length: int) -> None:
        """Raise ``InputError`` unless the frames exist."""
        if start < 0 or length < 1 or start + length > self.lengths[index]:
            raise InputError(
                f"{self.cases[index]}: frames {start} to {start + length - 1} do not exist, it has "
                f"{self.lengths[index]}; use a shorter window"
            )


class TrajectoryDataset(Trajectories):
    """Trajectories of fields on regular grids.

    Subclasses set the attributes in their ``__init__`` and implement :meth:`window`, :meth:`constants` and
    :meth:`standin`.

    Attributes:
        spec: What channels and axes mean.
        shapes: Grid of each trajectory.
    """

    shapes: tuple[tuple[int, ...], ...]
    spec: GridSpec

    def __getitem__(self, index: int) -> MeshGraph:
        """A whole trajectory as a grid graph: ``y [n, t, c]``, ``x [n, k]`` the constant channels."""
        index = self.position(index)
        frames = self.window(index, 0, self.lengths[index])
        constants = self.constants(index)
        graph = grid_graph(
            frames.movedim(0, -1).movedim(0, -1),
            spacing=self.spec.spacing,
            periodic=self.spec.periodic,
            constants=constants,
            names=self.spec.channels,
            trailing=2,
        )
        graph.name = self.cases[index]
        return graph

    @abstractmethod
    def window(self, index: int, start: int, length: int) -> Tensor:
        """Frames ``start .. start + length - 1`` of one trajectory, ``[length, c, *grid]`` float32, physical units.

        Raises:
            InputError: The frames do not exist, or the file is damaged (its name and the entry that cannot be read).
        """

    @abstractmethod
    def constants(self, index: int) -> Tensor:
        """``[k, *grid]`` float32, the channels of ``spec.constants``; k may be 0."""

    def check(self) -> Iterator[CaseProblem]:
        """Read every trajectory and report what is wrong; nothing is raised."""
        for index, case in enumerate(self.cases):
            try:
                frames = self.window(index, 0, self.lengths[index])
                constants = self.constants(index)
            except Exception as error:  # damaged files fail in any way
                yield CaseProblem(case, None, unreadable(error))
                continue
            for message in non_finite_channels(frames, self.spec.channels):
                yield CaseProblem(case, None, message)
            for message in non_finite_channels(constants.unsqueeze(0), self.spec.constants):
                yield CaseProblem(case, None, message)


def varying_parameters(data: Trajectories) -> tuple[str, ...]:
    """Names of the parameters that every trajectory of a set states and that are not the same in all."""
    rows = [data.parameters(index) for index in range(len(data))]
    shared = [name for name in rows[0] if name != "seed" and all(name in row for row in rows)] if rows else []
    return tuple(name for name in shared if len({row[name] for row in rows}) > 1)


def non_finite_channels(frames: Tensor, names: Sequence[str]) -> Iterator[str]:
    """One sentence for each channel of ``[t, c, *grid]`` that is not finite everywhere, with its first bad frame."""
    for channel, name in enumerate(names):
        good = torch.isfinite(frames[:, channel]).flatten(1).all(1)
        if not bool(good.all()):
            first = int((~good).nonzero()[0])
            yield f"channel '{name}' holds NaN or infinite values, first in frame {first}; repair or drop the case"
