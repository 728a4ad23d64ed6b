"""One pattern for many paths, and the paths of a pattern again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from meshops.datasets.folder.walk import SPLIT_FOLDERS, natural


def pattern_of(paths: Sequence[PurePosixPath], others: Iterable[PurePosixPath] = ()) -> str:
    """The narrowest pattern (``*`` within a part of the path) that takes all paths and as few others as it can.

    Example:
        >>> pattern_of([PurePosixPath("run_1/boundary_1.vtp"), PurePosixPath("run_12/boundary_12.vtp")])
        'run_*/boundary_*.vtp'
    """
    if len({len(path.parts) for path in paths}) > 1:
        return "**/*" + (paths[0].suffix if len({path.suffix for path in paths}) == 1 else "")
    wide = "/".join(_part(names, "*") for names in zip(*(path.parts for path in paths), strict=True))
    strangers = [path for path in others if path not in set(paths)]
    if not any(matches(path, wide) for path in strangers):
        return wide
    narrow = "/".join(_part(names, "[0-9]*") for names in zip(*(path.parts for path in paths), strict=True))
    return narrow if all(matches(path, narrow) for path in paths) else wide


def _part(names: Sequence[str], star: str) -> str:
    different = set(names)
    if len(different) == 1:
        return escape(names[0])
    if all(name.lower() in SPLIT_FOLDERS for name in different):
        return "*"
    start = _beginning(names)
    end = _beginning([name[len(start) :][::-1] for name in names])[::-1]
    start = re.sub(r"(\d+\.?)+$", "", start)  # run_1 and run_12 have run_ in common, not run_1
    end = re.sub(r"^(\.?\d+)+", "", end)  # and mach_0.5 and mach_1.5 not .5
    return escape(start) + star + escape(end)


def _beginning(names: Sequence[str]) -> str:
    """What all names begin with."""
    low, high = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:same]


def escape(text: str) -> str:
    """A name in which nothing is a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", text)


def matches(path: PurePosixPath, pattern: str) -> bool:
    """Whether a relative path fits a pattern; ``*`` stays within a part, ``**`` is any number of folders.

    Part by part, so that no pattern takes long, however many ``*`` a stranger puts into it.
    """
    reached, parts = {0}, path.parts
    names = pattern.split("/")
    for i, name in enumerate(names):
        if name == "**" and i + 1 < len(names):
            reached = set(range(min(reached), len(parts) + 1))
        else:
            reached = {k + 1 for k in reached if k < len(parts) and fnmatchcase(parts[k], name)}
        if not reached:
            return False
    return len(parts) in reached


def select(paths: Iterable[PurePosixPath], patterns: str | Sequence[str]) -> list[PurePosixPath]:
    """Paths that fit any of the patterns, in natural order."""
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    return sorted((path for path in set(paths) if any(matches(path, p) for p in wanted)), key=natural)


def case_names(paths: Sequence[PurePosixPath], *, folders: bool = False) -> list[str]:
    """A short name for each path, no two alike: the part that differs, without its ending.

    Args:
        paths: Of the files (or folders) of the cases, relative to the root.
        folders: Name them by the folders they lie in.

    Example:
        >>> case_names([PurePosixPath("run_1/boundary_1.vtp"), PurePosixPath("run_2/boundary_2.vtp")], folders=True)
        ['run_1', 'run_2']
    """
    for make in (_by_folder, _by_stem, _by_path) if folders else (_by_stem, _by_path):
        names = make(paths)
        if all(names) and len(set(names)) == len(names):
            return names
    return [path.as_posix() for path in paths]


def _by_folder(paths: Sequence[PurePosixPath]) -> list[str]:
    rows = [path.parts[:-1] for path in paths]
    if len({len(row) for row in rows}) > 1:
        return ["/".join(row) for row in rows]
    varied = [i for i, parts in enumerate(zip(*rows, strict=True)) if len(set(parts)) > 1]
    if not varied:
        return [row[-1] if row else "" for row in rows]
    whole = ["/".join(row[i] for i in varied) for row in rows]
    for i in reversed(varied):  # train/run_1: the last part alone if it is enough
        short = [row[i] for row in rows]
        if len(set(short)) == len(short):
            return short
    return whole


def _by_stem(paths: Sequence[PurePosixPath]) -> list[str]:
    return [stem(path.name) for path in paths]


def _by_path(paths: Sequence[PurePosixPath]) -> list[str]:
    return [(path.parent / stem(path.name)).as_posix() for path in paths]


def stem(name: str) -> str:
    """A file's name without its ending, ``.gz`` included: ``mach_0.8.vtu`` -> ``mach_0.8``, which has none itself."""
    name = name.removesuffix(".gz")
    plain = PurePosixPath(name)
    return name if plain.suffix[1:2].isdigit() else plain.stem


def relative(path: Path, root: Path) -> PurePosixPath:
    """``path`` below ``root``."""
    return PurePosixPath(path.relative_to(root).as_posix())
