"""Diffusion transformer over the latents of a trajectory: AdaLN-zero, axial rotary and absolute positions, QK norm.

After the description of ECHO (2512.04974: "DiT with AdaLN", flow matching on whole segments, known tokens kept) and
the DiT paper (Peebles and Xie, 2212.09748); sizes are our defaults, those of the paper are not public. Tokens
are patches of
the latent in space, one latent frame in time. Observed tokens stay in their place, clean. What is known of a latent
frame is repeated in channels of its own (a hint) with a mask and a flag where an encoded run begins; AdaLN carries the
time of the path, the task and the parameters of the equation. With ``identify`` the parameters are one more token,
known or generated.

For steps of one latent frame (ours): ``fold_time`` puts all latent frames of a place into one token, ``local`` adds a
convolution over the cells to every block, and with ``whole_periods`` rotary positions know periodic axes as such, so
that without ``absolute`` positions a shifted latent gives the shifted answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention

from meshops.errors import InputError
from meshops.models.registry import register_model
from meshops.nn.causal_tower import CONVOLUTIONS, pad_space
from meshops.nn.mlp import MLP
from meshops.nn.patch_attention import check_heads
from meshops.nn.rotary import RotaryPositions, rotate

TASKS = ("forward", "inverse", "interpolation", "generation")


class Velocity(NamedTuple):
    """What the network says of latents and parameters.

    Attributes:
        latent: ``[b, d, t, *cells]``.
        parameters: ``[b, g]``, or None without ``identify``.
    """

    latent: Tensor
    parameters: Tensor | None


@register_model
class EchoGenerator(nn.Module):
    """Velocity of the flow, or the clean latents themselves (deterministic variant).

    Args:
        latent_channels: d.
        latent_frames: Latent frames of a segment.
        latent_cells: Latent cells along each axis.
        num_parameters: Parameters of the equation, g.
        channels: Width of a token.
        depth: Number of blocks.
        num_heads: Heads of the attention.
        patch: Cells per token along each axis.
        ratio: Hidden width of the perceptrons over ``channels``.
        identify: Parameters are a token that can be generated.
        deterministic: One evaluation gives the clean latents: unknown tokens are a learned mask.
        periodic: Whether the ends of each axis meet; None: none does.
        fold_time: One token per patch of cells for all latent frames, instead of one per frame.
        local: A 3-wide convolution over the cells in every block; needs ``fold_time`` and no ``identify``.
        absolute: Absolute positions too, for equations that know where they are.
        whole_periods: Along periodic axes rotary positions turn by whole harmonics of the period.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"latents"})

    def __init__(
        self,
        latent_channels: int,
        latent_frames: int,
        latent_cells: Sequence[int],
        *,
        num_parameters: int = 0,
        channels: int = 256,
        depth: int = 6,
        num_heads: int = 4,
        patch: int = 1,
        ratio: float = 4.0,
        identify: bool = False,
        deterministic: bool = False,
        periodic: Sequence[bool] | None = None,
        fold_time: bool = False,
        local: bool = False,
        absolute: bool = True,
        whole_periods: bool = False,
    ) -> None:
        super().__init__()
        check_heads(channels, num_heads)
        if any(n % patch for n in latent_cells):
            raise InputError(f"patch must divide the latent cells {tuple(latent_cells)}, got {patch}; use patch 1")
        if identify and not num_parameters:
            raise InputError("identify needs parameters to identify, and the data have none")
        if local and (identify or not fold_time):
            raise InputError("local needs fold_time: true and identify: false; only cells lie on a grid then")
        self.latent_channels, self.latent_frames, self.cells = latent_channels, latent_frames, tuple(latent_cells)
        self.patch, self.num_parameters, self.deterministic = patch, num_parameters, deterministic
        self.identify = identify
        size = patch ** len(self.cells)
        self.folded = latent_frames if fold_time else 1
        self.embed = nn.Linear(self.folded * (2 * size * latent_channels + 2), channels)
        self.mask_token = nn.Parameter(torch.zeros(latent_channels)) if deterministic else None
        wrap = tuple(bool(p) for p in periodic or (False,) * len(self.cells))
        space = tuple(n // patch for n in self.cells)
        shape = space if fold_time else (latent_frames, *space)
        places = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij"), -1).flatten(0, -2)
        self.register_buffer("places", places.float(), persistent=False)
        sines = _sines(places.float(), channels)
        self.register_buffer("absolute", sines if absolute else torch.zeros_like(sines), persistent=False)
        longest = 4.0 * max(shape)
        self.rotary = RotaryPositions(channels // num_heads, len(shape), min_wavelength=4.0, max_wavelength=longest)
        angles = self.rotary(places.float())
        if whole_periods:
            angles = _whole_harmonics(angles, places.float(), shape, (False,) * (len(shape) - len(space)) + wrap)
        self.register_buffer("angles", angles, persistent=False)
        self.time = MLP([256, channels, channels], activation=nn.SiLU)
        self.task = nn.Embedding(len(TASKS), channels)
        self.parameters_in = MLP([num_parameters, channels, channels], activation=nn.SiLU) if num_parameters else None
        self.unknown = nn.Parameter(torch.zeros(channels)) if num_parameters else None
        self.parameter_token = nn.Linear(2 * num_parameters + 1, channels) if identify else None
        grid = (space, wrap) if local else None
        self.blocks = nn.ModuleList(_Block(channels, num_heads, ratio, grid) for _ in range(depth))
        self.final = nn.LayerNorm(channels, elementwise_affine=False)
        self.modulate = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, self.folded * size * latent_channels)
        self.parameters_out = nn.Linear(channels, num_parameters) if identify else None
        for layer in (self.modulate, self.out, self.parameters_out):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.task.weight, std=0.02)

    places: Tensor
    absolute: Tensor
    angles: Tensor

    def forward(
        self,
        noisy: Tensor,
        known: Tensor,
        observed: Tensor,
        r: Tensor,
        task: Tensor,
        *,
        hint: Tensor | None = None,
        start: Tensor | None = None,
        parameters: Tensor | None = None,
        given: Tensor | None = None,
        noisy_parameters: Tensor | None = None,
    ) -> Velocity:
        """Velocity, or clean latents.

        Args:
            noisy: ``[b, d, t, *cells]`` place on the path; observed tokens are replaced by ``known``.
            known: Same shape; counts where there is a hint.
            observed: ``[b, t]`` latent frames that are what ``known`` says.
            r: ``[b]`` time on the path.
            task: ``[b]`` number in :data:`TASKS`.
            hint: ``[b, t]`` latent frames that ``known`` says something of; None: the observed ones.
            start: ``[b, t]`` those that begin a run encoded by itself; None: the first frame, where observed.
            parameters: ``[b, g]`` normalised, counts where ``given``.
            given: ``[b]`` whether the parameters are known; None: all are, if there are any.
            noisy_parameters: ``[b, g]`` place on the path, with ``identify``.
        """
        b, dim = len(noisy), len(self.cells)
        wide = (b, 1, self.latent_frames, *(1,) * dim)
        mask = observed.view(wide)
        told_of = observed if hint is None else hint
        begins = observed & (torch.arange(self.latent_frames, device=observed.device) == 0) if start is None else start
        clean = known * told_of.view(wide)
        if self.mask_token is not None:
            noisy = self.mask_token.view(1, -1, 1, *(1,) * dim).expand_as(known)
        mixed = torch.where(mask, known, noisy)
        flags = torch.stack([told_of, begins], 2).to(mixed.dtype)  # [b, t, 2]
        per_frame = self._tokens // self.latent_frames
        tokens = torch.cat(
            [self._patches(mixed), self._patches(clean), flags.repeat_interleave(per_frame, 1)], 2
        )  # fmt: skip
        if self.folded > 1:
            tokens = tokens.unflatten(1, (self.folded, -1)).transpose(1, 2).flatten(2)  # all frames of a place
        x = self.embed(tokens) + self.absolute
        angles = self.angles
        condition = self.time(_sines(1000 * r.view(-1, 1), 256)) + self.task(task)
        known_parameters = self._given(given, parameters, b, noisy.device)
        if self.parameters_in is not None and self.unknown is not None:
            told = torch.zeros(b, self.num_parameters, device=noisy.device) if parameters is None else parameters
            known_of = torch.where(known_parameters.view(-1, 1), self.parameters_in(told), self.unknown)
            condition = condition + known_of
        if self.parameter_token is not None:
            told = x.new_zeros(b, self.num_parameters) if parameters is None else parameters
            path = told if noisy_parameters is None else noisy_parameters
            flag = known_parameters.view(-1, 1).to(x.dtype)
            now = torch.where(known_parameters.view(-1, 1), told, path)
            extra = self.parameter_token(torch.cat([now, told * flag, flag], 1))
            x = torch.cat([x, extra.unsqueeze(1)], 1)
            angles = torch.cat([angles, angles.new_zeros(1, angles.shape[1])])
        for block in self.blocks:
            x = block(x, condition, angles)
        shift, scale = self.modulate(nn.functional.silu(condition)).unsqueeze(1).chunk(2, 2)
        x = self.final(x) * (1 + scale) + shift
        count = self.absolute.shape[0]
        made = self.out(x[:, :count])
        if self.folded > 1:
            made = made.unflatten(2, (self.folded, -1)).transpose(1, 2).flatten(1, 2)
        latent = self._unpatched(made)
        found = self.parameters_out(x[:, count]) if self.parameters_out is not None else None
        return Velocity(latent, found)

    @property
    def _tokens(self) -> int:
        """Patches of all latent frames."""
        return self.absolute.shape[0] * self.folded

    def _given(self, given: Tensor | None, parameters: Tensor | None, b: int, device: torch.device) -> Tensor:
        if given is not None:
            return given
        return torch.full((b,), parameters is not None, device=device)

    def _patches(self, z: Tensor) -> Tensor:
        """``[b, d, t, *cells] -> [b, tokens, d * patch^dim]``."""
        p, dim = self.patch, len(self.cells)
        for axis in range(dim):
            z = z.unflatten(3 + 2 * axis, (-1, p))
        outer = [2, *(3 + 2 * a for a in range(dim))]
        inner = [1, *(4 + 2 * a for a in range(dim))]
        out: Tensor = z.permute(0, *outer, *inner).flatten(dim + 2).flatten(1, dim + 1)
        return out

    def _unpatched(self, tokens: Tensor) -> Tensor:
        p, dim = self.patch, len(self.cells)
        shape = (self.latent_frames, *(n // p for n in self.cells))
        z: Tensor = tokens.unflatten(1, shape).unflatten(-1, (self.latent_channels, *(p,) * dim))
        order = [0, dim + 2, 1]
        for axis in range(dim):
            order += [2 + axis, dim + 3 + axis]
        return z.permute(*order).reshape(len(z), self.latent_channels, self.latent_frames, *self.cells)


class _Block(nn.Module):
    """Attention and perceptron, scaled, shifted and gated by the condition; gates start at zero (AdaLN-zero)."""

    def __init__(
        self, channels: int, num_heads: int, ratio: float, grid: tuple[tuple[int, ...], tuple[bool, ...]] | None = None
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.query_scale = nn.Parameter(torch.full((num_heads, 1), math.sqrt(channels // num_heads)))
        self.merge = nn.Linear(channels, channels)
        self.mlp = MLP([channels, int(ratio * channels), channels], activation=nn.GELU)
        self.modulate = nn.Linear(channels, 6 * channels)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        self.grid = grid
        self.near = CONVOLUTIONS[len(grid[0])](channels, channels, 3) if grid else None

    def forward(self, x: Tensor, condition: Tensor, angles: Tensor) -> Tensor:
        """``x [b, n, c]``, ``condition [b, c]``, ``angles [n, a]``."""
        parts = self.modulate(nn.functional.silu(condition)).unsqueeze(1).chunk(6, 2)
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = parts
        inner = self.norm(x) * (1 + scale) + shift
        query, key, value = self.qkv(inner).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)
        query = normalize(query, dim=-1) * self.query_scale
        query, key = rotate(query, angles), rotate(normalize(key, dim=-1), angles)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        mixed = scaled_dot_product_attention(query, key, value, scale=1.0).transpose(1, 2).flatten(2)
        x = x + gate * self.merge(mixed)
        inner = self.norm(x) * (1 + scale_mlp) + shift_mlp
        if self.near is not None and self.grid is not None:
            cells, wrap = self.grid
            laid = pad_space(inner.transpose(1, 2).unflatten(2, cells), wrap, 1)
            inner = inner + self.near(laid).flatten(2).transpose(1, 2)
        out: Tensor = x + gate_mlp * self.mlp(inner)
        return out


def _whole_harmonics(angles: Tensor, places: Tensor, shape: Sequence[int], wrap: Sequence[bool]) -> Tensor:
    """Angles ``[n, pairs]`` of rotary positions; those of periodic axes are whole harmonics 1, 2, ..., n / 2, 1, ..."""
    pairs = angles.shape[1] // len(shape)
    out = angles.clone()
    for axis, (cells, periodic) in enumerate(zip(shape, wrap, strict=True)):
        if periodic:
            harmonic = torch.arange(pairs).remainder(max(cells // 2, 1)) + 1.0
            out[:, axis * pairs : (axis + 1) * pairs] = 2 * math.pi / cells * places[:, axis : axis + 1] * harmonic
    return out


def _sines(places: Tensor, channels: int) -> Tensor:
    """Sines and cosines of every column of ``[n, d]`` at wave lengths from 2 pi to 20,000 pi, ``[n, channels]``."""
    pairs = channels // 2 // places.shape[1]
    rates = torch.exp(-math.log(10_000.0) * torch.arange(pairs, device=places.device) / max(pairs, 1))
    angle = (places.unsqueeze(-1) * rates).flatten(1)
    made = torch.cat([angle.sin(), angle.cos()], 1)
    return nn.functional.pad(made, (0, channels - made.shape[1]))
