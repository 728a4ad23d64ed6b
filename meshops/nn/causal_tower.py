"""Compression of trajectories on a grid, causal in time, in one, two or three space dimensions.

Space and time are convolved one after the other, so 3-D space needs no 4-D convolution and the parts that know time can
be frozen. Layers: ``res`` (residual block), ``space`` (halves the grid), ``time`` (halves the frames); the names are
those of MAGVIT-v2 (2310.05737) and ENMA (2506.06158, D.1.2).

A trajectory has ``1 + f m`` frames and becomes ``1 + m``: the first latent frame sees the first frame alone, latent
frame j what was up to frame ``f j``. Every convolution in time is padded on its left by zeros, nothing is prepended
(with a prepended frame, as in open MAGVIT-v2 code, the last frame never reaches the latent when ``(L - 1) % f == 0``).
So the latents of a prefix are the first latents of the whole, and later frames never change earlier latents.

A tower starts as a linear projection (ours): blocks of cells and pairs of frames go through orthogonal maps on the way
down and through their transposes on the way up (but for ``upsample="nearest"``, which repeats cells), everything that
is not linear starts at zero, and the ends keep a linear path past their norm, which would hide amplitudes. From random
weights the first hundreds of steps are lost. The first frame is half of a pair of which the other half is zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu
from torch.utils.checkpoint import checkpoint

from meshops import ranks
from meshops.errors import InputError

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
LAYERS = ("res", "space", "time")
UPSAMPLINGS = ("shuffle", "nearest", "transposed")
Upsampling = Literal["shuffle", "nearest", "transposed"]


class CausalTower(nn.Module):
    """Down: ``[b, c_in, t, *grid] -> [b, d, t / f_t, *grid / f_s]``; up: back.

    Args:
        in_channels: Channels of the grid field, on the way down and, mirrored, up.
        latent_channels: d.
        layers: What happens on the way down, e.g. ``("res", "space", "res", "time", "res")``.
        channels: Width after the first convolution; doubled by every ``space``.
        max_channels: Largest width.
        periodic: Whether the ends of each axis meet; elsewhere the border is padded by zeros.
        upsample: ``"shuffle"`` (a convolution makes all cells of a block), ``"nearest"`` (repetition and
            convolution) or ``"transposed"`` convolution.
        kernel: Width of the first and the last convolution in space, odd (ENMA: 7).
        out_channels: Channels on the way down if not d: twice d for a mean and a variance.

    Raises:
        InputError: Unknown layer, or an even kernel.
    """

    def __init__(
        self,
        in_channels: int,
        latent_channels: int,
        *,
        layers: Sequence[str],
        channels: int = 64,
        max_channels: int = 256,
        periodic: Sequence[bool] = (False, False),
        upsample: Upsampling = "shuffle",
        kernel: int = 7,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        unknown = [name for name in layers if name not in LAYERS]
        if unknown:
            raise InputError(f"layers of a tower are {', '.join(LAYERS)}, got '{unknown[0]}'")
        if upsample not in UPSAMPLINGS:
            raise InputError(f"upsample must be one of {', '.join(UPSAMPLINGS)}, got '{upsample}'")
        if kernel % 2 == 0:
            raise InputError(f"kernel must be odd, got {kernel}")
        wrap = tuple(bool(p) for p in periodic)
        self.space_factor = 2 ** sum(name == "space" for name in layers)
        self.time_factor = 2 ** sum(name == "time" for name in layers)
        self.latent_channels = latent_channels
        width = channels
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for name in layers:
            if name == "res":
                down.append(ResidualBlock(width, wrap))
                up.append(ResidualBlock(width, wrap))
            elif name == "space":
                wider = min(2 * width, max_channels)
                down.append(SpaceConv(width, wider, wrap, stride=2))
                up.append(ExpandSpace(wider, width, wrap, upsample))
                width = wider
            else:
                down.append(TimeConv(width, width, stride=2))
                up.append(ExpandTime(width))
        self.first = nn.Sequential(SpaceConv(in_channels, channels, wrap, kernel=kernel), TimeConv(channels, channels))
        self.down = nn.ModuleList(down)
        self.narrow = nn.Sequential(ResidualBlock(width, wrap), End(width, out_channels or latent_channels, wrap))
        self.widen = nn.Sequential(
            SpaceConv(latent_channels, width, wrap), TimeConv(width, width), ResidualBlock(width, wrap)
        )
        self.up = nn.ModuleList(reversed(up))
        self.last = End(channels, in_channels, wrap, kernel=kernel)
        self.checkpointing = False
        self._start_as_projection()

    def encode(self, x: Tensor) -> Tensor:
        """``[b, c, 1 + f_t m, *grid] -> [b, d, 1 + m, *grid / f_s]``.

        Raises:
            InputError: The number of frames or of cells does not fit.
        """
        check_frames(x.shape[2], self.time_factor)
        bad = [n for n in x.shape[3:] if n % self.space_factor]
        if bad:
            raise InputError(f"the grid {tuple(x.shape[3:])} must be a multiple of {self.space_factor} along each axis")
        return self._run([self.first, *self.down, self.narrow], x)

    def decode(self, z: Tensor) -> Tensor:
        """``[b, d, 1 + m, *cells] -> [b, c, 1 + f_t m, *grid]``."""
        return self._run([self.widen, *self.up, self.last], z)

    def temporal_parameters(self) -> Iterator[nn.Parameter]:
        """Weights of the convolutions in time."""
        for module in self.modules():
            if isinstance(module, TimeConv):
                yield from module.parameters()

    @torch.no_grad()
    def _start_as_projection(self) -> None:
        """Orthogonal maps down, their transposes up, see above."""
        first: Any = self.first
        narrow: Any = self.narrow[1].straight
        widen: Any = self.widen
        pairs: Any = zip(self.down, reversed(self.up), strict=True)
        width, inputs = first[0].convolution.weight.shape[:2]
        lift, project = orthogonal(width, inputs), orthogonal(self.latent_channels, narrow.convolution.weight.shape[1])
        set_tap(first[0], lift)
        set_tap(first[1], torch.eye(width))
        start_at_zero(narrow)
        narrow.convolution.weight[: self.latent_channels].flatten(1).copy_(project)  # a variance starts at 1
        set_tap(widen[0], project.T)
        set_tap(widen[1], torch.eye(project.shape[1]))
        set_tap(self.last.straight, lift.T)
        for down, up in pairs:
            if isinstance(up, ExpandTime):
                pair = orthogonal(up.channels, 2 * up.channels)
                start_at_zero(down)
                down.convolution.weight[:, :, 1:, 0] = pair.view(up.channels, 2, up.channels).transpose(1, 2)
                set_tap(up.spread, pair.T)
            elif isinstance(up, ExpandSpace):
                up.start(down)

    def _run(self, layers: Sequence[nn.Module], x: Tensor) -> Tensor:
        for layer in layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, use_reentrant=False)
            else:
                x = layer(x)
        return x


class Latent(NamedTuple):
    """Latents of trajectories.

    Attributes:
        mean: ``[b, d, t_z, *cells]``.
        log_variance: Same shape with the KL option, else None.
    """

    mean: Tensor
    log_variance: Tensor | None

    def kl(self) -> Tensor:
        """Kullback-Leibler divergence from a standard normal, mean over numbers."""
        if self.log_variance is None:
            return self.mean.new_zeros(())
        return 0.5 * ranks.mean(self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)


def check_frames(frames: int, factor: int) -> None:
    """Raise ``InputError`` unless there are ``1 + factor * m`` frames."""
    if frames < 1 or (frames - 1) % factor:
        low = max(1, frames - (frames - 1) % factor)
        raise InputError(
            f"a trajectory must have 1 + {factor} m frames to be compressed {factor}-fold in time, got {frames}; crop "
            f"it to {low} or give {low + factor}"
        )


def check_run(name: str, number: int, most: int, factor: int) -> None:
    """Raise ``InputError`` unless ``number`` is ``1 + factor j`` and at most ``most``."""
    if (number - 1) % factor or not 1 <= number <= most:
        fits = ", ".join(str(n) for n in range(1, most + 1, factor))
        raise InputError(f"{name} frames must be one of {fits} (1 + {factor} j), got {number}; crop them")


class ChannelNorm(nn.Module):
    """RMS norm over the channels of every position; a norm over time would let the future into the past."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, ...] -> [b, c, ...]``."""
        size = x.square().mean(1, keepdim=True).add(1e-6).rsqrt()
        return x * size * self.scale.view(-1, *(1,) * (x.dim() - 2))


