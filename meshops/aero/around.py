"""A body and the air around it as free points of one graph, as AB-UPT and MSPT publish the task."""

from __future__ import annotations

import torch
from torch import Tensor

from meshops.aero.prepare import IN_VOLUME
from meshops.data.mesh_graph import MeshGraph
from meshops.ops.neighbors import knn_search

INPUTS = ("sdf", "normal_x", "normal_y", "normal_z")


def points_around(volume: Tensor, surface: Tensor, normal: Tensor) -> MeshGraph:
    """Points of the air, then those of the surface, without fields.

    ``x`` is the distance to the nearest point of the surface and the direction away from it; on the surface 0 and the
    normal.

    Args:
        volume: ``[n, 3]`` points of the air, m.
        surface: ``[m, 3]`` points of the surface, m.
        normal: ``[m, 3]`` outward unit normals there.
    """
    n, m = len(volume), len(surface)
    away = volume - surface[knn_search(surface, 1, volume).index.view(-1)]
    distance = away.norm(dim=1, keepdim=True)
    x = torch.cat(
        [torch.cat([distance, away / distance.clamp(min=1e-8)], 1), torch.cat([surface.new_zeros(m, 1), normal], 1)]
    )
    out = MeshGraph(pos=torch.cat([volume, surface]), x=x, x_names=INPUTS)
    out.node_type = torch.cat([torch.full((n,), IN_VOLUME), torch.zeros(m, dtype=torch.int64)])
    out.location = "free"
    return out
