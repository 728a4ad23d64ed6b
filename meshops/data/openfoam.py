"""Reading raw OpenFOAM cases: any time, serial or decomposed, several regions, any set of patches.

Read by this package itself: VTK keeps single precision and joins the patches of processors by their place in the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from meshops.data.cells import Array, Cells, Mesh, make_cells, mesh_of
from meshops.data.foam_fields import FoamField, as_array, read_field
from meshops.data.foam_files import find_file, read_bytes
from meshops.data.foam_mesh import PolyMesh, concatenate, join_points, read_boundary, read_polymesh, renumber
from meshops.data.foam_times import Found, find_case, mesh_folders
from meshops.data.parts import used_points
from meshops.data.reading import MeshRead, ReadNotes, Region, Time, choose_parts, wanted_parts
from meshops.data.text_numbers import DamagedError
from meshops.errors import InputError, listing, warn

INTERNAL = "internal"


@dataclass
class Part:
    """Cells of a part with their arrays ``[c]`` or ``[c, k]``, on the points of its region."""

    cells: Cells
    data: dict[str, Array] = field(default_factory=dict)


@dataclass
class RegionRead:
    """One region: its pieces, its points, and where each point of each piece went."""

    pieces: list[PolyMesh]
    points: Array
    numbers: list[Array]
    fields: dict[str, list[FoamField]]


def is_case(path: Path) -> bool:
    """Tell whether this is a folder with ``system/controlDict``."""
    return path.is_dir() and (path / "system" / "controlDict").is_file()


def read_case(path: str | Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read one time of a case, from wherever it lies: the case itself or its processor folders.

    Parts are ``internal`` (the cells) and the patches; with several regions ``fluid/internal``, ``fluid/inlet``, ....
    Groups are those of the boundary files (``inGroups``), the types of patches (``wall``), and, of several regions,
    the names without the region.

    Args:
        path: Case folder, or a ``.foam`` / ``.OpenFOAM`` file in it.
        region: Parts; None: the cells of all regions.
        time: ``"last"`` (the newest with fields) or a time there is.

    Raises:
        InputError: Not found, no mesh in it, damaged, collated, or no such part or time (the message lists them).

    Warns:
        DataWarning: A field of the case could not be read.
    """
    path = Path(path)
    label = str(path)
    folder = path if path.is_dir() else path.parent
    if not (folder / "system" / "controlDict").is_file():
        raise InputError(f"{path}: no OpenFOAM case (system/controlDict is missing); give the case folder")
    notes = ReadNotes("OpenFOAM")
    found = find_case(folder, time, notes, label)
    patches = {name: _patches(found, name, label) for name in found.regions}
    wanted = wanted_parts(region)
    _list_parts(found, patches, notes)
    internal = tuple(name for name in notes.parts if name.rpartition("/")[2] == INTERNAL)
    notes.chosen = choose_parts(notes.parts, region, groups=notes.groups, label=label) if wanted else internal
    regions = dict.fromkeys(name.rpartition("/")[0] for name in notes.chosen)
    reads = {name: _read_region(found, name, notes, label) for name in regions}
    _say_rest(found, patches, notes)
    parts = {
        name: _part(reads[name.rpartition("/")[0]], name.rpartition("/")[2], notes, label) for name in notes.chosen
    }
    out = _mesh(parts, reads, notes, label)
    if any(name in internal for name in notes.chosen):
        out.walls, out.body = _walls(reads, patches, notes.parts), _faces_of(parts, reads)
    return out


