"""The page on a folder of simulations: what is there, what is wrong, what was guessed; opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meshops.io import write_bytes
from meshops.viz.report import AnyTable, checked_table, embedded, environment


@dataclass(frozen=True, kw_only=True)
class LookPage:
    """Everything the page says.

    Attributes:
        title, subtitle: Head.
        summary: Label and value of the few numbers to read first.
        findings: ``(severity, cases, what, evidence, cure)`` of each, problems first.
        overview: Label and value, in front of the tables.
        tables: By title.
        audit: The force audit in sentences, and the axes.
        pictures: PNG files with captions.
        study: Text of ``study.yaml``.
        commands: What to do next.
    """

    title: str
    subtitle: str = ""
    summary: Sequence[tuple[str, str]] = ()
    findings: Sequence[tuple[str, str, str, str, str]] = ()
    overview: Sequence[tuple[str, str]] = ()
    tables: Mapping[str, AnyTable] = field(default_factory=dict)
    audit: Sequence[str] = ()
    pictures: Sequence[tuple[Path, str]] = ()
    study: str = ""
    commands: Sequence[str] = ()


def write_look(page: LookPage, path: str | Path) -> Path:
    """Write the page as one self-contained HTML file.

    Args:
        page: What it says; every text is escaped.
        path: HTML file to write.
    """
    text = environment().get_template("look.html.j2").render(
        page=page,
        problems=[f for f in page.findings if f[0] == "problem"],
        hints=[f for f in page.findings if f[0] != "problem"],
        tables={title: found for title, table in page.tables.items() if (found := checked_table(title, table))},
        pictures=[(embedded(picture), caption) for picture, caption in page.pictures],
    )  # fmt: skip
    return write_bytes(path, text.encode("utf-8"))
