"""A linear way past a tower: principal components of blocks of a trajectory on scattered points (ours).

Down: the points around every latent node are interpolated to ``subcells`` places along each axis of its cell; blocks of
places and frames, one for every number of the tower's latent grid, go through the d strongest principal components of
the training set. Up: the transpose, then cubic interpolation to any points. Both ways are exact where points lie on the
places, so that a regular set loses what the components lose and nothing else. What a tower adds starts at zero.

Interpolation (Matheron 1963; Rasmussen and Williams 2006, eq. 2.25) from neighbours at v to a place p,

    u(p) = sum_v w_v u(v),   w = k(p, .) (K + s^2 I)^-1,   k(r) = c + (1 + r + r^2 / 3) e^-r,   r = sqrt(5) |x| / l

(Matern 5/2; the constant c lets the mean pass, l is chosen among a few by points that were left out). The first frame
is a block of its own: it stands for the frames before it, which do not exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from meshops.data.latent_grid import LatentGrid, Neighborhood
from meshops.data.point_frames import PointFrames
from meshops.errors import InputError

LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)  # of the interpolation, cells
NUGGET = 1e-5  # s^2
CONSTANT = 10.0  # c
LARGEST_BLOCK = 8192  # numbers of a block whose components are still found in reasonable time
JUDGED = 4  # windows that choose the length
NUMBERS = 2**24  # intermediate values at a time


class StraightPath(nn.Module):
    """Points to latents by components of blocks, and back; all of it closed form, nothing trained by gradients.

    Args:
        channels: c of the fields.
        grid: Latent nodes the points are seen from, before the tower.
        space_factor: Nodes per latent cell along each axis.
        time_factor: Frames per latent frame, f.
        latent_channels: d.
        subcells: Places per cell along each axis.

    Raises:
        InputError: Blocks that are too large, or hold fewer numbers than the latent.

    Attributes:
        basis: ``[block, d]`` components times their root mean square: latents have mean square 1 over the training set.
        inverse: ``[d, block]`` the same, transposed, over it.
        length: Of the interpolation, cells.
    """

    basis: Tensor
    inverse: Tensor
    length: Tensor

    def __init__(
        self, channels: int, grid: LatentGrid, *, space_factor: int, time_factor: int, latent_channels: int,
        subcells: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.channels, self.grid, self.subcells, self.time_factor = channels, grid, subcells, time_factor
        self.side = subcells * space_factor
        size = channels * time_factor * self.side**grid.dim
        if size > LARGEST_BLOCK or size < latent_channels:
            raise InputError(
                f"blocks of {self.side}^{grid.dim} places, {time_factor} frames and {channels} channels hold {size} "
                f"numbers; components need {latent_channels} (latent_channels) to {LARGEST_BLOCK}: change subcells"
            )
        axis = (torch.arange(subcells) + 0.5) / subcells - 0.5
        places = torch.stack(torch.meshgrid(*[axis] * grid.dim, indexing="ij"), -1).flatten(0, -2)
        self.register_buffer("places", places, persistent=False)
        start = torch.zeros(size, latent_channels)
        start[:latent_channels].fill_diagonal_(1.0)
        self.register_buffer("basis", start)
        self.register_buffer("inverse", start.T.clone())
        self.register_buffer("length", torch.tensor(1.0))

    places: Tensor

    @property
    def num_places(self) -> int:
        """Places of a cell."""
        return len(self.places)

    def resample(self, values: Tensor, near: Neighborhood) -> Tensor:
        """Fields at the places of every node, ``[n, s, c] -> [q, s, places * c]``."""
        queries, k = near.index.shape
        step = max(1, NUMBERS // (k * (k + values.shape[1] * values.shape[2])))
        parts = []
        for first in range(0, queries, step):
            part = near.rows(slice(first, first + step))
            weight = interpolation_weights(part.offset, part.weight > 0, self.places, self.length)
            seen = values[part.index].flatten(2)  # [q, k, s * c]
            made = torch.bmm(weight.to(seen.dtype), seen).unflatten(2, values.shape[1:])  # [q, p, s, c]
            parts.append(made.transpose(1, 2).flatten(2))
        return torch.cat(parts)

    def spread(self, fine: Tensor, frames: int) -> Tensor:
        """``[b * nodes, s, places * c]`` of nodes to trajectories on the fine grid, ``[b, c, frames, *places]``.

        Rows are those of the latent grid: per trajectory with s = ``frames``, or per frame with s = 1.
        """
        dim, series = self.grid.dim, fine.shape[1]
        shape = (-1, frames // series, *self.grid.shape, series, *(self.subcells,) * dim, self.channels)
        parts = fine.view(shape)  # [b, t', *grid, s, *sub, c]
        pairs = [axis for a in range(dim) for axis in (2 + a, 3 + dim + a)]
        laid = parts.permute(0, 3 + 2 * dim, 1, 2 + dim, *pairs).flatten(2, 3)  # [b, c, t, g, m, g, m]
        for axis in range(3, 3 + dim):
            laid = laid.flatten(axis, axis + 1)
        return laid

    def blocks(self, laid: Tensor) -> Tensor:
        """``[b, c, 1 + f m, *places] -> [b, 1 + m, *cells, block]``."""
        held = torch.cat([laid[:, :, :1].expand(-1, -1, self.time_factor - 1, *laid.shape[3:]), laid], 2)
        parts = held.unflatten(2, (-1, self.time_factor))  # [b, c, 1 + m, f, *places]
        dim = self.grid.dim
        for a in range(dim):
            parts = parts.unflatten(4 + 2 * a, (-1, self.side))
        cells, inner = [4 + 2 * a for a in range(dim)], [5 + 2 * a for a in range(dim)]
        out: Tensor = parts.permute(0, 2, *cells, 1, 3, *inner).flatten(2 + dim)
        return out

    def encode(self, laid: Tensor) -> Tensor:
        """``[b, c, 1 + f m, *places] -> [b, d, 1 + m, *cells]``."""
        return (self.blocks(laid) @ self.inverse.T).movedim(-1, 1)

    def decode(self, latent: Tensor) -> Tensor:
        """``[b, d, 1 + m, *cells] -> [b, c, 1 + f m, *places]``."""
        dim = self.grid.dim
        parts = (latent.movedim(1, -1) @ self.basis.T).unflatten(
            -1, (self.channels, self.time_factor, *(self.side,) * dim)
        )  # [b, 1 + m, *cells, c, f, *inner]
        pairs = [axis for a in range(dim) for axis in (2 + a, 4 + dim + a)]
        out = parts.permute(0, 2 + dim, 1, 3 + dim, *pairs).flatten(2, 3)
        for axis in range(3, 3 + dim):
            out = out.flatten(axis, axis + 1)
        made: Tensor = out[:, :, self.time_factor - 1 :]
        return made

    def rows(self, laid: Tensor, series: int) -> Tensor:
        """What :meth:`read` reads, ``[g * places, s, c]``, of trajectories ``[b, c, t, *places]``.

        Args:
            laid: Trajectories on the fine grid.
            series: Frames of a point: all of the trajectory where points rest, else 1.
        """
        b, c, t = laid.shape[:3]
        return laid.flatten(3).view(b, c, t // series, series, -1).permute(0, 2, 4, 3, 1).flatten(0, 2)

    def stencil(self, pos: Tensor, graph: Tensor) -> tuple[Tensor, Tensor]:
        """``[q, k]`` rows and weights of points in :meth:`rows`.

        Args:
            pos: ``[q, d]`` m.
            graph: ``[q]`` number of the trajectory, or of the frame counted through all of them.
        """
        index, weight = cubic_stencil(self.grid, self.subcells, pos)
        return index + graph.unsqueeze(1) * (self.grid.num_nodes * self.num_places), weight

    def read(self, rows: Tensor, stencil: tuple[Tensor, Tensor]) -> Tensor:
        """Fields at points, ``[q, s, c]``."""
        index, weight = stencil
        return torch.einsum("qk,qksc->qsc", weight.to(rows.dtype), rows[index])

    @torch.no_grad()
    def fit(
        self, windows: Callable[[], Iterable[PointFrames]], neighborhood: Callable[[Tensor, Tensor], Neighborhood]
    ) -> None:
        """Length and components from windows of training trajectories, normalised; every frame counts alike.

        Args:
            windows: Gives them from the start each time it is called.
            neighborhood: What the nodes see of points.
        """
        self._choose_length(windows, neighborhood)
        moment = torch.zeros(len(self.basis), len(self.basis), dtype=torch.float64)
        count = 0
        for window in windows():
            near = neighborhood(window.pos, window.ptr)
            rows = self.blocks(self.spread(self.resample(window.values, near), window.frames)).double()
            size = rows.square().mean(tuple(range(2, rows.dim())), keepdim=True)  # of every latent frame
            rows = (rows / size.clamp(min=1e-4 * float(size.mean()) + 1e-30).sqrt()).flatten(0, -2)
            moment += (rows.T @ rows).cpu()
            count += len(rows)
        values, vectors = torch.linalg.eigh(moment / count)
        depth = self.basis.shape[1]
        chosen = vectors.flip(1)[:, :depth]
        scale = values.flip(0)[:depth].clamp(min=1e-8 * float(values[-1]) + 1e-30).sqrt()
        self.basis.copy_(chosen * scale)
        self.inverse.copy_((chosen / scale).T)

    def _choose_length(
        self, windows: Callable[[], Iterable[PointFrames]], neighborhood: Callable[[Tensor, Tensor], Neighborhood]
    ) -> None:
        """The length that tells most about points that were left out."""
        wrong = torch.zeros(len(LENGTHS))
        for number, window in enumerate(windows()):
            if number == JUDGED:
                break
            frame = window.crop(window.frames // 2, 1)
            kept = frame.subsample(0.5, generator=torch.Generator().manual_seed(number))
            near = neighborhood(kept.pos, kept.ptr)
            for place, length in enumerate(LENGTHS):
                self.length.fill_(length)
                laid = self.spread(self.resample(kept.values, near), 1)
                found = self.read(self.rows(laid, 1), self.stencil(frame.pos, frame.graph))
                wrong[place] += float((found - frame.values).square().mean())
        self.length.fill_(LENGTHS[int(wrong.argmin())])


def interpolation_weights(offset: Tensor, there: Tensor, places: Tensor, length: Tensor | float) -> Tensor:
    """Weights of neighbours at places around a node, ``[q, p, k]``, see the head of this file.

    Args:
        offset: ``[q, k, d]`` node minus neighbour, cells.
        there: ``[q, k]`` which neighbours exist.
        places: ``[p, d]`` relative to the node, cells.
        length: l, cells.
    """
    points = -offset.double()
    both = (there.unsqueeze(2) & there.unsqueeze(1)).double()
    eye = torch.eye(points.shape[1], dtype=torch.float64, device=points.device)
    among = _covariance(torch.cdist(points, points) / float(length)) * both
    among = among + eye * (NUGGET + (~there).double().unsqueeze(2))
    aside = _covariance(torch.cdist(places.double().expand(len(points), -1, -1), points) / float(length))
    aside = aside * there.unsqueeze(1)
    return torch.cholesky_solve(aside.transpose(1, 2), torch.linalg.cholesky(among)).transpose(1, 2)


def cubic_stencil(grid: LatentGrid, subcells: int, pos: Tensor) -> tuple[Tensor, Tensor]:
    """Cubic interpolation from the places of a grid to points: ``[q, 4^d]`` numbers of places, row-major, and weights.

    Near the ends of an axis that is not periodic the same four places serve; axes of fewer places use all of them.
    """
    place = grid.cells(pos).double() * subcells - 0.5
    index = torch.zeros(len(pos), 1, dtype=torch.long, device=pos.device)
    weight = torch.ones(len(pos), 1, dtype=torch.float64, device=pos.device)
    for axis, (cells, periodic) in enumerate(zip(grid.shape, grid.periodic, strict=True)):
        count = cells * subcells
        width = min(4, count)
        first = place[:, axis].floor().long() - (width - 1) // 2
        if not periodic:
            first = first.clamp(0, count - width)
        local = place[:, axis] - first
        along = torch.stack([_lagrange(local, i, width) for i in range(width)], 1)
        numbers = (first.unsqueeze(1) + torch.arange(width, device=pos.device)).remainder(count)
        index = (index.unsqueeze(2) * count + numbers.unsqueeze(1)).flatten(1)
        weight = (weight.unsqueeze(2) * along.unsqueeze(1)).flatten(1)
    return index, weight


def _lagrange(at: Tensor, which: int, width: int) -> Tensor:
    """The polynomial that is 1 at ``which`` and 0 at the others of 0, ..., width - 1."""
    out = torch.ones_like(at)
    for other in range(width):
        if other != which:
            out = out * (at - other) / (which - other)
    return out


def _covariance(distance: Tensor) -> Tensor:
    r = math.sqrt(5) * distance
    return CONSTANT + (1 + r + r.square() / 3) * torch.exp(-r)
