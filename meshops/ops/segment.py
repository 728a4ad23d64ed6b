r"""Reductions over segments, forwards and backwards, the same bits every time.

Two ways to say which rows belong together:

- ``segment_*(values, ptr, perm=None)``: segment i is the rows ``perm[ptr[i]:ptr[i + 1]]``, or rows
  ``ptr[i]:ptr[i + 1]`` without ``perm``. This is how a :class:`meshops.partition.Partition` stores its patches.
- ``scatter_*(values, index, num_segments)``: row i belongs to segment ``index[i]``, in any order. The rows are counted
  into order first (:func:`sort_index`); to reduce several arrays over one index, do that once and call ``segment_*``.

Empty segments give 0, and minus infinity for ``logsumexp``. Of equal largest values the first row of the segment gets
the gradient. float16 and bfloat16 are summed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.checks import check_index, check_permutation, check_ptr
from meshops.ops.dispatch import front, operation
from meshops.ops.kernels.available import needs_numba, needs_triton
from meshops.typing import Float, Int, Num

HALF = (torch.float16, torch.bfloat16)
NUMBA_TYPES = (torch.float32, torch.float64, torch.int64)


def _check_segments(values: Tensor, ptr: Tensor, perm: Tensor | None = None, *_: Any) -> None:
    if values.dim() < 1:
        raise InputError("values must have one row per element, got a single number")
    check_ptr(ptr, values.shape[0], "ptr")
    if perm is not None:
        check_permutation(perm, values.shape[0], "perm")


def _check_floats(values: Tensor, ptr: Tensor, perm: Tensor | None = None) -> None:
    if not values.is_floating_point():
        raise InputError(f"values must be a float tensor, got {values.dtype}; convert with values.float()")
    _check_segments(values, ptr, perm)


def _per_segment(values: Tensor, ptr: Tensor, perm: Tensor | None = None) -> Tensor:
    return values.new_empty((ptr.shape[0] - 1, *values.shape[1:]))


@operation(schema="(Tensor values, Tensor ptr, Tensor? perm=None) -> Tensor", fake=_per_segment, check=_check_floats)
def segment_sum(
    values: Float[Tensor, "n ..."], ptr: Int[Tensor, " s1"], perm: Int[Tensor, " n"] | None = None
) -> Float[Tensor, "s ..."]:
    """Sum of the rows of each segment; 0 for an empty one.

    Args:
        values: ``[n, ...]`` floats.
        ptr: ``[s + 1]`` pointers from 0 to n.
        perm: ``[n]`` order of the rows; None: as they are.

    Raises:
        InputError: Pointers fall or do not end at n; ``perm`` is no permutation; values are not floats.

    Example:
        >>> segment_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 2, 2, 3]))
        tensor([3., 0., 4.])
    """
    rows = _ordered(values, perm).contiguous()
    wide = rows.float() if rows.dtype in HALF else rows
    return torch.segment_reduce(wide, "sum", offsets=ptr, axis=0, unsafe=True).to(values.dtype)


def _check_spread(values: Tensor, ptr: Tensor, perm: Tensor | None, num_rows: int) -> None:
    check_ptr(ptr, num_rows, "ptr")
    if values.dim() < 1 or values.shape[0] != ptr.numel() - 1:
        raise InputError(f"values must have one row per segment ({ptr.numel() - 1}), got {tuple(values.shape)}")
    if perm is not None:
        check_permutation(perm, num_rows, "perm")


def _fake_spread(values: Tensor, ptr: Tensor, perm: Tensor | None, num_rows: int) -> Tensor:
    return values.new_empty((num_rows, *values.shape[1:]))


@operation(
    schema="(Tensor values, Tensor ptr, Tensor? perm, SymInt num_rows) -> Tensor",
    fake=_fake_spread,
    check=_check_spread,
)
def _segment_spread(values: Tensor, ptr: Tensor, perm: Tensor | None, num_rows: int) -> Tensor:
    rows = values.repeat_interleave(ptr[1:] - ptr[:-1], dim=0, output_size=num_rows)
    if perm is None:
        return rows
    return torch.empty_like(rows).index_copy_(0, perm, rows)


@front(_segment_spread)
def segment_spread(
    values: Num[Tensor, "s ..."],
    ptr: Int[Tensor, " s1"],
    perm: Int[Tensor, " n"] | None = None,
    num_rows: int | None = None,
) -> Num[Tensor, "n ..."]:
    """Give each row the value of its segment: the transpose of :func:`segment_sum`.

    Args:
        values: One row per segment.
        ptr: ``[s + 1]`` pointers.
        perm: ``[n]`` order of the rows; None: as they are.
        num_rows: n, where it is known; saves reading it from the device.

    Example:
        >>> segment_spread(torch.tensor([3.0, 0.0, 4.0]), torch.tensor([0, 2, 2, 3]))
        tensor([3., 3., 4.])
    """
    if num_rows is None:
        num_rows = int(ptr[-1]) if perm is None else perm.shape[0]
    return _segment_spread(values, ptr, perm, num_rows)


@front(segment_sum)
def segment_mean(
    values: Float[Tensor, "n ..."], ptr: Int[Tensor, " s1"], perm: Int[Tensor, " n"] | None = None
) -> Float[Tensor, "s ..."]:
    """Mean of the rows of each segment; 0 for an empty one.

    Example:
        >>> segment_mean(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 2, 2, 3]))
        tensor([1.5000, 0.0000, 4.0000])
    """
    total = segment_sum(values, ptr, perm)
    count = (ptr[1:] - ptr[:-1]).clamp(min=1).to(values.dtype)
    return total / count.view(-1, *[1] * (values.dim() - 1))


def _fake_extreme(values: Tensor, ptr: Tensor, perm: Tensor | None, largest: bool) -> tuple[Tensor, Tensor]:
    out = _per_segment(values, ptr)
    return out, torch.empty_like(out, dtype=torch.int64)


@operation(
    schema="(Tensor values, Tensor ptr, Tensor? perm, bool largest) -> (Tensor, Tensor)",
    fake=_fake_extreme,
    check=_check_segments,
)
def _segment_extreme(values: Tensor, ptr: Tensor, perm: Tensor | None, largest: bool) -> tuple[Tensor, Tensor]:
    """Extreme of each segment and the row, the first in the segment's order, that holds it; 0 and -1 if empty."""
    num_segments, num_rows = ptr.numel() - 1, values.shape[0]
    segment = torch.repeat_interleave(ptr[1:] - ptr[:-1]).view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    rows = _ordered(values, perm)
    out = values.new_zeros((num_segments, *values.shape[1:]))
    out = out.scatter_reduce(0, segment, rows, "amax" if largest else "amin", include_self=False)
    chosen = out.gather(0, segment)
    hit = (rows == chosen) | ((rows != rows) & (chosen != chosen))  # NaN is the extreme of a segment that has one
    place = torch.arange(num_rows, device=values.device).view(-1, *[1] * (values.dim() - 1))
    place = torch.where(hit, place, num_rows)
    first = torch.full_like(out, num_rows, dtype=torch.int64)
    first = first.scatter_reduce(0, segment, place, "amin")
    order = torch.arange(num_rows, device=values.device) if perm is None else perm
    return out, torch.cat([order, order.new_full((1,), -1)])[first]


