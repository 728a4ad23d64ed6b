"""IAP, Iterative Adaptive Patchification (AI&PDE workshop 2026, OpenReview rjsBKObDx2): a transformer on patches.

    patches = TokenBudget(T)(X)                                     (algorithm 1; meshops.partition.budget)
    V = blocks(W_p [X in patch of side p])                          one linear embedding per side, rotary positions
    V_o = sigma(g(o)) * V_pi + b(o)                                 (eq. 4) o: place of a p_min cell in its patch pi
    Y = linear(cross_attention(V_o, V))                             a p_min^D block of the output per cell

Not given in the paper and chosen here: pre-norm, GELU, rotary base 10,000 in units of p_min, g and b as tables over
(side, place), no residual. ``decoder="local"`` (ours) maps each token to the cells of its own patch, one linear layer
per side: no attention of every cell to every token, which is most of the published network's work (see the card).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models.registry import register_model
from meshops.nn.grid_model import GridModel
from meshops.nn.rotary import RotaryPositions
from meshops.nn.transformer import TransformerBlock
from meshops.ops.pyramid import upsample
from meshops.partition.budget import Mode, TokenBudget
from meshops.partition.grid_patches import GridPatches, crop, from_blocks


@register_model
class IAP(GridModel):
    """Adaptive patch transformer with a fixed number of tokens.

    Args:
        in_channels: Channels of the input, all time steps together.
        out_channels: Channels of the output.
        dim: Number of space dimensions.
        budget: Tokens per sample.
        p_min: Side of the smallest patches, cells.
        p_max: Side of the largest.
        channels: Width of a token.
        depth: Self-attention blocks.
        num_heads: Heads; channels / num_heads must be divisible by 2 dim.
        ratio: Hidden width of the perceptrons over ``channels``.
        decoder: ``"cross"`` as published, or ``"local"``.
        latents: Equation 4; without it every cell asks with the token of its patch alone.
        mode: See :class:`~meshops.partition.budget.TokenBudget`.
        budget_range: While training each batch draws its budget from here; None: ``budget``. Ours: it makes one
            network usable at all these budgets.
        periodic: Whether the ends of each axis meet.
        score_channels: Channels the patches are chosen by; None: all.

    Example:
        >>> model = IAP(3, 2, budget=40, p_min=2, p_max=8, channels=48, depth=1, num_heads=4)
        >>> model(torch.randn(1, 3, 32, 32)).shape
        torch.Size([1, 2, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dim: int = 2,
        budget: int = 2048,
        p_min: int = 2,
        p_max: int = 8,
        channels: int = 384,
        depth: int = 7,
        num_heads: int = 6,
        ratio: float = 2.0,
        decoder: Literal["cross", "local"] = "cross",
        latents: bool = True,
        mode: Mode = "global",
        budget_range: Sequence[int] | None = None,
        periodic: Sequence[bool] | None = None,
        score_channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if decoder not in ("cross", "local"):
            raise InputError(f"decoder must be 'cross' or 'local', got '{decoder}'")
        if budget_range is not None and not (len(budget_range) == 2 and budget_range[0] <= budget_range[1]):
            raise InputError(f"budget_range must be (smallest, largest), got {budget_range}")
        self.in_channels, self.out_channels, self.dim, self.channels = in_channels, out_channels, dim, channels
        self.tokenizer = TokenBudget(budget, p_min, p_max, mode=mode, periodic=periodic)
        self.budget_range = None if budget_range is None else tuple(budget_range)
        self.score_channels = None if score_channels is None else list(score_channels)
        sides = [p_max // 2**level for level in range(self.tokenizer.levels + 1)]
        self.embed = nn.ModuleList(nn.Linear(side**dim * in_channels, channels) for side in sides)
        self.positions = rotary_base(channels // num_heads, dim)
        self.blocks = nn.ModuleList(TransformerBlock(channels, num_heads=num_heads, ratio=ratio) for _ in range(depth))
        self.cross = self.head = self.gate = self.shift = self.heads = None
        if decoder == "local":
            self.norm = nn.LayerNorm(channels)
            self.heads = nn.ModuleList(nn.Linear(channels, side**dim * out_channels) for side in sides)
            return
        self.cross = TransformerBlock(channels, num_heads=num_heads, ratio=ratio, cross=True)
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, p_min**dim * out_channels)
        if latents:
            places = sum(2 ** (dim * level) for level in range(self.tokenizer.levels + 1))
            self.gate = nn.Embedding(places, channels)
            self.shift = nn.Embedding(places, channels)
            nn.init.normal_(self.gate.weight, std=0.02)
            nn.init.normal_(self.shift.weight, std=0.02)

    def patches(self, fields: Tensor, budget: int | None = None) -> GridPatches:
        """Patches for ``[b, c_in, *grid]``, chosen without gradients."""
        scored = fields if self.score_channels is None else fields[:, self.score_channels]
        return self.tokenizer.patches(scored, budget=budget)

    def forward(self, fields: Tensor, budget: int | None = None) -> Tensor:
        """``[b, c_in, *grid] -> [b, c_out, *grid]``.

        Args:
            fields: Normalised fields.
            budget: Tokens per sample instead of the model's own.

        Raises:
            InputError: Wrong number of channels or axes, values not finite, or a budget that is too small.
        """
        if fields.dim() != self.dim + 2 or fields.shape[1] != self.in_channels:
            raise InputError(
                f"fields must be [b, {self.in_channels}, *grid] with {self.dim} grid axes, got {tuple(fields.shape)}"
            )
        if budget is None and self.training and self.budget_range is not None:
            budget = int(torch.randint(self.budget_range[0], self.budget_range[1] + 1, ()))
        chosen = self.patches(fields, budget)
        tokens, angles = self.encode(fields, chosen)
        return self.decode(tokens, angles, chosen)

    def encode(self, fields: Tensor, chosen: GridPatches) -> tuple[Tensor, Tensor]:
        """Tokens ``[b, t, f]`` after the self-attention blocks, and their rotary angles."""
        parts = chosen.tokenize(fields)
        rows = fields.new_zeros(len(chosen.level), self.channels)
        for layer, part, row in zip(self.embed, parts, chosen.rows, strict=True):
            rows = rows.index_copy(0, row, layer(part.flatten(1)).to(rows.dtype))
        tokens = rows.unflatten(0, (chosen.batch_size, -1))
        places = chosen.center.to(fields.dtype) / self.tokenizer.p_min
        angles: Tensor = self.positions(places).unflatten(0, (chosen.batch_size, -1))
        for block in self.blocks:
            tokens = block(tokens, angles=angles)
        return tokens, angles

    def decode(self, tokens: Tensor, angles: Tensor, chosen: GridPatches) -> Tensor:
        """Fields from tokens."""
        if self.heads is not None:
            flat = self.norm(tokens).flatten(0, 1)
            rows = [
                layer(flat[row]).unflatten(1, (-1, self.out_channels))
                for layer, row in zip(self.heads, chosen.rows, strict=True)
            ]
            return chosen.paint(rows)
        assert self.cross is not None and self.head is not None
        unit = self.tokenizer.p_min
        owner = chosen.owner(unit)
        grid = owner.shape[1:]
        query = tokens.gather(1, owner.flatten(1).unsqueeze(2).expand(-1, -1, tokens.shape[2]))
        if self.gate is not None and self.shift is not None:
            place = places_in_patch(chosen, unit).flatten(1)
            query = self.gate(place).sigmoid() * query + self.shift(place)
        cells = torch.stack(
            torch.meshgrid(*(torch.arange(n, device=tokens.device) + 0.5 for n in grid), indexing="ij"), -1
        )
        at = self.positions(cells.flatten(0, -2).to(tokens.dtype)).unsqueeze(0)
        found = self.cross(query, tokens, angles=at, context_angles=angles)
        blocks = self.head(self.norm(found)).unflatten(2, (-1, self.out_channels))
        return crop(from_blocks(blocks, grid, unit), chosen.shape)


def places_in_patch(chosen: GridPatches, unit: int) -> Tensor:
    """``[b, *grid / unit]`` row of the tables of equation 4: blocks of ``unit`` cells numbered in patches of each side.

    Patches of one block come first, then those of 2^D blocks, and so on.
    """
    out: Tensor | None = None
    base = 0
    for active, size in reversed(list(zip(chosen.active, chosen.sizes, strict=True))):
        factor = size // unit
        there = upsample(active, factor)
        place = torch.zeros(there.shape[1:], dtype=torch.long, device=there.device)
        for axis, n in enumerate(there.shape[1:]):
            inside = torch.arange(n, device=there.device) % factor
            place = place * factor + inside.view([-1 if a == axis else 1 for a in range(place.dim())])
        number = (place + base).expand_as(there)
        out = torch.where(there, number, 0 if out is None else out)
        base += factor ** place.dim()
    assert out is not None
    return out


def rotary_base(head_channels: int, dim: int, *, base: float = 10_000.0) -> RotaryPositions:
    """Rotary positions with frequencies ``base ** (-i / pairs)`` on each axis."""
    pairs = max(head_channels // 2 // dim, 1)
    longest = 2 * math.pi * base ** ((pairs - 1) / pairs)
    return RotaryPositions(head_channels, dim, min_wavelength=2 * math.pi, max_wavelength=longest)


@register_model
def iap_2d(in_channels: int, out_channels: int, **changes: object) -> IAP:
    """Published size in two dimensions: 7 + 1 blocks, width 384, 6 heads, ratio 2 (paper, sec. 3, app. E)."""
    return IAP(in_channels, out_channels, **{"dim": 2, "channels": 384, **changes})  # type: ignore[arg-type]


@register_model
def iap_3d(in_channels: int, out_channels: int, **changes: object) -> IAP:
    """Published size in three dimensions: width 432, so that the width of a head has three even parts."""
    return IAP(in_channels, out_channels, **{"dim": 3, "channels": 432, **changes})  # type: ignore[arg-type]
