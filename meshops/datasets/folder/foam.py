"""Trees of OpenFOAM cases: which folders, and whether the walls of a body or the volume are learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from meshops.datasets.folder.description import Description
from meshops.datasets.folder.patterns import pattern_of
from meshops.datasets.folder.walk import Listing
from meshops.errors import MeshopsError, collecting, listing

MARGIN = 0.01  # of the extent of the domain: a patch nearer to its side touches it


def guess_foam(found: Listing) -> Description | None:
    """A study of OpenFOAM cases, without fields; None where the folder holds none.

    Walls that touch one side of the domain at most are a body, and its surface is what is learnt; else the volume is.
    """
    if not found.foam:
        return None
    paths = found.foam
    pattern = pattern_of(paths) if all(path.parts for path in paths) else "."
    study = Description(root=found.root, layout="openfoam", files=pattern)
    study = study.note("files", f"{len(paths)} OpenFOAM case folders")
    study = study.note("time", "last: the newest time of each case; a number: that time; all: trajectories")
    parts, walls = body_patches(found.root / paths[0])
    if walls:
        why = f"walls inside of the domain; empty: the volume mesh; there are {listing(parts)}"
        return replace(study, region=",".join(walls)).note("region", why)
    why = f"empty: the volume mesh; else names, groups or patterns of {listing(parts)}"
    return study.note("region", why)


def body_patches(case: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All parts of a case, and its walls that are a body in the domain; none in 2-D or with several regions."""
    from meshops.data.readers import open_mesh  # VTK

    try:
        with collecting([]):
            domain = open_mesh(case)
            walls = [name for name in domain.notes.groups.get("wall", ()) if "/" not in name]
            if not walls or "empty" in domain.notes.groups:
                return domain.notes.parts, ()
            bounds = {name: open_mesh(case, region=name).mesh.bounds for name in walls}
    except MeshopsError:
        return (), ()
    outer = np.asarray(domain.mesh.bounds).reshape(3, 2)
    margin = MARGIN * np.ptp(outer, axis=1)[:, None]
    touched = {name: int((abs(np.asarray(box).reshape(3, 2) - outer) < margin).sum()) for name, box in bounds.items()}
    return domain.notes.parts, tuple(name for name in walls if touched[name] <= 1)
