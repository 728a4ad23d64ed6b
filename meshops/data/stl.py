"""Reading STL, binary and text, also as programs write it that keep to the format loosely.

What breaks the format but leaves no doubt is read and said; a file that ends too early is refused.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from meshops.data.cells import TRIANGLE, Array, make_cells, mesh_of
from meshops.data.meshio_formats import part_read
from meshops.data.reading import MeshRead, ReadNotes, Region, Time
from meshops.errors import InputError

HEAD, ROW = 84, 50  # bytes of a binary header with the count, and of a triangle
MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
NUMBER = rb"([^\s]+)"
VERTEX = re.compile(rb"\bvertex\s+" + NUMBER + rb"\s+" + NUMBER + rb"\s+" + NUMBER)
FACET = re.compile(rb"(?<!end)(?<!end )\bfacet\b")
SOLID = re.compile(rb"^[ \t]*solid\b[ \t]*(.*)$", re.MULTILINE)
END = re.compile(rb"^[ \t]*end[ \t]*solid\b[^\n]*", re.MULTILINE)
LOOP_END = re.compile(rb"\bend[ \t]*(?:loop|facet)\b")


def read_stl(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read an STL file; points at the same place become one, named solids are parts.

    Raises:
        InputError: The file ends too early or is no STL.
    """
    raw = path.read_bytes()
    remarks: list[str] = []
    if is_text(raw):
        corners, sizes, solids, precision = *_text(_plain(raw, remarks), path, remarks), "text"
    else:
        corners, sizes, solids, precision = *_binary(raw, path, remarks), "float32"
    points, nodes = unique_points(corners)
    kind = np.select([sizes == 3, sizes == 4], [TRIANGLE, 9], 7)
    mesh = mesh_of(points, make_cells(sizes, nodes, kind))
    form = "STL, text" if precision == "text" else "STL, binary"
    parts = _by_name(solids) if len(solids) > 1 else {}
    return part_read(mesh, ReadNotes(form, precision=precision, remarks=remarks), parts, region, str(path))


def is_text(raw: bytes) -> bool:
    """Whether the bytes are a text STL: the size of a binary one fits its count, or words of a text one stand in it."""
    count = int.from_bytes(raw[80:84], "little")
    if len(raw) >= HEAD and count and len(raw) == HEAD + ROW * count:
        return False
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    start = raw[:65536].lower()
    first = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return (first.startswith(b"solid") and (b"\x00" not in first[:512])) or (b"outer" in start and b"vertex" in start)


def unique_points(corners: Array) -> tuple[Array, Array]:
    """Points that differ, in the order of their first appearance, and for each corner its point."""
    order = np.lexsort(corners.T)
    ordered = corners[order]
    new = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)][: order.size]
    group = np.empty(order.size, dtype=np.int64)
    group[order] = np.cumsum(new) - 1
    first = np.full(int(new.sum()), order.size, dtype=np.int64)
    np.minimum.at(first, group, np.arange(order.size))
    rank = np.empty(first.size, dtype=np.int64)
    by_appearance = np.argsort(first)
    rank[by_appearance] = np.arange(first.size)
    return corners[first[by_appearance]], rank[group]


def _binary(raw: bytes, path: Path, remarks: list[str]) -> tuple[Array, Array, list[tuple[str, int]]]:
    size, count = len(raw), int.from_bytes(raw[80:84], "little")
    fits = max(size - HEAD, 0) // ROW
    if size < HEAD + ROW * count or count == 0:
        unset = count == 0 or count >= 2**31  # 0, -1 and the like: written before the number was known
        if not unset or fits == 0 or (size - HEAD) % ROW:
            raise InputError(
                f"{path}: the file is cut off or no STL: {size} bytes for {count} triangles, "
                f"which take {HEAD + ROW * count}; export or copy it again"
                if count
                else f"{path}: the mesh is empty (no cells); check the export"
            )
        remarks.append(f"the count of triangles is not set ({count}): {fits} taken from the size of the file")
        count = fits
    elif size > HEAD + ROW * count:
        remarks.append(f"{size - HEAD - ROW * count} bytes behind the last of the {count} triangles were left out")
    row = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    table = np.frombuffer(raw, row, count, HEAD)
    corners = np.ascontiguousarray(table["corners"], dtype=np.float32).reshape(-1, 3)
    return corners, np.full(count, 3), []


