"""Tables of numbers in any dialect of CSV, in workbooks, and parameters in JSON, YAML, TOML and plain text."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from meshops.datasets.folder import mappings, workbooks
from meshops.datasets.folder.walk import Listing
from meshops.datasets.folder.written_numbers import NOTHING, plain_columns
from meshops.errors import InputError, MissingDataError, listing

TEXT = (".csv", ".tsv")
SUFFIXES = TEXT + workbooks.SUFFIXES + mappings.SUFFIXES + mappings.ASSIGNED
SURE = TEXT + workbooks.SUFFIXES  # the others may be anything
RESERVED = {"study.yaml", "study_new.yaml", "infos.yaml", "config.yaml"}  # of ours and of PLAID, no parameters
MOST_BYTES = 64 * 1024**2
ID_NAMES = set(
    "case case_id caseid id run run_id runid run_no run_number index idx i no nr n number num sim simulation "
    "sim_id sample sample_id design design_id name file filename file_name mesh path model experiment point dp "
    "design_point # case_number snapshot".split()
) | {""}
HEADER = re.compile(
    r"\s*(?P<name>[^\[\]()]*?[^\s\[\]()])\s*"
    r"(?:[\[(]\s*(?P<unit>[^\[\]()]*(?:\([^()]*\)[^\[\]()]*)*)\s*[\])])?\s*"
)


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        path: File.
        columns: Names, without units.
        units: Unit of each column that says one.
        rows: Cells of each row, stripped.
        decimal_comma: Numbers were written ``1,5``; the cells hold ``1.5``.
    """

    path: Path
    columns: tuple[str, ...]
    units: Mapping[str, str]
    rows: tuple[tuple[str, ...], ...]
    decimal_comma: bool = False

    def texts(self, column: str) -> list[str]:
        """Cells of a column."""
        place = self.columns.index(column)
        return [row[place] for row in self.rows]

    def number(self, text: str) -> float | None:
        """A cell as a number; None: it is none, NaN where it is empty."""
        if text.lower() in NOTHING:
            return math.nan
        try:
            return float(text)
        except ValueError:
            return None

    def numeric(self, column: str) -> list[float] | None:
        """Numbers of a column; None where a cell is none, or all are empty."""
        found = [self.number(text) for text in self.texts(column)]
        numbers = [value for value in found if value is not None]
        if len(numbers) < len(found) or all(math.isnan(value) for value in numbers):
            return None
        return numbers


def tables_in(found: Listing) -> list[PurePosixPath]:
    """Files of a folder that may be tables or parameters."""
    return [path for path in found.with_suffix(SUFFIXES) if path.name.lower() not in RESERVED]


def read_table(path: Path) -> Table:
    """Read a table: text separated by commas, semicolons, tabs or blanks, a workbook, or parameters.

    Raises:
        InputError: It cannot be read, has no header and row, a row of another length, or a column twice.
    """
    if not path.is_file():
        raise MissingDataError(f"{path}: no such table; correct the entry 'tables'")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES // 1024**2} MB, which no table of cases is")
        suffix = path.suffix.lower()
        if suffix in workbooks.SUFFIXES + mappings.SUFFIXES:
            header, rows = (
                workbooks.workbook_rows(path) if suffix in workbooks.SUFFIXES else mappings.mapping_rows(path)
            )
            return _table(path, header, rows)
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the permissions") from error
    return _table(path, *_text_rows(path, raw))


