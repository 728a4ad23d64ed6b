"""The body's own frame: x along the flow, y across, z up, in lengths of the body.

    p' = (R p - o) / L,   L: extent of the body along the flow

The origin o is the middle of the body along the flow and across it, and the height of the ground (the middle of the
body in free air). Models see these coordinates only, so that neither the place of a body in its file nor the unit of
the file matters. Where shape and flow have a mirror plane, both halves share y >= 0: a node and its mirror image get
the same input and mirrored vectors.

Positions lie on a grid of ``GRID`` body lengths. Meshes hold many nodes at equal coordinates, and trees that split
nodes at a median would deal them out by rounding noise, differently for each place of the body.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from meshops.aero.conditions import FlowConditions
from meshops.errors import InputError

GRID = 2.0**-16  # body lengths; a power of two: its multiples are exact in single precision


@dataclass(frozen=True, eq=False)
class Frame:
    """Rotation, origin and unit of length of the body's frame, and the side of each node.

    Attributes:
        rotation: ``[3, 3]`` float64, rows flow, lateral, up.
        origin: ``[3]`` float64, m, in the turned axes.
        length: Extent of the body along the flow, m.
        side: ``[n]`` +1 or -1: sign of y of each node; ones without symmetry.
        has_ground: There is a ground, at z = 0.
        folded: Mirror images share one half.
    """

    rotation: Tensor
    origin: Tensor
    length: float
    side: Tensor
    has_ground: bool
    folded: bool

    @classmethod
    def of(cls, pos: Tensor, conditions: FlowConditions, body: Tensor | None = None) -> Frame:
        """Frame of the nodes of a case, ``pos [n, 3]`` as read.

        Args:
            pos: Nodes.
            conditions: Axes, ground, symmetry.
            body: ``[m, 3]`` points that span the body; None: the nodes themselves.

        Raises:
            InputError: The body has no extent along the flow.
        """
        rotation = torch.as_tensor(conditions.frame, dtype=torch.float64)
        turned = (pos if body is None else body).to(torch.float64) @ rotation.T
        low, high = turned.amin(0), turned.amax(0)
        length = float(high[0] - low[0])
        if not length > 0:
            raise InputError("the body has no extent along the flow; check the flow direction")
        origin = (low + high) / 2
        if conditions.ground is not None:
            origin[2] = conditions.ground
        frame = cls(rotation, origin, length, torch.ones(len(pos)), conditions.ground is not None, False)
        if not conditions.symmetric:
            return frame
        return replace(frame, side=torch.where(frame.place(pos)[:, 1] < 0, -1.0, 1.0), folded=True)

    def place(self, pos: Tensor) -> Tensor:
        """Positions ``[m, 3]`` of anything in the frame, not folded, on the grid."""
        exact = (pos.to(torch.float64) @ self.rotation.T - self.origin) / self.length
        return ((exact / GRID).round() * GRID + 0.0).to(torch.float32)  # + 0.0: no negative zeros

    def turn(self, vectors: Tensor) -> Tensor:
        """Vectors ``[m, 3]`` along the axes of the frame, not folded."""
        return (vectors.to(torch.float64) @ self.rotation.T).to(torch.float32)

    def points(self, pos: Tensor) -> Tensor:
        """Positions ``[n, 3]`` of the nodes, folded to y >= 0."""
        return self.fold(self.place(pos))

    def vectors(self, values: Tensor) -> Tensor:
        """Vectors ``[n, 3]`` at the nodes, mirrored where the node was."""
        return self.fold(self.turn(values))

    def fold(self, values: Tensor) -> Tensor:
        """Values ``[n, 3]`` in the axes of the frame, mirrored on the nodes of the other side."""
        return torch.cat([values[:, :1], values[:, 1:2] * self.side.unsqueeze(1), values[:, 2:]], 1)

    def restore(self, values: Tensor) -> Tensor:
        """Vectors ``[n, 3]`` of the frame back in the axes of the file: inverse of :meth:`vectors`."""
        return self.fold(values) @ self.rotation.to(values.dtype)

    def to(self, device: torch.device | str) -> Frame:
        """Copy on another device."""
        return replace(
            self, rotation=self.rotation.to(device), origin=self.origin.to(device), side=self.side.to(device)
        )
