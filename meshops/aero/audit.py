"""Force audit: which signs, axes, units and reference areas make the integrated forces those of a table.

Drag and lift of a table are compared with

    n_i = ( -s_p P_i + s_t T_i ) . e / ( q S_i )

P the integral of pressure times outward normal, T that of the shear, e an axis, S one of several reference areas, q a
constant. Every choice is tried; the constant that is left has to have a reason (density, dynamic pressure, half a
model, a unit of length). Of the choices that agree within 1 % the one with the fewest changes from what is stated wins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from meshops.aero.audit_cases import suspects
from meshops.aero.audit_factors import Reason
from meshops.aero.audit_search import Search, core_of
from meshops.aero.audit_types import (
    DRAG,
    LIFT,
    PRESSURE,
    SHEAR,
    TOLERANCE,
    WRONG,
    Array,
    AuditCase,
    Choice,
    ForceAudit,
)
from meshops.aero.conditions import FlowConditions


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
    return _outcome(Search(cases, pressure, shear, drag, lift, stated))


def find_field(names: Sequence[str], pattern: re.Pattern[str], there: Sequence[Mapping[str, Array]]) -> str:
    """First name that all cases have and that sounds like it; empty: none."""
    known = [name for name in names if all(name in table for table in there)]
    return next((name for name in known if pattern.search(name)), "")


def _column(cases: Sequence[AuditCase], pattern: re.Pattern[str]) -> str:
    known = [n for n in cases[0].numbers if all(math.isfinite(c.numbers.get(n, math.nan)) for c in cases)]
    named = [n for n in known if pattern.match(n.strip())]
    return min(named, key=len, default="")


def _outcome(search: Search) -> ForceAudit:
    """The plainest choice that agrees, and what it says."""
    scored: list[tuple[float, float, Choice, float, Reason]] = []
    for choice in search.choices():
        factor, off = search.fit(choice)
        if not math.isfinite(off) or off > 0.3:
            continue
        reason = search.reason(choice, factor)
        misfit = abs(factor / reason.factor - 1)
        total = max(off, misfit)
        apart = float(np.mean(np.max(list(search.differences(choice, factor).values()), axis=0) > WRONG))
        price = choice.cost + reason.cost + 2 * apart + min(total / 0.004, 6 + total)
        scored.append((price, total, choice, factor, reason))
    if not scored:
        return _unreconciled(search, None, 1.0)
    _, total, choice, factor, reason = min(scored, key=lambda item: item[0])
    off = np.max(list(search.differences(choice, reason.factor).values()), axis=0)
    if int((off < WRONG).sum()) < core_of(len(off)) or total > 3 * TOLERANCE:
        return _unreconciled(search, choice, factor)
    return _reconciled(search, choice, factor, reason)


def _unreconciled(search: Search, choice: Choice | None, factor: float) -> ForceAudit:
    error = {}
    text = "the integrated forces are not those of the table, under no sign, axis, area or unit that was tried"
    if choice is not None:
        off = search.differences(choice, factor)
        error = {n: (float(np.median(v)), float(v.max())) for n, v in off.items()}
        text += f"; the nearest is {max(e for e, _ in error.values()):.0%} off ({_said(choice)})"
    return ForceAudit(False, (), text, search.flow, False, error, (), search.pressure, search.shear, 0.0,
                      search.as_stated())  # fmt: skip


def _reconciled(search: Search, choice: Choice, factor: float, reason: Reason) -> ForceAudit:
    off = search.differences(choice, reason.factor)
    worst = np.max(list(off.values()), axis=0)
    changes = tuple(_changes(search, choice, reason))
    error = {n: (float(np.median(v)), float(v.max())) for n, v in off.items()}
    listed = suspects(search, choice, reason.factor, worst)
    within = float(np.mean(worst < TOLERANCE))
    text = "integrated and tabulated forces agree: " + ", ".join(_agreement(search, n, v) for n, v in off.items())
    if changes:
        text += ", once " + "; ".join(sentence for _, sentence in changes)
    return ForceAudit(
        True,
        changes,
        text,
        _found_flow(search, choice, reason),
        True,
        error,
        listed,
        search.pressure,
        search.shear,
        within,
        search.as_stated(),
    )


def _agreement(search: Search, name: str, off: Array) -> str:
    """How well one number agrees, in words."""
    of = " of the drag" if name != search.drag and search.drag else ""
    within = int((off < TOLERANCE).sum())
    typical = f"typically {_part(float(np.median(off)))}, at most {_part(float(off.max()))}"
    return f"{name} within 1 %{of} in {within} of {len(off)} cases ({typical})"


def _part(off: float) -> str:
    return f"{off:.2%}" if off < 1 else "more than 100 %"


def _changes(search: Search, choice: Choice, reason: Reason) -> Iterator[tuple[str, str]]:
    if not np.allclose(choice.flow, search.flow.flow):
        yield "axis", f"the flow is taken along {_axis(choice.flow)} instead of {_axis(np.array(search.flow.flow))}"
    if search.lift and not np.allclose(choice.up, search.flow.up):
        yield "axis", f"lift is taken along {_axis(choice.up)} instead of {_axis(np.array(search.flow.up))}"
    if search.shear and choice.shear != search.flow.shear_sign:
        if choice.shear == 0:
            yield "shear sign", f"'{search.shear}' is left out: the table holds the forces of the pressure alone"
        else:
            whose = "that of OpenFOAM (minus the force)" if choice.shear < 0 else "that of the force on the body"
            yield "shear sign", f"the sign of '{search.shear}' is {whose}"
    if choice.sign < 0:
        yield "pressure sign", f"the sign of '{search.pressure}' is turned"
    usual = "constant" if search.flow.frontal_area is not None else search.flow.area_rule
    if choice.area not in ("none", "constant", usual):
        rule = {"hull": "convex hull of the projection", "box": "box of the body", "silhouette": "silhouette"}
        yield "area", f"the reference area is the {rule.get(choice.area, choice.area)}"
    if reason.kind:
        yield reason.kind, reason.text
    halves = [c.surface.half_of for c in search.cases if c.surface.half_of is not None]
    if not reason.kind and choice.area in ("silhouette", "hull", "box") and len(halves) > 0.5 * len(search.cases):
        across = "xyz"[max(set(halves), key=halves.count)]
        yield (
            "half model",
            f"the surfaces are halves, cut across {across}, and so is the area that forces are divided by",
        )


def _found_flow(search: Search, choice: Choice, reason: Reason) -> FlowConditions:
    """Conditions that make :func:`meshops.aero.integrate_forces` give the table."""
    flow = replace(search.flow, flow=_triple(choice.flow), up=_triple(choice.up))
    if choice.shear:
        flow = replace(flow, shear_sign=choice.shear)
    if choice.area in ("silhouette", "hull"):
        flow = replace(flow, area_rule=choice.area, frontal_area=None)  # type: ignore[arg-type]
    if choice.area == "constant" and reason.kind == "area":
        flow = replace(flow, frontal_area=reason.value)
    return reason.conditions(flow)


def _without_table(cases: Sequence[AuditCase], pressure: str, shear: str, stated: bool) -> ForceAudit:
    closed = sum(c.surface.closed for c in cases)
    what = f"'{pressure}' and '{shear}'" if shear else f"'{pressure}' (there is no shear)"
    text = f"no drag or lift in the table; {what} can be integrated, {closed} of {len(cases)} surfaces are closed"
    if not stated:
        text += "; speed, density and the sign of the shear are not known, so that forces are not given"
    return ForceAudit(False, (), text, cases[0].flow, stated, {}, (), pressure, shear, 0.0)


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