def _text_rows(path: Path, raw: bytes) -> tuple[list[str], list[list[str]], bool]:
    """Header and rows of a text, and whether commas part its cells."""
    text = _decoded(raw, path)
    named = mappings.assigned(text) if path.suffix.lower() in mappings.ASSIGNED else None
    if named is not None:
        return *named, False
    lines = [line.strip(" ") for line in text.splitlines() if line.strip(" \t;,")]
    while len(lines) > 1 and lines[0].lstrip().startswith("#") and _columns(lines[0]) != _columns(lines[1]):
        del lines[0]
    if lines:
        lines[0] = lines[0].lstrip().removeprefix("#").lstrip()
    lines = lines[:1] + [line for line in lines[1:] if not line.lstrip().startswith("#")]
    if len(lines) < 2:
        raise InputError(f"{path}: expected a header and at least one row, got {len(lines)} lines")
    lines = _without_title(lines)
    separator = _separator(lines)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        cells = [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise InputError(f"{path}: is no table ({error})") from None
    header, rows = cells[0], cells[1:]
    if all(not row[-1] for row in cells if row) and len({len(row) for row in cells}) == 1:  # a separator at each end
        header, rows = header[:-1], [row[:-1] for row in rows]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(f"{path}, line {number}: {len(row)} values for {len(header)} columns")
    return header, rows, separator == ","


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], commas_part: bool = False) -> Table:
    names, units = [], {}
    for place, cell in enumerate(header):
        match = HEADER.fullmatch(cell)
        name = match["name"] if match else cell or ("case" if place == 0 else f"column_{place + 1}")
        names.append(name)
        if match and match["unit"]:
            units[name] = match["unit"].strip()
    below = _units_below(rows)
    if below:
        units |= {names[place]: unit for place, unit in below.items()}
        rows = rows[1:]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: every column needs a name of its own, {listing(twice)} is there twice")
    loose = path.suffix.lower() in mappings.ASSIGNED and any(is_number(name) for name in names)
    if loose or all(is_number(name) for name in names):
        raise InputError(f"{path}: has no header, its first line holds numbers; give each column a name")
    plain, behind, comma = plain_columns(rows, commas_part=commas_part)
    units |= {names[place]: unit for place, unit in behind.items() if names[place] not in units}
    return Table(path, tuple(names), units, tuple(tuple(row) for row in plain), comma)


def _units_below(rows: Sequence[Sequence[str]]) -> dict[int, str]:
    """Units that stand in a row of their own below the header: the only row without numbers; by column."""
    if len(rows) < 2 or any(_may_be_number(cell) for cell in rows[0]):
        return {}
    numeric = [k for k in range(len(rows[0])) if all(_may_be_number(row[k]) or not row[k] for row in rows[1:])]
    numeric = [k for k in numeric if any(row[k] for row in rows[1:])]
    said = {k: rows[0][k].strip("[]() ") for k in numeric if rows[0][k].strip("[]() -")}
    rest = [cell for k, cell in enumerate(rows[0]) if k not in numeric and cell.strip("[]() -")]
    return said if said and not rest and all(len(unit) <= 12 for unit in said.values()) else {}


def _may_be_number(cell: str) -> bool:
    return is_number(cell.replace(",", "."))


def _decoded(raw: bytes, path: Path) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    if b"\x00" in raw:
        raise InputError(f"{path}: is no text; give a table with a header and a row per case")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _columns(line: str) -> int:
    return max(line.count(mark) for mark in ",;\t")


def _without_title(lines: list[str]) -> list[str]:
    """Lines without the title above the header: fewer cells than most rows have, or but one of them filled."""
    for mark in "\t;,":
        try:
            rows = list(csv.reader(lines[:50], delimiter=mark, skipinitialspace=True))
        except csv.Error:
            continue
        usual, often = Counter(map(len, rows)).most_common(1)[0]
        if usual < 2 or 2 * often < len(rows):
            continue
        filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
        start = next((i for i, row in enumerate(rows) if len(row) == usual and filled[i] > (usual > 2)), 0)
        titled = all(filled[i] <= 1 for i in range(start)) and not any(_may_be_number(cell) for cell in rows[start])
        return lines[start:] if titled and start < len(rows) - 1 else lines
    return lines


def _separator(lines: Sequence[str]) -> str:
    """The mark that cuts the header and the rows into the same number of cells."""
    some = lines[:50]
    best = (0, ",")
    for mark in ("\t", ";", ","):
        try:
            counts = [len(row) for row in csv.reader(some, delimiter=mark, skipinitialspace=True)]
        except csv.Error:
            continue
        if counts[0] > 1 and len(set(counts)) == 1:
            return mark
        best = max(best, (counts[0], mark))
    if best[0] == 1 and len({len(line.split()) for line in some}) == 1:  # columns set apart by blanks
        return " "
    return best[1]


def is_number(text: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
