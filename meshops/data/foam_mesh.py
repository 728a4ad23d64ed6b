"""The mesh of an OpenFOAM case: faces with an owner and a neighbour, as cells; pieces of a parallel run joined."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from meshops.data.cells import (
    HEXAHEDRON,
    POLYGON,
    POLYHEDRON,
    PYRAMID,
    QUAD,
    TETRA,
    TRIANGLE,
    WEDGE,
    Array,
    Cells,
    gather_ranges,
    make_cells,
    running_sum,
)
from meshops.data.foam_files import (
    Dictionary,
    FoamFile,
    find_file,
    read_dictionary,
    read_faces,
    read_foam,
    read_labels,
    read_vectors,
    skip_blank,
)
from meshops.data.orientation import merge_points
from meshops.data.polygons import reverse_rims
from meshops.data.text_numbers import DamagedError

T = TypeVar("T")
CHUNK = 100_000


@dataclass(frozen=True)
class Patch:
    """A run of boundary faces."""

    name: str
    kind: str
    start: int
    count: int
    groups: tuple[str, ...] = ()


@dataclass
class PolyMesh:
    """Mesh of a case, a region or one processor.

    Attributes:
        points: ``[m, 3]`` float64, m.
        face_size, face_nodes: Faces, internal ones first.
        owner, neighbour: Cells of each face (``[f]``) and of each internal face.
        patches: Boundary.
        point_ids, face_ids, cell_ids: Numbers in the whole mesh, for a processor; None: not known.
    """

    points: Array
    face_size: Array
    face_nodes: Array
    owner: Array
    neighbour: Array
    patches: list[Patch]
    point_ids: Array | None = None
    face_ids: Array | None = None
    cell_ids: Array | None = None
    _start: Array = field(init=False)

    def __post_init__(self) -> None:
        self._start = running_sum(self.face_size)

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return int(max(self.owner.max(initial=-1), self.neighbour.max(initial=-1))) + 1

    def patch_cells(self, patch: Patch) -> Cells:
        """The faces of a patch as cells, numbered as the points of this mesh."""
        size = self.face_size[patch.start : patch.start + patch.count]
        nodes = self.face_nodes[self._start[patch.start] : self._start[patch.start + patch.count]]
        kind = np.where(size == 3, TRIANGLE, np.where(size == 4, QUAD, POLYGON))
        return make_cells(size, nodes, kind)

    def volume_cells(self) -> Cells:
        """All cells: tetrahedra, pyramids, wedges and hexahedra where they are, else polyhedra."""
        return _volume(self)


def read_polymesh(folder: Path, points: Path | None = None) -> PolyMesh:
    """Read a ``polyMesh`` folder.

    Args:
        folder: With faces, owner, neighbour, boundary.
        points: Folder of the points, where the mesh moved.

    Raises:
        DamagedError: A file is missing or damaged; the message begins with its name.
    """
    points_of = points or folder
    xyz = _named(points_of / "points", read_vectors)
    size, nodes = _named(folder / "faces", read_faces)
    owner = _named(folder / "owner", read_labels)
    there = find_file(folder / "neighbour") is not None
    neighbour = _named(folder / "neighbour", read_labels) if there else np.zeros(0, dtype=np.int64)
    patches = _named(folder / "boundary", read_boundary)
    neighbour = neighbour[: int((neighbour >= 0).sum())]  # old releases pad it with -1
    _check(xyz, size, nodes, owner, neighbour, patches)
    ids = {name: _addressing(folder / f"{name}ProcAddressing") for name in ("point", "face", "cell")}
    faces = ids["face"]
    return PolyMesh(
        xyz, size, nodes, owner, neighbour, patches, ids["point"],
        None if faces is None else np.abs(faces) - 1, ids["cell"],
    )  # fmt: skip


def _named(path: Path, reader: Callable[[Path], T]) -> T:
    try:
        return reader(path)
    except FileNotFoundError:
        raise DamagedError(f"{path.name} is missing") from None
    except (DamagedError, ValueError, IndexError) as error:
        raise DamagedError(f"{path.name} {error}") from None


def _addressing(path: Path) -> Array | None:
    try:
        return read_labels(path)
    except (FileNotFoundError, DamagedError):
        return None


def read_boundary(path: Path) -> list[Patch]:
    """Patches of a ``boundary`` file."""
    file = read_foam(path)
    at = skip_blank(file.body, 0)
    opening = file.body.find(b"(", at)
    closing = file.body.rfind(b")")
    if opening < 0 or closing < opening:
        raise DamagedError("holds no list of patches")
    content: Dictionary = read_dictionary(FoamFile(path, file.body[opening + 1 : closing]))
    out = []
    for name, entry in content.entries.items():
        if not isinstance(entry, Dictionary) or not {"nFaces", "startFace"} <= set(entry.entries):
            raise DamagedError(f"describes the patch '{name}' without nFaces or startFace")
        named = re.search(r"\(([^()]*)\)", str(entry.entries.get("inGroups", "")))
        groups = named[1].split() if named else []
        values = entry.entries
        out.append(Patch(name, str(values.get("type", "patch")), int(values["startFace"]), int(values["nFaces"]),
                         tuple(group.strip('"') for group in groups)))  # fmt: skip
    wanted = file.body[at:opening].split()
    if not wanted or int(wanted[0]) != len(out):
        raise DamagedError(f"holds {len(out)} patches, its count says {wanted[0].decode() if wanted else 'nothing'}")
    return out


def _check(points: Array, size: Array, nodes: Array, owner: Array, neighbour: Array, patches: list[Patch]) -> None:
    if owner.size != size.size or neighbour.size > size.size:
        raise DamagedError(f"owner names {owner.size} faces, there are {size.size}")
    if nodes.size and not (0 <= nodes.min() and nodes.max() < len(points)):
        raise DamagedError(f"faces name point {nodes.max()} of {len(points)}")
    for name, of in (("owner", owner), ("neighbour", neighbour)):
        if of.size and not (0 <= of.min() and of.max() < size.size):
            raise DamagedError(
                f"{name} names cell {of.max() if of.min() >= 0 else of.min()} of a mesh of {size.size} faces"
            )
    for patch in patches:
        if patch.start < 0 or patch.count < 0 or patch.start + patch.count > size.size:
            raise DamagedError(f"boundary gives the patch '{patch.name}' faces that do not exist")


def join_points(pieces: list[PolyMesh]) -> tuple[Array, list[Array]]:
    """Points of all pieces, those along the seams once, and the new number of each point of each piece.

    By the numbers that decomposePar writes; without them, points on processor patches at the same place are one.
    """
    if len(pieces) == 1 and pieces[0].point_ids is None:
        return pieces[0].points, [np.arange(len(pieces[0].points))]
    known = [piece.point_ids for piece in pieces if piece.point_ids is not None]
    if len(known) == len(pieces) and all(len(i) == len(p.points) for i, p in zip(known, pieces, strict=True)):
        used, numbers = np.unique(np.concatenate(known), return_inverse=True)
        points = np.empty((used.size, 3))
        points[numbers] = np.concatenate([piece.points for piece in pieces])
    else:
        points, numbers = _merge_seams(pieces)
    return points, np.split(numbers, np.cumsum([len(piece.points) for piece in pieces])[:-1])


def _merge_seams(pieces: list[PolyMesh]) -> tuple[Array, Array]:
    everything = np.concatenate([piece.points for piece in pieces])
    on_seam = np.zeros(len(everything), dtype=bool)
    shift = 0
    for piece in pieces:
        for patch in piece.patches:
            if patch.kind.startswith("processor"):
                on_seam[shift + piece.patch_cells(patch).nodes] = True
        shift += len(piece.points)
    head = np.arange(len(everything))
    seam = np.flatnonzero(on_seam)
    if seam.size:
        same = merge_points(everything[seam])
        _, first, back = np.unique(same, return_index=True, return_inverse=True)
        head[seam] = seam[first[back.reshape(-1)]]
    kept, numbers = np.unique(head, return_inverse=True)
    return everything[kept], numbers.reshape(-1)


def renumber(cells: Cells, numbers: Array) -> Cells:
    """Cells on other point numbers."""
    return Cells(
        cells.size, numbers[cells.nodes], cells.kind, cells.num_faces, cells.face_size, numbers[cells.face_nodes]
    )


def concatenate(lists: list[Cells]) -> Cells:
    """Cells one after the other."""
    names = ("size", "nodes", "kind", "num_faces", "face_size", "face_nodes")
    return Cells(*(np.concatenate([getattr(cells, name) for cells in lists]) for name in names))


def _volume(mesh: PolyMesh) -> Cells:
    count, inner = mesh.num_cells, mesh.neighbour.size
    cell = np.concatenate([mesh.owner, mesh.neighbour])
    face = np.concatenate([np.arange(mesh.owner.size), np.arange(inner)])
    into = np.concatenate([np.zeros(mesh.owner.size, bool), np.ones(inner, bool)])
    order = np.argsort(cell, kind="stable")
    cell, face, into = cell[order], face[order], into[order]
    size = mesh.face_size[face]
    # Rims of all faces of each cell, seen from outside of it.
    nodes = reverse_rims(size, mesh.face_nodes[gather_ranges(mesh._start[:-1][face], size)], into)
    num_faces = np.bincount(cell, minlength=count)
    three, four = (np.bincount(cell[size == k], minlength=count) for k in (3, 4))
    simple = three + four == num_faces
    kinds = np.full(count, POLYHEDRON, dtype=np.uint8)
    lists: dict[int, tuple[Array, Array]] = {}
    first_face, start = running_sum(num_faces)[:-1], running_sum(size)[:-1]
    shapes = ((TETRA, 4, 0, 4), (PYRAMID, 4, 1, 5), (WEDGE, 2, 3, 6), (HEXAHEDRON, 0, 6, 8))
    for kind, triangles, quads, corners in shapes:
        index = np.flatnonzero(simple & (three == triangles) & (four == quads))
        faces = first_face[index][:, None] + np.arange(triangles + quads)
        order = np.argsort(size[faces], axis=1, kind="stable")
        faces = np.take_along_axis(faces, order, axis=1)  # triangles first
        chunks = np.array_split(faces, max(1, len(faces) // CHUNK))  # tables of their edges take a kilobyte a cell
        found = [_corners(kind, chunk, size, start, nodes, corners) for chunk in chunks]
        rows, good = np.concatenate([row for row, _ in found]), np.concatenate([fits for _, fits in found])
        kinds[index[good]] = kind
        lists[kind] = (index[good], rows[good])
    return _assemble(kinds, lists, cell, num_faces, size, nodes)


def _corners(kind: int, faces: Array, size: Array, start: Array, nodes: Array, corners: int) -> tuple[Array, Array]:
    """Corners of cells in the order of VTK, and whether the cell is of that shape."""
    count = len(faces)
    if count == 0:
        return np.zeros((0, corners), dtype=np.int64), np.zeros(0, dtype=bool)
    base_face = faces[:, -1 if kind == PYRAMID else 0]
    width = 3 if kind in (TETRA, WEDGE) else 4
    base = nodes[start[base_face][:, None] + np.arange(width)]
    base = base[:, ::-1]  # seen from inside, so that volumes are positive
    sides = np.delete(faces, -1 if kind == PYRAMID else 0, axis=1)
    begin, stop = [], []
    for i in range(sides.shape[1]):
        k = size[sides[:, i]]
        for j in range(4):
            entry = np.minimum(j, k - 1)
            begin.append(nodes[start[sides[:, i]] + entry])
            stop.append(nodes[start[sides[:, i]] + np.where(entry + 1 < k, entry + 1, 0)])
    a, b = np.stack(begin, axis=1), np.stack(stop, axis=1)  # [c, edges]
    outside = ~(b[:, :, None] == base[:, None, :]).any(axis=2)
    good = np.ones(count, dtype=bool)
    tops = []
    for i in range(1 if kind in (TETRA, PYRAMID) else width):
        match = (a == base[:, i : i + 1]) & outside
        good &= match.any(axis=1)
        tops.append(b[np.arange(count), match.argmax(axis=1)])
    rows = np.concatenate([base, np.stack(tops, axis=1)], axis=1)
    ordered = np.sort(rows, axis=1)
    good &= (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
    # Every face must lie on these corners, else there are more points than the shape has.
    good &= (a[:, :, None] == rows[:, None, :]).any(axis=2).all(axis=1)
    return rows, good


def _assemble(
    kinds: Array, lists: dict[int, tuple[Array, Array]], cell: Array, num_faces: Array, size: Array, nodes: Array
) -> Cells:
    count = kinds.size
    many = kinds == POLYHEDRON
    of_many = many[cell]
    face_size, face_nodes = size[of_many], nodes[np.repeat(of_many, size)]
    owner = np.repeat(cell[of_many], face_size)
    # Points of polyhedra: each once, in ascending order.
    top = int(nodes.max()) + 1 if nodes.size else 1
    pairs = np.unique(owner * top + face_nodes)
    cell_size = np.bincount(pairs // top, minlength=count) if pairs.size else np.zeros(count, dtype=np.int64)
    for index, rows in lists.values():
        cell_size[index] = rows.shape[1]
    first = running_sum(cell_size)
    out = np.empty(int(first[-1]), dtype=np.int64)
    out[gather_ranges(first[:-1][many], cell_size[many])] = pairs % top
    for index, rows in lists.values():
        out[first[:-1][index][:, None] + np.arange(rows.shape[1])] = rows
    return Cells(cell_size, out, kinds, np.where(many, num_faces, 0), face_size, face_nodes)
