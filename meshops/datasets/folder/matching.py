"""Which row of which table belongs to which case.

A table has a row per case (``cases.csv``), or one row and lies beside its case (``run_7/force_mom_7.csv``). Rows are
found by the name of the case or its file, by the number in it, by values in it, and by order only where nothing else
fits and the counts agree; how is kept for every case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from meshops.datasets.folder.cases import CaseFile, list_cases
from meshops.datasets.folder.description import Description, Match
from meshops.datasets.folder.named_numbers import named_numbers
from meshops.datasets.folder.patterns import matches, stem
from meshops.datasets.folder.roles import is_result, quantity_role
from meshops.datasets.folder.snapshots import parameter_columns
from meshops.datasets.folder.tables import ID_NAMES, Table, is_number, read_table
from meshops.datasets.folder.walk import list_folder, numbers_in
from meshops.errors import InputError, MissingDataError, listing


@dataclass
class CaseRows:
    """What tables say of cases.

    Attributes:
        matches: How each case found its row, and rows without a case (``case`` empty).
        values: Case -> column -> number.
        texts: Case -> column -> text, of all columns.
        units: Unit of each column that says one.
        columns: Columns with numbers, in the order of the tables; those that name cases left out.
        tables: Column -> table.
        keys: Columns that name cases.
    """

    matches: tuple[Match, ...] = ()
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)


def rows_of_cases(study: Description, cases: Sequence[CaseFile] | None = None) -> CaseRows:
    """Read the tables of a study and match them with its cases.

    Raises:
        InputError: A table cannot be read, or matches none of the cases.
    """
    files = list_folder(study.root).files if study.tables else []
    cases = list_cases(study) if cases is None else cases
    out = CaseRows()
    add_parameters(out, study, cases)
    for pattern in study.tables:
        found = [path for path in files if matches(path, pattern)]
        if not found:
            raise MissingDataError(f"{study.root}: no table fits '{pattern}'; correct the entry 'tables'")
        add_tables(out, found, study.root, cases)
    return out


def add_tables(out: CaseRows, paths: Sequence[PurePosixPath], root: Path, cases: Sequence[CaseFile]) -> None:
    """Add the tables of one pattern: one row beside each case, or a row per case."""
    tables = {path: read_table(root / path) for path in paths}
    single = all(len(table.rows) == 1 for table in tables.values())
    if (single and len(cases) > 1) or (single and len(paths) > 1):
        owner = Owners(cases)
        owners = {path: owner.of(path) for path in paths}
        if any(owners.values()):
            for path, owned in owners.items():
                if owned is not None:
                    _take(out, tables[path], 0, owned.name, "own table", str(path), ())
            return
    for path, table in tables.items():
        found = match_rows(table, cases)
        if not found.rows and len(tables) == 1:
            raise InputError(
                f"{root / path}: no row fits a case; rows {listing(found.labels, 4)}, cases "
                f"{listing((case.name for case in cases), 4)};\nname the cases in the first column as their files, or "
                "take the table out of 'tables'"
            )
        for case, row in found.rows.items():
            _take(out, table, row, case, found.how, str(path), found.keys)
        left = [label for i, label in enumerate(found.labels) if i not in set(found.rows.values())]
        out.matches += tuple(Match("", label, "no case", str(path)) for label in left)


def add_parameters(out: CaseRows, study: Description, cases: Sequence[CaseFile]) -> None:
    """Add the numbers per case that lie in arrays beside a mesh, or stand in the names of the cases."""
    for column, named in named_numbers({case.name: case.relative for case in cases}).items():
        out.columns.append(column)
        if named.unit:
            out.units[column] = named.unit
        for case in cases:
            out.values.setdefault(case.name, {})[column] = named.values[case.name]
    for name, values in (parameter_columns(study) if study.snapshots else {}).items():
        out.columns.append(name)
        for case in cases:
            out.values.setdefault(case.name, {})[name] = values[case.row]


def _take(out: CaseRows, table: Table, row: int, case: str, how: str, path: str, keys: Sequence[str]) -> None:
    cells = dict(zip(table.columns, table.rows[row], strict=True))
    label = cells[keys[0]] if keys else f"row {row + 1}"
    out.matches += (Match(case, label, how, path),)
    out.texts.setdefault(case, {}).update(cells)
    out.keys.update(keys)
    for name, text in cells.items():
        if name in keys:
            continue
        value = table.number(text)
        if value is None or not math.isfinite(value):
            continue
        out.values.setdefault(case, {})[name] = value
        if name not in out.columns:
            out.columns.append(name)
            out.tables[name] = path
    out.units.update({name: unit for name, unit in table.units.items() if name not in keys})


class Owners:
    """The case a file belongs to: it lies in its folder, or has its name or its number.

    Args:
        cases: Looked at once, however many files there are.
    """

    def __init__(self, cases: Sequence[CaseFile]) -> None:
        self.within: dict[PurePosixPath, list[CaseFile]] = {}
        self.names: dict[str, list[CaseFile]] = {}
        self.called: dict[str, list[CaseFile]] = {}
        self.numbered: dict[tuple[int, ...], list[CaseFile]] = {}
        for case in cases:
            if case.folder.parts:
                self.within.setdefault(case.folder, []).append(case)
            self.names.setdefault(case.name, []).append(case)
            for name in {case.name, stem(case.relative.name)}:
                self.called.setdefault(name, []).append(case)
            self.numbered.setdefault(numbers_in(case.name)[-1:], []).append(case)

    def of(self, path: PurePosixPath) -> CaseFile | None:
        """The case; None: no one's."""
        inside = [case for folder in (path, *path.parents) for case in self.within.get(folder, ())]
        if len(inside) == 1:
            return inside[0]
        name = stem(path.name)
        breaks = [place for place, letter in enumerate(name) if letter == "_"]
        parts = {text for place in breaks for text in (name[:place], name[place + 1 :])}
        for found in (
            self.called.get(name, []),
            [case for part in parts for case in self.names.get(part, ())],
            self.numbered.get(numbers_in(name)[-1:], []) if numbers_in(name) else [],
        ):
            among = [case for case in found if not inside or case in inside]
            if len(among) == 1:
                return among[0]
        return None


