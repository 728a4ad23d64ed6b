"""Tables against fields: rows that were swapped, angles in radians, numbers that do not follow from the fields.

A number that equals a statistic of a field in most cases (the largest stress, a mean, an integral) has to in all.
What was set is predicted from what came out: a case whose condition does not fit its fields has another row's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshops.doctor.facts import CaseFacts
from meshops.doctor.findings import Finding
from meshops.doctor.robust import components, left_out, spread
from meshops.doctor.survey import Survey

Array = NDArray[np.float64]
EXACT = 0.01  # a number that is within this of a statistic is that statistic
WRONG = 0.05
FITS = 0.95  # share of the variation of a column that the fields must explain before a row is called wrong
FEWEST = 16
FEWEST_EXACT = 5
DEGREES = 180 / math.pi


@dataclass(frozen=True)
class Relation:
    """A number of the table that is a statistic of a field, times a factor."""

    number: str
    statistic: str
    factor: float
    values: Array

    def text(self) -> str:
        """In words."""
        times = "" if abs(self.factor - 1) < EXACT else f"{self.factor:.4g} times "
        return f"{self.number} is {times}the {self.statistic}"


def statistics_of(case: CaseFacts) -> dict[str, float]:
    """What a table may hold of the fields and the mesh of a case."""
    out = {}
    for name, facts in case.fields.items():
        if facts.bad:
            continue
        out[f"largest {name}"] = facts.maximum if facts.size == 1 else float(facts.sketch[-1])
        out[f"smallest {name}"] = facts.minimum if facts.size == 1 else float(facts.sketch[0])
        out[f"mean of {name}"] = facts.mean
        out[f"largest size of {name}"] = float(max(abs(facts.minimum), abs(facts.maximum)))
        out[f"root mean square of {name}"] = facts.rms
    out |= {f"extent along {a}": float(v) for a, v in zip("xyz", case.high - case.low, strict=False)}
    if case.surface is not None:
        out |= {"area of the surface": case.surface.area, "enclosed volume": case.surface.volume}
    return out


def relations(cases: list[CaseFacts], names: list[str]) -> list[Relation]:
    """Numbers that are statistics in most cases (at least 70 %, and four or six of them)."""
    out = []
    tables = [statistics_of(case) for case in cases]
    known = [key for key in tables[0] if all(key in table for table in tables)] if tables else []
    for name in names:
        number = np.array([{**case.parameters, **case.conditions, **case.numbers}[name] for case in cases])
        if np.ptp(number) <= 0.1 * np.abs(number).max():
            continue
        for key in known:
            value = np.array([table[key] for table in tables])
            if (value == 0).any() or np.ptp(value) <= 0.1 * np.abs(value).max():
                continue
            ratio = number / value
            factor = float(np.median(ratio))
            plain = factor > 0 and abs(math.log10(factor) - round(math.log10(factor))) < EXACT
            if factor and _exact(np.abs(ratio / factor - 1), 4 if plain else 6):
                out.append(Relation(name, key, factor, value))
                break
    return out


def _exact(off: Array, least: int) -> bool:
    """Most cases agree closely, some not at all, and none a little: no mere correlation."""
    right, wrong = off < EXACT, off > WRONG
    enough = int(right.sum()) >= max(least, round(0.7 * len(off)))
    return bool(enough and (right | wrong).all() and float(np.median(off[right])) < EXACT / 4)


def swapped_rows(survey: Survey, unsound: set[tuple[str, str]]) -> Iterator[Finding]:
    """Pairs of rows that are each other's beyond doubt: a number that equals a statistic in all other cases says so."""
    cases, rows, names = _rows(survey, unsound)
    if len(cases) < FEWEST_EXACT:
        return
    for relation in relations(cases, names):
        for finding in _off_relation(relation, cases, rows):
            if finding.kind == "swapped rows":
                unsound.update((name, "") for name in finding.cases)
                yield finding


