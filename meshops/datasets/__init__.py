"""Public datasets in their published layouts, each with a small stand-in that needs no download."""

from meshops.datasets.ahmed.mini import AhmedMini
from meshops.datasets.ahmed.ml import AhmedML
from meshops.datasets.airfrans.dataset import AirfRANS
from meshops.datasets.base import CaseDataset, CaseProblem
from meshops.datasets.cfdbench.dataset import CFDBench
from meshops.datasets.detection import detect, open_data
from meshops.datasets.drivaer.ml import DrivAerML
from meshops.datasets.drivaer.net import DrivAerNet
from meshops.datasets.eagle.dataset import Eagle
from meshops.datasets.folder.dataset import FolderCases
from meshops.datasets.folder.description import Description, FieldEntry, Match, Quantity, Snapshot
from meshops.datasets.geo_fno.dataset import Airfoil, Darcy, Elasticity, Pipe, Plasticity
from meshops.datasets.geo_fno.navier_stokes import NavierStokes
from meshops.datasets.graph_list import GraphList
from meshops.datasets.graph_trajectories import GraphTrajectories, GridTrajectories, as_trajectories
from meshops.datasets.mesh_files import MeshFiles, write_graphs
from meshops.datasets.mesh_graph_nets.dataset import MeshGraphNets
from meshops.datasets.mesh_trajectory import MeshSpec, MeshTrajectoryDataset, MeshWindow
from meshops.datasets.pdebench.dataset import PDEBench
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.datasets.registry import create, names, options, register_dataset
from meshops.datasets.shapenet_car.dataset import ShapeNetCar
from meshops.datasets.shapenet_car.drag import CarDrag, car_drag
from meshops.datasets.store import StoredCases
from meshops.datasets.study import Study, guess_study
from meshops.datasets.study import open_folder as open
from meshops.datasets.the_well.dataset import TheWell
from meshops.datasets.trajectory import GridSpec, Trajectories, TrajectoryDataset

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
    "Description",
    "DrivAerML",
    "DrivAerNet",
    "Eagle",
    "Elasticity",
    "FieldEntry",
    "FolderCases",
    "GraphList",
    "GraphTrajectories",
    "GridSpec",
    "GridTrajectories",
    "Match",
    "MeshFiles",
    "MeshGraphNets",
    "MeshSpec",
    "MeshTrajectoryDataset",
    "MeshWindow",
    "NavierStokes",
    "PDEBench",
    "Pipe",
    "Plasticity",
    "PointTrajectories",
    "Quantity",
    "ShapeNetCar",
    "Snapshot",
    "StoredCases",
    "Study",
    "TheWell",
    "Trajectories",
    "TrajectoryDataset",
    "as_trajectories",
    "car_drag",
    "create",
    "detect",
    "guess_study",
    "names",
    "open",
    "open_data",
    "options",
    "register_dataset",
    "write_graphs",
]
