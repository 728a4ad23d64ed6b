"""Where a field needs resolution: gradients by an n-dimensional Sobel filter on grids, by least squares on graphs.

IAP (App. B): s(x) = mean over channels and steps of ||grad X||_2 of the normalised field, with separable filters: a
central difference along one axis, binomial smoothing (1, 2, 1) / 4 along the others.

Departures: the width of the filter (3), z-score normalisation and replicated borders are not given in the paper; a
channel whose spread is rounding (below 1e-6 of its largest value) scores zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.checks import unreadable
from meshops.ops.dispatch import front, operation
from meshops.ops.kernels.available import needs_triton
from meshops.ops.pointers import pointers
from meshops.ops.segment import segment_sum
from meshops.typing import Bool, Float, Int

FLAT = 1e-6  # spread of a channel over its largest value below which it counts as constant


def check_fields(fields: Tensor, names: Sequence[str] = ()) -> None:
    """Raise unless ``[b, c, *grid]`` is floating point, of one to three axes, and finite.

    Raises:
        InputError: Names the first sample and channel with NaN or infinite values.
    """
    if not 3 <= fields.dim() <= 5 or not fields.is_floating_point():
        raise InputError(
            f"fields must be floating point [b, c, *grid] with one to three grid axes, got {fields.dtype} "
            f"{tuple(fields.shape)}"
        )
    if unreadable(fields):
        return
    finite = torch.isfinite(fields.flatten(2).sum(2))  # a NaN or infinity survives a sum
    if not bool(finite.all()):
        finite = torch.isfinite(fields).flatten(2).all(2)
    if not bool(finite.all()):
        sample, channel = (int(i) for i in (~finite).nonzero()[0])
        name = f" ('{names[channel]}')" if channel < len(names) else ""
        raise InputError(
            f"sample {sample}, channel {channel}{name} holds NaN or infinite values; repair it, or mask the cells"
        )


def channel_scale(fields: Tensor, mask: Tensor | None = None) -> Tensor:
    """``[b, c]`` 1 / standard deviation of each channel over the grid; 0 for a constant one.

    Args:
        fields: ``[b, c, *grid]``.
        mask: ``[b, *grid]`` True where a cell counts; None: all.
    """
    flat = fields.flatten(2).to(torch.promote_types(fields.dtype, torch.float32))
    if mask is None:
        spread, top = flat.std(2, correction=0), flat.abs().amax(2)
    else:
        weight = mask.flatten(1).unsqueeze(1).to(flat)
        count = weight.sum(2).clamp(min=1)
        mean = (flat * weight).sum(2) / count
        spread = (((flat - mean.unsqueeze(2)) * weight).square().sum(2) / count).sqrt()
        top = (flat * weight).abs().amax(2)
    return torch.where(spread > FLAT * top, 1 / spread, 0.0)


def sobel_score(
    fields: Float[Tensor, "b c ..."],
    *,
    block: int = 1,
    spacing: Sequence[float] | None = None,
    periodic: Sequence[bool] | None = None,
    mask: Bool[Tensor, "b ..."] | None = None,
) -> Float[Tensor, "b ..."]:
    """Gradient norm of the normalised fields, averaged over channels, summed over blocks of cells.

    Args:
        fields: Channels (and time steps) on grids of one to three axes, any floating type; scored in float32.
        block: Side of the blocks, in cells; the score of cells beyond the grid is zero.
        spacing: Cell size along each axis; None: 1 (the paper works in cells).
        periodic: Whether the ends of each axis meet; elsewhere the border is replicated.
        mask: True where a cell counts: the others have no score and no part in the normalisation.

    Returns:
        ``[b, *ceil(grid / block)]`` float32, not negative.

    Raises:
        InputError: Wrong shapes, or values that are not finite (the sample and channel are named).
    """
    check_fields(fields)
    dim = fields.dim() - 2
    step = tuple(spacing or (1.0,) * dim)
    wrap = tuple(periodic or (False,) * dim)
    if len(step) != dim or len(wrap) != dim or min(step) <= 0:
        raise InputError(f"spacing and periodic need one entry per axis ({dim}), spacings positive; got {step}, {wrap}")
    if mask is not None and mask.shape != (fields.shape[0], *fields.shape[2:]):
        raise InputError(f"mask must be {(fields.shape[0], *fields.shape[2:])} like the grid, got {tuple(mask.shape)}")
    fields = fields.detach().to(torch.float32)
    shortest = min(step)
    slopes = [shortest / s for s in step]
    return _sobel_blocks(fields, channel_scale(fields, mask), slopes, list(wrap), block, mask)


def _blocks(fields: Tensor, block: int) -> list[int]:
    return [math.ceil(n / block) for n in fields.shape[2:]]


def _fake(
    fields: Tensor, scale: Tensor, slopes: list[float], wrap: list[bool], block: int, mask: Tensor | None
) -> Tensor:
    return fields.new_empty((fields.shape[0], *_blocks(fields, block)))


@operation(
    schema="(Tensor fields, Tensor scale, float[] slopes, bool[] wrap, int block, Tensor? mask) -> Tensor", fake=_fake
)
def _sobel_blocks(
    fields: Tensor, scale: Tensor, slopes: list[float], wrap: list[bool], block: int, mask: Tensor | None
) -> Tensor:
    """Definition: ``sum over the block of (mean over c of scale * ||slopes * Sobel(fields)||)``."""
    total = torch.zeros_like(fields[:, 0])
    for channel in range(fields.shape[1]):
        values = fields[:, channel]
        square = torch.zeros_like(values)
        for axis, slope in enumerate(slopes):
            part = _central(values, axis + 1, wrap[axis]).mul_(slope)
            for other in range(len(slopes)):
                if other != axis:
                    part = _smooth(part, other + 1, wrap[other])
            square.addcmul_(part, part)
        total.addcmul_(square.sqrt_(), scale[:, channel].view(-1, *[1] * len(slopes)))
    total /= max(fields.shape[1], 1)
    if mask is not None:
        total = total * mask
    return block_sum(total, block)


def _triton_applies(fields: Tensor, *_: Any, **__: Any) -> str:
    return needs_triton(fields, (torch.float32,))


@_sobel_blocks.kernel("triton", _triton_applies)
def _with_triton(*args: Any) -> Any:
    from meshops.ops.kernels.scores_triton import sobel_blocks  # Triton imports in a second

    return sobel_blocks(*args)


sobel_score = front(_sobel_blocks)(sobel_score)


def block_sum(values: Float[Tensor, "b ..."], size: int) -> Float[Tensor, "b ..."]:
    """Sum over blocks of ``size`` cells along every axis; cells beyond the grid are zero.

    By halving where ``size`` is even, so that a sum of what is not negative is never below any of its parts.
    """
    for axis in range(1, values.dim()):
        short = -values.shape[axis] % size
        if short:
            pad = [0, 0] * (values.dim() - 1 - axis) + [0, short]
            values = torch.nn.functional.pad(values, pad)
        values = values.unflatten(axis, (-1, size)).sum(axis + 1)
    return values


def _shifted(values: Tensor, axis: int, wrap: bool) -> tuple[Tensor, Tensor]:
    """Values of the cell before and of the cell after, along an axis."""
    if wrap:
        return values.roll(1, axis), values.roll(-1, axis)
    n = values.shape[axis]
    first, last = values.narrow(axis, 0, 1), values.narrow(axis, n - 1, 1)
    before = torch.cat([first, values.narrow(axis, 0, n - 1)], axis)
    after = torch.cat([values.narrow(axis, 1, n - 1), last], axis)
    return before, after


def _central(values: Tensor, axis: int, wrap: bool) -> Tensor:
    before, after = _shifted(values, axis, wrap)
    return (after - before).mul_(0.5)


def _smooth(values: Tensor, axis: int, wrap: bool) -> Tensor:
    before, after = _shifted(values, axis, wrap)
    return (before + after).mul_(0.25).add_(values, alpha=0.5)


class FlowMaps(NamedTuple):
    """Maps of a velocity field, see :func:`flow_maps`.

    Attributes:
        gradient: ``[b, *grid]`` Frobenius norm of the velocity gradient, 1/s.
        vorticity: ``[b, 1, *grid]`` in the plane, ``[b, 3, *grid]`` in space, 1/s.
        shear: ``[b, *grid]`` magnitude of the off-diagonal strain rates ``du/dy + dv/dx``, 1/s.
    """

    gradient: Tensor
    vorticity: Tensor
    shear: Tensor


def flow_maps(
    velocity: Float[Tensor, "b d ..."],
    *,
    spacing: Sequence[float] | None = None,
    periodic: Sequence[bool] | None = None,
) -> FlowMaps:
    """Velocity gradient, vorticity and shear per cell (AMR-Transformer, 2503.10257, eq. 2, 3, 5).

    Central differences inside, one-sided at the ends of axes that are not periodic, as ``torch.gradient``.

    Args:
        velocity: One component per grid axis, axes in the same order; two or three axes.
        spacing: Cell size along each axis, m; None: 1.
        periodic: Whether the ends of each axis meet.

    Raises:
        InputError: The number of components is not the number of axes, or there is one axis only.
    """
    dim = velocity.dim() - 2
    if velocity.shape[1] != dim or dim < 2:
        raise InputError(
            "velocity must be [b, d, *grid] with one component per axis, two or three axes, got "
            f"{tuple(velocity.shape)}"
        )
    step = tuple(spacing or (1.0,) * dim)
    wrap = tuple(periodic or (False,) * dim)
    slope = [[_slope(velocity[:, i], a + 1, step[a], wrap[a]) for a in range(dim)] for i in range(dim)]
    gradient = length([g for row in slope for g in row])
    pairs = [(0, 1)] if dim == 2 else [(1, 2), (2, 0), (0, 1)]
    vorticity = torch.stack([slope[j][i] - slope[i][j] for i, j in pairs], 1)
    return FlowMaps(gradient, vorticity, length([slope[j][i] + slope[i][j] for i, j in pairs]))


def length(components: Sequence[Tensor]) -> Tensor:
    """Euclidean norm over a few tensors; many times faster than ``norm`` over a short axis that is not the last."""
    if len(components) == 1:
        return components[0].abs()
    square = components[0].square()
    for part in components[1:]:
        square = square.addcmul_(part, part)
    root: Tensor = square.sqrt_()
    return root


def _slope(values: Tensor, axis: int, step: float, wrap: bool) -> Tensor:
    if values.shape[axis] == 1:
        return torch.zeros_like(values)
    if wrap:
        return (values.roll(-1, axis) - values.roll(1, axis)) / (2 * step)
    (out,) = torch.gradient(values, spacing=step, dim=axis)
    return out


def graph_gradient(
    values: Float[Tensor, "n c"], pos: Float[Tensor, "n d"], edge_index: Int[Tensor, "2 e"]
) -> Float[Tensor, "n c d"]:
    """Gradient at each node by least squares over its edges, weighted by 1 / distance^2; exact for linear fields.

    Where the neighbours do not span the space (a surface, one neighbour) the gradient is the smallest that fits.

    Args:
        values: Node values.
        pos: Node positions, m.
        edge_index: Edges; the gradient at ``edge_index[0]`` looks at ``edge_index[1]``. Both directions are needed for
            an undirected mesh.
    """
    here, there = edge_index
    n, d = pos.shape
    if bool((here[1:] < here[:-1]).any()):
        here, order = torch.sort(here, stable=True)
        there = there[order]
    ptr = pointers(torch.bincount(here, minlength=n))
    offset = (pos[there] - pos[here]).double()
    weight = offset.square().sum(1).clamp(min=1e-300).reciprocal()
    weighted = offset * weight.unsqueeze(1)
    normal = segment_sum((weighted.unsqueeze(2) * offset.unsqueeze(1)).flatten(1), ptr).view(n, d, d)
    change = (values[there] - values[here]).double()
    right = segment_sum((weighted.unsqueeze(2) * change.unsqueeze(1)).flatten(1), ptr).view(n, d, -1)
    trace = normal.diagonal(dim1=1, dim2=2).sum(1).clamp(min=1e-300)
    normal = normal + 1e-9 * trace.view(-1, 1, 1) * torch.eye(d, dtype=torch.float64, device=pos.device)
    solution: Tensor = torch.linalg.solve(normal, right)
    return solution.transpose(1, 2).to(values.dtype)
