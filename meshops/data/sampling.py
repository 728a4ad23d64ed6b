"""Choosing nodes: random subsets for training, interleaved subsets that cover a mesh for prediction.

A patch model learns patches of a certain size in metres. Run on more points than it was trained on, its patches
shrink and its error doubles; so a mesh is predicted as several interleaved subsets of the training density.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.data.mesh_graph import CELL_ARRAYS, NODE_ARRAYS, PATCH_ARRAYS, MeshGraph
from meshops.errors import InputError
from meshops.partition.checks import graph_ptr, positions_of

LEFT_BEHIND = {
    *CELL_ARRAYS,
    *PATCH_ARRAYS,
    "grid_shape",
    "spacing",
    "periodic",
    "source_arrays",
    "cluster",
    "face",
    "num_nodes",
}


def random_subset(num_nodes: int, size: int, generator: torch.Generator | None = None) -> Tensor:
    """``[size]`` random nodes in ascending order; with fewer nodes than ``size`` all, and some again.

    The order of the file stays what it is, for models that group nodes as they are numbered.
    """
    if num_nodes < 1:
        raise InputError("cannot draw nodes from an empty mesh")
    order = torch.randperm(num_nodes, generator=generator)
    if size <= num_nodes:
        return order[:size].sort().values
    extra = torch.randint(num_nodes, (size - num_nodes,), generator=generator)
    return torch.cat([order, extra]).sort().values


def interleave(num_nodes: int, size: int, generator: torch.Generator | None = None) -> list[Tensor]:
    """Disjoint random subsets that cover all nodes, each of at most ``size`` nodes in ascending order.

    Sizes are equal up to one.

    Args:
        num_nodes: n.
        size: Largest subset: the number of nodes the model saw per training step.
        generator: Makes the choice reproducible.
    """
    if size < 1:
        raise InputError(f"subset size must be at least 1, got {size}")
    order = torch.randperm(num_nodes, generator=generator)
    count = max(1, math.ceil(num_nodes / size))
    return [order[i::count].sort().values for i in range(count)]


class Subsample(BaseTransform):  # type: ignore[misc]
    """A random part of the nodes of a graph as free points: irregular data from a mesh or a regular grid.

    Cells, edges and the shape of a grid are left behind, since they do not hold for a part of the nodes.

    Args:
        fraction: Of the nodes, in (0, 1]; at least one is kept.
        seed: Of the draw; the same graph and seed give the same nodes.

    Example:
        >>> Subsample(0.5)(MeshGraph(pos=torch.rand(10, 2), y=torch.rand(10, 3))).y.shape
        torch.Size([5, 3])
    """

    def __init__(self, fraction: float, *, seed: int = 0) -> None:
        if not 0 < fraction <= 1:
            raise InputError(f"fraction must be in (0, 1], got {fraction}")
        self.fraction, self.seed = fraction, seed

    def forward(self, data: Any) -> Any:
        """The part, of the same class, nodes in their order; raises ``InputError`` for a batch."""
        if graph_ptr(data) is not None:
            raise InputError("subsample the graphs before they are put into a batch")
        pos = positions_of(data)
        n = len(pos)
        chosen = random_subset(n, max(1, round(self.fraction * n)), torch.Generator().manual_seed(self.seed))
        rows = chosen.to(pos.device)
        out = type(data)()
        for key, value in data.to_dict().items():
            if value is None or key in LEFT_BEHIND or "edge" in key:
                continue
            node = isinstance(value, Tensor) and (key in NODE_ARRAYS or (n > 1 and data.is_node_attr(key)))
            out[key] = value[rows] if node else value
        if isinstance(out, MeshGraph):
            out.location = "free"
        return out

    def __repr__(self) -> str:
        return f"Subsample(fraction={self.fraction}, seed={self.seed})"


def spread(count: int, most: int) -> list[int]:
    """Up to ``most`` numbers from 0 to ``count - 1``, evenly spread, the ends among them."""
    picked = min(count, most)
    return sorted({round(i * (count - 1) / max(picked - 1, 1)) for i in range(picked)})
