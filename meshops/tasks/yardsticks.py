"""Predictions that need no training: what any surrogate has to beat on the same held-out shapes.

``mean``: the training mean everywhere. ``nearest``: the fields of the nearest training shape. ``average``: the mean of
the fields of all training shapes. The last two carry values over from the nearest point in coordinates of the unit
bounding box; "nearest" means the Euclidean distance of the z-scored geometry parameters (of the shape descriptors
where a dataset has no parameters).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Example:
    """A training shape.

    Attributes:
        pos: ``[n, 3]`` nodes.
        corners: ``[2, 3]`` lower and upper corner of the bounding box of the mesh.
        fields: ``[n, c]``.
        parameters: ``[g]`` geometry parameters.
    """

    pos: Array
    corners: Array
    fields: Array
    parameters: Array

    @property
    def unit(self) -> Array:
        """Positions in the unit bounding box."""
        return unit_box(self.pos, self.corners)


class Yardsticks:
    """The three yardsticks for a training set.

    Args:
        training: Training shapes.
    """

    def __init__(self, training: Sequence[Example]) -> None:
        self.training = training
        self.trees = [cKDTree(example.unit) for example in training]
        self.mean = np.concatenate([example.fields for example in training]).mean(0)
        parameters = np.array([example.parameters for example in training])
        self.scale = parameters.std(0)
        self.scale[self.scale == 0] = 1
        self.parameters = parameters

    def predict(self, pos: Array, corners: Array, parameters: Array) -> dict[str, Array]:
        """Fields ``[n, c]`` of each yardstick at the nodes of a new shape."""
        unit = unit_box(pos, corners)
        carried = [
            example.fields[tree.query(unit, workers=-1)[1]]
            for example, tree in zip(self.training, self.trees, strict=True)
        ]
        distance = np.linalg.norm((self.parameters - parameters) / self.scale, axis=1)
        return {
            "mean": np.broadcast_to(self.mean, (len(pos), self.mean.size)),
            "nearest": carried[int(distance.argmin())],
            "average": np.mean(carried, axis=0),
        }


def unit_box(pos: Array, corners: Array) -> Array:
    """Positions scaled so that the bounding box becomes [0, 1]^3."""
    low, high = corners
    return np.asarray((pos - low) / np.where(high > low, high - low, 1), dtype=np.float64)
