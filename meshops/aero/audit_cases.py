"""Single cases whose forces are not those of their row, while those of the others are: what is wrong with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from meshops.aero.audit_search import Search
from meshops.aero.audit_types import WRONG, Array, Choice, Suspect

SINGLE = {
    2.0: ("half", "twice"),
    0.5: ("half", "half"),
    1000.0: ("unit", "a thousand times"),
    0.001: ("unit", "a thousandth of"),
    1e6: ("length unit", "a million times (millimetres)"),
    1e-6: ("length unit", "a millionth of"),
    1.2: ("density", "1.2 times (density of air)"),
    1 / 1.2: ("density", "1/1.2 times (density of air)"),
    1.225: ("density", "1.225 times (density of air)"),
    1 / 1.225: ("density", "1/1.225 times (density of air)"),
    -1.0: ("pressure sign", "minus"),
}


def suspects(search: Search, choice: Choice, factor: float, worst: Array) -> tuple[Suspect, ...]:
    """Cases that differ by more than 5 %, each with its likeliest reason.

    Args:
        search: The search, with table and integrals.
        choice: What reconciles the others.
        factor: Constant that goes with it.
        worst: ``[n]`` relative difference of each case.
    """
    wrong = [int(i) for i in np.flatnonzero(worst > WRONG)]
    due = {name: values / factor for name, values in search.predicted(choice).items()}
    out: list[Suspect] = []
    told: set[int] = set()
    for i in wrong:
        if i in told:
            continue
        partner = next((j for j in wrong if j != i and j not in told and _swapped(search.table, due, i, j)), None)
        if partner is not None:
            told |= {i, partner}
            out.append(_suspect(search, due, i, "swapped", "its row and that of {other} are swapped", partner))
            continue
        told.add(i)
        out.append(_alone(search, choice, factor, due, i))
    return tuple(out)


def _swapped(table: dict[str, Array], due: dict[str, Array], i: int, j: int) -> bool:
    """Each of two rows is that of the other case, and not its own."""
    size = max(float(np.median(np.abs(values))) for values in table.values())
    crossed = max(max(abs(table[n][i] - due[n][j]), abs(table[n][j] - due[n][i])) for n in table)
    straight = max(max(abs(table[n][i] - due[n][i]), abs(table[n][j] - due[n][j])) for n in table)
    return bool(crossed < 0.02 * size and crossed < 0.4 * straight)


def _alone(search: Search, choice: Choice, factor: float, due: dict[str, Array], i: int) -> Suspect:
    """Reason for one case: another sign or part of the shear, a factor, or none that is known."""
    if search.shear and not np.abs(search.of_t[i]).any():
        return _suspect(search, due, i, "shear missing", f"its '{search.shear}' is zero everywhere")
    table = {name: values[i] for name, values in search.table.items()}
    size = max(abs(v) for v in table.values()) or 1.0
    others: list[tuple[str, str, Choice]] = [
        ("shear sign", f"the sign of its '{search.shear}' is turned", replace(choice, shear=-choice.shear)),
        ("shear sign", f"its '{search.shear}' is left out", replace(choice, shear=0)),
        ("pressure sign", f"the sign of its '{search.pressure}' is turned", replace(choice, sign=-choice.sign)),
    ]
    for kind, text, other in others if search.shear else others[2:]:
        again = search.predicted(other)
        if all(abs(again[name][i] / factor - table[name]) < 0.015 * size for name in table):
            return _suspect(search, due, i, kind, text)
    for axis in (k * np.eye(3)[a] for a in range(3) for k in (1.0, -1.0)):
        if not np.allclose(axis, choice.flow) and search.drag:
            again = search.predicted(replace(choice, flow=axis))
            along = int(np.abs(choice.flow).argmax()) if choice.area != "none" else 0
            if (
                abs(again[search.drag][i] / factor - table[search.drag]) < 0.01 * size
                and len(table) == 1
                and along >= 0
            ):
                return _suspect(search, due, i, "axis", "its drag is that along another axis")
    for known, (kind, words) in SINGLE.items():
        if all(abs(due[name][i] - known * table[name]) < 0.015 * abs(known) * size for name in table):
            half = search.cases[i].surface.half_of is not None
            return _suspect(
                search, due, i, "half model" if half else kind, f"integrated values are {words} the table's"
            )
    if all(abs(due[name][i] - table[name]) < 0.1 * size for name in table):
        text = "fields and table differ a little: is one an instant and the other a mean, of a run that still moves?"
        return _suspect(search, due, i, "off", text)
    return _suspect(
        search, due, i, "wrong", "the table holds other forces than its fields, for no reason that was tried"
    )


def _suspect(
    search: Search, due: dict[str, Array], i: int, kind: str, text: str, partner: int | None = None
) -> Suspect:
    numbers = ", ".join(f"{n} {due[n][i]:.4g} integrated, {search.table[n][i]:.4g} in the table" for n in search.names)
    other = "" if partner is None else search.cases[partner].name
    return Suspect(search.cases[i].name, kind, f"{text.format(other=other)} ({numbers})", other)
