"""Reading raw OpenFOAM cases through VTK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyvista as pv
from vtkmodules.vtkIOGeometry import vtkOpenFOAMReader
from vtkmodules.vtkIOParallel import vtkPOpenFOAMReader

from meshops.data.cells import Mesh
from meshops.data.vtk_io import catch_messages
from meshops.errors import InputError, listing, warn

INTERNAL = "internal"


def is_case(path: Path) -> bool:
    """Tell whether this is a folder with ``system/controlDict``."""
    return path.is_dir() and (path / "system" / "controlDict").is_file()


def read_case(path: str | Path, *, region: str = INTERNAL) -> Mesh:
    """Read the last time step of a case, reconstructed or decomposed, with its cell fields.

    Args:
        path: Case folder, or a ``.foam`` / ``.OpenFOAM`` file in it.
        region: ``"internal"``: the volume mesh; else the name of a boundary patch.

    Raises:
        InputError: Not found, no mesh in it, damaged, or no such patch (the message lists them).

    Warns:
        DataWarning: The mesh was read, but VTK complained about other files of the case.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if not (folder / "system" / "controlDict").is_file():
        raise InputError(f"{path}: no OpenFOAM case (system/controlDict is missing); give the case folder")
    decomposed = not (folder / "constant" / "polyMesh").is_dir() and any(folder.glob("processor*/constant/polyMesh"))
    if not decomposed and not (folder / "constant" / "polyMesh").is_dir():
        raise InputError(f"{path}: the case has no mesh (constant/polyMesh is missing); run the mesher first")
    with catch_messages() as messages:
        reader = vtkPOpenFOAMReader() if decomposed else vtkOpenFOAMReader()
        blocks = _blocks(reader, folder / "system" / "controlDict", decomposed)
        if region not in blocks and region != INTERNAL:
            raise InputError(
                f"{path}: there is no boundary patch '{region}'; "
                f"regions present: {listing([INTERNAL, *(name for name in blocks if name != INTERNAL)], 30)}"
            )
        mesh = blocks.get(region)
    if mesh is None or mesh.n_cells == 0:
        reason = f" ({messages.errors[0]})" if messages.errors else ""
        raise InputError(f"{path}: region '{region}' is empty or damaged{reason}; check the case with checkMesh")
    if messages.errors:
        warn(f"{path}: some files of the case could not be read, arrays may be missing ({messages.errors[0]})")
    return mesh


def _blocks(reader: Any, control: Path, decomposed: bool) -> dict[str, Mesh]:
    """Region -> mesh at the last time step."""
    reader.SetFileName(str(control))
    if decomposed:
        reader.SetCaseType(0)
    reader.SetSkipZeroTime(False)
    if hasattr(reader, "SetDecomposePolyhedra"):  # newer releases never cut polyhedra up
        reader.SetDecomposePolyhedra(False)
    reader.SetCreateCellToPoint(False)
    reader.UpdateInformation()
    for kind in ("Patch", "CellArray", "PointArray"):
        getattr(reader, f"Enable{'AllPatchArrays' if kind == 'Patch' else f'All{kind}s'}")()
    times = reader.GetTimeValues()
    if times is not None and times.GetNumberOfTuples():
        reader.SetTimeValue(times.GetTuple1(times.GetNumberOfTuples() - 1))
    reader.Update()
    out: dict[str, Mesh] = {}
    _collect(pv.wrap(reader.GetOutputDataObject(0)), out)
    return out


def _collect(blocks: Any, out: dict[str, Mesh]) -> None:
    for name in blocks.keys() if blocks is not None else ():
        block = blocks[name]
        if isinstance(block, pv.MultiBlock):
            _collect(block, out)
        elif isinstance(block, pv.PolyData | pv.UnstructuredGrid):
            out[INTERNAL if name == "internalMesh" else name] = block