@dataclass(frozen=True)
class RowMatch:
    """Case -> row of a table; ``keys``: the columns that name cases."""

    rows: Mapping[str, int]
    how: str
    keys: tuple[str, ...]
    labels: tuple[str, ...]


def match_rows(table: Table, cases: Sequence[CaseFile]) -> RowMatch:
    """Rows of a table by the names of the cases, by values or numbers in them, else by order where the counts agree."""
    if cases and all(case.row >= 0 for case in cases) and len(table.rows) > max(case.row for case in cases):
        keys = tuple(name for name in _id_columns(table) if name == table.columns[0])
        labels = tuple(table.texts(table.columns[0])) if keys else tuple(f"row {i + 1}" for i in range(len(table.rows)))
        return RowMatch({case.name: case.row for case in cases}, "order of the arrays", keys, labels)
    named = _by_name(table, cases)
    numbered = _by_number(table, cases)
    told = by_values(table, cases)
    best = max((named, numbered, told), key=lambda found: len(found.rows))
    if 2 * len(best.rows) > min(len(cases), len(table.rows)) and not _counted_apart(best, table, cases):
        return best
    keys = best.keys if best.rows else _id_columns(table)
    if len(table.rows) == len(cases) and not _names_others(table) and _ascending(table, keys):
        labels = tuple(table.texts(keys[0])) if keys else tuple(f"row {i + 1}" for i in range(len(table.rows)))
        return RowMatch({case.name: i for i, case in enumerate(cases)}, "order", keys, labels)
    return best if best.rows else RowMatch({}, "", best.keys, best.labels)


def _by_name(table: Table, cases: Sequence[CaseFile]) -> RowMatch:
    known: dict[str, str | None] = {}
    for case in cases:
        for name in case.called():
            known[name] = None if known.get(name, case.name) != case.name else case.name  # None: of two cases
    best = RowMatch({}, "name", (), tuple(table.texts(table.columns[0])))
    for column in table.columns:
        rows: dict[str, int] = {}
        texts = table.texts(column)
        if column.lower() not in ID_NAMES and all(is_number(text) for text in texts):
            continue
        for i, text in enumerate(texts):
            case_name = next((c for key in _called(text) if (c := known.get(key)) is not None), None)
            if case_name is not None and case_name not in rows:
                rows[case_name] = i
        if len(rows) > len(best.rows):
            files = sum(not is_number(text) and bool(PurePosixPath(text.replace("\\", "/")).suffix) for text in texts)
            best = RowMatch(rows, "file" if files > len(texts) / 2 else "name", (column,), tuple(texts))
    return best


VALUE = re.compile(r"(?:(?<![^_=\s/])[-+])?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\d.]*\d)", re.IGNORECASE)


def by_values(table: Table, cases: Sequence[CaseFile]) -> RowMatch:
    """Rows whose values stand in the names: ``geoA/aoa_2.5_mach_0.8.vtu`` and the columns ``geometry, aoa, mach``.

    The columns used are those of which every name holds a value; together they must name one row for each case.
    """
    none = RowMatch({}, "values in the name", (), tuple(table.texts(table.columns[0])))
    words = {case.name: _words(case) for case in cases}
    chosen: list[dict[str, set[int]]] = []
    keys = []
    for column in table.columns:
        cells = [table.number(text) if _is_plain(text) else text.casefold() for text in table.texts(column)]
        if len(set(cells)) < 2 or is_result(column):
            continue
        fitting = {name: {i for i, cell in enumerate(cells) if cell in known} for name, known in words.items()}
        if all(fitting.values()) and len({frozenset(rows) for rows in fitting.values()}) > 1:
            chosen.append(fitting)
            keys.append(column)
    if not chosen or (len(keys) == 1 and not _meant(table, keys[0], cases)):
        return none
    rows = {name: set.intersection(*(fitting[name] for fitting in chosen)) for name in words}
    single = {name: next(iter(found)) for name, found in rows.items() if len(found) == 1}
    if len(single) < len(cases) or len(set(single.values())) < len(single):
        return none
    labels = tuple(", ".join(row[table.columns.index(key)] for key in keys) for row in table.rows)
    return RowMatch(single, none.how, (), labels)


