"""Intervals from errors on cases that were held out: conformal prediction (Vovk et al. 2005; Barber et al. 2021).

With n held-out scores r_1 <= ... <= r_n of cases that are exchangeable with a new one, its score is at most r_k with
probability k / (n + 1) on average. So a level needs (n + 1) level <= n cases: nine for 90 %. Between two scores the
radius is interpolated: intervals hold the level on average, not more than it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from meshops.errors import InputError

Array = NDArray[np.float64]
LEVEL = 0.9  # that is given where nothing else is asked for
STEP = 0.05  # a lower one, where the cases do not support it, is a multiple of this
LEAST = 0.5  # below which an interval is of no use


def cases_needed(level: float) -> int:
    """Fewest held-out cases that support a level.

    Raises:
        InputError: The level is not between 0 and 1.

    Example:
        >>> [cases_needed(level) for level in (0.5, 0.8, 0.9, 0.95)]
        [1, 4, 9, 19]
    """
    if not 0 < level < 1:
        raise InputError(f"a level is a share between 0 and 1, such as 0.9, got {level:g}")
    return math.ceil(level / (1 - level) - 1e-9)


def check_level(level: float, cases: int) -> float:
    """The level, where so many held-out cases support it.

    Raises:
        InputError: They do not; the message says how many would.
    """
    needed = cases_needed(level)
    if cases < needed:
        most = f"; with {cases} at most {math.floor(100 * cases / (cases + 1)):.0f} %" if cases else ""
        raise InputError(
            f"intervals of {100 * level:g} % need {needed} held-out cases, this surrogate has {cases}{most}; "
            "ask for a lower level, or calibrate with more cases"
        )
    return level


def highest_level(cases: int) -> float:
    """The highest level up to :data:`LEVEL` that so many cases support; 0 where none is of use."""
    if cases >= cases_needed(LEVEL):
        return LEVEL
    supported = math.floor(cases / (cases + 1) / STEP + 1e-9) * STEP
    return round(supported, 2) if supported >= LEAST else 0.0


def radius(scores: Array, level: float) -> float:
    """The score that a new case stays below with probability ``level``.

    Raises:
        InputError: There are too few scores.
    """
    check_level(level, len(scores))
    place = (len(scores) + 1) * level - 1
    return float(np.interp(place, np.arange(len(scores)), np.sort(scores)))
