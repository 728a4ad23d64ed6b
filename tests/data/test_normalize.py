"""Statistics: exact merging, no negative variance, no division by zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from meshops.data.normalize import Normalizer, Statistics
from meshops.errors import InputError


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.floats(-1e6, 1e6), st.integers(0, 999))
def test_merging_equals_all_rows_at_once(sizes, offset, seed):
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(size, 3, generator=generator, dtype=torch.float64) + offset for size in sizes]
    merged, whole = Statistics.over(parts), torch.cat(parts)
    assert merged.count == len(whole)
    assert_close(merged.mean, whole.mean(0), rtol=1e-12, atol=1e-12)
    assert_close(merged.std, whole.std(0, unbiased=False), rtol=1e-7, atol=1e-9)
    assert_close(merged.low, whole.amin(0))


def test_tiny_variance_on_a_large_offset_is_right():
    """Sum of squares in float32 gives a negative variance here (a known crash of a peer)."""
    values = 1e5 + torch.tensor([0.0, 1e-2]).repeat(5000).unsqueeze(1).double()
    assert float(Statistics.of(values).std) == pytest.approx(5e-3, rel=1e-6)


def test_normalizer_inverts_and_keeps_constant_channels():
    values = torch.stack([torch.randn(100) * 5 + 3, torch.full((100,), 7.0)], 1)
    norm = Normalizer.from_statistics(Statistics.of(values))
    out = norm(values)
    assert_close(out.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    assert_close(out[:, 0].std(unbiased=False), torch.tensor(1.0))
    assert not out[:, 1].any()
    assert_close(norm.inverse(out), values)


def test_empty_split():
    with pytest.raises(InputError, match="empty"):
        Statistics.over([])
