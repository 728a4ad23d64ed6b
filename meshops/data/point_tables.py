"""Clouds of points in text: a row per point, columns for its place and its values, as solvers and viewers export them.

Known headers are those of Fluent (``cellnumber, x-coordinate, ...``), STAR-CCM+ (``"Pressure (Pa)","X (m)",...``), CFX
(``[Data]``, ``X [ m ]``), ParaView (``"U:0",...,"Points:0"``), COMSOL (``% x  y  T (K)``) and plain ones
(``x y z p``), separated by commas, semicolons, tabs or blanks.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshops.data.reading import MeshRead, ReadNotes, Region
from meshops.errors import InputError, listing

Array = NDArray[np.float64]
SUFFIXES = (".csv", ".tsv", ".txt", ".asc", ".xyz")
HEAD = 64 * 1024  # bytes in which the first row of numbers is looked for
LENGTHS = {"m": 1.0, "mm": 1e-3, "cm": 1e-2, "km": 1e3, "um": 1e-6, "in": 0.0254, "ft": 0.3048}
# x, X, x-coordinate, coord_x, Points:0, Position[X], Centroid[X]; a digit only behind such a word.
PLACE = re.compile(
    r"(?:(?P<word>points?|positions?|pos|coords?|coordinates?|centroids?|cell ?cent(?:er|re)s?|nodes?)[ _:.\-\[(]*)?"
    r"(?P<axis>[xyz]|(?(word)[012]|(?!)))[\])]?(?P<after>[ _\-]*(?:coord(?:inate)?s?|pos(?:ition)?))?",
    re.IGNORECASE,
)
NUMBERING = re.compile(
    r"(?:(?:node|cell|point|element|vertex|row|face)?[ _\-]?(?:numbers?|num|nr|no|ids?|index)|nodes?|#|)", re.IGNORECASE
)
UNIT = re.compile(
    r"(?P<name>.*?)(?:\s+[\[(]\s*(?P<unit>[^\[\]]*?)\s*[\])]|[\[(]\s*(?P<tight>[^\[\]()]{2,}?)\s*[\])])?\s*"
)
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?|nan|[-+]?inf(?:inity)?", re.IGNORECASE)


@dataclass(frozen=True)
class Header:
    """What the beginning of a table says.

    Attributes:
        names: Of the columns, without units.
        units: Of the columns, empty where they say none.
        separator: Between cells; None: blanks.
        first: Line of the first row of numbers, from 0.
        decimal_comma: Numbers are written ``1,5``.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    separator: str | None
    first: int
    decimal_comma: bool = False

    @property
    def places(self) -> tuple[int, ...]:
        """Columns of the coordinates, x first; fewer than two: these are no points."""
        found: dict[str, dict[int, int]] = {}
        for column, name in enumerate(self.names):
            match = PLACE.fullmatch(name.strip())
            if match is not None:
                axis = "xyz012".index(match["axis"].lower()) % 3
                found.setdefault((match["word"] or match["after"] or "").lower(), {}).setdefault(axis, column)
        for axes in sorted(found.values(), key=len, reverse=True):
            if (0 in axes and 1 in axes) or len(axes) == 2:
                return tuple(axes[axis] for axis in sorted(axes))
        return ()


def holds_points(path: Path) -> bool:
    """Whether a text file begins like a table of points with something beside their places; reads its first bytes."""
    try:
        header = read_header(path)
    except (InputError, OSError):
        return False
    return header is not None and len(header.names) > len(header.places) >= 2


def read_header(path: Path) -> Header | None:
    """Header of a table; None where no row of numbers stands below names of as many columns."""
    with path.open("rb") as file:
        raw = file.read(HEAD)
    return header_of(_text(raw).splitlines()[: 1 if len(raw) < 3 else None])


