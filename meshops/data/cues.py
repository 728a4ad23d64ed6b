"""What the surface mesh itself says at each cell: edge lengths and the sharpest fold to a neighbour.

Solvers see the mesh, not the shape: a wall cell squeezed between a slanted surface and the background grid gets a wrong
gradient and with it a wrong shear stress. Cell edges and folds show where that happens, so a surrogate that predicts
on simulation meshes can learn it. On a CAD triangulation they mean nothing; there they are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.data.orientation import find_edges, merge_points
from meshops.data.polygons import next_entry

CUES = ("shortest_edge", "longest_edge", "fold", "fold_side", "neighbor_edge", "fold_normal_x", "fold_normal_y",
        "fold_normal_z")  # fmt: skip


def mesh_cues(graph: MeshGraph) -> Tensor:
    """``[c, 8]`` per cell, in units of the median longest edge; axes of the file.

    Columns: shortest and longest edge; ``1 - cos`` of the sharpest angle between normals of cells that share an edge;
    on which side that neighbour lies (positive: concave); its shortest edge; its normal.

    Args:
        graph: Surface with cells, ``location="cell"``, normals.
    """
    size, nodes = graph.cell_size.numpy(), graph.cell_nodes.numpy()
    points = graph.points.double().numpy()
    normal = graph.normal.double().numpy()
    center = graph.pos.double().numpy()
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    length = np.linalg.norm(points[nodes[next_entry(size)]] - points[nodes], axis=1)
    shortest, longest = np.minimum.reduceat(length, start), np.maximum.reduceat(length, start)
    unit = np.median(longest)
    neighbor, fold = _sharpest_neighbor(find_edges(size, merge_points(points)[nodes]).pairs, normal)
    side = ((center[neighbor] - center) * normal).sum(1)
    columns = [shortest / unit, longest / unit, fold, side / unit, shortest[neighbor] / unit]
    cues = np.concatenate([np.stack(columns, 1).clip(-5, 5), normal[neighbor]], 1)
    return torch.as_tensor(cues, dtype=torch.float32)


def _sharpest_neighbor(pairs: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbour of each cell with the largest turn of the normal, and that turn; a lone cell is its own."""
    cell, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    turn = 1 - (normal[cell] * normal[other]).sum(1)
    # Equal turns are common (planes, fillets): rounding noise must not choose among them.
    order = np.lexsort((other, turn.round(4), cell))
    last = np.flatnonzero(np.diff(cell[order], append=-1))
    neighbor = np.arange(len(normal))
    fold = np.zeros(len(normal))
    chosen = order[last]
    neighbor[cell[chosen]] = other[chosen]
    fold[cell[chosen]] = turn[chosen]
    return neighbor, fold
