"""MeshGraph: batching, subsets, and what validation says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from meshops.data.mesh_graph import MeshGraph, check_graph, field_slices
from meshops.errors import DataWarning, InputError
from meshops.ops.pointers import pointers


def square(**changes: Any) -> MeshGraph:
    """Two triangles on four points; nodes are the cells."""
    graph = MeshGraph(
        pos=torch.tensor([[0.6, 0.3, 0.0], [0.3, 0.6, 0.0]]),
        y=torch.arange(8.0).reshape(2, 4),
        y_names=("p", "tau"),
        y_sizes=(1, 3),
        y_units=("Pa", "Pa"),
        points=torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]),
        cell_size=torch.tensor([3, 3]),
        cell_nodes=torch.tensor([0, 1, 2, 0, 2, 3]),
        cell_type=torch.tensor([5, 5], dtype=torch.uint8),
        edge_index=torch.tensor([[0, 1], [1, 0]]),
        location="cell",
        name="square",
    )
    for key, value in changes.items():
        graph[key] = value
    return graph


def test_counts_and_fields() -> None:
    graph = square().validate()
    assert (graph.num_nodes, graph.num_points, graph.num_cells) == (2, 4, 2)
    assert graph.cell_ptr.tolist() == [0, 3, 6] and graph.fields == ("p", "tau")
    assert graph.field("p").tolist() == [0, 4] and graph.field("tau").shape == (2, 3)
    assert graph.field_slices() == {"p": slice(0, 1), "tau": slice(1, 4)}
    with pytest.raises(InputError, match="square: no field 'U'; fields present: 'p', 'tau'"):
        graph.field("U")


def test_point_graph_and_cloud() -> None:
    cloud = MeshGraph(pos=torch.rand(5, 2), source="a.vtp", name="a").validate()
    assert (cloud.num_points, cloud.num_cells, cloud.fields, cloud.label) == (5, 0, (), "a.vtp")
    assert MeshGraph(pos=torch.rand(1, 3)).label == "graph"


def test_batching_offsets_points_and_nodes_apart() -> None:
    one = square(patch_index=torch.tensor([1, 0]), patch_size=torch.tensor([2]))
    two = square(patch_index=torch.tensor([0, 1]), patch_size=torch.tensor([1, 1]))
    batch = Batch.from_data_list([one, two])
    assert batch.cell_nodes.tolist() == [0, 1, 2, 0, 2, 3, 4, 5, 6, 4, 6, 7]
    assert batch.edge_index.tolist() == [[0, 1, 2, 3], [1, 0, 3, 2]]
    assert batch.patch_index.tolist() == [1, 0, 2, 3] and batch.patch_size.tolist() == [2, 1, 1]
    assert pointers(batch.cell_size).tolist() == [0, 3, 6, 9, 12]
    again = batch.to_data_list()
    assert torch.equal(again[1].cell_nodes, two.cell_nodes) and torch.equal(again[1].patch_index, two.patch_index)
    loaded = next(iter(DataLoader([one, two], batch_size=2)))
    assert loaded.field("tau").shape == (4, 3) and loaded.fields == ("p", "tau")


def test_faces_are_offset_by_points() -> None:
    faces = {
        "cell_num_faces": torch.tensor([1, 0]),
        "face_size": torch.tensor([3]),
        "face_nodes": torch.tensor([0, 1, 3]),
    }
    batch = Batch.from_data_list([square(**faces), square(**faces)])
    assert batch.face_nodes.tolist() == [0, 1, 3, 4, 5, 7]


def test_subset_cuts_nodes_and_forgets_cells() -> None:
    graph = square(normal=torch.eye(3)[:2], area=torch.tensor([1.0, 2.0]), globals=torch.ones(1, 2))
    part = graph.subset(torch.tensor([1, 1, 0]))
    assert part.location == "free" and part.num_cells == 0 and "edge_index" not in part
    assert part.area.tolist() == [2, 2, 1] and part.field("p").tolist() == [4, 4, 0]
    assert part.globals.shape == (1, 2) and part.y_names == ("p", "tau")
    assert part.validate() is part and graph.num_cells == 2


def test_copies_share_tensors_but_not_the_container() -> None:
    graph = square()
    light = graph.without_cells()
    assert light.num_cells == 0 and graph.num_cells == 2 and light.y is graph.y
    shallow = graph.clone_shallow()
    shallow.name = "other"
    assert graph.name == "square" and shallow.pos is graph.pos


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"pos": torch.zeros(2, 4)}, r"'pos' must be a \[n, d\] tensor with d = 1, 2 or 3, got \(2, 4\)"),
        ({"pos": [1, 2]}, "'pos' must be .* got list"),
        ({"pos": torch.zeros(0, 3)}, r"the mesh is empty \(0 nodes\); check the export"),
        ({"pos": torch.zeros(2, 3, dtype=torch.int64)}, r"'pos' must be float32, got torch.int64"),
        ({"area": torch.ones(3)}, "'area' has 3 rows for 2 nodes; give one row per node"),
        ({"normal": torch.full((2, 3), torch.nan)}, "'normal' holds 2 NaN or infinite rows, the first at node 0"),
        ({"y_sizes": (1, 2)}, r"'y' has 4 channels but y_names \('p', 'tau'\) with y_sizes \(1, 2\) describe 3"),
        ({"x": torch.ones(2, 2), "x_names": ("u",)}, "'x' has 2 channels but 1 x_names"),
        ({"location": "node"}, "location must be one of 'point', 'cell', 'free', got 'node'"),
        ({"cell_nodes": torch.tensor([0, 1, 2, 0, 2, 4])}, r"'cell_nodes' holds index 4, allowed 0..3"),
        ({"cell_nodes": torch.tensor([0, 1, 2, 0, 2, -1])}, r"'cell_nodes' holds index -1, allowed 0..3"),
        ({"edge_index": torch.tensor([[0], [2]])}, r"'edge_index' holds index 2, allowed 0..1"),
        ({"patch_index": torch.tensor([0, 5])}, r"'patch_index' holds index 5, allowed 0..1"),
        ({"cell_size": torch.tensor([3, 4])}, "'cell_size' sums to 7 for 6 cell_nodes"),
    ],
)
def test_validation_messages(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"square: .*{message}"):
        square(**changes).validate()


def test_bad_values_name_the_field() -> None:
    y = torch.zeros(2, 4)
    y[1, 2] = torch.inf
    with pytest.raises(InputError, match="field 'tau' holds 1 NaN or infinite rows, the first at node 1; repair"):
        square(y=y).validate()


def test_validation_may_warn_only() -> None:
    graph = square(area=torch.ones(3))
    with pytest.warns(DataWarning, match="'area' has 3 rows"):
        assert graph.validate(raise_on_error=False) is graph
    assert len(check_graph(square(area=torch.ones(3), location="node"))) == 2


def test_field_slices_need_one_size_per_name() -> None:
    assert field_slices(("a", "b"), (2, 1)) == {"a": slice(0, 2), "b": slice(2, 3)}
    with pytest.raises(ValueError, match="zip"):
        field_slices(("a",), (1, 2))
