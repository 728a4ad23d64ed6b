"""The cases of a study: which files (or rows of arrays) belong to each, and how it is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from meshops.datasets.folder.description import Description
from meshops.datasets.folder.patterns import case_names, select, stem
from meshops.datasets.folder.snapshots import count_cases, row_names
from meshops.datasets.folder.suffixes import MESHES
from meshops.datasets.folder.walk import Listing, list_folder, natural
from meshops.errors import InputError, MissingDataError


@dataclass(frozen=True)
class CaseFile:
    """One case on disk.

    Attributes:
        name: How it is called; no two are alike.
        root: Folder of the study.
        relative: Its mesh file (or case folder) below the root; of a series the first.
        frames: Files of the times of a series; else empty.
        row: Its row in arrays of snapshots; else -1.
    """

    name: str
    root: Path
    relative: PurePosixPath
    frames: tuple[PurePosixPath, ...] = ()
    row: int = -1
    alone: bool = False  # the only case of its folder

    @property
    def path(self) -> Path:
        """Its mesh file or case folder."""
        return self.root / self.relative

    @property
    def folder(self) -> PurePosixPath:
        """The folder that holds nothing but this case; the root where it shares one."""
        if not self.alone:
            return PurePosixPath()
        return self.relative if (self.root / self.relative).is_dir() else _own_folder(self)

    def called(self) -> set[str]:
        """Names by which a table may call it, in lower case."""
        path = self.relative
        names = {self.name, path.name, stem(path.name), path.as_posix(), (path.parent / stem(path.name)).as_posix()}
        if self.alone:
            names |= {path.parent.name, path.parent.as_posix()}
        return {name.casefold() for name in names if name not in ("", ".")}


def _own_folder(case: CaseFile) -> PurePosixPath:
    """Of the folders on the way to the file the one that is called like the case; else the one it lies in."""
    for depth in range(1, len(case.relative.parts)):
        if case.relative.parts[depth - 1] == case.name.rpartition("/")[2]:
            return PurePosixPath(*case.relative.parts[:depth])
    return case.relative.parent


def list_cases(study: Description, files: Listing | None = None) -> tuple[CaseFile, ...]:
    """The cases of a study in natural order, those left out aside.

    Raises:
        InputError: No file fits the pattern.
    """
    if study.published:
        raise InputError(f"{study.root}: the layout '{study.layout}' is read by its own dataset")
    found = list_folder(study.root) if files is None else files
    made = _snapshot_cases(study) if study.layout == "snapshots" else _file_cases(study, found)
    left = set(study.left_out)
    kept = tuple(case for case in made if case.name not in left)
    if not kept:
        what = "all cases are left out" if made else f"no file fits '{study.files}'"
        raise MissingDataError(f"{study.root}: {what}; found {found.found()}; correct 'files' and 'left_out'")
    return kept


def _file_cases(study: Description, found: Listing) -> tuple[CaseFile, ...]:
    if study.layout == "openfoam":
        return foam_cases(study.root, select(found.foam, study.files or "**/*"))
    paths = select(found.with_suffix(MESHES), study.files) or select(found.files, study.files)
    if study.layout == "series":
        return series_cases(study.root, paths)
    folders = study.layout in ("folders", "plaid")
    if study.layout == "plaid":
        return sample_cases(study.root, paths)
    return file_cases(study.root, paths, folders=folders)


def file_cases(root: Path, paths: Sequence[PurePosixPath], *, folders: bool) -> tuple[CaseFile, ...]:
    """A case per file."""
    names = case_names(paths, folders=folders)
    alone = {path: folders for path in paths}
    if folders:
        parents = [path.parent for path in paths]
        alone = {path: parents.count(path.parent) == 1 and bool(path.parent.parts) for path in paths}
    return tuple(CaseFile(name, root, path, alone=alone[path]) for name, path in zip(names, paths, strict=True))


def foam_cases(root: Path, paths: Sequence[PurePosixPath]) -> tuple[CaseFile, ...]:
    """A case per OpenFOAM folder; the root itself may be one."""
    names = [path.name for path in paths]
    if len(set(names)) < len(names) or "" in names:
        names = [path.as_posix() if path.parts else root.resolve().name for path in paths]
    return tuple(CaseFile(name, root, path, alone=True) for name, path in zip(names, paths, strict=True))


def sample_cases(root: Path, paths: Sequence[PurePosixPath]) -> tuple[CaseFile, ...]:
    """A case per PLAID sample, ``.../sample_000000007/meshes/mesh_000000000.cgns``; several meshes are its times."""
    samples: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in paths:
        parts = [i for i, part in enumerate(path.parts) if part.startswith("sample_")]
        samples.setdefault(PurePosixPath(*path.parts[: parts[-1] + 1]) if parts else path.parent, []).append(path)
    names = [folder.name for folder in samples]
    if len(set(names)) < len(names):
        names = ["/".join(folder.parts[-2:]) for folder in samples]
    return tuple(
        CaseFile(name, root, frames[-1], frames=tuple(frames) if len(frames) > 1 else (), alone=True)
        for name, frames in zip(names, samples.values(), strict=True)
    )


FRAME = re.compile(r"^(?P<name>.*?)[-_.]*(?P<number>\d+)$")


def series_cases(root: Path, paths: Sequence[PurePosixPath]) -> tuple[CaseFile, ...]:
    """A case per series: a file that lists its times, or numbered files of one folder and beginning."""
    series: dict[tuple[str, str, str], list[PurePosixPath]] = {}
    for path in paths:
        whole = stem(path.name)
        match = FRAME.match(whole) if path.suffix.lower() not in LISTS else None
        series.setdefault((path.parent.as_posix(), match["name"] if match else whole, path.suffix), []).append(path)
    firsts = [PurePosixPath(parent) / (name or "series") for parent, name, _ in series]
    alone = len({first.parent for first in firsts}) == len(firsts)
    names = [first.parent.name if alone and first.parent.parts else first.name for first in firsts]
    if len(set(names)) < len(names):
        names = [first.as_posix() for first in firsts]
    return tuple(
        CaseFile(
            name, root, frames[0], frames=tuple(sorted(frames, key=natural)), alone=alone and bool(first.parent.parts)
        )
        for name, first, frames in zip(names, firsts, series.values(), strict=True)
    )


LISTS = (".pvd", ".series", ".xdmf", ".xmf", ".case", ".e", ".exo", ".ex2", ".foam")


def _snapshot_cases(study: Description) -> tuple[CaseFile, ...]:
    mesh = study.files
    names = row_names(study, count_cases(study))
    return tuple(CaseFile(name, study.root, PurePosixPath(mesh), row=i) for i, name in enumerate(names))
