"""The benchmarks of Geo-FNO and FNO: Darcy, elasticity, plasticity, airfoil, pipe, Navier-Stokes."""

from meshops.datasets.geo_fno.dataset import Airfoil, Darcy, Elasticity, Pipe, Plasticity
from meshops.datasets.geo_fno.navier_stokes import NavierStokes

__all__ = ["Airfoil", "Darcy", "Elasticity", "NavierStokes", "Pipe", "Plasticity"]
