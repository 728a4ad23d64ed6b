"""Attention inside patches with keys shared by all patches (MSPT, 2512.01738, sec. 3.3).

The definition puts a copy of the shared keys beside the keys of every patch: K copies of K Q rows. "scores" (CPU, few
nodes) does too and keeps the scores for the backward pass. Two versions have the same result without copies: "flash"
(CPU) attends to the keys of the patch and to the shared keys apart and merges the two by their log-sum-exp, "blocks"
(CUDA, not run on a GPU; CPUs where PyTorch lacks what "flash" needs) takes a few patches at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from meshops.ops.dispatch import operation
from meshops.typing import Bool, Float

SHARED = 128  # global keys from which "flash" gains; below, two softmaxes cost more than the copies (measured)
LARGE = 2**30  # bytes of copies from which "blocks" runs: slower than copies on a CPU, not measured on CUDA


@operation
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

    Softmax and sums are in float32 at least. Differentiable once. Queries without any key get zeros.

    Args:
        query: Queries, p patches of q rows in h heads of c channels. Scale is 1 / sqrt(c).
        local_key: Keys of each patch.
        local_value: Values of each patch.
        global_key: Keys every patch sees (supernodes).
        global_value: Values of the same.
        local_mask: True where a local key exists; None: all do.
        global_mask: True where a global key exists; None: all do.

    Example:
        >>> query, local, shared = torch.randn(1, 4, 2, 5, 8), torch.randn(1, 4, 2, 5, 8), torch.randn(1, 2, 4, 8)
        >>> patch_attention(query, local, local, shared, shared).shape
        torch.Size([1, 4, 2, 5, 8])
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


def _flash_applies(
    query: Tensor,
    local_key: Tensor,
    local_value: Tensor,
    global_key: Tensor,
    global_value: Tensor,
    *masks: Any,
    **named: Any,
) -> str:
    if query.device.type != "cpu":
        return "needs CPU tensors"
    if torch.compiler.is_compiling():
        return "not under torch.compile"
    (b, p, h, q, c), m = query.shape, global_key.shape[2]
    if p == 1 or m < SHARED or 2 * m < q or 0 in (b, h, q, c, local_key.shape[3]):
        return f"needs {SHARED} global keys, and as many rows of copies per patch, twice the global keys, as queries"
    from meshops.ops.kernels import attention_flash

    return attention_flash.needs(query, local_key, local_value, global_key, global_value)


def _blocks_apply(
    query: Tensor, local_key: Tensor, local_value: Tensor, global_key: Tensor, *others: Any, **named: Any
) -> str:
    if torch.compiler.is_compiling():
        return "not under torch.compile"
    if query.shape[1] * 2 * global_key.numel() * query.element_size() < LARGE or 0 in query.shape:
        return f"needs copies of {LARGE / 2**30:g} GiB"
    return ""


@patch_attention.kernel("flash", _flash_applies)
def _flash(*args: Any, **named: Any) -> Tensor:
    from meshops.ops.kernels import attention_flash

    return attention_flash.patch_attention(*args, **named)


@patch_attention.kernel("blocks", _blocks_apply)
def _blocks(*args: Any, **named: Any) -> Tensor:
    from meshops.ops.kernels import attention_blocks

    return attention_blocks.patch_attention(*args, **named)


def _scores_apply(
    query: Tensor,
    local_key: Tensor,
    local_value: Tensor,
    global_key: Tensor,
    global_value: Tensor,
    local_mask: Tensor | None = None,
    global_mask: Tensor | None = None,
) -> str:
    if local_mask is not None or global_mask is not None:
        return "needs full patches"
    from meshops.ops.kernels import attention_scores

    return attention_scores.needs(query, local_key, local_value, global_key, global_value)


@patch_attention.kernel("scores", _scores_apply)
def _scores(*args: Any, **named: Any) -> Tensor:
    from meshops.ops.kernels import attention_scores

    given = [x for x in (*args, *named.values()) if x is not None]
    return attention_scores.patch_attention(*given)
