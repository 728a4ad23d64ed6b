"""Groupings of nodes into patches."""

from meshops.partition.ball_tree import BallTree
from meshops.partition.budget import TokenBudget
from meshops.partition.cell_pyramid import CellPyramid
from meshops.partition.cluster import SameSizeKMeans
from meshops.partition.cover import Cover
from meshops.partition.criteria import RefineByCriteria
from meshops.partition.curves import CurvePatches
from meshops.partition.dense import DensePatches, assign, dense_patches
from meshops.partition.grid_patches import GridPatches
from meshops.partition.metis import Metis
from meshops.partition.octree import LinearOctree, Octree
from meshops.partition.partition import Hierarchy, Partition
from meshops.partition.thresholds import Thresholds

__all__ = [
    "BallTree",
    "CellPyramid",
    "Cover",
    "CurvePatches",
    "DensePatches",
    "GridPatches",
    "Hierarchy",
    "LinearOctree",
    "Metis",
    "Octree",
    "Partition",
    "RefineByCriteria",
    "SameSizeKMeans",
    "Thresholds",
    "TokenBudget",
    "assign",
    "dense_patches",
]
