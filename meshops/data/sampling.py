"""Choosing nodes: random subsets for training, interleaved subsets that cover a mesh for prediction.

A patch model learns patches of a certain size in metres. Run on more points than it was trained on, its patches
shrink and its error doubles; so a mesh is predicted as several interleaved subsets of the training density.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meshops.errors import InputError


def random_subset(num_nodes: int, size: int, generator: torch.Generator | None = None) -> Tensor:
    """``[size]`` distinct nodes in random order; with fewer nodes than ``size`` some are drawn again."""
    if num_nodes < 1:
        raise InputError("cannot draw nodes from an empty mesh")
    order = torch.randperm(num_nodes, generator=generator)
    if size <= num_nodes:
        return order[:size]
    extra = torch.randint(num_nodes, (size - num_nodes,), generator=generator)
    return torch.cat([order, extra])


def interleave(num_nodes: int, size: int, generator: torch.Generator | None = None) -> list[Tensor]:
    """Disjoint random subsets that cover all nodes, each of at most ``size`` nodes, sizes equal up to one.

    Args:
        num_nodes: n.
        size: Largest subset: the number of nodes the model saw per training step.
        generator: Makes the choice reproducible.
    """
    if size < 1:
        raise InputError(f"subset size must be at least 1, got {size}")
    order = torch.randperm(num_nodes, generator=generator)
    count = max(1, math.ceil(num_nodes / size))
    return [order[i::count] for i in range(count)]