def _plain(raw: bytes, remarks: list[str]) -> bytes:
    """Text with one kind of line end and without a byte order mark."""
    for mark, encoding in MARKS:
        if raw.startswith(mark):
            remarks.append(f"begins with a byte order mark ({encoding})")
            raw = raw[3:] if encoding == "utf-8" else raw.decode("utf-16", "replace").encode("latin-1", "replace")
            break
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _text(raw: bytes, path: Path, remarks: list[str]) -> tuple[Array, Array, list[tuple[str, int]]]:
    names = [match[1].strip().decode("utf-8", "replace") for match in re.finditer(rb"(?im)^[ \t]*solid\b(.*)$", raw)]
    if not re.search(rb"\bvertex\b", raw):
        remarks.append("its words are in upper case")
    raw = raw.lower()
    heads = [match.start() for match in SOLID.finditer(raw)]
    ends = list(END.finditer(raw))
    body = SOLID.sub(_blank, END.sub(_blank, raw))  # names may hold any word
    found = list(VERTEX.finditer(body))
    facets = np.array([match.start() for match in FACET.finditer(body)], dtype=np.int64)
    if not found and not facets.size and ends:
        raise InputError(f"{path}: the mesh is empty (no cells); check the export")
    last = found[-1].end() if found else 0
    if not ends or ends[-1].start() < last or LOOP_END.search(body, last) is None:
        raise InputError(f"{path}: the file is cut off (no 'endsolid' at its end); export or copy it again")
    sizes = np.bincount(
        np.searchsorted(facets, [match.start() for match in found], side="right"), minlength=facets.size + 1
    )
    if facets.size == 0 or sizes[0] or (sizes[1:] < 3).any():
        wrong = int(np.argmax(sizes[1:] < 3)) + 1 if facets.size else 0
        raise InputError(f"{path}: the file is damaged: facet {wrong} has fewer than three vertices; export it again")
    _say_dialect(body, raw[ends[-1].end() :], ends, names, remarks)
    corners = _numbers([word for match in found for word in match.groups()], path, remarks).reshape(-1, 3)
    counts = np.diff(np.searchsorted(facets, [*heads, len(raw)]))
    return corners, sizes[1:], list(zip(names, counts.tolist(), strict=True))


def _blank(match: re.Match[bytes]) -> bytes:
    return b" " * len(match[0])


def _say_dialect(body: bytes, rest: bytes, ends: list[re.Match[bytes]], names: list[str], remarks: list[str]) -> None:
    if re.search(rb"\bend[ \t]+(?:loop|facet)\b", body) or any(b"endsolid" not in match[0] for match in ends):
        remarks.append("'end' stands apart from its word, against the format")
    if rest.strip():
        remarks.append(f"{len(rest.strip())} characters behind the last 'endsolid' were left out")
    if any(len(name) > 80 for name in names):
        remarks.append("the name of a solid is longer than a line of the format")


def _numbers(words: list[bytes], path: Path, remarks: list[str]) -> Array:
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        pass
    text = [word.replace(b"d", b"e").replace(b",", b".") for word in words]
    try:
        out = np.array(text, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: the file is damaged: a vertex is no number ({error}); export it again") from error
    remarks.append("numbers have a decimal comma or a Fortran exponent (1.0D+00)")
    return out


def _by_name(solids: list[tuple[str, int]]) -> dict[str, Array]:
    out: dict[str, Array] = {}
    start = 0
    for i, (name, count) in enumerate(solids):
        ids = np.arange(start, start + count)
        start += count
        if count:
            label = name or f"solid_{i}"
            out[label] = np.concatenate([out[label], ids]) if label in out else ids
    return out
