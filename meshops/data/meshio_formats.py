"""Formats that meshio reads: Nastran, Abaqus, MED, Medit and others; sets of cells become parts."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

from meshops.data.blocks import take_cells
from meshops.data.cells import DIMENSION, Array
from meshops.data.reading import MeshRead, ReadNotes, Region, Time, choose_parts
from meshops.errors import InputError

NAMES = {
    "abaqus": "Abaqus input", "nastran": "Nastran bulk data", "med": "MED (Salome)", "medit": "Medit",
    "avsucd": "AVS UCD", "flac3d": "FLAC3D", "permas": "PERMAS", "tetgen": "TetGen", "ugrid": "UGRID", "xdmf": "XDMF",
    "netgen": "Netgen", "hmf": "HMF", "mdpa": "Kratos mdpa", "dolfin": "DOLFIN XML", "gmsh": "gmsh", "su2": "SU2",
}  # fmt: skip
# Numbers of properties, materials or groups that a format gives every cell.
GROUPS = ("nastran:ref", "medit:ref", "avsucd:material", "flac3d:group", "tetgen:ref", "ugrid:ref", "cell_tags")


def read_meshio(path: Path, name: str, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read with one of meshio's modules.

    Raises:
        InputError: meshio cannot read the file, it holds no cells, or there is no such part.
    """
    data = _load(path, name)
    num_cells = sum(len(block.data) for block in data.cells)
    if num_cells == 0:
        raise InputError(f"{path}: the mesh is empty (no cells); check the export")
    if data.points.shape[1] == 2:
        data.points = np.pad(data.points, ((0, 0), (0, 1)))
    parts = _parts(data)
    data.cell_sets, data.point_sets = {}, {}
    mesh = pv.from_meshio(data)
    precision = {4: "float32", 8: "float64"}.get(np.asarray(data.points).dtype.itemsize, "")
    notes = ReadNotes(format=f"{NAMES.get(name, name)}, read by meshio", precision=precision)
    return part_read(mesh, notes, parts, region, str(path))


def part_read(
    mesh: pv.UnstructuredGrid, notes: ReadNotes, parts: Mapping[str, Array], region: Region, label: str
) -> MeshRead:
    """A mesh with named sets of cells as a read: ``cell_part`` where the chosen parts do not overlap."""
    notes.parts = tuple(parts)
    if not parts:
        return MeshRead(mesh, notes)
    notes.chosen = choose_parts(notes.parts, region, label=label)
    of_cell = np.full(mesh.n_cells, -1)
    for i, name in enumerate(notes.chosen):
        inside = parts[name]
        clash = of_cell[inside] >= 0
        if clash.any():
            notes.remarks.append(f"{int(clash.sum())} cells of '{name}' are in a part before it too and count there")
        of_cell[inside[~clash]] = i
    if region is None:
        loose = of_cell < 0
        if loose.any():
            of_cell[loose] = len(notes.chosen)
            notes.parts, notes.chosen = (*notes.parts, "unnamed"), (*notes.chosen, "unnamed")
        return MeshRead(mesh, notes, of_cell)
    keep = np.flatnonzero(of_cell >= 0)
    return MeshRead(take_cells(mesh, keep), notes, of_cell[keep])


def _load(path: Path, name: str) -> Any:
    module = importlib.import_module(f"meshio.{name}")
    try:
        # The format's own reader: meshio.read ends the program when it fails. It also talks to the terminal.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return module.read(str(path))
    except Exception as error:
        if "Incompatible cell data" in str(error):
            raise InputError(
                f"{path}: meshio cannot read cell data on several cell types from gmsh files (its issue 1257); "
                "convert the mesh to .vtu or leave the cell data out"
            ) from error
        raise


def _parts(data: Any) -> dict[str, Array]:
    """Name -> ids of the cells of highest dimension, from sets of the format or from its numbers."""
    start = np.cumsum([0, *(len(block.data) for block in data.cells)])
    dimension = np.repeat([_dimension(block.type) for block in data.cells], np.diff(start))
    top = int(dimension.max())
    out: dict[str, Array] = {}
    for name, blocks in data.cell_sets.items():
        ids = [np.asarray(block, dtype=np.int64) + start[i] for i, block in enumerate(blocks) if block is not None]
        found = np.unique(np.concatenate(ids)) if ids else np.zeros(0, dtype=np.int64)
        if found.size and (dimension[found] == top).all() and found.size < start[-1]:
            out[str(name)] = found
    if out:
        return out
    key = next((key for key in GROUPS if key in data.cell_data), None)
    if key is None:
        return {}
    numbers = np.concatenate([np.asarray(values).reshape(-1) for values in data.cell_data[key]]).astype(np.int64)
    known = {int(k): "+".join(map(str, v)) for k, v in getattr(data, "cell_tags", {}).items()}
    values = np.unique(numbers[dimension == top])
    if values.size < 2:
        return {}
    label = key.partition(":")[2] or "tag"
    return {
        known.get(int(value), f"{label}_{value}"): np.flatnonzero((numbers == value) & (dimension == top))
        for value in values
    }


def _dimension(kind: str) -> int:
    from meshio._vtk_common import meshio_to_vtk_type

    number = meshio_to_vtk_type.get(kind)
    return int(DIMENSION[number]) if number is not None else 3 if kind.startswith("polyhedron") else 2