def header_of(lines: Sequence[str]) -> Header | None:
    """The same of lines."""
    for first, line in enumerate(lines):
        for separator in (",", ";", "\t", None):
            cells = _cells(line, separator)
            comma = separator in (";", "\t") and any(re.fullmatch(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?", c) for c in cells)
            if comma:
                cells = [cell.replace(",", ".") for cell in cells]
            numbers = sum(NUMBER.fullmatch(cell) is not None for cell in cells)
            if numbers < max(3, len(cells) / 2):  # a column may hold text
                continue
            names = _names(lines[:first], separator, len(cells))
            if names is not None:
                parsed = [_unit(name) for name in names]
                return Header(
                    tuple(_axis_last(n) for n, _ in parsed), tuple(u for _, u in parsed), separator, first, comma
                )
    return None


def read_points(path: Path, *, region: Region = None) -> MeshRead:
    """Points and their values; no cells.

    Coordinates in another unit than metres by their header are brought to metres; two columns of coordinates are a
    plane. Columns that number the rows, hold text or nothing are left out.

    Raises:
        InputError: No header, no columns of coordinates, no other column, or rows of another length.
    """
    import pyvista as pv

    header = read_header(path)
    if header is None:
        raise InputError(
            f"{path}: no row of numbers below a header of as many columns; name the columns, such as x,y,z,p"
        )
    places = header.places
    if len(places) < 2:
        raise InputError(
            f"{path}: no columns of coordinates among {listing(header.names)}; call them x, y and z (or Points:0, ...)"
        )
    rows = _rows(path, header)
    notes = ReadNotes("table of points", precision="text")
    points = np.zeros((len(rows), 3))
    for axis, column in enumerate(places):
        factor = LENGTHS.get(header.units[column], 1.0)
        points[:, axis] = rows[:, column] * factor
        if factor != 1.0:
            notes.remarks.append(f"'{header.names[column]}' is in {header.units[column]}, brought to metres")
    cloud = pv.PolyData(points)
    left = []
    for column, name in enumerate(header.names):
        values = rows[:, column]
        if column in places:
            continue
        counted = bool(NUMBERING.fullmatch(name)) and np.array_equal(values - values[:1], np.arange(len(values)))
        if counted or bool(np.isnan(values).all()) or name in cloud.point_data:
            left.append(name)
        else:
            cloud.point_data[name] = np.ascontiguousarray(values)
    if not cloud.point_data.keys():
        raise InputError(f"{path}: holds places of points and no values at them; columns: {listing(header.names)}")
    if left:
        notes.remarks.append(f"columns left out, which count rows or hold no numbers: {listing(left)}")
    return MeshRead(cloud, notes)


def _rows(path: Path, header: Header) -> Array:
    """``[n, columns]`` all rows of numbers below the header; text is NaN."""
    whole = _text(path.read_bytes())
    lines = (whole.replace(",", ".") if header.decimal_comma else whole).splitlines()[header.first :]
    end = next((i for i, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))  # CFX: [Faces]
    kept = [line for line in lines[:end] if line.strip(" \t,;") and line.lstrip()[:1] not in "#%"]
    try:
        rows = np.loadtxt(
            io.StringIO("\n".join(kept)), delimiter=header.separator, ndmin=2, comments=None, quotechar='"'
        )
    except ValueError:
        rows = _with_text(kept, header, path)
    if rows.shape[1] != len(header.names):
        raise InputError(f"{path}: {rows.shape[1]} values in a row for {len(header.names)} columns; export it again")
    return rows


def _with_text(lines: Sequence[str], header: Header, path: Path) -> Array:
    """Rows where some cells are empty or no numbers: those are NaN."""
    rows = np.full((len(lines), len(header.names)), np.nan)
    for i, line in enumerate(lines):
        cells = _cells(line, header.separator)
        if len(cells) != len(header.names):
            raise InputError(
                f"{path}, row {i + 1} of numbers: {len(cells)} values for {len(header.names)} columns; export it again"
            )
        rows[i] = [float(cell.lower().replace("d", "e")) if NUMBER.fullmatch(cell) else np.nan for cell in cells]
    return rows


def _names(lines: Sequence[str], separator: str | None, count: int) -> list[str] | None:
    """The nearest line above that names as many columns, not all of them numbers."""
    for line in list(reversed(lines))[:5]:
        bare = line.strip().lstrip("#%/").strip()
        for mark in dict.fromkeys((separator, ",", ";", "\t", "  ", None)):
            cells = [cell for cell in _cells(bare, mark) if cell or mark not in ("  ", None)]
            if len(cells) == count and not all(NUMBER.fullmatch(cell) for cell in cells):
                return cells
    return None


def _cells(line: str, separator: str | None) -> list[str]:
    """Cells of a line, without quotes; units in brackets belong to the name before them."""
    line = line.strip()
    if separator is None:
        found = re.findall(r'"[^"]*"|[^\s"]+(?:\s*(?:\[[^\]]*\]|\([^)]*\)))?', line)
    elif separator == "  ":
        found = re.split(r"\s{2,}|\t", line)
    else:
        found = re.findall(rf'(?:"[^"]*"|[^{separator}])+|(?<={separator})(?={separator}|$)', line)
    return [cell.strip().strip('"').strip() for cell in found]


def _axis_last(name: str) -> str:
    """Components as :func:`meshops.data.vectors.vectors_in` knows them: ``x-velocity`` and ``Velocity[i]``."""
    match = re.fullmatch(r"([xyzXYZ])[-_ ](.+)", name)
    if match is not None and PLACE.fullmatch(name) is None:
        return f"{match[2]}_{match[1].lower()}"
    match = re.fullmatch(r"(.+)\[([ijk])\]", name)
    return name if match is None else f"{match[1]}[{'xyz'['ijk'.index(match[2])]}]"


def _unit(cell: str) -> tuple[str, str]:
    match = UNIT.fullmatch(cell)
    if match is None or not match["name"]:
        return cell, ""
    return match["name"], match["unit"] or match["tight"] or ""


def _text(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
