"""VTK's own formats: legacy, XML, pieces in parallel, multi-block, collections in time, VTKHDF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshops.data.blocks import Block, as_mesh, leaves, read_blocks, short_names
from meshops.data.cells import Mesh
from meshops.data.reading import MeshRead, ReadNotes, Region, Time, choose_time
from meshops.data.references import check_vtk_index, check_xml, named, tree
from meshops.data.vtk_io import catch_messages, run_reader
from meshops.errors import InputError
from meshops.io import read_json

# XML type -> reader of VTK; the structured ones in pieces are put together by VTK, so that the order of the grid stays.
XML_READERS = {
    "PolyData": "PolyData", "UnstructuredGrid": "UnstructuredGrid", "ImageData": "ImageData",
    "StructuredGrid": "StructuredGrid", "RectilinearGrid": "RectilinearGrid", "PImageData": "PImageData",
    "PStructuredGrid": "PStructuredGrid", "PRectilinearGrid": "PRectilinearGrid",
    "vtkMultiBlockDataSet": "MultiBlockData", "vtkPartitionedDataSet": "PartitionedDataSet",
    "vtkPartitionedDataSetCollection": "PartitionedDataSetCollection",
}  # fmt: skip
PIECES = ("PPolyData", "PUnstructuredGrid")


def read_vtk_xml(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read any XML file of VTK that holds or names meshes: what it is stands in its head.

    Raises:
        InputError: Damaged, or no mesh.
    """
    check_xml(path)
    kind = xml_kind(path)
    notes = ReadNotes(f"VTK XML, {kind}")
    if kind in PIECES:
        blocks = [Block("", _piece(file, path)) for file in _sources(path)]
        return read_blocks(blocks, notes, region, str(path))
    if kind not in XML_READERS:
        raise InputError(f"{path}: holds a {kind or 'thing of unknown type'}, which is no mesh; export a mesh")
    if kind.startswith(("P", "vtk")) and kind != "PolyData":
        check_vtk_index(path)
    data = _run(_xml_reader(XML_READERS[kind]), path)
    return read_data(data, path, notes, region)


