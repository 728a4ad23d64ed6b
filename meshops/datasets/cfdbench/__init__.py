"""CFDBench: cavity, tube, dam and cylinder flows on a grid."""

from meshops.datasets.cfdbench.dataset import CFDBench

__all__ = ["CFDBench"]
