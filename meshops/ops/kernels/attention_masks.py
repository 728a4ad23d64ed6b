"""What the versions of patch attention share: precision under autocast, masks as biases of scores, layouts."""

from __future__ import annotations

import torch
from torch import Tensor


def masked(
    merged: type[torch.autograd.Function],
    parts: int,
    query: Tensor,
    local_key: Tensor,
    local_value: Tensor,
    global_key: Tensor,
    global_value: Tensor,
    local_mask: Tensor | None = None,
    global_mask: Tensor | None = None,
) -> Tensor:
    """Attention by ``merged``, which takes five tensors of one dtype and two biases; queries without any key get zeros.

    Args:
        merged: ``(query, local_key, local_value, global_key, global_value, near, far)``; ``near`` ``[b p, 1, 1, k]``
            and ``far`` ``[b, 1, 1, m]`` are added to the scores.
        parts: Groups of the patches of a graph that get shared keys of their own.
        query: As all others see :func:`meshops.ops.patch_attention`.
        local_key: Keys of each patch.
        local_value: Values of each patch.
        global_key: Keys every patch sees.
        global_value: Values of the same.
        local_mask: True where a local key exists.
        global_mask: True where a global key exists.
    """
    b, p = query.shape[:2]
    dtype = query.dtype if query.dtype == torch.float64 else autocast_dtype(query.device.type) or query.dtype
    local = [x.to(dtype).reshape(b * parts, p // parts, *x.shape[2:]) for x in (query, local_key, local_value)]
    shared = [x.to(dtype).repeat_interleave(parts, 0) if parts > 1 else x.to(dtype) for x in (global_key, global_value)]
    near = None if local_mask is None else _bias(local_mask.flatten(0, 1), dtype)
    far = None if global_mask is None else _bias(global_mask.repeat_interleave(parts, 0), dtype)
    out: Tensor = merged.apply(*local, *shared, near, far)
    out = out.reshape(b, p, *out.shape[2:])
    if near is None or far is None or local_mask is None or global_mask is None:
        return out
    blind = ~(local_mask.any(2) | global_mask.any(1, keepdim=True))
    if blind.device.type == "cpu" and not bool(blind.any()):
        return out
    return out.masked_fill(blind[:, :, None, None, None], 0.0)


def autocast_dtype(device: str) -> torch.dtype | None:
    """Precision that autocast asks for, where it is on."""
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    """So low where no key is that it counts for nothing beside any key, yet finite; None: all are."""
    if mask.device.type == "cpu" and bool(mask.all()):
        return None
    bias: Tensor = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min / 2)[:, None, None]
    return bias


def joined(x: Tensor) -> Tensor:
    """``[b, p, h, q, c] -> [b, h, p q, c]``, a view of what linear layers give."""
    return x.transpose(2, 3).flatten(1, 2).transpose(1, 2)


def parted(x: Tensor, p: int) -> Tensor:
    """``[b, h, p q, c] -> [b, p, h, q, c]``, the inverse."""
    out: Tensor = x.unflatten(2, (p, -1)).transpose(1, 2)
    return out
