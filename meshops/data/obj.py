"""Reading Wavefront OBJ: points and faces; objects and groups become parts. VTK's reader crashes on bad indices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from meshops.data.cells import Array, make_cells, mesh_of
from meshops.data.meshio_formats import part_read
from meshops.data.reading import MeshRead, ReadNotes, Region, Time
from meshops.errors import InputError

LEFT_OUT = {b"l": "lines", b"p": "points", b"curv": "curves", b"surf": "surfaces"}


@dataclass
class _Lines:
    """Words of a file by what they are.

    ``before`` counts the points there were at each face: negative numbers count back from there.
    """

    points: list[list[bytes]] = field(default_factory=list)
    faces: list[list[bytes]] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    others: dict[bytes, int] = field(default_factory=lambda: {b"vt": 0, b"vn": 0})
    names: dict[bytes, list[tuple[str, int]]] = field(default_factory=lambda: {b"o": [], b"g": []})
    left_out: dict[str, int] = field(default_factory=dict)


def read_obj(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read the faces of an OBJ file as polygons on its points, in the order of the file.

    Raises:
        InputError: A line is no point or face, or names a point that does not exist.
    """
    lines = _lines(path.read_bytes())
    if not lines.points or not lines.faces:
        raise InputError(f"{path}: the mesh is empty (no {'cells' if lines.points else 'points'}); check the export")
    size = np.array([len(face) for face in lines.faces])
    if size.min() < 3:
        raise InputError(
            f"{path}: face {int(size.argmin()) + 1} has fewer than three points; the file is damaged or cut off, "
            "export it again"
        )
    try:
        points = np.array(lines.points, dtype=np.float64).reshape(len(lines.points), 3)
        nodes = np.array([word.partition(b"/")[0] for face in lines.faces for word in face], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: a point or face holds no numbers ({error}); the file is damaged") from error
    nodes = np.where(nodes < 0, nodes + np.repeat(lines.before, size), nodes - 1)
    check_range(nodes, len(points), path)
    _check_others(lines, path)
    notes = ReadNotes("Wavefront OBJ", precision="text")
    notes.remarks += [f"{count} {what} were left out" for what, count in lines.left_out.items()]
    mesh = mesh_of(points, make_cells(size, nodes, np.select([size == 3, size == 4], [5, 9], 7)))
    parts = _parts(lines.names[b"o"], size.size) or _parts(lines.names[b"g"], size.size)
    return part_read(mesh, notes, parts, region, str(path))


def _lines(raw: bytes) -> _Lines:
    out = _Lines()
    for line in raw.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines():
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        key = words[0]
        if key == b"v":
            out.points.append(words[1:4])
        elif key == b"f":
            out.faces.append(words[1 : next((i for i, word in enumerate(words) if word.startswith(b"#")), None)])
            out.before.append(len(out.points))
        elif key in out.others:
            out.others[key] += 1
        elif key in out.names:
            out.names[key].append((b" ".join(words[1:]).decode("utf-8", "replace"), len(out.faces)))
        elif key in LEFT_OUT:
            out.left_out[LEFT_OUT[key]] = out.left_out.get(LEFT_OUT[key], 0) + 1
    return out


def check_range(nodes: Array, count: int, path: Path) -> None:
    """Refuse cells that name points that do not exist."""
    if nodes.size and not (0 <= int(nodes.min()) and int(nodes.max()) < count):
        wrong = int(nodes.min()) if nodes.min() < 0 else int(nodes.max())
        raise InputError(f"{path}: a cell names point {wrong} of {count}; the file is damaged, export it again")


def _check_others(lines: _Lines, path: Path) -> None:
    """Refuse corners that name coordinates of a texture or normals that do not exist: the file is damaged."""
    for column, (key, what) in enumerate(((b"vt", "texture point"), (b"vn", "normal")), start=1):
        there = lines.others[key]
        for word in (word for face in lines.faces for word in face):
            parts = word.split(b"/")
            text = parts[column] if len(parts) > column else b""
            if text and not (text.lstrip(b"-").isdigit() and 0 < abs(int(text)) <= there):
                shown = text.decode("latin-1")[:20]
                raise InputError(
                    f"{path}: a face names {what} {shown} of {there}; the file is damaged, export it again"
                )
    num_points, num_normals = len(lines.points), lines.others[b"vn"]
    one_number = all(word.split(b"/")[0] == word.split(b"/")[-1] for face in lines.faces for word in face)
    if num_normals and num_normals != num_points and one_number:
        raise InputError(
            f"{path}: has {num_points} points and {num_normals} normals, though each corner has them by one number; "
            "the file is damaged, export it again"
        )


def _parts(starts: list[tuple[str, int]], num_faces: int) -> dict[str, Array]:
    """Name -> faces; fewer than two parts are none."""
    out: dict[str, list[Array]] = {}
    if not starts:
        return {}
    stops = [start for _, start in starts[1:]] + [num_faces]
    if starts[0][1] > 0:
        out["unnamed"] = [np.arange(starts[0][1])]
    for (name, start), stop in zip(starts, stops, strict=True):
        if stop > start:
            out.setdefault(name or "unnamed", []).append(np.arange(start, stop))
    return {name: np.concatenate(ids) for name, ids in out.items()} if len(out) > 1 else {}
