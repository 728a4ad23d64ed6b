"""Writes gmsh files in all dialects, from one description, for tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Entity:
    dim: int
    tag: int
    groups: list[int]
    kind: int
    numbers: np.ndarray
    nodes: np.ndarray  # [k, n], by number
    partition: int = 0


@dataclass
class Msh:
    numbers: np.ndarray
    points: np.ndarray
    entities: list[Entity]
    names: dict[tuple[int, int], str] = field(default_factory=dict)
    views: list[tuple] = field(default_factory=list)  # section, name, time, step, rows, values


class Sink:
    """Collects numbers as text or bytes."""

    def __init__(self, binary: bool, order: str, newline: str = "\n") -> None:
        self.binary, self.order, self.out, self.newline = binary, order, b"", newline

    def _put(self, values: Sequence[float], code: str) -> None:
        if self.binary:
            self.out += struct.pack(f"{self.order}{len(values)}{code}", *values)
        else:
            self.out += (" ".join(repr(float(v)) if code == "d" else str(int(v)) for v in values) + " ").encode()

    def i(self, *values: int) -> None:
        self._put([int(v) for v in values], "i")

    def s(self, *values: int) -> None:
        self._put([int(v) for v in values], "Q")

    def d(self, *values: float) -> None:
        self._put([float(v) for v in values], "d")

    def line(self) -> None:
        if not self.binary:
            self.out += self.newline.encode()

    def text(self, text: str) -> None:
        self.out += (text + self.newline).encode()


def write_msh(
    mesh: Msh, version: str = "4.1", *, binary: bool = False, order: str = "<", extra: bool = False, newline: str = "\n"
) -> bytes:
    sink = Sink(binary, order, newline)
    sink.text("$MeshFormat")
    sink.text(f"{version} {int(binary)} 8")
    if binary:
        sink.out += struct.pack(order + "i", 1) + b"\n"
    sink.text("$EndMeshFormat")
    if extra:
        for name in ("Comments", "Parametrizations"):
            sink.text(f"${name}\nanything 1 2 3\n$End{name}")
    if mesh.names:
        sink.text("$PhysicalNames")
        sink.text(str(len(mesh.names)))
        for (dim, tag), name in mesh.names.items():
            sink.text(f'{dim} {tag} "{name}"')
        sink.text("$EndPhysicalNames")
    {"2.2": _two, "4.0": _four, "4.1": _four}[version](sink, mesh, version)
    if extra:
        sink.text("$Periodic\n0\n$EndPeriodic")
    for view in mesh.views:
        _view(sink, *view)
    return sink.out


def _section(sink: Sink, name: str, end: bool = False) -> None:
    if end and sink.binary:
        sink.out += b"\n"
    sink.text(("$End" if end else "$") + name)


def _two(sink: Sink, mesh: Msh, version: str) -> None:
    _section(sink, "Nodes")
    sink.text(str(len(mesh.numbers)))
    for number, point in zip(mesh.numbers, mesh.points, strict=True):
        sink.i(number)
        sink.d(*point)
        sink.line()
    _section(sink, "Nodes", True)
    rows = []
    for e in mesh.entities:
        for group in e.groups or [0]:  # once for each group
            rows += [(e, group, number, nodes) for number, nodes in zip(e.numbers, e.nodes, strict=True)]
    _section(sink, "Elements")
    sink.text(str(len(rows)))
    for e, group, number, nodes in rows:
        tags = [group, e.tag] + ([1, e.partition] if e.partition else [])
        number = number if group in (0, *e.groups[:1]) else number + 100_000
        if sink.binary:
            sink.i(e.kind, 1, len(tags), number, *tags, *nodes)
        else:
            sink.i(number, e.kind, len(tags), *tags, *nodes)
        sink.line()
    _section(sink, "Elements", True)


def _four(sink: Sink, mesh: Msh, version: str) -> None:
    new = version == "4.1"
    _section(sink, "Entities")
    by_dim = [{e.tag: e for e in mesh.entities if e.dim == dim} for dim in range(4)]
    sink.s(*(len(of) for of in by_dim))
    sink.line()
    for dim, of in enumerate(by_dim):
        for e in of.values():
            sink.i(e.tag)
            sink.d(*([0.0] * (3 if dim == 0 and new else 6)))
            sink.s(len(e.groups))
            sink.i(*e.groups)
            if dim:
                sink.s(2)
                sink.i(1, -2)
            sink.line()
    _section(sink, "Entities", True)
    _section(sink, "Nodes")
    # Two blocks of nodes, the second with parameters.
    half = len(mesh.numbers) // 2
    sink.s(2, len(mesh.numbers), *((int(mesh.numbers.min()), int(mesh.numbers.max())) if new else ()))
    sink.line()
    for dim, parametric, span in ((2, 0, slice(0, half)), (2, 1, slice(half, None))):
        numbers, points = mesh.numbers[span], mesh.points[span]
        sink.i(*((dim, 1, parametric) if new else (1, dim, parametric)))
        sink.s(len(numbers))
        sink.line()
        more = [0.25, 0.5] if parametric else []
        if new:
            for number in numbers:
                sink.s(number)
                sink.line()
            for point in points:
                sink.d(*point, *more)
                sink.line()
        else:
            for number, point in zip(numbers, points, strict=True):
                sink.i(number)
                sink.d(*point, *more)
                sink.line()
    _section(sink, "Nodes", True)
    _section(sink, "Elements")
    every = np.concatenate([e.numbers for e in mesh.entities])
    sink.s(len(mesh.entities), len(every), *((int(every.min()), int(every.max())) if new else ()))
    sink.line()
    for e in mesh.entities:
        sink.i(*((e.dim, e.tag) if new else (e.tag, e.dim)), e.kind)
        sink.s(len(e.numbers))
        sink.line()
        for number, nodes in zip(e.numbers, e.nodes, strict=True):
            (sink.s if new else sink.i)(number, *nodes)
            sink.line()
    _section(sink, "Elements", True)


def _view(sink: Sink, section: str, name: str, time: float, step: int, rows: Sequence[int], values: Sequence) -> None:
    width = np.asarray(values[0]).shape[-1]
    sink.text(f'${section}\n1\n"{name}"\n1\n{time!r}\n3\n{step}\n{width}\n{len(rows)}')
    for row, value in zip(rows, values, strict=True):
        sink.i(row)
        if section == "ElementNodeData":
            sink.i(len(value))
        sink.d(*np.ravel(value))
        sink.line()
    if sink.binary:
        sink.out += b"\n"
    sink.text(f"$End{section}")