def _meant(table: Table, column: str, cases: Sequence[CaseFile]) -> bool:
    """Whether the values of one column in the names are no mere counting: words, fractions, or the column is named."""
    texts = table.texts(column)
    named = all(column.casefold() in case.relative.as_posix().casefold() for case in cases)
    return named or not all(re.fullmatch(r"\d+(\.0*)?", text) for text in texts)


def _words(case: CaseFile) -> set[object]:
    """Words and numbers in the path of a case."""
    text = (case.relative.parent / stem(case.relative.name)).as_posix()
    words: set[object] = {word.casefold() for word in re.split(r"[/_\s,;=]+", text)}
    return words | {part.casefold() for part in text.split("/")} | {float(match) for match in VALUE.findall(text)}


def _is_plain(text: str) -> bool:
    return is_number(text.replace(",", "."))


def _called(text: str) -> tuple[str, ...]:
    """Names a cell may mean: the whole, the last part of a path, and that without its ending."""
    whole = text.replace("\\", "/").strip("/ ").casefold()
    last = whole.rpartition("/")[2]
    return whole, last, stem(last), whole.rpartition(".")[0] or whole


def _by_number(table: Table, cases: Sequence[CaseFile]) -> RowMatch:
    ids = _case_numbers(cases)
    best = RowMatch({}, "number", (), tuple(table.texts(table.columns[0])))
    if not ids:
        return best
    for column in _id_columns(table):
        rows = {}
        texts = table.texts(column)
        numbers = [_id_number(text) for text in texts]
        places = {number: i for i, number in enumerate(numbers) if number is not None}
        if len(places) < len([n for n in numbers if n is not None]):  # a number twice names no row
            continue
        for case, number in ids.items():
            if number in places:
                rows[case] = places[number]
        if len(rows) > len(best.rows):
            best = RowMatch(rows, "number", (column,), tuple(texts))
    return best


def _id_columns(table: Table) -> tuple[str, ...]:
    """Columns that may number cases: by their name, and the first where it holds distinct whole numbers."""
    named = [name for name in table.columns if name.strip().lower().replace(" ", "_") in ID_NAMES]
    first = table.columns[0]
    texts = table.texts(first)
    numbers = [number for text in texts if (number := _id_number(text)) is not None]
    meant = bool(quantity_role(first)) or is_result(first)  # 1, 2, 3 of a load are no numbers of cases
    labels = not any(is_number(text) for text in texts)  # a few of them may have no number: KK-1, KK-2, prototype
    enough = len(numbers) > len(texts) / 2 if labels else len(numbers) == len(texts)
    whole = enough and len(set(numbers)) == len(numbers) and not meant
    return tuple(dict.fromkeys([*named, *([first] if whole and (len(texts) > 1 or first in named) else [])]))


def _id_number(text: str) -> int | None:
    """``7``, ``7.0``, ``007``, ``run_7`` -> 7."""
    if re.fullmatch(r"\s*\d+(\.0*)?\s*", text):
        return int(float(text))
    found = numbers_in(stem(text))
    return found[-1] if found and not is_number(text) else None


def _case_numbers(cases: Sequence[CaseFile]) -> dict[str, int]:
    """The number in the name of each case that tells them apart; empty where none does."""
    rows = {case.name: numbers_in(case.name) for case in cases}
    width = min((len(row) for row in rows.values()), default=0)
    for place in range(-1, -width - 1, -1):
        numbers = {name: row[place] for name, row in rows.items()}
        if len(set(numbers.values())) == len(numbers):
            return numbers
    return {}


def _counted_apart(found: RowMatch, table: Table, cases: Sequence[CaseFile]) -> bool:
    """Whether cases are counted from 0 and rows from 1, or the reverse, so that numbers are one off."""
    if found.how != "number" or len(table.rows) != len(cases) or len(found.rows) == len(cases):
        return False
    ids = sorted(_case_numbers(cases).values())
    rows = sorted(number for text in table.texts(found.keys[0]) if (number := _id_number(text)) is not None)
    whole = [list(range(n[0], n[0] + len(n))) == n for n in (ids, rows) if n]
    return len(whole) == 2 and all(whole) and {ids[0], rows[0]} == {0, 1}


def _ascending(table: Table, keys: Sequence[str]) -> bool:
    """Whether the numbers that the rows are called by grow, as those of cases in their order do."""
    numbers = [number for key in keys[:1] for text in table.texts(key) if (number := _id_number(text)) is not None]
    return numbers == sorted(numbers)


def _names_others(table: Table) -> bool:
    """Whether the first column names something, so that an order would contradict it."""
    texts = table.texts(table.columns[0])
    return all(text and not is_number(text) and not numbers_in(text) for text in texts) and len(set(texts)) == len(
        texts
    )
