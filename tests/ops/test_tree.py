"""Median-split tree: the Numba twin against the PyTorch definition, both against the words of the docstring."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from meshops.errors import InputError
from meshops.ops import locate, median_split, node_boxes
from meshops.ops.kernels import tree_numba
from meshops.ops.tree import MedianSplit, _median_split


def ptr_of(*sizes: int) -> Tensor:
    return torch.tensor([0, *np.cumsum(sizes)])


def run_both(
    pos: Tensor, ptr: Tensor, levels: int | list[int], *, cyclic: bool = False
) -> tuple[MedianSplit, MedianSplit]:
    """The split by the definition and by Numba."""
    each = [levels] * (len(ptr) - 1) if isinstance(levels, int) else levels
    definition = MedianSplit(*_median_split.reference(pos, ptr, each, cyclic), tuple(each))
    return definition, MedianSplit(*tree_numba.median_split_numba(pos, ptr, each, cyclic), tuple(each))


def slow_tree(pos: np.ndarray, nodes: list[int], levels: int, cyclic: bool = False, depth: int = 0) -> list[list[int]]:
    """Leaves by recursion, as the docstring says it."""
    if levels == 0:
        return [sorted(nodes)]
    d = pos.shape[1]
    extent = pos[nodes].max(0) - pos[nodes].min(0) if nodes else np.zeros(d)
    axis = depth % d if cyclic else int(np.argmax(extent))
    nodes = sorted(nodes, key=lambda i: (*(pos[i, (axis + k) % d] for k in range(d)), i))
    middle = len(nodes) // 2
    halves = (nodes[:middle], nodes[middle:])
    return [leaf for half in halves for leaf in slow_tree(pos, half, levels - 1, cyclic, depth + 1)]


def leaves(split: MedianSplit) -> list[list[int]]:
    return [nodes.tolist() for nodes in split.perm.tensor_split(split.ptr[1:-1])]


def assert_same(first: MedianSplit, second: MedianSplit) -> None:
    for name, a, b in zip(first._fields, first, second, strict=True):
        assert a == b if name == "levels" else a.dtype == b.dtype and torch.equal(a, b), name


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


SHAPES = {
    "random": random(300, 3),
    "duplicates": random(20, 3).repeat(12, 1),
    "one place": torch.ones(33, 3),
    "collinear": torch.linspace(-1, 1, 77).unsqueeze(1) * torch.tensor([1.0, 2.0, -0.5]),
    "coplanar": random(128, 3) * torch.tensor([1.0, 1.0, 0.0]),
    "lattice": torch.cartesian_prod(*[torch.arange(6.0)] * 3),
    "one point": random(1, 3),
    "fewer than leaves": random(5, 3),
    "float64": random(90, 3, dtype=torch.float64),
    "1-D": random(65, 1),
    "2-D": random(130, 2),
    "neighbouring floats": 1 + torch.arange(9.0).unsqueeze(1) * 2**-23,
    "signed zeros": torch.tensor([[0.0, -0.0], [-0.0, 0.0], [0.0, 0.0], [-0.0, -0.0]]),
    "far away": 1e6 + random(200, 3),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("levels", [0, 1, 4])
@pytest.mark.parametrize("cyclic", [False, True])
def test_numba_equals_the_definition_and_the_recursion(name: str, levels: int, cyclic: bool) -> None:
    pos = SHAPES[name]
    definition, numba = run_both(pos, ptr_of(len(pos)), levels, cyclic=cyclic)
    assert_same(numba, definition)
    assert leaves(definition) == slow_tree(pos.double().numpy(), list(range(len(pos))), levels, cyclic)


@pytest.mark.parametrize("sizes", [(40, 40), (0, 17), (17, 0, 3), (1, 1, 1), (100, 2, 31), (0,), ()])
@pytest.mark.parametrize("ragged", [False, True])
def test_a_batch_is_split_like_its_graphs(sizes: tuple[int, ...], ragged: bool) -> None:
    pos, ptr = torch.rand(sum(sizes), 3), ptr_of(*sizes)
    levels = [3 + (2 * i - 1 if ragged else 0) for i in range(len(sizes))]
    both, numba = run_both(pos, ptr, levels)
    assert_same(numba, both)
    single = [run_both(pos[a:b], ptr_of(b - a), level)[0] for (a, b), level in zip(pairwise(ptr), levels, strict=True)]
    assert both.perm.tolist() == [i + int(a) for s, a in zip(single, ptr[:-1], strict=True) for i in s.perm.tolist()]
    for graph, part in enumerate(single):
        for ours, alone in zip(both.planes(graph), (part.axis, part.value), strict=True):
            assert torch.equal(ours, alone)


# Coarse values make ties and duplicates frequent.
POSITIONS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 70), st.integers(1, 3)),
    elements=st.one_of(st.integers(-3, 3).map(float), st.floats(-1e3, 1e3, width=32)),
)


@settings(max_examples=60, deadline=None)
@given(pos=POSITIONS, levels=st.integers(0, 5), cut=st.integers(0, 70))
def test_any_points(pos: np.ndarray, levels: int, cut: int) -> None:
    first = min(cut, len(pos))
    ptr = ptr_of(first, len(pos) - first)
    points = torch.from_numpy(pos)
    definition, split = run_both(points, ptr, levels)
    assert_same(split, definition)
    assert sorted(split.perm.tolist()) == list(range(len(pos)))
    for sizes in (split.ptr[1:] - split.ptr[:-1]).view(2, -1):
        assert int(sizes.max() - sizes.min()) <= 1


def test_halfway_between_subnormal_numbers() -> None:
    points = torch.tensor([[0.0], [-7.39136e-40]], dtype=torch.float32)
    assert_same(*run_both(points, ptr_of(2), 1))


@pytest.mark.parametrize("decimals", [0, 1, 2, 7])
def test_large_segments_use_sampling_and_threads(decimals: int) -> None:
    pos = torch.rand(5000, 3).round(decimals=decimals)
    with (
        mock.patch.object(tree_numba, "SERIAL_BELOW", 0),
        mock.patch.object(tree_numba, "SHARED_ABOVE", 300),
        mock.patch("torch.get_num_threads", return_value=3),
    ):
        definition, threaded = run_both(pos, ptr_of(3000, 2000), [4, 5])
    assert_same(threaded, definition)


def test_boxes_enclose_their_points() -> None:
    pos, ptr = torch.rand(70, 3), ptr_of(50, 0, 20)
    split = median_split(pos, ptr, [3, 1, 0])
    low, high = node_boxes(pos, split)
    start = 0
    for graph, level in enumerate(split.levels):
        rows = pos[ptr[graph] : ptr[graph + 1]]
        if len(rows):
            assert torch.equal(low[start], rows.amin(0)) and torch.equal(high[start], rows.amax(0))
        else:
            assert bool((low[start] == torch.inf).all() and (high[start] == -torch.inf).all())
        start += 2 ** (level + 1) - 1
    assert len(low) == start
    for leaf, nodes in enumerate(leaves(split)[:8]):  # of the first graph
        assert torch.equal(low[7 + leaf], pos[nodes].amin(0)) and torch.equal(high[7 + leaf], pos[nodes].amax(0))


def test_refusals() -> None:
    pos = torch.rand(4, 3)
    with pytest.raises(InputError, match=r"position 2 is \[.*nan"):
        median_split(pos.index_put((torch.tensor(2), torch.tensor(1)), torch.tensor(torch.nan)), ptr_of(4), 1)
    with pytest.raises(InputError, match=r"levels\[1\] is -1; a tree has 0 to 31 levels"):
        median_split(pos, ptr_of(2, 2), [0, -1])
    with pytest.raises(InputError, match=r"one entry per graph \(1\), got 2"):
        median_split(pos, ptr_of(4), [1, 1])
    with pytest.raises(InputError, match=r"end with the number of rows, 4"):
        median_split(pos, ptr_of(5), 1)
    with pytest.raises(InputError, match=r"float tensor \[n, d\], got \(4,\)"):
        median_split(pos[:, 0], ptr_of(4), 1)


def test_input_is_not_changed() -> None:
    pos = torch.rand(50, 3)
    before = pos.clone()
    median_split(pos, ptr_of(50), 3)
    assert torch.equal(pos, before)


TIED = ("duplicates", "one place", "signed zeros", "lattice", "far away")


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in TIED])
def test_locate_finds_the_leaf_of_every_point(name: str) -> None:
    pos = SHAPES[name]
    split = median_split(pos, ptr_of(len(pos)), 3)
    leaf = torch.empty(len(pos), dtype=torch.long)
    leaf[split.perm] = torch.repeat_interleave(torch.arange(8), split.ptr[1:] - split.ptr[:-1])
    assert torch.equal(locate(pos, *split.planes()), leaf)


def test_locate_splits_space_halfway() -> None:
    split = median_split(torch.tensor([[0.0], [1.0], [4.0], [5.0]]), ptr_of(4), 2)
    assert split.value.tolist() == [2.5, 0.5, 4.5]
    found = locate(torch.tensor([[-9.0], [0.6], [2.4], [2.5], [4.6]]), *split.planes())
    assert found.tolist() == [0, 1, 1, 2, 3]
    assert locate(torch.zeros(2, 1), split.axis[:0], split.value[:0]).tolist() == [0, 0]


@pytest.mark.skipif(importlib.util.find_spec("balltree") is None, reason="needs balltree-erwin")
@pytest.mark.parametrize("levels", [5, 8])
def test_patches_are_as_compact_as_those_of_balltree_erwin(levels: int) -> None:
    import balltree

    pos = torch.rand(2**13, 3)
    n = len(pos)
    theirs = torch.as_tensor(balltree.partition_balltree(pos, torch.zeros(n, dtype=torch.long), levels))
    ours = median_split(pos, ptr_of(n), levels).perm

    def mean_radius(perm: Tensor) -> float:
        patch = pos[perm].view(2**levels, -1, 3)
        return float((patch - patch.mean(1, keepdim=True)).norm(dim=2).amax(1).mean())

    assert mean_radius(ours) == pytest.approx(mean_radius(theirs), rel=0.01)
    theirs_as_sets = {frozenset(nodes) for nodes in theirs.view(2**levels, -1).tolist()}
    assert theirs_as_sets == {frozenset(nodes) for nodes in ours.view(2**levels, -1).tolist()}
