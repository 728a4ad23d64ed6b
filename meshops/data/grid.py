"""Regular grids as graphs: a node per cell, row-major, with ``grid_shape``, ``spacing`` and ``periodic``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.partition.checks import grid_shape_of


def grid_graph(
    values: Tensor,
    *,
    spacing: Sequence[float] | None = None,
    periodic: Sequence[bool] | None = None,
    constants: Tensor | None = None,
    names: Sequence[str] | None = None,
    trailing: int = 1,
) -> MeshGraph:
    """A grid of cells as a graph: node i is cell i in row-major order, at the centre of the cell.

    Args:
        values: ``[*grid, t, c]`` with ``trailing=2``, or ``[*grid, c]``; goes to ``y``.
        spacing: Cell size along each axis, m; default 1.
        periodic: Whether the ends of each axis meet; default none do.
        constants: ``[k, *grid]`` channels that do not change in time; go to ``x``.
        names: One name per channel of ``values``.
        trailing: Number of axes of ``values`` behind the grid.

    Example:
        >>> grid_graph(torch.zeros(4, 3, 2), spacing=(0.5, 1.0)).pos[1]
        tensor([0.2500, 1.5000])
    """
    shape = tuple(values.shape[: values.dim() - trailing])
    if not 1 <= len(shape) <= 3:
        raise InputError(f"a grid has one to three axes, got values of shape {tuple(values.shape)}")
    step = tuple(float(s) for s in (spacing or (1.0,) * len(shape)))
    wrap = tuple(bool(p) for p in (periodic or (False,) * len(shape)))
    if len(step) != len(shape) or len(wrap) != len(shape):
        raise InputError(f"spacing and periodic need one entry per axis ({len(shape)}), got {step} and {wrap}")
    centres = [(torch.arange(n, dtype=torch.float32) + 0.5) * s for n, s in zip(shape, step, strict=True)]
    pos = torch.stack(torch.meshgrid(*centres, indexing="ij"), -1).flatten(0, -2)
    graph = MeshGraph(pos=pos, y=values.flatten(0, len(shape) - 1), location="cell")
    graph.grid_shape = torch.tensor([shape])
    graph.spacing = torch.tensor([step])
    graph.periodic = torch.tensor([wrap])
    if names is not None:
        graph.y_names = tuple(names)
        graph.y_sizes = (1,) * len(names)
    if constants is not None and constants.shape[0]:
        graph.x = constants.flatten(1).T.contiguous()
    return graph


def grid_shape(graph: Any) -> tuple[int, ...]:
    """Cells along each axis of a grid graph, or of each graph of a batch when all are alike.

    Raises:
        InputError: The graph is no grid, or the grids of the batch differ.
    """
    shape = grid_shape_of(graph)
    if shape is None:
        raise InputError("the graph is no regular grid (it has no grid_shape); make it with meshops.data.grid_graph")
    return shape


def grid_values(graph: Any, name: str = "y") -> Tensor:
    """Node values of a batch of equal grids as ``[b, c, *grid]``; time comes before channels: ``[b, t, c, *grid]``."""
    shape = grid_shape(graph)
    values: Tensor = graph[name].unflatten(0, (-1, *shape))
    for _ in range(values.dim() - 1 - len(shape)):
        values = values.movedim(-1, 1)
    return values
