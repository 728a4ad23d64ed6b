"""The run doctor: all checks over a survey, in an order in which no fault is told twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from meshops.doctor.copies import copies
from meshops.doctor.facts import CaseFacts
from meshops.doctor.findings import Finding
from meshops.doctor.histories import unconverged
from meshops.doctor.poses import moved, other_lengths, other_poses
from meshops.doctor.robust import center, left_out, spread
from meshops.doctor.survey import Survey
from meshops.doctor.tables import field_features, swapped_rows, wrong_rows
from meshops.doctor.values import other_units, table_features, wild_values
from meshops.errors import listing

UNLIKE = 10.0  # spreads; an honest outlier is a hint, never a problem


def diagnose(survey: Survey) -> list[Finding]:
    """Everything that is, or may be, wrong with the cases of a data set; problems first, in the order of the cases.

    Args:
        survey: Facts of the cases, :func:`meshops.doctor.survey.survey`.

    Example:
        >>> from meshops.datasets import AhmedMini
        >>> from meshops.doctor import survey
        >>> [finding for finding in diagnose(survey(AhmedMini("test"))) if finding.severity == "problem"]
        []
    """
    found = list(unreadable(survey))
    odd = list(of_two_kinds(survey))
    found += odd
    found += without_row(survey)
    alike = without(survey, {finding.case for finding in odd})
    unsound: set[tuple[str, str]] = set()
    found += wild_values(alike, unsound)
    same = list(copies(alike))
    found += same
    for finding in same:
        if finding.severity == "problem":  # told once; a copy is no measure for the others either
            unsound.update((name, "") for name in finding.cases)
    found += other_lengths(alike, unsound)
    found += swapped_rows(alike, unsound)
    found += other_units(alike, unsound)
    found += other_poses(alike, unsound)
    found += moved(alike, unsound)
    found += wrong_rows(alike, unsound)
    found += unconverged(survey)
    told = {name for finding in found for name in finding.cases}
    found += [finding for finding in unlike(alike) if finding.case not in told]
    return in_order(found, survey)


def in_order(findings: Sequence[Finding], survey: Survey) -> list[Finding]:
    """Problems first, then by case; the same of a case once."""
    place = {case.name: case.index for case in survey.cases}
    once = {(f.kind, f.case, f.field, f.others): f for f in findings}
    return sorted(once.values(), key=lambda f: (f.severity != "problem", place.get(f.case, -1), f.kind))


def unreadable(survey: Survey) -> Iterator[Finding]:
    """Cases that cannot be read, by what the reader says."""
    for case in survey.cases:
        if case.error:
            message = case.error.splitlines()[0]
            for path in case.files.values():
                message = message.removeprefix(f"{path}: ")
            alike = re.search(r"(?i)no (cell |point )?(array|field)|array .* (has|components)|components", message)
            cure = "export it as the others" if alike else "export or copy it again"
            cure = "" if message.endswith(cure) or "repair the export" in message else cure
            yield Finding("other arrays" if alike else "unreadable", "problem", message, "", cure, case.name)


def of_two_kinds(survey: Survey) -> Iterator[Finding]:
    """Cases of another dimension, place of nodes or number of components than most."""
    good = survey.good
    told: set[str] = set()
    looks: dict[str, tuple[Callable[[CaseFacts], str], str]] = {
        "other dimension": (_dimension, "take the plane cases and those in space as two studies"),
        "other place": (_place, "write the fields of all cases at one place"),
        "surface or volume": (_manifold, "take surfaces and volumes as two studies"),
    }
    for kind, (look, cure) in looks.items():
        counts = Counter(look(case) for case in good)
        usual = counts.most_common(1)[0][0] if counts else ""
        for case in good:
            if look(case) != usual and case.name not in told:
                told.add(case.name)
                what = f"the case is {look(case)}, {counts[usual]} of {len(good)} are {usual}"
                yield Finding(kind, "problem", what, "", cure, case.name)
    for name in survey.fields:
        sizes = Counter(case.fields[name].size for case in good if name in case.fields)
        usual_size = sizes.most_common(1)[0][0] if sizes else 0
        for case in good:
            if name in case.fields and case.fields[name].size != usual_size and case.name not in told:
                told.add(case.name)
                what = f"'{name}' has {case.fields[name].size} components, in most cases {usual_size}"
                yield Finding("other arrays", "problem", what, "", "export it as the others", case.name, field=name)
            elif name not in case.fields and sizes and case.name not in told:
                told.add(case.name)
                yield Finding("other arrays", "problem", f"there is no '{name}'", "", "export it as the others",
                              case.name, field=name)  # fmt: skip


def without_row(survey: Survey) -> Iterator[Finding]:
    """Cases of which no table says what was set, where it does of most."""
    told = [case for case in survey.good if case.conditions]
    names = dict.fromkeys(name for case in told for name in case.conditions)
    if not names or 2 * len(told) <= len(survey.good):
        return
    for case in survey.good:
        lost = [name for name in names if name not in case.conditions and name not in case.parameters]
        if lost:
            what = f"no table says its {listing(lost, 4)}"
            cure = "call its row as the case is called, or give the numbers"
            yield Finding("no row", "problem", what, "", cure, case.name)


def _dimension(case: CaseFacts) -> str:
    return f"{case.dim}-D"


def _place(case: CaseFacts) -> str:
    return "at points" if case.location == "free" else f"at {case.location}s"


def _manifold(case: CaseFacts) -> str:
    solid = ("tetrahedron", "hexahedron", "wedge", "pyramid", "voxel", "polyhedron")
    if not case.kinds or case.dim < 3:
        return "any"
    return "a volume" if any(kind.startswith(solid) for kind in case.kinds) else "a surface"


def without(survey: Survey, names: set[str]) -> Survey:
    """The same survey without some of the cases."""
    return replace(survey, cases=tuple(case for case in survey.cases if case.name not in names))


def unlike(survey: Survey) -> Iterator[Finding]:
    """Cases whose fields are far from what the others let expect, by nothing that could be named: hints.

    Spread and middle of every field are predicted from what else is known of a case, with the case left out; shapes
    are not compared: new ones are what a study is made of.
    """
    cases = list(survey.good)
    if len(cases) < 8:
        return
    known = table_features(cases)
    features = known if known.shape[1] else field_features([replace(c, fields={}) for c in cases])
    for name in survey.fields:
        facts = [c.fields[name] for c in cases if name in c.fields]
        if len(facts) < len(cases) or any(f.bad or f.constant for f in facts):
            continue
        level = np.log([f.std for f in facts])
        expected, _ = left_out(features, level) if features.shape[1] else (np.full(len(cases), np.nan), 0.0)
        for i, case in enumerate(cases):
            views = [level - center(np.delete(level, i)[:, None])[0], level - expected]
            apart = [abs(v[i]) / float(spread(np.delete(v, i)[:, None], 0.08)[0]) for v in views if np.isfinite(v[i])]
            if min(apart) > UNLIKE:
                more = "more" if views[0][i] > 0 else "less"
                what = f"{name} varies {np.exp(abs(views[0][i])):.2g} times {more} than usual"
                yield Finding("unlike the others", "hint", what, f"{min(apart):.0f} times the usual difference",
                              "look at it; it may be right", case.name, field=name)  # fmt: skip
