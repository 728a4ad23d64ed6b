"""Attention inside each of many samples of different length, packed one after the other.

On recent NVIDIA GPUs in half precision ``torch.nn.attention.varlen`` does it in one kernel. Elsewhere the samples are
sorted by length into buckets of nearly equal length and each bucket is one call of scaled dot-product attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from meshops.ops.patches import gather_patches, scatter_patches

WASTE = 1.1  # rows of a padded bucket over its real rows


@dataclass(frozen=True, eq=False)
class RaggedPlan:
    """How the samples of a batch are worked on; made once per batch, used by all layers.

    Attributes:
        ptr: ``[b + 1]`` sample i owns rows ``ptr[i]:ptr[i + 1]``.
        longest: Length of the longest sample.
        buckets: For each bucket ``index [g, w]`` of rows and ``mask [g, w]``, None where all are of length w.
    """

    ptr: Tensor
    longest: int
    buckets: tuple[tuple[Tensor, Tensor | None], ...]

    @classmethod
    def of(cls, ptr: Tensor) -> RaggedPlan:
        """Plan for the bounds ``ptr [b + 1]`` of the samples; waits for the device."""
        start = ptr.tolist()
        lengths = [b - a for a, b in pairwise(start)]
        order = sorted((i for i in range(len(lengths)) if lengths[i]), key=lambda i: -lengths[i])
        groups: list[list[int]] = []
        real = 0
        for sample in order:
            group = groups[-1] if groups else None
            width = lengths[group[0]] if group else 0
            if group and (len(group) + 1) * width <= WASTE * (real + lengths[sample]):
                group.append(sample)
                real += lengths[sample]
            else:
                groups.append([sample])
                real = lengths[sample]
        buckets = tuple(_bucket([start[i] for i in g], [lengths[i] for i in g], ptr.device) for g in groups)
        return cls(ptr, max(lengths, default=0), buckets)


def _bucket(first: list[int], lengths: list[int], device: torch.device) -> tuple[Tensor, Tensor | None]:
    column = torch.arange(max(lengths), device=device)
    length = torch.tensor(lengths, device=device).unsqueeze(1)
    index = torch.tensor(first, device=device).unsqueeze(1) + torch.minimum(column, length - 1)
    return index, None if min(lengths) == max(lengths) else column < length


def ragged_attention(query: Tensor, key: Tensor, value: Tensor, plan: RaggedPlan) -> Tensor:
    """Attention of packed rows ``[t, h, c]`` inside each sample; result ``[t, h, c]``.

    Scale is 1 / sqrt(c).
    """
    if _has_varlen(query):
        from torch.nn.attention.varlen import varlen_attn

        bounds = plan.ptr.to(torch.int32)
        out: Any = varlen_attn(query, key, value, bounds, bounds, plan.longest, plan.longest)
        return torch.as_tensor(out)
    total = torch.zeros_like(query)
    for index, mask in plan.buckets:
        q, k, v = (gather_patches(part, index, mask).transpose(1, 2) for part in (query, key, value))
        allowed = None if mask is None else mask[:, None, None, :]
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=allowed).transpose(1, 2)
        total = total + scatter_patches(mixed.contiguous(), index, mask, len(query))
    return total


def _has_varlen(query: Tensor) -> bool:
    if not query.is_cuda or query.dtype not in (torch.float16, torch.bfloat16):
        return False
    if torch.cuda.get_device_capability(query.device) < (8, 0):
        return False
    from importlib.util import find_spec

    return find_spec("torch.nn.attention.varlen") is not None
