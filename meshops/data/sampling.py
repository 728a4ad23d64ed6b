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


def random_subset_of_kinds(kinds: Tensor, size: int, share: float, generator: torch.Generator | None = None) -> Tensor:
    """:func:`random_subset` with a fixed share of one of two kinds of nodes.

    Args:
        kinds: ``[n]`` bool.
        size: Nodes drawn.
        share: Of them where ``kinds`` is false. With nodes of one kind only all are of it.
        generator: Makes the choice reproducible.
    """
    parts = _kinds(kinds, size, share)
    return torch.cat([index[random_subset(len(index), count, generator)] for index, count in parts]).sort().values


def interleave_kinds(
    kinds: Tensor, size: int, share: float, generator: torch.Generator | None = None
) -> tuple[list[Tensor], Tensor]:
    """:func:`interleave` with the share of :func:`random_subset_of_kinds` in every subset.

    The kind that has fewer subsets goes round: its nodes are in several.

    Returns:
        The subsets, and ``[n]`` how often each node is in one.
    """
    dealt = []
    for index, count in _kinds(kinds, size, share):
        dealt.append([index[part] for part in interleave(len(index), count, generator)])
    most = max(map(len, dealt))
    subsets = [torch.cat([parts[i % len(parts)] for parts in dealt]).sort().values for i in range(most)]
    return subsets, torch.bincount(torch.cat(subsets), minlength=len(kinds))


def _kinds(kinds: Tensor, size: int, share: float) -> list[tuple[Tensor, int]]:
    """Nodes of each kind that is there, and how many of it belong to a subset."""
    index = [(~kinds).nonzero().view(-1), kinds.nonzero().view(-1)]
    first = min(max(1, round(share * size)), size - 1)
    if not len(index[0]) or not len(index[1]):
        return [(part, size) for part in index if len(part)]
    return list(zip(index, (first, size - first), strict=True))


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