@front(_segment_extreme)
def segment_max(
    values: Num[Tensor, "n ..."], ptr: Int[Tensor, " s1"], perm: Int[Tensor, " n"] | None = None
) -> Num[Tensor, "s ..."]:
    """Largest value, per channel, of each segment; 0 for an empty one.

    Example:
        >>> segment_max(torch.tensor([1.0, 2.0, -4.0]), torch.tensor([0, 2, 2, 3]))
        tensor([ 2.,  0., -4.])
    """
    result: Tensor = _segment_extreme(values, ptr, perm, True)[0]
    return result


@front(_segment_extreme)
def segment_min(
    values: Num[Tensor, "n ..."], ptr: Int[Tensor, " s1"], perm: Int[Tensor, " n"] | None = None
) -> Num[Tensor, "s ..."]:
    """Smallest value, per channel, of each segment; 0 for an empty one."""
    result: Tensor = _segment_extreme(values, ptr, perm, False)[0]
    return result


@front(segment_sum)
def segment_softmax(
    values: Float[Tensor, "n ..."], ptr: Int[Tensor, " s1"], perm: Int[Tensor, " n"] | None = None
) -> Float[Tensor, "n ..."]:
    """Softmax over the rows of each segment, per channel; rows stay where they are.

    Example:
        >>> segment_softmax(torch.tensor([0.0, 0.0, 5.0]), torch.tensor([0, 2, 3]))
        tensor([0.5000, 0.5000, 1.0000])
    """
    weight = _shifted_exp(values, ptr, perm)[0]
    total = segment_sum(weight, ptr, perm)
    return weight / _segment_spread(total, ptr, perm, values.shape[0])


@front(segment_sum)
def segment_logsumexp(
    values: Float[Tensor, "n ..."], ptr: Int[Tensor, " s1"], perm: Int[Tensor, " n"] | None = None
) -> Float[Tensor, "s ..."]:
    """Logarithm of the sum of exponentials of each segment, per channel; minus infinity for an empty one.

    Example:
        >>> segment_logsumexp(torch.zeros(4), torch.tensor([0, 1, 4]))
        tensor([0.0000, 1.0986])
    """
    weight, shift = _shifted_exp(values, ptr, perm)
    total = segment_sum(weight, ptr, perm)
    empty = (ptr[1:] == ptr[:-1]).view(-1, *[1] * (values.dim() - 1))
    return torch.where(empty, -torch.inf, torch.where(empty, 1.0, total).log() + shift)


