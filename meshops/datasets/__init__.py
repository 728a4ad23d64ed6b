"""Public datasets in their published layouts, each with a small stand-in that needs no download."""

from meshops.datasets.ahmed_mini import AhmedMini
from meshops.datasets.ahmed_ml import AhmedML
from meshops.datasets.base import CaseDataset, CaseProblem
from meshops.datasets.registry import create, detect, names
from meshops.datasets.shapenet_car import ShapeNetCar
from meshops.datasets.shapenet_car_drag import CarDrag, car_drag

__all__ = [
    "AhmedML",
    "AhmedMini",
    "CarDrag",
    "CaseDataset",
    "CaseProblem",
    "ShapeNetCar",
    "car_drag",
    "create",
    "detect",
    "names",
]