class SpaceConv(nn.Module):
    """Convolution of every frame by itself."""

    def __init__(
        self, channels_in: int, channels_out: int, wrap: Sequence[bool], *, kernel: int = 3, stride: int = 1
    ) -> None:
        super().__init__()
        self.wrap, self.reach = tuple(wrap), kernel // 2
        self.convolution = CONVOLUTIONS[len(self.wrap)](channels_in, channels_out, kernel, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, t, *grid] -> [b, c_out, t, *grid / stride]``."""
        frames = pad_space(x.transpose(1, 2).flatten(0, 1), self.wrap, self.reach)
        out: Tensor = self.convolution(frames).unflatten(0, (len(x), x.shape[2]))
        return out.transpose(1, 2)


class TimeConv(nn.Module):
    """Convolution along time that sees the present and the past."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.reach = kernel - 1
        self.convolution = nn.Conv2d(channels_in, channels_out, (kernel, 1), stride=(stride, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, t, *grid] -> [b, c_out, 1 + (t - 1) / stride, *grid]``."""
        flat = pad(x.flatten(3), (0, 0, self.reach, 0))
        made: Tensor = self.convolution(flat)
        out: Tensor = made.unflatten(3, x.shape[3:])
        return out


class End(nn.Module):
    """straight(x) + bent(silu(norm(x))) to other channels: amplitudes pass; the bent part starts at zero."""

    def __init__(self, channels_in: int, channels_out: int, wrap: Sequence[bool], *, kernel: int = 3) -> None:
        super().__init__()
        self.straight = SpaceConv(channels_in, channels_out, wrap, kernel=1)
        self.norm = ChannelNorm(channels_in)
        self.bent = SpaceConv(channels_in, channels_out, wrap, kernel=kernel)
        start_at_zero(self.bent)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, t, *grid] -> [b, c_out, t, *grid]``."""
        out: Tensor = self.straight(x) + self.bent(silu(self.norm(x)))
        return out


class ResidualBlock(nn.Module):
    """x + time(silu(norm(space(silu(norm(x)))))); the last convolution starts at zero."""

    def __init__(self, channels: int, wrap: Sequence[bool]) -> None:
        super().__init__()
        self.space_norm, self.time_norm = ChannelNorm(channels), ChannelNorm(channels)
        self.space = SpaceConv(channels, channels, wrap)
        self.time = TimeConv(channels, channels)
        start_at_zero(self.time)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, t, *grid] -> [b, c, t, *grid]``."""
        inner = self.space(silu(self.space_norm(x)))
        out: Tensor = x + self.time(silu(self.time_norm(inner)))
        return out


class ExpandSpace(nn.Module):
    """Doubles the grid."""

    def __init__(self, channels_in: int, channels_out: int, wrap: Sequence[bool], kind: Upsampling) -> None:
        super().__init__()
        dim = len(wrap)
        self.dim, self.wrap = dim, tuple(wrap)
        self.shuffle = SpaceConv(channels_in, 2**dim * channels_out, wrap) if kind == "shuffle" else None
        self.transposed = TRANSPOSED[dim](channels_in, channels_out, 4, stride=2) if kind == "transposed" else None
        self.smooth = SpaceConv(channels_in, channels_out, wrap) if kind == "nearest" else None

    @torch.no_grad()
    def start(self, down: SpaceConv) -> None:
        """An orthogonal map of blocks of cells for the way down, its transpose here."""
        halve: Any = down.convolution
        wide, narrow = halve.weight.shape[:2]
        block = orthogonal(wide, narrow * 2**self.dim)
        inside: Any = (
            slice(None),
            slice(None),
            *(slice(1, None),) * self.dim,
        )  # taps 1 and 2 of 3 are the block itself
        start_at_zero(down)
        halve.weight[inside] = block.view(wide, narrow, *(2,) * self.dim)
        if self.shuffle is not None:
            set_tap(self.shuffle, block.T)
        elif self.smooth is not None:
            set_tap(self.smooth, block.view(wide, narrow, -1).mean(2).T)
        elif self.transposed is not None:
            assert self.transposed.bias is not None
            self.transposed.weight.zero_()
            self.transposed.bias.zero_()
            inside = (slice(None), slice(None), *(slice(1, 3),) * self.dim)  # of four
            self.transposed.weight[inside] = block.view(wide, narrow, *(2,) * self.dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, t, *grid] -> [b, c_out, t, *2 grid]``."""
        if self.shuffle is not None:
            made = self.shuffle(x).unflatten(1, (-1, *(2,) * self.dim))  # [b, c_out, 2, .., t, n, ..]
            time = 2 + self.dim
            pairs = [axis for a in range(self.dim) for axis in (time + 1 + a, 2 + a)]
            blocks: Tensor = made.permute(0, 1, time, *pairs)  # [b, c_out, t, n, 2, ..]
            for axis in range(3, 3 + self.dim):
                blocks = blocks.flatten(axis, axis + 1)
            return blocks
        if self.transposed is not None:
            frames = pad_space(x.transpose(1, 2).flatten(0, 1), self.wrap, 1)
            wide: Tensor = self.transposed(frames)
            for axis in range(2, 2 + self.dim):  # cells 3.. of the padded output lie over the original ones
                wide = wide.narrow(axis, 3, wide.shape[axis] - 6)
            doubled: Tensor = wide.unflatten(0, (len(x), x.shape[2])).transpose(1, 2)
            return doubled
        for axis in range(3, 3 + self.dim):
            x = x.repeat_interleave(2, axis)
        assert self.smooth is not None
        out: Tensor = self.smooth(x)
        return out


