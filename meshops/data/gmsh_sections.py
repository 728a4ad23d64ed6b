"""Sections of gmsh files: MSH 1, 2, 4.0 and 4.1, text and binary, as arrays.

Layout: gmsh reference manual, section "File formats"; 4.0 as in the manual of gmsh 4.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from meshops.data.cells import Array
from meshops.data.text_numbers import DamagedError, numbers_of
from meshops.errors import InputError

# gmsh type -> (VTK type, number of nodes, place in the gmsh list of each VTK node; None: the same).
TYPES: dict[int, tuple[int, int, tuple[int, ...] | None]] = {
    15: (1, 1, None), 1: (3, 2, None), 2: (5, 3, None), 3: (9, 4, None), 4: (10, 4, None), 5: (12, 8, None),
    6: (13, 6, None), 7: (14, 5, None), 8: (21, 3, None), 9: (22, 6, None), 10: (28, 9, None), 16: (23, 8, None),
    11: (24, 10, (0, 1, 2, 3, 4, 5, 6, 7, 9, 8)),
    17: (25, 20, (*range(8), 8, 11, 13, 9, 16, 18, 19, 17, 10, 12, 14, 15)),
    12: (29, 27, (*range(8), 8, 11, 13, 9, 16, 18, 19, 17, 10, 12, 14, 15, 22, 23, 21, 24, 20, 25, 26)),
    18: (26, 15, (*range(6), 6, 9, 7, 12, 14, 13, 8, 10, 11)),
    13: (32, 18, (*range(6), 6, 9, 7, 12, 14, 13, 8, 10, 11, 15, 17, 16)),
    19: (27, 13, (*range(5), 5, 8, 10, 6, 7, 9, 11, 12)),
    14: (27, 14, (*range(5), 5, 8, 10, 6, 7, 9, 11, 12)),
}  # fmt: skip
HIGH_ORDER = {
    20: (3, "triangle"), 21: (3, "triangle"), 22: (4, "triangle"), 23: (4, "triangle"), 24: (5, "triangle"),
    25: (5, "triangle"), 26: (3, "line"), 27: (4, "line"), 28: (5, "line"), 29: (3, "tetrahedron"),
    30: (4, "tetrahedron"), 31: (5, "tetrahedron"), 36: (3, "quad"), 37: (4, "quad"), 38: (5, "quad"),
    39: (3, "quad"), 40: (4, "quad"), 41: (5, "quad"), 42: (6, "triangle"), 62: (6, "line"), 63: (7, "line"),
    71: (6, "tetrahedron"), 90: (3, "prism"), 91: (4, "prism"), 92: (3, "hexahedron"), 93: (4, "hexahedron"),
    94: (5, "hexahedron"), 95: (6, "hexahedron"), 106: (5, "prism"), 118: (3, "pyramid"), 119: (4, "pyramid"),
}  # fmt: skip
KNOWN = ("PhysicalNames", "Entities", "PartitionedEntities", "Nodes", "NOD", "Elements", "ELM")
DATA = ("NodeData", "ElementData", "ElementNodeData")
SILENT = ("MeshFormat", "Comments")


@dataclass(frozen=True)
class Header:
    """``$MeshFormat``: version, text or binary, size of a size_t, byte order (``<`` or ``>``)."""

    version: float
    binary: bool
    size: int
    order: str

    @property
    def name(self) -> str:
        """``gmsh 4.1, text``."""
        return f"gmsh {self.version:g}, {'binary' if self.binary else 'text'}"


@dataclass
class Block:
    """Elements of one type: numbers ``[k]``, nodes by number ``[k, n]``, entity, group (0: none), partition."""

    kind: int
    numbers: Array
    nodes: Array
    entity: Array
    physical: Array
    partition: Array
    place: Array


@dataclass
class View:
    """One ``$NodeData``, ``$ElementData`` or ``$ElementNodeData``: rows of one array at one time."""

    section: str
    name: str
    time: float
    step: int
    rows: Array
    values: Array
    corners: Array | None = None


@dataclass
class Sections:
    """What a file holds.

    Attributes:
        header: Version and form.
        names: (dimension, tag) -> name of a physical group.
        groups: (dimension, entity) -> its physical groups.
        partitions: (dimension, entity) -> its partition.
        node_numbers, points: ``[m]``, ``[m, 3]`` float64.
        blocks: Elements.
        views: Data.
        skipped: Names of sections that were not read.
    """

    header: Header
    names: dict[tuple[int, int], str] = field(default_factory=dict)
    groups: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    partitions: dict[tuple[int, int], int] = field(default_factory=dict)
    node_numbers: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    points: Array = field(default_factory=lambda: np.zeros((0, 3)))
    blocks: list[Block] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class Cursor:
    """Reads numbers one after the other, from text or from bytes."""

    def __init__(self, body: bytes, header: Header) -> None:
        self.header, self.at = header, 0
        self.flat: Array | bytes = body if header.binary else numbers_of(body)

    def _take(self, count: int, kind: str) -> Array:
        if count < 0:
            raise DamagedError(f"holds the count {count}")
        if isinstance(self.flat, bytes):
            dtype = np.dtype(self.header.order + kind)
            end = self.at + count * dtype.itemsize
            if end > len(self.flat):
                raise DamagedError("ends too early")
            out: Array = np.frombuffer(self.flat, dtype, count, self.at)
        else:
            end = self.at + count
            if end > self.flat.size:
                raise DamagedError("ends too early")
            out = self.flat[self.at : end]
        self.at = end
        return out

    def ints(self, count: int) -> Array:
        """``[count]`` int64 from ints of 4 bytes."""
        out: Array = self._take(count, "i4").astype(np.int64)
        return out

    def sizes(self, count: int) -> Array:
        """``[count]`` int64 from size_t."""
        out: Array = self._take(count, f"u{self.header.size}").astype(np.int64)
        return out

    def doubles(self, count: int) -> Array:
        """``[count]`` float64."""
        out: Array = self._take(count, "f8").astype(np.float64)
        return out

    def rows(self, count: int, parts: tuple[tuple[str, int], ...]) -> list[Array]:
        """Columns of ``count`` equal rows, each ``[count, k]``: ``(("i", 1), ("f", 3))``."""
        if isinstance(self.flat, bytes):
            code = {"i": "i4", "s": f"u{self.header.size}", "f": "f8"}
            dtype = np.dtype([(f"c{i}", self.header.order + code[c], (k,)) for i, (c, k) in enumerate(parts)])
            end = self.at + count * dtype.itemsize
            if count < 0 or end > len(self.flat):
                raise DamagedError("ends too early")
            table = np.frombuffer(self.flat, dtype, count, self.at)
            self.at = end
            return [table[f"c{i}"].astype("f8" if c == "f" else "i8") for i, (c, _) in enumerate(parts)]
        width = sum(k for _, k in parts)
        flat = self._take(count * width, "f8").reshape(count, width)
        edges = np.cumsum([0, *(k for _, k in parts)])
        return [
            flat[:, a:b].astype("f8" if c == "f" else "i8")
            for (c, _), a, b in zip(parts, edges[:-1], edges[1:], strict=True)
        ]


def read_sections(raw: bytes, label: str) -> Sections:
    """Read all sections of a file.

    Raises:
        InputError: Cut off, damaged, or of a version that is not known.
    """
    header, start = _header(raw, label)
    out = Sections(header)
    for name, body in _split(raw, start, label):
        try:
            _read_section(out, name, body)
        except InputError as error:
            raise InputError(f"{label}: {error}") from None
        except DamagedError as error:
            raise InputError(f"{label}: the section ${name} {error}; the file is damaged, export it again") from None
        except (IndexError, ValueError, OverflowError, KeyError) as error:
            raise InputError(
                f"{label}: the section ${name} is not as {header.name} says it must be "
                f"({' '.join(str(error).split())[:100]}); the file is damaged, export it again"
            ) from None
    return out


def _header(raw: bytes, label: str) -> tuple[Header, int]:
    found = re.search(rb"\$MeshFormat[^\n]*\n\s*([\d.]+)\s+(\d+)\s+(\d+)[^\n]*\n", raw)
    if found is None:
        if re.match(rb"\s*\$NOD\b", raw):
            return Header(1.0, False, 8, "<"), 0
        raise InputError(f"{label}: has no readable $MeshFormat; the file is damaged or cut off, export it again")
    version, binary, size = float(found[1]), found[2] == b"1", int(found[3])
    if not (2 <= version < 3 or 4 <= version < 4.2):
        raise InputError(f"{label}: gmsh version {version:g} cannot be read; save it as 4.1 (gmsh -format msh41)")
    order = "<"
    if binary:
        one = raw[found.end() : found.end() + 4]
        if one not in (b"\1\0\0\0", b"\0\0\0\1"):
            raise InputError(f"{label}: the mark of the byte order is damaged; export the file again")
        order = "<" if one == b"\1\0\0\0" else ">"
    if size not in (4, 8):
        raise InputError(f"{label}: $MeshFormat says that a number takes {size} bytes, allowed are 4 and 8")
    end = re.compile(rb"\$EndMeshFormat[^\n]*(?:\n|$)").search(raw, found.end())
    if end is None:
        raise InputError(f"{label}: the file is cut off ($MeshFormat has no end); export or copy it again")
    return Header(version, binary, size, order), end.end()


def _split(raw: bytes, start: int, label: str) -> list[tuple[str, bytes]]:
    """Name and content of each section; text between sections is a comment."""
    out = []
    begin = re.compile(rb"^[ \t]*\$(\w+)[ \t\r]*\n", re.MULTILINE)
    at = start
    while (found := begin.search(raw, at)) is not None:
        name = found[1]
        end = raw.find(b"$END" + name if name in (b"NOD", b"ELM") else b"$End" + name, found.end())
        if end < 0:
            raise InputError(
                f"{label}: the file is cut off: the section ${name.decode()} has no end; export or copy it again"
            )
        out.append((name.decode("latin-1"), raw[found.end() : end]))
        stop = raw.find(b"\n", end)
        at = len(raw) if stop < 0 else stop
    return out


def _read_section(out: Sections, name: str, body: bytes) -> None:
    four = out.header.version >= 4
    if name in SILENT:
        return
    if name == "PhysicalNames":
        out.names |= _physical_names(body)
    elif name == "Entities" and four:
        _entities(out, Cursor(body, out.header))
    elif name == "PartitionedEntities" and four:
        try:
            _partitioned(out, Cursor(body, out.header))
        except (DamagedError, IndexError):  # cells are sound without: they are in no group then
            out.skipped.append(name)
    elif name in ("Nodes", "NOD"):
        numbers, points = _nodes_4(out.header, body) if four else _nodes_2(out.header, body)
        out.node_numbers, out.points = np.append(out.node_numbers, numbers), np.concatenate([out.points, points])
    elif name in ("Elements", "ELM"):
        out.blocks += _elements_4(out.header, body) if four else _elements_2(out.header, body, old=name == "ELM")
    elif name in DATA:
        out.views.append(_view(out.header, name, body))
    else:
        out.skipped.append(name)


def _physical_names(body: bytes) -> dict[tuple[int, int], str]:
    text = body.decode("utf-8", "replace")
    rows = re.findall(r'^\s*(\d+)\s+(-?\d+)\s+"(.*?)"\s*$', text, re.MULTILINE)
    wanted = int(text.split()[0])
    if len(rows) != wanted:
        raise DamagedError(f"names {len(rows)} groups, its count says {wanted}")
    return {(int(dim), int(tag)): name for dim, tag, name in rows}


def _entities(out: Sections, cursor: Cursor) -> None:
    counts = cursor.sizes(4).tolist()
    for dim, count in enumerate(counts):
        for _ in range(count):
            tag = int(cursor.ints(1)[0])
            cursor.doubles(3 if dim == 0 and out.header.version > 4.05 else 6)
            out.groups[dim, tag] = [abs(int(t)) for t in cursor.ints(int(cursor.sizes(1)[0]))]
            if dim:
                cursor.ints(int(cursor.sizes(1)[0]))


def _partitioned(out: Sections, cursor: Cursor) -> None:
    new = out.header.version > 4.05
    cursor.sizes(1)
    cursor.ints(2 * int(cursor.sizes(1)[0]))
    counts = cursor.sizes(4).tolist()
    for dim, count in enumerate(counts):
        for _ in range(count):
            tag, parent_dim, parent = cursor.ints(3).tolist()
            partitions = cursor.ints(int(cursor.sizes(1)[0] if new else cursor.ints(1)[0]))
            cursor.doubles(3 if dim == 0 and new else 6)
            own = [abs(int(t)) for t in cursor.ints(int(cursor.sizes(1)[0]))]
            out.groups[dim, tag] = own or (out.groups.get((dim, parent), []) if parent_dim == dim else [])
            out.partitions[dim, tag] = int(partitions[0]) if partitions.size else 0
            if dim:
                cursor.ints(int(cursor.sizes(1)[0]))


def _counted(header: Header, body: bytes) -> tuple[int, Cursor]:
    """The count of a section of version 2, which is text always, and what follows."""
    line, _, rest = body.lstrip().partition(b"\n")
    return int(line.split()[0]), Cursor(rest, header)


def _nodes_2(header: Header, body: bytes) -> tuple[Array, Array]:
    count, cursor = _counted(header, body)
    numbers, points = cursor.rows(count, (("i", 1), ("f", 3)))
    return numbers[:, 0], points


def _nodes_4(header: Header, body: bytes) -> tuple[Array, Array]:
    cursor = Cursor(body, header)
    new = header.version > 4.05
    blocks = int(cursor.sizes(4 if new else 2)[0])
    numbers, points = [np.zeros(0, np.int64)], [np.zeros((0, 3))]
    for _ in range(blocks):
        dim, tag, parametric = cursor.ints(3).tolist()
        dim = dim if new else tag
        count = int(cursor.sizes(1)[0])
        width = 3 + (dim if parametric else 0)
        if new:
            numbers.append(cursor.sizes(count))
            points.append(cursor.doubles(count * width).reshape(count, width)[:, :3])
        else:
            number, point = cursor.rows(count, (("i", 1), ("f", width)))
            numbers.append(number[:, 0])
            points.append(point[:, :3])
    return np.concatenate(numbers), np.concatenate(points)


def _elements_4(header: Header, body: bytes) -> list[Block]:
    cursor = Cursor(body, header)
    new = header.version > 4.05
    out, place = [], 0
    for _ in range(int(cursor.sizes(4 if new else 2)[0])):
        first, second, kind = cursor.ints(3).tolist()
        count = int(cursor.sizes(1)[0])
        (table,) = cursor.rows(count, (("s" if new else "i", 1 + num_nodes(kind)),))
        entity = np.full(count, second if new else first)
        none = np.zeros(count, dtype=np.int64)
        out.append(Block(kind, table[:, 0], table[:, 1:], entity, none, none, place + np.arange(count)))
        place += count
    return out


def _elements_2(header: Header, body: bytes, *, old: bool) -> list[Block]:
    count, cursor = _counted(header, body)
    if isinstance(cursor.flat, bytes):
        flat = np.frombuffer(cursor.flat[: len(cursor.flat) // 4 * 4], header.order + "i4").astype(np.int64)
    else:
        flat = cursor.flat.astype(np.int64)
    start, kind, tags = _rows_2(flat.tolist(), count, header.binary, old)
    out = []
    for key in np.unique(np.stack([kind, tags]), axis=1).T.tolist():
        place = np.flatnonzero((kind == key[0]) & (tags == key[1]))
        shift = 1 if header.binary else 5 if old else 3
        skip = shift + (0 if old else key[1])
        nodes = flat[start[place][:, None] + np.arange(skip, skip + num_nodes(key[0]))]
        none = np.zeros(place.size, dtype=np.int64)
        tag = [flat[start[place] + (2 if old else shift) + i] if key[1] > i else none for i in range(4)]
        # Version 2.2 says how many partitions there are before it names them; negative ones are of ghosts.
        partition = none if old or key[1] < 3 else tag[3] if key[1] > 3 else tag[2]
        out.append(Block(key[0], flat[start[place]], nodes, tag[1], np.abs(tag[0]), np.abs(partition), place))
    return out


def _rows_2(flat: list[int], count: int, binary: bool, old: bool) -> tuple[Array, Array, Array]:
    """Where each element begins (at its number), its type and its number of tags."""
    start: list[int] = []
    kinds: list[int] = []
    tags: list[int] = []
    at = 0
    sizes = {kind: num_nodes(kind) for kind in TYPES}
    while len(start) < count:
        kind, tag, repeat = flat[at + 1], 2 if old else flat[at + 2], 1
        if binary:
            kind, repeat, tag = flat[at : at + 3]
            at += 3
        if tag < 0 or repeat < 1:
            raise DamagedError(f"holds the count {min(tag, repeat)}")
        width = (sizes[kind] if kind in sizes else num_nodes(kind)) + (1 if binary else 5 if old else 3)
        width += 0 if old else tag
        if at + repeat * width > len(flat):
            raise DamagedError("ends too early")
        start += range(at, at + repeat * width, width)
        kinds += [kind] * repeat
        tags += [tag] * repeat
        at += repeat * width
    return np.array(start, dtype=np.int64), np.array(kinds, dtype=np.int64), np.array(tags, dtype=np.int64)


def num_nodes(kind: int) -> int:
    """Number of nodes of a gmsh element type.

    Raises:
        InputError: Elements of order 3 and more, or a type that is not known.
    """
    if kind in TYPES:
        return TYPES[kind][1]
    if kind in HIGH_ORDER:
        order, name = HIGH_ORDER[kind]
        raise InputError(
            f"order {order} elements are not supported ({name}, gmsh type {kind}); save the mesh with order 1 or 2 "
            "(gmsh -order 2)"
        )
    raise InputError(
        f"element type {kind} of gmsh is not supported; allowed are points, lines, triangles, quads, tetrahedra, "
        "hexahedra, prisms and pyramids of order 1 and 2"
    )


def _view(header: Header, section: str, body: bytes) -> View:
    texts, body = _tags(body)
    reals, body = _tags(body)
    whole, body = _tags(body)
    ints = [int(text) for text in whole]
    step, width, count = (*ints, 0, 1, 0)[:3] if len(ints) < 3 else ints[:3]
    if width not in (1, 3, 9):
        raise DamagedError(f"says that an array has {width} components, allowed are 1, 3 and 9")
    name = texts[0].strip().strip('"') if texts else section
    time = float(reals[0]) if reals else float(step)
    cursor = Cursor(body, header)
    if section != "ElementNodeData":
        rows, values = cursor.rows(count, (("i", 1), ("f", width)))
        return View(section, name, time, step, rows[:, 0], values)
    rows_list, corner_list, value_list = [], [], [np.zeros(0)]
    for _ in range(count):
        number, corners = cursor.ints(2).tolist()
        rows_list.append(number)
        corner_list.append(corners)
        value_list.append(cursor.doubles(corners * width))
    values = np.concatenate(value_list).reshape(-1, width)
    corners_of = np.array(corner_list, dtype=np.int64)
    return View(section, name, time, step, np.array(rows_list, dtype=np.int64), values, corners_of)


def _tags(body: bytes) -> tuple[list[Any], bytes]:
    """A count and that many lines, which are text in binary files too, and what follows."""
    line, _, rest = body.lstrip().partition(b"\n")
    out: list[Any] = []
    count = int(line.split()[0])
    if not 0 <= count <= 100:
        raise DamagedError(f"holds the count {count}")
    for _ in range(count):
        line, _, rest = rest.partition(b"\n")
        out.append(line.decode("utf-8", "replace").strip())
    return out, rest
