"""Groupings of nodes into patches."""

from meshops.partition.ball_tree import BallTree
from meshops.partition.dense import DensePatches, assign, dense_patches
from meshops.partition.partition import Hierarchy, Partition

__all__ = ["BallTree", "DensePatches", "Hierarchy", "Partition", "assign", "dense_patches"]
