"""Patch attention on the CPU with all scores in memory, for training on few nodes.

PyTorch's flash attention computes the scores anew in its backward pass; where they fit the caches it is quicker to keep
them (1.4 times, measured for 16 patches of 64 nodes, 6 heads of 16 channels).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meshops.ops.kernels.available import eager

MOST = 2**20  # scores, 4 MiB; with more the caches overflow
WIDE = 32  # channels of a head; with more the products of flash attention are as quick


def needs(query: Tensor, local_key: Tensor, local_value: Tensor, global_key: Tensor, global_value: Tensor) -> str:
    """Why these arguments cannot be taken; empty where they can."""
    given = (query, local_key, local_value, global_key, global_value)
    if not torch.is_grad_enabled() or not any(x.requires_grad for x in given):
        return "gains in the backward pass alone"
    b, p, h, q, c = query.shape
    if c > WIDE or not 0 < b * p * h * q * (local_key.shape[3] + global_key.shape[2]) <= MOST:
        return f"needs at most {WIDE} channels a head and {MOST} scores"
    if any(x.dtype != torch.float32 or x.device.type != "cpu" or x.shape[-1] != c for x in given):
        return "needs float32 on the CPU, and values as wide as keys"
    return eager(*given)


def patch_attention(
    query: Tensor, local_key: Tensor, local_value: Tensor, global_key: Tensor, global_value: Tensor
) -> Tensor:
    """See :func:`meshops.ops.patch_attention`; without masks."""
    out: Tensor = _Attention.apply(query, *_joined(query, local_key, local_value, global_key, global_value))  # type: ignore[no-untyped-call]
    return out


def _joined(query: Tensor, *parts: Tensor) -> list[Tensor]:
    """Keys and values of patches with those that all patches see behind them."""
    local_key, local_value, global_key, global_value = parts
    b, p = query.shape[:2]
    pairs = ((local_key, global_key), (local_value, global_value))
    return [torch.cat([own, seen.unsqueeze(1).expand(b, p, *seen.shape[1:])], 3) for own, seen in pairs]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (x.reshape(-1, *x.shape[-2:]) for x in (query * query.shape[-1] ** -0.5, key, value))
        weight = torch.bmm(q, k.transpose(1, 2)).softmax(-1)
        ctx.save_for_backward(q, k, v, weight)
        return torch.bmm(weight, v).view(query.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, weight = ctx.saved_tensors
        shape, g = grad.shape, grad.reshape(q.shape)
        to_value = torch.bmm(weight.transpose(1, 2), g)
        to_score = torch._softmax_backward_data(torch.bmm(g, v.transpose(1, 2)), weight, -1, weight.dtype)
        to_query = torch.bmm(to_score, k).mul_(shape[-1] ** -0.5)
        to_key = torch.bmm(to_score.transpose(1, 2), q)
        heads = shape[:3]
        return to_query.view(shape), to_key.view(*heads, *k.shape[1:]), to_value.view(*heads, *v.shape[1:])
