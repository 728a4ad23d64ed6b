"""Patch attention against a dense softmax, patch by patch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshops.ops import patch_attention

B, P, H, L, Q, M, C = 2, 3, 2, 4, 5, 6, 3


def inputs(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [(B, P, H, Q, C), (B, P, H, L, C), (B, P, H, L, C), (B, H, M, C), (B, H, M, C)]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def masks() -> tuple[Tensor, Tensor]:
    local, shared = torch.rand(B, P, L) < 0.6, torch.rand(B, M) < 0.7
    local[0, 1] = False  # an empty patch still sees the supernodes
    shared[:, 0] = True
    return local, shared


def by_loop(query: Tensor, lk: Tensor, lv: Tensor, gk: Tensor, gv: Tensor, local: Tensor, shared: Tensor) -> Tensor:
    out = torch.empty_like(query)
    for b in range(B):
        for p in range(P):
            for h in range(H):
                keys = torch.cat([lk[b, p, h][local[b, p]], gk[b, h][shared[b]]])
                values = torch.cat([lv[b, p, h][local[b, p]], gv[b, h][shared[b]]])
                out[b, p, h] = torch.softmax(query[b, p, h] @ keys.T / C**0.5, 1) @ values
    return out


@pytest.mark.parametrize("which", ["none", "local", "shared", "both"])
def test_equals_dense_softmax(which: str) -> None:
    args = inputs()
    local, shared = masks()
    local_mask = local if which in ("local", "both") else None
    shared_mask = shared if which in ("shared", "both") else None
    expected = by_loop(
        *args,
        torch.ones_like(local) if local_mask is None else local,
        torch.ones_like(shared) if shared_mask is None else shared,
    )
    assert_close(patch_attention(*args, local_mask, shared_mask), expected)


@pytest.mark.parametrize("masked", [False, True])
def test_gradient(masked: bool) -> None:
    args = [x.requires_grad_() for x in inputs()]
    local, shared = masks() if masked else (None, None)
    assert torch.autograd.gradcheck(lambda *a: patch_attention(*a, local, shared), args, fast_mode=True)


def test_masked_keys_have_no_influence() -> None:
    query, lk, lv, gk, gv = inputs()
    local, shared = masks()
    before = patch_attention(query, lk, lv, gk, gv, local, shared)
    lk, lv = (torch.where(local[:, :, None, :, None], x, 1e3) for x in (lk, lv))
    gk, gv = (torch.where(shared[:, None, :, None], x, -1e3) for x in (gk, gv))
    assert_close(patch_attention(query, lk, lv, gk, gv, local, shared), before)
