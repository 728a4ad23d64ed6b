"""AMR-Transformer (CVPR 2025, arXiv 2503.10257): a plain transformer on overlapping, adaptively refined regions.

    token = k^D parts of a region, each the mean of every channel and (depth, x, y)      (eq. 1)
    Y = linear(encoder(linear(token))), a value per part, painted coarse to fine         (sec. 3.3)

The loss lives on the tokens: the label is averaged over the same parts, so coarse tokens under finer ones learn too.
Regions come from :class:`~meshops.partition.criteria.RefineByCriteria`. ``style="paper"``: post-norm, ReLU, dropout 0.1
(PyTorch's defaults; the paper gives none); default: pre-norm, GELU, no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models.registry import register_model
from meshops.nn.grid_model import GridModel, LossPairs
from meshops.nn.ragged import RaggedPlan
from meshops.nn.rotary import RotaryPositions
from meshops.nn.transformer import TransformerBlock
from meshops.ops.pointers import pointers
from meshops.partition.criteria import RefineByCriteria
from meshops.partition.grid_patches import GridPatches
from meshops.partition.thresholds import Thresholds, random_thresholds


@register_model
class AMRTransformer(GridModel):
    """Transformer on regions refined by criteria of the flow.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        velocity: Input channels that are the velocity, one per axis: in physical units or scaled alike, not shifted.
        previous: Input channels that are the velocity one step before, for the look-ahead (eq. 11); None: none.
        dim: Number of space dimensions.
        max_size: Side of the coarsest regions, cells.
        min_cell: Side of the smallest parts.
        thresholds: Factors of the four criteria: gradient, vorticity, momentum, shear.
        top: Share of each level that is refined anyway.
        criteria: ``"paper"`` or ``"reference"``.
        random_thresholds: Draw thresholds per sample while training (paper, sec. 4.1).
        mask_channel: Input channel that is 1 where there is fluid and 0 elsewhere; None: fluid everywhere.
        channels: Width of a token.
        depth: Blocks.
        num_heads: Heads.
        hidden: Width of the feed-forward layers.
        window: Side of windows, cells: tokens attend to those whose centre is in the same one, every second block in
            windows shifted by half (as in Swin); None: to all tokens of the sample.
        rotary: Rotary positions of the centres in the attention, beside the numbers in the token.
        style: See the module.
        residual: Predict the change of the first ``out_channels`` channels instead of the new values.
        periodic: Whether the ends of each axis meet.
        spacing: Cell size along each axis, m.

    Example:
        >>> model = AMRTransformer(4, 4, velocity=(1, 2), max_size=8, channels=32, depth=1, hidden=64)
        >>> model(torch.randn(2, 4, 32, 32)).shape
        torch.Size([2, 4, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        velocity: Sequence[int] = (),
        previous: Sequence[int] | None = None,
        dim: int = 2,
        max_size: int = 16,
        min_cell: int = 1,
        thresholds: Sequence[float] | None = None,
        top: float = 0.1,
        criteria: Literal["paper", "reference"] = "paper",
        random_thresholds: bool = False,
        mask_channel: int | None = None,
        channels: int = 256,
        depth: int = 6,
        num_heads: int = 4,
        hidden: int = 1024,
        window: int | None = None,
        rotary: bool = False,
        style: Literal["ours", "paper"] = "ours",
        residual: bool = False,
        periodic: Sequence[bool] | None = None,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if style not in ("ours", "paper"):
            raise InputError(f"style must be 'ours' or 'paper', got '{style}'")
        if window is not None and window < 2 * min_cell:
            raise InputError(f"window must be at least the side of the smallest regions, {2 * min_cell}, got {window}")
        limits = Thresholds() if thresholds is None else named_thresholds(thresholds)
        self.tokenizer = RefineByCriteria(
            velocity=tuple(velocity), max_size=max_size, min_cell=min_cell, thresholds=limits, top=top,
            criteria=criteria, periodic=periodic, spacing=spacing,
        )  # fmt: skip
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.previous = None if previous is None else list(previous)
        self.random_thresholds, self.mask_channel, self.residual = random_thresholds, mask_channel, residual
        self.window = window
        self.positions = None
        if rotary:
            longest = 4.0 * max_size  # cells; the shortest period is the smallest region
            self.positions = RotaryPositions(
                channels // num_heads, dim, min_wavelength=2.0 * min_cell, max_wavelength=longest
            )
        cells = 2**dim
        self.embed = nn.Linear(cells * (in_channels + dim + 1), channels)
        layout: dict[str, Any] = {"norm": "pre", "activation": nn.GELU, "dropout": 0.0}
        if style == "paper":
            layout = {"norm": "post", "activation": nn.ReLU, "dropout": 0.1}
        self.blocks = nn.ModuleList(
            TransformerBlock(channels, num_heads=num_heads, ratio=hidden / channels, **layout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(channels) if style == "ours" else nn.Identity()
        self.head = nn.Linear(channels, cells * out_channels)

    def patches(self, fields: Tensor, thresholds: Thresholds | None = None) -> GridPatches:
        """Regions for ``[b, c_in, *grid]``."""
        before = None
        if self.previous is not None:
            before = fields.clone()
            before[:, list(self.tokenizer.velocity)] = fields[:, self.previous]
        mask = None if self.mask_channel is None else fields[:, self.mask_channel] > 0.5
        if thresholds is None and self.training and self.random_thresholds:
            thresholds = random_thresholds(len(fields))
        return self.tokenizer.patches(fields, previous=before, mask=mask, thresholds=thresholds)

    def forward(self, fields: Tensor, thresholds: Thresholds | None = None) -> Tensor:
        """``[b, c_in, *grid] -> [b, c_out, *grid]``.

        Args:
            fields: Normalised fields.
            thresholds: Instead of the model's own.

        Raises:
            InputError: Wrong number of channels, or values that are not finite.
        """
        chosen = self._chosen(fields, thresholds)
        return chosen.paint(self.predict_tokens(fields, chosen))

    def predict_tokens(self, fields: Tensor, chosen: GridPatches) -> list[Tensor]:
        """Values of the parts of each region, for each level ``[t_l, k**d, c_out]``."""
        parts = chosen.tokenize(fields)
        rows = fields.new_zeros(len(chosen.level), self.embed.in_features)
        for row, part, where in zip(chosen.rows, parts, self._places(chosen), strict=True):
            rows = rows.index_copy(0, row, torch.cat([part, where.to(part)], 2).flatten(1))
        tokens = self.embed(rows)
        centre = chosen.corner.to(tokens) + 0.5 * chosen.size.to(tokens).unsqueeze(1)
        angles = None if self.positions is None else self.positions(centre)
        groups = [attention_groups(chosen, centre, self.window, shift) for shift in (False, True)]
        for number, block in enumerate(self.blocks):
            order, back, plan = groups[number % 2]
            turned = None if angles is None else angles[order]
            tokens = block(tokens[order], plan=plan, angles=turned)[back]
        out = self.head(self.norm(tokens)).unflatten(1, (-1, self.out_channels))
        values = [out[row] for row in chosen.rows]
        if self.residual:
            values = [value + part[..., : self.out_channels] for value, part in zip(values, parts, strict=True)]
        return values

    def loss_and_fields(self, fields: Tensor, target: Tensor) -> tuple[LossPairs, Tensor]:
        """Prediction and truth of every part of every token, tokens unweighted, as published; the painted fields."""
        chosen = self._chosen(fields, None)
        sample = [chosen.index[0][row] for row in chosen.rows]
        order = torch.sort(torch.cat(sample), stable=True).indices
        ours, label = self.predict_tokens(fields, chosen), chosen.tokenize(target)
        prediction, truth = (torch.cat(part)[order].flatten(0, 1) for part in (ours, label))
        return LossPairs(prediction, truth, chosen.ptr * 2**self.dim), chosen.paint(ours)

    def floor(self, fields: Tensor, target: Tensor) -> Tensor:
        """``target`` averaged over the parts of the regions of ``fields`` and painted back."""
        chosen = self._chosen(fields, None)
        return chosen.paint(chosen.tokenize(target))

    def _chosen(self, fields: Tensor, thresholds: Thresholds | None) -> GridPatches:
        if fields.dim() != self.dim + 2 or fields.shape[1] != self.in_channels:
            raise InputError(
                f"fields must be [b, {self.in_channels}, *grid] with {self.dim} grid axes, got {tuple(fields.shape)}"
            )
        return self.patches(fields, thresholds)

    def _places(self, chosen: GridPatches) -> list[Tensor]:
        """``[t_l, k**d, 1 + d]`` depth and centre of each part, both in 0 .. 1."""
        k, extent = 2, torch.tensor(chosen.shape, device=chosen.mask.device)
        axes = [torch.arange(k, device=extent.device) + 0.5] * self.dim
        offset = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2) / k
        out = []
        for level, (size, row) in enumerate(zip(chosen.sizes, chosen.rows, strict=True)):
            centre = (chosen.corner[row].unsqueeze(1) + offset * size) / extent
            depth = centre.new_full((*centre.shape[:2], 1), level / max(len(chosen.sizes) - 1, 1))
            out.append(torch.cat([depth, centre], 2))
        return out


def attention_groups(
    chosen: GridPatches, centre: Tensor, window: int | None, shift: bool
) -> tuple[Tensor, Tensor, RaggedPlan]:
    """Tokens ordered by the group they attend in, the way back, and the plan of the groups.

    Args:
        chosen: Regions of a batch.
        centre: ``[t, d]`` their centres, cells.
        window: Side of the windows, cells; None: a sample is one group.
        shift: Move the windows by half.
    """
    if window is None:
        everyone = torch.arange(len(centre), device=centre.device)
        return everyone, everyone, RaggedPlan.of(chosen.ptr)
    place = ((centre + (0.5 * window if shift else 0.0)) / window).long()
    wide = [math.ceil(n / window) + 1 for n in chosen.shape]
    group = torch.repeat_interleave(chosen.ptr.diff(), output_size=len(centre))
    for axis, count in enumerate(wide):
        group = group * count + place[:, axis].clamp(max=count - 1)
    order = torch.argsort(group, stable=True)
    size = torch.unique_consecutive(group[order], return_counts=True)[1]
    return order, torch.argsort(order), RaggedPlan.of(pointers(size))


def named_thresholds(values: Sequence[float]) -> Thresholds:
    """Thresholds of the four criteria: gradient, vorticity, momentum, shear.

    Raises:
        InputError: Another number of them.
    """
    names = ("gradient", "vorticity", "momentum", "shear")
    if len(values) != len(names):
        raise InputError(f"thresholds must be four numbers, for {', '.join(names)}; got {list(values)}")
    return Thresholds(**dict(zip(names, map(float, values), strict=True)))


@register_model
def amr_transformer_paper(in_channels: int, out_channels: int, **changes: object) -> AMRTransformer:
    """Published size: 6 post-norm blocks of width 256, 4 heads, 1024 hidden, random thresholds (paper, sec. 4.1)."""
    settings = {"style": "paper", "random_thresholds": True, **changes}
    return AMRTransformer(in_channels, out_channels, **settings)  # type: ignore[arg-type]
