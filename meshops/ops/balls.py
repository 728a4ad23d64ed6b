"""Centre and radius of every patch: what a partition says of its patches' place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meshops.ops.checks import check_permutation, check_ptr
from meshops.ops.dispatch import operation
from meshops.ops.kernels.available import needs_numba
from meshops.ops.segment import segment_max, segment_mean, segment_spread
from meshops.typing import Float, Int


def _check(pos: Tensor, ptr: Tensor, perm: Tensor) -> None:
    check_ptr(ptr, pos.shape[0], "ptr")
    check_permutation(perm, pos.shape[0], "perm")


def _fake(pos: Tensor, ptr: Tensor, perm: Tensor) -> tuple[Tensor, Tensor]:
    count = ptr.shape[0] - 1
    return pos.new_empty(count, pos.shape[1]), pos.new_empty(count)


@operation(schema="(Tensor pos, Tensor ptr, Tensor perm) -> (Tensor, Tensor)", fake=_fake, check=_check)
def patch_balls(
    pos: Float[Tensor, "n d"], ptr: Int[Tensor, " p1"], perm: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "p d"], Float[Tensor, " p"]]:
    """Mean position of each patch and the distance of its farthest node from there; 0 for an empty patch.

    Added up in double precision. Has no gradient.

    Args:
        pos: ``[n, d]`` positions.
        ptr: ``[p + 1]`` patch i is the nodes ``perm[ptr[i]:ptr[i + 1]]``.
        perm: ``[n]`` order of the nodes.

    Raises:
        InputError: Pointers fall or do not end at n; ``perm`` is no permutation.

    Example:
        >>> patch_balls(torch.tensor([[0.0], [4.0], [9.0]]), torch.tensor([0, 2, 3]), torch.tensor([1, 0, 2]))
        (tensor([[2.],
                [9.]]), tensor([2., 0.]))
    """
    wide = pos.double()
    center = segment_mean(wide, ptr, perm).to(pos.dtype)
    distance = segment_spread(center.double(), ptr, perm).sub_(wide).norm(dim=1)
    return center, segment_max(distance, ptr, perm).to(pos.dtype)


def _numba_applies(pos: Tensor, *_: Any) -> str:
    return needs_numba(pos, (torch.float32, torch.float64))


@patch_balls.kernel("numba", _numba_applies)
def _patch_balls_numba(pos: Tensor, ptr: Tensor, perm: Tensor) -> tuple[Tensor, Tensor]:
    from meshops.ops.kernels.balls_numba import patch_balls  # importing Numba takes a while

    return patch_balls(pos, ptr, perm)
