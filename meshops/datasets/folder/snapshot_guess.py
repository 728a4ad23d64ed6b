"""Recognise arrays of all cases beside the one mesh that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import cast

from meshops.datasets.folder import roles
from meshops.datasets.folder.array_files import SUFFIXES, shapes_in
from meshops.datasets.folder.description import Description, FieldEntry, Place, Snapshot
from meshops.datasets.folder.families import listed_in
from meshops.datasets.folder.patterns import pattern_of, stem
from meshops.datasets.folder.snapshots import orientations
from meshops.datasets.folder.suffixes import MESHES
from meshops.datasets.folder.tables import SURE, read_table
from meshops.datasets.folder.tables import TEXT as TABLES
from meshops.datasets.folder.walk import Listing, skeleton
from meshops.errors import InputError, MeshopsError, collecting, listing

MOST_MESHES = 3
MOST_FILES = 400
BINARY = (".npy", ".npz", ".h5", ".hdf5", ".hdf", ".mat")
GEOMETRY = ("points", "coords", "coordinates", "nodes", "pos", "xyz", "xy", "cells", "triangles", "tri", "connectivity",
            "elements", "faces", "mesh", "grid")  # fmt: skip


@dataclass
class _Found:
    """What was recognised."""

    entries: list[Snapshot] = field(default_factory=list)
    fields: list[FieldEntry] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    cases: int = 0


def guess_snapshots(found: Listing) -> Description | None:
    """A study of arrays beside one mesh, without its tables; None where the folder holds none."""
    from meshops.data.readers import open_mesh  # VTK

    meshes = found.with_suffix(MESHES)
    arrays = [path for path in found.with_suffix(SUFFIXES) if path not in _companions(found)]
    if not arrays or not 1 <= len(meshes) <= MOST_MESHES:
        return None
    if not any(path.suffix.lower() in BINARY for path in arrays) and not _wide(found, arrays):
        return None
    for mesh in meshes:
        try:
            with collecting([]):
                read = open_mesh(found.root / mesh)
        except MeshopsError:
            continue
        made = _fitting(found, arrays, read.mesh.n_points, read.mesh.n_cells)
        if made is not None:
            return _study(found, mesh, made)
    return None


def _study(found: Listing, mesh: PurePosixPath, made: _Found) -> Description:
    places = {entry.place for entry in made.fields}
    most: Place = max(places, key=lambda place: sum(entry.place == place for entry in made.fields))
    fields = tuple(entry for entry in made.fields if entry.place == most)
    kept = {entry.name for entry in fields}
    others = [entry.name for entry in made.fields if entry.place != most]
    names = {entry.name for entry in made.fields}
    snapshots = tuple(entry for entry in made.entries if entry.name in kept or entry.name not in names)
    study = Description(
        root=found.root,
        layout="snapshots",
        files=mesh.as_posix(),
        fields=fields,
        snapshots=snapshots,
        guesses=made.reasons,
    ).note("files", f"the mesh that all {made.cases} cases share")
    if others:
        study = study.note("fields", f"at the {most}s; arrays at the other place are not used: {listing(others)}")
    return study


def _companions(found: Listing) -> set[PurePosixPath]:
    """Data files that belong to a mesh (HDF5 beside XDMF)."""
    return {
        path.parent / PurePosixPath(name.split(":")[0]).name
        for path in found.with_suffix((".xdmf", ".xmf"))
        for name in listed_in(found.root / path, r">\s*([^<>\s]+\.h5):")
    }


def _wide(found: Listing, arrays: Sequence[PurePosixPath]) -> bool:
    """Whether a table of text is wide or long enough to hold a field."""
    return any((found.root / path).stat().st_size > 4096 for path in arrays)


def _fitting(found: Listing, arrays: Sequence[PurePosixPath], points: int, cells: int) -> _Found | None:
    shapes = {}
    for path in arrays[:MOST_FILES]:
        try:
            shapes[path] = shapes_in(found.root / path)
        except InputError:
            continue
    counts = _row_counts(found)
    out = _Found()
    for path, keys in shapes.items():
        for key, shape in keys.items():
            _add(out, path, key, shape, points, cells, counts, alone=len(keys) == 1)
    if not out.fields:
        _add_per_case(out, shapes, points, cells, [path for path in found.files])
    if not out.fields:
        return None
    _same_count(out)
    texts = {path: keys for path, keys in shapes.items() if path.suffix.lower() in TABLES}
    before = len(out.entries)
    _add_parameters(out, {path: keys for path, keys in shapes.items() if path not in texts})
    if len(out.entries) == before and not any(_is_table(found, path) for path in found.with_suffix(TABLES)[:20]):
        _add_parameters(out, texts)  # numbers without a header, and nothing else says what was set
    return out


def _is_table(found: Listing, path: PurePosixPath) -> bool:
    """Whether a file of text has a header, so that it counts as a table; without one it is an array of numbers."""
    try:
        return bool(read_table(found.root / path).columns)
    except InputError:
        return False


def _row_counts(found: Listing) -> set[int]:
    """Numbers of rows of the tables, which may be those of the cases."""
    out = set()
    for path in found.with_suffix(SURE)[:20]:
        try:
            table = read_table(found.root / path)
        except InputError:
            continue
        if len(table.columns) < 200:
            out.add(len(table.rows))
    return out


def _add(
    out: _Found, path: PurePosixPath, key: str, shape: tuple[int, ...], points: int, cells: int, counts: set[int], *,
    alone: bool,
) -> None:  # fmt: skip
    name = PurePosixPath(key).name if key else stem(path.name)
    if alone and key.lower() in ("data", "array", "arr_0", "snapshots", "x", "u_all"):
        name = stem(path.name)
    if name.lower() in GEOMETRY or roles.is_geometry(name):
        return
    known = [choice for count in sorted(counts) for choice in orientations(shape, points, cells, count)]
    choices = list(dict.fromkeys(known or orientations(shape, points, cells, None)))
    if not choices:
        return
    axes, place = choices[0]
    cases = shape[axes.index("cases")]
    size = shape[axes.index("channels")] if "channels" in axes else 1
    why = f"shape {shape}: {' x '.join(axes)}, the mesh has {points} points and {cells} cells"
    if known:
        why += f", a table has {cases} rows"
    if len(choices) > 1:
        others = "; or ".join(f"{' x '.join(a)} at the {p}s" for a, p in choices[1:3])
        why += f". AMBIGUOUS, it could also be {others}: check this"
    if any(entry.name == name for entry in out.entries):
        name = f"{stem(path.name)}_{name}"
    role = roles.field_role(name, size)
    out.entries.append(Snapshot(name, path.as_posix(), key, axes))
    out.fields.append(FieldEntry(name, cast("Place", place), size, "", role))
    out.reasons[f"snapshots.{name}"] = why
    out.counts[name] = cases


def _add_per_case(
    out: _Found, shapes: dict[PurePosixPath, dict[str, tuple[int, ...]]], points: int, cells: int,
    files: Sequence[PurePosixPath],
) -> None:  # fmt: skip
    """Files that are named alike and hold one case each: ``[nodes]`` or ``[nodes, channels]``."""
    alike: dict[tuple[object, ...], list[PurePosixPath]] = {}
    for path, keys in shapes.items():
        if len(keys) == 1 and len(next(iter(keys.values()))) in (1, 2):
            alike.setdefault((path.parent, skeleton(path.name), next(iter(keys.items()))), []).append(path)
    for (_, _, item), paths in alike.items():
        key, shape = cast("tuple[str, tuple[int, ...]]", item)
        place = "point" if points in shape[:2] else "cell" if cells in shape[:2] else None
        if len(paths) < 2 or place is None:
            continue
        axis = shape.index(points if place == "point" else cells)
        axes = ("nodes",) if len(shape) == 1 else ("nodes", "channels") if axis == 0 else ("channels", "nodes")
        size = 1 if len(shape) == 1 else shape[1 - axis]
        if size > 9:
            continue
        name = skeleton(stem(paths[0].name)).replace("#", "").strip("_-. ") or "field"
        pattern = pattern_of(paths, [path for path in files if path not in paths])
        out.entries.append(Snapshot(name, pattern, key, axes))
        out.fields.append(FieldEntry(name, cast("Place", place), size, "", roles.field_role(name, size)))
        out.reasons[f"snapshots.{name}"] = f"one file per case, shape {shape}: {' x '.join(axes)}"
        out.counts[name] = len(paths)


def _same_count(out: _Found) -> None:
    """Keep the arrays with the commonest number of cases; others are named."""
    out.cases = Counter(out.counts.values()).most_common(1)[0][0]
    odd = {name for name, count in out.counts.items() if count != out.cases}
    out.entries = [entry for entry in out.entries if entry.name not in odd]
    out.fields = [entry for entry in out.fields if entry.name not in odd]
    if odd:
        out.reasons["snapshots"] = f"not used, another number of cases than {out.cases}: {listing(sorted(odd))}"


def _add_parameters(out: _Found, shapes: dict[PurePosixPath, dict[str, tuple[int, ...]]]) -> None:
    """Arrays with one number, or a few, for each case."""
    used = {(entry.file, entry.key) for entry in out.entries}
    for path, keys in shapes.items():
        for key, shape in keys.items():
            if (path.as_posix(), key) in used or out.cases not in shape or len(shape) > 2:
                continue
            rest = [n for n in shape if n != out.cases] or ([1] if len(shape) == 1 else [out.cases])
            if max(rest) > 64:
                continue
            first = shape[0] == out.cases
            axes = ("cases",) if len(shape) == 1 else ("cases", "columns") if first else ("columns", "cases")
            name = PurePosixPath(key).name if key else stem(path.name)
            out.entries.append(Snapshot(name, path.as_posix(), key, axes))
            out.reasons[f"snapshots.{name}"] = f"shape {shape}: numbers of each case"
