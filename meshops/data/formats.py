"""Every format there is, in one table: what a file is, who reads it, and what every read goes through.

Reading happens here without torch, so that a process that only reads starts fast (:mod:`meshops.data.contained`).
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from meshops.data import case_arrays, point_tables, vtk_formats, vtk_solvers
from meshops.data.cell_checks import check_mesh, count_kinds
from meshops.data.hdf5_files import inspect_hdf5, is_hdf5
from meshops.data.meshio_formats import read_meshio
from meshops.data.reading import MeshRead, ReadNotes, Region, Time, choose_time
from meshops.data.vectors import join_components
from meshops.errors import DataWarning, InputError, MeshopsError, listing


@dataclass(frozen=True)
class Format:
    """How a kind of file is read.

    Attributes:
        name: For messages and the documentation.
        read: ``read(path, region=..., time=...)``; without ``timed`` it takes no time.
        safe: Our own reader in Python and NumPy, which cannot crash the process: no other process is needed.
        timed: Whether files may hold several times.
    """

    name: str
    read: Callable[..., MeshRead]
    safe: bool = False
    timed: bool = True


def _ply(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    from meshops.data.ply import read_ply

    mesh = read_ply(path)
    precision = "float64" if np.asarray(mesh.points).dtype.itemsize == 8 else "float32"
    return MeshRead(mesh, ReadNotes("PLY", precision=precision))


def _collection(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    return vtk_formats.read_collection(path, read_here, region=region, time=time)


def _own(module: str, name: str) -> Callable[..., MeshRead]:
    """One of our own readers, loaded when it reads: the process that reads for others needs none of them."""

    def read(path: Path, **options: Any) -> MeshRead:
        found: MeshRead = getattr(importlib.import_module(module), name)(path, **options)
        return found

    return read


VTK_XML = Format("VTK XML", vtk_formats.read_vtk_xml)
MESHIO = {
    name: Format(title, partial(read_meshio, name=name), timed=False)
    for name, title in {
        "abaqus": "Abaqus", "nastran": "Nastran", "med": "MED", "medit": "Medit",
        "avsucd": "AVS UCD", "flac3d": "FLAC3D", "permas": "PERMAS", "ugrid": "UGRID", "mdpa": "Kratos",
    }.items()
}  # fmt: skip
OPENFOAM = Format("OpenFOAM", _own("meshops.data.openfoam", "read_case"), safe=True)
FLUENT = Format("Fluent", vtk_solvers.read_fluent)
TECPLOT = Format("Tecplot", vtk_solvers.read_tecplot)
POINTS = Format("table of points", point_tables.read_points, safe=True, timed=False)

# Ending -> format. Endings of two words come before those of one.
FORMATS: dict[str, Format] = {
    ".stl": Format("STL", _own("meshops.data.stl", "read_stl"), safe=True),
    ".obj": Format("Wavefront OBJ", _own("meshops.data.obj", "read_obj"), safe=True),
    ".ply": Format("PLY", _ply, safe=True),
    ".vtk": Format("VTK legacy", vtk_formats.read_legacy),
    **dict.fromkeys((".vtp", ".vtu", ".vtm", ".vtmb", ".vtpc", ".vtpd", ".pvtu", ".pvtp"), VTK_XML),
    **dict.fromkeys((".vti", ".vts", ".vtr", ".pvti", ".pvts", ".pvtr"), VTK_XML),
    ".pvd": Format("ParaView collection", _collection),
    ".series": Format("ParaView series", _collection),
    **dict.fromkeys((".vtkhdf", ".hdf"), Format("VTKHDF", vtk_formats.read_vtkhdf)),
    ".msh": Format("gmsh", _own("meshops.data.gmsh", "read_gmsh"), safe=True),
    ".su2": Format("SU2", _own("meshops.data.su2", "read_su2"), safe=True, timed=False),
    ".foam": OPENFOAM,
    ".openfoam": OPENFOAM,
    **dict.fromkeys((".case", ".encas"), Format("EnSight", vtk_solvers.read_ensight)),
    ".cgns": Format("CGNS", vtk_solvers.read_cgns),
    **dict.fromkeys((".e", ".exo", ".ex2", ".exii", ".g"), Format("Exodus II", vtk_solvers.read_exodus)),
    ".cas": FLUENT,
    **dict.fromkeys((".cas.h5", ".msh.h5"), Format("Fluent HDF5", vtk_solvers.read_fluent_hdf)),
    **dict.fromkeys((".tec", ".plt", ".dat"), TECPLOT),
    **dict.fromkeys((".xdmf", ".xmf"), Format("XDMF", vtk_solvers.read_xdmf)),
    **dict.fromkeys((".bdf", ".nas", ".fem"), MESHIO["nastran"]),
    ".inp": MESHIO["abaqus"],
    ".avs": MESHIO["avsucd"],
    ".med": MESHIO["med"],
    **dict.fromkeys((".mesh", ".meshb"), MESHIO["medit"]),
    ".ugrid": MESHIO["ugrid"],
    ".f3grid": MESHIO["flac3d"],
    ".mdpa": MESHIO["mdpa"],
    ".frd": Format("CalculiX", _own("meshops.data.calculix", "read_frd"), safe=True),
    **dict.fromkeys((".gltf", ".glb"), Format("glTF", vtk_solvers.read_gltf)),
    **dict.fromkeys(point_tables.SUFFIXES, POINTS),
    **dict.fromkeys(case_arrays.SUFFIXES, Format("arrays of a case", case_arrays.read_case_arrays)),
}
SUFFIXES = tuple(FORMATS)

# How files begin -> what they are and the endings such files have.
BEGINNINGS: tuple[tuple[bytes, str, tuple[str, ...]], ...] = (
    (b"# vtk DataFile", "a legacy VTK file", (".vtk",)),
    (b"ply\n", "a PLY file", (".ply",)),
    (b"ply\r", "a PLY file", (".ply",)),
    (b"$MeshFormat", "a gmsh mesh", (".msh",)),
    (b"#!TDV", "a binary Tecplot file", (".plt", ".dat", ".tec")),
    (b"\x89HDF\r\n", "an HDF5 file", (".cgns", ".med", ".vtkhdf", ".hdf", ".cas.h5", ".msh.h5", ".e", ".exo", ".ex2",
                                     ".exii", ".g")),
    (b"CDF\x01", "a NetCDF file", (".e", ".exo", ".ex2", ".exii", ".g")),
    (b"CDF\x02", "a NetCDF file", (".e", ".exo", ".ex2", ".exii", ".g")),
    (b"CDF\x05", "a NetCDF file", (".e", ".exo", ".ex2", ".exii", ".g")),
    (b"glTF", "a binary glTF file", (".glb", ".gltf")),
    (b"PK\x03\x04", "a ZIP archive; unpack it", ()),
    (b"\x1f\x8b", "compressed by gzip; unpack it", ()),
    (b"ISO-10303", "a STEP file, which is no mesh; mesh it first", ()),
)  # fmt: skip
XML_SUFFIX = {
    "PolyData": ".vtp", "UnstructuredGrid": ".vtu", "ImageData": ".vti", "StructuredGrid": ".vts",
    "RectilinearGrid": ".vtr", "PPolyData": ".pvtp", "PUnstructuredGrid": ".pvtu", "PImageData": ".pvti",
    "PStructuredGrid": ".pvts", "PRectilinearGrid": ".pvtr", "vtkMultiBlockDataSet": ".vtm", "Collection": ".pvd",
    "vtkPartitionedDataSetCollection": ".vtpc", "vtkPartitionedDataSet": ".vtpd",
}  # fmt: skip
XML_NAMES = {".vtm": "a multi-block index (.vtm)", ".pvd": "a ParaView collection (.pvd)"}


def suffix_of(path: Path) -> str:
    """Ending of a file that the table knows, else its last ending; lower case."""
    name = path.name.lower()
    return next((s for s in FORMATS if s.count(".") > 1 and name.endswith(s)), path.suffix.lower())


def find_format(path: Path) -> Format:
    """What a path is, by its ending and by how it begins.

    Raises:
        InputError: Not there, not readable, empty, of no known ending, or of another kind than its ending says.
    """
    if path.is_dir():
        if (path / "system" / "controlDict").is_file():
            return OPENFOAM
        raise InputError(
            f"{path}: is a folder but no OpenFOAM case (no system/controlDict in it); give a mesh file or a case folder"
        )
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    suffix = suffix_of(path)
    if suffix in (".foam", ".openfoam"):
        return OPENFOAM
    if suffix in (".gz", ".bz2", ".xz", ".zip", ".zst"):
        raise InputError(f"{path}: is compressed ({suffix}); unpack it and give the mesh file in it")
    if suffix not in FORMATS:
        raise InputError(f"{path}: cannot read files ending in '{path.suffix}'; supported are {listing(SUFFIXES, 30)}")
    try:
        head = vtk_formats.read_head(path, 4096)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the permissions") from error
    if not head.strip():
        raise InputError(f"{path}: the file is empty (0 bytes); export or copy it again")
    return _by_content(path, suffix, head)


def _by_content(path: Path, suffix: str, head: bytes) -> Format:
    """The format of an ending, or another one that files of this ending may hold."""
    if suffix in case_arrays.SUFFIXES:  # ZIP, HDF5 or MATLAB inside: the reader looks
        return FORMATS[suffix]
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"<VTKFile" in head:
        true = XML_SUFFIX.get(vtk_formats.xml_kind(path), suffix)
        if true not in (suffix, {".vtmb": ".vtm"}.get(suffix)):
            raise _other(path, suffix, XML_NAMES.get(true, f"'{true}'"), true)
        return FORMATS[suffix]
    for beginning, what, suffixes in BEGINNINGS:
        if (
            start.startswith(beginning)
            and suffix not in suffixes
            and not (suffix == ".stl" and _binary_stl(path, head))
        ):
            raise _other(path, suffix, f"'{suffixes[0]}'" if len(suffixes) == 1 else what, *suffixes[:1])
    if suffix == ".msh" and start.startswith(b"("):
        return FLUENT
    if suffix in (".dat", ".inp", ".msh"):
        return _of_text(suffix, head)
    return FORMATS[suffix]


def _binary_stl(path: Path, head: bytes) -> bool:
    """Whether the size fits the count of a binary STL, whose first 80 bytes may be anything."""
    return len(head) >= 84 and path.stat().st_size == 84 + 50 * int.from_bytes(head[80:84], "little")


def _of_text(suffix: str, head: bytes) -> Format:
    """Endings that several programs use: Tecplot, Nastran and Fluent data in ``.dat``, Abaqus and AVS in ``.inp``."""
    lines = [line.strip().upper() for line in head.decode("latin-1").splitlines()]
    lines = [line for line in lines if line and not line.startswith(("$", "#", "**"))]
    if suffix == ".dat" and any(line.startswith(("BEGIN BULK", "CEND", "SOL ", "GRID", "CQUAD4")) for line in lines):
        return MESHIO["nastran"]
    if suffix == ".dat" and not any(line.startswith(("TITLE", "VARIABLES", "ZONE")) for line in lines):
        header = point_tables.header_of(head.decode("latin-1").splitlines()[:-1])
        if header is not None and len(header.places) >= 2:
            return POINTS
    if suffix == ".inp" and lines and all(word.isdigit() for word in lines[0].split()):
        return MESHIO["avsucd"]
    return FORMATS[suffix]


def _other(path: Path, suffix: str, what: str, *true: str) -> InputError:
    remedy = f"rename the file to end in '{true[0]}'" if true else "give a mesh file"
    return InputError(f"{path}: the content is not '{suffix}' but {what}; {remedy}")


def read_here(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read in this process: find the format, read, check, and say what was read.

    Raises:
        InputError: The file cannot be used.
    """
    kind = find_format(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        warnings.filterwarnings("ignore", module="meshio|pyvista|vtkmodules")
        read = _read(kind, path, region, time)
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return finish(read, path, region, time)


def _read(kind: Format, path: Path, region: Region, time: Time) -> MeshRead:
    options: dict[str, Any] = {"time": time} if kind.timed else {}
    try:
        if not kind.safe and is_hdf5(path):
            inspect_hdf5(path)
        return kind.read(path, region=region, **options)
    except MeshopsError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the permissions") from error
    except MemoryError as error:
        raise InputError(f"{path}: there is not enough memory to read it; give a smaller mesh") from error
    except Exception as error:  # a reader may fail in any way on a damaged file
        reason = " ".join(f"{type(error).__name__} {error}".split())[:150]
        raise InputError(
            f"{path}: cannot be read as {kind.name} ({reason}); it is damaged or cut off, or holds "
            "what the reader does not know; export it again"
        ) from error


def finish(read: MeshRead, path: Path, region: Region, time: Time) -> MeshRead:
    """What every read goes through: cells checked, components joined to vectors, notes completed."""
    notes, mesh = read.notes, read.mesh
    openfoam = notes.format.startswith("OpenFOAM")
    if region is not None and not notes.parts and not openfoam:
        raise InputError(f"{path}: region={region!r}, but the file has no named parts; leave it out")
    if time != "last" and not notes.times and not openfoam:
        raise InputError(f"{path}: time={time!r}, but the file says no times; leave it out")
    if time != "last" and len(notes.times) == 1:
        choose_time(notes.times, time, str(path))  # a file of one time: another one is not to be had
    if mesh.n_points == 0 or (mesh.n_cells == 0 and suffix_of(path) in (".stl", ".obj")):
        raise InputError(f"{path}: the mesh is empty (no {'cells' if mesh.n_points else 'points'}); check the export")
    check_mesh(mesh, str(path))
    notes.remarks += join_components(mesh)
    notes.cells = count_kinds(mesh)
    notes.precision = notes.precision or str(np.asarray(mesh.points).dtype)
    return read
