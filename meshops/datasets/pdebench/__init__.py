"""PDEBench: trajectories of equations on regular grids."""

from meshops.datasets.pdebench.dataset import PDEBench

__all__ = ["PDEBench"]
