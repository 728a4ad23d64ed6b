"""Patch attention on the CPU without copies of the shared keys.

With L and G the scores of a query against the keys of its patch and the shared ones, and lse(S) = log sum_j exp(S_j):

    softmax([L ; G]) [V_L ; V_G] = w softmax(L) V_L + (1 - w) softmax(G) V_G        w = sigmoid(lse(L) - lse(G))

Both parts are flash attention (2205.14135); the second sees all queries of a graph at once. The backward pass of flash
attention recomputes exp(S - lse), so with the log-sum-exp and the result of the whole it gives each part the gradients
of the one softmax: no gradient of w is needed, and none of copies.

PyTorch gives the log-sum-exp away only through operators without a public name, those behind its
``scaled_dot_product_attention`` on the CPU. They are used where they exist with the arguments known here (run with
torch 2.13), else not. They have no second derivative.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from meshops.ops.kernels.attention_masks import autocast_dtype, joined, masked

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FORWARD = ["query", "key", "value", "dropout_p", "is_causal", "attn_mask", "scale"]
BACKWARD = ["grad_out", *FORWARD[:3], "out", "logsumexp", *FORWARD[3:]]


def needs(query: Tensor, *others: Tensor) -> str:
    """Why these arguments cannot be taken; empty where they can."""
    if not known():
        return "needs operators that this PyTorch does not have"
    floating = (query, *others)
    if len({x.shape[-1] for x in floating}) > 1:
        return "needs keys and values of one width"
    dtypes = {x.dtype for x in floating}
    if dtypes <= set(DTYPES) and (
        len(dtypes) == 1 or (autocast_dtype("cpu") is not None and torch.float64 not in dtypes)
    ):
        return ""
    return "needs one dtype of " + ", ".join(str(dtype)[6:] for dtype in DTYPES)


@cache
def known() -> bool:
    """Whether PyTorch has the two operators with the arguments that are given here."""
    for name, expected in (("", FORWARD), ("_backward", BACKWARD)):
        operator = getattr(torch.ops.aten, f"_scaled_dot_product_flash_attention_for_cpu{name}", None)
        if operator is None or [x.name for x in operator.default._schema.arguments] != expected:
            return False
    return True


def patch_attention(query: Tensor, *others: Any, **named: Any) -> Tensor:
    """See :func:`meshops.ops.patch_attention`."""
    return masked(_Merged, _parts(*query.shape[:3]), query, *others, **named)


class _Merged(torch.autograd.Function):
    """Both parts and their merge; ``near`` and ``far`` are biases of the scores of local and global keys."""

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
        attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        b, p, h, q, c = query.shape
        floating = (query, local_key, local_value, global_key, global_value)
        query, local_key, local_value, global_key, global_value = (_readable(x) for x in floating)
        x, x_lse = attend(*(t.flatten(0, 1) for t in (query, local_key, local_value)), attn_mask=near)
        y, y_lse = attend(joined(query), global_key, global_value, attn_mask=far)
        x, x_lse = x.view(b, p, h, q, c), x_lse.view(b, p, h, q)
        y, y_lse = y.view(b, h, p, q, c).transpose(1, 2), y_lse.view(b, h, p, q).transpose(1, 2)
        weight = (x_lse - y_lse).sigmoid_().unsqueeze(-1)
        out = torch.lerp(y.to(weight.dtype), x.to(weight.dtype), weight).to(query.dtype)
        lse = torch.logaddexp(x_lse, y_lse)
        ctx.save_for_backward(query, local_key, local_value, global_key, global_value, near, far, out, lse)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradient = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        query, local_key, local_value, global_key, global_value, near, far, out, lse = ctx.saved_tensors
        b, p, h, q, c = query.shape
        grad = _readable(grad)
        local = (x.flatten(0, 1) for x in (grad, query, local_key, local_value, out, lse))
        x, to_local_key, to_local_value = gradient(*local, 0.0, False, attn_mask=near)
        shared = (joined(grad), joined(query), global_key, global_value, joined(out), lse.transpose(1, 2).flatten(2))
        y, to_global_key, to_global_value = gradient(*shared, 0.0, False, attn_mask=far)
        to_query = x.view(b, p, h, q, c) + y.view(b, h, p, q, c).transpose(1, 2)
        to_local = (to_local_key.view(local_key.shape), to_local_value.view(local_value.shape))
        return to_query, *to_local, to_global_key, to_global_value, None, None


def _parts(b: int, p: int, h: int) -> int:
    """Groups of patches with shared keys of their own: the backward operator has b h tasks for all threads."""
    wanted = -(-torch.get_num_threads() // (b * h))
    return next(n for n in range(min(wanted, p), p + 1) if p % n == 0)


def _readable(x: Tensor) -> Tensor:
    """The operators read rows of adjacent numbers, without asking."""
    if x.stride(-1) == 1 and 0 not in x.stride():
        return x
    return x.transpose(-2, -3).contiguous().transpose(-2, -3)
