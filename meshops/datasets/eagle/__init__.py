"""EAGLE: turbulent flow below a moving source, on meshes that move."""

from meshops.datasets.eagle.dataset import Eagle

__all__ = ["Eagle"]