class ExpandTime(nn.Module):
    """Doubles the frames but the first: ``t -> 2 t - 1``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.spread = TimeConv(channels, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, t, *grid] -> [b, c, 2 t - 1, *grid]``."""
        pair = self.spread(x).unflatten(1, (2, -1))  # [b, 2, c, t, *grid]
        twice: Tensor = pair.movedim(1, 3).flatten(2, 3)
        return twice[:, :, 1:]


def orthogonal(rows: int, columns: int) -> Tensor:
    """``[rows, columns]`` with orthonormal rows or columns, the identity if square."""
    empty = torch.empty(rows, columns, dtype=torch.float32)
    out: Tensor = torch.eye(rows) if rows == columns else nn.init.orthogonal_(empty)
    return out


def start_at_zero(convolution: SpaceConv | TimeConv) -> None:
    """Weights and bias 0."""
    nn.init.zeros_(convolution.convolution.weight)
    assert convolution.convolution.bias is not None
    nn.init.zeros_(convolution.convolution.bias)


def set_tap(convolution: SpaceConv | TimeConv, matrix: Tensor) -> None:
    """Make a convolution ``matrix [c_out, c_in]`` at the place itself (the middle in space, the present in time)."""
    start_at_zero(convolution)
    weight = convolution.convolution.weight
    here: Any = tuple(n // 2 for n in weight.shape[2:]) if isinstance(convolution, SpaceConv) else (-1, 0)
    weight[(slice(None), slice(None), *here)] = matrix


def pad_space(x: Tensor, wrap: Sequence[bool], reach: int) -> Tensor:
    """``[b, c, *grid]`` continued by ``reach`` cells at both ends of every axis, by zeros or round periodic ones."""
    for axis, periodic in enumerate(wrap, start=2):
        n = x.shape[axis]
        if periodic and reach <= n:
            x = torch.cat([x.narrow(axis, n - reach, reach), x, x.narrow(axis, 0, reach)], axis)
        elif periodic:
            places = torch.arange(-reach, n + reach, device=x.device).remainder(n)
            x = x.index_select(axis, places)
        else:
            sides = [0, 0] * (x.dim() - axis - 1) + [reach, reach]
            x = pad(x, sides)
    return x


def compression(points: int, channels: int, frames: int, latent: Sequence[int]) -> float:
    """Input numbers over latent numbers, N C T / (M d T_z) (ENMA, table 1).

    Args:
        points: N.
        channels: C.
        frames: T.
        latent: ``(d, t, *cells)``.
    """
    return points * channels * frames / math.prod(latent)
