"""Writing meshes, and predictions on their original cells."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np
import pyvista as pv
from torch import Tensor
from vtkmodules.vtkIOGeometry import vtkSTLWriter
from vtkmodules.vtkIOLegacy import vtkDataSetWriter
from vtkmodules.vtkIOPLY import vtkPLYWriter
from vtkmodules.vtkIOXML import (
    vtkXMLImageDataWriter,
    vtkXMLMultiBlockDataWriter,
    vtkXMLPolyDataWriter,
    vtkXMLRectilinearGridWriter,
    vtkXMLStructuredGridWriter,
    vtkXMLUnstructuredGridWriter,
)

from meshops.data.cells import FLAT_TYPES, Array, Mesh, cells_of, mesh_of
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
    ".vti": vtkXMLImageDataWriter,
    ".vts": vtkXMLStructuredGridWriter,
    ".vtr": vtkXMLRectilinearGridWriter,
    ".vtm": vtkXMLMultiBlockDataWriter,
}
SURFACE_ONLY = (".vtp", ".stl", ".ply")
# What only one kind of data can be written as, and the kind.
KINDS: dict[str, type] = {
    ".vti": pv.ImageData, ".vts": pv.StructuredGrid, ".vtr": pv.RectilinearGrid, ".vtm": pv.MultiBlock
}  # fmt: skip
Writable: TypeAlias = Mesh | pv.ImageData | pv.StructuredGrid | pv.RectilinearGrid | pv.MultiBlock


def write_mesh(mesh: Writable | MeshGraph, path: str | Path) -> Path:
    """Write a mesh; the suffix chooses the format. XML formats are compressed binary.

    The file appears under its name only when it is complete. Missing folders are made. A surface is written as ``.vtu``
    as well, an unstructured grid of triangles, quadrilaterals and polygons as ``.vtp``.

    Args:
        mesh: PolyData, UnstructuredGrid, a structured grid, several blocks, or a graph that holds its cells.
        path: ``.vtp``, ``.stl``, ``.ply`` (surfaces), ``.vtu``, ``.vtk`` (any but blocks), ``.vti``, ``.vts``, ``.vtr``
            (the structured grids), ``.vtm`` (blocks; their files lie in a folder beside it).

    Returns:
        The path written.

    Raises:
        InputError: Unknown suffix, a suffix that does not fit the mesh, or a folder that cannot be written.

    Warns:
        DataWarning: The format cannot hold the arrays of the mesh (STL, PLY).
    """
    path = Path(path)
    data = to_pyvista(mesh) if isinstance(mesh, MeshGraph) else mesh
    suffix = path.suffix.lower()
    data = _fitting(path, suffix, data)
    if suffix in (".stl", ".ply"):
        if len(data.point_data) + len(data.cell_data):
            warn(f"{path}: {suffix[1:].upper()} files hold no fields, they were left out; write .vtp to keep them")
        data = data.triangulate() if suffix == ".stl" else data
    writer = WRITERS[suffix]()
    if suffix in (".vtk", ".stl", ".ply"):
        writer.SetFileTypeToBinary()
    else:
        writer.SetDataModeToAppended()
        writer.EncodeAppendedDataOff()
        writer.SetCompressorTypeToZLib()
    try:
        (_write_blocks if suffix == ".vtm" else _write_file)(writer, data, path)
    except OSError as error:
        raise InputError(f"{path}: the folder cannot be written ({error.strerror or error}); choose another") from error
    return path


def _write_file(writer: Any, data: Any, path: Path) -> None:
    with replacing(path) as partial:
        partial.touch()
        _run(writer, data, partial, path)


def _write_blocks(writer: Any, data: Any, path: Path) -> None:
    """Blocks lie in the folder ``<stem>/`` beside the index; both appear when all are written."""
    with TemporaryDirectory(dir=_made(path.parent), prefix=f".{path.stem}.") as folder:
        _run(writer, data, Path(folder) / path.name, path)
        blocks = path.with_suffix("")
        if blocks.is_dir():
            shutil.rmtree(blocks)
        if (Path(folder) / path.stem).is_dir():
            os.replace(Path(folder) / path.stem, blocks)
        os.replace(Path(folder) / path.name, path)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(writer: Any, data: Any, partial: Path, path: Path) -> None:
    complaints = run_writer(writer, data, partial)
    if complaints:
        raise InputError(f"{path}: could not be written ({complaints[0]}); is the disk full?")


def as_grid(mesh: Mesh) -> pv.UnstructuredGrid:
    """The same points, cells and arrays as an unstructured grid."""
    if isinstance(mesh, pv.UnstructuredGrid):
        return mesh
    return _with_arrays_of(mesh, mesh_of(np.asarray(mesh.points), cells_of(mesh), as_grid=True))


def as_surface(mesh: Mesh) -> pv.PolyData | None:
    """The same points, cells and arrays as PolyData; None where a cell is no triangle, quadrilateral or polygon."""
    if isinstance(mesh, pv.PolyData):
        return mesh
    cells = cells_of(mesh)
    if not bool(np.isin(cells.kind, FLAT_TYPES).all()):
        return None
    return _with_arrays_of(mesh, mesh_of(np.asarray(mesh.points), cells))


def _with_arrays_of(source: Mesh, target: Any) -> Any:
    for name in ("point_data", "cell_data", "field_data"):
        data = getattr(target, name)
        for key, values in getattr(source, name).items():
            data[key] = values
    return target


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


def _fitting(path: Path, suffix: str, data: Any) -> Any:
    """The data as the format of a suffix holds them."""
    if suffix not in WRITERS:
        raise InputError(f"{path}: cannot write files ending in '{path.suffix}'; supported are {listing(WRITERS)}")
    name = type(data).__name__
    kind = KINDS.get(suffix)
    if kind is not None and not isinstance(data, kind):
        raise InputError(f"{path}: a '{suffix}' file holds {kind.__name__}, this is {name}; write a .vtu file")
    if isinstance(data, pv.MultiBlock) and suffix != ".vtm":
        raise InputError(f"{path}: a '{suffix}' file holds one mesh, this is {name}; write a .vtm file")
    if suffix == ".vtu":
        mesh = isinstance(data, pv.PolyData | pv.UnstructuredGrid)
        return as_grid(data) if mesh else data.cast_to_unstructured_grid()
    if suffix in SURFACE_ONLY:
        surface = as_surface(data) if isinstance(data, pv.PolyData | pv.UnstructuredGrid) else None
        if surface is None:
            raise InputError(f"{path}: a '{suffix}' file holds a surface, this is an {name}; write a .vtu file")
        return surface
    return data
