"""Writes OpenFOAM cases in all forms, from cells given by their faces, for tests."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Rim = tuple[int, ...]
WIDTH = {"scalar": 1, "vector": 3, "symmTensor": 6, "tensor": 9}


@dataclass
class Foam:
    """A mesh as OpenFOAM stores it; ``patches``: name, type, first face, number of faces, groups."""

    points: np.ndarray
    faces: list[Rim]
    owner: list[int]
    neighbour: list[int]
    patches: list[tuple[str, str, int, int, tuple[str, ...]]]
    ids: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def num_cells(self) -> int:
        return max([*self.owner, *self.neighbour]) + 1

    def centers(self) -> np.ndarray:
        of: list[set[int]] = [set() for _ in range(self.num_cells)]
        for rim, cell in zip(self.faces, self.owner, strict=True):
            of[cell] |= set(rim)
        for rim, cell in zip(self.faces, self.neighbour, strict=False):
            of[cell] |= set(rim)
        return np.array([self.points[sorted(nodes)].mean(0) for nodes in of])

    def face_centers(self, name: str) -> np.ndarray:
        _, _, start, count, _ = next(p for p in self.patches if p[0] == name)
        return np.array([self.points[list(rim)].mean(0) for rim in self.faces[start : start + count]]).reshape(-1, 3)


def foam_mesh(
    points: np.ndarray,
    cells: Sequence[Sequence[Rim]],
    patch_of: Callable[[np.ndarray, Rim], str],
    kinds: dict[str, str],
    groups: dict[str, tuple[str, ...]] | None = None,
) -> Foam:
    """From the faces of each cell, seen from outside; ``patch_of`` names the patch of an outer face."""
    seen: dict[Rim, list[tuple[int, Rim]]] = {}
    for cell, rims in enumerate(cells):
        for rim in rims:
            seen.setdefault(tuple(sorted(rim)), []).append((cell, tuple(rim)))
    inner = sorted((f[0][0], f[1][0], f[0][1]) for f in (sorted(v) for v in seen.values()) if len(f) == 2)
    outer: dict[str, list[tuple[int, Rim]]] = {name: [] for name in kinds}
    for f in seen.values():
        if len(f) == 1:
            outer[patch_of(points[list(f[0][1])].mean(0), f[0][1])].append(f[0])
    faces, owner = [f[2] for f in inner], [f[0] for f in inner]
    patches = []
    for name, of in outer.items():
        patches.append((name, kinds[name], len(faces), len(of), (groups or {}).get(name, ())))
        faces += [rim for _, rim in of]
        owner += [cell for cell, _ in of]
    return Foam(points, faces, owner, [f[1] for f in inner], patches)


def box(
    n: tuple[int, int, int], low: Sequence[float], high: Sequence[float], hole: Sequence[Sequence[int]] = ()
) -> tuple:
    """Points and cells (by faces) of a grid of hexahedra without the cells in ``hole``."""
    axes = [np.linspace(a, b, k + 1) for a, b, k in zip(low, high, n, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)

    def at(i: int, j: int, k: int) -> int:
        return (i * (n[1] + 1) + j) * (n[2] + 1) + k

    cells = []
    for i in range(n[0]):
        for j in range(n[1]):
            for k in range(n[2]):
                if hole and all(h[0] <= q < h[1] for q, h in zip((i, j, k), hole, strict=True)):
                    continue
                a, b, c, d = at(i, j, k), at(i + 1, j, k), at(i + 1, j + 1, k), at(i, j + 1, k)
                e, f, g, h = (q + 1 for q in (a, b, c, d))
                cells.append([(a, d, c, b), (e, f, g, h), (a, b, f, e), (b, c, g, f), (c, d, h, g), (d, a, e, h)])
    return points, cells


def decompose(mesh: Foam, part: Sequence[int]) -> list[Foam]:
    """Pieces as decomposePar makes them: all patches in each, then those between processors."""
    pieces = []
    for p in range(max(part) + 1):
        cells = np.flatnonzero(np.array(part) == p)
        new = {int(c): i for i, c in enumerate(cells)}
        pairs = list(zip(mesh.owner, mesh.neighbour, strict=False))
        rows = [(i, new[a], new[b]) for i, (a, b) in enumerate(pairs) if part[a] == p and part[b] == p]
        faces = [(i, mesh.faces[i], o, 1) for i, o, _ in rows]
        neighbour = [b for _, _, b in rows]
        patches = []
        for name, kind, start, count, groups in mesh.patches:
            own = [i for i in range(start, start + count) if part[mesh.owner[i]] == p]
            patches.append((name, kind, len(faces), len(own), groups))
            faces += [(i, mesh.faces[i], new[mesh.owner[i]], 1) for i in own]
        for q in range(max(part) + 1):
            cut = [(i, a, b) for i, (a, b) in enumerate(pairs) if {part[a], part[b]} == {p, q} and p != q]
            if cut:
                patches.append((f"procBoundary{p}to{q}", "processor", len(faces), len(cut), ()))
            for i, a, b in cut:
                mine = part[a] == p
                rim = mesh.faces[i] if mine else (mesh.faces[i][0], *mesh.faces[i][:0:-1])
                faces.append((i, rim, new[a if mine else b], 1 if mine else -1))
        used = np.unique([node for _, rim, _, _ in faces for node in rim])
        local = {int(node): i for i, node in enumerate(used)}
        ids = {"point": used, "cell": cells, "face": np.array([s * (i + 1) for i, _, _, s in faces])}
        rims = [tuple(local[node] for node in rim) for _, rim, _, _ in faces]
        pieces.append(Foam(mesh.points[used], rims, [o for _, _, o, _ in faces], neighbour, patches, ids))
    return pieces


@dataclass
class Writer:
    """Writes files of one form."""

    binary: bool = False
    label: int = 32
    scalar: int = 64
    packed: bool = False

    def put(self, path: Path, kind: str, body: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        arch = f'    arch "LSB;label={self.label};scalar={self.scalar}";\n' if self.binary else ""
        head = (
            "/*---- C++ ----*\\\n | a banner; { with ( signs |\n\\*----*/\nFoamFile\n{\n    version 2.0;\n"
            f"    format {'binary' if self.binary else 'ascii'};\n{arch}    class {kind};\n"
            f"    object {path.name};\n}}\n"
            "// * * * //\n\n"
        )
        raw = head.encode() + body
        if self.packed:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw))
        else:
            path.write_bytes(raw)

    def numbers(self, rows: np.ndarray, *, whole: bool = False) -> bytes:
        rows = np.asarray(rows)
        if self.binary:
            dtype = f"<i{self.label // 8}" if whole else f"<f{self.scalar // 8}"
            return f"\n{len(rows)}\n".encode() + (b"(" + rows.astype(dtype).tobytes() + b")" if len(rows) else b"")
        if whole:
            return f"{len(rows)}\n(\n".encode() + "\n".join(str(int(r)) for r in rows).encode() + b"\n)\n"
        lines = [
            repr(float(row[0])) if len(row) == 1 else "(" + " ".join(repr(float(v)) for v in row) + ")" for row in rows
        ]
        return f"{len(rows)}\n(\n".encode() + "\n".join(lines).encode() + b"\n)\n" if len(rows) else b"0()"

    def mesh(self, folder: Path, mesh: Foam, *, addressing: bool = True) -> None:
        self.put(folder / "points", "vectorField", self.numbers(mesh.points))
        if self.binary:
            offsets = np.cumsum([0, *(len(rim) for rim in mesh.faces)])
            flat = np.array([node for rim in mesh.faces for node in rim])
            body = self.numbers(offsets, whole=True) + self.numbers(flat, whole=True)
            self.put(folder / "faces", "faceCompactList", body)
        else:
            rims = [f"{len(rim)}({' '.join(map(str, rim))})" for rim in mesh.faces]
            self.put(folder / "faces", "faceList", f"{len(rims)}\n(\n{chr(10).join(rims)}\n)\n".encode())
        self.put(folder / "owner", "labelList", self.numbers(np.array(mesh.owner), whole=True))
        self.put(folder / "neighbour", "labelList", self.numbers(np.array(mesh.neighbour), whole=True))
        text = f"{len(mesh.patches)}\n(\n"
        for name, kind, start, count, groups in mesh.patches:
            of = f"inGroups {len(groups)}({' '.join(groups)});" if groups else ""
            text += f"    {name}\n    {{\n        type {kind};\n        {of}\n        nFaces {count};\n"
            text += f"        startFace {start};\n    }}\n"
        self.put(folder / "boundary", "polyBoundaryMesh", (text + ")\n").encode())
        for name, ids in mesh.ids.items() if addressing else ():
            self.put(folder / f"{name}ProcAddressing", "labelList", self.numbers(ids, whole=True))

    def field(self, path: Path, kind: str, mesh: Foam, value: Callable[[np.ndarray], np.ndarray], **of: str) -> None:
        """A field that is a function of the place; ``of``: patch -> its entry, instead of values."""
        name = "".join(("vol", kind[0].upper(), kind[1:], "Field"))
        rows = np.asarray(value(mesh.centers()), float).reshape(mesh.num_cells, WIDTH[kind])
        body = b"dimensions      [0 2 -2 0 0 0 0];\n\ninternalField   nonuniform List<" + kind.encode() + b"> "
        body += self.numbers(rows) + b";\n\nboundaryField\n{\n"
        for patch, type_, _, count, _ in mesh.patches:
            body += f"    {patch}\n    {{\n".encode()
            if patch in of:
                body += of[patch].encode()
            elif type_ == "empty":
                body += b"        type empty;\n"
            else:
                rim = np.asarray(value(mesh.face_centers(patch)), float).reshape(count, WIDTH[kind])
                body += b"        type calculated;\n        value nonuniform List<" + kind.encode() + b"> "
                body += self.numbers(rim) + b";\n"
            body += b"    }\n"
        self.put(path, name, body + b"}\n")

    def control(self, case: Path) -> Path:
        Writer().put(case / "system" / "controlDict", "dictionary", b"startTime 0;\nendTime 10;\n")
        return case
