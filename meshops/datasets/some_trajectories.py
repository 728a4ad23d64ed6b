"""Some trajectories of a set on meshes, or some frames of them, as a set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset, MeshWindow
from meshops.errors import InputError


class SomeTrajectories(MeshTrajectoryDataset):
    """Trajectories of another set, in a given order.

    Args:
        whole: The set.
        index: Positions in it.
        frames: Share of the frames of each that is kept, from and to: ``(0.0, 0.8)`` are the first four fifths.

    Raises:
        InputError: No trajectory or no frame is left.
    """

    def __init__(
        self, whole: MeshTrajectoryDataset, index: Sequence[int], *, frames: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        if not len(index):
            raise InputError(f"no trajectory is left of the {len(whole)} of the set; choose at least one")
        self.whole, self.index, self.spec = whole, tuple(whole.position(i) for i in index), whole.spec
        self.starts = tuple(round(frames[0] * whole.lengths[i]) for i in self.index)
        stops = [round(frames[1] * whole.lengths[i]) for i in self.index]
        self.cases = tuple(whole.cases[i] for i in self.index)
        self.lengths = tuple(stop - start for start, stop in zip(self.starts, stops, strict=True))
        if min(self.lengths) < 1:
            raise InputError(f"no frame is left of '{self.cases[self.lengths.index(min(self.lengths))]}'")

    def window(self, index: int, start: int, length: int) -> MeshWindow:
        """Frames of one trajectory, counted from the first that is kept."""
        index = self.position(index)
        self.check_window(index, start, length)
        return self.whole.window(self.index[index], self.starts[index] + start, length)

    def parameters(self, index: int) -> dict[str, float]:
        """Of the trajectory."""
        return self.whole.parameters(self.index[self.position(index)])

    def clusters(self, index: int, frame: int, size: int) -> Tensor | None:
        """As stored."""
        index = self.position(index)
        return self.whole.clusters(self.index[index], self.starts[index] + frame, size)

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """A choice has no files of its own."""
        raise InputError(f"a choice of {num} trajectories has no files of its own to write to {root}")
