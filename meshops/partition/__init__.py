"""Groupings of nodes into patches."""

from meshops.partition.ball_tree import BallTree
from meshops.partition.budget import TokenBudget
from meshops.partition.cell_pyramid import CellLevel, CellPyramid
from meshops.partition.cluster import SameSizeKMeans
from meshops.partition.cover import Cover
from meshops.partition.criteria import RefineByCriteria
from meshops.partition.curves import CurvePatches
from meshops.partition.dense import DensePatches, Partitioner, assign, dense_patches
from meshops.partition.grid_patches import GridPatches
from meshops.partition.mesh_tokens import BudgetTokens, CriteriaTokens, MeshTokens
from meshops.partition.metis import Metis
from meshops.partition.octree import LinearOctree, Octree
from meshops.partition.partition import Hierarchy, Partition
from meshops.partition.registry import (
    create_partitioner,
    list_partitioners,
    partitioner_needs,
    register_partitioner,
)
from meshops.partition.thresholds import Thresholds, random_thresholds

__all__ = [
    "BallTree",
    "BudgetTokens",
    "CellLevel",
    "CellPyramid",
    "Cover",
    "CriteriaTokens",
    "CurvePatches",
    "DensePatches",
    "GridPatches",
    "Hierarchy",
    "LinearOctree",
    "MeshTokens",
    "Metis",
    "Octree",
    "Partition",
    "Partitioner",
    "RefineByCriteria",
    "SameSizeKMeans",
    "Thresholds",
    "TokenBudget",
    "assign",
    "create_partitioner",
    "dense_patches",
    "list_partitioners",
    "partitioner_needs",
    "random_thresholds",
    "register_partitioner",
]
