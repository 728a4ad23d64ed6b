"""The report of one prediction, and the index of several: single HTML files that open offline.

Pictures are embedded, nothing is fetched, and a content security policy in the page makes the browser refuse to.
"""

from __future__ import annotations

import base64
import io
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from meshops.errors import InputError, listing
from meshops.io import write_bytes

Level = Literal["inside", "edge", "outside"]
LEVELS: dict[str, tuple[str, str]] = {
    "inside": ("✓", "Inside the training range"),
    "edge": ("!", "At the edge of the training range"),
    "outside": ("✕", "Outside the training range"),
}
SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}

# The range bar of a descriptor: the training range takes this middle part of it.
BAND = (25.0, 75.0)

# Pixels; twice the width in the index, for dense screens.
THUMBNAIL = 440


class Table(NamedTuple):
    """A table; a plain ``(columns, rows)`` pair does as well.

    Attributes:
        columns: Headings.
        rows: One value per column; numbers are shown with four significant digits, strings as they are.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


AnyTable = Table | tuple[Sequence[str], Sequence[Sequence[Any]]]


@dataclass(frozen=True, kw_only=True)
class TrustSection:
    """How far the numbers can be trusted.

    Attributes:
        level: ``"inside"``, ``"edge"`` or ``"outside"`` of the training set.
        sentence: The same in plain words.
        rows: Descriptor, this shape, smallest and largest of the training set, inside?
        expected_error: Errors measured on held-out shapes.
    """

    level: Level
    sentence: str
    rows: Sequence[tuple[str, float, float, float, bool]] = ()
    expected_error: AnyTable | None = None


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything a report says.

    Attributes:
        title, subtitle: Head of the page.
        summary: Label and value of the few numbers to read first.
        forces: Table of forces and coefficients.
        field_table: Minimum, mean, maximum (and errors where the truth is known) of each field.
        tables: Further tables by title, in front of all else.
        pictures: PNG or JPEG files with captions.
        scene: Fragment from :func:`meshops.viz.scene_html`; goes into the page as it is.
        trust: How far the shape is from the training set and what error to expect.
        warnings: What was changed or assumed about the input, or what else ``warnings_title`` says.
        warnings_title: Heading of the warnings.
        provenance: Sections such as model, data, run and software, each with names and values.
        downloads: Link relative to the report, and what it is.
    """

    title: str
    subtitle: str = ""
    summary: Sequence[tuple[str, str]] = ()
    forces: AnyTable | None = None
    field_table: AnyTable | None = None
    tables: Mapping[str, AnyTable] = field(default_factory=dict)
    pictures: Sequence[tuple[Path, str]] = ()
    scene: str | None = None
    trust: TrustSection | None = None
    warnings: Sequence[str] = ()
    warnings_title: str = "Changed or assumed about the input"
    provenance: Mapping[str, Mapping[str, str]] | None = None
    downloads: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class IndexCase:
    """One line of an index.

    Attributes:
        name: Of the shape.
        report: Link to its report, relative to the index.
        values: Forces and other numbers; the names become columns.
        level: As in :class:`TrustSection`.
        picture: Small picture; None for none.
    """

    name: str
    report: str
    values: Mapping[str, Any]
    level: Level | None = None
    picture: Path | None = None


def write_report(data: ReportData, path: str | Path) -> Path:
    """Write the report as one self-contained HTML file.

    Args:
        data: What it says.
        path: HTML file to write.

    Returns:
        The file.
    """
    links = [(relative_link(link), label) for link, label in data.downloads]
    trust = data.trust
    page = environment().get_template("report.html.j2").render(
        data=data,
        forces=checked_table("forces", data.forces),
        field_table=checked_table("field_table", data.field_table),
        tables={title: found for title, table in data.tables.items() if (found := checked_table(title, table))},
        pictures=[(embedded(picture), caption) for picture, caption in data.pictures],
        trust=trust,
        level=_level(trust.level) if trust else None,
        ranges=[_range_row(*row) for row in trust.rows] if trust else [],
        expected=checked_table("expected_error", trust.expected_error) if trust else None,
        downloads=links,
    )  # fmt: skip
    return write_bytes(path, page.encode("utf-8"))


