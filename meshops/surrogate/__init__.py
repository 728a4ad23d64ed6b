"""A trained task with all it needs: predict, evaluate, compress, save, load."""

from meshops.surrogate.base import Surrogate, load

__all__ = ["Surrogate", "load"]
