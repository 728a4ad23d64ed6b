"""Groupings of nodes into patches."""

from meshops.partition.ball_tree import BallTree
from meshops.partition.cluster import SameSizeKMeans
from meshops.partition.curves import CurvePatches
from meshops.partition.dense import DensePatches, assign, dense_patches
from meshops.partition.metis import Metis
from meshops.partition.octree import LinearOctree, Octree
from meshops.partition.partition import Hierarchy, Partition

__all__ = [
    "BallTree",
    "CurvePatches",
    "DensePatches",
    "Hierarchy",
    "LinearOctree",
    "Metis",
    "Octree",
    "Partition",
    "SameSizeKMeans",
    "assign",
    "dense_patches",
]
