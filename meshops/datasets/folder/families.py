"""Which mesh files of a folder are cases: files that are named alike and lie alike are one family."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from meshops.datasets.folder import roles
from meshops.datasets.folder.cases import FRAME
from meshops.datasets.folder.suffixes import ARRAYS, MESHES, SHAPES, TABLES
from meshops.datasets.folder.walk import SPLIT_FOLDERS, Listing, skeleton

COLLECTIONS = {".pvd": 0, ".vtm": 1, ".vtmb": 1, ".pvtu": 2, ".pvtp": 2, ".pvti": 2, ".pvts": 2, ".pvtr": 2}
FEWEST_FRAMES, MANY_FRAMES = 3, 5


@dataclass(frozen=True)
class Family:
    """Files that may be the cases.

    Attributes:
        layout: ``files``, ``folders`` or ``series``.
        paths: Of the cases, natural order.
    """

    layout: str
    paths: tuple[PurePosixPath, ...]

    @property
    def suffix(self) -> str:
        """Their ending."""
        return self.paths[0].suffix.lower()

    @property
    def num_cases(self) -> int:
        """How many cases these are."""
        if self.layout != "series":
            return len(self.paths)
        return len({(p.parent, _beginning(p), p.suffix) for p in self.paths})


def families(found: Listing) -> list[Family]:
    """Families of mesh files, the most promising first; nothing is opened but lists of files."""
    paths = [*_without_pieces(found.root, found.with_suffix(MESHES)), *_text_meshes(found)]
    groups: dict[tuple[object, ...], list[PurePosixPath]] = {}
    for path in paths:
        groups.setdefault(_key(path), []).append(path)
    out = [_family(sorted_paths) for sorted_paths in _merge_singles(groups)]
    return sorted(out, key=_promise, reverse=True) + clouds(found)


def _text_meshes(found: Listing) -> list[PurePosixPath]:
    """Files in ``.dat`` that hold a mesh of Tecplot or Nastran; the first of those that are named alike is opened."""
    groups: dict[tuple[object, ...], list[PurePosixPath]] = {}
    for path in found.with_suffix((".dat",)):
        groups.setdefault(_key(path), []).append(path)
    return [path for paths in groups.values() if _holds_mesh(found.root / paths[0]) for path in paths]


def _holds_mesh(path: Path) -> bool:
    """Whether a text begins as a mesh does: zones of points with places, or bulk data; a history is none."""
    try:
        with path.open("rb") as file:
            head = file.read(16 * 1024).decode("latin-1").upper()
    except OSError:
        return False
    if re.search(r"^\s*BEGIN BULK|^GRID[,*\s]", head, re.MULTILINE):
        return True
    named = re.search(r"^\s*VARIABLES\s*=(?P<names>.*?)^\s*ZONE", head, re.MULTILINE | re.DOTALL)
    places = set(re.findall(r"\b(?:COORDINATE)?([XY])\b", named["names"])) if named else set()
    return places == {"X", "Y"}


def clouds(found: Listing) -> list[Family]:
    """Families of files that hold points and values, a file per case; of tables, which can be much else, two or more.

    The first table of a family is opened: it must have columns of coordinates.
    """
    from meshops.data.point_tables import holds_points  # VTK

    groups: dict[tuple[object, ...], list[PurePosixPath]] = {}
    for path in found.with_suffix(TABLES + ARRAYS):
        groups.setdefault(_key(path), []).append(path)
    kept = []
    for paths in _merge_singles(groups):
        table = paths[0].suffix.lower() in TABLES
        if not table or (len(paths) > 1 and holds_points(found.root / paths[0])):
            kept.append(_family(paths))
    return sorted(kept, key=lambda family: family.num_cases, reverse=True)


def _promise(family: Family) -> tuple[object, ...]:
    shape = family.suffix in SHAPES
    return (not shape, -COLLECTIONS.get(family.suffix, 3), family.num_cases, len(family.paths))


def _key(path: PurePosixPath) -> tuple[object, ...]:
    """The same for files that are named alike: numbers and the names of their folders left open."""
    parts = tuple(part for part in path.parts[:-1] if part.lower() not in SPLIT_FOLDERS)
    name = path.name
    for part in reversed(parts):
        if len(part) > 1 and part in name:
            name = name.replace(part, "{case}")
    return len(parts), path.suffix.lower(), skeleton(name)


def _merge_singles(groups: dict[tuple[object, ...], list[PurePosixPath]]) -> list[list[PurePosixPath]]:
    """Files named unlike any other, put together by depth and ending: ``sedan.vtu, suv.vtu``."""
    out: list[list[PurePosixPath]] = []
    singles: dict[tuple[object, object], list[PurePosixPath]] = {}
    for key, paths in groups.items():
        if len(paths) == 1:
            singles.setdefault(key[:2], []).extend(paths)  # type: ignore[arg-type]
        else:
            out.append(paths)
    for paths in singles.values():
        own = {path.parent for path in paths}
        if len(own) == 1 or len(own) == len(paths):
            out.append(paths)
        else:
            out += [[path] for path in paths]
    return out


def _family(paths: Sequence[PurePosixPath]) -> Family:
    from meshops.datasets.folder.walk import natural

    paths = tuple(sorted(paths, key=natural))
    per_folder = Counter(path.parent for path in paths)
    split = {path.parent for path in paths if path.parent.name.lower() in SPLIT_FOLDERS}
    if len(paths) > 1 and is_series(paths):
        return Family("series", paths)
    own = [folder for folder in per_folder if folder.parts and folder not in split]
    if len(own) == len(per_folder) and max(per_folder.values()) == 1 and len(paths) > 1:
        return Family("folders", paths)
    return Family("files", paths)


def is_series(paths: Sequence[PurePosixPath]) -> bool:
    """Whether numbered files are the times of a case and not cases.

    By what stands before the number, or by several folders that each number their files in the same way: with padded
    numbers, or with nothing but numbers at equal distances.
    """
    if paths[0].suffix.lower() == ".pvd":
        return False
    rows: dict[tuple[object, str], list[str]] = {}
    for path in paths:
        match = FRAME.match(path.stem)
        if match is None:
            return False
        rows.setdefault((path.parent, match["name"]), []).append(match["number"])
    if min(len(numbers) for numbers in rows.values()) < FEWEST_FRAMES:
        return False
    if all(roles.is_step(name) for _, name in rows):
        return True
    in_folders = {parent.name.lower() for parent, _ in rows} - set(SPLIT_FOLDERS)  # type: ignore[attr-defined]
    several = len(rows) > 1 and len(in_folders) >= 1
    counts = [sorted(map(int, numbers)) for numbers in rows.values()]
    alike = all(each == counts[0] for each in counts)
    even = len({b - a for a, b in pairwise(counts[0])}) == 1
    bare = not any(name for _, name in rows) and even and len(counts[0]) >= MANY_FRAMES
    padded = all(
        len(number) >= 3 and len({len(n) for n in numbers}) == 1 for numbers in rows.values() for number in numbers
    )
    return several and alike and (padded or bare)


def _beginning(path: PurePosixPath) -> str:
    match = FRAME.match(path.stem)
    return match["name"] if match else path.stem


def _without_pieces(root: Path, paths: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Files that no other file lists as its parts."""
    pieces: set[PurePosixPath] = set()
    lists = [path for path in paths if path.suffix.lower() in COLLECTIONS]
    known = set(paths)
    for path in lists:
        for name in listed_in(root / path):
            piece = _joined(path.parent, name)
            if piece in known and piece != path:
                pieces.add(piece)
    return [path for path in paths if path not in pieces]


PIECES = r"""(?:file|Source)\s*=\s*["']([^"'<>]+)["']"""


def listed_in(path: Path, pattern: str = PIECES) -> list[str]:
    """Names of the files that a collection of VTK lists, or what else a pattern finds in a text."""
    try:
        with path.open("rb") as file:
            text = file.read(4 * 1024**2).decode("utf-8", errors="replace")
    except OSError:
        return []
    return re.findall(pattern, text)


def _joined(folder: PurePosixPath, name: str) -> PurePosixPath:
    parts: list[str] = list(folder.parts)
    for part in PurePosixPath(name.replace("\\", "/")).parts:
        if part == "..":
            parts = parts[:-1]
        elif part not in (".", "/"):
            parts.append(part)
    return PurePosixPath(*parts)
