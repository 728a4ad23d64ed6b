"""Shapes and cases made on demand."""

from meshops.solvers.ahmed_body import AhmedShape, ahmed_body, ahmed_body_from
from meshops.solvers.joukowski import JoukowskiFlow, random_joukowski
from meshops.solvers.mesh_registry import MESH_GENERATORS, generate_mesh
from meshops.solvers.registry import GENERATORS, generate
from meshops.solvers.simulation import Simulation
from meshops.solvers.unstructured import region_mesh, square_mesh
from meshops.solvers.wake import WakeSimulation

__all__ = [
    "GENERATORS",
    "MESH_GENERATORS",
    "AhmedShape",
    "JoukowskiFlow",
    "Simulation",
    "WakeSimulation",
    "ahmed_body",
    "ahmed_body_from",
    "generate",
    "generate_mesh",
    "random_joukowski",
    "region_mesh",
    "square_mesh",
]
