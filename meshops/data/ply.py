"""Reading PLY. VTK's reader keeps no properties but colours, and a truncated binary file makes it crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from meshops.data.cells import Array, Mesh, make_cells, mesh_of, running_sum
from meshops.errors import InputError

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
RIMS = ("vertex_indices", "vertex_index")


@dataclass
class Element:
    """One element of the header: its name, how many, and ``(name, value type, count type or None)``."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]] = field(default_factory=list)


def read_ply(path: Path) -> Mesh:
    """Read a PLY file (text or binary) with all its vertex and face properties.

    Raises:
        InputError: The header is not PLY, or the data ends too early.
    """
    raw = path.read_bytes()
    elements, order, offset = _header(raw, path)
    words = raw[offset:].split() if order == "=" else []
    tables: dict[str, dict[str, Array]] = {}
    position = 0 if order == "=" else offset
    try:
        for element in elements:
            if order == "=":
                tables[element.name], position = _text(words, position, element)
            else:
                tables[element.name], position = _binary(raw, position, element, order)
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f"{path}: the PLY data ends too early or is damaged ({error}); export or copy the file again"
        ) from error
    return _mesh(tables, path)


def _header(raw: bytes, path: Path) -> tuple[list[Element], str, int]:
    end = raw.find(b"end_header")
    stop = raw.find(b"\n", end) + 1
    if not raw.startswith(b"ply") or end < 0 or stop == 0:
        raise InputError(f"{path}: the PLY header is missing or cut off; export or copy the file again")
    elements: list[Element] = []
    order = ""
    try:
        for line in raw[:end].decode("latin-1").splitlines():
            words = line.split()
            if words[:1] == ["format"]:
                order = ORDERS[words[1]]
            elif words[:1] == ["element"]:
                elements.append(Element(words[1], int(words[2])))
                if not 0 <= elements[-1].count <= len(raw):
                    raise ValueError(f"{elements[-1].count} rows of {words[1]} in a file of {len(raw)} bytes")
            elif words[:2] == ["property", "list"]:
                elements[-1].properties.append((words[4], TYPES[words[3]], TYPES[words[2]]))
            elif words[:1] == ["property"]:
                elements[-1].properties.append((words[2], TYPES[words[1]], None))
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"{path}: the PLY header has a line that is not understood ({error})") from error
    if not order:
        raise InputError(f"{path}: the PLY header names no format; export or copy the file again")
    return elements, order, stop


def _binary(raw: bytes, position: int, element: Element, order: str) -> tuple[dict[str, Array], int]:
    """Read one element: as a table when no list changes its length, else row by row."""
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    probe = position
    for name, kind, counter in element.properties if element.count else ():
        if counter is None:
            fields.append((name, order + kind))
            probe += np.dtype(kind).itemsize
            continue
        length = _length(np.frombuffer(raw, order + counter, 1, probe)[0])
        fields += [(f"{name}#", order + counter), (name, order + kind, (length,))]
        probe += np.dtype(counter).itemsize + length * np.dtype(kind).itemsize
    if not fields:
        return {}, position
    row = np.dtype(fields)
    if position + row.itemsize * element.count <= len(raw):
        table = np.frombuffer(raw, row, element.count, position)
        lists = [name for name in row.names or () if name.endswith("#")]
        if all((table[name] == table[name][0]).all() for name in lists):
            out = {name: np.array(table[name]) for name in row.names or ()}
            return _flatten_lists(out, element), position + row.itemsize * element.count
    if all(counter is None for *_, counter in element.properties):
        raise ValueError(f"{element.count} rows of {element.name} do not fit in the file")
    return _binary_rows(raw, position, element, order)


def _binary_rows(raw: bytes, position: int, element: Element, order: str) -> tuple[dict[str, Array], int]:
    columns: dict[str, list[Array]] = {name: [] for name, *_ in element.properties}
    plan = [
        (columns[name], np.dtype(order + kind), np.dtype(order + counter) if counter else None)
        for name, kind, counter in element.properties
    ]
    for _ in range(element.count):
        for column, kind, counter in plan:
            length = 1
            if counter is not None:
                length = _length(np.frombuffer(raw, counter, 1, position)[0])
                position += counter.itemsize
            column.append(np.frombuffer(raw, kind, length, position))
            position += length * kind.itemsize
    return _join(columns, element), position


def _length(count: object) -> int:
    out = int(count)  # type: ignore[call-overload]
    if out < 0:
        raise ValueError(f"a list of {out} values")
    return int(out)


def _text(words: list[bytes], position: int, element: Element) -> tuple[dict[str, Array], int]:
    if element.properties and all(counter is None for *_, counter in element.properties):
        width = len(element.properties)
        stop = position + width * element.count
        if stop > len(words):
            raise ValueError(f"{element.count} rows of {element.name} do not fit in the file")
        table = np.array(words[position:stop], dtype=np.float64).reshape(element.count, width)
        return {name: table[:, i].astype(kind) for i, (name, kind, _) in enumerate(element.properties)}, stop
    if not element.properties:
        return {}, position
    columns: dict[str, list[Array]] = {name: [] for name, *_ in element.properties}
    for _ in range(element.count):
        for name, kind, counter in element.properties:
            length = 1
            if counter is not None:
                length = int(words[position])
                position += 1
            values = np.array(words[position : position + length], dtype=np.float64)
            if values.size < length or length < 0:
                raise ValueError(f"{element.count} rows of {element.name} do not fit in the file")
            columns[name].append(values.astype(kind))
            position += length
    return _join(columns, element), position


def _join(columns: dict[str, list[Array]], element: Element) -> dict[str, Array]:
    out = {}
    for name, kind, counter in element.properties:
        rows = columns[name]
        out[name] = np.concatenate(rows) if rows else np.zeros(0, dtype=kind)
        if counter is not None:
            out[f"{name}#"] = np.array([row.size for row in rows], dtype=np.int64)
    return out


def _flatten_lists(table: dict[str, Array], element: Element) -> dict[str, Array]:
    return {name: table[name].reshape(-1) for name in table} if element.count else table


def _mesh(tables: dict[str, dict[str, Array]], path: Path) -> Mesh:
    vertex, face = tables.get("vertex", {}), tables.get("face", {})
    if not all(axis in vertex for axis in "xyz"):
        raise InputError(f"{path}: the PLY file has no vertices with x, y and z; check the export")
    points = np.stack([vertex[axis] for axis in "xyz"], axis=1)
    points = points.astype(np.float64 if points.dtype.itemsize == 8 else np.float32)
    rim = next((name for name in RIMS if name in face), None)
    nodes = face[rim].astype(np.int64) if rim else np.zeros(0, dtype=np.int64)
    size = face[f"{rim}#"].astype(np.int64) if rim else np.zeros(0, dtype=np.int64)
    if nodes.size and not (0 <= nodes.min() and nodes.max() < points.shape[0]):
        raise InputError(f"{path}: a face names vertex {int(nodes.max())} of {points.shape[0]}; the file is damaged")
    assert running_sum(size)[-1] == nodes.size
    keep = size > 0
    kind = np.select([size == 1, size == 2, size == 3, size == 4], [1, 3, 5, 9], 7)[keep]
    mesh = mesh_of(points, make_cells(size[keep], nodes, kind))
    for name, values in vertex.items():
        if name not in "xyz" and values.size == points.shape[0]:
            mesh.point_data[name] = values.astype(values.dtype.newbyteorder("="))
    for name, values in face.items():
        if not name.endswith("#") and f"{name}#" not in face:
            mesh.cell_data[name] = values.astype(values.dtype.newbyteorder("="))[keep]
    return mesh
