"""One frame for all cases: x along the flow, y across, z up, ground at z = 0, and y >= 0 by mirror symmetry.

Models see canonical coordinates only, so that data sets with different axes share features, and the mirror symmetry of
the flow problem is exact: a node and its mirror image get the same input and mirrored vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from meshops.aero.conditions import FlowConditions


@dataclass(frozen=True, eq=False)
class Frame:
    """Rotation into the canonical frame and the side of each node.

    Attributes:
        rotation: ``[3, 3]``, ``canonical = rotation @ v``.
        height: Height of the ground along ``up``, m, subtracted from z.
        side: ``[n]`` +1 or -1: sign of y of each node; ones without symmetry.
        has_ground: There is a ground, at z = 0.
        folded: Mirror images share one half.
    """

    rotation: Tensor
    height: float
    side: Tensor
    has_ground: bool
    folded: bool

    @classmethod
    def of(cls, pos: Tensor, conditions: FlowConditions) -> Frame:
        """Frame of the nodes of a case, ``pos [n, 3]`` as read."""
        rotation = torch.as_tensor(conditions.frame, dtype=pos.dtype)
        lateral = pos @ rotation[1]
        side = torch.where(lateral < 0, -1.0, 1.0) if conditions.symmetric else torch.ones_like(lateral)
        ground = conditions.ground
        height = 0.0 if ground is None else ground
        return cls(rotation, height, side.to(pos.dtype), ground is not None, conditions.symmetric)

    def points(self, pos: Tensor) -> Tensor:
        """Positions ``[n, 3]`` in the canonical frame, folded to y >= 0."""
        out = self.vectors(pos)
        out[:, 2] -= self.height
        return out

    def vectors(self, values: Tensor) -> Tensor:
        """Vectors ``[n, 3]`` in the canonical frame, mirrored where the node was."""
        out = values @ self.rotation.T
        out[:, 1] *= self.side
        return out

    def restore(self, values: Tensor) -> Tensor:
        """Canonical vectors ``[n, 3]`` back in the axes of the file: inverse of :meth:`vectors`."""
        out = values.clone()
        out[:, 1] *= self.side
        return out @ self.rotation

    def to(self, device: torch.device | str) -> Frame:
        """Copy on another device."""
        return replace(self, rotation=self.rotation.to(device), side=self.side.to(device))
