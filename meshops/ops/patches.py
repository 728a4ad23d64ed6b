"""Nodes to patches and back, as dense rows: what attention over patches reads and writes.

Each node lies in at most one slot, as in a :class:`meshops.partition.Partition`, so that nothing is added up and the
result is the same every time. ``index`` may just as well number the cells of a regular grid.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.checks import check_index, unreadable
from meshops.ops.dispatch import operation
from meshops.ops.kernels.available import needs_triton
from meshops.typing import Bool, Float, Int


def _check_gather(values: Tensor, index: Tensor, mask: Tensor | None) -> None:
    check_index(index, values.shape[0], "index")
    _check_mask(index, mask)


def _check_mask(index: Tensor, mask: Tensor | None) -> None:
    if mask is not None and (mask.shape != index.shape or mask.dtype != torch.bool):
        raise InputError(
            f"mask must be a bool tensor of shape {tuple(index.shape)}, got {tuple(mask.shape)} of {mask.dtype}"
        )


def _fake_gather(values: Tensor, index: Tensor, mask: Tensor | None) -> Tensor:
    return values.new_empty((*index.shape, *values.shape[1:]))


@operation(schema="(Tensor values, Tensor index, Tensor? mask) -> Tensor", fake=_fake_gather, check=_check_gather)
def gather_patches(
    values: Float[Tensor, "n ..."], index: Int[Tensor, " *p"], mask: Bool[Tensor, " *p"] | None
) -> Float[Tensor, ...]:
    """Rows of the nodes in each slot; 0 where there is none.

    Args:
        values: One row per node.
        index: Node in each slot, of any shape.
        mask: True where a slot holds a node; None: all do.

    Raises:
        InputError: A node is out of range; shapes differ.

    Example:
        >>> index, mask = torch.tensor([[2, 0], [1, 1]]), torch.tensor([[True, True], [True, False]])
        >>> gather_patches(torch.tensor([1.0, 2.0, 3.0]), index, mask)
        tensor([[3., 1.],
                [2., 0.]])
    """
    rows = values[index]
    return rows if mask is None else rows.masked_fill(~mask.view(*mask.shape, *[1] * (values.dim() - 1)), 0.0)


def _check_scatter(rows: Tensor, index: Tensor, mask: Tensor | None, num_nodes: int) -> None:
    check_index(index, num_nodes, "index")
    _check_mask(index, mask)
    if rows.shape[: index.dim()] != index.shape:
        raise InputError(f"rows must start with the shape of index, {tuple(index.shape)}, got {tuple(rows.shape)}")
    if unreadable(index):
        return
    filled = index.flatten() if mask is None else index[mask]
    count = torch.bincount(filled, minlength=num_nodes)
    if bool((count > 1).any()):
        raise InputError(f"node {int(count.argmax())} lies in {int(count.max())} slots; a node has one place at most")


def _fake_scatter(rows: Tensor, index: Tensor, mask: Tensor | None, num_nodes: int) -> Tensor:
    return rows.new_empty((num_nodes, *rows.shape[index.dim() :]))


@operation(
    schema="(Tensor rows, Tensor index, Tensor? mask, SymInt num_nodes) -> Tensor",
    fake=_fake_scatter,
    check=_check_scatter,
)
def scatter_patches(
    rows: Float[Tensor, ...], index: Int[Tensor, " *p"], mask: Bool[Tensor, " *p"] | None, num_nodes: int
) -> Float[Tensor, "n ..."]:
    """Put the rows of the slots back on their nodes; 0 for a node in no slot.

    Args:
        rows: One row per slot.
        index: Node in each slot, each at most once.
        mask: True where a slot holds a node; None: all do.
        num_nodes: n.

    Raises:
        InputError: A node is out of range or in two slots; shapes differ.

    Example:
        >>> index, mask = torch.tensor([[2, 0], [1, 1]]), torch.tensor([[True, True], [True, False]])
        >>> scatter_patches(torch.tensor([[3.0, 1.0], [2.0, 9.0]]), index, mask, 3)
        tensor([1., 2., 3.])
    """
    flat = rows.flatten(0, index.dim() - 1)
    where = index.flatten() if mask is None else torch.where(mask, index, num_nodes).flatten()
    out = rows.new_zeros((num_nodes + 1, *flat.shape[1:]))  # padding goes to a row that is cut off
    return out.index_copy(0, where, flat)[:num_nodes].contiguous()


def _keep_slots(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1], inputs[2])
    ctx.num_nodes = inputs[0].shape[0]


def _gather_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    index, mask = ctx.saved_tensors
    flat = grad.flatten(0, index.dim() - 1) if index.dim() else grad.unsqueeze(0)
    if mask is not None:
        flat = flat.masked_fill(~mask.view(-1, *[1] * (flat.dim() - 1)), 0.0)
    return grad.new_zeros((ctx.num_nodes, *flat.shape[1:])).index_add(0, index.flatten(), flat), None, None


def _scatter_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    index, mask = ctx.saved_tensors
    return gather_patches(grad, index, mask), None, None, None


gather_patches.autograd(_keep_slots, _gather_backward)
scatter_patches.autograd(_keep_slots, _scatter_backward)


def _triton_applies(rows: Tensor, *_: Any) -> str:
    return needs_triton(rows, (torch.float16, torch.bfloat16, torch.float32, torch.float64))


@gather_patches.kernel("triton", _triton_applies)
def _gather_triton(values: Tensor, index: Tensor, mask: Tensor | None) -> Tensor:
    from meshops.ops.kernels import patches_triton  # exists only where Triton does

    return patches_triton.gather_patches(values, index, mask)


@scatter_patches.kernel("triton", _triton_applies)
def _scatter_triton(rows: Tensor, index: Tensor, mask: Tensor | None, num_nodes: int) -> Tensor:
    from meshops.ops.kernels import patches_triton

    return patches_triton.scatter_patches(rows, index, mask, num_nodes)
