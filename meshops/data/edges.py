"""Edges of a point cloud as PyG transforms, with nothing to compile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.errors import warn
from meshops.ops.neighbors import knn_search, radius_search
from meshops.partition.checks import graph_ptr, positions_of

VTK_TRIANGLE = 5


class KNNGraph(BaseTransform):  # type: ignore[misc]
    """Edges to every node from its ``k`` nearest, nearest first; of each graph of a batch.

    Args:
        k: Neighbours of each node.
        loop: Count a node as its own neighbour.
        period: Length of each periodic axis, 0 for an open one.

    Example:
        >>> KNNGraph(k=1)(MeshGraph(pos=torch.tensor([[0.0], [1.0], [3.0]]))).edge_index
        tensor([[1, 0, 1],
                [0, 1, 2]])
    """

    def __init__(self, k: int, *, loop: bool = False, period: Sequence[float] | None = None) -> None:
        self.k = k
        self.loop = loop
        self.period = period

    def forward(self, data: Any) -> Any:
        """Set ``edge_index [2, e]``; raises ``InputError`` when a graph has too few nodes."""
        found = knn_search(positions_of(data), self.k, ptr=graph_ptr(data), loop=self.loop, period=self.period)
        return _with_edges(data, found.edge_index)

    def __repr__(self) -> str:
        return f"KNNGraph(k={self.k})"


class RadiusGraph(BaseTransform):  # type: ignore[misc]
    """Edges to every node from all within ``radius``, nearest first; of each graph of a batch.

    There is no hidden limit. With ``max_neighbors`` the nearest are kept and a warning says how many nodes lost some.

    Args:
        radius: In the unit of the positions.
        max_neighbors: Neighbours to keep of each node; None: all.
        loop: Count a node as its own neighbour.
        period: Length of each periodic axis, 0 for an open one.
    """

    def __init__(
        self,
        radius: float,
        *,
        max_neighbors: int | None = None,
        loop: bool = False,
        period: Sequence[float] | None = None,
    ) -> None:
        self.radius = radius
        self.max_neighbors = max_neighbors
        self.loop = loop
        self.period = period

    def forward(self, data: Any) -> Any:
        """Set ``edge_index [2, e]``."""
        found = radius_search(
            positions_of(data), self.radius, max_neighbors=self.max_neighbors, ptr=graph_ptr(data), loop=self.loop,
            period=self.period,
        )  # fmt: skip
        if found.num_cut:
            warn(f"radius graph: {found.report()} (radius {self.radius:g}, max_neighbors {self.max_neighbors})")
        return _with_edges(data, found.edge_index)

    def __repr__(self) -> str:
        return f"RadiusGraph(radius={self.radius:g})"


def _with_edges(data: Any, edge_index: Tensor) -> Any:
    """The graph with other edges; what described the old ones goes with them."""
    for key in ("edge_attr", "edge_weight"):
        if data.get(key) is not None:
            del data[key]
    data.edge_index = edge_index
    return data


def triangle_edges(triangles: Tensor, num_nodes: int) -> Tensor:
    """``[2, e]`` sides of triangles ``[f, 3]``, both directions, each once, sorted by the second row."""
    sides = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    both = torch.cat([sides, sides.flip(1)])
    key = torch.unique(both[:, 1] * num_nodes + both[:, 0])
    return torch.stack([key % num_nodes, key // num_nodes])
