"""Fields beside those of the other cases: single wild values, NaN, other units, constants added, nothing but zeros."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from meshops.doctor.facts import CaseFacts
from meshops.doctor.findings import Finding
from meshops.doctor.robust import center, components, left_out, spread
from meshops.doctor.survey import Survey

SPIKE = 1000.0  # a value this many times the 99.5 % quantile of its field, if no other case has the like
FACTORS = {
    1000.0: "thousand: kPa and Pa, mm and m, or kW and W",
    1e6: "a million: MPa and Pa",
    1e5: "bar and Pa",
    100.0: "hundred: hPa and Pa, cm and m, or per cent",
    998.0: "the density of water: kinematic and in Pa",
    1025.0: "the density of sea water: kinematic and in Pa",
    6894.757: "psi and Pa",
    101325.0: "atm and Pa",
    9.80665: "kgf and N",
    57.29578: "degrees and radians",
    3.6: "km/h and m/s",
    3.28084: "feet and m",
    4.44822: "lbf and N",
    10.0: "ten",
}
OFFSETS = {
    273.15: "kelvin and degrees Celsius",
    101325.0: "absolute and gauge pressure",
    1e5: "absolute and gauge pressure",
}
ZERO = {"zero": "zero everywhere", "constant": "the same everywhere"}


def wild_values(survey: Survey, unsound: set[tuple[str, str]]) -> Iterator[Finding]:
    """NaN, single values that are not of their field, and fields that are constant in one case or in all.

    Args:
        survey: The set.
        unsound: Receives (case, field) of what later checks have to leave alone.
    """
    for name in survey.fields:
        cases = [case for case in survey.good if name in case.fields]
        constant = [case for case in cases if case.fields[name].constant and case.fields[name].bad < 1]
        if cases and len(constant) == len(cases):
            yield _constant_everywhere(name, cases, survey)
            unsound.update((case.name, name) for case in cases)
            continue
        for case in cases:
            found = _wild(case, name, [c for c in cases if c is not case], case in constant)
            if found is not None:
                unsound.add((case.name, name))
                yield found


def _constant_everywhere(name: str, cases: list[CaseFacts], survey: Survey) -> Finding:
    values = [case.fields[name].mean for case in cases]
    zero = not any(values)
    what = f"the field '{name}' is {'zero' if zero else 'constant'} everywhere in every case"
    alone = all(other == name for other in survey.fields)
    return Finding(
        "constant field", "problem" if alone and len(cases) > 1 else "hint", what,
        f"{min(values):g} to {max(values):g}", "there is nothing to learn; leave it out, or check the export",
        field=name,
    )  # fmt: skip


def _wild(case: CaseFacts, name: str, others: list[CaseFacts], constant: bool) -> Finding | None:
    facts = case.fields[name]
    if facts.bad > 0:
        rows = round(facts.bad * case.nodes)
        return Finding(
            "not finite", "problem", f"{name} has {rows} NaN or infinite values of {case.nodes:,}", f"{facts.bad:.2%}",
            "repair the export, or drop those cells", case.name, field=name,
        )  # fmt: skip
    if constant:
        what = f"{name} is {facts.mean:g} everywhere, in other cases it varies"
        usual = float(np.median([c.fields[name].std for c in others])) if others else 0.0
        return Finding("constant field", "problem", what, f"spread of the others {usual:.3g}",
                       "was it written before the first step? export it again", case.name, field=name)  # fmt: skip
    spikes = [c.fields[name].spike for c in others if c.fields[name].bad == 0]
    peaks = [abs(c.fields[name].largest) for c in others if c.fields[name].bad == 0]
    usual = float(np.median(spikes)) if spikes else 1.0
    peak = float(np.median(peaks)) if peaks else 0.0
    if facts.spike > max(SPIKE, 100 * usual):
        times = f", {abs(facts.largest) / peak:.2g} times the largest of the others" if peak > 0 else ""
        return Finding(
            "single value", "problem", f"{name} has a value {facts.largest:.3g}{times}",
            f"{facts.spike:.2g} times its own 99.5 % quantile", "a marker for 'no value', or a broken cell: mend it",
            case.name, field=name,
        )  # fmt: skip
    return None


def other_units(survey: Survey, unsound: set[tuple[str, str]]) -> Iterator[Finding]:
    """One case (or a few) whose field is a multiple of, or a constant away from, those of the others."""
    for name in survey.fields:
        cases = [c for c in survey.good if name in c.fields and (c.name, name) not in unsound]
        if len(cases) < 3:
            continue
        features = table_features(cases)
        level = np.log(np.array([max(c.fields[name].std, 1e-300) for c in cases]))
        typical = float(np.exp(center(level[:, None])[0]))
        mean = np.array([c.fields[name].mean for c in cases]) / typical
        scaled = _apart(level, features, 0.1)
        moved = _apart(mean, features, 0.25)
        for k, case in enumerate(cases):
            found = _factor(case, name, *scaled[k]) or _offset(case, name, *moved[k], typical, scaled[k][0])
            if found is not None:
                unsound.add((case.name, name))
                yield found


def table_features(cases: list[CaseFacts]) -> np.ndarray:
    """``[n, m]`` what is known of the cases without their fields: conditions, size; no columns where nothing is."""
    names = [n for n in (cases[0].conditions if cases else ()) if all(n in c.conditions for c in cases)]
    table = np.array([[c.conditions[n] for n in names] for c in cases]).reshape(len(cases), len(names))
    return components(table) if names and len(cases) >= 6 else np.zeros((len(cases), 0))


def _apart(values: np.ndarray, features: np.ndarray, floor: float) -> list[tuple[float, float]]:
    """(difference, difference in spreads) of each case from the others; the smaller of two views of what is usual.

    One view is the middle of the others, the other what they let expect at the conditions of the case.
    """
    out = []
    expected = left_out(features, values)[0] if features.shape[1] and len(values) >= 8 else None
    for i in range(len(values)):
        others = np.delete(values, i)
        usual = float(center(others[:, None])[0])
        views = [(values[i] - usual, (values[i] - usual) / float(spread(others[:, None], floor)[0]))]
        if expected is not None:
            rest = np.delete(values - expected, i)
            views.append((values[i] - expected[i], (values[i] - expected[i]) / float(spread(rest[:, None], floor)[0])))
        out.append(min(views, key=lambda view: abs(view[1])))
    return out


def _factor(case: CaseFacts, name: str, difference: float, apart: float) -> Finding | None:
    factor = math.exp(abs(difference))
    word = "times" if difference > 0 else "times smaller than"
    if abs(apart) < 4 or factor < 3:
        return None
    near = [(abs(math.log(factor / known)), text) for known, text in FACTORS.items()]
    gap, text = min(near)
    named = gap < max(0.2 if factor > 50 else 0.12, 1.2 * abs(difference) / abs(apart))
    if (factor < 8 and (gap > 0.1 or abs(apart) < 8)) or (not named and abs(apart) < 6):
        return None
    likely = f"about a factor {text}" if named else "no usual factor between units"
    joined = f"{factor:.3g} times those of the others" if difference > 0 else f"{factor:.3g} {word} those of the others"
    return Finding(
        "other unit", "problem", f"the values of {name} are {joined}",
        f"spread {case.fields[name].std:.3g}; {abs(apart):.0f} times the usual difference between cases; {likely}",
        "bring all cases to one unit", case.name, field=name,
    )  # fmt: skip


def _offset(
    case: CaseFacts, name: str, difference: float, apart: float, typical: float, level: float
) -> Finding | None:
    if abs(apart) < 5 or abs(level) > 0.7 or case.fields[name].size > 1:
        return None
    value = difference * typical
    near = [(abs(abs(value) - known) / known, text) for known, text in OFFSETS.items()]
    gap, text = min(near)
    named = gap < max(0.03, 1.5 * abs(value / apart) / abs(value))
    if not named and abs(apart) < 15:
        return None
    likely = f": {text}" if named else ""
    return Finding(
        "constant added", "problem", f"{name} is {value:+.4g} away from the other cases, with the usual spread{likely}",
        f"mean {case.fields[name].mean:.4g}; {abs(apart):.0f} times the usual difference",
        "bring all cases to one zero", case.name, field=name,
    )  # fmt: skip
