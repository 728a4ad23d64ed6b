"""Partitioners by name: all of them pass the shared check, and a new one is one decorator away."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data

from meshops import optional
from meshops.cli.main import main
from meshops.data.edges import KNNGraph
from meshops.errors import InputError
from meshops.models import create_model
from meshops.partition import (
    BallTree,
    Partition,
    create_partitioner,
    list_partitioners,
    partitioner_needs,
    register_partitioner,
    registry,
)
from meshops.testing import check_partitioner


@pytest.mark.parametrize("name", list_partitioners("positions"))
def test_every_partitioner_keeps_the_contract(name: str) -> None:
    made = create_partitioner(name, patch_size=12)
    check_partitioner(made)
    part = made.partition(torch.rand(50, 2), torch.tensor([0, 20, 50]))
    assert part.num_nodes == 50 and int(part.size.max()) <= 12


@pytest.mark.parametrize("name", list_partitioners())
def test_batched_data_has_the_patches_of_its_graphs(name: str) -> None:
    if name == "metis" and not optional.available("pymetis"):
        pytest.skip("needs the package pymetis")
    cut = create_partitioner(name, patch_size=8)
    graphs = [Data(pos=torch.rand(n, 3)) for n in (40, 9, 23)]
    if partitioner_needs(name) == "edges":
        graphs = [KNNGraph(4)(graph) for graph in graphs]
    single = [Partition.of(cut(graph)) for graph in graphs]
    for part in (
        Partition.of(Batch.from_data_list([cut(graph) for graph in graphs])),
        Partition.of(cut(Batch.from_data_list(graphs))),
    ):
        starts = (0, 40, 49)
        assert torch.equal(part.perm, torch.cat([p.perm + s for p, s in zip(single, starts, strict=True)]))
        assert torch.equal(part.size, torch.cat([p.size for p in single]))
        assert part.batch.tolist() == [i for i, p in enumerate(single) for _ in range(p.num_patches)]


def test_names_and_numbers() -> None:
    known = ["ball_tree", "hilbert", "kd_tree", "kmeans", "metis", "morton", "octree"]
    assert list_partitioners() == known
    assert [name for name in known if partitioner_needs(name) == "edges"] == ["metis"] == list_partitioners("edges")
    tree = create_partitioner("kd_tree", num_patches=4)
    assert isinstance(tree, BallTree) and (tree.axes, tree.num_patches) == ("cyclic", 4)
    assert create_partitioner("ball_tree", patch_size=9, angle=45).angle == 45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "hilbrt"},
            "unknown partitioner 'hilbrt'; did you mean 'hilbert'\\? registered: 'ball_tree', 'hilbert'",
        ),
        ({"name": "kmeans", "patch_size": 3, "angle": 4}, "'kmeans' has no option 'angle'; it takes 'max_rounds'"),
        ({"name": "octree", "num_patches": 3}, "as many leaves as it needs: give patch_size"),
        ({"name": "morton"}, "either patch_size or num_patches"),
    ],
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_partitioner(**arguments)


def test_a_new_one_is_known_to_the_command_line_and_to_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(registry, "_PARTITIONERS", dict(registry._PARTITIONERS))

    @register_partitioner("slabs")
    def slabs(patch_size: int | None = None, *, num_patches: int | None = None) -> BallTree:
        return BallTree(patch_size, num_patches=num_patches, axes="cyclic")

    import pyvista as pv

    pv.Plane(i_resolution=8, j_resolution=8).triangulate().save(tmp_path / "plane.stl")
    assert main(["partition", str(tmp_path / "plane.stl"), "--method", "slabs", "--patch-size", "16"]) == 0
    model: Any = create_model("mspt", in_channels=0, out_channels=1, channels=16, num_heads=2, patching="slabs",
                              num_patches=2)  # fmt: skip
    assert model.partitioner.axes == "cyclic"
    assert create_model("graphvit", in_channels=0, out_channels=1, clustering="slabs").clustering == "slabs"
    with pytest.raises(InputError, match="unknown partitioner 'slab'; did you mean 'slabs'"):
        create_model("graphvit", in_channels=0, out_channels=1, clustering="slab")
