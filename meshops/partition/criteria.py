"""Regions refined where the flow asks for it: the tokeniser of AMR-Transformer (2503.10257), on grids and meshes.

One token = one region = its k x k (k x k x k) parts. From regions of side ``max_size`` down to regions whose parts are
``min_cell`` cells: every region reached is kept; it is refined when a criterion holds. The coarsest regions always are.
A refined region keeps its own token, so tokens overlap and finer ones are painted over coarser ones.

``criteria="paper"``: over a region m, with P_g the mean over the domain (the paper does not define it),

    G_m > t_G G_g  or  |omega_m| > t_w |omega|_g  or  |u_m| > t_M |u|_g  or  S_m > t_S S_g              (eq. 2 to 6)
    or G_m among the ``top`` share of its level                                                        (eq. 7)

also tested on u' = 2 u_t - u_{t - dt} (eq. 11) where the step before is given. S is the mean modulus of omega, as
printed in (5); ``kelvin_helmholtz="shear_strain"`` uses the strain rate instead.

``criteria="reference"``: what public copies of the code do: derivatives inside each region alone, in cells; refined
where G_m > 0.4 times the mean over the tested regions of the level, or G_m >= the sorted value at int(n (1 - top)), or
a cell is masked, or at least 1 % of the cells are zero in every channel. Vorticity, momentum and shear are not tested.

Departures: the modulus of omega (eq. 3 is signed: only one sense of rotation would count); a forest of square roots
instead of one padded square; cells beyond the grid repeat its last cells and have no part in P_g. What does not vary
asks for nothing: a velocity that is the same everywhere flags no region, a region without gradient is not among the
``top`` of its level (as printed, ties at zero refine all of a quiet level), and channels that do not vary have no say
in which cells are zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.errors import InputError
from meshops.ops.pyramid import upsample
from meshops.ops.scores import channel_scale, check_fields, flow_maps, length
from meshops.partition.checks import graph_ptr, grid_shape_of, periodic_axes, positions_of
from meshops.partition.cover import Cover
from meshops.partition.criteria_mesh import mesh_cover
from meshops.partition.grid_patches import GridPatches, block_mean, pad_high, to_blocks
from meshops.partition.thresholds import Strain, Thresholds


@dataclass(frozen=True, kw_only=True)
class RefineByCriteria(BaseTransform):  # type: ignore[misc]
    """Tokeniser, see the docstring of the module.

    Attributes:
        velocity: Channels that are the components of the velocity, one per axis. Never guessed: must be given.
        max_size: Side R_s of the coarsest regions, cells.
        min_cell: Side of the smallest parts, cells.
        parts: k, parts of a region along each axis, and regions of the next level.
        thresholds: See :class:`Thresholds`.
        top: Share r_G of the regions of a level that are refined whatever the thresholds; 0: none.
        criteria: ``"paper"`` or ``"reference"``.
        kelvin_helmholtz: What S is.
        refine_at_mask: Refine regions that hold a cell outside of the fluid.
        drop_zero: Drop regions where every channel is zero everywhere, as one copy of the code does.
        periodic: Whether the ends of each axis meet; None: none do.
        spacing: Cell size along each axis, m; None: cells are cubes.
        field: For graphs: the array with the velocity.

    Raises:
        InputError: Sides that do not fit, velocity channels missing, or an unknown name.

    Example:
        >>> refine = RefineByCriteria(velocity=(0, 1), thresholds=Thresholds().scaled(float("inf")), top=0.0)
        >>> refine.patches(torch.randn(2, 2, 64, 64)).count
        tensor([80, 80])
    """

    velocity: Sequence[int] = ()
    max_size: int = 16
    min_cell: int = 1
    parts: int = 2
    thresholds: Thresholds = field(default_factory=Thresholds)
    top: float = 0.1
    criteria: Literal["paper", "reference"] = "paper"
    kelvin_helmholtz: Strain = "abs_vorticity"
    refine_at_mask: bool = True
    drop_zero: bool = False
    periodic: Sequence[bool] | None = None
    spacing: Sequence[float] | None = None
    field: Literal["x", "y"] = "x"

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not self.velocity:
            raise InputError(
                "which channels are the velocity is not known; give velocity=(i, j), one channel per axis. "
                "The first channels are not assumed to be it"
            )
        if self.criteria not in ("paper", "reference"):
            raise InputError(f"criteria must be 'paper' or 'reference', got '{self.criteria}'")
        if self.kelvin_helmholtz not in ("abs_vorticity", "shear_strain"):
            raise InputError(
                f"kelvin_helmholtz must be 'abs_vorticity' or 'shear_strain', got '{self.kelvin_helmholtz}'"
            )
        if not 0 <= self.top <= 1:
            raise InputError(f"top must be a share from 0 to 1, got {self.top}")
        smallest = self.parts * self.min_cell
        if self.parts < 2 or self.min_cell < 1 or self.max_size < smallest:
            raise InputError(
                f"parts must be at least 2, min_cell at least 1 and max_size at least parts * min_cell = {smallest}, "
                f"got {self.parts}, {self.min_cell}, {self.max_size}"
            )
        if self.sizes[-1] != smallest:
            raise InputError(
                f"max_size must be min_cell times a power of parts, got max_size={self.max_size}, "
                f"min_cell={self.min_cell}, parts={self.parts}"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the regions of each level, coarsest first."""
        out = [self.max_size]
        while out[-1] % self.parts == 0 and out[-1] // self.parts >= self.parts * self.min_cell:
            out.append(out[-1] // self.parts)
        return tuple(out)

    def bounds(self, shape: Sequence[int]) -> tuple[int, int]:
        """Smallest and largest number of tokens of a grid."""
        roots = math.prod(math.ceil(n / self.max_size) for n in shape)
        levels = [roots * self.parts ** (len(shape) * level) for level in range(len(self.sizes))]
        return sum(levels[:2]), sum(levels)

    @torch.no_grad()
    def patches(
        self,
        values: Tensor,
        *,
        previous: Tensor | None = None,
        mask: Tensor | None = None,
        thresholds: Thresholds | None = None,
    ) -> GridPatches:
        """Regions of a batch of grids.

        Args:
            values: ``[b, c, *grid]``; the velocity in physical units or scaled alike in all components.
            previous: The same one step before: regions that the extrapolated flow asks for are refined too.
            mask: ``[b, *grid]`` True where there is fluid.
            thresholds: Instead of those of the tokeniser, e.g. random ones in training.

        Raises:
            InputError: Values are not finite, or the velocity does not have one channel per axis.
        """
        check_fields(values)
        shape = tuple(values.shape[2:])
        if len(self.velocity) != len(shape):
            raise InputError(
                f"a grid of {len(shape)} axes needs {len(shape)} velocity channels, got velocity={tuple(self.velocity)}"
            )
        roots = [math.ceil(n / self.max_size) for n in shape]
        full = [n * self.max_size for n in roots]
        limits = thresholds or self.thresholds
        tests = [self._maps(values.float(), mask, full)]
        if previous is not None and self.criteria == "paper":
            tests.append(self._maps(2 * values.float() - previous.float(), mask, full))
        active = torch.ones((values.shape[0], *roots), dtype=torch.bool, device=values.device)
        levels: list[Tensor] = []
        empty = self._all_zero(values, full) if self.drop_zero else None
        for number, size in enumerate(self.sizes):
            if empty is not None:
                active = active & ~empty.regions(size)
            levels.append(active)
            flag = active
            if number > 0:
                met = [maps.refine(active, size, limits, self.top) for maps in tests]
                flag = active & torch.stack(met).any(0)
            active = upsample(flag, self.parts)
        return GridPatches(shape, self.sizes, tuple(levels), parts=self.parts)

    def calibrated(self, values: Tensor, tokens: int, *, mask: Tensor | None = None) -> RefineByCriteria:
        """The tokeniser with thresholds scaled so that samples have ``tokens`` tokens on average, or just below.

        Args:
            values: ``[b, c, *grid]`` samples like those to come.
            tokens: Mean number of tokens.
            mask: As for :meth:`patches`.

        Raises:
            InputError: No thresholds give so few, or so many, tokens; says what the limits are.
        """

        def mean(factor: float) -> float:
            return float(
                self.patches(values, mask=mask, thresholds=self.thresholds.scaled(factor)).count.float().mean()
            )

        fewest, most = mean(math.inf), mean(0.0)
        if not fewest <= tokens <= most:
            raise InputError(
                f"thresholds give {fewest:.0f} to {most:.0f} tokens on these samples with top={self.top} and "
                f"max_size={self.max_size}, got tokens={tokens}; change top or max_size to go further"
            )
        low, high = 1e-6, 1e6  # the number of tokens falls as thresholds rise
        for _ in range(40):
            middle = math.sqrt(low * high)
            low, high = (low, middle) if mean(middle) <= tokens else (middle, high)
        return replace(self, thresholds=self.thresholds.scaled(high))

    def forward(self, data: Any) -> Any:
        """Store the regions on (a shallow copy of) a grid or mesh graph or a batch; read them with ``Cover.of``."""
        ptr = graph_ptr(data)
        return self.cover(data).store(data, 1 if ptr is None else ptr.numel() - 1)

    @torch.no_grad()
    def cover(self, data: Any, *, parts: bool = False) -> Cover:
        """Regions of the graphs of a batch, or with ``parts`` the parts of each, from the values in ``self.field``.

        Raises:
            InputError: The graph has no such values, or see :meth:`patches` and :func:`mesh_cover`.
        """
        pos, values = positions_of(data), data.get(self.field)
        if values is None:
            raise InputError(f"the graph has no '{self.field}' with a velocity; give field='x' or 'y'")
        values = values.flatten(1)
        shape = grid_shape_of(data)
        if shape is None:
            if self.parts != 2 or self.criteria != "paper":
                raise InputError("on meshes cells are halved by the criteria of the paper: parts=2, criteria='paper'")
            return mesh_cover(
                data, values, velocity=self.velocity, max_size=self.max_size, min_cell=self.min_cell,
                thresholds=self.thresholds, top=self.top, strain=self.kelvin_helmholtz, parts=parts,
            )  # fmt: skip
        grids = values.unflatten(0, (-1, *shape)).movedim(-1, 1)
        refine = self
        wrap = periodic_axes(data)
        if self.periodic is None and wrap is not None:
            refine = replace(self, periodic=wrap)
        return refine.patches(grids).cover(pos, parts=parts)

    def _maps(self, values: Tensor, mask: Tensor | None, full: Sequence[int]) -> _PaperMaps | _ReferenceMaps:
        velocity = values[:, list(self.velocity)]
        if mask is not None:
            velocity = velocity * mask.unsqueeze(1)  # what a file holds inside of obstacles means nothing
        outside = None
        if mask is not None and self.refine_at_mask:
            outside = pad_high(~mask.unsqueeze(1), full)[:, 0]
        varies = channel_scale(velocity, mask) > 0
        if self.criteria == "reference":
            zero = zero_cells(values, channel_scale(values, mask) > 0)
            return _ReferenceMaps(pad_high(_moving(velocity, varies), full), pad_high(zero, full), outside)
        maps = flow_maps(_moving(velocity, varies), spacing=self.spacing, periodic=self.periodic)
        velocity = velocity * varies.any(1).view(-1, *[1] * (velocity.dim() - 1))
        turn, speed = length(maps.vorticity.unbind(1)), length(velocity.unbind(1))
        shear = turn if self.kelvin_helmholtz == "abs_vorticity" else maps.shear
        fluid = None if mask is None else mask.flatten(1).to(turn)
        domain = torch.stack([_mean(part.flatten(1), fluid) for part in (maps.gradient, turn, speed, shear)], 1)
        cells = [maps.gradient, *maps.vorticity.unbind(1), *velocity.unbind(1), shear]
        size = self.sizes[-1]
        coarse = torch.cat([block_mean(pad_high(part.unsqueeze(1), full), size) for part in cells], 1)
        regions = {size: coarse}
        for side in reversed(self.sizes[1:-1]):  # each from the one below: no cell is read twice
            coarse, size = block_mean(coarse, side // size), side
            regions[side] = coarse
        return _PaperMaps(regions, domain, maps.vorticity.shape[1], outside)

    def _all_zero(self, values: Tensor, full: Sequence[int]) -> _Zero:
        return _Zero(pad_high((values == 0).all(1, keepdim=True).float(), full))


@dataclass(frozen=True, eq=False)
class _PaperMaps:
    """Gradient, vorticity, velocity and shear in the regions of each side, and their means over the domain."""

    regions: dict[int, Tensor]
    domain: Tensor
    turns: int
    outside: Tensor | None

    def refine(self, active: Tensor, size: int, limits: Thresholds, top: float) -> Tensor:
        """Regions of side ``size`` that a criterion asks to refine."""
        region = self.regions[size]
        gradient, rest = region[:, 0], region[:, 1:]
        turn = length(rest[:, : self.turns].unbind(1))
        speed, shear = length(rest[:, self.turns : -1].unbind(1)), rest[:, -1]
        met = torch.zeros_like(active)
        values = (gradient, turn, speed, shear)
        factors = (limits.gradient, limits.vorticity, limits.momentum, limits.shear)
        for number, (value, factor) in enumerate(zip(values, factors, strict=True)):
            bound = self.domain[:, number] * torch.as_tensor(factor, device=value.device)
            bound = bound.nan_to_num(nan=math.inf)  # 0 times infinity: the criterion is off
            met |= value > bound.view(-1, *[1] * (value.dim() - 1))
        met |= largest_share(gradient, active, top)
        return met if self.outside is None else met | any_in_blocks(self.outside, size)


@dataclass(frozen=True, eq=False)
class _ReferenceMaps:
    """Velocity of each cell; derivatives are taken inside of each region."""

    velocity: Tensor
    zero: Tensor
    outside: Tensor | None

    def refine(self, active: Tensor, size: int, limits: Thresholds, top: float) -> Tensor:
        """Regions of side ``size`` that the released code would refine."""
        dim = self.velocity.dim() - 2
        blocks = to_blocks(self.velocity, size).unflatten(2, (size,) * dim)  # [b, n, *size, d]
        axes = tuple(range(2, 2 + dim))
        slopes = torch.stack(torch.gradient(blocks, dim=axes))
        gradient = slopes.square().sum((0, -1)).sqrt().mean(axes).view_as(active)
        flat, tested = gradient.flatten(1), active.flatten(1)
        number = tested.sum(1).clamp(min=1)
        level_mean = (flat * tested).sum(1) / number
        common = flat > (level_mean * torch.as_tensor(limits.gradient, device=flat.device)).unsqueeze(1)
        rank = (number * (1 - top)).long().clamp(max=number - 1)
        ordered = flat.masked_fill(~tested, torch.inf).sort(1).values
        among = (flat >= ordered.gather(1, rank.unsqueeze(1))) & (flat > 0)
        met = (common | among).view_as(active)
        met |= block_mean(self.zero, size)[:, 0] >= 0.01
        return met if self.outside is None else met | any_in_blocks(self.outside, size)


@dataclass(frozen=True, eq=False)
class _Zero:
    cells: Tensor

    def regions(self, size: int) -> Tensor:
        """Regions where every channel of every cell is zero."""
        return block_mean(self.cells, size)[:, 0] == 1


def zero_cells(values: Tensor, varies: Tensor) -> Tensor:
    """``[b, 1, *grid]`` 1 where all channels of ``values [b, c, *grid]`` that vary, ``varies [b, c]``, are zero."""
    still = ~varies.view(*varies.shape, *[1] * (values.dim() - 2))
    return (((values == 0) | still).all(1, keepdim=True) & varies.any(1).view(-1, *[1] * (values.dim() - 1))).float()


def _moving(velocity: Tensor, varies: Tensor) -> Tensor:
    """The components that vary; roundings of the others are no gradient."""
    return velocity * varies.view(*varies.shape, *[1] * (velocity.dim() - 2))


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of each row of ``[b, n]`` over the cells that count."""
    if weight is None:
        return values.mean(1)
    return (values * weight).sum(1) / weight.sum(1).clamp(min=1)


def largest_share(values: Tensor, active: Tensor, share: float) -> Tensor:
    """Active regions whose value is among the ``ceil(share * number of active ones)`` largest of their sample.

    Those of value 0 never are.
    """
    if share == 0:
        return torch.zeros_like(active)
    flat = values.flatten(1).masked_fill(~active.flatten(1), -torch.inf)
    rank = (active.flatten(1).sum(1) * share).ceil().long().clamp(min=1) - 1
    bound = flat.sort(1, descending=True).values.gather(1, rank.unsqueeze(1))
    return ((flat >= bound) & (flat > 0)).view_as(active) & active


def any_in_blocks(cells: Tensor, size: int) -> Tensor:
    """Blocks of side ``size`` of ``[b, *grid]`` in which any cell is True."""
    for axis in range(1, cells.dim()):
        cells = cells.unflatten(axis, (-1, size)).any(axis + 1)
    return cells
