"""Trajectories on free points: what the continuous encoders and decoders read, whatever the data were stored as.

A set of points that stays where it is has all its frames in one row, ``values [n, t, c]``; points that move are one
graph per frame, ``values [n_0 + n_1 + ..., 1, c]``. Either way graph g owns the points ``ptr[g]:ptr[g + 1]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from meshops.errors import InputError


@dataclass(frozen=True, eq=False)
class PointFrames:
    """One or more trajectories of equally many frames.

    Attributes:
        pos: ``[n, d]`` m.
        values: ``[n, s, c]`` physical units: s frames of the points of a graph.
        ptr: ``[g + 1]`` graph i owns points ``ptr[i]:ptr[i + 1]``.
        frames: Frames of a trajectory; s where points rest (one graph each), else 1 is s and it has so many graphs.
        node_type: ``[n]`` int64 kind of each point; None: all alike.
        constants: ``[n, k]`` what is known of each point and does not change; None: nothing.
    """

    pos: Tensor
    values: Tensor
    ptr: Tensor
    frames: int
    node_type: Tensor | None = None
    constants: Tensor | None = None

    def __post_init__(self) -> None:
        """Check shapes."""
        n, series = len(self.pos), self.values.shape[1] if self.values.dim() == 3 else 0
        if self.pos.dim() != 2 or self.values.dim() != 3 or len(self.values) != n or int(self.ptr[-1]) != n:
            raise InputError(
                f"need positions [n, d], values [n, s, c] and ptr that ends with n, got {tuple(self.pos.shape)}, "
                f"{tuple(self.values.shape)} and a ptr that ends with {int(self.ptr[-1])}"
            )
        for name in ("node_type", "constants"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise InputError(f"{name} must have one row per point ({n}), got {tuple(value.shape)}")
        if series not in (1, self.frames) or (self.num_graphs * series) % self.frames:
            raise InputError(
                f"{self.num_graphs} graphs with {series} frames each are no trajectories of {self.frames} frames"
            )

    @property
    def num_graphs(self) -> int:
        """Sets of points."""
        return int(self.ptr.numel()) - 1

    @property
    def num_trajectories(self) -> int:
        """Trajectories."""
        return self.num_graphs * int(self.values.shape[1]) // self.frames

    @property
    def moving(self) -> bool:
        """Whether every frame has points of its own."""
        return self.values.shape[1] != self.frames

    @property
    def trajectory_ptr(self) -> Tensor:
        """``[b + 1]`` trajectory i owns points ``trajectory_ptr[i]:trajectory_ptr[i + 1]`` of all its frames."""
        return self.ptr[:: self.num_graphs // self.num_trajectories]

    @property
    def graph(self) -> Tensor:
        """``[n]`` graph of each point."""
        return torch.repeat_interleave(self.ptr.diff(), output_size=len(self.pos))

    @classmethod
    def resting(
        cls, pos: Tensor, values: Tensor, *, node_type: Tensor | None = None, constants: Tensor | None = None
    ) -> PointFrames:
        """One trajectory on points that stay: ``pos [n, d]``, ``values [t, n, c]``."""
        ptr = torch.tensor([0, len(pos)], device=pos.device)
        return cls(pos, values.transpose(0, 1), ptr, len(values), node_type, constants)

    @classmethod
    def of_frames(
        cls, pos: Tensor, values: Tensor, *, node_type: Tensor | None = None, constants: Tensor | None = None
    ) -> PointFrames:
        """One trajectory on points that may move.

        Args:
            pos: ``[t, n, d]`` m.
            values: ``[t, n, c]``.
            node_type: ``[t, n]``.
            constants: ``[n, k]``.
        """
        if pos.dim() != 3 or values.dim() != 3 or pos.shape[:2] != values.shape[:2]:
            raise InputError(
                f"need positions [t, n, d] and values [t, n, c], got {tuple(pos.shape)} and {tuple(values.shape)}"
            )
        t, n = pos.shape[:2]
        if node_type is not None and node_type.shape != pos.shape[:2]:
            raise InputError(f"node_type must be [t, n] = {tuple(pos.shape[:2])}, got {tuple(node_type.shape)}")
        if constants is not None and (constants.dim() != 2 or len(constants) != n):
            raise InputError(f"constants must be [n, k] with n = {n}, got {tuple(constants.shape)}")
        if bool((pos == pos[:1]).all()) and (node_type is None or bool((node_type == node_type[:1]).all())):
            kinds = None if node_type is None else node_type[0]
            return cls.resting(pos[0], values, node_type=kinds, constants=constants)
        kinds = None if node_type is None else node_type.flatten()
        fixed = None if constants is None else constants.repeat(t, 1)
        ptr = torch.arange(t + 1, device=pos.device) * n
        return cls(pos.flatten(0, 1), values.flatten(0, 1).unsqueeze(1), ptr, t, kinds, fixed)

    @classmethod
    def batch(cls, parts: Sequence[PointFrames]) -> PointFrames:
        """Trajectories of equally many frames, one after the other; if one moves, all are stored frame by frame."""
        if len({p.frames for p in parts}) != 1:
            raise InputError(f"trajectories of a batch need equally many frames, got {[p.frames for p in parts]}")
        if any(p.moving for p in parts):
            parts = [p.by_frame() for p in parts]
        sizes = torch.cat([p.ptr.diff() for p in parts])
        ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        kinds = [p.node_type for p in parts]
        fixed = [p.constants for p in parts]
        return cls(
            torch.cat([p.pos for p in parts]),
            torch.cat([p.values for p in parts]),
            ptr,
            parts[0].frames,
            None if any(k is None for k in kinds) else torch.cat([k for k in kinds if k is not None]),
            None if any(f is None for f in fixed) else torch.cat([f for f in fixed if f is not None]),
        )

    def by_frame(self) -> PointFrames:
        """The same with one graph per frame."""
        if self.moving or self.frames == 1:
            return self
        rows = [torch.arange(int(a), int(b)) for a, b in zip(self.ptr[:-1], self.ptr[1:], strict=True)]
        order = torch.cat([r for r in rows for _ in range(self.frames)]).to(self.pos.device)
        frame = torch.cat(
            [torch.full((len(r),), t) for r in rows for t in range(self.frames)]
        ).to(self.pos.device)  # fmt: skip
        sizes = self.ptr.diff().repeat_interleave(self.frames)
        return PointFrames(
            self.pos[order],
            self.values[order, frame].unsqueeze(1),
            torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]),
            self.frames,
            None if self.node_type is None else self.node_type[order],
            None if self.constants is None else self.constants[order],
        )

    def keep(self, rows: Tensor) -> PointFrames:
        """Some of the points, ``rows`` ascending; every graph must keep one."""
        count = torch.bincount(self.graph[rows], minlength=self.num_graphs)
        if int(count.min()) < 1:
            raise InputError("every graph must keep at least one point; keep a larger fraction")
        return replace(
            self,
            pos=self.pos[rows],
            values=self.values[rows],
            ptr=torch.cat([count.new_zeros(1), count.cumsum(0)]),
            node_type=None if self.node_type is None else self.node_type[rows],
            constants=None if self.constants is None else self.constants[rows],
        )

    def subsample(
        self, fraction: float, *, generator: torch.Generator | None = None, most: int | None = None
    ) -> PointFrames:
        """A random part of the points of every graph, the same in all frames where points rest.

        Args:
            fraction: Of the points, in (0, 1]; at least one is kept.
            generator: Of the draw.
            most: Points per graph at most.
        """
        if not 0 < fraction <= 1:
            raise InputError(f"fraction must be in (0, 1], got {fraction}")
        rows = []
        for first, last in zip(self.ptr[:-1].tolist(), self.ptr[1:].tolist(), strict=True):
            n = last - first
            size = min(max(1, round(fraction * n)), most or n)
            if size == n:
                rows.append(torch.arange(first, last))
            else:
                rows.append(first + torch.randperm(n, generator=generator)[:size].sort().values)
        return self.keep(torch.cat(rows).to(self.pos.device))

    def crop(self, start: int, frames: int) -> PointFrames:
        """Some consecutive frames of every trajectory."""
        if start < 0 or frames < 1 or start + frames > self.frames:
            raise InputError(f"frames {start} to {start + frames - 1} do not exist, there are {self.frames}")
        return self.pick(range(start, start + frames))

    def pick(self, frames: Sequence[int]) -> PointFrames:
        """Frames of every trajectory by their numbers, in that order; a number may be there more than once."""
        chosen = torch.as_tensor(list(frames), device=self.pos.device)
        if (
            not chosen.numel()
            or chosen.dtype != torch.long
            or int(chosen.min()) < 0
            or int(chosen.max()) >= self.frames
        ):
            raise InputError(f"frames must be numbers from 0 to {self.frames - 1}, at least one, got {list(frames)}")
        if not self.moving:
            return replace(self, values=self.values[:, chosen], frames=len(chosen))
        first = torch.arange(self.num_trajectories, device=chosen.device) * self.frames
        graphs = (first.unsqueeze(1) + chosen).flatten()
        sizes = self.ptr.diff()[graphs]
        ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        rows = torch.repeat_interleave(self.ptr[graphs] - ptr[:-1], sizes) + torch.arange(
            int(ptr[-1]), device=chosen.device
        )
        return PointFrames(
            self.pos[rows],
            self.values[rows],
            ptr,
            len(chosen),
            None if self.node_type is None else self.node_type[rows],
            None if self.constants is None else self.constants[rows],
        )

    def around(self, first: int, count: int) -> PointFrames:
        """Where points are in ``count`` frames from ``first`` on; where there is none, as in the nearest there is."""
        if not self.moving:
            return replace(self, values=self.values.new_zeros(len(self.pos), count, 0), frames=count)
        return self.pick([min(max(first + i, 0), self.frames - 1) for i in range(count)])

    def filled(self, series: Tensor) -> PointFrames:
        """The same points with other values, ``[t, n, c]`` as from :meth:`series`."""
        return replace(self, values=series.flatten(0, 1).unsqueeze(1) if self.moving else series.transpose(0, 1))

    def split(self) -> list[Tensor]:
        """Values of each trajectory as ``[n, t, c]``, or a list entry per frame ``[n, 1, c]`` where points move."""
        return list(self.values.split(self.ptr.diff().tolist()))

    def series(self, values: Tensor | None = None) -> Tensor:
        """``[t, n, c]`` of one trajectory with equally many points in every frame: its values, or other ``[n, s, c]``.

        Raises:
            InputError: Several trajectories, or frames with unlike numbers of points.
        """
        sizes = self.ptr.diff()
        if self.num_trajectories != 1 or bool((sizes != sizes[0]).any()):
            raise InputError(
                f"need one trajectory with equally many points in every frame, got {self.num_trajectories} with "
                f"{int(sizes.min())} to {int(sizes.max())} points"
            )
        rows = self.values if values is None else values
        if rows.shape[:2] != self.values.shape[:2]:
            raise InputError(f"values must be {list(self.values.shape[:2])} and channels, got {list(rows.shape)}")
        return rows.unflatten(0, (self.frames, -1)).squeeze(2) if self.moving else rows.transpose(0, 1)

    def places(self) -> Tensor:
        """Positions ``[n, d]``, or ``[t, n, d]`` where points move, of one trajectory; errors as :meth:`series`."""
        return self.series(self.pos.unsqueeze(1).expand(-1, self.values.shape[1], -1))[
            slice(None) if self.moving else 0
        ]

    def to(self, device: torch.device | str) -> PointFrames:
        """The same on another device."""
        return replace(
            self,
            pos=self.pos.to(device),
            values=self.values.to(device),
            ptr=self.ptr.to(device),
            node_type=None if self.node_type is None else self.node_type.to(device),
            constants=None if self.constants is None else self.constants.to(device),
        )


def point_frames(
    pos: Tensor, values: Tensor, *, node_type: Tensor | None = None, constants: Tensor | None = None
) -> PointFrames:
    """Snapshots of one trajectory: ``pos [n, d]`` or, moving, ``[t, n, d]``; ``values [t, n, c]``, physical units."""
    if pos.dim() == 3:
        return PointFrames.of_frames(pos, values, node_type=node_type, constants=constants)
    return PointFrames.resting(pos, values, node_type=node_type, constants=constants)


def grid_frames(frames: Tensor, spacing: Sequence[float], *, constants: Tensor | None = None) -> PointFrames:
    """A trajectory on a regular grid as points at the centres of its cells, the corner of the grid at 0.

    Args:
        frames: ``[t, c, *grid]``.
        spacing: Cell size along each axis, m.
        constants: ``[k, *grid]``.
    """
    shape = frames.shape[2:]
    if len(shape) != len(spacing):
        raise InputError(f"spacing needs one entry per axis ({len(shape)}), got {tuple(spacing)}")
    axes = [(torch.arange(n, dtype=torch.float32) + 0.5) * s for n, s in zip(shape, spacing, strict=True)]
    pos = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)
    fixed = constants.flatten(1).T if constants is not None and len(constants) else None
    return PointFrames.resting(pos, frames.flatten(2).transpose(1, 2), constants=fixed)
