"""Subsets: each node once, equal sizes, reproducible."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch

from meshops.data.grid import grid_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.data.sampling import Subsample, interleave, random_subset
from meshops.errors import InputError


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 99))
def test_interleaved_subsets_cover_every_node_once(n, size, seed):
    subsets = interleave(n, size, torch.Generator().manual_seed(seed))
    assert torch.cat(subsets).sort().values.tolist() == list(range(n))
    lengths = [len(s) for s in subsets]
    assert max(lengths) <= size and max(lengths) - min(lengths) <= 1
    assert all(torch.equal(s, s.sort().values) for s in subsets)


@given(st.integers(1, 50), st.integers(1, 80))
def test_random_subset_repeats_only_when_it_must(n, size):
    index = random_subset(n, size, torch.Generator().manual_seed(1))
    assert len(index) == size and index.unique().numel() == min(n, size)
    assert torch.equal(index, index.sort().values), "the order of the file is kept"


def test_same_seed_same_subset():
    first, second = (random_subset(100, 10, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_errors():
    with pytest.raises(InputError, match="at least 1"):
        interleave(5, 0)
    with pytest.raises(InputError, match="empty"):
        random_subset(0, 5)


def test_a_part_of_a_grid_is_free_points():
    grid = grid_graph(torch.randn(6, 5, 7, 2), constants=torch.rand(1, 6, 5), names=("a", "b"), trailing=2)
    part = Subsample(0.5, seed=3)(grid)
    assert part.location == "free" and part.get("grid_shape") is None and part.y.shape == (15, 7, 2)
    assert part.fields == ("a", "b")
    where = [int((grid.pos == p).all(1).nonzero()) for p in part.pos]
    assert where == sorted(set(where))
    assert torch.equal(grid.y[where], part.y) and torch.equal(grid.x[where], part.x)
    again, other = Subsample(0.5, seed=3)(grid), Subsample(0.5, seed=4)(grid)
    assert torch.equal(part.pos, again.pos) and not torch.equal(part.pos, other.pos)
    assert Subsample(1.0)(grid).y.shape == (30, 7, 2) and len(Subsample(1e-6)(grid).pos) == 1


def test_what_cannot_be_subsampled():
    with pytest.raises(InputError, match=r"fraction must be in \(0, 1\], got 2"):
        Subsample(2)
    graph = MeshGraph(pos=torch.rand(4, 2))
    with pytest.raises(InputError, match="before they are put into a batch"):
        Subsample(0.5)(Batch.from_data_list([graph, graph]))
