"""How far a surrogate can be trusted: is a case like the training set, and what does no training give."""

from meshops.trust.novelty import FeatureRange, Novelty
from meshops.trust.yardsticks import Yardsticks, behind, yardstick_rows

__all__ = [
    "FeatureRange",
    "Novelty",
    "Yardsticks",
    "behind",
    "yardstick_rows",
]
