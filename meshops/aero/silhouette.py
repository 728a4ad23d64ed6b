"""Projected area of a surface: the reference area of drag and lift."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from meshops.aero.conditions import FlowConditions
from meshops.errors import InputError
from meshops.ops.kernels.compile import njit

Array = NDArray[np.float64]


def projected_area(
    points: Array, triangles: NDArray[Any], conditions: FlowConditions, *, resolution: int = 2000
) -> float:
    """Area of the shadow of a triangle surface along the flow, m^2.

    Args:
        points: ``[m, 3]``.
        triangles: ``[t, 3]``.
        conditions: Gives the flow direction and the rule: ``"silhouette"`` counts the pixels whose centre is covered
            (error about 1 / resolution), ``"hull"`` takes the convex hull of the projected points, as the
            ShapeNet-Car drag formula does.
        resolution: Pixels along the longer side of the projection.

    Raises:
        InputError: The projection has no extent.
    """
    plane = (points @ conditions.frame.T)[:, 1:]
    used = plane[np.unique(triangles)] if triangles.size else plane
    low, high = used.min(0), used.max(0)
    extent = high - low
    if extent.min() <= 0:
        raise InputError("the surface has no extent across the flow; check the flow and up directions")
    if conditions.area_rule == "hull":
        return float(ConvexHull(used).volume)
    pixel = extent.max() / resolution
    shape = np.ceil(extent / pixel).astype(np.int64)
    covered = np.zeros((int(shape[0]), int(shape[1])), dtype=np.bool_)
    _fill((plane - low) / pixel, triangles.astype(np.int64), covered)
    return float(covered.sum() * pixel**2)


@njit()
def _fill(points: Any, triangles: Any, covered: Any) -> None:
    for t in range(triangles.shape[0]):
        a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        twice = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if twice == 0.0:
            continue
        i0 = max(0, int(np.floor(min(a[0], b[0], c[0]) - 0.5)))
        i1 = min(covered.shape[0] - 1, int(np.ceil(max(a[0], b[0], c[0]))))
        j0 = max(0, int(np.floor(min(a[1], b[1], c[1]) - 0.5)))
        j1 = min(covered.shape[1] - 1, int(np.ceil(max(a[1], b[1], c[1]))))
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                x, y = i + 0.5, j + 0.5
                u = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / twice
                v = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / twice
                if u >= 0.0 and v >= 0.0 and u + v <= 1.0:
                    covered[i, j] = True
