"""Files of a folder that may say something of its cases and were not used: said, so that nothing is lost in silence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from meshops.datasets.folder.cases import CaseFile
from meshops.datasets.folder.description import Description
from meshops.datasets.folder.patterns import matches, stem
from meshops.datasets.folder.tables import RESERVED, SUFFIXES
from meshops.datasets.folder.walk import Listing
from meshops.errors import listing

# Endings of parameters and results that nothing here reads, or only beside a mesh.
OTHERS = (
    ".xls", ".ods", ".xml", ".odb", ".rth", ".rmg", ".db", ".mph", ".sim", ".op2", ".f06", ".d3plot", ".nc", ".pkl",
    ".parquet", ".feather", ".npy", ".npz", ".h5", ".hdf5", ".mat",
)  # fmt: skip
COMPANIONS = (".h5", ".hdf5", ".bin")  # of an XDMF file with the same name
PROSE = ("readme", "license", "licence", "changelog", "notes", "log", "cmakelists", "requirements")


def unused(study: Description, cases: Sequence[CaseFile], found: Listing) -> str:
    """What lies in a folder and was not used, by ending, in words; empty: nothing of weight."""
    of_cases = {path for case in cases for path in (case.relative, *case.frames)}
    stems = {path.parent / stem(path.name) for path in of_cases}
    patterns = [*study.tables, *(entry.file for entry in study.snapshots)]
    left: dict[str, list[PurePosixPath]] = {}
    for path in found.with_suffix(tuple({*SUFFIXES, *OTHERS} - {".csv", ".tsv"})):
        companion = path.suffix.lower() in COMPANIONS and path.parent / stem(path.name) in stems
        prose = path.suffix.lower() == ".txt" and path.name.lower().startswith(PROSE)
        if path in of_cases or companion or prose or path.name.lower() in RESERVED:
            continue
        if not any(matches(path, pattern) for pattern in patterns):
            left.setdefault(path.suffix.lower(), []).append(path)
    if not left:
        return ""
    told = [f"{len(paths)} {suffix} ({listing((str(p) for p in paths[:1]), 1)})" for suffix, paths in left.items()]
    return (
        f"{', '.join(told[:6])}; numbers of cases are read from tables (.csv, .xlsx) and from .json, .yaml, .toml and "
        "lines of 'name = value' beside a case"
    )
