"""Results of solvers that VTK reads: EnSight, CGNS, Exodus, Fluent, Tecplot, XDMF, glTF, OFF and others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from meshops.data.blocks import Block, as_mesh, leaves, read_blocks, short_names
from meshops.data.cells import Mesh
from meshops.data.hdf5_files import inspect_hdf5
from meshops.data.reading import MeshRead, ReadNotes, Region, Time
from meshops.data.references import check_ensight, check_gltf, check_xdmf
from meshops.data.vtk_formats import checked, read_data, read_head, run_in_time
from meshops.data.vtk_io import run_reader
from meshops.errors import InputError

# Types of zones of a Fluent case that hold cells; groups of an Exodus file that are read only when asked for.
CELL_ZONES = ("fluid", "solid")
EXODUS_SETS = ("Side Sets", "Edge Sets", "Face Sets", "Element Sets", "Node Sets")


def read_ensight(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read an EnSight case (6 or Gold) with all variables; parts keep their names."""
    from vtkmodules.vtkIOEnSight import vtkGenericEnSightReader

    check_ensight(path)
    reader, notes = vtkGenericEnSightReader(), ReadNotes("EnSight")
    reader.ReadAllVariablesOn()
    return read_data(run_in_time(reader, path, notes, time), path, notes, region)


