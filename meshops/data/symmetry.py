"""The same trajectory elsewhere: shifts along periodic axes, mirror images and quarter turns of points and fields.

For training sets whose equation does not care where, or which way round, it is solved. That is for the user to know:
mirror images of a vorticity have the other sign, a stirring force or gravity has a place and a direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch

from meshops.data.point_frames import PointFrames
from meshops.errors import InputError, did_you_mean, listing

SYMMETRIES = ("shift", "flip", "turn")


class Box(Protocol):
    """What is to be known of fields and box, such as :class:`~meshops.datasets.point_trajectories.PointSpec`."""

    @property
    def fields(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def sizes(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def low(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def high(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def periodic(self) -> tuple[bool, ...]: ...  # noqa: D102
    @property
    def grid(self) -> tuple[int, ...]: ...  # noqa: D102


def check_symmetries(kinds: Sequence[str], box: Box) -> None:
    """Raise ``InputError`` unless trajectories in such a box can be moved so.

    Args:
        kinds: Among :data:`SYMMETRIES`.
        box: Fields and box.
    """
    dim = len(box.low)
    for kind in kinds:
        if kind not in SYMMETRIES:
            raise InputError(f"no symmetry '{kind}'; {did_you_mean(kind, SYMMETRIES)}allowed: {listing(SYMMETRIES)}")
        if kind == "shift" and not any(box.periodic):
            raise InputError(
                "augment 'shift' moves trajectories round periodic axes, and none of these data is periodic "
                f"({dim} axes); leave it out, or mark the axes periodic if their ends do meet"
            )
        odd = [f"{name} ({size})" for name, size in zip(box.fields, box.sizes, strict=True) if size not in (1, dim)]
        if kind in ("flip", "turn") and odd:
            raise InputError(
                f"augment '{kind}' turns scalars (1 channel) and vectors ({dim}), got {listing(odd)}; leave it out"
            )
        if kind == "turn" and not _turnable(box):
            raise InputError(
                "augment 'turn' needs a first and second axis alike in length, cells and periodicity, got low "
                f"{list(box.low)}, high {list(box.high)}, periodic {list(box.periodic)}; leave it out"
            )


def moved(
    points: PointFrames, box: Box, kinds: Sequence[str], *, generator: torch.Generator | None = None
) -> PointFrames:
    """A trajectory moved at random; shifts of regular grids are by whole cells.

    Args:
        points: In physical units, of one trajectory or of several that are moved alike.
        box: Fields and box.
        kinds: See :func:`check_symmetries`.
        generator: Of the draw.
    """
    pos, values, dim = points.pos.clone(), points.values.clone(), len(box.low)
    low, high = pos.new_tensor(box.low), pos.new_tensor(box.high)
    starts = [sum(box.sizes[:i]) for i, size in enumerate(box.sizes) if size == dim > 1]
    if "turn" in kinds:
        for _ in range(int(torch.randint(4, (), generator=generator))):
            middle = (low + high) / 2
            x, y = pos[:, 0].clone(), pos[:, 1].clone()
            pos[:, 0], pos[:, 1] = middle[0] - (y - middle[1]), middle[1] + (x - middle[0])
            for first in starts:
                u, v = values[..., first].clone(), values[..., first + 1].clone()
                values[..., first], values[..., first + 1] = -v, u
    if "flip" in kinds:
        for axis in (torch.rand(dim, generator=generator) < 0.5).nonzero().flatten().tolist():
            pos[:, axis] = low[axis] + high[axis] - pos[:, axis]
            for first in starts:
                values[..., first + axis] *= -1
    if "shift" in kinds:
        part = torch.rand(dim, generator=generator)
        if box.grid:
            cells = torch.tensor(box.grid)
            part = (part * cells).floor() / cells
        wrap = torch.tensor(box.periodic)
        ahead = (part * wrap).to(pos.device) * (high - low)
        pos = torch.where(wrap.to(pos.device), low + (pos - low + ahead).remainder(high - low), pos)
    return replace(points, pos=pos, values=values)


def _turnable(box: Box) -> bool:
    if len(box.low) < 2:
        return False
    length = [b - a for a, b in zip(box.low, box.high, strict=True)]
    alike = box.periodic[0] == box.periodic[1] and (not box.grid or box.grid[0] == box.grid[1])
    return alike and abs(length[0] - length[1]) <= 1e-6 * length[0]
