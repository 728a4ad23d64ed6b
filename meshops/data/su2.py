"""Reading SU2 meshes: any line ends, comments, order of keywords, several zones, markers.

Layout: SU2 documentation, "Mesh File"; the trailing numbers of points and elements are ignored, as SU2 does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from meshops.data.cells import Array, Cells, make_cells, running_sum
from meshops.data.parts import select_cells
from meshops.data.reading import MeshRead, ReadNotes, Region
from meshops.data.text_numbers import DamagedError, numbers_of, word_starts
from meshops.errors import InputError, listing

INTERNAL = "internal"
NUM_NODES = {1: 1, 3: 2, 5: 3, 9: 4, 10: 4, 12: 8, 13: 6, 14: 5}
KIND_OF_ORDER = {3: "line", 5: "triangle", 9: "quad", 10: "tetrahedron", 12: "hexahedron", 13: "prism", 14: "pyramid"}
QUADRATIC = {21: "line", 22: "triangle", 23: "quad", 24: "tetrahedron", 25: "hexahedron", 26: "prism", 27: "pyramid"}
KEYWORD = re.compile(r"^[ \t]*([A-Za-z_]\w*)[ \t]*=[ \t]*([^\n]*)$", re.MULTILINE)
MESH_WORDS = ("NDIME", "NELEM", "NPOIN", "NMARK", "MARKER_TAG", "MARKER_ELEMS", "NZONE", "IZONE", "SEND_RECV")


@dataclass
class Zone:
    """One zone: dimension, points, elements, and the elements of each marker."""

    dimension: int = 0
    points: Array | None = None
    cells: Cells | None = None
    markers: dict[str, Cells] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def read_su2(path: str | Path, *, region: Region = None) -> MeshRead:
    """Read an SU2 mesh.

    Parts are ``internal`` and the markers; with several zones ``zone_1``, ``zone_1/airfoil``, ``zone_2``, ..., and a
    marker that several zones have is a group of that name.

    Args:
        path: File.
        region: Zones and markers; None: the cells of all zones.

    Raises:
        InputError: No SU2 mesh, cut off, damaged, elements of order 2 and more, no such region.
    """
    path = Path(path)
    label = str(path)
    text = path.read_bytes().decode("latin-1").removeprefix("\xef\xbb\xbf")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"%[^\n]*", "", text) if "%" in text else text
    notes = ReadNotes("SU2", precision="text")
    zones = _zones(text, label, notes)
    points, cells, members = _together(zones, notes)
    notes.remarks += [remark for zone in zones for remark in zone.remarks]
    ids = {"su2:point": np.arange(len(points))} if region else {}
    return select_cells(points, cells, members, notes, region, label=label, point_data=ids)


def _zones(text: str, label: str, notes: ReadNotes) -> list[Zone]:
    """All zones of a text without comments."""
    words = list(KEYWORD.finditer(text))
    if not any(word[1].upper() in ("NDIME", "NELEM", "NPOIN") for word in words):
        raise InputError(f"{label}: is no SU2 mesh (no NDIME=, NELEM= or NPOIN= in it) or cut off; check the file")
    zones = [Zone()]
    numbered = [_whole(word[2], word[1], label) for word in words if word[1].upper() == "IZONE"]
    wanted = [_whole(word[2], word[1], label) for word in words if word[1].upper() == "NZONE"]
    tag = None
    other: list[str] = []
    for i, word in enumerate(words):
        name, value = word[1].upper(), word[2].strip()
        body = text[word.end() : words[i + 1].start() if i + 1 < len(words) else len(text)]
        zone = zones[-1]
        if name == "IZONE":
            if zone.dimension or zone.points is not None or zone.cells is not None:
                zones.append(Zone())
        elif name == "MARKER_TAG":
            tag = value or "unnamed"
        elif name == "MARKER_ELEMS":
            _add_marker(zone, tag or "unnamed", _whole(value, name, label), body, label)
        elif name in ("NDIME", "NPOIN", "NELEM"):
            _add(zone, name, value, body, label)
        elif name not in MESH_WORDS:
            other.append(word[1])
    if other:
        notes.remarks.append(f"keywords {listing(dict.fromkeys(other), 8)} were not read")
    if wanted and wanted[0] != len(zones) and (numbered or wanted[0] > 1):
        raise InputError(f"{label}: says NZONE= {wanted[0]} but holds {len(zones)}; the file is cut off or damaged")
    for zone in zones:
        _finish(zone, label)
    return zones


def _add(zone: Zone, name: str, value: str, body: str, label: str) -> None:
    """NDIME, NPOIN and NELEM of a zone."""
    count = _whole(value, name, label)
    if name == "NDIME":
        if count not in (2, 3):
            raise InputError(f"{label}: NDIME= {count}, allowed are 2 and 3; the file is damaged")
        zone.dimension = count
    elif name == "NELEM":
        zone.cells = _elements(body, count, label)
    else:
        zone.points = _points(body, count, zone, label)
        numbers = value.split()
        if len(numbers) > 1 and numbers[1].isdigit() and int(numbers[1]) < count:
            zone.remarks.append(
                f"{count - int(numbers[1]):,} of the {count:,} points are halo points of a periodic mesh"
            )


def _finish(zone: Zone, label: str) -> None:
    """Say what a zone lacks; cut points to its dimension; check that elements name points that exist."""
    missing = [
        name
        for name, value in (("NDIME", zone.dimension or None), ("NPOIN", zone.points), ("NELEM", zone.cells))
        if value is None
    ]
    if missing or zone.points is None or zone.cells is None:
        raise InputError(f"{label}: there is no {' and no '.join(missing)}; the file is cut off or no SU2 mesh")
    if not len(zone.points) or not zone.cells.size.size:
        raise InputError(f"{label}: the mesh is empty; check the export")
    if zone.points.shape[1] < zone.dimension:
        raise InputError(
            f"{label}: the points have {zone.points.shape[1]} coordinates with NDIME= {zone.dimension}; "
            "the file is damaged, export it again"
        )
    zone.points = np.pad(zone.points[:, : zone.dimension], ((0, 0), (0, 3 - zone.dimension)))
    for cells in (zone.cells, *zone.markers.values()):
        if cells.nodes.size and not (0 <= cells.nodes.min() and cells.nodes.max() < len(zone.points)):
            wrong = int(cells.nodes.max() if cells.nodes.min() >= 0 else cells.nodes.min())
            raise InputError(
                f"{label}: a cell names point {wrong} of {len(zone.points)}; the file is damaged, export it again"
            )


def _add_marker(zone: Zone, tag: str, count: int, body: str, label: str) -> None:
    """A marker may stand in the file several times."""
    if tag.upper() == "SEND_RECEIVE":
        zone.remarks.append(f"marker '{tag}' ({count} points) was left out: it joins partitions or periods")
        return
    cells = _elements(body, count, f"{label}: marker '{tag}'")
    if tag in zone.markers:
        zone.markers[tag] = _joined([zone.markers[tag], cells])
    else:
        zone.markers[tag] = cells


def _together(zones: list[Zone], notes: ReadNotes) -> tuple[Array, Cells, dict[str, Array]]:
    """Points, cells and parts of all zones."""
    lists: list[Cells] = []
    members: dict[str, Array] = {}
    groups: dict[str, list[str]] = {}
    points, first, shift = [], 0, 0
    for number, zone in enumerate(zones, start=1):
        assert zone.points is not None and zone.cells is not None
        own = f"zone_{number}" if len(zones) > 1 else INTERNAL
        parts = {own: zone.cells}
        parts |= {f"{own}/{tag}" if len(zones) > 1 else tag: cells for tag, cells in zone.markers.items()}
        for name, cells in parts.items():
            members[name] = first + np.arange(cells.size.size)
            lists.append(_moved(cells, shift))
            first += cells.size.size
            if len(zones) > 1:
                groups.setdefault(name.partition("/")[2] or INTERNAL, []).append(name)
        points.append(zone.points)
        shift += len(zone.points)
    if len(zones) > 1:
        notes.remarks.append(f"{len(zones)} zones; where they meet, each has its own points")
    notes.groups = {name: tuple(parts) for name, parts in groups.items()}
    return np.concatenate(points), _joined(lists), members


def _moved(cells: Cells, shift: int) -> Cells:
    return make_cells(cells.size, cells.nodes + shift, cells.kind)


def _joined(lists: list[Cells]) -> Cells:
    parts = (np.concatenate([getattr(c, name) for c in lists]) for name in ("size", "nodes", "kind"))
    return make_cells(*parts)


def _whole(text: str, name: str, label: str) -> int:
    found = re.match(r"\s*(\d+)(?:\s|$)", text)
    if found is None:
        raise InputError(f"{label}: {name}= must be followed by a number, got {text[:40]!r}; the file is damaged")
    return int(found[1])


def _table(body: str, count: int, label: str, what: str) -> tuple[Array, Array]:
    """Numbers of the first ``count`` lines that are not blank, and how many each has."""
    try:
        # 1.0D-3 as Fortran writes it: no other letter can stand among numbers.
        flat = numbers_of(body.encode("latin-1").replace(b"D", b"e").replace(b"d", b"e"))
    except DamagedError as error:
        raise InputError(f"{label}: the list of {what} {error}; the file is damaged, export it again") from None
    raw = np.frombuffer(body.encode("latin-1"), dtype=np.uint8)
    first = word_starts(raw)
    width = np.bincount(np.searchsorted(np.flatnonzero(raw == 10), first))
    width = width[width > 0][:count]
    if width.size < count:
        raise InputError(
            f"{label}: {count:,} {what} are announced and {width.size:,} follow; the file is cut off or damaged"
        )
    return flat, width.astype(np.int64)


def _points(body: str, count: int, zone: Zone, label: str) -> Array:
    """``[count, 2 or more]``: as many columns as every line has."""
    if count == 0:
        return np.zeros((0, 3))
    flat, width = _table(body, count, label, "points")
    columns = int(width.min())
    if columns < 2:
        raise InputError(f"{label}: point {int(width.argmin())} has {columns} numbers; the file is damaged")
    return flat[running_sum(width)[:-1][:, None] + np.arange(min(columns, 3))]


def _elements(body: str, count: int, label: str) -> Cells:
    if count == 0:
        return make_cells(np.zeros(0), np.zeros(0), np.zeros(0))
    flat, width = _table(body, count, label, "elements")
    start = running_sum(width)[:-1]
    kind = flat[start].astype(np.int64)
    for number in np.unique(kind).tolist():
        if number not in NUM_NODES:
            raise InputError(f"{label}: {_unknown(number)}")
    size = np.array([NUM_NODES.get(i, 0) for i in range(15)])[kind]
    short = width <= size
    if short.any():
        first = int(short.argmax())
        raise InputError(
            f"{label}: element {first} of type {kind[first]} has {width[first] - 1} numbers and {size[first]} nodes; "
            "the file is damaged or cut off, export it again"
        )
    entry = np.arange(int(size.sum())) - np.repeat(running_sum(size)[:-1], size)
    nodes = flat[np.repeat(start, size) + 1 + entry]
    return make_cells(size, nodes, kind)


def _unknown(number: int) -> str:
    """Sentence about an element type that is not supported."""
    order, kind = number // 100 + 1, number % 100
    if number in QUADRATIC or (order > 1 and kind in KIND_OF_ORDER):
        order, name = (2, QUADRATIC[number]) if number in QUADRATIC else (order, KIND_OF_ORDER[kind])
        return f"order {order} elements are not supported ({name}, SU2 type {number}); export the mesh with order 1"
    return f"element type {number} is not known; allowed are {listing(NUM_NODES)}; the file is damaged or no SU2 mesh"
