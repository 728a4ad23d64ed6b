"""Numbers as people write them in tables: ``1.234,56``, ``1,234.56``, ``12 %``, ``5 mm``, ``-1,5``, ``1.5D+03``.

How a column writes them is decided by all of its cells, and by the other columns where it could be read in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NOTHING = ("", "nan", "na", "n/a", "-", "none", "null", "k.a.")
NUMBER = r"[-+]?(?:\d[\d.,' ]*|[.,]\d+)(?:[eEdD][-+]?\d+)?"
GROUPS = {".": re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+"), ",": re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")}


def plain_columns(
    rows: Sequence[Sequence[str]], *, commas_part: bool = False
) -> tuple[list[list[str]], dict[int, str], bool]:
    """Cells with their numbers as Python reads them.

    Columns that hold anything else than numbers are left as they are, and so are those that can be read in two ways.

    Args:
        rows: Cells.
        commas_part: The cells were separated by commas, so that ``1,234`` in one of them may well be a thousand.

    Returns:
        The cells, units that stood behind all numbers of a column, and whether decimals are written with a comma.

    Example:
        >>> plain_columns([["a", "1.234,5", "5 mm"], ["b", "2,5", "7 mm"]])
        ([['a', '1234.5', '5'], ['b', '2.5', '7']], {2: 'mm'}, True)
    """
    columns = [[_ascii(row[k]) for row in rows] for k in range(len(rows[0]) if rows else 0)]
    parted = [_without_unit(column) for column in columns]
    if parted and parted[0][1]:  # 5mm, 6mm: names of cases
        parted[0] = (None, "")
    known = [numbers for numbers, _ in parted if numbers is not None]
    english = any(re.search(r"\d,\d{3}[.,]", text) for numbers in known for text in numbers)
    comma = not english and any(_decimal_comma(numbers, commas_part) for numbers in known)
    units: dict[int, str] = {}
    out = [list(row) for row in rows]
    for k, (numbers, unit) in enumerate(parted):
        plain = None if numbers is None else _plain(numbers, comma)
        if plain is None:
            continue
        if unit:
            units[k] = unit
        for row, cell in zip(out, plain, strict=True):
            row[k] = cell
    return out, units, comma


def _ascii(cell: str) -> str:
    """A cell with the minus and the blanks of the keyboard."""
    return re.sub(r"[\u00a0\u2009\u202f]", " ", re.sub("[\u2212\u2012\u2013](?=[\\d.,])", "-", cell)).strip()


def _without_unit(column: Sequence[str]) -> tuple[list[str] | None, str]:
    """Numbers of a column and the unit behind all of them; None: other texts are among the cells."""
    numbers, units = [], set()
    for cell in column:
        if cell.lower() in NOTHING:
            numbers.append(cell)
            continue
        match = re.fullmatch(rf"(?P<number>{NUMBER})\s*(?P<unit>[^\d\s.,;'+\-].*)?", cell)
        if match is None or not re.search(r"\d", match["number"]):
            return None, ""
        numbers.append(match["number"].strip())
        units.add((match["unit"] or "").strip())
    if not units or len(units) > 1:
        return None, ""
    unit = units.pop()
    # run_1 begins with no number; 3d_a, 3d_b have no unit in common; 2x4 is none.
    return (numbers, unit) if not unit or re.fullmatch(r"[^\d\s_][^\s_]{0,15}", unit) else (None, "")


def _decimal_comma(numbers: Sequence[str], commas_part: bool) -> bool:
    """Whether a column shows that decimals stand behind a comma."""
    for text in numbers:
        body = re.split(r"[eEdD]", text)[0]
        thousand = commas_part and GROUPS[","].fullmatch(body) is not None
        if body.count(",") == 1 and not thousand and "." not in body.partition(",")[2]:
            return True
    return False


def _plain(numbers: Sequence[str], comma: bool) -> list[str] | None:
    """Numbers as Python reads them; None where one cannot be read."""
    group, point = (".", ",") if comma else (",", ".")
    bodies = [re.split(r"[eEdD]", text)[0] for text in numbers]
    # 0.750 among them, or 2.5: the point of this column is a decimal one, whatever the other columns do
    whole = [body for body in bodies if group in body]
    grouped = all(GROUPS[group].fullmatch(body.partition(point)[0]) for body in whole)
    if whole and group == "," and len(whole) == len(bodies) and not any(point in body for body in bodies):
        return None  # 1,234 and 2,345: thousands or decimals
    out = []
    for text in numbers:
        if text.lower() in NOTHING:
            out.append(text)
            continue
        plain = re.sub(r"(?<=\d)[ '](?=\d{3})", "", text)
        if grouped:
            plain = plain.replace(group, "").replace(point, ".")
        elif comma and "," in plain:
            return None
        plain = re.sub(r"[dD](?=[-+]?\d+$)", "e", plain)
        try:
            float(plain)
        except ValueError:
            return None
        out.append(plain)
    return out
