"""ECHO-style auto-encoder (Kassai Koupai et al., 2512.04974): trajectories on free points to a small regular latent.

Points -> continuous convolution -> grid field -> causal tower -> latent; the way back ends in a continuous convolution
at any points. The paper's sizes are not public: structure after its summary, formulas after the works it builds on
(CALM-PDE 2505.12944, ENMA 2506.06158, MAGVIT-v2 2310.05737), defaults our own; see ``models/echo/README.md``.

With ``subcells`` a straight path (ours, :mod:`meshops.nn.straight_path`) leads past the tower: latents are the
principal components of blocks plus what the tower says, fields are their transpose plus what it adds, and it adds
nothing at the start. The error of the components is where training begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from meshops.data.latent_grid import LatentGrid, Neighborhood
from meshops.data.point_frames import PointFrames
from meshops.errors import InputError
from meshops.models.registry import register_model
from meshops.nn.causal_tower import CausalTower, Latent, Upsampling, check_frames
from meshops.nn.mlp import MLP
from meshops.nn.neighborhood_conv import NeighborhoodConv
from meshops.nn.straight_path import StraightPath

NODE_TYPES, TYPE_CHANNELS = 9, 4
CLIP = 5.0  # latents are kept inside of +-CLIP
CHUNK = 2**20  # points times frames that are read from the latent grid at a time


@register_model
class EchoAutoencoder(nn.Module):
    """Trajectories on points to latents and back to any points.

    Args:
        in_channels: Channels of the fields.
        low: Lower corner of the box, m.
        high: Upper corner, m.
        periodic: Whether the ends of each axis meet.
        cells: Cells of the latent grid along the longest axis before the tower; the other axes get cells of that size.
        latent_channels: d.
        layers: Of the tower, see :class:`~meshops.nn.causal_tower.CausalTower`.
        channels: Width of the grid field and of the first level of the tower.
        max_channels: Largest width of the tower.
        lift_channels: Width of a point's features before the first continuous convolution, of a node's before the last.
        hidden: Width of the kernels' perceptrons.
        num_constants: Channels known of every point in advance.
        node_types: Whether points have kinds (wall, inflow, ...).
        radius: Of the encoder's neighbourhoods, cells.
        max_neighbors: Most neighbours there; None: 32, in 3-D 64.
        min_neighbors: Nearest points taken where the radius holds fewer.
        temperature: Of the encoder's softmax.
        modulation: Kernel of the encoder with a scale and shift for every latent node.
        upsample: See :class:`~meshops.nn.causal_tower.CausalTower`.
        kernel: Of the first and the last convolution of the tower.
        checkpointing: Compute the layers of the tower again on the way back: less memory, more time.
        kl: Latents are normal distributions, with a KL term in the loss; off: soft clip.
        subcells: Places per cell along each axis of the straight path, about as many as points; 0: no such path.
        chunk_size: Queries at a time in the continuous convolutions; None: by the cache.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"autoencoder"})

    def __init__(
        self,
        in_channels: int,
        *,
        low: Sequence[float],
        high: Sequence[float],
        periodic: Sequence[bool] | None = None,
        cells: int = 32,
        latent_channels: int = 8,
        layers: Sequence[str] = ("space", "space", "time", "res", "res"),
        channels: int = 64,
        max_channels: int = 256,
        lift_channels: int = 16,
        hidden: int = 32,
        num_constants: int = 0,
        node_types: bool = False,
        radius: float = 2.0,
        max_neighbors: int | None = None,
        min_neighbors: int = 4,
        temperature: float = 1.0,
        modulation: bool = False,
        upsample: Upsampling = "shuffle",
        kernel: int = 7,
        checkpointing: bool = False,
        kl: bool = False,
        subcells: int = 0,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.latent_channels, self.num_constants = in_channels, latent_channels, num_constants
        self.kl = kl
        self.tower = CausalTower(
            channels, latent_channels, layers=layers, channels=channels, max_channels=max_channels,
            periodic=tuple(periodic or (False,) * len(low)), upsample=upsample, kernel=kernel,
            out_channels=2 * latent_channels if kl else None,
        )  # fmt: skip
        self.tower.checkpointing = checkpointing
        longest = max(b - a for a, b in zip(low, high, strict=True))
        self.grid = LatentGrid.over(
            low, high, spacing=longest / cells, multiple=self.tower.space_factor, periodic=periodic
        )
        self.neighbors: dict[str, Any] = {
            "radius": radius, "max_neighbors": max_neighbors, "min_neighbors": min_neighbors, "temperature": temperature
        }  # fmt: skip
        dim = self.grid.dim
        self.kinds = nn.Embedding(NODE_TYPES, TYPE_CHANNELS) if node_types else None
        known = num_constants + (TYPE_CHANNELS if node_types else 0)
        self.lift = nn.Linear(in_channels + known, lift_channels)
        modulated = self.grid.num_nodes if modulation else 0
        self.to_grid = NeighborhoodConv(
            lift_channels, channels, dim=dim, hidden=hidden, modulation=modulated, chunk_size=chunk_size
        )
        self.cues = nn.Linear(2, channels, bias=False)
        self.mix = MLP([channels, 4 * channels, channels], activation=nn.GELU)
        self.drop = nn.Linear(channels, lift_channels)
        self.to_points = NeighborhoodConv(lift_channels, channels, dim=dim, hidden=hidden, chunk_size=chunk_size)
        self.head = MLP([channels + known, channels, in_channels], activation=nn.GELU)
        self.straight = nn.Linear(channels, in_channels)
        self.path: StraightPath | None = None
        if subcells:
            self.path = StraightPath(
                in_channels, self.grid, space_factor=self.tower.space_factor, time_factor=self.tower.time_factor,
                latent_channels=latent_channels, subcells=subcells,
            )  # fmt: skip
            places = in_channels * self.path.num_places
            self.places_in, self.places_out = nn.Linear(places, channels), nn.Linear(channels, places)
            self._start_at_zero()

    @property
    def time_factor(self) -> int:
        """Frames per latent frame, f: trajectories have ``1 + f m`` frames."""
        return int(self.tower.time_factor)

    def latent_shape(self, frames: int) -> tuple[int, ...]:
        """``(d, t_z, *cells)`` of a trajectory."""
        check_frames(frames, self.time_factor)
        cells = (n // self.tower.space_factor for n in self.grid.shape)
        return self.latent_channels, 1 + (frames - 1) // self.time_factor, *cells

    def neighborhood(self, pos: Tensor, ptr: Tensor) -> Neighborhood:
        """What the latent grid sees of points; keep it while they stay where they are."""
        return self.grid.from_points(pos, ptr=ptr, **self.neighbors)

    def encode(
        self,
        values: Tensor,
        near: Neighborhood,
        *,
        frames: int,
        node_type: Tensor | None = None,
        constants: Tensor | None = None,
    ) -> Latent:
        """Latents of trajectories.

        Args:
            values: ``[n, s, c]`` normalised.
            near: From :meth:`neighborhood`, of the same points.
            frames: Of a trajectory: s where points rest, else it has so many graphs with s = 1.
            node_type: ``[n]``.
            constants: ``[n, k]`` normalised.

        Raises:
            InputError: The number of frames is not ``1 + f m``.
        """
        check_frames(frames, self.time_factor)
        known = self._known(values, node_type, constants)
        points = self.lift(torch.cat([values, *known], 2))
        cues = torch.stack([torch.log1p(near.found.to(values.dtype)), near.nearest], 1)
        field = self.to_grid(points, near) + self.cues(cues).unsqueeze(1)
        fine = None if self.path is None else self.path.resample(values, near)
        if fine is not None:
            field = field + self.places_in(fine)
        field = field + self.mix(field)
        width, series = field.shape[2], values.shape[1]
        whole = field.view(-1, frames // series, self.grid.num_nodes, series, width)
        stacked = whole.permute(0, 4, 1, 3, 2).reshape(len(whole), width, frames, *self.grid.shape)
        made = self.tower.encode(stacked)
        mean, log_variance = made.chunk(2, 1) if self.kl else (made, None)
        if self.path is not None and fine is not None:
            mean = mean + self.path.encode(self.path.spread(fine, frames))
        elif not self.kl:  # a clip would bend the straight path
            mean = mean / (1 + (mean / CLIP).square()).sqrt()
        return Latent(mean, None if log_variance is None else log_variance.clamp(-30, 20))

    def decode(
        self,
        latent: Tensor,
        near: Neighborhood,
        *,
        series: int,
        node_type: Tensor | None = None,
        constants: Tensor | None = None,
        stencil: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Fields at points, normalised, ``[q, s, c]``.

        Args:
            latent: ``[b, d, t_z, *cells]``.
            near: ``grid.to_points`` of the queries: one grid per trajectory with ``series`` frames each, or per frame.
            series: Frames of a query point: all of the trajectory where points rest, else 1.
            node_type: ``[q]``.
            constants: ``[q, k]`` normalised.
            stencil: ``path.stencil`` of the queries, where there is a straight path.
        """
        known = {"node_type": node_type, "constants": constants}
        return self.read(self.decode_nodes(latent, series), near, stencil=stencil, **known)

    def decode_nodes(self, latent: Tensor, series: int) -> tuple[Tensor, Tensor | None]:
        """What :meth:`read` reads: features of nodes ``[g * nodes, s, lift_channels]``, values of the straight path.

        Args:
            latent: ``[b, d, t_z, *cells]``.
            series: Frames of a grid: all of the trajectory where points rest, else 1.
        """
        field = self.tower.decode(latent)
        b, width, frames = field.shape[:3]
        if frames % series:
            raise InputError(f"{frames} decoded frames do not divide into series of {series}")
        nodes = field.flatten(3).view(b, width, frames // series, series, -1).permute(0, 2, 4, 3, 1)
        nodes = nodes.reshape(-1, series, width)
        if self.path is None:
            return self.drop(nodes), None
        laid = self.path.decode(latent) + self.path.spread(self.places_out(nodes), frames)
        return self.drop(nodes), self.path.rows(laid, series)

    def read(
        self,
        decoded: tuple[Tensor, Tensor | None],
        near: Neighborhood,
        *,
        node_type: Tensor | None = None,
        constants: Tensor | None = None,
        stencil: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Fields ``[q, s, c]`` at points from what :meth:`decode_nodes` made; arguments as for :meth:`decode`."""
        nodes, places = decoded
        out = self.to_points(nodes, near)
        made: Tensor = self.straight(out) + self.head(torch.cat([out, *self._known(out, node_type, constants)], 2))
        if self.path is None or places is None:
            return made
        if stencil is None:
            raise InputError("a model with a straight path reads its places too; give stencil=path.stencil(pos, graph)")
        return made + self.path.read(places, stencil)

    def encode_frames(self, points: PointFrames) -> Latent:
        """Latents of trajectories; their values and constants are normalised.

        Raises:
            InputError: The number of frames is not ``1 + f m``, or points outside of the box.
        """
        near = self.neighborhood(points.pos, points.ptr)
        known = {"node_type": points.node_type, "constants": points.constants}
        return self.encode(points.values, near, frames=points.frames, **known)

    def decode_frames(self, latent: Tensor, points: PointFrames) -> Tensor:
        """Fields at points, normalised, ``[q, s, c]``, from some of them after the others.

        Args:
            latent: ``[b, d, t_z, *cells]``.
            points: In every frame that is decoded; their values are not read, their constants are normalised.

        Raises:
            InputError: The points have other trajectories or frames than the latent, or lie outside of the box.
        """
        frames, series = 1 + (latent.shape[2] - 1) * self.time_factor, points.values.shape[1]
        if (points.num_trajectories, points.frames) != (len(latent), frames):
            raise InputError(
                f"the latent holds {len(latent)} trajectories of {frames} frames, the queries are "
                f"{points.num_trajectories} of {points.frames}; give points for every frame that is decoded"
            )
        nodes, graph, step, parts = self.decode_nodes(latent, series), points.graph, max(1, CHUNK // series), []
        for first in range(0, len(points.pos), step):
            rows = slice(first, first + step)
            near = self.grid.to_points(points.pos[rows], graph=graph[rows])
            stencil = None if self.path is None else self.path.stencil(points.pos[rows], graph[rows])
            known = {
                "node_type": None if points.node_type is None else points.node_type[rows],
                "constants": None if points.constants is None else points.constants[rows],
            }
            parts.append(self.read(nodes, near, stencil=stencil, **known))
        return torch.cat(parts)

    def fit_components(self, windows: Callable[[], Iterable[PointFrames]]) -> None:
        """Let the straight path, if there is one, begin as the principal components of training windows.

        Args:
            windows: Gives windows from the start each time it is called; their values are normalised.
        """
        if self.path is not None:
            self.path.fit(windows, self.neighborhood)

    @torch.no_grad()
    def _start_at_zero(self) -> None:
        """What the tower adds to the straight path begins at nothing."""
        narrow: Any = self.tower.narrow
        for layer in (narrow[1].straight.convolution, self.straight, self.head[-1], self.places_out):
            for weight in layer.parameters():
                weight.zero_()

    def notes(self, points: PointFrames) -> list[str]:
        """What is to be known of the latent grid over such points, a sentence each."""
        alone = self.neighborhood(points.pos, points.ptr).num_empty
        if not alone:
            return []
        return [
            f"{alone} of {self.grid.num_nodes} latent nodes see no point within their radius (inside of a body, or "
            "fewer points than cells); they take the nearest"
        ]

    def _known(self, like: Tensor, node_type: Tensor | None, constants: Tensor | None) -> list[Tensor]:
        """What is known of the points in every frame."""
        parts = []
        if self.num_constants:
            if constants is None or constants.shape[1] != self.num_constants:
                raise InputError(f"the model needs {self.num_constants} constant channels at the points")
            parts.append(constants)
        if self.kinds is not None:
            kind = node_type if node_type is not None else like.new_zeros(len(like), dtype=torch.long)
            parts.append(self.kinds(kind.clamp(0, NODE_TYPES - 1)))
        return [part.unsqueeze(1).expand(-1, like.shape[1], -1) for part in parts]
