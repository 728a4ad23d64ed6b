"""What only flows past bodies need: conditions, the frame of a body, features, silhouette, forces."""

from meshops.aero.conditions import FlowConditions
from meshops.aero.forces import Forces, integrate_forces
from meshops.aero.silhouette import projected_area

__all__ = ["FlowConditions", "Forces", "integrate_forces", "projected_area"]
