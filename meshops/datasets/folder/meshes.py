"""The mesh of a case with all its arrays, whatever files it comes from."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meshops.datasets.folder.cases import CaseFile
from meshops.datasets.folder.description import Description
from meshops.datasets.folder.plaid import global_scalars
from meshops.datasets.folder.snapshots import field_rows
from meshops.errors import InputError

if TYPE_CHECKING:
    from meshops.data.reading import MeshRead


def read_case(study: Description, case: CaseFile, *, time: float | str | None = None) -> MeshRead:
    """The mesh of a case, scaled to metres, with the arrays of its row where the study has snapshots.

    Args:
        study: What the folder holds.
        case: One of its cases.
        time: Instead of that of the study.

    Raises:
        InputError: The file cannot be used.
    """
    from meshops.data.readers import open_mesh  # VTK

    if study.layout == "snapshots":
        return snapshot_mesh(study, case)
    wanted = study.time if time is None else time
    path = case.path
    if case.frames and time is None:
        path = case.root / case.frames[-1]
    at: Any = "last" if wanted == "all" else wanted
    read = open_mesh(path, region=study.region or None, time=at)
    return scaled(read, study.scale)


def read_frame(study: Description, case: CaseFile, frame: int, time: float) -> MeshRead:
    """One time of a case: the file of that number, else that time of its one file."""
    from meshops.data.readers import open_mesh  # VTK

    if len(case.frames) > 1:
        return scaled(open_mesh(case.root / case.frames[frame], region=study.region or None), study.scale)
    return read_case(study, case, time=time)


def scaled(read: MeshRead, scale: float) -> MeshRead:
    """The same with coordinates times ``scale``."""
    if scale != 1.0:
        read.mesh.points = np.asarray(read.mesh.points, dtype=np.float64) * scale
        read.notes.remarks.append(f"coordinates multiplied by {scale:g}")
    return read


def snapshot_mesh(study: Description, case: CaseFile) -> MeshRead:
    """The mesh that all cases share with the arrays of one of them.

    Raises:
        InputError: An array has another number of rows than the mesh has points (or cells).
    """
    from meshops.data.reading import MeshRead

    base = shared_mesh(study)
    mesh = base.mesh.copy(deep=False)
    counts = {"point": mesh.n_points, "cell": mesh.n_cells}
    places = {entry.name: entry.place for entry in study.fields}
    for entry in study.snapshots:
        if "nodes" not in entry.axes:
            continue
        values = field_rows(study, entry, case.row)
        place = places.get(entry.name, study.place)
        if len(values) != counts[place]:
            raise InputError(
                f"{study.root / entry.file}: '{entry.name}' has {len(values)} rows for {counts[place]} {place}s of "
                "the mesh; correct its axes or the place of the field"
            )
        data = mesh.cell_data if place == "cell" else mesh.point_data
        data[entry.name] = values[:, 0] if values.shape[1] == 1 else values
    return MeshRead(mesh, base.notes, base.cell_part)


@lru_cache(maxsize=4)
def _shared(path: str, region: str, scale: float, stamp: float) -> MeshRead:
    from meshops.data.readers import open_mesh  # VTK

    del stamp
    return scaled(open_mesh(Path(path), region=region or None), scale)


def shared_mesh(study: Description) -> MeshRead:
    """The one mesh of all cases; read once."""
    path = study.root / study.files
    if not path.is_file():
        raise InputError(f"{study.root}: no mesh '{study.files}'; correct the entry 'files'")
    return _shared(str(path), study.region, study.scale, path.stat().st_mtime)


def stored_numbers(mesh: object, path: Path | None = None) -> dict[str, float]:
    """Single finite values that a file holds beside its fields, those of PLAID samples among them."""
    out = {}
    data = mesh.field_data  # type: ignore[attr-defined]
    for name in data:
        values = np.asarray(data[name]).reshape(-1)
        if values.size == 1 and values.dtype.kind in "fiu" and np.isfinite(values[0]):
            out[str(name)] = float(values[0])
    if path is not None and path.suffix.lower() == ".cgns":
        out |= global_scalars(path)
    return out
