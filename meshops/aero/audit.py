"""Force audit: which signs, axes, units and reference areas make the integrated forces those of a table.

Drag and lift of a table are compared with

    n_i = ( -s_p P_i + s_t T_i ) . e / ( q S_i )

P the integral of pressure times outward normal, T that of the shear, e an axis, S one of several reference areas, q a
constant. Every choice is tried; the constant that is left has to have a reason (density, dynamic pressure, half a
model, a unit of length). Of the choices that agree within 1 % the one with the fewest changes from what is stated wins.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meshops.aero.audit_factors import Reason, reasons
from meshops.aero.conditions import FlowConditions
from meshops.aero.integrals import SurfaceIntegrals

Array = NDArray[np.float64]
TOLERANCE = 0.01
WRONG = 0.05
CORE = 0.7  # share of the cases that must agree
DRAG = re.compile(r"(?i)^(c_?d|c_?x|.*drag.*|f_?x|force_?x|total_?drag)([ _(].*)?$")
LIFT = re.compile(r"(?i)^(c_?l|c_?z|.*lift.*|f_?z|force_?z)([ _(].*)?$")
COEFFICIENT = re.compile(r"(?i)^c_?[dlxz]([ _(].*)?$|coef")
PRESSURE = re.compile(r"(?i)^(p|pmean|p_?mean|mean_?p|pressure.*|.*_pressure|cp|c_p|press|surface_?pressure|p_?avg|.*\(p\).*)$")
SHEAR = re.compile(r"(?i)shear|^tau|wss|friction|^cf|traction")
AREA = re.compile(r"(?i)area|^a_?ref$|^s_?ref$|^sref$|frontal")
SPEED = re.compile(r"(?i)^(speed|velocity|u_?inf.*|v_?inf.*|u_?ref|u0|u|v|magu.*|wind_?speed|inlet_?velocity)$")
DENSITY = re.compile(r"(?i)^(density|rho.*)$")


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
        reconciled: The table is what the fields say, in at least 70 % of the cases, within 1 %.
        changes: What differs from the conditions as stated: (kind, sentence).
        text: The whole outcome in one sentence.
        flow: Conditions under which forces are those of the table; as stated where it was not reconciled.
        stated: These conditions may be relied on.
        error: Number -> typical (median) and largest relative difference.
        suspects: Cases that disagree.
        pressure, shear: Fields that were integrated.
        within: Share of the cases within 1 %.
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


@dataclass(frozen=True, eq=False)
class Choice:
    """One way to read the table."""

    flow: Array
    up: Array
    shear: int
    sign: int
    area: str
    cost: float


def audit_forces(cases: Sequence[AuditCase], *, stated: bool, fields: Sequence[str] = ()) -> ForceAudit | None:
    """Compare integrated forces with the drag and lift of a table.

    Args:
        cases: Surfaces with a pressure field, as :class:`AuditCase`.
        stated: Their conditions were stated; False: axes at best.
        fields: Names of the fields, the likeliest pressure and shear first; default: by their names.

    Returns:
        None where there is no surface with a pressure.
    """
    names = list(fields) or sorted({n for c in cases for n in (*c.surface.of_normal, *c.surface.of_vector)})
    pressure = find_field(names, PRESSURE, [c.surface.of_normal for c in cases])
    if not cases or not pressure:
        return None
    shear = find_field(names, SHEAR, [c.surface.of_vector for c in cases])
    drag, lift = (_column(cases, pattern) for pattern in (DRAG, LIFT))
    if not drag and not lift:
        return _without_table(cases, pressure, shear, stated)
    return _Audit(cases, pressure, shear, drag, lift, stated).outcome()


def find_field(names: Sequence[str], pattern: re.Pattern[str], there: Sequence[Mapping[str, Array]]) -> str:
    """First name that all cases have and that sounds like it; empty: none."""
    known = [name for name in names if all(name in table for table in there)]
    return next((name for name in known if pattern.search(name)), "")


def _column(cases: Sequence[AuditCase], pattern: re.Pattern[str]) -> str:
    known = [n for n in cases[0].numbers if all(math.isfinite(c.numbers.get(n, math.nan)) for c in cases)]
    named = [n for n in known if pattern.match(n.strip())]
    return min(named, key=len, default="")


class _Audit:
    """The search over choices for one set of cases."""

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
        return factor, max(float(np.quantile(v, CORE, method="higher")) for v in off.values())

    def differences(self, choice: Choice, factor: float) -> dict[str, Array]:
        """Relative difference of each number in each case; of a lift near zero, relative to the drag."""
        predicted = self.predicted(choice)
        size = np.abs(self.table[self.drag or self.lift])
        out = {}
        for name in self.names:
            floor = 0.5 * np.median(size) if name != self.drag else 0.25 * np.median(size)
            out[name] = np.abs(predicted[name] / factor - self.table[name]) / np.maximum(np.abs(self.table[name]), floor)
        return out

    def outcome(self) -> ForceAudit:
        """The plainest choice that agrees, and what it says."""
        scored: list[tuple[float, float, Choice, float, Reason]] = []
        for choice in self.choices():
            factor, off = self.fit(choice)
            if not math.isfinite(off) or off > 0.3:
                continue
            reason = self._reason(choice, factor)
            misfit = abs(factor / reason.factor - 1)
            total = max(off, misfit)
            price = choice.cost + reason.cost + (0.4 * total / TOLERANCE if total < 2 * TOLERANCE else 4 + 20 * total)
            scored.append((price, total, choice, factor, reason))
        if not scored:
            return self._unreconciled(None, 1.0)
        _, total, choice, factor, reason = min(scored, key=lambda item: item[0])
        off = np.max(list(self.differences(choice, reason.factor).values()), axis=0)
        if float(np.mean(off < WRONG)) < CORE or total > 3 * TOLERANCE:
            return self._unreconciled(choice, factor)
        return self._reconciled(choice, factor, reason)

    def _reason(self, choice: Choice, factor: float) -> Reason:
        half = any(c.surface.half_of is not None for c in self.cases)
        length = float(np.median([np.linalg.norm(c.surface.high - c.surface.low) for c in self.cases]))
        if choice.area == "none":  # forces in N: nothing was divided by
            base = 1.0
            stated = self.flow.density if self.flow.kinematic else 1.0
            return min(reasons(factor * stated / base, 1.0, half=half, length=length, force=True), key=_misfit(factor))
        q = self.flow.dynamic_pressure
        if self.speed2 is not None:
            q = 0.5 * (1.0 if self.flow.kinematic or self.density is not None else self.flow.density)
        if choice.area == "constant":
            area = self.flow.frontal_area
            if area is None:
                return Reason(factor, "area", f"the reference area is {factor / q:.5g} m^2 for all cases", 0.0, factor / q)
            q *= area
        found = reasons(factor / q, q, half=half, length=length, stated=self.stated or self.speed2 is not None)
        return min(found, key=_misfit(factor))

    def _unreconciled(self, choice: Choice | None, factor: float) -> ForceAudit:
        error = {}
        text = "the integrated forces are not those of the table, under no sign, axis, area or unit that was tried"
        if choice is not None:
            off = self.differences(choice, factor)
            error = {n: (float(np.median(v)), float(v.max())) for n, v in off.items()}
            text += f"; the nearest is {max(e for e, _ in error.values()):.0%} off ({_said(choice)})"
        return ForceAudit(False, (), text, self.flow, False, error, (), self.pressure, self.shear, 0.0)

    def _reconciled(self, choice: Choice, factor: float, reason: Reason) -> ForceAudit:
        from meshops.aero.audit_cases import suspects

        off = self.differences(choice, reason.factor)
        worst = np.max(list(off.values()), axis=0)
        changes = tuple(self._changes(choice, reason))
        error = {n: (float(np.median(v)), float(v.max())) for n, v in off.items()}
        listed = suspects(self, choice, reason.factor, worst)
        within = float(np.mean(worst < TOLERANCE))
        text = f"integrated and tabulated {' and '.join(self.names)} agree within 1 % in {within:.0%} of the cases"
        text += f" (typically {np.median(worst):.2%}, at most {worst.max():.1%})"
        if changes:
            text += ", once " + "; ".join(sentence for _, sentence in changes)
        return ForceAudit(
            True, changes, text, self._flow(choice, reason), True, error, listed, self.pressure, self.shear, within
        )

    def _changes(self, choice: Choice, reason: Reason) -> Iterator[tuple[str, str]]:
        if not np.allclose(choice.flow, self.flow.flow):
            yield "axis", f"the flow is taken along {_axis(choice.flow)} instead of {_axis(np.array(self.flow.flow))}"
        if self.lift and not np.allclose(choice.up, self.flow.up):
            yield "axis", f"lift is taken along {_axis(choice.up)} instead of {_axis(np.array(self.flow.up))}"
        if self.shear and choice.shear != self.flow.shear_sign:
            if choice.shear == 0:
                yield "shear sign", f"'{self.shear}' is left out: the table holds the forces of the pressure alone"
            else:
                whose = "that of OpenFOAM (minus the force)" if choice.shear < 0 else "that of the force on the body"
                yield "shear sign", f"the sign of '{self.shear}' is {whose}"
        if choice.sign < 0:
            yield "pressure sign", f"the sign of '{self.pressure}' is turned"
        usual = "constant" if self.flow.frontal_area is not None else self.flow.area_rule
        if choice.area not in ("none", "constant", usual):
            rule = {"hull": "convex hull of the projection", "box": "box of the body", "silhouette": "silhouette"}
            yield "area", f"the reference area is the {rule.get(choice.area, choice.area)}"
        if reason.kind:
            yield reason.kind, reason.text

    def _flow(self, choice: Choice, reason: Reason) -> FlowConditions:
        """Conditions that make :func:`meshops.aero.integrate_forces` give the table."""
        flow = replace(self.flow, flow=_triple(choice.flow), up=_triple(choice.up))
        if choice.shear:
            flow = replace(flow, shear_sign=choice.shear)
        if choice.area in ("silhouette", "hull"):
            flow = replace(flow, area_rule=choice.area, frontal_area=None)  # type: ignore[arg-type]
        if choice.area == "constant" and reason.kind == "area":
            flow = replace(flow, frontal_area=reason.value)
        return reason.conditions(flow)


def _without_table(cases: Sequence[AuditCase], pressure: str, shear: str, stated: bool) -> ForceAudit:
    closed = sum(c.surface.closed for c in cases)
    what = f"'{pressure}'" + (f" and '{shear}'" if shear else ", no shear")
    text = f"no drag or lift in the table; {what} can be integrated, {closed} of {len(cases)} surfaces are closed"
    if not stated:
        text += "; speed, density and the sign of the shear are not known, so that forces are not given"
    return ForceAudit(False, (), text, cases[0].flow, stated, {}, (), pressure, shear, 0.0)


def _densest(ratio: Array) -> float:
    """Middle of the shortest interval that holds most of the ratios."""
    ordered = np.sort(ratio)
    half = len(ordered) // 2 + 1
    width = (ordered[half - 1 :] - ordered[: len(ordered) - half + 1]) / np.abs(ordered[half - 1 :])
    first = int(width.argmin())
    return float(np.median(ordered[first : first + half]))


def _misfit(factor: float) -> object:
    """Order of reasons: what explains the constant, the plainest first."""

    def price(reason: Reason) -> float:
        off = abs(factor / reason.factor - 1)
        return reason.cost + (0.4 * off / TOLERANCE if off < 2 * TOLERANCE else 4 + 20 * min(off, 100.0))

    return price


def _axis(vector: Array) -> str:
    if np.abs(vector).max() > 1 - 1e-9:
        k = int(np.abs(vector).argmax())
        return f"{'+' if vector[k] > 0 else '-'}{'xyz'[k]}"
    return "(" + ", ".join(f"{v:.3g}" for v in vector) + ")"


def _said(choice: Choice) -> str:
    shear = {1: "shear added", -1: "shear subtracted", 0: "pressure alone"}[choice.shear]
    return f"flow along {_axis(choice.flow)}, {shear}, area: {choice.area}"


def _triple(vector: Array) -> tuple[float, float, float]:
    return (float(vector[0]), float(vector[1]), float(vector[2]))
