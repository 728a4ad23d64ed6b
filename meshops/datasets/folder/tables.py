"""Tables of numbers in any dialect of CSV."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshops.errors import InputError, MissingDataError, listing

SUFFIXES = (".csv", ".tsv")
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
        decimal_comma: Numbers are written ``1,5``.
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
        if not text or text.lower() in ("nan", "na", "n/a", "-", "none", "null"):
            return math.nan
        try:
            return float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            return None

    def numeric(self, column: str) -> list[float] | None:
        """Numbers of a column; None where a cell is none, or all are empty."""
        found = [self.number(text) for text in self.texts(column)]
        numbers = [value for value in found if value is not None]
        if len(numbers) < len(found) or all(math.isnan(value) for value in numbers):
            return None
        return numbers


def read_table(path: Path) -> Table:
    """Read a table, separated by commas, semicolons, tabs or blanks, with or without quotes and units.

    Raises:
        InputError: It cannot be read, has no header and row, a row of another length, or a column twice.
    """
    if not path.is_file():
        raise MissingDataError(f"{path}: no such table; correct the entry 'tables'")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES // 1024**2} MB, which no table of cases is")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the permissions") from error
    lines = [line for line in _decoded(raw, path).splitlines() if line.strip(" \t;,")]
    while len(lines) > 1 and lines[0].lstrip().startswith("#") and _columns(lines[0]) != _columns(lines[1]):
        del lines[0]
    if lines:
        lines[0] = lines[0].lstrip().removeprefix("#").lstrip()
    lines = lines[:1] + [line for line in lines[1:] if not line.lstrip().startswith("#")]
    if len(lines) < 2:
        raise InputError(f"{path}: expected a header and at least one row, got {len(lines)} lines")
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
    return _table(path, header, rows, separator)


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], separator: str) -> Table:
    names, units = [], {}
    for place, cell in enumerate(header):
        match = HEADER.fullmatch(cell)
        name = match["name"] if match else cell or ("case" if place == 0 else f"column_{place + 1}")
        names.append(name)
        if match and match["unit"]:
            units[name] = match["unit"].strip()
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: every column needs a name of its own, {listing(twice)} is there twice")
    if all(is_number(name) for name in names):
        raise InputError(f"{path}: has no header, its first line holds numbers; give each column a name")
    comma = separator != "," and any(re.fullmatch(r"[-+]?\d+,\d+([eE][-+]?\d+)?", c) for row in rows for c in row)
    return Table(path, tuple(names), units, tuple(tuple(row) for row in rows), comma)


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
    return best[1]


def is_number(text: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
