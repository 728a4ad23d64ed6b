"""Attention inside patches with keys shared by all patches (MSPT, 2512.01738, sec. 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from meshops.typing import Bool, Float


def patch_attention(
    query: Float[Tensor, "b p h q c"],
    local_key: Float[Tensor, "b p h k c"],
    local_value: Float[Tensor, "b p h k c"],
    global_key: Float[Tensor, "b h m c"],
    global_value: Float[Tensor, "b h m c"],
    local_mask: Bool[Tensor, "b p k"] | None = None,
    global_mask: Bool[Tensor, "b m"] | None = None,
) -> Float[Tensor, "b p h q c"]:
    """Queries of each patch attend to the keys of their own patch and to the global keys, in one softmax.

    Args:
        query: Queries, p patches of q rows in h heads of c channels. Scale is 1 / sqrt(c).
        local_key: Keys of each patch.
        local_value: Values of each patch.
        global_key: Keys every patch sees (supernodes).
        global_value: Values of the same.
        local_mask: True where a local key exists; None: all do.
        global_mask: True where a global key exists; None: all do.
    """
    b, p = query.shape[:2]
    m = global_key.shape[2]
    key = torch.cat([local_key, global_key.unsqueeze(1).expand(b, p, *global_key.shape[1:])], 3)
    value = torch.cat([local_value, global_value.unsqueeze(1).expand(b, p, *global_value.shape[1:])], 3)
    mask = None
    if local_mask is not None or global_mask is not None:
        if local_mask is None:
            local_mask = query.new_ones(b, p, local_key.shape[3], dtype=torch.bool)
        if global_mask is None:
            global_mask = query.new_ones(b, m, dtype=torch.bool)
        mask = torch.cat([local_mask, global_mask.unsqueeze(1).expand(b, p, m)], 2)
        mask = mask.flatten(0, 1)[:, None, None, :]
    out = scaled_dot_product_attention(query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), attn_mask=mask)
    return out.view(b, p, *out.shape[1:])