def write_index(
    cases: Sequence[IndexCase],
    path: str | Path,
    *,
    title: str = "Predictions",
    subtitle: str = "",
    summary: Sequence[tuple[str, str]] = (),
    tables: Mapping[str, AnyTable] | None = None,
    pictures: Sequence[tuple[Path, str]] = (),
) -> Path:
    """Write a page that lists cases with links to their reports and their forces.

    Args:
        cases: In the order of the list.
        path: HTML file to write.
        title: Head of the page.
        subtitle: Below it.
        summary: Label and value of the few numbers to read first.
        tables: Further tables by heading, such as the errors on held-out shapes.
        pictures: Further pictures with captions, such as training curves.
    """
    if not cases:
        raise InputError("no cases for the index; give at least one")
    names = list(dict.fromkeys(name for case in cases for name in case.values))
    rows = [
        {
            "name": case.name,
            "link": relative_link(case.report),
            "values": [case.values.get(name) for name in names],
            "level": (case.level, *_level(case.level)) if case.level else None,
            "picture": embedded(case.picture, width=THUMBNAIL) if case.picture else None,
        }
        for case in cases
    ]
    page = environment().get_template("index.html.j2").render(
        title=title,
        subtitle=subtitle,
        summary=summary,
        names=names,
        rows=rows,
        tables={heading: checked_table(heading, table) for heading, table in (tables or {}).items()},
        pictures=[(embedded(picture), caption) for picture, caption in pictures],
    )  # fmt: skip
    return write_bytes(path, page.encode("utf-8"))


def embedded(picture: str | Path, *, width: int | None = None) -> str:
    """Give the data address of a PNG or JPEG file, made smaller where it is wider than ``width`` pixels."""
    path = Path(picture)
    if not path.is_file():
        raise InputError(f"picture {path} does not exist; draw it before the report is written")
    content = path.read_bytes()
    for signature, kind in SIGNATURES.items():
        if content.startswith(signature):
            content = content if width is None else _shrunk(content, width)
            return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
    raise InputError(f"picture {path} is neither PNG nor JPEG; convert it")


def _shrunk(content: bytes, width: int) -> bytes:
    from PIL import Image

    image = Image.open(io.BytesIO(content))
    if image.width <= width:
        return content
    small = image.convert("RGB").resize(
        (width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS
    )
    buffer = io.BytesIO()
    small.save(buffer, format=image.format or "PNG")
    return buffer.getvalue()


def relative_link(link: str) -> str:
    """Quote a link for HTML; refuse it unless it is relative to the page."""
    text = str(link).replace("\\", "/")
    parts = urlsplit(text)
    if not text or parts.scheme or parts.netloc or text.startswith("/"):
        raise InputError(f"link '{link}' is not relative to the report; give a path such as 'fields.vtp'")
    return quote(text)


def shown(value: Any) -> str:
    """Format a table cell: yes or no, whole numbers in full, four significant digits, a dash for what is missing."""
    if value is None:
        return "–"
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return f"{float(value):.4g}" if math.isfinite(value) else "–"
    return str(value)


def is_number(value: Any) -> bool:
    """Tell what is aligned to the right: numbers, and strings that begin like one."""
    if isinstance(value, bool):
        return False
    if isinstance(value, numbers.Number) or value is None:
        return True
    text = str(value).strip()
    return text[:1].isdigit() or (text[:1] in "+-−±–" and (text[1:2].isdigit() or len(text) == 1))


def environment() -> Any:
    """Templates of the pages; every value is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    environment.tests["number"] = is_number
    return environment


def checked_table(name: str, table: AnyTable | None) -> Table | None:
    """A table whose rows fit its columns; None where it has none.

    Raises:
        InputError: A row has another length.
    """
    if table is None:
        return None
    columns, rows = table
    for n, row in enumerate(rows):
        if len(row) != len(columns):
            raise InputError(f"table '{name}': row {n} has {len(row)} values for {len(columns)} columns")
    return Table(columns, rows) if rows else None


def _level(level: str) -> tuple[str, str]:
    if level not in LEVELS:
        raise InputError(f"trust level must be one of {listing(LEVELS)}, got '{level}'")
    return LEVELS[level]


def _range_row(name: str, value: float, low: float, high: float, inside: bool) -> dict[str, Any]:
    """Prepare a descriptor with the place of its marker on the range bar, in percent."""
    width = BAND[1] - BAND[0]
    span = float(high) - float(low)
    if span > 0 and math.isfinite(value):
        place = BAND[0] + width * (float(value) - float(low)) / span
    else:
        place = 50.0 if inside else (2.0 if value < low else 98.0)
    return {
        "name": name,
        "value": value,
        "low": low,
        "high": high,
        "inside": bool(inside),
        "place": round(min(max(place, 2.0), 98.0), 2),
    }
