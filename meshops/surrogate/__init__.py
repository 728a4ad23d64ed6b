"""A trained task with all it needs: predict, evaluate, compress, save, load."""

from meshops.surrogate.base import Surrogate, load
from meshops.surrogate.checkpoint import read_checkpoint, write_checkpoint
from meshops.surrogate.outputs import Written, write_prediction

__all__ = [
    "Surrogate",
    "Written",
    "load",
    "read_checkpoint",
    "write_checkpoint",
    "write_prediction",
]
