"""Open a few cases of a study to see what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meshops.datasets.folder.arrays import CaseLook, look_at
from meshops.datasets.folder.cases import CaseFile
from meshops.datasets.folder.description import Description
from meshops.datasets.folder.meshes import read_case, stored_numbers
from meshops.errors import MeshopsError, collecting

LOOKED_AT = 8  # cases that are opened where there are many or large ones
MANY, LARGE = 60, 256 * 1024**2  # up to so many cases and bytes all are


@dataclass(frozen=True)
class Looked:
    """Cases that were opened.

    Attributes:
        looks: What each holds.
        bad: Case -> why it cannot be used.
        all_cases: All were opened.
    """

    looks: Sequence[CaseLook]
    bad: dict[str, str]
    all_cases: bool


def look(study: Description, cases: Sequence[CaseFile]) -> Looked:
    """Open a few cases, or all where they are few and small."""
    from meshops.data.clean import clean_mesh

    size = sum(_bytes(case.path) for case in cases[: MANY + 1])
    every = len(cases) <= MANY and size <= LARGE
    chosen = (
        range(len(cases))
        if every
        else sorted({round(i * (len(cases) - 1) / (LOOKED_AT - 1)) for i in range(LOOKED_AT)})
    )
    looks, bad = [], {}
    for index in chosen:
        case = cases[index]
        try:
            with collecting([]):
                read = read_case(study, case)
                mesh = read.mesh
                stored = stored_numbers(mesh, case.path)
                clean = clean_mesh(mesh, label=str(case.path), cloud=True).mesh
                looks.append(look_at(clean, case.name, stored, len(read.notes.times)))
        except (MeshopsError, OSError, ValueError) as error:
            bad[case.name] = str(error).removeprefix(f"{case.path}: ")
    return Looked(looks, bad, every)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
