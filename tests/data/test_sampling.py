"""Subsets: each node once, equal sizes, reproducible."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meshops.data.sampling import interleave, random_subset
from meshops.errors import InputError


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 99))
def test_interleaved_subsets_cover_every_node_once(n, size, seed):
    subsets = interleave(n, size, torch.Generator().manual_seed(seed))
    assert torch.cat(subsets).sort().values.tolist() == list(range(n))
    lengths = [len(s) for s in subsets]
    assert max(lengths) <= size and max(lengths) - min(lengths) <= 1


@given(st.integers(1, 50), st.integers(1, 80))
def test_random_subset_repeats_only_when_it_must(n, size):
    index = random_subset(n, size, torch.Generator().manual_seed(1))
    assert len(index) == size and index.unique().numel() == min(n, size)


def test_same_seed_same_subset():
    first, second = (random_subset(100, 10, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_errors():
    with pytest.raises(InputError, match="at least 1"):
        interleave(5, 0)
    with pytest.raises(InputError, match="empty"):
        random_subset(0, 5)
