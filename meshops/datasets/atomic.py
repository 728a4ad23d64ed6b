"""Write files under a temporary name beside the target, then rename: no reader ever sees half a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyvista as pv


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it on success, remove it on failure."""
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def save_bytes(content: bytes, path: Path) -> None:
    """Write ``content`` to ``path``."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def save_mesh(mesh: pv.DataSet, path: Path) -> None:
    """Write ``mesh`` to ``path``; the ending says the format."""
    with replacing(path) as partial:
        mesh.save(partial)


def csv_row(row: dict[str, float]) -> bytes:
    """Format a header line and one line of values with nine significant digits."""
    return (",".join(row) + "\n" + ",".join(f"{value:.9g}" for value in row.values()) + "\n").encode()
