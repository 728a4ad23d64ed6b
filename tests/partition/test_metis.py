"""METIS patches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from meshops import optional
from meshops.data.edges import KNNGraph
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError, MissingPackageError
from meshops.partition import BallTree, Metis, Partition

needs_metis = pytest.mark.skipif(not optional.available("pymetis"), reason="needs the package pymetis")


def plate(side: int) -> MeshGraph:
    """Two sheets 0.01 apart, joined along one edge only: a folded plate."""
    x, y = torch.meshgrid(torch.arange(2 * side), torch.arange(side), indexing="ij")
    number = (x * side + y).flatten()
    along, across = (x < 2 * side - 1).flatten(), (y < side - 1).flatten()
    edges = torch.cat(
        [torch.stack([number[along], number[along] + side]), torch.stack([number[across], number[across] + 1])], 1
    )
    folded = torch.where(x < side, x, 2 * side - 1 - x)
    pos = torch.stack([folded, y, 0.01 * (x >= side)], 2).flatten(0, 1).float()
    return MeshGraph(pos=pos, edge_index=edges)


def num_cut(part: Partition, edges: Tensor) -> int:
    label = part.node_to_patch[edges]
    return int((label[0] != label[1]).sum())


@needs_metis
def test_cuts_few_edges_into_nearly_equal_patches() -> None:
    graph = plate(16)
    part = Partition.of(Metis(num_patches=8)(graph))
    assert part.perm.sort().values.tolist() == list(range(512))
    assert int(part.size.max()) <= 1.1 * 64 and int(part.size.min()) >= 0.9 * 64
    tree = BallTree(num_patches=8).partition(graph.pos)
    assert num_cut(part, graph.edge_index) <= num_cut(tree, graph.edge_index)
    assert num_cut(part, graph.edge_index) < 0.3 * graph.edge_index.shape[1]


@needs_metis
def test_batches_and_small_graphs() -> None:
    graphs = [plate(6), MeshGraph(pos=torch.zeros(1, 3), edge_index=torch.zeros(2, 0, dtype=torch.long)), plate(4)]
    part = Partition.of(Metis(patch_size=16)(Batch.from_data_list(graphs)))
    assert torch.bincount(part.batch).tolist() == [5, 1, 2]
    bounds = [0, 72, 73, 105]
    for graph in range(3):
        nodes = torch.cat([part.perm[part.ptr[i] : part.ptr[i + 1]] for i in (part.batch == graph).nonzero()[:, 0]])
        assert sorted(nodes.tolist()) == list(range(bounds[graph], bounds[graph + 1]))


@needs_metis
def test_refusals() -> None:
    graph = plate(3)
    with pytest.raises(InputError, match=r"edge_index\[1\] is 99"):
        Metis(2).partition(graph.pos, torch.tensor([[0, 99], [1, 2]]))
    with pytest.raises(InputError, match="leads out of graph 0"):
        Metis(2).partition(graph.pos, torch.tensor([[0], [17]]), torch.tensor([0, 9, 18]))


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="the graph has none; add some first"):
        Metis(2)(MeshGraph(pos=torch.rand(4, 3)))
    with pytest.raises(InputError, match="patch_size must be at least 1, got 0"):
        Metis(0)
    with pytest.raises(InputError, match="either patch_size or num_patches"):
        Metis(2, num_patches=3)
    assert repr(Metis(num_patches=3)) == "Metis(num_patches=3)"
    monkeypatch.setattr(optional, "available", lambda name: False)
    with pytest.raises(MissingPackageError, match=r"pip install 'meshops\[metis\]'"):
        Metis(2)(KNNGraph(2)(MeshGraph(pos=torch.rand(4, 3))))
