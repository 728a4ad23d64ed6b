"""How far a surrogate can be trusted: intervals, is a case like the training set, and what does no training give."""

from meshops.trust.calibration import Trust, support
from meshops.trust.conformal import cases_needed, check_level, highest_level, radius
from meshops.trust.held_out import calibrated_on
from meshops.trust.learning import HeldOut, calibrated
from meshops.trust.novelty import FeatureRange, Novelty
from meshops.trust.yardsticks import Yardsticks, behind, yardstick_rows

__all__ = [
    "FeatureRange",
    "HeldOut",
    "Novelty",
    "Trust",
    "Yardsticks",
    "behind",
    "calibrated",
    "calibrated_on",
    "cases_needed",
    "check_level",
    "highest_level",
    "radius",
    "support",
    "yardstick_rows",
]
