"""Which arrays of a few cases are fields, which are inputs, and which neither."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from meshops.datasets.folder import roles
from meshops.datasets.folder.description import FieldEntry, Place
from meshops.errors import listing

if TYPE_CHECKING:
    from meshops.data.cells import Mesh

PLACES: tuple[Place, ...] = ("point", "cell")
NEARLY_ALL = 0.9


@dataclass(frozen=True)
class ArrayLook:
    """One array of one case.

    Attributes:
        size: Components.
        kind: ``f``, ``i``, ``u`` or ``b``.
        low, high: Range of the finite values.
        bad: Number of rows with NaN or infinite values.
        mark: The same for the same values.
    """

    size: int
    kind: str
    low: float
    high: float
    bad: int
    mark: bytes


@dataclass(frozen=True)
class CaseLook:
    """What one case holds.

    Attributes:
        name: Of the case.
        arrays: (place, name) -> array.
        dimension: ``2-D``, ``surface``, ``volume``, ``lines`` or ``points``.
        points, cells: How many.
        mark: The same for the same mesh.
        stored: Single values stored in the file.
        times: How many times the file holds.
    """

    name: str
    arrays: Mapping[tuple[Place, str], ArrayLook]
    dimension: str
    points: int
    cells: int
    mark: bytes
    stored: Mapping[str, float] = field(default_factory=dict)
    times: int = 1


def look_at(mesh: Mesh, name: str, stored: Mapping[str, float], times: int = 1) -> CaseLook:
    """What a mesh holds."""
    from meshops.data.cells import cells_of
    from meshops.data.graph_files import numeric_arrays, plane_axis

    arrays = {}
    for place in PLACES:
        data = mesh.cell_data if place == "cell" else mesh.point_data
        for array, (size, kind) in numeric_arrays(mesh, place).items():
            arrays[place, array] = _array(np.asarray(data[array]), size, kind)
    top = int(cells_of(mesh).dimension.max()) if mesh.n_cells else 0
    points = np.asarray(mesh.points)
    plane = plane_axis(points) is not None
    dimension = {3: "volume", 2: "2-D" if plane else "surface", 1: "lines"}.get(top, "points")
    mark = hashlib.sha256(points.tobytes()).digest()[:8]
    return CaseLook(name, arrays, dimension, mesh.n_points, mesh.n_cells, mark, dict(stored), times)


def _array(values: np.ndarray, size: int, kind: str) -> ArrayLook:
    rows = values.reshape(len(values), -1)
    good = np.isfinite(rows).all(1) if kind == "f" else np.ones(len(rows), dtype=bool)
    some = rows[good]
    low, high = (float(some.min()), float(some.max())) if some.size else (np.nan, np.nan)
    return ArrayLook(size, kind, low, high, int((~good).sum()), hashlib.sha256(rows.tobytes()).digest()[:8])


@dataclass(frozen=True)
class ArrayGuess:
    """What the arrays of a study are.

    Attributes:
        fields: To be learnt, all at one place.
        inputs: Given to the model.
        reasons: Entry -> why, as in :attr:`Description.guesses`.
    """

    fields: tuple[FieldEntry, ...]
    inputs: tuple[str, ...]
    reasons: Mapping[str, str]


def guess_arrays(looks: Sequence[CaseLook]) -> ArrayGuess:
    """Fields and inputs among the arrays of some cases; no fields: none was found.

    The place with most fields is taken, the cells where both have as many; what the other place has is named.
    """
    said: dict[str, list[str]] = {"fields": [], "inputs": []}
    names = dict.fromkeys(key for look in looks for key in look.arrays)
    sorted_out = {key: _judge(key, looks) for key in names}
    fields = {
        place: [n for (p, n), what in sorted_out.items() if p == place and what[0] == "field"] for place in PLACES
    }
    sets = {place: [n for (p, n), what in sorted_out.items() if p == place and what[0] == "input"] for place in PLACES}
    for where in PLACES:  # what looks like an input is all there is to learn
        if not any(fields.values()) and sets[where]:
            fields[where], sets[where] = sets[where], []
    place: Place = "cell" if len(fields["cell"]) >= len(fields["point"]) and fields["cell"] else "point"
    other: Place = "point" if place == "cell" else "cell"
    if fields[other]:
        also = [name for name in fields[other] if name not in fields[place]]
        if also:
            said["fields"].append(f"at the {place}s; the files also hold {listing(also)} at the {other}s")
        elif fields[other]:
            said["fields"].append(f"at the {place}s; the same names are at the {other}s too")
    entries, reasons = [], {}
    for name in fields[place]:
        entry, why = _entry(name, place, looks)
        entries.append(entry)
        if why:
            reasons[f"fields.{name}"] = why
    vectors = roles.components(fields[place])
    for name, vector in vectors.items():
        text = f"looks like a component of the vector '{vector}'"
        reasons[f"fields.{name}"] = f"{reasons[f'fields.{name}']}; {text}" if f"fields.{name}" in reasons else text
    for (where, name), (what, why) in sorted_out.items():
        if what == "left" and why and not (where != place and name in fields[place]):
            said["inputs"].append(f"'{name}' ({where}s): {why}")
        elif what == "input" and where == place and name in sets[place]:
            said["inputs"].append(f"'{name}': {why}; move it to the fields if it is a result")
    reasons |= {entry: "; ".join(texts) for entry, texts in said.items() if texts}
    return ArrayGuess(tuple(entries), tuple(sets[place]), reasons)


def _judge(key: tuple[Place, str], looks: Sequence[CaseLook]) -> tuple[str, str]:
    """``field``, ``input`` or ``left``, and why."""
    name = key[1]
    found = [look.arrays[key] for look in looks if key in look.arrays]
    if roles.is_geometry(name):
        return "left", "describes the mesh"
    kinds = Counter(array.kind for array in found)
    if kinds.most_common(1)[0][0] != "f":
        return "left", "whole numbers; name it under inputs to give it to the model as a number"
    lacking = [look.name for look in looks if key not in look.arrays]
    if len(lacking) > max(1, round((1 - NEARLY_ALL) * len(looks))) or (lacking and len(looks) < 4):
        return "left", f"{len(lacking)} of {len(looks)} cases lack it ({listing(lacking, 3)})"
    if len({array.mark for array in found}) == 1 and len(found) > 1:
        constant = found[0].low == found[0].high
        return "left", f"is {found[0].low:g} everywhere in all cases" if constant else "is the same in all cases"
    if all(array.low == array.high for array in found) and found[0].size == 1 and len({a.low for a in found}) == 1:
        return "left", f"is {found[0].low:g} everywhere in all cases"
    if sum(array.bad > 0 for array in found) > len(found) / 2:
        return "left", "holds NaN or infinite values in most cases"
    return ("input", "by its name it was set") if roles.is_set(name) else ("field", "")


def _entry(name: str, place: Place, looks: Sequence[CaseLook]) -> tuple[FieldEntry, str]:
    found = [(look.name, look.arrays[place, name]) for look in looks if (place, name) in look.arrays]
    size = Counter(array.size for _, array in found).most_common(1)[0][0]
    low = float(np.nanmin([array.low for _, array in found]))
    high = float(np.nanmax([array.high for _, array in found]))
    role = roles.field_role(name, size)
    named = roles.unit_in(name)[1]
    unit, why = (named, "in its name") if named else roles.likely_unit(role, low, high)
    said = [f"{low:.4g} to {high:.4g}"]
    if role:
        said.append(f"role {role} by its name")
    if why:
        said.append(f"unit: {why}")
    odd = [case for case, array in found if array.size != size]
    if odd:
        said.append(f"{listing(odd, 3)} hold it with another number of components than {size}")
    bad = [case for case, array in found if array.bad]
    if bad:
        said.append(f"{listing(bad, 3)} hold NaN or infinite values")
    flat = [case for case, array in found if array.low == array.high]
    if flat and len(flat) == len(found):
        said.append("constant within each case")
    elif flat:
        said.append(f"constant in {listing(flat, 3)}")
    lacking = [look.name for look in looks if (place, name) not in look.arrays]
    if lacking:
        said.append(f"{listing(lacking, 3)} lack it and are left out")
    return FieldEntry(name, place, size, unit, role), "; ".join(said)


def family_of_most(looks: Sequence[CaseLook]) -> tuple[list[CaseLook], dict[str, str]]:
    """Cases that go together, and why each other does not: another dimension, or arrays that have nothing in common.

    A study learns one kind of case; the larger family is taken.
    """
    odd: dict[str, str] = {}
    counts = Counter(look.dimension for look in looks)
    top = max(counts, key=lambda d: (counts[d], d == "surface", d == "volume")) if counts else ""
    for look in looks:
        if look.dimension != top:
            odd[look.name] = f"is a {look.dimension} mesh, {counts[top]} of {len(looks)} cases are {top} meshes"
    kept = [look for look in looks if look.name not in odd]
    sets = Counter(_solution(look) for look in kept)
    if len(sets) > 1:
        main = max(sets, key=lambda names: (sets[names], len(names)))
        for look in kept:
            mine = _solution(look)
            if main and not mine & main:
                odd[look.name] = (
                    f"holds {listing(sorted(n for _, n in mine))} where {sets[main]} of {len(kept)} cases hold "
                    f"{listing(sorted(n for _, n in main))}: another solver?"
                )
    return [look for look in looks if look.name not in odd], odd


def _solution(look: CaseLook) -> frozenset[tuple[Place, str]]:
    return frozenset(key for key, array in look.arrays.items() if array.kind == "f" and not roles.is_geometry(key[1]))