def _patches(found: Found, region: str, label: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Patch -> type and groups, without those between processors and without empty ones."""
    out: dict[str, tuple[str, tuple[str, ...]]] = {}
    for root in found.place.roots:
        folders = mesh_folders(root, region, found.time)
        if folders is None:
            raise InputError(f"{label}: {root.name} has no mesh of the region '{region}'; decompose the case again")
        try:
            there = read_boundary(folders[0] / "boundary")
        except FileNotFoundError:
            raise InputError(
                f"{label}: the mesh is damaged (boundary is missing); check the case with checkMesh"
            ) from None
        except (DamagedError, ValueError) as error:
            raise InputError(
                f"{label}: the mesh is damaged (boundary {error}); check the case with checkMesh"
            ) from None
        for patch in there:
            if patch.count and not patch.kind.startswith("processor"):
                out.setdefault(patch.name, (patch.kind, patch.groups))
    return out


def _list_parts(
    found: Found, patches: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]], notes: ReadNotes
) -> None:
    """All parts and groups of the case."""
    parts: list[str] = []
    groups: dict[str, list[str]] = {}
    for region in found.regions:
        prefix = f"{region}/" if region else ""
        parts.append(prefix + INTERNAL)
        if region:
            groups.setdefault(INTERNAL, []).append(prefix + INTERNAL)
            groups.setdefault(region, []).append(prefix + INTERNAL)
        for name, (kind, of) in patches[region].items():
            parts.append(prefix + name)
            for group in dict.fromkeys((*of, kind, *((name,) if region else ()))):
                groups.setdefault(group, []).append(prefix + name)
    notes.parts = tuple(parts)
    notes.groups = {name: tuple(of) for name, of in groups.items() if name not in parts}


def _read_region(found: Found, region: str, notes: ReadNotes, label: str) -> RegionRead:
    """Mesh and fields of a region, all pieces."""
    pieces = []
    for root in found.place.roots:
        folders = mesh_folders(root, region, found.time)
        assert folders is not None
        try:
            pieces.append(read_polymesh(*folders))
        except (DamagedError, OSError) as error:
            raise InputError(
                f"{label}: the mesh is damaged ({root.name + '/' if len(found.place.roots) > 1 else ''}{error}); "
                "check the case with checkMesh"
            ) from None
        when = [folder.relative_to(root).parts[0] for folder in folders]
        if when != ["constant", "constant"]:
            remark = f"faces of the mesh from {when[0]}, points from {when[1]} (the mesh was changed or moved)"
            notes.remarks += [remark] if remark not in notes.remarks else []
    points, numbers = join_points(pieces)
    fields: dict[str, list[FoamField]] = {}
    failed = []
    for name, kind in found.fields(region).items():
        if kind.place == "surface":
            continue
        rows = [piece.num_cells if kind.place == "vol" else len(piece.points) for piece in pieces]
        try:
            fields[name] = [
                read_field(root / str(found.folder) / region / name, kind, count)
                for root, count in zip(found.place.roots, rows, strict=True)
            ]
        except (DamagedError, OSError, ValueError) as error:
            failed.append(f"{name} {error}")
    if failed:
        warn(f"{label}: some files of the case could not be read, arrays may be missing ({'; '.join(failed)[:300]})")
    return RegionRead(pieces, points, numbers, fields)


def _part(read: RegionRead, name: str, notes: ReadNotes, label: str) -> Part:
    """Cells and arrays of the volume or of a patch."""
    if name == INTERNAL:
        lists = [piece.volume_cells() for piece in read.pieces]
        ids = [piece.cell_ids for piece in read.pieces]
        data = {n: [f.inner for f in of] for n, of in read.fields.items() if of[0].kind.place == "vol"}
    else:
        lists, ids, data = [], [], {}
        for piece in read.pieces:
            there = [patch for patch in piece.patches if patch.name == name]
            own = [piece.patch_cells(patch) for patch in there]
            lists.append(concatenate(own) if own else make_cells(np.zeros(0), np.zeros(0), np.zeros(0)))
            span = [np.arange(p.start, p.start + p.count) for p in there] or [np.zeros(0, dtype=np.int64)]
            ids.append(None if piece.face_ids is None else piece.face_ids[np.concatenate(span)])
        data = _patch_data(read, name, notes, label)
    cells = concatenate([renumber(c, to) for c, to in zip(lists, read.numbers, strict=True)])
    values = {n: as_array(np.concatenate(rows)) for n, rows in data.items()}
    known = [i for i in ids if i is not None]
    if len(known) == len(ids) and sum(map(len, known)) == cells.size.size:
        order = np.argsort(np.concatenate(known), kind="stable")
        cells, values = cells.take(order), {n: rows[order] for n, rows in values.items()}
    return Part(cells, values)


def _patch_data(read: RegionRead, name: str, notes: ReadNotes, label: str) -> dict[str, list[Array]]:
    """Field -> its rows on a patch, for each piece."""
    out: dict[str, list[Array]] = {}
    for field_name, of in read.fields.items():
        if of[0].kind.place != "vol" or not of[0].kind.patches:
            continue
        rows, taken = [], set()
        try:
            for piece, one in zip(read.pieces, of, strict=True):
                for patch in piece.patches:
                    if patch.name == name:
                        values, kind = one.on_patch(patch, piece)
                        rows.append(values)
                        taken |= {kind} if kind and patch.count else set()
        except DamagedError as error:
            warn(f"{label}: some files of the case could not be read, arrays may be missing ({field_name} {error})")
            continue
        if taken:
            notes.remarks.append(
                f"'{field_name}' has no values on the patch '{name}' (type {', '.join(sorted(taken))}); "
                "those of the cells beside it were taken"
            )
        out[field_name] = rows
    return out


def _mesh(parts: Mapping[str, Part], reads: Mapping[str, RegionRead], notes: ReadNotes, label: str) -> MeshRead:
    """Chosen parts as one mesh, with the arrays that all of them have."""
    shift, first = {}, 0
    for name, read in reads.items():
        shift[name] = first
        first += len(read.points)
    points = np.concatenate([read.points for read in reads.values()])
    lists = [
        renumber(part.cells, np.arange(len(points)) + shift[name.rpartition("/")[0]]) for name, part in parts.items()
    ]
    cells = concatenate(lists)
    if cells.size.size == 0:
        raise InputError(f"{label}: the part {listing(parts)} holds no cells; check the case with checkMesh")
    kept, used = _compact(cells, len(points))
    whole = int(cells.dimension.max()) == 3
    mesh = mesh_of(points[used], kept, as_grid=whole)
    common = set.intersection(*(set(part.data) for part in parts.values()))
    rest = sorted({name for part in parts.values() for name in part.data} - common)
    if rest:
        notes.remarks.append(f"{listing(rest)} left out: not all of the chosen parts have them")
    for name in next(iter(parts.values())).data:
        if name in common:
            mesh.cell_data[name] = np.concatenate([part.data[name] for part in parts.values()])
    for name, values in _point_data(reads).items():
        mesh.point_data[name] = as_array(values[used])
    zero = [n for data in (mesh.cell_data, mesh.point_data) for n in data if not np.asarray(data[n]).any()]
    if zero:
        notes.remarks.append(f"{listing(zero)} {'is' if len(zero) == 1 else 'are'} zero everywhere (an initial state?)")
    part_of = np.repeat(np.arange(len(parts)), [part.cells.size.size for part in parts.values()])
    return MeshRead(mesh, notes, part_of)


def _compact(cells: Cells, num_points: int) -> tuple[Cells, Array]:
    """Cells on the points they use, and those points."""
    used = used_points(cells, num_points)
    to = np.zeros(num_points, dtype=np.int64)
    to[used] = np.arange(used.size)
    return renumber(cells, to), used


def _point_data(reads: Mapping[str, RegionRead]) -> dict[str, Array]:
    """Point fields that all regions have: ``[m, k]``."""
    names = [n for n, of in next(iter(reads.values())).fields.items() if of[0].kind.place == "point"]
    out = {}
    for name in names:
        if not all(name in read.fields for read in reads.values()):
            continue
        tables = []
        for read in reads.values():
            table = np.zeros((len(read.points), read.fields[name][0].kind.width))
            for one, to in zip(read.fields[name], read.numbers, strict=True):
                table[to] = one.inner
            tables.append(table)
        out[name] = np.concatenate(tables)
    return out


def _walls(
    reads: Mapping[str, RegionRead],
    patches: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]],
    names: tuple[str, ...],
) -> Mesh | None:
    """Faces of all patches of type wall; the cell array ``part`` is the place of the patch among ``names``."""
    wanted = {
        f"{region}/{name}" if region else name: region
        for region in reads
        for name, (kind, _) in patches[region].items()
        if kind in ("wall", "mappedWall")
    }
    notes = ReadNotes()
    parts = {}
    for name, region in wanted.items():
        bare = RegionRead(reads[region].pieces, reads[region].points, reads[region].numbers, {})
        parts[name] = _part(bare, name.rpartition("/")[2], notes, "")
    out = _faces_of(parts, reads)
    if out is not None:
        out.cell_data["part"] = np.concatenate([np.full(p.cells.size.size, names.index(n)) for n, p in parts.items()])
    return out


def _faces_of(parts: Mapping[str, Part], reads: Mapping[str, RegionRead]) -> Mesh | None:
    """The parts that are patches, as a surface without arrays."""
    flat = {name: part for name, part in parts.items() if name.rpartition("/")[2] != INTERNAL}
    if not any(part.cells.size.size for part in flat.values()):
        return None
    bare = {name: Part(part.cells) for name, part in flat.items()}
    points = {name: RegionRead([], read.points, [], {}) for name, read in reads.items()}
    return _mesh(bare, points, ReadNotes(), "").mesh


def _say_rest(found: Found, patches: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]], notes: ReadNotes) -> None:
    """Format, types of patches, and what was left out."""
    root = found.place.roots[0]
    folders = mesh_folders(root, found.regions[0], found.time)
    owner = None if folders is None else find_file(folders[0] / "owner")
    binary = owner is not None and b"binary" in read_bytes(owner, 2000)
    packed = ", compressed" if owner is not None and owner.suffix == ".gz" else ""
    notes.format = f"OpenFOAM, {'binary' if binary else 'text'}{packed}"
    notes.precision = "float64" if binary else "text"
    for region, of in patches.items():
        kinds: dict[str, list[str]] = {}
        for name, (kind, _) in of.items():
            kinds.setdefault(kind, []).append(name)
        of_region = f" of '{region}'" if region else ""
        notes.remarks.append(
            f"patches{of_region}: " + "; ".join(f"{kind} {listing(names, 8)}" for kind, names in kinds.items())
        )
    left = sorted(
        {name for region in found.regions for name, kind in found.fields(region).items() if kind.place == "surface"}
    )
    if left:
        notes.remarks.append(f"{listing(left)} left out: values on faces")
    if found.folder is not None and any((r / found.folder / "lagrangian").is_dir() for r in found.place.roots):
        notes.remarks.append("particles (lagrangian) were left out")
