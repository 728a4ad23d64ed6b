"""Reading Wavefront OBJ: points and faces; objects and groups become parts. VTK's reader crashes on bad indices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from meshops.data.cells import Array, make_cells, mesh_of
from meshops.data.meshio_formats import part_read
from meshops.data.reading import MeshRead, ReadNotes, Region, Time
from meshops.errors import InputError

LEFT_OUT = {b"l": "lines", b"p": "points", b"curv": "curves", b"surf": "surfaces"}


def read_obj(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read the faces of an OBJ file as polygons on its points, in the order of the file.

    Raises:
        InputError: A line is no point or face, or names a point that does not exist.
    """
    points: list[list[bytes]] = []
    faces: list[list[bytes]] = []
    before: list[int] = []  # points there were at each face: negative numbers count back from there
    others = {b"vt": 0, b"vn": 0}
    names: dict[bytes, list[tuple[str, int]]] = {b"o": [], b"g": []}
    left_out: dict[str, int] = {}
    raw = path.read_bytes().replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    for line in raw.splitlines():
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        key = words[0]
        if key == b"v":
            points.append(words[1:4])
        elif key == b"f":
            faces.append(words[1 : next((i for i, word in enumerate(words) if word.startswith(b"#")), None)])
            before.append(len(points))
        elif key in others:
            others[key] += 1
        elif key in names:
            names[key].append((b" ".join(words[1:]).decode("utf-8", "replace"), len(faces)))
        elif key in LEFT_OUT:
            left_out[LEFT_OUT[key]] = left_out.get(LEFT_OUT[key], 0) + 1
    if not points or not faces:
        raise InputError(f"{path}: the mesh is empty (no {'cells' if points else 'points'}); check the export")
    size = np.array([len(face) for face in faces])
    if size.min() < 3:
        raise InputError(
            f"{path}: face {int(size.argmin()) + 1} has fewer than three points; the file is damaged or cut off, "
            "export it again"
        )
    try:
        xyz = np.array(points, dtype=np.float64).reshape(len(points), 3)
        nodes = np.array([word.partition(b"/")[0] for face in faces for word in face], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: a point or face holds no numbers ({error}); the file is damaged") from error
    nodes = np.where(nodes < 0, nodes + np.repeat(before, size), nodes - 1)
    kind = np.select([size == 3, size == 4], [5, 9], 7)
    notes = ReadNotes("Wavefront OBJ", precision="text")
    notes.remarks += [f"{count} {what} were left out" for what, count in left_out.items()]
    check_range(nodes, len(points), path)
    _check_others(faces, others, path)
    if (
        others[b"vn"]
        and others[b"vn"] != len(points)
        and all(w.split(b"/")[0] == w.split(b"/")[-1] for f in faces for w in f)
    ):
        raise InputError(
            f"{path}: has {len(points)} points and {others[b'vn']} normals, though each corner has them by one number; "
            "the file is damaged, export it again"
        )
    mesh = mesh_of(xyz, make_cells(size, nodes, kind))
    parts = _parts(names[b"o"], size.size) or _parts(names[b"g"], size.size)
    return part_read(mesh, notes, parts, region, str(path))


def check_range(nodes: Array, count: int, path: Path) -> None:
    """Refuse cells that name points that do not exist."""
    if nodes.size and not (0 <= int(nodes.min()) and int(nodes.max()) < count):
        wrong = int(nodes.min()) if nodes.min() < 0 else int(nodes.max())
        raise InputError(f"{path}: a cell names point {wrong} of {count}; the file is damaged, export it again")


def _check_others(faces: list[list[bytes]], others: dict[bytes, int], path: Path) -> None:
    """Refuse corners that name coordinates of a texture or normals that do not exist: the file is damaged."""
    for column, (key, what) in enumerate(((b"vt", "texture point"), (b"vn", "normal")), start=1):
        for face in faces:
            for word in face:
                parts = word.split(b"/")
                text = parts[column] if len(parts) > column else b""
                if text and not (text.lstrip(b"-").isdigit() and 0 < abs(int(text)) <= others[key]):
                    shown = text.decode("latin-1")[:20]
                    raise InputError(
                        f"{path}: a face names {what} {shown} of {others[key]}; the file is damaged, export it again"
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
