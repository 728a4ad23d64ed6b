"""Tables of a workbook (``.xlsx``) without another package: the first sheet with a header and rows.

A workbook is a ZIP of XML (ISO/IEC 29500-1, 18.3 and 18.4). Formulas count as the values that were saved with them.
Departure: dates stay the numbers they are stored as.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from meshops.errors import InputError

SUFFIXES = (".xlsx", ".xlsm")
MOST_BYTES = 32 * 1024**2  # of one sheet, unpacked
MOST_COLUMNS = 2000
Rows = tuple[list[str], list[list[str]]]


def workbook_rows(path: Path) -> Rows:
    """Header and rows of the first sheet that has both; lines above the header are left out.

    Raises:
        InputError: It is no workbook, is locked by a password, or no sheet has a header and a row.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            texts = _shared_texts(archive, path)
            for sheet in _sheets(archive, path):
                found = _table(_cells(_xml(archive, sheet, path), texts))
                if found is not None:
                    return found
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, KeyError) as error:
        raise InputError(
            f"{path}: is no workbook that can be read ({error}); save it again without a password, or as CSV"
        ) from None
    except (ElementTree.ParseError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is a damaged workbook ({error}); save it again, or as CSV") from None
    raise InputError(f"{path}: no sheet has a header and a row; give a table with a row per case")


def _xml(archive: zipfile.ZipFile, name: str, path: Path) -> ElementTree.Element:
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise InputError(f"{path}: '{name}' is larger than {MOST_BYTES // 1024**2} MB, which no table of cases is")
    raw = archive.read(name)
    if b"<!DOCTYPE" in raw or b"\0" in raw[:8]:  # entities, which UTF-16 may hide, could make it grow without end
        raise InputError(f"{path}: '{name}' declares entities or is not UTF-8, as workbooks are; save it again")
    return ElementTree.fromstring(raw)


def _bare(tag: str) -> str:
    """A tag without its namespace, of which there are two kinds."""
    return tag.rpartition("}")[2]


def _below(element: ElementTree.Element, tag: str) -> Iterator[ElementTree.Element]:
    return (each for each in element.iter() if _bare(each.tag) == tag)


def _shared_texts(archive: zipfile.ZipFile, path: Path) -> list[str]:
    name = "xl/sharedStrings.xml"
    if name not in archive.namelist():
        return []
    return [_text(each) for each in _below(_xml(archive, name, path), "si")]


def _text(element: ElementTree.Element) -> str:
    return "".join(each.text or "" for each in _below(element, "t"))


def _sheets(archive: zipfile.ZipFile, path: Path) -> list[str]:
    """Names of the sheets in the archive, in the order of the workbook."""
    links = {
        each.get("Id", ""): each.get("Target", "")
        for each in _below(_xml(archive, "xl/_rels/workbook.xml.rels", path), "Relationship")
    }
    out = []
    for sheet in _below(_xml(archive, "xl/workbook.xml", path), "sheet"):
        target = next((links.get(value, "") for key, value in sheet.attrib.items() if _bare(key) == "id"), "")
        name = target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl") / target)
        if name in archive.namelist() and sheet.get("state", "visible") == "visible":
            out.append(name)
    return out


def _cells(sheet: ElementTree.Element, texts: list[str]) -> list[list[str]]:
    """``[rows][columns]`` the cells as text."""
    out = []
    for row in _below(sheet, "row"):
        cells: dict[int, str] = {}
        for place, cell in enumerate(_below(row, "c")):
            letters = re.match(r"[A-Z]+", cell.get("r", ""))
            column = _column(letters[0]) if letters else place
            if column < MOST_COLUMNS:
                cells[column] = _value(cell, texts).strip()
        out.append([cells.get(k, "") for k in range(max(cells, default=-1) + 1)])
    return out


def _column(letters: str) -> int:
    """``A`` -> 0, ``AB`` -> 27."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _value(cell: ElementTree.Element, texts: list[str]) -> str:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(cell)
    value = next((each.text or "" for each in _below(cell, "v")), "")
    if kind == "s":
        return texts[int(value)] if value.isdigit() and int(value) < len(texts) else ""
    return "" if kind == "e" else value


def _table(rows: list[list[str]]) -> Rows | None:
    """Header and rows; None where there are none."""
    widest = max((sum(map(bool, row)) for row in rows), default=0)
    start = next((i for i, row in enumerate(rows) if sum(map(bool, row)) > max(1, widest / 2)), None)
    if start is None:
        return None
    header = rows[start]
    columns = [k for k, name in enumerate(header) if name]
    body = [[row[k] if k < len(row) else "" for k in columns] for row in rows[start + 1 :]]
    body = [row for row in body if any(row)]
    return ([header[k] for k in columns], body) if body else None
