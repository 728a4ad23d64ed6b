"""Tables of a folder: which go with its cases, and which of their columns were set and which came out."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from meshops.datasets.folder import roles
from meshops.datasets.folder.arrays import CaseLook
from meshops.datasets.folder.cases import CaseFile
from meshops.datasets.folder.description import Description, Quantity
from meshops.datasets.folder.matching import CaseRows, Owners, add_parameters, add_tables
from meshops.datasets.folder.named_numbers import named_numbers
from meshops.datasets.folder.patterns import escape, pattern_of
from meshops.datasets.folder.tables import SURE, read_table, tables_in
from meshops.datasets.folder.walk import Listing, skeleton
from meshops.errors import InputError, listing, warn

NO_QUANTITY = {"timevalue", "cycle", "time", "ispatch", "issurface"}  # written by readers and viewers
LONGEST = 5000  # rows of a table that could have one per case


def guess_tables(
    study: Description, cases: Sequence[CaseFile], found: Listing, looks: Sequence[CaseLook] = ()
) -> Description:
    """The study with its tables, conditions, numbers and groups."""
    used = {entry.file for entry in study.snapshots} | {case.relative.as_posix() for case in cases}
    paths = [path for path in tables_in(found) if path.as_posix() not in used]
    rows = CaseRows()
    add_parameters(rows, study, cases)
    tables: list[str] = []
    reasons: list[str] = []
    for group in _groups(paths, cases):
        pattern = (
            escape(group[0].as_posix()) if len(group) == 1 else pattern_of(group, [p for p in paths if p not in group])
        )
        fits, why = _tried(group, found, cases)
        if fits:
            add_tables(rows, group, found.root, cases)
            tables.append(pattern)
        if why:
            reasons.append(f"'{pattern}'{why}" if why[0] in " :" else why)
    study = replace(study, tables=tuple(tables))
    if reasons:
        study = study.note("tables", "; ".join(reasons))
    return _quantities(study, rows, cases, looks)


def _tried(group: Sequence[PurePosixPath], found: Listing, cases: Sequence[CaseFile]) -> tuple[bool, str]:
    """Whether tables say something of the cases, and what is told of it: nothing of texts that are no tables at all."""
    sure = group[0].suffix.lower() in SURE
    trial = CaseRows()
    try:
        if not _could_be(found, group, cases):
            return False, " has another number of rows: a history, not used" if sure else ""
        add_tables(trial, group, found.root, cases)
    except InputError as error:
        if sure:
            warn(f"table not used: {error}")
        return False, str(error).replace("\n", " ") if sure else ""
    if not trial.values:
        return False, " holds no number of a case" if sure else ""
    if not sure and "order" in {match.how for match in trial.matches}:
        return False, ""
    return True, f": {_how(trial, len(cases))}"


def _how(rows: CaseRows, count: int) -> str:
    matched = [match for match in rows.matches if match.case]
    how = {match.how for match in matched}
    text = f"rows found by {' and '.join(sorted(how))} for {len({m.case for m in matched})} of {count} cases"
    first = matched[0]
    text += f", e.g. {first.case} <- {first.row}"
    left = [match.row for match in rows.matches if not match.case]
    if "order" in how:
        text += ": neither names nor numbers fit, check that the order is right"
    return text + (f"; rows without a case: {listing(left, 3)}" if left else "")


def _groups(paths: Sequence[PurePosixPath], cases: Sequence[CaseFile]) -> list[list[PurePosixPath]]:
    """Tables that are named alike and belong to different cases, together; others alone."""
    alike: dict[tuple[object, ...], list[PurePosixPath]] = {}
    owners = Owners(cases)
    for path in paths:
        owner = owners.of(path) if len(cases) > 1 else None
        name = path.name if owner is None else path.name.replace(owner.name, "{case}")
        key = (path,) if owner is None else (len(path.parts), skeleton(name))
        alike.setdefault(key, []).append(path)
    return list(alike.values())


def _could_be(found: Listing, group: Sequence[PurePosixPath], cases: Sequence[CaseFile]) -> bool:
    """Whether tables may have a row per case, or one row beside each case."""
    table = read_table(found.root / group[0])
    if len(group) > 1 or len(cases) == 1:
        return len(table.rows) == 1
    return len(table.rows) <= max(LONGEST, 4 * len(cases)) and (len(table.rows) > 1 or len(cases) == 1)


def _quantities(
    study: Description, rows: CaseRows, cases: Sequence[CaseFile], looks: Sequence[CaseLook]
) -> Description:
    """Columns as conditions and numbers, with the single values that files store."""
    values = {case.name: dict(rows.values.get(case.name, {})) for case in cases}
    columns = list(rows.columns)
    stored = {look.name: look.stored for look in looks}
    shared = [n for n in dict.fromkeys(k for s in stored.values() for k in s) if all(n in s for s in stored.values())]
    for name in shared:
        if name not in columns and not roles.is_geometry(name) and name.lower() not in NO_QUANTITY:
            columns.append(name)
            for case, s in stored.items():
                values.setdefault(case, {})[name] = s[name]
    conditions, numbers, reasons = [], [], dict(study.guesses)
    groups = study.groups
    left: list[str] = []
    in_names = named_numbers({case.name: case.relative for case in cases})
    kinds = [entry.role for entry in study.fields]
    for name in _without_repeats(columns, values, rows, in_names):
        known = [row[name] for row in values.values() if name in row]
        entry = Quantity(name, rows.units.get(name, "") or roles.unit_in(name)[1], roles.quantity_role(name))
        span = _span(known, entry.unit)
        lacking = [
            case.name
            for case in cases
            if name not in values.get(case.name, {}) and (case.name in stored or name in rows.columns)
        ]
        if roles.is_housekeeping(name):
            left.append(f"'{name}' says how the run went")
        elif roles.is_result(name, kinds):
            numbers.append(entry)
            reasons[f"numbers.{name}"] = f"by its name a result; {span}" + _lack(lacking)
        elif len(lacking) > len(cases) / 2:
            left.append(f"'{name}' is missing for {len(lacking)} of {len(cases)} cases")
        elif roles.is_group(name) and len(set(known)) < len(known):
            groups = groups or name
        else:
            conditions.append(entry)
            if name in in_names and name not in rows.tables:
                span += "; from the names of the cases"
            why = f"constant: {known[0]:g} in all cases, so nothing to learn from it" if len(set(known)) == 1 else span
            if roles.is_shape(name) and len({look.mark for look in looks}) > 1:
                why += "; of the shape, which the meshes show too: leave it out if predictions should not need it"
            reasons[f"conditions.{name}"] = why + _lack(lacking)
    for name in dict.fromkeys(column for row in rows.texts.values() for column in row):
        labels = [row.get(name, "") for row in rows.texts.values()]
        if name not in rows.columns and labels and sum(text[:1].isdigit() for text in labels) > len(labels) / 2:
            if name not in rows.keys:
                left.append(f"'{name}' cannot be read as numbers ({listing(labels, 2)})")
        elif name not in rows.columns and len(set(labels)) > 1 and len(set(labels)) < len(labels):
            if roles.is_group(name) and not groups:
                groups = name
            else:
                left.append(f"'{name}' holds text ({listing(sorted(set(labels)), 3)})")
    if groups:
        reasons["groups"] = "by its name: cases with the same value are never split"
    if left:
        reasons["conditions"] = "not used: " + "; ".join(left)
    return replace(study, conditions=tuple(conditions), numbers=tuple(numbers), groups=groups, guesses=reasons)


def _without_repeats(
    columns: Sequence[str], values: Mapping[str, Mapping[str, float]], rows: CaseRows, in_names: Container[str]
) -> list[str]:
    """Columns without those of the names of the cases that a table or the files hold as well."""

    def same(a: str, b: str) -> bool:
        pairs = [(row[a], row[b]) for row in values.values() if a in row and b in row]
        return len(pairs) == len(values) and all(math.isclose(x, y, rel_tol=1e-3) for x, y in pairs)

    named = [name for name in columns if name in in_names and name not in rows.tables]
    others = [name for name in columns if name not in named]
    return [name for name in columns if name not in named or not any(same(name, other) for other in others)]


def _lack(cases: Sequence[str]) -> str:
    return f"; missing for {listing(cases, 3)}" if cases else ""


def _span(values: Sequence[float], unit: str) -> str:
    good = [value for value in values if math.isfinite(value)]
    return f"{min(good):.4g} to {max(good):.4g} {unit}".strip() if good else ""
