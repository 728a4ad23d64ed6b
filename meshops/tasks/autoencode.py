"""Compression of trajectories on points: normalisation, the loss of an auto-encoder, encoding and decoding.

Fields are normalised once, here: one shift per channel, one scale per field, so that vectors keep their direction. The
encoder sees a random part of the points, the loss looks at others (ENMA, 2506.06158, E.2: new draw at every step).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from meshops.data.mesh_graph import field_slices
from meshops.data.normalize import Normalizer, Statistics
from meshops.data.point_frames import PointFrames
from meshops.errors import InputError
from meshops.ops.segment import segment_sum

CHUNK = 2**20  # points times frames that are read from the latent grid at a time
FLOOR = 1e-4  # mean square, over that of the training set, below which an error is not relative any more


@dataclass(frozen=True, kw_only=True)
class AutoencodeSpec:
    """What is compressed. Plain values: it goes into the checkpoint as it is.

    Attributes:
        fields: Names of the fields.
        sizes: Channels of each.
        units: Unit of each, ``""`` where unknown.
        low: Lower corner of the box that holds all points, m.
        high: Upper corner, m.
        periodic: Whether the ends of each axis meet.
        time_step: Time between frames, s; 0 where unknown.
        frames: Frames of a trajectory that are compressed at a time, L.
        constants: Names of the channels that are known of every point and do not change.
        node_types: Whether points have kinds.
        points: Part of the points that the encoder sees in training, least and most.
        targets: Points the training loss looks at in every graph; 0: all.
        kl: Weight of the Kullback-Leibler term (models with ``kl``).
        noise: Standard deviation of noise on the latents in training.
    """

    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    units: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    periodic: tuple[bool, ...]
    time_step: float = 0.0
    frames: int = 21
    constants: tuple[str, ...] = ()
    node_types: bool = False
    points: tuple[float, float] = (0.5, 1.0)
    targets: int = 0
    kl: float = 1e-4
    noise: float = 0.01

    def __post_init__(self) -> None:
        """Check the part of the points."""
        if not 0 < self.points[0] <= self.points[1] <= 1:
            raise InputError(f"points must be two fractions 0 < least <= most <= 1, got {self.points}")

    @property
    def channels(self) -> int:
        """Channels of all fields."""
        return sum(self.sizes)

    def slices(self) -> dict[str, slice]:
        """Channel range of each field."""
        return field_slices(self.fields, self.sizes)

    def model_arguments(self) -> dict[str, Any]:
        """What models want to know."""
        return {
            "in_channels": self.channels, "low": list(self.low), "high": list(self.high),
            "periodic": list(self.periodic), "num_constants": len(self.constants), "node_types": self.node_types,
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AutoencodeSpec:
        """Inverse of :meth:`to_dict`."""
        known = {f.name for f in fields(cls)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
        return cls(**given)


class AutoencodeTask(nn.Module):
    """An auto-encoder together with the normalisation of its fields.

    Args:
        model: Has ``neighborhood``, ``encode``, ``decode``, ``grid`` and ``time_factor``, as
            :class:`~meshops.models.echo.autoencoder.EchoAutoencoder` has.
        spec: What is compressed.
        norm: Of the fields.
        constant_norm: Of the constant channels.
    """

    def __init__(self, model: nn.Module, spec: AutoencodeSpec, norm: Normalizer, constant_norm: Normalizer) -> None:
        super().__init__()
        self.model: Any = model
        self.spec, self.norm, self.constant_norm = spec, norm, constant_norm

    @classmethod
    def fit(cls, model: nn.Module, spec: AutoencodeSpec, windows: Iterable[PointFrames]) -> AutoencodeTask:
        """Task with statistics of some windows (every point and frame counts once)."""
        stats: Statistics | None = None
        found: Statistics | None = None
        for part in windows:  # one after the other: a window may be large
            new = Statistics.of(part.values.flatten(0, 1))
            stats = new if stats is None else stats.merge(new)
            if part.constants is not None and spec.constants:
                more = Statistics.of(part.constants)
                found = more if found is None else found.merge(more)
        if stats is None:
            raise InputError("no data to compute statistics from; the training split is empty")
        scale = stats.std.clone()
        for channels in spec.slices().values():
            scale[channels] = stats.std[channels].square().mean().sqrt()
        fixed = Normalizer.identity(0)
        if found is not None:
            fixed = Normalizer(found.mean, found.std)
        return cls(model, spec, Normalizer(stats.mean.clone(), scale), fixed)

    def encode(self, source: PointFrames) -> Any:
        """Latents ``mean [b, d, t_z, *cells]`` of trajectories in physical units.

        Raises:
            InputError: The number of frames does not fit, points outside of the box, or values that are not finite.
        """
        if source.values.shape[2] != self.spec.channels:
            raise InputError(
                f"the fields are {', '.join(self.spec.fields)} ({self.spec.channels} channels), got "
                f"{source.values.shape[2]} channels"
            )
        if not bool(torch.isfinite(source.values).all()):
            raise InputError("the fields hold NaN or infinite values; drop those frames or points")
        near = self.model.neighborhood(source.pos.float(), source.ptr)
        return self.model.encode(
            self.norm(source.values.float()), near, frames=source.frames, node_type=source.node_type,
            constants=self._constants(source),
        )  # fmt: skip

    def decode(self, latent: Tensor, queries: PointFrames) -> Tensor:
        """Fields ``[q, s, c]`` at the points of ``queries`` (whose values are not read), physical units."""
        return self.norm.inverse(self.decode_normalised(latent, queries))

    def decode_normalised(self, latent: Tensor, queries: PointFrames) -> Tensor:
        """:meth:`decode` before the units are put back.

        Raises:
            InputError: The queries have other trajectories or frames than the latent, or lie outside of the box.
        """
        frames = 1 + (latent.shape[2] - 1) * self.model.time_factor
        if (queries.num_trajectories, queries.frames) != (len(latent), frames):
            raise InputError(
                f"the latent holds {len(latent)} trajectories of {frames} frames, the queries are "
                f"{queries.num_trajectories} of {queries.frames}; give points for every frame that is decoded"
            )
        series = queries.values.shape[1]
        nodes = self.model.decode_nodes(latent, series)
        graph, constants, parts = queries.graph, self._constants(queries), []
        for first in range(0, len(queries.pos), max(1, CHUNK // series)):
            rows = slice(first, first + max(1, CHUNK // series))
            near = self.model.grid.to_points(queries.pos[rows].float(), graph=graph[rows])
            known = {
                "node_type": None if queries.node_type is None else queries.node_type[rows],
                "constants": None if constants is None else constants[rows],
            }
            parts.append(self.model.read(nodes, near, **known))
        return torch.cat(parts)

    @torch.no_grad()
    def reconstruct(self, source: PointFrames, queries: PointFrames | None = None) -> Tensor:
        """``[q, s, c]`` fields at ``queries`` (None: the same points) after they went through the latents."""
        return self.decode(self.encode(source).mean, source if queries is None else queries)

    def loss(self, batch: Sequence[PointFrames] | PointFrames) -> dict[str, Tensor]:
        """Relative L2 error of the reconstruction, mean over trajectories, and the KL term."""
        whole = batch if isinstance(batch, PointFrames) else PointFrames.batch(batch)
        low, high = self.spec.points
        fraction = float(torch.empty(()).uniform_(low, high)) if low < high else low
        source = whole.subsample(fraction) if fraction < 1 else whole
        target = whole.subsample(1.0, most=self.spec.targets) if self.spec.targets else whole
        latent = self.encode(source)
        z = latent.mean
        if latent.log_variance is not None and self.training:
            z = z + torch.randn_like(z) * (0.5 * latent.log_variance).exp()
        elif self.spec.noise and self.training:
            z = z + self.spec.noise * torch.randn_like(z)
        error = relative_errors(self.decode_normalised(z, target), self.norm(target.values), target).mean()
        divergence = latent.kl()
        return {"loss": error + self.spec.kl * divergence, "relative_l2": error.detach(), "kl": divergence.detach()}

    def fingerprint(self) -> str:
        """Hash of weights and settings: latents of one auto-encoder mean nothing to another."""
        digest = hashlib.sha256(repr(sorted(self.spec.to_dict().items())).encode())
        digest.update(repr(sorted(getattr(self.model, "neighbors", {}).items())).encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _constants(self, points: PointFrames) -> Tensor | None:
        return None if points.constants is None or not self.spec.constants else self.constant_norm(points.constants)


def relative_errors(prediction: Tensor, truth: Tensor, points: PointFrames) -> Tensor:
    """``||p - u|| / ||u||`` of every trajectory over points, frames and channels, ``[b]``.

    This is what AROMA's and ENMA's code calls "relative MSE" (not squared). Values are normalised; a trajectory whose
    mean square is below :data:`FLOOR` is measured against that, so that a start from rest does not rule the loss.

    Args:
        prediction: ``[q, s, c]``.
        truth: Same shape.
        points: Says which rows are whose.
    """
    per = points.num_graphs // points.num_trajectories
    ptr = points.ptr[::per]
    wrong = segment_sum((prediction - truth).square().sum((1, 2)), ptr)
    size = segment_sum(truth.square().sum((1, 2)), ptr)
    least = FLOOR * ptr.diff() * truth.shape[1] * truth.shape[2]
    return (wrong / torch.maximum(size, least.to(size.dtype)).clamp(min=1e-30)).sqrt()