def wrong_rows(survey: Survey, unsound: set[tuple[str, str]]) -> Iterator[Finding]:
    """Rows that do not belong to their cases."""
    cases, rows, names = _rows(survey, unsound)
    if len(cases) < FEWEST_EXACT:
        return
    told: set[str] = set()
    exact = relations(cases, names)
    for relation in exact:
        for finding in _off_relation(relation, cases, rows):
            if finding.case not in told:
                told |= set(finding.cases)
                yield finding
    if len(cases) < FEWEST:
        return
    features = raw_features(cases)
    stated = {*cases[0].conditions, *cases[0].numbers}
    for name in (n for n in names if n in stated):
        if any(r.number == name for r in exact):
            continue
        column = np.array([row[name] for row in rows])
        for finding in _off_prediction(name, column, features, cases):
            if finding.case not in told:
                told |= set(finding.cases)
                yield finding


def _rows(survey: Survey, unsound: set[tuple[str, str]]) -> tuple[list[CaseFacts], list[dict[str, float]], list[str]]:
    """Cases that are sound so far, their rows, and the columns that all of them have."""
    bad = {name for name, _ in unsound}
    cases = [case for case in survey.good if case.name not in bad and case.fields]
    rows = [{**case.parameters, **case.conditions, **case.numbers} for case in cases]
    names = [n for n in (rows[0] if rows else ()) if all(n in row and math.isfinite(row[n]) for row in rows)]
    return cases, rows, names


def _off_relation(relation: Relation, cases: list[CaseFacts], rows: list[dict[str, float]]) -> Iterator[Finding]:
    number = np.array([row[relation.number] for row in rows])
    due = relation.factor * relation.values
    off = np.abs(number / due - 1)
    wrong = [int(i) for i in np.flatnonzero(off > WRONG)]
    partner = {
        i: j for i in wrong for j in wrong if i != j and abs(number[i] / due[j] - 1) < EXACT * 2
        and abs(number[j] / due[i] - 1) < EXACT * 2
    }  # fmt: skip
    for i in wrong:
        evidence = f"{relation.text()}; here {number[i]:.5g} against {due[i]:.5g}"
        if i in partner and i < partner[i]:
            other = cases[partner[i]].name
            yield Finding("swapped rows", "problem", f"its row of the table and that of {other} are swapped", evidence,
                          "swap them back", cases[i].name, (other,), relation.number)  # fmt: skip
        elif i not in partner:
            yield _alone(relation.number, number[i], due[i], evidence, cases[i].name)


def _alone(name: str, number: float, due: float, evidence: str, case: str) -> Finding:
    """A number that is not the statistic it should be; a power of ten is another unit."""
    ratio = abs(due / number) if number else 0.0
    power = round(math.log10(ratio)) if ratio > 0 else 0
    if abs(power) in (2, 3, 5, 6) and abs(ratio / 10.0**power - 1) < WRONG:
        what = f"its fields are 1e{power:+d} times what its {name} says: another unit in one of them"
        return Finding("other unit", "problem", what, evidence, "bring both to one unit", case, (), name)
    what = f"{name} of the table is not that of the fields"
    return Finding("wrong number", "problem", what, evidence, "look the row up again", case, (), name)


def field_features(cases: list[CaseFacts]) -> Array:
    """``[n, m]`` components of what the fields and the mesh of each case are like, without its table."""
    return components(raw_features(cases))


def raw_features(cases: list[CaseFacts]) -> Array:
    """``[n, k]`` the same before it is reduced."""
    parts: list[list[float]] = []
    names = [n for n in cases[0].fields if all(n in c.fields and c.fields[n].bad == 0 for c in cases)]
    surfaces = all(case.surface is not None for case in cases)
    for case in cases:
        row = [math.log(case.size or 1.0), *np.ravel(case.moments), *(10 * case.skew), *case.low, *case.high]
        for name in names:
            facts = case.fields[name]
            row += [*facts.dipole, facts.mean, math.log(max(facts.std, 1e-300)), *facts.sketch[::4]]
        if surfaces and case.surface is not None:
            row += [math.log(case.surface.area), *case.surface.shadow]
            for name in names:
                if name in case.surface.of_normal:
                    row += [*(case.surface.of_normal[name] / case.surface.area)]
        parts.append([float(v) for v in row])
    return np.array(parts)


