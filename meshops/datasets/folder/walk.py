"""What lies in a folder: every file once, hidden ones, loops of links and unreadable folders aside."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from meshops.errors import InputError, MissingDataError, listing

MOST_FILES = 200_000
MOST_DEPTH = 12
SKIPPED = {"__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini"}
# Written by programs into the folder of a case, never a case of its own.
SPLIT_FOLDERS = {"train": "train", "training": "train", "train_data": "train", "training_data": "train",
                 "test": "test", "testing": "test", "test_data": "test",
                 "val": "train", "valid": "train", "validation": "train"}  # fmt: skip


@dataclass
class Listing:
    """Files below a folder.

    Attributes:
        root: The folder.
        files: Relative paths, in natural order.
        foam: Folders of OpenFOAM cases; their content is not listed.
        unreadable: Folders that may not be read.
        cut: There are more files than are listed.
    """

    root: Path
    files: list[PurePosixPath] = field(default_factory=list)
    foam: list[PurePosixPath] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    cut: bool = False

    def with_suffix(self, suffixes: tuple[str, ...]) -> list[PurePosixPath]:
        """Files that end so."""
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def found(self) -> str:
        """Say how many files of which endings there are."""
        counts: dict[str, int] = {}
        for path in self.files:
            counts[path.suffix.lower() or "(no ending)"] = counts.get(path.suffix.lower() or "(no ending)", 0) + 1
        most = sorted(counts, key=lambda suffix: -counts[suffix])[:8]
        return ", ".join(f"{counts[suffix]} {suffix}" for suffix in most) or "no files"


def list_folder(root: str | Path) -> Listing:
    """List a folder.

    Raises:
        MissingDataError: There is none.
        InputError: It may not be read.
    """
    path = Path(root).expanduser()
    if not path.is_dir():
        raise MissingDataError(f"no folder {path}; give the folder that holds the simulations, or a study.yaml")
    out = Listing(path)
    try:
        next(os.scandir(path), None)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the permissions") from error
    _walk(path, PurePosixPath(), out, set())
    out.files.sort(key=natural)
    out.foam.sort(key=natural)
    if out.unreadable and not out.files and not out.foam:
        raise InputError(f"{path}: no right to read {listing(out.unreadable, 4)}; check the permissions")
    return out


def _walk(folder: Path, relative: PurePosixPath, out: Listing, seen: set[tuple[int, int]]) -> None:
    if len(relative.parts) > MOST_DEPTH:
        return
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        out.unreadable.append(str(relative))
        return
    if (status.st_dev, status.st_ino) in seen:  # a loop of links, or the same folder twice
        return
    seen.add((status.st_dev, status.st_ino))
    if is_foam(folder):
        out.foam.append(relative)
        return
    for entry in entries:
        if entry.name.startswith((".", "~")) or entry.name.endswith("~") or entry.name in SKIPPED:
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:
            continue
        if is_folder:
            _walk(Path(entry.path), relative / entry.name, out, seen)
        elif is_file:
            if len(out.files) >= MOST_FILES:
                out.cut = True
                return
            out.files.append(relative / entry.name)


def is_foam(folder: Path) -> bool:
    """Whether a folder is an OpenFOAM case."""
    return (folder / "system" / "controlDict").is_file()


def natural(text: object) -> tuple[object, ...]:
    """Key that sorts ``run_2`` before ``run_10``."""
    parts = re.split(r"(\d+)", str(text))
    return tuple((1, int(part), part) if part.isdigit() and part.isascii() else (0, part, "") for part in parts)


def skeleton(text: str) -> str:
    """A name with ``#`` for every number in it, its sign and fraction too: ``run_12_a-2.5`` -> ``run_#_a#``."""
    return re.sub(r"[-+]?\d+(?:[.p]\d+)*(?:e[-+]?\d+)?", "#", text)


def numbers_in(text: str) -> tuple[int, ...]:
    """The whole numbers in a name."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def split_of(path: PurePosixPath) -> str:
    """``train`` or ``test`` where a folder on the way says so; else empty."""
    for part in path.parts[:-1]:
        if part.lower() in SPLIT_FOLDERS:
            return SPLIT_FOLDERS[part.lower()]
    return ""
