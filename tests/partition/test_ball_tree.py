"""Ball tree partitioner."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Batch, Data

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.partition import BallTree, Partition
from meshops.partition.ball_tree import turned
from meshops.testing import check_partitioner, random_graphs


def patch_sets(part: Partition, order: Tensor | None = None) -> set[frozenset[int]]:
    perm = part.perm if order is None else order[part.perm]
    return {frozenset(nodes.tolist()) for nodes in perm.tensor_split(part.ptr[1:-1])}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    "tree",
    [
        BallTree(8),
        BallTree(1),
        BallTree(1000),
        BallTree(num_patches=16),
        BallTree(8, axes="cyclic"),
        BallTree(8, angle=45),
    ],
    ids=repr,
)
def test_shared_checks(tree: BallTree, dim: int) -> None:
    check_partitioner(tree, dim=dim)


@pytest.mark.parametrize(("n", "patch_size", "expected"), [(100, 100, 1), (101, 100, 2), (1000, 7, 256), (1, 5, 1)])
def test_number_of_patches(n: int, patch_size: int, expected: int) -> None:
    part = BallTree(patch_size).partition(torch.rand(n, 3))
    assert part.num_patches == expected
    assert int(part.size.max()) <= patch_size
    assert int(part.size.max() - part.size.min()) <= 1


def test_published_mesh_size_has_masked_slots_instead_of_fake_points() -> None:
    part = BallTree(num_patches=256).partition(torch.rand(32_186, 3))
    assert part.size.unique().tolist() == [125, 126]  # ShapeNet-Car: 32,186 = 256 * 125 + 186
    index, mask = part.pad()
    assert index.shape == (256, 126) and int((~mask).sum()) == 256 * 126 - 32_186


@pytest.mark.parametrize("factor", [0.25, 4.0, 2.0**40])
def test_scaling_keeps_the_patches(factor: float) -> None:
    pos = torch.rand(200, 3)
    tree = BallTree(16)
    assert torch.equal(tree.partition(pos * factor).perm, tree.partition(pos).perm)


def test_translation_keeps_the_patches() -> None:
    pos = torch.randint(0, 2**10, (200, 3)) / 2**10  # exact under the shift
    tree = BallTree(16)
    assert torch.equal(tree.partition(pos + 32).perm, tree.partition(pos).perm)


def test_order_of_points_does_not_matter() -> None:
    pos, order = torch.rand(500, 3), torch.randperm(500)
    tree = BallTree(num_patches=32)
    assert patch_sets(tree.partition(pos)) == patch_sets(tree.partition(pos[order]), order)


def test_reference_kernel_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pos, ptr = torch.rand(300, 3), torch.tensor([0, 100, 100, 300])
    fast = BallTree(10).partition(pos, ptr)
    monkeypatch.setenv("MESHOPS_KERNELS", "reference")
    slow = BallTree(10).partition(pos, ptr)
    for name in ("perm", "ptr", "level", "center", "radius", "batch"):
        assert torch.equal(getattr(fast, name), getattr(slow, name)), name


def test_empty_graph_in_a_batch() -> None:
    ptr = torch.tensor([0, 30, 30, 50])
    part = BallTree(8).partition(torch.rand(50, 3), ptr)
    assert part.batch.tolist() == [0] * 4 + [1] + [2] * 4
    assert part.level.tolist() == [2] * 4 + [0] + [2] * 4
    assert part.size[4] == 0


def test_batch_without_ptr() -> None:
    graphs = random_graphs([40, 25])
    batch = Batch.from_data_list(graphs)
    plain = Data(pos=batch.pos, batch=batch.batch)
    assert torch.equal(BallTree(8)(plain).patch_index, BallTree(8)(batch).patch_index)
    with pytest.raises(InputError, match="'batch' must be sorted"):
        BallTree(8)(Data(pos=batch.pos, batch=batch.batch.flip(0)))


@pytest.mark.parametrize("sizes", [(100,), (100, 9, 1, 33)])
@pytest.mark.parametrize("tree", [BallTree(8), BallTree(num_patches=8)], ids=repr)
def test_hierarchy_joins_sibling_patches(tree: BallTree, sizes: tuple[int, ...]) -> None:
    pos = torch.rand(sum(sizes), 3)
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    levels = tree.hierarchy(pos, ptr)
    finest = tree.partition(pos, ptr)
    assert torch.equal(levels[0].ptr, finest.ptr)
    assert levels[len(levels) - 1].num_patches == len(sizes)
    for fine, coarse, parent in zip(levels.partitions, levels.partitions[1:], levels.parents, strict=False):
        for graph in range(len(sizes)):
            before, after = int((fine.batch == graph).sum()), int((coarse.batch == graph).sum())
            assert after == max(1, before // 2)
        assert torch.equal(coarse.size, torch.zeros_like(coarse.size).index_add(0, parent, fine.size))
        assert torch.equal(parent[fine.node_to_patch], coarse.node_to_patch)
        assert torch.equal(coarse.batch[parent], fine.batch)
        sets = patch_sets(coarse)
        assert all(any(small <= big for big in sets) for small in patch_sets(fine))


def test_a_coarser_level_is_the_coarser_tree() -> None:
    pos = torch.rand(96, 3)
    levels = BallTree(num_patches=16).hierarchy(pos)
    for level, count in enumerate((16, 8, 4, 2, 1)):
        assert patch_sets(levels[level]) == patch_sets(BallTree(num_patches=count).partition(pos))


class Partitioned(Dataset[MeshGraph]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> MeshGraph:
        graph: MeshGraph = BallTree(64)(random_graphs([30_000], seed=index)[0])
        return graph


def test_runs_in_forked_workers_after_it_ran_in_the_parent() -> None:
    data = Partitioned()
    expected = [data[i].patch_index for i in range(4)]
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork")
    for graph, perm in zip(loader, expected, strict=True):
        assert torch.equal(graph.patch_index, perm)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_positions_must_be_finite(bad: float) -> None:
    pos = torch.zeros(9, 3)
    pos[4, 1] = bad
    with pytest.raises(InputError, match=r"position 4 is \[0.0, (nan|inf), 0.0\]; positions must be finite"):
        BallTree(2).partition(pos)


def test_other_errors() -> None:
    with pytest.raises(InputError, match="either patch_size or num_patches"):
        BallTree()
    with pytest.raises(InputError, match="either patch_size or num_patches"):
        BallTree(4, num_patches=4)
    with pytest.raises(InputError, match="power of two, got 170; try 128 or 256"):
        BallTree(num_patches=170)
    with pytest.raises(InputError, match="at least 1, got 0"):
        BallTree(0)
    with pytest.raises(InputError, match=r"float tensor \[n, d\], got \(5,\)"):
        BallTree(2).partition(torch.rand(5))
    with pytest.raises(InputError, match="int64"):
        BallTree(2).partition(torch.zeros(5, 3, dtype=torch.long))


def test_a_turned_tree_cuts_otherwise_and_keeps_the_places() -> None:
    pos = torch.rand(300, 3)
    straight, turned_tree = BallTree(16).partition(pos), BallTree(16, angle=45).partition(pos)
    assert patch_sets(straight) != patch_sets(turned_tree)
    first = turned_tree.perm[: int(turned_tree.size[0])]
    torch.testing.assert_close(turned_tree.center[0], pos[first].mean(0))
    assert BallTree(16, angle=360.0).partition(pos).perm.tolist() == straight.perm.tolist()


def test_turning_is_a_rotation_about_x_then_y_then_z() -> None:
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    pos = torch.rand(20, 3, dtype=torch.float64)
    expected = pos.numpy() @ rotation.from_euler("xyz", [30, 30, 30], degrees=True).as_matrix()
    torch.testing.assert_close(turned(pos, 30), torch.from_numpy(expected))
    flat = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(turned(flat, 90), torch.tensor([[0.0, -1.0]], dtype=torch.float64))
    with pytest.raises(InputError, match="2 or 3 dimensions, got 1"):
        turned(pos[:, :1], 30)


@pytest.mark.parametrize("dim", [2, 3])
def test_turns_as_balltree_erwin_does(dim: int) -> None:
    balltree = pytest.importorskip("balltree", reason="an oracle that has to be compiled")
    pos = torch.rand(20, dim)
    torch.testing.assert_close(turned(pos, 45), pos @ balltree.generate_rotation_matrix(45.0, dim, pos.device))


def test_graphs_of_any_sizes_in_one_call() -> None:
    sizes = (300, 0, 7, 64)
    pos, ptr = torch.rand(sum(sizes), 3), torch.tensor([0, *sizes]).cumsum(0)
    tree = BallTree(16)
    together = tree.partition(pos, ptr)
    perms = [tree.partition(pos[a:b]).perm + a for a, b in pairwise(ptr)]
    assert torch.equal(together.perm, torch.cat(perms))
    assert torch.bincount(together.batch).tolist() == [32, 1, 1, 4]


def test_small_graphs_have_at_least_multiple_patches() -> None:
    sizes = (100, 9, 1)
    part = BallTree(16, multiple=4).partition(torch.rand(sum(sizes), 3), torch.tensor([0, *sizes]).cumsum(0))
    assert torch.bincount(part.batch).tolist() == [8, 4, 4]


def test_settings_are_checked_and_shown() -> None:
    assert repr(BallTree(8, multiple=4)) == "BallTree(patch_size=8, multiple=4)"
    with pytest.raises(InputError, match="multiple must be a power of two, got 3"):
        BallTree(8, multiple=3)
    assert repr(BallTree(8, axes="cyclic", angle=45)) == "BallTree(patch_size=8, axes='cyclic', angle=45)"
    with pytest.raises(InputError, match="'widest' or 'cyclic', got 'x'"):
        BallTree(8, axes="x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="angle must be finite, degrees, got inf"):
        BallTree(8, angle=float("inf"))
