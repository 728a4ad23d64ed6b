"""Writing meshes, and predictions on their original cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyvista as pv
from torch import Tensor
from vtkmodules.vtkIOGeometry import vtkSTLWriter
from vtkmodules.vtkIOLegacy import vtkDataSetWriter
from vtkmodules.vtkIOPLY import vtkPLYWriter
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter, vtkXMLUnstructuredGridWriter

from meshops.data.cells import Array, Mesh
from meshops.data.convert import to_pyvista
from meshops.data.mesh_graph import MeshGraph
from meshops.data.vtk_io import run_writer
from meshops.errors import InputError, listing, warn
from meshops.io import replacing

WRITERS: dict[str, Callable[[], Any]] = {
    ".vtp": vtkXMLPolyDataWriter,
    ".vtu": vtkXMLUnstructuredGridWriter,
    ".vtk": vtkDataSetWriter,
    ".stl": vtkSTLWriter,
    ".ply": vtkPLYWriter,
}
SURFACE_ONLY = (".vtp", ".stl", ".ply")


def write_mesh(mesh: Mesh | MeshGraph, path: str | Path) -> Path:
    """Write a mesh; the suffix chooses the format. VTP and VTU are compressed binary.

    The file appears under its name only when it is complete. Missing folders are made.

    Args:
        mesh: PolyData, UnstructuredGrid or a graph that holds its cells.
        path: ``.vtp``, ``.stl``, ``.ply`` (surfaces), ``.vtu`` (volumes) or ``.vtk`` (either).

    Returns:
        The path written.

    Raises:
        InputError: Unknown suffix, a suffix that does not fit the mesh, or a folder that cannot be written.

    Warns:
        DataWarning: The format cannot hold the arrays of the mesh (STL, PLY).
    """
    path = Path(path)
    data = to_pyvista(mesh) if isinstance(mesh, MeshGraph) else mesh
    suffix = _check_suffix(path, data)
    if suffix in (".stl", ".ply"):
        if len(data.point_data) + len(data.cell_data):
            warn(f"{path}: {suffix[1:].upper()} files hold no fields, they were left out; write .vtp to keep them")
        data = data.triangulate() if suffix == ".stl" else data
    writer = WRITERS[suffix]()
    if suffix in (".vtp", ".vtu"):
        writer.SetDataModeToAppended()
        writer.EncodeAppendedDataOff()
        writer.SetCompressorTypeToZLib()
    else:
        writer.SetFileTypeToBinary()
    try:
        with replacing(path) as partial:
            partial.touch()
            complaints = run_writer(writer, data, partial)
            if complaints:
                raise InputError(f"{path}: could not be written ({complaints[0]}); is the disk full?")
    except OSError as error:
        raise InputError(f"{path}: the folder cannot be written ({error.strerror or error}); choose another") from error
    return path


def with_predictions(
    mesh: Mesh,
    fields: Mapping[str, Any],
    *,
    association: Literal["cell", "point"] = "cell",
    kept: Array | None = None,
) -> Mesh:
    """Copy of a mesh with ``<name>_predicted`` for each field, and ``<name>_error`` where the truth is in the mesh.

    The error is predicted - true. All arrays of the mesh stay as they are.

    Args:
        mesh: The original mesh.
        fields: Values by name, ``[c]`` or ``[c, k]`` with one row per cell (or point).
        association: Whether rows belong to cells or points.
        kept: Ids of the cells (or points) the rows belong to, as in ``CleanReport.kept_cells``; the others get NaN.
            None: the rows are all cells in order.

    Raises:
        InputError: The number of rows is wrong.
    """
    out = mesh.copy(deep=True)
    data = out.cell_data if association == "cell" else out.point_data
    count = mesh.n_cells if association == "cell" else mesh.n_points
    for name, values in fields.items():
        rows = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        expected = count if kept is None else len(kept)
        if rows.ndim == 0 or rows.shape[0] != expected:
            found = rows.shape[0] if rows.ndim else 1
            raise InputError(
                f"prediction of '{name}' has {found} rows for {expected} {association}s; give one row per {association}"
            )
        if kept is not None:
            full = np.full((count, *rows.shape[1:]), np.nan, dtype=np.result_type(rows.dtype, np.float32))
            full[kept] = rows
            rows = full
        rows = rows[:, 0] if rows.ndim == 2 and rows.shape[1] == 1 else rows
        data[f"{name}_predicted"] = rows
        if name in data and np.asarray(data[name]).shape == rows.shape:
            data[f"{name}_error"] = rows - np.asarray(data[name])
    return out


def _check_suffix(path: Path, data: Any) -> str:
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise InputError(f"{path}: cannot write files ending in '{path.suffix}'; supported are {listing(WRITERS)}")
    if suffix in SURFACE_ONLY and not isinstance(data, pv.PolyData):
        raise InputError(f"{path}: a '{suffix}' file holds a surface, this is an UnstructuredGrid; write a .vtu file")
    if suffix == ".vtu" and not isinstance(data, pv.UnstructuredGrid):
        raise InputError(f"{path}: a '.vtu' file holds an unstructured grid, this is a PolyData; write a .vtp file")
    return suffix
