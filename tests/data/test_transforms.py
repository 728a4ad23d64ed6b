"""Every transform of the library takes plain PyG ``Data`` and batches of it, and works in a ``Compose``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform, Compose

import meshops
from meshops import optional
from meshops.data import KNNGraph, MeshGraph, RadiusGraph, Subsample
from meshops.errors import InputError
from meshops.partition import (
    BallTree,
    Cover,
    CurvePatches,
    Metis,
    Octree,
    Partition,
    RefineByCriteria,
    SameSizeKMeans,
    TokenBudget,
)

BATCHED = {
    "ball_tree": BallTree(patch_size=8),
    "curve": CurvePatches(patch_size=8),
    "kmeans": SameSizeKMeans(patch_size=8),
    "octree": Octree(capacity=8),
    "octree of free depth": Octree(capacity=1, balance=True),
    "metis": Compose([KNNGraph(3), Metis(patch_size=8)]),
    "knn": KNNGraph(k=3),
    "radius": RadiusGraph(0.4),
    "budget": TokenBudget(12, p_min=1, p_max=4),
    "criteria": RefineByCriteria(velocity=(0, 1), max_size=4),
    "budget on a grid": TokenBudget(24, p_min=1, p_max=4),
    "criteria on a grid": RefineByCriteria(velocity=(0, 1), max_size=4),
}
ALONE = {"subsample": Subsample(0.5)}


def data(number: int, grid: bool = False) -> Data:
    generator = torch.Generator().manual_seed(number)
    n = 64 if grid else (50, 30, 41)[number]
    out = Data(pos=torch.rand(n, 2, generator=generator), x=torch.randn(n, 3, generator=generator))
    if grid:
        out.pos = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
        out.grid_shape, out.periodic = torch.tensor([[8, 8]]), torch.tensor([[True, False]])
    return out


def graphs(name: str) -> list[Data]:
    if name == "metis" and not optional.available("pymetis"):
        pytest.skip("needs the package pymetis")
    return [data(i, grid=name.endswith("grid")) for i in range(3)]


def same(one: Any, other: Any) -> None:
    assert set(one.keys()) - {"batch", "ptr", "num_nodes"} == set(other.keys()) - {"batch", "ptr", "num_nodes"}
    for key, value in one.to_dict().items():
        if isinstance(value, Tensor) and key not in ("batch", "ptr"):
            assert torch.equal(value, other[key]), key


@pytest.mark.parametrize("name", [*BATCHED, *ALONE])
def test_plain_data(name: str) -> None:
    """As for a ``MeshGraph``; the graph that is given stays as it was; in a list within a ``Compose``."""
    transform = (BATCHED | ALONE)[name]
    given = graphs(name)
    before = [graph.clone() for graph in given]
    made = [transform(graph) for graph in given]
    for graph, old, new in zip(given, before, made, strict=True):
        same(graph, old)
        assert type(new) is Data
        same(transform(MeshGraph(**graph.to_dict())) if name != "subsample" else new, new)
    for new, composed in zip(made, Compose([transform])(given), strict=True):
        same(new, composed)


@pytest.mark.parametrize("name", BATCHED)
def test_batches_of_plain_data(name: str) -> None:
    """Graphs before they are batched or the batch: the same, and as taken apart again."""
    transform, given = BATCHED[name], graphs(name)
    made = [transform(graph) for graph in given]
    together = Batch.from_data_list(made)
    batch = transform(Batch.from_data_list(given))
    for key in ("patch_index", "patch_size", "patch_count", "cover_index", "cover_size", "cover_count"):
        assert (key in together) == (key in batch)
        if key in together:
            assert torch.equal(together[key], batch[key]), key
    if "edge_index" in together:
        assert torch.equal(together.edge_index, batch.edge_index)
    for graph, again in zip(made, together.to_data_list(), strict=True):
        same(graph, again)
    if "patch_index" in batch:
        counts = torch.bincount(Partition.of(batch).batch).tolist()
        assert counts == [Partition.of(graph).num_patches for graph in made]
    if "cover_index" in batch:
        values = torch.rand(batch.num_nodes)
        parts = values.split([graph.num_nodes for graph in given])
        single = [Cover.of(graph).pool(part) for graph, part in zip(made, parts, strict=True)]
        torch.testing.assert_close(Cover.of(batch).pool(values), torch.cat(single))


@pytest.mark.parametrize("name", [*BATCHED, *ALONE])
def test_without_positions(name: str) -> None:
    if name == "metis" and not optional.available("pymetis"):
        pytest.skip("needs the package pymetis")
    with pytest.raises(InputError) as refused:
        (BATCHED | ALONE)[name](Data(x=torch.rand(9, 2)))
    assert str(refused.value) == (
        "the graph needs node positions, a float tensor 'pos' [n, d], got None; set graph.pos"
    )


def test_every_transform_is_tried() -> None:
    for module in pkgutil.walk_packages(meshops.__path__, "meshops."):
        if module.name.split(".")[1] in ("data", "partition", "nn", "aero", "datasets"):
            importlib.import_module(module.name)
    known = {type(part) for made in (BATCHED | ALONE).values() for part in getattr(made, "transforms", [made])}

    def below(kind: type) -> set[type]:
        return {kind} | {deep for sub in kind.__subclasses__() for deep in below(sub)}

    ours = {kind for kind in below(BaseTransform) if kind.__module__.startswith("meshops.")}
    assert ours == known


def test_ball_tree_after_other_steps() -> None:
    steps: Callable[[Any], Any] = Compose([Subsample(0.5), KNNGraph(k=4), BallTree(patch_size=256)])
    graph = steps(Data(pos=torch.rand(2000, 3), mass=torch.rand(2000), name="cloud"))
    assert graph.mass.shape == (1000,) and graph.name == "cloud" and graph.edge_index.shape == (2, 4000)
    assert Partition.of(graph).size.tolist() == [250] * 4


def test_new_edges_take_the_place_of_old_ones() -> None:
    old = Data(pos=torch.rand(5, 2), edge_index=torch.zeros(2, 1, dtype=torch.long), edge_attr=torch.rand(1, 3))
    assert old.edge_attr is not None and KNNGraph(2)(old).get("edge_attr") is None and "edge_attr" in old


def test_grids_may_be_given_as_tuples() -> None:
    grid = data(0, grid=True)
    plain = Data(pos=grid.pos, x=grid.x, grid_shape=(8, 8), periodic=(True, False))
    cut = TokenBudget(24, p_min=1, p_max=4)
    assert torch.equal(cut(plain).patch_index, cut(grid).patch_index)
    both = Batch.from_data_list([plain, plain])
    assert torch.equal(cut(both).patch_index, cut(Batch.from_data_list([grid, grid])).patch_index)
    with pytest.raises(InputError, match=r"grid_shape \[8, 4\] means 32 nodes in 1 graphs, got 64"):
        cut(Data(pos=grid.pos, x=grid.x, grid_shape=(8, 4)))