def read_legacy(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read a legacy file with all its arrays; by default VTK takes the first of each kind only."""
    from vtkmodules.vtkIOLegacy import vtkGenericDataObjectReader

    with path.open("rb") as file:
        version = file.readline(80).decode("latin-1").strip().removeprefix("# vtk DataFile Version").strip()
    reader = vtkGenericDataObjectReader()
    for kind in ("Scalars", "Vectors", "Normals", "Tensors", "ColorScalars", "TCoords", "Fields"):
        getattr(reader, f"ReadAll{kind}On")()
    return read_data(_run(reader, path), path, ReadNotes(f"VTK legacy {version}".strip()), region)


def read_data(data: Any, path: Path, notes: ReadNotes, region: Region) -> MeshRead:
    """What a reader of VTK gave, a data set or a tree of them, as a read."""
    found = list(leaves(data))
    names = short_names([name for name, _ in found])
    blocks = [Block(name, as_mesh(leaf, str(path))) for name, (_, leaf) in zip(names, found, strict=True) if leaf]
    notes.time = notes.time if notes.time is not None else _time_value([data, *(leaf for _, leaf in found)])
    if notes.time is not None and not notes.times:
        notes.times = (notes.time,)
    return read_blocks(blocks, notes, region, str(path))


def read_vtkhdf(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read a VTKHDF file: PolyData, unstructured grid, image or collection, with steps."""
    from vtkmodules.vtkIOHDF import vtkHDFReader

    reader = vtkHDFReader()
    notes = ReadNotes("VTKHDF")
    return read_data(run_in_time(reader, path, notes, time), path, notes, region)


def run_in_time(
    reader: Any, path: Path, notes: ReadNotes, time: Time, prepare: Callable[[Any], None] | None = None
) -> Any:
    """Output of a reader of VTK at one of the times it announces; fills the times of the notes.

    ``prepare`` is called when the reader knows the file, to choose arrays and blocks.
    """
    from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline

    with catch_messages() as messages:
        (reader.SetCaseFileName if hasattr(reader, "SetCaseFileName") else reader.SetFileName)(str(path.absolute()))
        reader.UpdateInformation()
        if prepare is not None:
            prepare(reader)
            reader.UpdateInformation()
        key = vtkStreamingDemandDrivenPipeline.TIME_STEPS()
        about = reader.GetOutputInformation(0)
        notes.times = tuple(about.Get(key)) if about.Has(key) else ()
        if notes.times:
            notes.time = notes.times[choose_time(notes.times, time, str(path))]
            reader.UpdateTimeStep(notes.time)
        else:
            reader.Update()
        data = reader.GetOutputDataObject(0)
    return checked(data, messages.errors, path)


def checked(data: Any, complaints: list[str], path: Path) -> Any:
    """The data, unless the reader complained."""
    if complaints or data is None:
        reason = complaints[0] if complaints else "no data found"
        raise InputError(f"{path}: cannot be read ({reason}); {_state(path)}; export or copy it again")
    return data


def _state(path: Path) -> str:
    """What can be said of a file VTK does not read: cut off when its end is missing, else a guess that says so."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
            file.seek(max(0, path.stat().st_size - 256))
            tail = file.read()
    except OSError:
        head = tail = b""
    if b"<VTKFile" in head and b"</VTKFile>" not in tail:
        return "the file is cut off (its last line is missing)"
    return "it is damaged or cut off, or holds what the reader does not know"


def _run(reader: Any, path: Path) -> Any:
    return checked(*run_reader(reader, path), path)


def _xml_reader(kind: str) -> Any:
    from vtkmodules import vtkIOXML

    return getattr(vtkIOXML, f"vtkXML{kind}Reader")()


def _time_value(data: list[Any]) -> float | None:
    for one in data:
        arrays = one.GetFieldData() if one is not None else None
        for name in ("TimeValue", "TIME", "Time"):
            array = arrays.GetArray(name) if arrays is not None else None
            if array is not None and array.GetNumberOfTuples() == 1 and array.GetNumberOfComponents() == 1:
                return float(array.GetTuple1(0))
    return None


def xml_kind(path: Path) -> str:
    """``type`` in the head of an XML file of VTK; empty: not one."""
    head = read_head(path, 4096).decode("latin-1")
    _, found, rest = head.partition("<VTKFile")
    if not found:
        return ""
    _, found, rest = rest.partition("type=")
    return rest[1:].partition(rest[0])[0] if found and rest else ""


def read_head(path: Path, count: int) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(count)


def _sources(path: Path) -> list[Path]:
    files = [named(path, piece.get("Source", "")) for piece in tree(path).iter("Piece")]
    if not files:
        raise InputError(f"{path}: names no pieces; export it again")
    return files


def _piece(file: Path, index: Path) -> Mesh:
    if not file.is_file():
        raise InputError(f"{index}: the piece '{file.name}' is missing; copy all files that belong to it")
    check_xml(file)
    kind = xml_kind(file)
    if kind not in ("PolyData", "UnstructuredGrid"):
        raise InputError(f"{index}: the piece '{file.name}' holds {kind or 'no VTK XML'}; export it again")
    return as_mesh(_run(_xml_reader(kind), file), str(file))


@dataclass(frozen=True)
class Entry:
    """One file of a collection."""

    time: float
    name: str
    file: Path


def read_collection(path: Path, read: Callable[..., MeshRead], *, region: Region, time: Time) -> MeshRead:
    """Read one time of a collection: ``.pvd``, or ``.series`` of ParaView.

    Several files of one time are parts by the name, the part number or the file; parts of one file are its own.

    Args:
        path: The index.
        read: Reads one file of it.
        region: Parts.
        time: Which of its times.
    """
    entries = _pvd(path) if path.suffix.lower() == ".pvd" or xml_kind(path) else _series(path)
    if not entries:
        raise InputError(f"{path}: the collection names no files; check the export")
    times = tuple(sorted({entry.time for entry in entries}))
    when = times[choose_time(times, time, str(path))]
    here = [entry for entry in entries if entry.time == when]
    reads = [_member(entry, path, read, region if len(here) == 1 else None) for entry in here]
    if len(here) == 1:
        notes = reads[0].notes
        notes.format, notes.time, notes.times = f"collection of {len(times)} times, {notes.format}", when, times
        return reads[0]
    notes = ReadNotes(f"collection of {len(times)} times, {reads[0].notes.format}", time=when, times=times)
    for member in reads:
        notes.remarks += [remark for remark in member.notes.remarks if remark not in notes.remarks]
    return read_blocks([Block(e.name, r.mesh) for e, r in zip(here, reads, strict=True)], notes, region, str(path))


def _member(entry: Entry, index: Path, read: Callable[..., MeshRead], region: Region) -> MeshRead:
    if not entry.file.is_file():
        raise InputError(f"{index}: the file '{entry.file.name}' is missing; copy all files that belong to it")
    if entry.file.suffix.lower() in (".pvd", ".series"):
        raise InputError(f"{index}: names another collection, '{entry.file.name}'; give that one")
    return read(entry.file, region=region)


def _pvd(path: Path) -> list[Entry]:
    out = []
    for i, item in enumerate(tree(path).iter("DataSet")):
        file = named(path, item.get("file", ""))
        try:
            when = float(item.get("timestep", "0") or 0)
        except ValueError as error:
            raise InputError(f"{path}: a time step is no number ({error}); export it again") from error
        out.append(Entry(when, item.get("name") or item.get("group") or f"part_{item.get('part', i)}", file))
    names: dict[tuple[float, str], int] = {}
    for entry in out:
        names[entry.time, entry.name] = names.get((entry.time, entry.name), 0) + 1
    return [Entry(e.time, e.name if names[e.time, e.name] == 1 else e.file.stem, e.file) for e in out]


def _series(path: Path) -> list[Entry]:
    try:
        files = read_json(path, "write it again")["files"]
        return [Entry(float(file["time"]), "", named(path, str(file["name"]))) for file in files]
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: no series of ParaView ({type(error).__name__} {error}); write it again") from error
