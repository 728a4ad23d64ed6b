"""Partition and Hierarchy against loops, and through PyG batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch_geometric.data import Batch, Data

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.partition import BallTree, Hierarchy, Partition

POS = torch.tensor([[0.0, 0], [4, 0], [0, 2], [5, 5], [9, 1], [4, 2]])
MEMBERS = [[2, 0], [], [1, 5, 4], [3]]


def partition() -> Partition:
    perm = torch.tensor([node for patch in MEMBERS for node in patch])
    ptr = torch.tensor([0, 2, 2, 5, 6])
    return Partition.from_order(POS, perm, ptr)


def test_from_order() -> None:
    part = partition()
    assert (part.num_nodes, part.num_patches) == (6, 4)
    assert part.size.tolist() == [2, 0, 3, 1]
    assert part.node_to_patch.tolist() == [0, 2, 0, 3, 2, 2]
    assert_close(part.center, torch.tensor([[0, 1], [0, 0], [17 / 3, 1], [5, 5]]))
    farthest = (POS[[1, 5, 4]] - part.center[2]).norm(dim=1).max()
    assert_close(part.radius, torch.stack([torch.tensor(1.0), torch.tensor(0.0), farthest, torch.tensor(0.0)]))


@pytest.mark.parametrize("reduce", ["mean", "sum", "max"])
def test_pool_and_unpool(reduce: Any) -> None:
    part, values = partition(), torch.randn(6, 3, 2)
    expected = torch.zeros(4, 3, 2)
    for i, members in enumerate(MEMBERS):
        if members:
            rows = values[members]
            expected[i] = {"mean": rows.mean(0), "sum": rows.sum(0), "max": rows.amax(0)}[reduce]
    pooled = part.pool(values, reduce)
    assert_close(pooled, expected)
    spread = part.unpool(pooled)
    for i, members in enumerate(MEMBERS):
        for node in members:
            assert torch.equal(spread[node], pooled[i])


def test_pad() -> None:
    part = partition()
    for width in (None, 5):
        index, mask = part.pad(width)
        assert index.shape == mask.shape == (4, width or 3)
        for i, members in enumerate(MEMBERS):
            assert index[i][mask[i]].tolist() == members
            assert set(index[i][~mask[i]].tolist()) <= ({members[0]} if members else set(range(6)))


def test_to_graph_joins_patches_that_share_an_edge() -> None:
    edges = torch.tensor([[0, 2, 0, 4], [2, 1, 5, 3]])  # 0-2 lies inside a patch
    graph = partition().to_graph(edges)
    assert set(map(tuple, graph.edge_index.T.tolist())) == {(0, 2), (2, 0), (2, 3), (3, 2)}
    assert graph.num_nodes == 4 and graph.patch_size.tolist() == [2, 0, 3, 1]


def test_to_graph_without_edges_joins_nearest_patches_of_the_same_graph() -> None:
    pos = torch.rand(120, 3)
    part = BallTree(num_patches=8).partition(pos, torch.tensor([0, 70, 120]))
    pairs = set(map(tuple, part.to_graph(num_neighbors=2).edge_index.T.tolist()))
    expected = set()
    for i in range(16):
        others = [j for j in range(16) if j != i and part.batch[j] == part.batch[i]]
        others.sort(key=lambda j: float((part.center[i] - part.center[j]).norm()))
        expected |= {(i, j) for j in others[:2]} | {(j, i) for j in others[:2]}
    assert pairs == expected


def test_empty_patches_are_nobodys_neighbor() -> None:
    assert 1 not in partition().to_graph(num_neighbors=3).edge_index
    assert BallTree(9).partition(torch.rand(5, 3)).to_graph().edge_index.shape == (2, 0)


def test_to_hetero() -> None:
    part = partition()
    edges = torch.tensor([[0, 1], [1, 3]])
    hetero = part.to_hetero(Data(pos=POS, x=torch.ones(6, 1), edge_index=edges))
    up = hetero["mesh", "in", "patch"].edge_index
    assert torch.equal(up[1][up[0].argsort()], part.node_to_patch)
    assert torch.equal(hetero["patch", "has", "mesh"].edge_index, up.flip(0))
    assert torch.equal(hetero["patch", "near", "patch"].edge_index, part.to_graph(edges).edge_index)
    assert torch.equal(hetero["mesh", "edge", "mesh"].edge_index, edges)
    assert_close(hetero["patch"].pos, part.center)
    assert hetero["patch"].patch_size.tolist() == [2, 0, 3, 1]
    assert hetero["mesh"].x.shape == (6, 1) and "y" not in hetero["mesh"]
    assert ("mesh", "edge", "mesh") not in part.to_hetero(Data(pos=POS)).edge_types


def test_to_pyvista() -> None:
    cloud = partition().to_pyvista(POS)
    assert_close(torch.tensor(cloud.points[:, :2]), POS)
    assert cloud.points[:, 2].tolist() == [0] * 6
    assert cloud.point_data["patch"].tolist() == [0, 2, 0, 3, 2, 2]


@pytest.mark.parametrize("sizes", [(30, 30), (100, 3, 1, 17), (1, 1), (2, 0, 5)])
@pytest.mark.parametrize("tree", [BallTree(8), BallTree(num_patches=8)], ids=repr)
def test_stored_patches_survive_batching(tree: BallTree, sizes: tuple[int, ...]) -> None:
    graphs = [tree(MeshGraph(pos=torch.rand(n, 3))) for n in sizes]
    part = Partition.of(Batch.from_data_list(graphs))
    node, patch = 0, 0
    for i, graph in enumerate(graphs):
        single = Partition.of(graph)
        mine = part.batch == i
        assert int(mine.sum()) == single.num_patches
        assert torch.equal(part.size[mine], single.size)
        assert torch.equal(part.level[mine], single.level)
        assert_close(part.center[mine], single.center)
        assert torch.equal(part.perm[node : node + sizes[i]], single.perm + node)
        assert torch.equal(part.node_to_patch[node : node + sizes[i]], single.node_to_patch + patch)
        node, patch = node + sizes[i], patch + single.num_patches
    assert [Partition.of(g).num_nodes for g in Batch.from_data_list(graphs).to_data_list()] == list(sizes)


def test_empty_patches_at_the_end_stay_with_their_graph() -> None:
    one = Partition.from_order(torch.rand(2, 3), torch.tensor([1, 0]), torch.tensor([0, 2, 2, 2]))
    graphs = [one.store(MeshGraph(pos=torch.rand(2, 3))) for _ in range(2)]
    assert Partition.of(Batch.from_data_list(graphs)).batch.tolist() == [0, 0, 0, 1, 1, 1]


def test_patches_of_plain_data_are_kept_in_a_batch() -> None:
    graphs = [BallTree(4)(Data(pos=torch.rand(n, 3))) for n in (9, 1, 30)]
    part, single = Partition.of(Batch.from_data_list(graphs)), [Partition.of(graph) for graph in graphs]
    assert torch.equal(part.perm, torch.cat([p.perm + first for p, first in zip(single, (0, 9, 10), strict=True)]))
    assert part.batch.tolist() == [i for i, p in enumerate(single) for _ in range(p.num_patches)]


def test_hierarchy_from_partitions() -> None:
    fine = partition()
    coarse = Partition.from_order(POS, torch.tensor([3, 0, 2, 5, 4, 1]), torch.tensor([0, 3, 6]))
    levels = Hierarchy.from_partitions([fine, coarse])
    assert len(levels) == 2 and levels[1] is coarse
    parents: Tensor = levels.parents[0]
    assert parents[[0, 2, 3]].tolist() == [0, 1, 0]


def test_hierarchy_must_be_nested() -> None:
    fine = partition()
    other = Partition.from_order(POS, torch.tensor([3, 0, 2, 1, 4, 5]), torch.tensor([0, 4, 6]))
    with pytest.raises(InputError, match="partition 0 is not nested in partition 1: a patch has two parents"):
        Hierarchy.from_partitions([fine, other])


def test_errors() -> None:
    part = partition()
    with pytest.raises(InputError, match="apply a partitioner first"):
        Partition.of(MeshGraph(pos=POS))
    with pytest.raises(InputError, match="'mean', 'sum', 'max', 'min' or 'attention', got 'median'"):
        part.pool(POS, "median")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"one row per node \(6\), got 5"):
        part.pool(POS[:5])
    with pytest.raises(InputError, match=r"one row per patch \(4\), got 6"):
        part.unpool(POS)
    with pytest.raises(InputError, match=r"at least the largest patch \(3\), got 2"):
        part.pad(2)


def test_to_device() -> None:
    part = partition().to("meta")
    assert part.perm.is_meta and part.center.is_meta


def clusters() -> tuple[Tensor, Partition]:
    """Random nodes of two graphs with an empty patch among theirs."""
    pos = torch.rand(11, 2)
    perm = torch.tensor([2, 0, 1, 4, 3, 5, 9, 6, 7, 10, 8])
    ptr, batch = torch.tensor([0, 3, 6, 6, 9, 11]), torch.tensor([0, 0, 0, 1, 1])
    return pos, Partition.from_order(pos, perm, ptr, batch=batch)


def test_attention_pooling_equals_a_loop() -> None:
    _, part = clusters()
    values, score = (torch.randn(11, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    score_one = score[:, :1]
    out = part.pool(values, "attention", score=score_one)
    for i, nodes in enumerate(part.perm.tensor_split(part.ptr[1:-1])):
        torch.testing.assert_close(out[i], (score_one[nodes].softmax(0) * values[nodes]).sum(0))
    assert torch.autograd.gradcheck(lambda v, s: part.pool(v, "attention", score=s), (values, score))
    assert part.pool(values, "min")[0].tolist() == values[[2, 0, 1]].amin(0).tolist()
    with pytest.raises(InputError, match="score is needed for reduce='attention' and for no other"):
        part.pool(values, "attention")
    with pytest.raises(InputError, match="score is needed"):
        part.pool(values, "mean", score=score)


def test_inverse_distance_interpolates_between_centers_of_the_graph() -> None:
    pos, part = clusters()
    own = torch.tensor([1.0, 2.0, 50.0, 3.0, 4.0])  # 50 belongs to the empty patch
    out = part.unpool(own, "inverse_distance", pos=pos)
    assert bool((out[part.perm[:6]] >= 1).all() and (out[part.perm[:6]] <= 2).all())  # the first graph
    assert bool((out[part.perm[6:]] >= 3).all() and (out[part.perm[6:]] <= 4).all())
    at_centers = pos.clone()
    at_centers[part.perm[:3]] = part.center[0]
    assert part.unpool(own, "inverse_distance", pos=at_centers)[part.perm[:3]].tolist() == [1, 1, 1]
    values = own.double().unsqueeze(1).expand(-1, 2).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: part.unpool(v, "inverse_distance", pos=pos), (values,))
    with pytest.raises(InputError, match="'inverse_distance' with pos, got 'inverse_distance'"):
        part.unpool(own, "inverse_distance")


def test_inverse_distance_is_smoother_than_a_copy() -> None:
    pos = torch.rand(4000, 3)
    part = BallTree(32).partition(pos)
    field = pos @ torch.tensor([1.0, -2.0, 0.5])
    means = part.pool(field)
    errors = [(part.unpool(means, method, pos=pos) - field).norm() for method in ("inverse_distance", "copy")]
    assert errors[0] < errors[1]


def test_pooling_along_a_hierarchy() -> None:
    pos, ptr = torch.rand(70, 3), torch.tensor([0, 50, 70])
    hierarchy = BallTree(8).hierarchy(pos, ptr)
    top = len(hierarchy) - 1
    values = torch.randn(70, 2)
    fine = hierarchy[0]
    for reduce in ("mean", "sum", "max", "min"):
        at_once = hierarchy[top].pool(values, reduce)
        torch.testing.assert_close(hierarchy.pool(fine.pool(values, reduce), reduce, to=top), at_once)
        step = fine.pool(values, reduce)
        for level in range(top):
            step = hierarchy.pool(step, reduce, level=level)
        torch.testing.assert_close(step, at_once)
    coarse = hierarchy[2].pool(values)
    assert torch.equal(hierarchy.unpool(coarse, level=2, to=0)[fine.node_to_patch], coarse[hierarchy[2].node_to_patch])
    assert torch.equal(hierarchy.ancestors(1, 1), torch.arange(hierarchy[1].num_patches))


def test_pooling_along_a_hierarchy_leaves_out_empty_patches() -> None:
    hierarchy = BallTree(num_patches=8).hierarchy(-torch.ones(3, 2))
    assert 0 in hierarchy[0].size.tolist()
    values = hierarchy[0].pool(torch.tensor([-1.0, -2.0, -3.0]), "max")
    assert hierarchy.pool(values, "max", to=len(hierarchy) - 1).tolist() == [-1]
    with pytest.raises(InputError, match=r"levels must rise within 0 .. 3, got level=2 and to=1"):
        hierarchy.pool(values, level=2, to=1)
    with pytest.raises(InputError, match=r"one row per patch \(8\), got 3"):
        hierarchy.pool(torch.zeros(3))
    with pytest.raises(InputError, match="'mean', 'sum', 'max' or 'min', got 'median'"):
        hierarchy.pool(values, "median")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"levels must fall within 3 .. 0, got level=0 and to=1"):
        hierarchy.unpool(values, level=0, to=1)
    with pytest.raises(InputError, match=r"one row per patch \(1\), got 8"):
        hierarchy.unpool(values, level=3, to=0)


def test_many_patches_find_their_neighbors_without_a_table_of_all_pairs() -> None:
    part = BallTree(num_patches=2**15).partition(torch.rand(40_000, 3))
    graph = part.to_graph()  # all pairs would be 8 GB
    assert graph.num_nodes == 2**15 and graph.edge_index.shape[1] >= 6 * 2**15
