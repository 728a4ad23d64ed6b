"""Copies among the cases: the same results twice, on the same mesh, on another, moved or mirrored.

Two fields are the same when their quantiles agree, which neither the order of the nodes nor the pose changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meshops.doctor.facts import CaseFacts
from meshops.doctor.findings import Finding
from meshops.doctor.survey import Survey

SAME = 2e-6  # of the spread of a field: what single precision and text of seven digits leave
FEW_VALUES = 8  # a field of two or three values (materials, markers) can agree by chance
COMMON = 0.2  # a field that this share of all pairs has in common does not tell cases apart


def copies(survey: Survey) -> Iterator[Finding]:
    """Pairs of cases with the same fields."""
    good = [case for case in survey.good if case.fields]
    telling = {name: pairs for name in survey.fields if (pairs := _equal_pairs(good, name)) is not None}
    if not telling:
        return
    votes: dict[tuple[int, int], list[str]] = {}
    for name, pairs in telling.items():
        for pair in pairs:
            votes.setdefault(pair, []).append(name)
    told: set[int] = set()
    for (i, j), names in sorted(votes.items(), key=lambda item: (-len(item[1]), item[0])):
        if i in told and j in told:
            continue
        told |= {i, j}
        yield _copy(*_original_first(good[i], good[j]), names, len(names) == len(telling), survey)


def _original_first(a: CaseFacts, b: CaseFacts) -> tuple[CaseFacts, CaseFacts]:
    """The copy is the case of which no table says anything, or whose name goes on from the other's; else the later."""
    known = [len(case.conditions) + len(case.numbers) + len(case.parameters) for case in (a, b)]
    if known[0] != known[1]:
        return (a, b) if known[0] > known[1] else (b, a)
    return (b, a) if a.name.startswith(b.name) else (a, b)


def _equal_pairs(cases: list[CaseFacts], name: str) -> list[tuple[int, int]] | None:
    """Pairs whose field is the same; None where the field tells nothing (constant, or alike in most cases)."""
    known = [(k, case.fields[name]) for k, case in enumerate(cases) if name in case.fields]
    known = [(k, f) for k, f in known if not f.constant and np.isfinite(f.sketch).all()]
    known = [(k, f) for k, f in known if len(np.unique(f.sketch)) > FEW_VALUES]
    if len(known) < 2:
        return None
    found = []
    sketches = np.stack([f.sketch for _, f in known])
    spread = np.maximum(sketches[:, -1] - sketches[:, 0], 1e-300)
    for a in range(len(known)):
        gap = np.abs(sketches[a + 1 :] - sketches[a]).max(axis=1) / spread[a]
        found += [(known[a][0], known[a + 1 + int(b)][0]) for b in np.flatnonzero(gap < SAME)]
    most = COMMON * len(known) * (len(known) - 1) / 2
    return found if len(found) <= max(most, 1.0) else None


def _copy(a: CaseFacts, b: CaseFacts, names: list[str], whole: bool, survey: Survey) -> Finding:
    """The finding on a pair; ``b`` is the copy."""
    listed = " and ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    same_mesh = a.points_key == b.points_key and a.cells_key == b.cells_key
    bytes_equal = all(a.fields[name].key == b.fields[name].key for name in names)
    same_size = abs(a.size - b.size) < 1e-5 * a.size
    if same_mesh and not bytes_equal and dict(a.conditions) != dict(b.conditions):
        return Finding(
            "mirror images", "hint", f"{listed} has the same values as in {a.name}, at other places of the same mesh",
            "all quantiles agree to 2e-6", "mirror images of each other belong on one side of a split", b.name,
            (a.name,),
        )  # fmt: skip
    tested = [case.name for case in (a, b) if case.name in survey.test]
    leak = "; one is tested on, the other learnt from" if len(tested) == 1 else ""
    if not whole:
        what, kind = f"{listed} is that of {a.name}, the other fields are not", "same field"
    elif same_mesh:
        what, kind = f"the same mesh and fields as {a.name}", "duplicate"
    elif same_size:
        what, kind = f"the same case as {a.name}, moved, mirrored, renumbered or rounded", "duplicate"
    else:
        what, kind = f"the fields of {a.name} on another mesh", "same field"
    evidence = "identical bytes" if bytes_equal and same_mesh else f"all quantiles of {listed} agree to 2e-6"
    if dict(a.conditions) != dict(b.conditions) and a.conditions and b.conditions:
        other = [k for k in a.conditions if a.conditions[k] != b.conditions.get(k)]
        evidence += (
            f", though {other[0]} is {a.conditions[other[0]]:g} and {b.conditions.get(other[0], float('nan')):g}"
        )
    cure = "leave one of them out, or compute it again" if whole else "write the right field again"
    return Finding(kind, "problem", what + leak, evidence, cure, b.name, (a.name,), "" if whole else names[0])
