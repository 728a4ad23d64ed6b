"""Fields that exist at part of the nodes: the pressure on a wall, the velocity around it (``y_use`` of a graph)."""

from __future__ import annotations

import torch
from torch import Tensor

from meshops.data.mesh_graph import JUDGED, UNKNOWN, MeshGraph
from meshops.ops.segment import segment_sum


def known_values(graph: MeshGraph, field: int, channels: slice) -> Tensor:
    """``[m, k]`` values of a field of a prepared graph where there are any."""
    values: Tensor = graph.y[:, channels]
    use = graph.get("y_use")
    return values if use is None else values[use[:, field] != UNKNOWN]


def judged_rows(graph: MeshGraph, field: int) -> Tensor:
    """``[n]`` bool: nodes where errors of a field count."""
    use = graph.get("y_use")
    if use is None:
        return torch.ones(len(graph.pos), dtype=torch.bool, device=graph.pos.device)
    return use[:, field] == JUDGED  # type: ignore[no-any-return]


def among(rows: Tensor, ptr: Tensor) -> Tensor:
    """Pointers of the graphs of a batch among some of its nodes; graphs that have none of these are left out.

    Args:
        rows: ``[n]`` bool.
        ptr: ``[b + 1]``.

    Example:
        >>> among(torch.tensor([True, False, False, True, True]), torch.tensor([0, 2, 3, 5])).tolist()
        [0, 1, 3]
    """
    counts = segment_sum(rows.to(torch.float64).unsqueeze(1), ptr)[:, 0].long()
    return torch.nn.functional.pad(counts[counts > 0].cumsum(0), (1, 0))
