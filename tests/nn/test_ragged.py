"""Ragged attention against attention sample by sample."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from meshops.nn.ragged import WASTE, RaggedPlan, ragged_attention


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_every_sample_is_attended_alone(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ptr = torch.tensor([0, *lengths]).cumsum(0)
    q, k, v = (torch.randn(int(ptr[-1]), 2, 4, generator=generator, requires_grad=True) for _ in range(3))
    plan = RaggedPlan.of(ptr)
    out = ragged_attention(q, k, v, plan)
    parts = []
    for a, b in zip(ptr.tolist(), ptr.tolist()[1:], strict=False):
        heads = (part[a:b].transpose(0, 1) for part in (q, k, v))
        parts.append(scaled_dot_product_attention(*heads).transpose(0, 1))
    expected = torch.cat(parts)
    assert_close(out, expected, atol=1e-5, rtol=1e-4)
    if len(q):
        ours = torch.autograd.grad(out.square().sum(), [q, k, v])
        assert_close(list(ours), list(torch.autograd.grad(expected.square().sum(), [q, k, v])), atol=1e-4, rtol=1e-3)


def test_padding_stays_small() -> None:
    lengths = torch.randint(80, 1360, (64,), generator=torch.Generator().manual_seed(0))
    plan = RaggedPlan.of(torch.nn.functional.pad(lengths.cumsum(0), (1, 0)))
    for index, mask in plan.buckets:
        assert index.numel() <= WASTE * (index.numel() if mask is None else int(mask.sum())) + 1
    assert sum(len(index) for index, _ in plan.buckets) == 64
