"""Parameters of trajectories on grids (a feed rate, a viscosity) as channels that do not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError, listing


class ToldParameters(TrajectoryDataset):
    """Trajectories of another set whose parameters are constant channels too, the same value in every cell.

    Args:
        whole: The set.
        names: Parameters, behind its own constant channels in this order.

    Raises:
        InputError: A trajectory does not state one, or a channel of that name is there.
    """

    def __init__(self, whole: TrajectoryDataset, names: Sequence[str]) -> None:
        self.whole, self.names = whole, tuple(names)
        self.cases, self.lengths, self.shapes = whole.cases, whole.lengths, whole.shapes
        taken = [name for name in names if name in (*whole.spec.constants, *whole.spec.channels)]
        if taken:
            raise InputError(f"{listing(taken)} is a channel of the data already; leave it out of task.conditions")
        for index, case in enumerate(whole.cases):
            known = whole.parameters(index)
            lost = [name for name in names if name not in known]
            if lost:
                raise InputError(
                    f"{case}: no condition {listing(lost)} to tell the model; the case has {listing(known)}"
                )
        self.spec = replace(whole.spec, constants=(*whole.spec.constants, *names))

    def window(self, index: int, start: int, length: int) -> Tensor:
        """As in the set."""
        return self.whole.window(index, start, length)

    def constants(self, index: int) -> Tensor:
        """Of the set, then a plane for each parameter."""
        own, known = self.whole.constants(index), self.parameters(index)
        return torch.cat([own, planes([known[name] for name in self.names], own)])

    def parameters(self, index: int) -> dict[str, float]:
        """As in the set."""
        return self.whole.parameters(index)

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """There is none of its own.

        Raises:
            InputError: Always.
        """
        raise InputError(f"a set that tells parameters has no files of its own to write {num} of to {root}")


def planes(values: Sequence[float], like: Tensor) -> Tensor:
    """``[k, *grid]`` of k values, on the grid of ``like [_, *grid]``."""
    flat = torch.tensor([float(value) for value in values], dtype=torch.float32, device=like.device)
    return flat.view(-1, *(1,) * (like.dim() - 1)).expand(-1, *like.shape[1:])
