"""Reading meshes: STL, OBJ, PLY, VTK (legacy and XML), gmsh, SU2 and raw OpenFOAM cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyvista as pv
from vtkmodules.vtkIOGeometry import vtkOBJReader, vtkSTLReader
from vtkmodules.vtkIOLegacy import vtkGenericDataObjectReader
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader, vtkXMLUnstructuredGridReader

from meshops.data.cells import Mesh, cells_of
from meshops.data.clean import check_fields, check_points, clean_mesh
from meshops.data.convert import Where, choose_location, float_arrays, from_pyvista
from meshops.data.gmsh import read_gmsh
from meshops.data.mesh_graph import MeshGraph
from meshops.data.openfoam import is_case, read_case
from meshops.data.ply import read_ply
from meshops.data.reading import MeshRead, Region
from meshops.data.su2 import read_su2
from meshops.data.vtk_io import run_reader
from meshops.errors import InputError, listing


def _legacy_reader() -> Any:
    """Make a reader of all arrays; by default VTK takes the first of each kind only."""
    reader = vtkGenericDataObjectReader()
    for kind in ("Scalars", "Vectors", "Normals", "Tensors", "ColorScalars", "TCoords", "Fields"):
        getattr(reader, f"ReadAll{kind}On")()
    return reader


VTK_READERS: dict[str, Callable[[], Any]] = {
    ".stl": vtkSTLReader,
    ".obj": vtkOBJReader,
    ".vtk": _legacy_reader,
    ".vtp": vtkXMLPolyDataReader,
    ".vtu": vtkXMLUnstructuredGridReader,
}
OWN_READERS: dict[str, Callable[..., MeshRead]] = {".msh": read_gmsh, ".su2": read_su2}
FOAM_SUFFIXES = (".foam", ".openfoam")
SUFFIXES = (*VTK_READERS, ".ply", *OWN_READERS, ".foam", ".OpenFOAM")

# How files begin, to tell a wrong extension from a damaged file.
BEGINNINGS = ((b"# vtk DataFile", ".vtk"), (b"ply\n", ".ply"), (b"ply\r", ".ply"), (b"$MeshFormat", ".msh"))


def read(
    path: str | Path,
    *,
    fields: Sequence[str] | None = None,
    location: Where = "auto",
    region: Region = None,
    units: Sequence[str] = (),
) -> MeshGraph:
    """Read a case as a graph: :func:`read_mesh`, then cleaning, then conversion.

    Args:
        path: File or OpenFOAM case folder.
        fields: Arrays that become ``y``; None: all floating-point arrays of the location; ``()``: none.
        location: ``"cell"``, ``"point"``, ``"free"`` (point cloud) or ``"auto"`` (where the fields are).
        region: Parts of an OpenFOAM case, a gmsh or an SU2 mesh, see :func:`read_mesh`.
        units: Unit of each field.

    Raises:
        InputError: The file cannot be used; the message names the file, the array and the remedy.

    Example:
        >>> graph = read("boundary_1.vtp", fields=("pMean",), units=("m^2/s^2",))
        >>> graph.normal.shape
        torch.Size([8274, 3])
    """
    path = Path(path)
    mesh = read_mesh(path, region=region)
    label = str(path) if region is None else f"{path} [{region}]"
    if fields is None:
        association = choose_location(mesh, ()) if location == "auto" else "cell" if location == "cell" else "point"
        fields = float_arrays(mesh, association)
        if not fields and location == "auto":
            fields = float_arrays(mesh, "point")
    if location == "free":
        check_points(mesh, label)
        check_fields(mesh, fields, label)
    else:
        mesh = clean_mesh(mesh, label=label, fields=fields).mesh
    graph = from_pyvista(mesh, fields=fields, location=location, label=label, units=units)
    graph.name, graph.source = path.stem, str(path)
    return graph


def read_mesh(path: str | Path, *, region: Region = None) -> Mesh:
    """Read a mesh with all its point and cell arrays.

    Args:
        path: File (the suffix says what it is) or OpenFOAM case folder.
        region: Parts by name, group or pattern (``"wheel.*,body"``): patches of an OpenFOAM case and ``"internal"``,
            physical groups of gmsh, markers of SU2. None: the cells of the highest dimension.

    Returns:
        PolyData or UnstructuredGrid, as the file has it; structured grids become unstructured.

    Raises:
        InputError: Not found, unsupported or wrong extension, damaged, or empty.
    """
    path = Path(path)
    if is_case(path) or path.suffix.lower() in FOAM_SUFFIXES:
        return read_case(path, region=region).mesh
    suffix = _check_file(path)
    if region is not None and suffix not in OWN_READERS:
        raise InputError(f"{path}: region={region!r} is for OpenFOAM cases, .msh and .su2; leave it out for this file")
    try:
        mesh = OWN_READERS[suffix](path, region=region).mesh if suffix in OWN_READERS else _read_file(path, suffix)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the permissions") from error
    if mesh.n_points == 0 or (mesh.n_cells == 0 and suffix in (".stl", ".obj")):
        raise InputError(f"{path}: the mesh is empty (no {'cells' if mesh.n_points else 'points'}); check the export")
    nodes = cells_of(mesh).nodes
    if nodes.size and not (0 <= int(nodes.min()) and int(nodes.max()) < mesh.n_points):
        wrong = int(nodes.min()) if nodes.min() < 0 else int(nodes.max())
        raise InputError(f"{path}: a cell names point {wrong} of {mesh.n_points}; the file is damaged, export it again")
    return mesh


def _read_file(path: Path, suffix: str) -> Mesh:
    if suffix == ".ply":
        return read_ply(path)
    if suffix == ".stl":
        _check_stl_end(path)
    data, complaints = run_reader(VTK_READERS[suffix](), path)
    if complaints or data is None:
        reason = complaints[0] if complaints else "no data found"
        raise InputError(f"{path}: cannot be read, the file is damaged or cut off ({reason}); export or copy it again")
    return _as_mesh(data, path)


def _as_mesh(data: Any, path: Path) -> Mesh:
    mesh = pv.wrap(data)
    if isinstance(mesh, pv.PolyData | pv.UnstructuredGrid):
        return mesh
    if isinstance(mesh, pv.DataSet):
        return mesh.cast_to_unstructured_grid()
    raise InputError(f"{path}: holds a {type(mesh).__name__}, which is no mesh; export a PolyData or UnstructuredGrid")


def _check_file(path: Path) -> str:
    """Find the suffix of a readable file; refuse what can be told from the name and the first bytes."""
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder but no OpenFOAM case (no system/controlDict in it); give a mesh file or a case folder"
        )
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    suffix = path.suffix.lower()
    if suffix not in VTK_READERS and suffix != ".ply" and suffix not in OWN_READERS:
        raise InputError(f"{path}: cannot read files ending in '{path.suffix}'; supported are {listing(SUFFIXES, 20)}")
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the permissions") from error
    if not head.strip():
        raise InputError(f"{path}: the file is empty (0 bytes); export or copy it again")
    true_suffix = _sniff(head)
    if true_suffix is not None and true_suffix != suffix:
        raise InputError(f"{path}: the content is not '{suffix}' but '{true_suffix}'; rename the file")
    return suffix


def _sniff(head: bytes) -> str | None:
    """Guess the suffix a file should have, None if its beginning does not tell."""
    if b"<VTKFile" in head:
        kinds = ((b'type="PolyData"', ".vtp"), (b'type="UnstructuredGrid"', ".vtu"))
        return next((suffix for text, suffix in kinds if text in head), None)
    return next((suffix for text, suffix in BEGINNINGS if head.lstrip().startswith(text)), None)


def _check_stl_end(path: Path) -> None:
    """Compare a binary STL with the size in its header, look for the last line of a text one; VTK does neither."""
    with path.open("rb") as file:
        head = file.read(512)
        count = int.from_bytes(head[80:84], "little")
    size = path.stat().st_size
    text = head.lstrip()[:5].lower() == b"solid" and b"\x00" not in head
    if text:
        with path.open("rb") as file:
            file.seek(max(0, size - 512))
            complete = b"endsolid" in file.read().lower()
        if not complete:
            raise InputError(f"{path}: the file is cut off (no 'endsolid' at its end); export or copy it again")
    elif size < 84 + 50 * count:
        raise InputError(
            f"{path}: the file is cut off or no STL: {size} bytes for {count} triangles, "
            f"which take {84 + 50 * count}; export or copy it again"
        )
