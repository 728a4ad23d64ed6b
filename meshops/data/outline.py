"""A shape in numbers that stay the same when it is moved: for results that are learnt from shapes alone.

Of the cells of a surface with centres x_i, unit normals n_i and areas A_i, half extents h of its box and its middle m:

    [ log h_a,  log sum A,  log sum |n_a| A / 2,  sum (x - m) . n A / (3 * 8 h_1 h_2 h_3) ],
    mean_A(u_a), mean_A(u_a u_b), mean_A(u_a u_b u_c),      u = (x - m) / h,  a <= b <= c

The third is the area seen along each axis where no part hides another, the fourth the share of the box that is filled.
Of other meshes the extents and the moments are taken, over their nodes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.data.mesh_graph import MeshGraph
from meshops.data.shape import shape_numbers

TINY = 1e-12  # of the size: areas below hold nothing


def outline(graph: MeshGraph) -> NDArray[np.float64]:
    """``[v]`` numbers of a shape, see the module: 27 of a surface in space, 22 of other meshes there, 11 of plane ones.

    Example:
        >>> moved = MeshGraph(pos=torch.rand(50, 2) + 7)
        >>> outline(moved).shape
        (11,)
    """
    dim, area, normal = graph.pos.shape[1], graph.get("area"), graph.get("normal")
    numbers = shape_numbers(graph.pos, area).double().numpy()
    numbers = np.delete(numbers, range(dim, 2 * dim))  # where it lies
    if dim != 3 or normal is None or area is None:
        return numbers
    pos, weight, facing = graph.pos.double(), area.double(), normal.double()
    low, high = pos.amin(0), pos.amax(0)
    extent = (high - low).clamp(min=TINY * float((high - low).max()))
    total = weight.sum().clamp(min=TINY * float(extent.max()) ** 2)
    seen = (facing.abs() * weight.unsqueeze(1)).sum(0).clamp(min=TINY * float(total)) / 2
    filled = ((pos - (low + high) / 2) * facing).sum(1).mul(weight).sum() / (3 * extent.prod())
    more = torch.cat([total.log().view(1), seen.log(), filled.view(1)]).numpy()
    return np.concatenate([numbers[:dim], more, numbers[dim:]])


def length(graph: MeshGraph) -> float:
    """Longest side of the box of its nodes, m."""
    return float((graph.pos.amax(0) - graph.pos.amin(0)).max())
