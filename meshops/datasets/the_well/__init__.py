"""The Well: trajectories of many kinds of physics on regular grids."""

from meshops.datasets.the_well.dataset import TheWell

__all__ = ["TheWell"]
