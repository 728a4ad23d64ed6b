"""Reading results of CalculiX (``.frd``, text): mesh, fields at the nodes, several steps.

Fixed columns as in the manual of CalculiX GraphiX, section "Result Format". The order of the middle nodes of bricks and
wedges is not that of VTK.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from meshops.data.cells import Array, Mesh, make_cells, mesh_of
from meshops.data.meshio_formats import part_read
from meshops.data.reading import MeshRead, ReadNotes, Region, Time, choose_time
from meshops.errors import InputError

# Type of the file -> VTK type, order of its nodes.
KINDS: dict[int, tuple[int, tuple[int, ...]]] = {
    1: (12, tuple(range(8))), 2: (13, tuple(range(6))), 3: (10, tuple(range(4))),
    4: (25, (*range(12), *range(16, 20), *range(12, 16))), 5: (26, (*range(9), *range(12, 15), *range(9, 12))),
    6: (24, tuple(range(10))), 7: (5, (0, 1, 2)), 8: (22, tuple(range(6))), 9: (9, tuple(range(4))),
    10: (23, tuple(range(8))), 11: (3, (0, 1)), 12: (21, (0, 1, 2)),
}  # fmt: skip
LONG_NUMBER = re.compile(r"[-+]?\d\.\d+E[-+]\d{3}")


@dataclass
class Result:
    """One field of one step: values by node."""

    name: str
    time: float
    components: list[str] = field(default_factory=list)
    rows: dict[int, list[float]] = field(default_factory=dict)


def read_frd(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read the mesh of an ``.frd`` file and the fields of one step.

    Raises:
        InputError: Binary, damaged or cut off.
    """
    lines = path.read_bytes().decode("latin-1").splitlines()
    try:
        nodes, cells, results = _blocks(lines, path)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: the file is damaged or cut off ({error}); export or copy it again") from error
    if not nodes or not cells:
        raise InputError(f"{path}: the mesh is empty (no {'cells' if nodes else 'points'}); check the export")
    notes = ReadNotes("CalculiX frd, text", precision="text")
    if not any(line.strip() == "9999" for line in lines[-3:]):
        notes.remarks.append("the last line (9999) is missing: the run had not ended, or the file is cut off")
    mesh, groups = _mesh(nodes, cells, path)
    notes.times = tuple(dict.fromkeys(result.time for result in results))
    if notes.times:
        notes.time = notes.times[choose_time(notes.times, time, str(path))]
    place = {number: i for i, number in enumerate(nodes)}
    for result in (r for r in results if r.time == notes.time):
        values = np.full((len(place), len(result.components)), np.nan)
        for number, row in result.rows.items():
            if number in place and len(row) >= len(result.components):
                values[place[number]] = row[: len(result.components)]
        mesh.point_data[result.name] = values[:, 0] if values.shape[1] == 1 else values
        lacking = int(np.isnan(values).any(axis=1).sum())
        if lacking:
            notes.remarks.append(f"'{result.name}' is missing at {lacking} of {len(place)} points: NaN there")
    numbers = np.unique(groups)
    parts = {f"material_{n}": np.flatnonzero(groups == n) for n in numbers} if numbers.size > 1 else {}
    return part_read(mesh, notes, parts, region, str(path))


def _blocks(
    lines: list[str], path: Path
) -> tuple[dict[int, tuple[float, ...]], list[tuple[int, int, list[int]]], list[Result]]:
    nodes: dict[int, tuple[float, ...]] = {}
    cells: list[tuple[int, int, list[int]]] = []
    results: list[Result] = []
    block, width, when = "", 10, 0.0
    for line in lines:
        key = line[:6].strip()
        if key in ("2C", "3C") or key.startswith("100C"):
            block = key[:4]
            form = line[73:75].strip() or "1"
            if form in ("2", "3"):
                raise InputError(f"{path}: a binary .frd file; write it as text (ccx does so by default)")
            width = 5 if form == "0" else 10
            when = float(line[12:24]) if block == "100C" else when
        elif line.startswith(" -4") and block == "100C":
            results.append(Result(line[5:13].strip(), when))
        elif line.startswith(" -5") and block == "100C":
            words = line[13:].split()
            if len(words) < 5 or not words[4].startswith("1"):  # 1: computed from others by the program that shows it
                results[-1].components.append(line[5:13].strip())
        elif line.startswith(" -3"):
            block = ""
        elif line.startswith((" -1", " -2")) and block:
            _row(line, block, width, nodes, cells, results)
    if block:
        raise ValueError("the last block has no end")
    return nodes, cells, results


def _row(
    line: str, block: str, width: int, nodes: dict[int, tuple[float, ...]], cells: list[tuple[int, int, list[int]]],
    results: list[Result],
) -> None:  # fmt: skip
    rest = line[3:].rstrip()
    if block == "3C":
        if line.startswith(" -1"):
            kind, _group, material = (int(rest[width + 5 * i : width + 5 * i + 5]) for i in range(3))
            cells.append((kind, material, []))
        else:
            cells[-1][2].extend(int(rest[i : i + width]) for i in range(0, len(rest), width))
        return
    values = _values(rest[width:])
    if block == "2C":
        nodes[int(rest[:width])] = (values[0], values[1], values[2])
    elif line.startswith(" -1"):
        results[-1].rows[int(rest[:width])] = values
    else:
        next(reversed(results[-1].rows.values())).extend(values)


def _values(text: str) -> list[float]:
    """Numbers of 12 columns; compilers that write three digits of an exponent make some of 13."""
    if len(text) % 12 == 0:
        return [float(text[i : i + 12]) for i in range(0, len(text), 12)]
    return [float(number) for number in LONG_NUMBER.findall(text)]


def _mesh(
    nodes: dict[int, tuple[float, ...]], cells: list[tuple[int, int, list[int]]], path: Path
) -> tuple[Mesh, Array]:
    place = {number: i for i, number in enumerate(nodes)}
    size, flat, kinds = [], [], []
    for number, _, corners in cells:
        if number not in KINDS:
            raise InputError(f"{path}: elements of the unknown type {number}; known are 1 to 12")
        kind, order = KINDS[number]
        if len(corners) != len(order) or any(corner not in place for corner in corners):
            raise InputError(
                f"{path}: an element names points that are not there; the file is damaged, export it again"
            )
        flat += [place[corners[i]] for i in order]
        size.append(len(order))
        kinds.append(kind)
    mesh = mesh_of(np.array(list(nodes.values())), make_cells(np.array(size), np.array(flat), np.array(kinds)),
                   as_grid=True)  # fmt: skip
    return mesh, np.array([material for _, material, _ in cells])
