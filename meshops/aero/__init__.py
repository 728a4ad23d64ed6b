"""What only flows past bodies need: conditions, the frame of a body, features, silhouette, forces."""

from meshops.aero.body_surface import BodySurface, attach_body
from meshops.aero.case_spec import CaseSpec
from meshops.aero.cases import Case
from meshops.aero.conditions import FlowConditions
from meshops.aero.descriptors import describe
from meshops.aero.features import Body, FeatureSpec, body_of, frame_of, node_features, potential_velocity
from meshops.aero.forces import Forces, integrate_forces
from meshops.aero.frame import Frame
from meshops.aero.silhouette import projected_area
from meshops.aero.symmetry import lopsided_fields, lopsided_share

__all__ = [
    "Body",
    "BodySurface",
    "Case",
    "CaseSpec",
    "FeatureSpec",
    "FlowConditions",
    "Forces",
    "Frame",
    "attach_body",
    "body_of",
    "describe",
    "frame_of",
    "integrate_forces",
    "lopsided_fields",
    "lopsided_share",
    "node_features",
    "potential_velocity",
    "projected_area",
]
