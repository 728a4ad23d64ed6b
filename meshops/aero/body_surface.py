"""The surface of a body: cells with outward normals, for integration, description and its shadow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions
from meshops.aero.descriptors import describe
from meshops.aero.silhouette import projected_area
from meshops.data.mesh_graph import MeshGraph

if TYPE_CHECKING:
    from meshops.data.cells import Mesh
    from meshops.data.surface import Geometry

Array = NDArray[np.float64]
RIM = 0.01  # of the width: the rim of half a body lies so near its plane


@dataclass(frozen=True, eq=False)
class BodySurface:
    """A surface for integration: cells with outward normals, and triangles for its silhouette.

    Attributes:
        center, normal, area: ``[c, 3]``, ``[c, 3]``, ``[c]``.
        points, triangles: ``[m, 3]``, ``[t, 3]``.
        cell_points: Mean number of points of a cell.
    """

    center: Array
    normal: Array
    area: Array
    points: Array
    triangles: NDArray[np.int64]
    cell_points: float

    @classmethod
    def of(cls, mesh: Mesh, label: str = "surface", geometry: Geometry | None = None) -> BodySurface:
        """From a PyVista surface; ``label`` names it in warnings, ``geometry`` is its own where it is known already."""
        from meshops.data.surface import oriented_geometry  # VTK

        center, normal, area, _ = geometry or oriented_geometry(mesh, label=label)
        triangles = fan_triangles(mesh)
        cell_points = len(triangles) / max(len(area), 1) + 2
        return cls(center, normal, area, np.asarray(mesh.points, dtype=np.float64), triangles, cell_points)

    def resolution(self, conditions: FlowConditions) -> tuple[float, float]:
        """Median edge length over the length of the body, and points per cell."""
        edge = float(np.median(np.sqrt(self.area * 2 / (self.cell_points - 2))))
        return edge / self.length(conditions), self.cell_points

    def length(self, conditions: FlowConditions) -> float:
        """Extent along the flow, m."""
        return float(np.ptp(self.points[np.unique(self.triangles)] @ np.array(conditions.flow)))

    def middle(self, conditions: FlowConditions) -> Array:
        """``[2]`` middle of its extent along the flow and across it, m."""
        used = self.points[np.unique(self.triangles)] @ conditions.frame[:2].T
        return np.asarray((used.min(0) + used.max(0)) / 2)

    def frontal_area(self, conditions: FlowConditions) -> float:
        """Reference area: fixed by the conditions, or the silhouette, m^2."""
        if conditions.frontal_area is not None:
            return conditions.frontal_area
        return projected_area(self.points, self.triangles, conditions)

    def descriptors(self, conditions: FlowConditions) -> Array:
        """See :func:`meshops.aero.descriptors.describe`."""
        used = self.points[np.unique(self.triangles)]
        return describe(self.center, self.normal, self.area, used, self.frontal_area(conditions), conditions)

    def cut_plane(self, conditions: FlowConditions) -> str:
        """Axis across which a body was cut in half: nearly all of its open rim lies at one side of it; else nothing."""
        from meshops.data.orientation import merge_points  # VTK

        place = merge_points(self.points)
        at = np.zeros_like(self.points)
        at[place] = self.points
        corners = place[self.triangles]
        sides = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), 1)
        unique, count = np.unique(sides[:, 0] * len(at) + sides[:, 1], return_counts=True)
        rim = np.stack(np.divmod(unique[count == 1], len(at)), 1)
        if not len(rim):
            return ""
        side = at @ np.array(conditions.lateral)
        used = side[np.unique(corners)]
        length = np.linalg.norm(at[rim[:, 0]] - at[rim[:, 1]], axis=1)
        for end in (used.min(), used.max()):
            on = (np.abs(side[rim] - end) < RIM * np.ptp(used)).all(1)
            if length[on].sum() > (1 - 10 * RIM) * length.sum() and length[on].sum() > self.length(conditions):
                return "xyz"[int(np.abs(conditions.lateral).argmax())]
        return ""


def fan_triangles(mesh: Mesh) -> NDArray[np.int64]:
    """``[t, 3]`` triangles of a surface, polygons cut into fans (VTK's own filter drops thin polygons)."""
    from meshops.data.cells import as_polygons, cells_of

    size, nodes = as_polygons(cells_of(mesh))
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    count = np.maximum(size - 2, 0)
    first = np.repeat(start, count)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([nodes[first], nodes[first + step + 1], nodes[first + step + 2]], 1)


def attach_body(
    graph: MeshGraph, mesh: Mesh, *, walls: Mesh | None = None, chosen: Mesh | None = None, origin: Array | None = None
) -> MeshGraph:
    """Store the body inside a volume mesh on its graph: ``body_pos``, ``body_normal``, ``body_area``.

    Args:
        graph: Of the volume.
        mesh: Volume mesh.
        walls: Faces that the file calls walls: only they can be the body.
        chosen: Faces that the user named: they are the body.
        origin: Place of the mesh that is the origin of the graph.
    """
    from meshops.data.surface import cell_geometry, extract_body

    center, normal, area = cell_geometry(extract_body(mesh, label=graph.label, walls=walls, chosen=chosen))
    center = center if origin is None else center - origin
    graph.body_pos = torch.as_tensor(center, dtype=torch.float32)
    graph.body_normal = torch.as_tensor(normal, dtype=torch.float32)
    graph.body_area = torch.as_tensor(area, dtype=torch.float32)
    return graph
