"""Lists of PyG graphs as trajectories on meshes and grids, and what is said of those that are none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from meshops.data.edges import triangle_edges
from meshops.data.grid import grid_graph
from meshops.datasets.graph_trajectories import GraphTrajectories, GridTrajectories, as_trajectories
from meshops.errors import InputError

FACES = torch.tensor([[0, 1], [1, 3], [2, 2]])


def graph(frames: int = 4, **changes: Any) -> Data:
    g = torch.Generator().manual_seed(frames)
    values: dict[str, Any] = {
        "pos": torch.rand(4, 2, generator=g), "y": torch.randn(4, frames, 3, generator=g), "face": FACES,
        "y_names": ("u", "p"), "y_sizes": (2, 1), "y_units": ("m/s", "Pa"),
    }  # fmt: skip
    return Data(**{key: value for key, value in (values | changes).items() if value is not None})


def test_windows_are_frames_of_the_nodes() -> None:
    graphs = [graph(), graph(6, name="last", node_type=torch.tensor([0, 4, 4, 0]), time_step=0.1)]
    data = as_trajectories(graphs)
    assert isinstance(data, GraphTrajectories) and data.lengths == (4, 6) and data.cases == ("0", "last")
    assert data.spec.fields == ("u", "p") and data.spec.sizes == (2, 1) and data.spec.units == ("m/s", "Pa")
    window = data.window(1, 2, 3)
    assert torch.equal(window.state, graphs[1].y.movedim(1, 0)[2:5])
    assert window.pos.shape == (3, 4, 2) and window.node_type.tolist() == [[0, 4, 4, 0]] * 3
    assert torch.equal(window.edges(2), triangle_edges(FACES.T, 4))
    assert len(window.every(2)) == 2 and torch.equal(window.every(2).state[1], window.state[2])
    assert torch.equal(window.every(2).edges(0), window.edges(0))
    first = data[0]
    assert first.validate().fields == ("u", "p") and torch.equal(first.field("p"), graphs[0].y[:, 0, 2])
    assert list(data.check()) == [] and as_trajectories(data) is data
    with pytest.raises(InputError, match="frames 3 to 4 do not exist, it has 4"):
        data.window(0, 3, 2)


def test_meshes_may_move_and_edges_come_from_what_there_is() -> None:
    pos = torch.rand(4, 4, 2)
    moving = as_trajectories([graph(pos=pos, y_names=None, y_sizes=None, y_units=None)])
    assert torch.equal(moving.window(0, 1, 2).pos, pos[1:3]) and moving.spec.fields == ("y",)  # type: ignore[union-attr]
    edges = torch.tensor([[0, 1], [1, 0]])
    given: Any = as_trajectories([graph(face=None, edge_index=edges)])
    assert torch.equal(given.window(0, 0, 2).edges(1), edges)
    quad = {"cell_size": torch.tensor([4]), "cell_nodes": torch.arange(4), "cell_type": torch.tensor([9])}
    cells: Any = as_trajectories([graph(face=None, **quad)])
    assert cells.window(0, 0, 1).edges(0).shape == (2, 8)
    forced = GraphTrajectories([graph()], forced=(4,), weights=(1.0, 0.1))
    assert forced.spec.forced == (4,) and forced.spec.weights == (1.0, 0.1)


def test_grid_graphs_are_trajectories_on_grids() -> None:
    values, constants = torch.randn(3, 2, 5, 2), torch.rand(1, 3, 2)
    one = grid_graph(values, spacing=(0.5, 1.0), periodic=(True, False), constants=constants, names=("a", "b"),
                     trailing=2)  # fmt: skip
    data = as_trajectories([one, one])
    assert isinstance(data, GridTrajectories) and data.lengths == (5, 5) and data.shapes == ((3, 2),) * 2
    assert data.spec.channels == ("a", "b") and data.spec.constants == ("x_0",)
    assert data.spec.spacing == (0.5, 1.0) and data.spec.periodic == (True, False)
    assert torch.equal(data.window(1, 2, 2), values.movedim((2, 3), (0, 1))[2:4])
    assert torch.equal(data.constants(0), constants)
    assert torch.equal(data[0].y, one.y) and list(data.check()) == []
    assert as_trajectories([grid_graph(values, trailing=2)]).constants(0).shape == (0, 3, 2)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("graphs", "text"),
    [
        ([], "the list of graphs is empty"),
        ([graph(pos=None)], r"graph 0: pos must be \[n, d\]"),
        ([graph(y=torch.zeros(4, 3))], r"graph 0: y must be \[n, t, c\] for the 4 nodes of pos \(4, 2\), got \(4, 3\)"),
        ([graph(y=None)], "got nothing"),
        ([graph(pos=torch.rand(3, 4, 2))], r"for the 4 nodes and the frames of pos \(3, 4, 2\)"),
        ([graph(face=None)], "graph 0 has no edges; give edge_index, face or cells"),
        ([graph(), graph(y_names=("v", "p"))], r"graphs 0 and 1 differ in dimensions or fields: .*'u'.*'v'"),
        ([graph(), graph(pos=torch.rand(4, 3))], "graphs 0 and 1 differ in dimensions or fields"),
        ([graph(y_sizes=(1, 1))], r"y has 3 channels, but y_names \('u', 'p'\) with y_sizes \(1, 1\) name 2"),
        ([graph(node_type=torch.full((4,), 9))], r"node_type must be \[4\] or \[4, 4\] of kinds 0 to 8, got .* 9 to 9"),
        (
            [grid_graph(torch.zeros(4, 2, 1), trailing=2), grid_graph(torch.zeros(4, 2, 1), spacing=(2,), trailing=2)],
            "graphs 0 and 1 differ in axes or constants",
        ),
    ],
)
def test_graphs_that_are_no_trajectories_are_explained(graphs: list[Data], text: str) -> None:
    with pytest.raises(InputError, match=text):
        as_trajectories(graphs)


def test_there_is_no_stand_in() -> None:
    for kind in (GraphTrajectories, GridTrajectories):
        with pytest.raises(InputError, match="no stand-in"):
            kind.standin("x")
