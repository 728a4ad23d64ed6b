"""Patch attention without copies of the shared keys, in public operations of PyTorch: a few patches at a time.

The scores of a block against the keys of its patches and the shared keys have one maximum and one sum. The backward
pass computes the scores of a block again instead of keeping them. All in float32 at least.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from meshops.ops.kernels.attention_masks import joined, masked, parted

SCORES = {"cpu": 2**18, "cuda": 2**26}  # of a block: what fits a cache; some hundred MB


def patch_attention(query: Tensor, *others: Any, **named: Any) -> Tensor:
    """See :func:`meshops.ops.patch_attention`."""
    return masked(_Blocks, 1, query, *others, **named)


class _Blocks(torch.autograd.Function):
    """``near`` and ``far`` are biases of the scores of local and global keys."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        local_key: Tensor,
        local_value: Tensor,
        global_key: Tensor,
        global_value: Tensor,
        near: Tensor | None,
        far: Tensor | None,
    ) -> Tensor:
        b, p, h, q, c = query.shape
        dtype = torch.promote_types(query.dtype, torch.float32)
        near = None if near is None else near.view(b, p, 1, 1, -1)
        out = query.new_empty(b, p, q, h, c).transpose(2, 3)
        lse = query.new_empty(b, p, h, q, 1, dtype=dtype)
        with torch.autocast(query.device.type, enabled=False):
            shared_key, shared_value = global_key.to(dtype), global_value.to(dtype)
            for i in _blocks(query, local_key, global_key):
                n, rows = out[:, i].shape[1], query[:, i].to(dtype) * c**-0.5
                x = _scores(rows, local_key[:, i].to(dtype), near if near is None else near[:, i])
                y = _scores(joined(rows), shared_key, far)
                top = torch.maximum(x.amax(-1, keepdim=True), parted(y.amax(-1, keepdim=True), n))
                x, y = x.sub_(top).exp_(), y.sub_(joined(top)).exp_()
                total = x.sum(-1, keepdim=True) + parted(y.sum(-1, keepdim=True), n)
                out[:, i] = ((x @ local_value[:, i].to(dtype)) + parted(y @ shared_value, n)) / total
                lse[:, i] = top + total.log()
        ctx.save_for_backward(query, local_key, local_value, global_key, global_value, near, far, out, lse)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, local_key, local_value, global_key, global_value, near, far, out, lse = ctx.saved_tensors
        dtype, scale = lse.dtype, query.shape[-1] ** -0.5
        to_query, to_local_key, to_local_value = (torch.empty_like(x) for x in (query, local_key, local_value))
        with torch.autocast(query.device.type, enabled=False):
            shared_key, shared_value = global_key.to(dtype), global_value.to(dtype)
            to_global_key, to_global_value = torch.zeros_like(shared_key), torch.zeros_like(shared_value)
            for i in _blocks(query, local_key, global_key):
                rows, g = query[:, i].to(dtype) * scale, grad[:, i].to(dtype)
                key, value = local_key[:, i].to(dtype), local_value[:, i].to(dtype)
                mean = (g * out[:, i]).sum(-1, keepdim=True)  # of the gradients of the weights, by the weights
                x = _scores(rows, key, near if near is None else near[:, i]).sub_(lse[:, i]).exp_()
                to_local_value[:, i] = x.mT @ g
                x.mul_((g @ value.mT).sub_(mean))
                to_local_key[:, i] = x.mT @ rows
                far_rows, far_g = joined(rows), joined(g)
                y = _scores(far_rows, shared_key, far).sub_(joined(lse[:, i])).exp_()
                to_global_value += y.mT @ far_g
                y.mul_((far_g @ shared_value.mT).sub_(joined(mean)))
                to_global_key += y.mT @ far_rows
                to_query[:, i] = ((x @ key) + parted(y @ shared_key, g.shape[1])) * scale
        to_shared = (to_global_key.to(query.dtype), to_global_value.to(query.dtype))
        return to_query, to_local_key, to_local_value, *to_shared, None, None


def _blocks(query: Tensor, local_key: Tensor, global_key: Tensor) -> Iterator[slice]:
    """Patches of each block."""
    b, p, h, q, _ = query.shape
    scores = b * h * q * (local_key.shape[3] + global_key.shape[2])
    size = max(1, SCORES.get(query.device.type, 2**26) // max(scores, 1))
    return (slice(start, start + size) for start in range(0, p, size))


def _scores(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    scores = query @ key.mT
    return scores if bias is None else scores.add_(bias)
