"""Neighbour search against brute force in float64, on every implementation that runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.ops import Neighbors, explain, farthest_point_sampling, knn_search, nearest, radius_search
from meshops.ops import neighbors as module
from meshops.ops.kernels import neighbors_numba, neighbors_tree
from meshops.ops.neighbors import _farthest_points, _knn_search, _radius_search


def ptr_of(*sizes: int) -> Tensor:
    return torch.tensor([0, *sizes]).cumsum(0)


def distances(points: np.ndarray, query: np.ndarray, period: list[float]) -> np.ndarray:
    """Squared, in float64, to the nearest image."""
    total = np.zeros(len(points))
    for axis, length in enumerate(period):
        gap = query[axis].astype(np.float64) - points[:, axis].astype(np.float64)
        if length > 0:
            gap -= length * np.rint(gap / length)
        total += gap * gap
    return total


def brute(
    points: Tensor, ptr: Tensor, queries: Tensor, queries_ptr: Tensor, skip_self: bool, period: list[float]
) -> Iterator[list[tuple[float, int]]]:
    """Of each query all points of its graph by (squared distance, index)."""
    for (start, end), (first, last) in zip(pairwise(ptr.tolist()), pairwise(queries_ptr.tolist()), strict=True):
        for query in range(first, last):
            squared = distances(points[start:end].numpy(), queries[query].numpy(), period)
            yield sorted((d, start + i) for i, d in enumerate(squared.tolist()) if not skip_self or start + i != query)


COORDINATES = {
    "random": lambda x: x,
    "lattice": lambda x: (x * 3).floor(),
    "one place": lambda x: x * 0 + 1,
    "collinear": lambda x: x[:, :1] * torch.ones(x.shape[1]),
    "coplanar": lambda x: torch.cat([x[:, :-1], x[:, :1] * 0], 1),
    "ratio of 10^7": lambda x: x * torch.logspace(0, -7, x.shape[1]),
}


@st.composite
def searches(draw: Callable[..., Any]) -> tuple[Tensor, Tensor, Tensor, Tensor, list[float]]:
    """Points, their graphs, queries, their graphs, periods."""
    dim = draw(st.integers(1, 3))
    sizes = draw(st.lists(st.integers(1, 50), min_size=1, max_size=3))
    counts = [draw(st.integers(0, 12)) for _ in sizes]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    kind = COORDINATES[draw(st.sampled_from(sorted(COORDINATES)))]
    points = kind(torch.rand(sum(sizes), dim, generator=generator, dtype=torch.float64)).to(dtype)
    queries = kind(torch.rand(sum(counts), dim, generator=generator, dtype=torch.float64) * 2 - 0.5).to(dtype)
    period = [draw(st.sampled_from([0.0, 0.0, 0.7, 2.0])) for _ in range(dim)]
    return points, ptr_of(*sizes), queries, ptr_of(*counts), period


def compare(search: tuple[Any, ...], knn: Callable[..., Any], radius: Callable[..., Any]) -> None:
    points, ptr, queries, queries_ptr, period = search
    for skip_self in (False, True):
        asked = (points, ptr) if skip_self else (queries, queries_ptr)
        expected = list(brute(points, ptr, *asked, skip_self, period))
        k = min([len(row) for row in expected], default=1)
        if k:
            index, squared = knn(points, ptr, *asked, k, skip_self, period)
            assert index.tolist() == [[i for _, i in row[:k]] for row in expected]
            assert squared.tolist() == [[d for d, _ in row[:k]] for row in expected]
        for limit, most in ((0.4, 0), (1.0, 2)):
            inside = [[(d, i) for d, i in row if d <= limit * limit] for row in expected]
            bounds, index, squared, found = radius(points, ptr, *asked, limit, most, skip_self, period)
            assert found.tolist() == [len(row) for row in inside]
            kept = [row[:most] if most else row for row in inside]
            assert bounds.diff().tolist() == [len(row) for row in kept]
            assert index.tolist() == [i for row in kept for _, i in row]
            assert squared.tolist() == [d for row in kept for d, _ in row]


@settings(max_examples=60, deadline=None)
@given(searches())
def test_numba_equals_brute_force(search: tuple[Any, ...]) -> None:
    compare(search, neighbors_numba.knn, neighbors_numba.radius)


@settings(max_examples=40, deadline=None)
@given(searches())
def test_definition_equals_brute_force(search: tuple[Any, ...]) -> None:
    compare(search, _knn_search.reference, _radius_search.reference)


@settings(max_examples=30, deadline=None)
@given(searches())
def test_tree_in_pytorch_equals_brute_force(search: tuple[Any, ...]) -> None:
    compare(search, neighbors_tree.knn, neighbors_tree.radius)


def test_tree_in_pytorch_in_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors_tree, "CHUNK", 500)
    points, ptr = torch.rand(700, 3), ptr_of(500, 0, 200)
    arguments = (points, ptr, points, ptr)
    for ours, definition in zip(
        neighbors_tree.knn(*arguments, 5, True, [0.0, 0.5, 0.0]),
        _knn_search.reference(*arguments, 5, True, [0.0, 0.5, 0.0]),
        strict=True,
    ):
        assert torch.equal(ours, definition)


@settings(max_examples=40, deadline=None)
@given(searches(), st.data())
def test_farthest_points_equal_the_definition(search: tuple[Any, ...], data: st.DataObject) -> None:
    points, ptr = search[:2]
    counts = [data.draw(st.integers(0, size)) for size in ptr.diff().tolist()]
    start = torch.tensor([data.draw(st.integers(int(a), int(b) - 1)) for a, b in pairwise(ptr)])
    ours = farthest_point_sampling(points, counts, ptr=ptr, start=start)
    assert torch.equal(ours, _farthest_points.reference(points, ptr, counts, start))


def test_farthest_points_by_hand() -> None:
    points = torch.tensor([[0.0], [1.0], [9.0], [5.0], [5.0]])
    assert farthest_point_sampling(points, 5).tolist() == [0, 2, 3, 1, 4]
    assert farthest_point_sampling(points, 2, start=torch.tensor([3])).tolist() == [3, 0]
    assert farthest_point_sampling(torch.zeros(0, 3), 0).tolist() == []


def test_many_points_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors_numba, "SERIAL_BELOW", 0)
    points = torch.rand(3000, 3)
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append((knn_search(points, 9), radius_search(points, 0.1, max_neighbors=5)))
    finally:
        torch.set_num_threads(threads)
    for one, three in zip(*found, strict=True):
        assert torch.equal(one.index, three.index) and torch.equal(one.ptr, three.ptr)


def test_crowded_queries_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    points = (torch.rand(400, 2) * 9).floor()
    found = radius_search(points, 20.0)  # all of them: more than are sorted by insertion
    monkeypatch.setenv("MESHOPS_KERNELS", "reference")
    assert torch.equal(found.index, radius_search(points, 20.0).index)


def test_equals_scipy_and_scikit_learn() -> None:
    scipy_spatial = pytest.importorskip("scipy.spatial")
    sklearn_neighbors = pytest.importorskip("sklearn.neighbors", reason="a test oracle")
    points, queries = torch.rand(2000, 3, dtype=torch.float64), torch.rand(300, 3, dtype=torch.float64)
    ours = knn_search(points, 7, queries)
    tree = scipy_spatial.cKDTree(points.numpy())
    distance, index = tree.query(queries.numpy(), 7)
    assert ours.index.view(-1, 7).tolist() == index.tolist()
    assert_close(ours.distance.view(-1, 7), torch.from_numpy(distance))
    theirs = sklearn_neighbors.NearestNeighbors(n_neighbors=7).fit(points.numpy()).kneighbors(queries.numpy())[1]
    assert ours.index.view(-1, 7).tolist() == theirs.tolist()
    inside = tree.query_ball_point(queries.numpy(), 0.2, return_sorted=True)
    near = radius_search(points, 0.2, queries)
    assert [sorted(part.tolist()) for part in near.index.tensor_split(near.ptr[1:-1])] == [list(row) for row in inside]
    periodic = scipy_spatial.cKDTree(points.numpy(), boxsize=1.0).query(queries.numpy(), 7)[1]
    assert knn_search(points, 7, queries, period=[1.0] * 3).index.view(-1, 7).tolist() == periodic.tolist()


def test_equals_torch_cluster() -> None:
    torch_cluster = pytest.importorskip("torch_cluster", reason="an oracle that has to be compiled")
    points, batch = torch.rand(300, 3), torch.tensor([0] * 100 + [1] * 200)
    ours = knn_search(points, 4, ptr=ptr_of(100, 200)).edge_index
    theirs = torch_cluster.knn_graph(points, 4, batch)
    assert {tuple(edge) for edge in ours.T.tolist()} == {tuple(edge) for edge in theirs.T.tolist()}
    sampled = torch_cluster.fps(points, torch.zeros(300, dtype=torch.long), 0.1, random_start=False)
    assert farthest_point_sampling(points, 30).tolist() == sampled.tolist()


def test_batch_equals_its_graphs() -> None:
    sizes = (30, 1, 200)
    points, ptr = torch.rand(sum(sizes), 3), ptr_of(*sizes)
    together = radius_search(points, 0.3, ptr=ptr)
    alone = [radius_search(points[a:b], 0.3) for a, b in pairwise(ptr)]
    assert together.index.tolist() == [
        i + int(a) for n, a in zip(alone, ptr[:-1], strict=True) for i in n.index.tolist()
    ]
    assert torch.equal(together.distance, torch.cat([n.distance for n in alone]))


def test_order_position_and_scale_of_the_points_do_not_matter() -> None:
    points = (torch.rand(200, 3) * 2**12).floor() / 2**12  # so that moving and scaling by powers of two is exact
    order = torch.randperm(200)
    place = torch.argsort(order)
    base = knn_search(points, 6)
    for moved in (points + 8, points * 2**20, points * 2**-30):
        assert torch.equal(knn_search(moved, 6).index, base.index)
    shuffled = knn_search(points[order], 6)
    distance = shuffled.distance.view(-1, 6)[place]
    assert torch.equal(distance, base.distance.view(-1, 6))
    assert torch.equal(order[shuffled.index].view(-1, 6)[place].sort(1).values, base.index.view(-1, 6).sort(1).values)


def test_form_of_the_result() -> None:
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [50.0, 0.0]])
    found = radius_search(points, 6.0, max_neighbors=1)
    assert found.ptr.tolist() == [0, 1, 2, 3, 3]
    assert found.edge_index.tolist() == [[2, 2, 0], [0, 1, 2]]
    assert_close(found.distance, torch.tensor([1.0, 18.0**0.5, 1.0]))
    assert found.found.tolist() == [2, 2, 2, 0] and found.num_cut == 3 and found.num_alone == 1
    assert found.report() == "4 queries, 3 neighbours (0 to 1 each); 3 queries were cut, 1 found none"
    assert radius_search(points, 0.5, loop=True).edge_index.tolist() == [[0, 1, 2, 3], [0, 1, 2, 3]]
    index, distance = nearest(points, torch.tensor([[2.0, 4.0], [100.0, 0.0]]))
    assert index.tolist() == [1, 3] and distance.tolist() == [1, 50]
    half = knn_search(points.half(), 1)
    assert half.distance.dtype == torch.float16 and half.index.tolist() == [2, 2, 0, 1]


def test_nothing_to_search() -> None:
    none = torch.zeros(0, 3)
    for found in (knn_search(none, 1), radius_search(none, 1.0), knn_search(torch.rand(4, 3), 2, none)):
        assert isinstance(found, Neighbors)
        assert found.ptr.tolist() == [0] and found.index.numel() == 0
        assert found.report().startswith("0 queries, 0 neighbours (0 to 0 each)")
    assert radius_search(torch.rand(1, 3), 1.0).num_alone == 1


def test_explain_names_the_implementation() -> None:
    points = torch.rand(5, 3)
    assert explain(knn_search, points) == "numba: runs"
    far = explain(knn_search, torch.rand(5, 3, device="meta"))
    assert "numba: needs CPU tensors" in far and "triton: needs CUDA tensors" in far and far.endswith("runs")
    assert "at most 3 dimensions" in module._triton_applies(torch.rand(5, 4))
    assert "k of at most 128" in module._triton_applies(points, None, None, None, 300, False, [0.0] * 3)


@pytest.mark.parametrize("choice", ["auto", "reference"])
def test_refusals(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHOPS_KERNELS", choice)
    points = torch.rand(5, 3)
    broken = points.clone()
    broken[3, 1] = torch.inf
    for message, call in {
        r"position 3 is \[.*inf": lambda: knn_search(broken, 1),
        r"query 3 is \[.*inf": lambda: radius_search(points, 1.0, broken),
        r"positions must be a float tensor \[n, d\], got \(5, 3\) of torch.int64": lambda: knn_search(points.long(), 1),
        r"got \(5,\) of torch.float32": lambda: knn_search(points[:, 0], 1),
        r"k = 5 is larger than graph 0, which has 5 points \(a point is not its own": lambda: knn_search(points, 5),
        r"k = 3 is larger than graph 1, which has 2 points": lambda: knn_search(
            points, 3, points, ptr=ptr_of(3, 2), queries_ptr=ptr_of(3, 2)
        ),
        "k must be at least 1, got 0": lambda: knn_search(points, 0),
        "radius must be positive and finite, got 0": lambda: radius_search(points, 0.0),
        "radius must be positive and finite, got -1": lambda: radius_search(points, -1),
        "radius must be positive and finite, got inf": lambda: radius_search(points, torch.inf),
        "radius must be positive and finite, got nan": lambda: radius_search(points, torch.nan),
        r"max_neighbors must be at least 1 \(None: no limit\), got 0": lambda: radius_search(
            points, 1.0, max_neighbors=0
        ),
        r"ptr\[1\] = 4 and ptr\[2\] = 2": lambda: knn_search(points, 1, ptr=torch.tensor([0, 4, 2, 5])),
        "end with the number of rows, 5; got .* = 6": lambda: knn_search(points, 1, ptr=torch.tensor([0, 6])),
        r"as many graphs as the points \(2\), got 1": lambda: knn_search(points, 1, points, ptr=ptr_of(3, 2)),
        r"like the points \(3 columns of torch.float32 on cpu\), got 2": lambda: knn_search(points, 1, points[:, :2]),
        "got 3 of torch.float64": lambda: knn_search(points, 1, points.double()),
        r"one entry per axis \(3\), got 1": lambda: knn_search(points, 1, period=[1.0]),
        r"period\[1\] is -2": lambda: knn_search(points, 1, period=[0.0, -2.0, 0.0]),
        "queries_ptr was given without queries": lambda: knn_search(points, 1, queries_ptr=ptr_of(5)),
        "graph 0 has 5 points, 6 cannot be chosen": lambda: farthest_point_sampling(points, 6),
        r"start\[0\] is 7": lambda: farthest_point_sampling(points, 2, start=torch.tensor([7])),
        r"one entry per graph \(1\), got 2": lambda: farthest_point_sampling(points, [1, 1]),
    }.items():
        with pytest.raises(InputError, match=message):
            call()
