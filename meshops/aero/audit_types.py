"""What the force audit takes and gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions
from meshops.aero.integrals import SurfaceIntegrals

Array = NDArray[np.float64]
TOLERANCE = 0.01
WRONG = 0.05
NOTHING = 1e-12  # a drag below this is rounding
DRAG = re.compile(r"(?i)^(c_?d|c_?x|.*drag.*|f_?x|force_?x|total_?drag)([ _(].*)?$")
LIFT = re.compile(r"(?i)^(c_?l|c_?z|.*lift.*|f_?z|force_?z)([ _(].*)?$")
COEFFICIENT = re.compile(r"(?i)^c_?[dlxz]([ _(].*)?$|coef")
PRESSURE = re.compile(
    r"(?i)^(p|pmean|p_?mean|mean_?p|pressure.*|.*_pressure|cp|c_p|press|surface_?pressure|p_?avg|.*\(p\).*)$"
)
SHEAR = re.compile(r"(?i)shear|^tau|wss|friction|^cf|traction")
AREA = re.compile(r"(?i)area|^a_?ref$|^s_?ref$|^sref$|frontal")


@dataclass(frozen=True, eq=False)
class AuditCase:
    """What the audit needs of a case: integrals, its free stream as stated, and its row of the table."""

    name: str
    surface: SurfaceIntegrals
    flow: FlowConditions
    numbers: Mapping[str, float]
    given: Mapping[str, float]


@dataclass(frozen=True)
class Suspect:
    """A case that disagrees while the others agree.

    Attributes:
        case: Its name.
        kind: ``swapped``, ``shear sign``, ``half model``, ``density``, ... or ``wrong``.
        text: In words, with the numbers.
        partner: The other case of a swap.
    """

    case: str
    kind: str
    text: str
    partner: str = ""


@dataclass(frozen=True)
class ForceAudit:
    """Outcome.

    Attributes:
        reconciled: The table is what the fields say, within 1 % in most cases.
        changes: What differs from the conditions as stated: (kind, sentence).
        text: The whole outcome in one sentence.
        flow: Conditions under which forces are those of the table; as stated where it was not reconciled.
        stated: These conditions may be relied on.
        error: Number -> typical (median) and largest relative difference.
        suspects: Cases that disagree.
        pressure, shear: Fields that were integrated.
        within: Share of the cases within 1 %.
        pairs: (case, number, integrated under the conditions as stated, tabulated) of each case.
    """

    reconciled: bool
    changes: tuple[tuple[str, str], ...]
    text: str
    flow: FlowConditions
    stated: bool
    error: Mapping[str, tuple[float, float]]
    suspects: tuple[Suspect, ...]
    pressure: str
    shear: str
    within: float
    pairs: tuple[tuple[str, str, float, float], ...] = ()

    @property
    def compared(self) -> str:
        """The first of the pairs, for a message."""
        if not self.pairs:
            return ""
        shown = ", ".join(f"{case} {made:.4g} against {known:.4g}" for case, _, made, known in self.pairs[:6])
        return f"{self.pairs[0][1]} integrated as stated against the table: {shown}" + " ..." * (len(self.pairs) > 6)


@dataclass(frozen=True, eq=False)
class Choice:
    """One way to read the table."""

    flow: Array
    up: Array
    shear: int
    sign: int
    area: str
    cost: float