def read_cgns(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read all bases and zones of a CGNS file, solutions at vertices and cells; zones are parts."""
    from vtkmodules.vtkIOCGNSReader import vtkCGNSReader

    def prepare(reader: Any) -> None:
        for what in ("Bases", "Families", "PointArrays", "CellArrays"):
            getattr(reader, f"EnableAll{what}")()

    reader, notes = vtkCGNSReader(), ReadNotes("CGNS")
    reader.SetLoadBndPatch(False)
    reader.SetIgnoreFlowSolutionPointers(False)
    data = run_in_time(reader, path, notes, time, prepare)
    if notes.times == (0.0,):  # VTK's own when the file has none
        notes.time, notes.times = None, ()
    read = read_data(data, path, notes, region)
    for name in [name for name in read.mesh.field_data if name in ("ispatch", "issurface") or "/" in name]:
        del read.mesh.field_data[name]
    return read


def read_exodus(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read the element blocks of an Exodus II file; side sets are parts that are read when asked for."""
    from vtkmodules.vtkIOExodus import vtkExodusIIReader

    def prepare(reader: Any) -> None:
        for kind in range(_kinds_of_exodus()):
            for i in range(reader.GetNumberOfObjects(kind)):
                reader.SetObjectStatus(kind, i, 1)
            for i in range(reader.GetNumberOfObjectArrays(kind)):
                reader.SetObjectArrayStatus(kind, reader.GetObjectArrayName(kind, i), 1)

    reader, notes = vtkExodusIIReader(), ReadNotes("Exodus II")
    reader.ApplyDisplacementsOff()  # else the points move by any array called DISPL
    reader.GenerateObjectIdCellArrayOff()
    reader.GenerateGlobalElementIdArrayOff()
    reader.GenerateGlobalNodeIdArrayOff()
    data = run_in_time(reader, path, notes, time, prepare)
    found = [(name, leaf) for name, leaf in leaves(data) if leaf is not None and leaf.GetNumberOfCells()]
    names = short_names([_exodus_name(name) for name, _ in found])
    blocks = [
        Block(short, as_mesh(leaf, str(path)), not name.startswith(EXODUS_SETS))
        for short, (name, leaf) in zip(names, found, strict=True)
    ]
    for block in blocks:
        _exodus_arrays(block.mesh)
    return read_blocks(blocks, notes, region, str(path))


def _exodus_arrays(mesh: Mesh) -> None:
    """Leave out the numbers VTK adds; vectors it joined from ``U_x, U_y, U_z`` are called ``U``, not ``U_``."""
    for data in (mesh.cell_data, mesh.point_data):
        for name in list(data):
            if name in ("ObjectId", "SourceElementId", "SourceElementSide"):
                del data[name]
            elif name.endswith("_") and name[:-1] not in data:
                data[name[:-1]] = data[name]
                del data[name]


def _exodus_name(path: str) -> str:
    """``Element Blocks/Unnamed block ID: 1 Type: HEX8`` -> ``Element Blocks/block_1``."""
    group, _, name = path.rpartition("/")
    if name.startswith("Unnamed ") and " ID: " in name:
        what, _, rest = name.removeprefix("Unnamed ").partition(" ID: ")
        name = f"{what.replace(' ', '_')}_{rest.split()[0]}"
    return f"{group}/{name}" if group else name


def _kinds_of_exodus() -> int:
    return 20  # VTK numbers kinds of objects (blocks, sets, maps) from 0; unknown ones have no objects


def read_fluent(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read the cell zones of a Fluent mesh or case (text or binary ``.msh``, ``.cas`` with ``.dat`` beside it)."""
    from vtkmodules.vtkIOGeometry import vtkFLUENTReader

    notes = ReadNotes("Fluent")
    return _fluent(run_in_time(vtkFLUENTReader(), path, notes, time, _all_cell_arrays), path, notes, region)


def read_fluent_hdf(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read a Fluent case in HDF5 (``.cas.h5`` with ``.dat.h5`` beside it)."""
    from vtkmodules.vtkIOFLUENTCFF import vtkFLUENTCFFReader

    data = path.with_name(re.sub(r"\.(cas|msh)\.h5$", ".dat.h5", path.name))
    if data != path and data.is_file():
        inspect_hdf5(data)
    notes = ReadNotes("Fluent CFF (HDF5)")
    return _fluent(run_in_time(vtkFLUENTCFFReader(), path, notes, time, _all_cell_arrays), path, notes, region)


def _all_cell_arrays(reader: Any) -> None:
    for i in range(reader.GetNumberOfCellArrays()):
        reader.SetCellArrayStatus(reader.GetCellArrayName(i), 1)


def _fluent(data: Any, path: Path, notes: ReadNotes, region: Region) -> MeshRead:
    """Cell zones are called ``name:fluid`` or ``name:solid``; for zones of faces VTK gives the cells behind them."""
    found = [(*name.partition(":")[::2], leaf) for name, leaf in leaves(data) if leaf is not None]
    zones = [(name, leaf) for name, kind, leaf in found if kind in ("", *CELL_ZONES)]
    faces = [name for name, kind, _ in found if kind not in ("", *CELL_ZONES)]
    if faces:
        notes.remarks.append(f"zones of faces are not read: {', '.join(faces[:12])}")
    return read_blocks([Block(name, as_mesh(leaf, str(path))) for name, leaf in zones], notes, region, str(path))


def read_tecplot(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read the zones of a Tecplot text file."""
    from vtkmodules.vtkIOGeometry import vtkTecplotReader

    if read_head(path, 5) == b"#!TDV":
        raise InputError(f"{path}: a binary Tecplot file, which is not read; export it as text (.dat) or as .vtu")
    notes = ReadNotes("Tecplot, text", precision="text")
    reader = vtkTecplotReader()

    def prepare(reader: Any) -> None:
        for i in range(reader.GetNumberOfDataArrays()):
            reader.SetDataArrayStatus(reader.GetDataArrayName(i), 1)

    return read_data(run_in_time(reader, path, notes, time, prepare), path, notes, region)


def read_xdmf(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read the grids of an XDMF file at one time."""
    from vtkmodules.vtkIOXdmf2 import vtkXdmfReader

    for file in check_xdmf(path):
        if file.is_file():
            inspect_hdf5(file)
    notes = ReadNotes("XDMF")
    data = run_in_time(vtkXdmfReader(), path, notes, time)
    for _, leaf in leaves(data):
        if leaf is not None:
            _rows(leaf.GetPointData(), leaf.GetNumberOfPoints())
            _rows(leaf.GetCellData(), leaf.GetNumberOfCells())
    return read_data(data, path, notes, region)


def _rows(attributes: Any, count: int) -> None:
    """VTK flattens the vectors of files that do not call them so: one row per point or cell again."""
    for i in range(attributes.GetNumberOfArrays()):
        array = attributes.GetArray(i)
        rows = array.GetNumberOfTuples() if array is not None and array.GetNumberOfComponents() == 1 else 0
        if count and rows > count and rows % count == 0:
            array.SetNumberOfComponents(rows // count)
            array.SetNumberOfTuples(count)


def read_gltf(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read the triangles of a glTF file; meshes are parts."""
    from vtkmodules.vtkIOGeometry import vtkGLTFReader

    check_gltf(path)
    data = checked(*run_reader(vtkGLTFReader(), path), path)
    return read_data(data, path, ReadNotes("glTF", precision="float32"), region)
