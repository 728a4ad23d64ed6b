"""Public datasets in their published layouts, each with a small stand-in that needs no download."""

from meshops.datasets.ahmed_mini import AhmedMini
from meshops.datasets.ahmed_ml import AhmedML
from meshops.datasets.base import CaseDataset, CaseProblem
from meshops.datasets.registry import create, detect, names

__all__ = ["AhmedML", "AhmedMini", "CaseDataset", "CaseProblem", "create", "detect", "names"]