def _off_prediction(name: str, column: Array, features: Array, cases: list[CaseFacts]) -> Iterator[Finding]:
    """Rows whose value of a column is not what the fields of the case say, found one after the other."""
    values, kept = column.copy(), np.arange(len(column))
    if np.ptp(values) <= 1e-9 * np.abs(values).max():
        return
    found: list[tuple[int, float]] = []
    for _ in range(max(2, len(column) // 6)):
        predicted = best_prediction(features[kept], values[kept])
        off = values[kept] - predicted
        normal = float(spread(off[:, None], 0.0)[0])
        wide = float(spread(values[kept][:, None], 0.0, core=0.9)[0])
        worst = int(np.abs(off).argmax())
        clear = abs(off[worst]) > 10 * normal and abs(off[worst]) > 0.4 * wide
        if not clear:
            break
        found.append((int(kept[worst]), float(predicted[worst])))
        kept = np.delete(kept, worst)
    predicted = best_prediction(features[kept], values[kept])
    rest = values[kept] - predicted
    if not found or float(np.var(rest)) > (1 - FITS) * float(np.var(values[kept])):
        return
    noise = float(spread(rest[:, None], 0.0)[0])
    least = max(6 * noise, 0.1 * float(spread(values[kept][:, None], 0.0, core=0.9)[0]))
    for _ in range(2):  # one that was out of line only because of another that is wrong fits now
        found = [(i, _from_sound(features, values, kept, i)) for i, _ in found]
        fits = [i for i, due in found if abs(column[i] - due) <= least]
        found = [(i, due) for i, due in found if i not in fits]
        kept = np.append(kept, np.array(fits, dtype=np.int64))
    yield from _row_findings(name, column, found, noise, cases)


def _from_sound(features: Array, values: Array, kept: NDArray[np.int64], i: int) -> float:
    """What the sound rows let expect of row i."""
    rows = np.append(kept, i)
    return float(best_prediction(features[rows], values[rows])[-1])


def best_prediction(features: Array, target: Array) -> Array:
    """Left-out predictions of a column from all components, or from the few features that go along with it best."""
    ranks = np.argsort(np.argsort(features, axis=0), axis=0) - (len(features) - 1) / 2
    goal = np.argsort(np.argsort(target)) - (len(target) - 1) / 2
    along = np.abs(goal @ ranks) * (np.ptp(features, axis=0) > 0)
    few = np.argsort(-along, kind="stable")[:4]
    tries = [left_out(components(chosen), target)[0] for chosen in (features, features[:, few])]
    return min(tries, key=lambda predicted: float(np.median(np.abs(target - predicted))))


def _row_findings(
    name: str, column: Array, found: list[tuple[int, float]], noise: float, cases: list[CaseFacts]
) -> Iterator[Finding]:
    due = dict(found)
    near = 5 * noise
    told: set[int] = set()
    for i, expected in found:
        if i in told:
            continue
        evidence = f"the fields say {name} = {expected:.4g} +- {2 * noise:.2g}, the table {column[i]:.4g}"
        partner = next((j for j in due if j != i and abs(column[j] - expected) < near + 0.1 * abs(expected - column[i])
                        and abs(column[i] - due[j]) < near + 0.1 * abs(due[j] - column[j])), None)  # fmt: skip
        if partner is not None:
            told |= {i, partner}
            yield Finding("swapped rows", "problem", f"its row and that of {cases[partner].name} are swapped",
                          evidence, "swap them back", cases[i].name, (cases[partner].name,), name)  # fmt: skip
            continue
        told.add(i)
        for factor, words in ((DEGREES, "radians among degrees"), (1 / DEGREES, "degrees among radians")):
            if abs(column[i] * factor - expected) < near + 0.05 * abs(expected) and abs(expected) > 2 * near:
                yield Finding("other unit", "problem", f"{name} is in {words}", evidence, "write one unit",
                              cases[i].name, (), name)  # fmt: skip
                break
        else:
            yield Finding("wrong number", "problem", f"{name} of the table does not fit the fields", evidence,
                          "look the row up again", cases[i].name, (), name)  # fmt: skip
