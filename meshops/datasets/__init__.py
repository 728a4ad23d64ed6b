"""Public datasets in their published layouts, each with a small stand-in that needs no download."""

from meshops.datasets.ahmed_mini import AhmedMini
from meshops.datasets.ahmed_ml import AhmedML
from meshops.datasets.airfrans import AirfRANS
from meshops.datasets.base import CaseDataset, CaseProblem
from meshops.datasets.cfdbench import CFDBench
from meshops.datasets.eagle import Eagle
from meshops.datasets.geo_fno import Airfoil, Darcy, Elasticity, Pipe, Plasticity
from meshops.datasets.mesh_graph_nets import MeshGraphNets
from meshops.datasets.mesh_trajectory import MeshSpec, MeshTrajectoryDataset, MeshWindow
from meshops.datasets.navier_stokes import NavierStokes
from meshops.datasets.pdebench import PDEBench
from meshops.datasets.registry import create, create_mesh_trajectories, create_trajectories, detect, names
from meshops.datasets.shapenet_car import ShapeNetCar
from meshops.datasets.shapenet_car_drag import CarDrag, car_drag
from meshops.datasets.the_well import TheWell
from meshops.datasets.trajectory import GridSpec, TrajectoryDataset

__all__ = [
    "AhmedML",
    "AhmedMini",
    "AirfRANS",
    "Airfoil",
    "CFDBench",
    "CarDrag",
    "CaseDataset",
    "CaseProblem",
    "Darcy",
    "Eagle",
    "Elasticity",
    "GridSpec",
    "MeshGraphNets",
    "MeshSpec",
    "MeshTrajectoryDataset",
    "MeshWindow",
    "NavierStokes",
    "PDEBench",
    "Pipe",
    "Plasticity",
    "ShapeNetCar",
    "TheWell",
    "TrajectoryDataset",
    "car_drag",
    "create",
    "create_mesh_trajectories",
    "create_trajectories",
    "detect",
    "names",
]
