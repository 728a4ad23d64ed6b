"""The choices of a force audit: axes, signs, areas, and how well the table follows from each."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from meshops.aero.audit_factors import Reason, reasons
from meshops.aero.audit_types import AREA, COEFFICIENT, Array, AuditCase, Choice
from meshops.aero.conditions import DENSITY, SPEED


class Search:
    """The search over choices for one set of cases.

    Args:
        cases: With their rows of the table.
        pressure, shear: Fields; the shear may be empty.
        drag, lift: Columns; one may be empty.
        stated: The conditions of the cases were stated.
    """

    def __init__(
        self, cases: Sequence[AuditCase], pressure: str, shear: str, drag: str, lift: str, stated: bool
    ) -> None:
        self.cases, self.pressure, self.shear, self.stated = list(cases), pressure, shear, stated
        self.names = [n for n in (drag, lift) if n]
        self.drag, self.lift = drag, lift
        self.flow = cases[0].flow
        self.table = {n: np.array([c.numbers[n] for c in cases]) for n in self.names}
        self.coefficient = all(COEFFICIENT.search(n) for n in self.names)
        self.of_p = np.array([c.surface.of_normal[pressure] for c in cases])
        self.of_t = np.array([c.surface.of_vector[shear] for c in cases]) if shear else np.zeros((len(cases), 3))
        self.speed2, self.density = self._given(SPEED, 2.0), self._given(DENSITY, 1.0)
        self.areas = self._areas()

    def _given(self, pattern: re.Pattern[str], power: float) -> Array | None:
        """A condition of the cases that scales their forces, to a power; None: there is none."""
        names = [n for n in self.cases[0].given if pattern.match(n) and all(c.given.get(n, 0) > 0 for c in self.cases)]
        return np.array([c.given[names[0]] for c in self.cases]) ** power if names else None

    def _areas(self) -> dict[str, Array]:
        """Reference areas by what they are; shadows are per axis, ``[n, 3]``."""
        surfaces = [c.surface for c in self.cases]
        extent = np.array([s.high - s.low for s in surfaces])
        out = {
            "silhouette": np.array([s.shadow for s in surfaces]),
            "hull": np.array([s.hull for s in surfaces]),
            "box": np.stack([extent[:, 1] * extent[:, 2], extent[:, 0] * extent[:, 2], extent[:, 0] * extent[:, 1]], 1),
        }
        for name in self.cases[0].given:
            if AREA.search(name) and all(c.given.get(name, 0) > 0 for c in self.cases):
                out[f"column {name}"] = np.repeat(np.array([c.given[name] for c in self.cases])[:, None], 3, 1)
        out["constant"] = np.ones((len(surfaces), 3))
        return out

    def choices(self) -> Iterator[Choice]:
        """All ways to read the table, with what they cost in plainness."""
        stated_axis, stated_up = np.array(self.flow.flow), np.array(self.flow.up)
        axes = [s * np.eye(3)[k] for k in range(3) for s in (1.0, -1.0)]
        if not any(np.allclose(a, stated_axis) for a in axes):
            axes = [stated_axis, stated_up, *axes]
        shears = (self.flow.shear_sign, -self.flow.shear_sign, 0) if self.shear else (0,)
        areas = list(self.areas) if self.coefficient else ["none"]
        for flow, up in itertools.product(axes, axes):
            if abs(float(flow @ up)) > 1e-6:
                continue
            turned = 0.0 if np.allclose(flow, stated_axis) else 1.5
            turned += 0.0 if np.allclose(up, stated_up) else 0.7
            for shear, sign, area in itertools.product(shears, (1, -1), areas):
                cost = turned + (0.0 if not self.shear or shear == self.flow.shear_sign else 0.8 + 0.3 * (shear == 0))
                cost += (0.0 if sign > 0 else 1.2) + self._area_cost(area)
                yield Choice(flow, up, shear, sign, area, cost)

    def _area_cost(self, area: str) -> float:
        stated = self.flow.frontal_area
        if area == "none" or (stated is not None and area == "constant"):
            return 0.0
        plain = {"silhouette": 0.0, "hull": 0.9, "box": 1.0, "constant": 1.1}
        if stated is None and self.flow.area_rule == "hull":
            plain |= {"silhouette": 0.9, "hull": 0.0}
        return plain.get(area, 0.3) + (0.5 if stated is not None else 0.0)

    def predicted(self, choice: Choice) -> dict[str, Array]:
        """What the table should hold under a choice, up to one constant; dynamic pressure as stated."""
        force = -choice.sign * self.of_p + choice.shear * self.of_t
        scale = np.full(len(self.cases), 1.0)
        if choice.area != "none":
            k = int(np.abs(choice.flow).argmax())
            scale = scale / self.areas[choice.area][:, k]
            if self.speed2 is not None:
                scale = scale / self.speed2
            if self.density is not None and not self.flow.kinematic:
                scale = scale / self.density
        out = {}
        for name, axis in ((self.drag, choice.flow), (self.lift, choice.up)):
            if name:
                out[name] = (force @ axis) * scale
        return out

    def fit(self, choice: Choice) -> tuple[float, float]:
        """Constant between integrated and tabulated values, and the difference of the core of the cases."""
        predicted = self.predicted(choice)
        lead = self.drag or self.lift
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = predicted[lead] / self.table[lead]
        ratio = ratio[np.isfinite(ratio) & (ratio != 0)]
        if not len(ratio):
            return math.nan, math.inf
        factor = _densest(ratio)
        if not factor > 0:
            return factor, math.inf
        off = self.differences(choice, factor)
        worst = np.sort(np.max(list(off.values()), axis=0))
        return factor, float(worst[core_of(len(worst)) - 1])

    def as_stated(self) -> tuple[tuple[str, str, float, float], ...]:
        """(case, number, integrated under the conditions as stated, tabulated)."""
        area = "none" if not self.coefficient else self.flow.area_rule
        choice = Choice(np.array(self.flow.flow), np.array(self.flow.up), self.flow.shear_sign, 1, area, 0.0)
        q = 1.0 if area == "none" else self.flow.dynamic_pressure
        if area != "none" and self.flow.frontal_area is not None:
            choice, q = replace(choice, area="constant"), q * self.flow.frontal_area
        lead = self.drag or self.lift
        values = self.predicted(choice)[lead] / q
        pairs = zip(self.cases, values, self.table[lead], strict=True)
        return tuple((case.name, lead, float(value), float(known)) for case, value, known in pairs)

    def differences(self, choice: Choice, factor: float) -> dict[str, Array]:
        """Relative difference of each number in each case; of a lift below the drag, relative to that."""
        predicted = self.predicted(choice)
        size = np.abs(self.table[self.drag or self.lift])
        least = (0.25 if self.drag else 0.5) * float(np.median(size))
        out = {}
        for name in self.names:
            scale = np.maximum(np.abs(self.table[name]), np.maximum(size, least) if name != self.drag else least)
            out[name] = np.abs(predicted[name] / factor - self.table[name]) / scale
        return out

    def reason(self, choice: Choice, factor: float) -> Reason:
        """Plainest reason for the constant of a choice."""
        half = any(c.surface.half_of is not None for c in self.cases)
        length = float(np.median([np.linalg.norm(c.surface.high - c.surface.low) for c in self.cases]))
        if choice.area == "none":  # forces in N: nothing was divided by
            known = reasons(factor, 1.0, half=half, length=length, force=True, kinematic=self.flow.kinematic)
            return min(known, key=_misfit(factor))
        q = self.flow.dynamic_pressure
        if self.speed2 is not None:
            q = 0.5 * (1.0 if self.flow.kinematic or self.density is not None else self.flow.density)
        if choice.area == "constant":
            area = self.flow.frontal_area
            if area is None:
                return Reason(
                    factor, "area", f"the reference area is {factor / q:.5g} m^2 for all cases", 0.0, factor / q
                )
            q *= area
        found = reasons(factor / q, q, half=half, length=length, stated=self.stated or self.speed2 is not None)
        return min(found, key=_misfit(factor))


def core_of(count: int) -> int:
    """Cases that must agree: half of few, six in ten of many."""
    return min(count, max(2, math.ceil((0.5 if count < 8 else 0.6) * count)))


def _densest(ratio: Array) -> float:
    """Middle of the shortest interval that holds most of the ratios."""
    ordered = np.sort(ratio)
    half = len(ordered) // 2 + 1
    width = (ordered[half - 1 :] - ordered[: len(ordered) - half + 1]) / np.abs(ordered[half - 1 :])
    first = int(width.argmin())
    return float(np.median(ordered[first : first + half]))


def _misfit(factor: float) -> Callable[[Reason], float]:
    """Order of reasons: what explains the constant, the plainest first."""

    def price(reason: Reason) -> float:
        return reason.cost + min(abs(factor / reason.factor - 1) / 0.004, 1e6)

    return price
