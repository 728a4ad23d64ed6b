"""Edges of point clouds as transforms."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Batch

from meshops.data import KNNGraph, MeshGraph, RadiusGraph
from meshops.errors import DataWarning, InputError


def test_nearest_by_hand() -> None:
    graph = MeshGraph(pos=torch.tensor([[0.0], [1.0], [3.0]]))
    assert KNNGraph(k=1)(graph).edge_index.tolist() == [[1, 0, 1], [0, 1, 2]]
    assert KNNGraph(k=1, period=[3.5])(graph).edge_index.tolist() == [[2, 0, 0], [0, 1, 2]]
    assert KNNGraph(k=1, loop=True)(graph).edge_index.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert "edge_index" not in graph  # the input is left alone
    assert repr(KNNGraph(3)) == "KNNGraph(k=3)"


def test_batches_do_not_mix() -> None:
    graphs = [MeshGraph(pos=torch.rand(n, 3)) for n in (20, 9)]
    for transform in (KNNGraph(4), RadiusGraph(0.6)):
        batch = transform(Batch.from_data_list(graphs))
        alone = Batch.from_data_list([transform(graph) for graph in graphs])
        assert torch.equal(batch.edge_index, alone.edge_index)


def test_radius_says_when_it_cuts() -> None:
    graph = MeshGraph(pos=torch.tensor([[0.0], [1.0], [1.5]]))
    assert RadiusGraph(1.0)(graph).edge_index.tolist() == [[1, 2, 0, 1], [0, 1, 1, 2]]
    with pytest.warns(DataWarning, match=r"1 queries were cut, 0 found none \(radius 1, max_neighbors 1\)"):
        cut = RadiusGraph(1.0, max_neighbors=1)(graph)
    assert cut.edge_index.tolist() == [[1, 2, 1], [0, 1, 2]]
    assert repr(RadiusGraph(0.5)) == "RadiusGraph(radius=0.5)"


def test_too_few_nodes() -> None:
    with pytest.raises(InputError, match="k = 3 is larger than graph 0, which has 3 points"):
        KNNGraph(3)(MeshGraph(pos=torch.rand(3, 3)))
