"""Nodes at which candidates are compared: all of small cases, a random part of large ones, so that memory is bounded.

Every candidate keeps what it predicts there of every case.
"""

from __future__ import annotations

import torch
from torch import Tensor

NODES = 32768  # of a case at most
LEAST = 512  # of a case at least, however many cases there are
ALL_NODES = 2**21  # of all cases at most


def compared_nodes(nodes: int, number: int, cases: int, *, seed: int = 0) -> Tensor:
    """``[s]`` nodes of a case at which candidates are compared, ascending.

    Args:
        nodes: Of the case.
        number: Of the case.
        cases: How many there are.
        seed: Of the draw.
    """
    most = min(NODES, max(LEAST, ALL_NODES // max(1, cases)))
    if nodes <= most:
        return torch.arange(nodes)
    generator = torch.Generator().manual_seed(1000 * seed + number)
    return torch.randperm(nodes, generator=generator)[:most].sort().values
