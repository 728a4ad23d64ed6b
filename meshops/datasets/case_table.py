"""A table with a row per case: what was set (conditions) and what came out (numbers), with units.

    case,   speed [m/s], angle [deg], drag [N]
    run_1,  30,          2.5,         4.1

The first column names the case, by its file's name with or without ending. Missing values are empty cells.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meshops.errors import InputError, listing

COLUMN = re.compile(r"\s*(?P<name>[^\[\]]+?)\s*(?:\[(?P<unit>[^\]]*)\])?\s*")


@dataclass(frozen=True)
class CaseTable:
    """Numbers of cases by name.

    Attributes:
        path: File, for messages.
        rows: Case -> name -> value.
        units: Unit of each column that says one.
    """

    path: Path
    rows: dict[str, dict[str, float]]
    units: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> CaseTable:
        """Read a CSV file.

        Raises:
            InputError: No header, a row of another length, a case twice, or a value that is no number.
        """
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
        if len(lines) < 2 or len(lines[0]) < 2:
            raise InputError(f"{path}: expected a header and a row per case, names in the first column")
        columns = [match for cell in lines[0] if (match := COLUMN.fullmatch(cell)) is not None]
        names = [match["name"] for match in columns]
        if len(names) != len(lines[0]) or len(set(names)) < len(names):
            raise InputError(f"{path}: every column needs a name of its own, got {listing(lines[0])}")
        rows: dict[str, dict[str, float]] = {}
        for number, line in enumerate(lines[1:], start=2):
            if len(line) != len(names):
                raise InputError(f"{path}, line {number}: {len(line)} values for {len(names)} columns")
            case = Path(line[0].strip()).name
            if case in rows:
                raise InputError(f"{path}, line {number}: the case '{case}' is there twice")
            rows[case] = {
                n: _number(cell, path, number) for n, cell in zip(names[1:], line[1:], strict=True) if cell.strip()
            }
        return cls(path, rows, {match["name"]: match["unit"] for match in columns if match["unit"]})

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that any case has a value of."""
        return tuple(dict.fromkeys(name for row in self.rows.values() for name in row))

    def row(self, case: Path) -> dict[str, float]:
        """Numbers of the case of a file.

        Raises:
            InputError: The table has no such row.
        """
        for name in (case.name, case.stem, case.parent.name):
            if name in self.rows:
                return self.rows[name]
        named = [row for name, row in self.rows.items() if Path(name).stem == case.stem]
        if len(named) == 1:
            return named[0]
        raise InputError(f"{self.path}: no row for the case '{case.stem}'; rows: {listing(self.rows)}")

    def check(self, wanted: Sequence[str], what: str) -> None:
        """Raise ``InputError`` unless the columns are there."""
        missing = [name for name in wanted if name not in self.names]
        if missing:
            raise InputError(
                f"{self.path}: no column {listing(missing)} for the {what}; columns: {listing(self.names)}"
            )


def _number(cell: str, path: Path, line: int) -> float:
    try:
        return float(cell)
    except ValueError:
        raise InputError(f"{path}, line {line}: {cell.strip()!r} is not a number") from None
