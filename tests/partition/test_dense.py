"""Rectangular patches of a batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.partition import BallTree, DensePatches, assign, dense_patches


def slots(patches: DensePatches, graph: int) -> list[list[int]]:
    """Nodes in each patch of a graph, without padding."""
    mask = torch.ones_like(patches.index, dtype=torch.bool) if patches.mask is None else patches.mask
    return [i[m].tolist() for i, m in zip(patches.index[graph], mask[graph], strict=True)]


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("sizes", [(64,), (50, 50), (100, 33, 70)])
@pytest.mark.parametrize("tree", [BallTree(8), BallTree(num_patches=8)], ids=repr)
def test_tree_patches_are_grouped_leaves(tree: BallTree, sizes: tuple[int, ...], group: int) -> None:
    pos = torch.rand(sum(sizes), 3)
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    patches = dense_patches(pos, ptr, partitioner=tree, group=group)
    assert patches.index.shape[2] % group == 0
    width = patches.index.shape[2] // group
    for graph, (start, end) in enumerate(zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)):
        leaves = tree.partition(pos[start:end])
        found = slots(patches, graph)
        count = leaves.num_patches // group
        assert found[count:] == [[]] * (len(found) - count)
        for p in range(count):
            for q in range(group):
                block = slice(q * width, (q + 1) * width)
                index = patches.index[graph, p, block]
                index = index if patches.mask is None else index[patches.mask[graph, p, block]]
                leaf = p * group + q
                own = leaves.perm[leaves.ptr[leaf] : leaves.ptr[leaf + 1]] + start
                assert torch.equal(index, own)
    assert sorted(i for g in range(len(sizes)) for patch in slots(patches, g) for i in patch) == list(range(len(pos)))


def test_sub_blocks_are_more_compact_than_their_patch() -> None:
    pos = torch.rand(1024, 3)
    patches = dense_patches(pos, partitioner=BallTree(num_patches=64), group=2)
    assert patches.mask is None and patches.index.shape == (1, 32, 32)

    def radius(index: Tensor) -> Tensor:
        points = pos[index]
        return (points - points.mean(1, keepdim=True)).norm(dim=2).amax(1).mean()

    assert radius(patches.index[0].view(64, 16)) < 0.9 * radius(patches.index[0])


def test_padding_points_at_nodes_of_the_same_patch() -> None:
    patches = dense_patches(torch.rand(21, 3), partitioner=BallTree(num_patches=8))
    assert patches.mask is not None
    for index, mask in zip(patches.index[0], patches.mask[0], strict=True):
        assert set(index[~mask].tolist()) <= set(index[mask].tolist())


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("sizes", [(10,), (10, 10), (10, 3, 0)])
def test_linear_patches_are_runs(sizes: tuple[int, ...], group: int) -> None:
    pos = torch.rand(sum(sizes), 3)
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    patches = dense_patches(pos, ptr, num_patches=4, group=group)
    assert patches.index.shape[2] == {1: 3, 2: 4}[group]
    for graph, n in enumerate(sizes):
        size = -(-n // 4)
        nodes = list(range(int(ptr[graph]), int(ptr[graph + 1])))
        assert slots(patches, graph) == [nodes[i * size : (i + 1) * size] for i in range(4)]
    by_size = dense_patches(pos, ptr, patch_size=4)
    for graph, n in enumerate(sizes):
        nodes = list(range(int(ptr[graph]), int(ptr[graph + 1])))
        runs = [nodes[i : i + 4] for i in range(0, n, 4)]
        assert slots(by_size, graph)[: len(runs)] == runs


def test_mask_is_none_when_all_slots_are_filled() -> None:
    assert dense_patches(torch.rand(64, 3), partitioner=BallTree(8)).mask is None
    assert dense_patches(torch.rand(63, 3), partitioner=BallTree(8)).mask is not None


def test_assign() -> None:
    leaf = torch.tensor([2, 0, 2, 5, 2, 0])
    patches = assign(leaf, 7)
    assert patches.index.shape == (1, 7, 3)
    assert slots(patches, 0) == [[1, 5], [], [0, 2, 4], [], [], [3], []]
    assert assign(leaf[:0], 3).index.shape == (1, 3, 0)


def test_errors() -> None:
    pos = torch.rand(40, 3)
    with pytest.raises(InputError, match="graph 1 has 1 patches, which cannot be joined in groups of 2"):
        dense_patches(pos, torch.tensor([0, 37, 40]), partitioner=BallTree(8), group=2)
    with pytest.raises(InputError, match="either num_patches or patch_size"):
        dense_patches(pos)
    with pytest.raises(InputError, match="either num_patches or patch_size"):
        dense_patches(pos, num_patches=2, patch_size=3)
