"""Has a body a mirror plane, and have the fields on it? Measured against the plane through the middle of the body.

Only a body that is its own mirror image, in a flow that is, may be folded in half (``meshops.aero.frame``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from meshops.aero.features import TURN, Body
from meshops.aero.frame import Frame

NEAR = 0.01  # body lengths: a mirrored panel this far off the surface has no partner
APART = 0.1  # body lengths along the surface: triangles of CAD files are large
LOPSIDED = 0.02  # a body with more than this share of its area off its mirror image has no mirror plane
QUERIES = 20_000  # panels or nodes that are looked at; of larger cases, every k-th


def lopsided_share(body: Body) -> float:
    """Share of the area of a body whose mirror image does not lie on the body: 0 with a mirror plane, at most 1."""
    step = -(-len(body.area) // QUERIES)
    flip = torch.tensor([1.0, -1.0, 1.0])
    center, normal, area = body.center[::step] * flip, body.normal[::step] * flip, body.area[::step].double()
    index = _nearest(_key(body.center, body.normal), _key(center, normal))
    arm, facing = center - body.center[index], body.normal[index]
    off = (arm * facing).sum(1, keepdim=True)
    along = (arm - off * facing).norm(dim=1) - body.area[index].sqrt()
    alone = (off.squeeze(1).abs() > NEAR) | (along > APART) | ((normal * facing).sum(1) < 0.5)
    return float(area[alone].sum() / area.sum())


def lopsided_fields(pos: Tensor, normal: Tensor | None, fields: Mapping[str, Tensor], frame: Frame) -> dict[str, float]:
    """Antisymmetric part of each field over its variation: 0 for mirrored fields, 0.7 for unrelated halves.

    Args:
        pos: ``[n, 3]`` nodes as read.
        normal: ``[n, 3]`` outward normals, None off a surface.
        fields: ``[n]`` or ``[n, k]``, axes of the file; three channels are a vector.
        frame: Of the body.
    """
    whole = replace(frame, side=torch.ones_like(frame.side), folded=False)
    place, facing = whole.place(pos), None if normal is None else whole.turn(normal)
    flip = torch.tensor([1.0, -1.0, 1.0])
    chosen = slice(None, None, -(-len(pos) // QUERIES))
    mirrored = _key(place[chosen] * flip, None if facing is None else facing[chosen] * flip)
    partner = _nearest(_key(place, facing), mirrored)
    out = {}
    for name, values in fields.items():
        rows = values.reshape(len(pos), -1).double()
        vector = rows.shape[1] == 3
        rows = whole.turn(rows).double() if vector else rows
        odd = (rows[chosen] - rows[partner] * (flip.double() if vector else 1.0)) / 2
        spread = (rows[chosen] - rows.mean(0)).norm()
        out[name] = float(odd.norm() / spread) if spread > 0 else 0.0
    return out


def _key(pos: Tensor, normal: Tensor | None) -> np.ndarray:
    """Positions, and normals where there are some: the two sides of a thin part are not near each other."""
    return (pos if normal is None else torch.cat([pos, TURN * normal], 1)).numpy()


def _nearest(points: np.ndarray, queries: np.ndarray) -> Tensor:
    return torch.as_tensor(cKDTree(points).query(queries, workers=-1)[1])
