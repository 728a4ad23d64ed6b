"""A few numbers that describe a body in a flow: what shapes are compared by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions

Array = NDArray[np.float64]

DESCRIPTORS: dict[str, str] = {
    "length": "m",
    "width / length": "",
    "height / length": "",
    "ground clearance / length": "",
    "surface area / length^2": "",
    "volume / length^3": "",
    "frontal area / length^2": "",
    "front-facing share": "",
    "rear-facing share": "",
    "rear slant share": "",
    "log Reynolds number": "",
}


def describe(centers: Array, normal: Array, area: Array, points: Array, frontal_area: float,
             conditions: FlowConditions) -> Array:  # fmt: skip
    """The numbers of :data:`DESCRIPTORS` for a surface; zero where there is no ground or no known viscosity.

    All but the length, which is there for information, do not depend on the place of the body and the unit of length.

    Args:
        centers: ``[c, 3]`` cell centres.
        normal: ``[c, 3]`` outward unit normals.
        area: ``[c]`` cell areas, m^2.
        points: ``[m, 3]`` mesh points that belong to a cell.
        frontal_area: m^2.
        conditions: Flow, up, height of the ground, viscosity.
    """
    frame = conditions.frame
    p, c, n = points @ frame.T, centers @ frame.T, normal @ frame.T
    low, high = p.min(0), p.max(0)
    length, width, height = high - low
    total = area.sum()
    slant = (n[:, 0] > 0.15) & (n[:, 0] < 0.95) & (n[:, 2] > 0.2)
    return np.array([
        length,
        width / length,
        height / length,
        0.0 if conditions.ground is None else (low[2] - conditions.ground) / length,
        total / length**2,
        (area * ((c - (low + high) / 2) * n).sum(1)).sum() / 3 / length**3,
        frontal_area / length**2,
        area[n[:, 0] < -0.5].sum() / total,
        area[n[:, 0] > 0.5].sum() / total,
        area[slant].sum() / total,
        np.log(conditions.reynolds(length)) if conditions.viscosity > 0 else 0.0,
    ])  # fmt: skip


def facing(normal: Array, area: Array, frontal_area: float, conditions: FlowConditions) -> Array:
    """``[20]`` which way the surface of a body faces, over the reference area: what its forces are made of.

    In ten equal ranges of n_x, the cosine to the flow, the sums of n_x A and of n_z A (n_z: upwards).
    """
    n = normal @ conditions.frame.T
    place = np.clip(((n[:, 0] + 1) * 5).astype(int), 0, 9)
    return np.concatenate([np.bincount(place, n[:, k] * area, minlength=10) / frontal_area for k in (0, 2)])
