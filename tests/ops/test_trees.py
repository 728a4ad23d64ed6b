"""Sums of trees: against a walk down each tree by hand, and the compiled version against the definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meshops.ops.dispatch import explain
from meshops.ops.kernels import trees_numba
from meshops.ops.trees import TreeTable, tree_sums


def random_trees(count: int, features: int, seed: int = 0) -> TreeTable:
    """Trees of random shape: every leaf is split while a coin says so."""
    generator = torch.Generator().manual_seed(seed)
    feature, threshold, child, value, root, depths = [], [], [], [], [], [0]

    def grow(depth: int) -> int:
        node = len(feature)
        feature.append(int(torch.randint(features, (), generator=generator)))
        threshold.append(float(torch.randn((), generator=generator)))
        value.append(float(torch.randn((), generator=generator)))
        child.append([node, node])
        depths.append(depth)
        if depth < 6 and float(torch.rand((), generator=generator)) < 0.75:
            child[node] = [grow(depth + 1), grow(depth + 1)]
        return node

    for _ in range(count):
        root.append(grow(0))
    whole = torch.int32
    return TreeTable(
        torch.tensor(feature, dtype=whole), torch.tensor(threshold), torch.tensor(child, dtype=whole),
        torch.tensor(value), torch.tensor(root, dtype=whole), torch.arange(count, dtype=whole) % 2, max(depths),
    )  # fmt: skip


def by_hand(x: Tensor, trees: TreeTable) -> Tensor:
    out = torch.zeros(len(x), 2)
    for i, row in enumerate(x):
        for root, channel in zip(trees.root.tolist(), trees.channel.tolist(), strict=True):
            node = root
            while trees.child[node, 0] != node:
                node = int(trees.child[node, int(row[trees.feature[node]] > trees.threshold[node])])
            out[i, channel] += trees.value[node]
    return out


@pytest.mark.parametrize("kernels", ["auto", "reference"])
def test_every_row_falls_to_its_leaf(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHOPS_KERNELS", kernels)
    trees, x = random_trees(7, 4), torch.randn(40, 4)
    torch.testing.assert_close(tree_sums(x, trees, 2), by_hand(x, trees))
    assert tree_sums(x[:0], trees, 2).shape == (0, 2)


def test_the_compiled_version_walks_as_by_hand_alone_and_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    trees, x = random_trees(9, 3, seed=2), torch.randn(50, 3)
    expected = by_hand(x, trees)
    for least in (trees_numba.SERIAL_BELOW, 0):
        monkeypatch.setattr(trees_numba, "SERIAL_BELOW", least)
        torch.testing.assert_close(trees_numba.tree_sums(x, *trees[:-1], 2), expected)


def test_a_value_at_the_threshold_goes_left_in_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.int32
    trees = TreeTable(
        torch.zeros(3, dtype=whole), torch.tensor([0.5, 0.0, 0.0]),
        torch.tensor([[1, 2], [1, 1], [2, 2]], dtype=whole), torch.tensor([0.0, 1.0, 2.0]),
        torch.zeros(1, dtype=whole), torch.zeros(1, dtype=whole), 1,
    )  # fmt: skip
    x = torch.tensor([[0.5], [0.5000001], [-9.0]])
    for kernels in ("auto", "reference"):
        monkeypatch.setenv("MESHOPS_KERNELS", kernels)
        assert tree_sums(x, trees, 1)[:, 0].tolist() == [1.0, 2.0, 1.0]


def test_many_rows_in_threads_are_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    trees, x = random_trees(60, 5), torch.randn(20_000, 5)
    whole = tree_sums(x, trees, 2)
    assert torch.equal(whole[1234:1300], tree_sums(x[1234:1300], trees, 2))
    monkeypatch.setenv("MESHOPS_KERNELS", "reference")
    torch.testing.assert_close(whole, tree_sums(x, trees, 2))


def test_which_version_runs() -> None:
    trees = random_trees(1, 2)
    assert explain(tree_sums, torch.zeros(3, 2), *trees, 2) == "numba: runs"
    assert "needs float32" in explain(tree_sums, torch.zeros(3, 2, dtype=torch.float64), *trees, 2)