def _shifted_exp(values: Tensor, ptr: Tensor, perm: Tensor | None) -> tuple[Tensor, Tensor]:
    """exp(values - shift) and shift, the largest value of the segment where that is finite."""
    shift = segment_max(values.detach(), ptr, perm)
    shift = torch.where(shift.isinf(), 0.0, shift)
    return (values - _segment_spread(shift, ptr, perm, values.shape[0])).exp(), shift


def _fake_sort(index: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(index), index.new_empty(num_segments + 1)


@operation(
    schema="(Tensor index, SymInt num_segments) -> (Tensor, Tensor)",
    fake=_fake_sort,
    check=lambda index, num_segments: check_index(index, num_segments, "index"),
)
def sort_index(index: Int[Tensor, " n"], num_segments: int) -> tuple[Int[Tensor, " n"], Int[Tensor, " s1"]]:
    """Order in which the rows of each segment lie together, and the pointers: ``(perm, ptr)`` for ``segment_*``.

    Rows of a segment keep their order.

    Raises:
        InputError: An index is not in ``0 .. num_segments - 1``.

    Example:
        >>> sort_index(torch.tensor([2, 0, 2, 0]), 3)
        (tensor([1, 3, 0, 2]), tensor([0, 2, 2, 4]))
    """
    perm = torch.argsort(index, stable=True)
    count = torch.bincount(index, minlength=num_segments)
    return perm, torch.cat([count.new_zeros(1), count.cumsum(0)])


def _scatter(reduction: Callable[..., Tensor], doc: str) -> Callable[[Tensor, Tensor, int], Tensor]:
    def scatter(values: Num[Tensor, "n ..."], index: Int[Tensor, " n"], num_segments: int) -> Num[Tensor, "m ..."]:
        if index.shape != values.shape[:1]:
            raise InputError(f"index must have one entry per row, got {tuple(index.shape)} for {values.shape[0]} rows")
        perm, ptr = sort_index(index, num_segments)
        return reduction(values, ptr, perm)

    scatter.__doc__ = doc
    scatter.__name__ = scatter.__qualname__ = reduction.__name__.replace("segment", "scatter")
    return scatter


scatter_sum = _scatter(segment_sum, "Sum of the rows with each index: :func:`segment_sum` without order.")
scatter_mean = _scatter(segment_mean, "Mean of the rows with each index: :func:`segment_mean` without order.")
scatter_max = _scatter(segment_max, "Largest of the rows with each index: :func:`segment_max` without order.")
scatter_min = _scatter(segment_min, "Smallest of the rows with each index: :func:`segment_min` without order.")
scatter_softmax = _scatter(segment_softmax, "Softmax over the rows with each index, rows in place.")
scatter_logsumexp = _scatter(segment_logsumexp, "Log-sum-exp of the rows with each index.")


def _ordered(values: Tensor, perm: Tensor | None) -> Tensor:
    return values if perm is None else values[perm]


def _keep_order(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[1], inputs[2])
    ctx.num_rows = inputs[0].shape[0]


def _sum_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    ptr, perm = ctx.saved_tensors
    return _segment_spread(grad, ptr, perm, ctx.num_rows), None, None


def _spread_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    ptr, perm = ctx.saved_tensors
    return segment_sum(grad, ptr, perm), None, None, None


def _keep_place(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.num_rows = inputs[0].shape[0]


def _extreme_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, None, None, None]:
    (row,) = ctx.saved_tensors
    out = grad.new_zeros((ctx.num_rows + 1, *grad.shape[1:]))  # the last row takes what belongs to empty segments
    out.scatter_(0, torch.where(row < 0, ctx.num_rows, row), grad)
    return out[:-1], None, None, None


segment_sum.autograd(_keep_order, _sum_backward)
_segment_spread.autograd(_keep_order, _spread_backward)
_segment_extreme.autograd(_keep_place, _extreme_backward)


def _numba_applies(values: Tensor, *_: Any, **__: Any) -> str:
    return needs_numba(values, NUMBA_TYPES)


def _triton_applies(values: Tensor, *_: Any, **__: Any) -> str:
    return needs_triton(values, (*HALF, *NUMBA_TYPES))


def _register(op: Any, name: str) -> None:
    def numba(*args: Any, **kwargs: Any) -> Any:
        from meshops.ops.kernels import segment_numba  # importing Numba takes a while

        return getattr(segment_numba, name)(*args, **kwargs)

    def triton(*args: Any, **kwargs: Any) -> Any:
        from meshops.ops.kernels import segment_triton  # exists only where Triton does

        return getattr(segment_triton, name)(*args, **kwargs)

    op.kernel("numba", _numba_applies)(numba)
    if name != "sort_index":  # PyTorch's sort is as fast there
        op.kernel("triton", _triton_applies)(triton)


_register(segment_sum, "segment_sum")
_register(_segment_spread, "segment_spread")
_register(_segment_extreme, "segment_extreme")
_register(sort_index, "sort_index")
