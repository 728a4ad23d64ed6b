"""Reading gmsh meshes with their groups, numbers and data.

Version 2.2, 4.0 and 4.1 (1, 2.0 and 2.1 too), text and binary. Physical groups are parts; without any, the elementary
entities are. Cells of lower dimension than the highest are boundaries: parts to be chosen, no cells of the mesh.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from meshops.data.cells import DIMENSION, Array, Cells, make_cells, running_sum
from meshops.data.gmsh_sections import TYPES, Block, Sections, View, read_sections
from meshops.data.parts import select_cells
from meshops.data.reading import MeshRead, ReadNotes, Region, Time, choose_time
from meshops.errors import InputError, listing

ENTITIES = ("points", "curves", "surfaces", "volumes")

# How other files that end in .msh begin.
OTHERS = (
    (rb"\s*\(\s*\d+[\s(]", "a Fluent mesh"),
    (rb"\s*MESH\s", "a GiD mesh"),
    (rb"\s*\d+[ \t]+\d+[ \t]+\d+[ \t]*\r?\n\s*[-+.\d]", "a FreeFEM mesh"),
    (rb"\s*MeshVersionFormatted", "a Medit mesh (.mesh)"),
    (rb"\s*\*(?i:heading|node)", "an Abaqus input file (.inp)"),
    (rb"\x89HDF\r\n", "an HDF5 file (Fluent writes .msh.h5)"),
    (rb"# vtk DataFile", "a VTK file (.vtk)"),
)


def is_fluent(head: bytes) -> bool:
    """Tell from its beginning whether a file is a Fluent mesh or case: ``(0 "text") (2 3) (10 (0 1 ...``."""
    return re.match(OTHERS[0][0], head) is not None


def what_else(head: bytes) -> str | None:
    """What a ``.msh`` file is that does not come from gmsh; None: gmsh, or unknown."""
    if re.match(rb"\s*\$(MeshFormat|NOD)\b", head) or b"$MeshFormat" in head:
        return None
    return next((name for pattern, name in OTHERS if re.match(pattern, head)), None)


def read_gmsh(path: str | Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read a gmsh file.

    Cell arrays ``gmsh:physical`` (tag of the first group, 0: none), ``gmsh:geometrical`` (tag of the entity),
    ``gmsh:element`` and point array ``gmsh:node`` (numbers in the file), ``gmsh:partition`` where there are any.

    Args:
        path: File.
        region: Physical groups by name or tag (or entities, ``surface 3``, where there are no groups); None: all cells
            of the highest dimension.
        time: Of the data: ``"last"`` or a time of the file.

    Raises:
        InputError: Not a gmsh file (says what it is), cut off, damaged, elements of order 3 and more, no such region
            or time.
    """
    path = Path(path)
    label = str(path)
    raw = path.read_bytes()
    other = what_else(raw[:4096])
    if other is not None:
        raise InputError(f"{label}: is {other}, no gmsh mesh; convert it to .vtu or export it for gmsh (version 4.1)")
    file = read_sections(raw, label)
    if not file.blocks or not len(file.points):
        raise InputError(f"{label}: the mesh is empty (no {'elements' if len(file.points) else 'nodes'}); export again")
    notes = ReadNotes(file.header.name, precision="float64" if file.header.binary else "text")
    if file.skipped:
        notes.remarks.append(f"sections {listing(dict.fromkeys(file.skipped))} were not read")
    elements, same = _elements(file, label, notes)
    cells = _cells(file, elements, label)
    tags = _groups(file, elements)
    members = _members(file, elements, tags, same, notes)
    kept = np.flatnonzero(same == np.arange(same.size))
    place = np.cumsum(same == np.arange(same.size)) - 1
    members = {name: np.unique(place[same[ids]]) for name, ids in members.items()}
    point_data, cell_data = _data(file, elements, cells, same, kept, time, notes, label)
    numbers = {"gmsh:physical": _first_group(file, elements, tags), "gmsh:geometrical": elements.entity}
    numbers["gmsh:element"] = elements.numbers
    if elements.partition.any():
        numbers["gmsh:partition"] = elements.partition
        notes.remarks.append(f"the mesh is cut into {int(elements.partition.max())} partitions, they were put together")
    cell_data |= {name: values[kept] for name, values in numbers.items()}
    point_data["gmsh:node"] = file.node_numbers
    return select_cells(
        file.points, cells.take(kept), members, notes, region,
        label=label, point_data=point_data, cell_data=cell_data,
    )  # fmt: skip


class _Elements(Block):
    """All elements in the order of the file; ``kind`` is an array ``[k]``, ``nodes`` are lists end to end."""

    kinds: Array
    size: Array


def _elements(file: Sections, label: str, notes: ReadNotes) -> tuple[_Elements, Array]:
    """All elements, and for each the first with the same nodes: a cell of several groups stands there several times."""
    blocks = file.blocks
    place = np.concatenate([block.place for block in blocks])
    size = np.concatenate([np.full(len(block.numbers), block.nodes.shape[1]) for block in blocks])
    order = np.argsort(place, kind="stable")
    flat = np.concatenate([block.nodes.reshape(-1) for block in blocks])
    start = running_sum(size)[:-1]
    columns = {
        name: np.concatenate([getattr(block, name) for block in blocks])[order]
        for name in ("numbers", "entity", "physical", "partition")
    }
    entries = np.repeat(start[order] - running_sum(size[order])[:-1], size[order]) + np.arange(flat.size)
    kinds = np.concatenate([np.full(len(block.numbers), block.kind) for block in blocks])[order]
    out = _Elements(0, columns["numbers"], flat[entries], columns["entity"], columns["physical"],
                    columns["partition"], np.arange(place.size))  # fmt: skip
    out.kinds, out.size = kinds, size[order]
    same = _repeated(out) if file.header.version < 4 else np.arange(place.size)
    repeats = int((same != np.arange(place.size)).sum())
    if repeats:
        notes.remarks.append(
            f"{repeats:,} elements stand in the file once for each of their groups; each was read once"
        )
    if (kinds == 14).any():
        notes.remarks.append("the node in the middle of the base of pyramids with 14 nodes was left out")
    return out, same


def _repeated(elements: _Elements) -> Array:
    """For each element the first of the same entity with the same nodes and another physical group, or itself."""
    same = np.arange(elements.numbers.size)
    start = running_sum(elements.size)[:-1]
    for kind in np.unique(elements.kinds):
        index = np.flatnonzero(elements.kinds == kind)
        nodes = elements.nodes[start[index][:, None] + np.arange(elements.size[index[0]])]
        rows = np.column_stack([elements.entity[index], nodes])
        _, first, back = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        head = index[first[back.reshape(-1)]]
        differs = elements.physical[head] != elements.physical[index]
        same[index] = np.where(differs, head, index)
    return same


def _cells(file: Sections, elements: _Elements, label: str) -> Cells:
    """Elements as cells, nodes by place."""
    order = np.argsort(file.node_numbers, kind="stable")
    ordered = file.node_numbers[order]
    found = np.minimum(np.searchsorted(ordered, elements.nodes), ordered.size - 1)
    wrong = ordered[found] != elements.nodes
    if wrong.any():
        element = np.repeat(elements.numbers, elements.size)[wrong.argmax()]
        raise InputError(
            f"{label}: element {element} names node {elements.nodes[wrong.argmax()]}, which the file does not have; "
            "the file is damaged, export it again"
        )
    nodes = order[found]
    size, kind = elements.size.copy(), np.zeros(elements.size.size, dtype=np.uint8)
    start = running_sum(elements.size)[:-1]
    # Entries in the order of VTK; -1 for the ones VTK does not take.
    entries = np.arange(nodes.size)
    for number in np.unique(elements.kinds).tolist():
        vtk, count, turned = TYPES[number]
        index = np.flatnonzero(elements.kinds == number)
        kind[index] = vtk
        if turned is not None:
            size[index] = len(turned)
            entries[start[index][:, None] + np.arange(count)] = -1
            entries[start[index][:, None] + np.arange(len(turned))] = start[index][:, None] + np.array(turned)
    return make_cells(size, nodes[entries[entries >= 0]], kind)


def _groups(file: Sections, elements: _Elements) -> dict[tuple[int, int], Array]:
    """(dimension, tag) of each physical group -> its elements."""
    dimension = _dimension(elements)
    out: dict[tuple[int, int], list[Array]] = {}
    if file.header.version < 4:
        for dim in range(4):
            there = np.flatnonzero((dimension == dim) & (elements.physical > 0))
            for tag in np.unique(elements.physical[there]).tolist():
                out[dim, tag] = [there[elements.physical[there] == tag]]
    else:
        for dim, entity, ids in _entities(elements, dimension):
            for tag in file.groups.get((dim, entity), ()):
                out.setdefault((dim, tag), []).append(ids)
            part = file.partitions.get((dim, entity), 0)
            if part:
                elements.partition[ids] = part
    return {key: np.sort(np.concatenate(ids)) for key, ids in out.items()}


def _entities(elements: _Elements, dimension: Array) -> list[tuple[int, int, Array]]:
    """Dimension, tag and elements of each elementary entity."""
    key = dimension * (int(elements.entity.max()) + 1) + elements.entity
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
    lists = np.split(order, first[1:])
    return [(int(dimension[ids[0]]), int(elements.entity[ids[0]]), ids) for ids in lists]


def _dimension(elements: _Elements) -> Array:
    out: Array = DIMENSION[np.array([TYPES[k][0] for k in range(1, 20)])][elements.kinds - 1].astype(np.int64)
    return out


def _members(
    file: Sections, elements: _Elements, tags: dict[tuple[int, int], Array], same: Array, notes: ReadNotes
) -> dict[str, Array]:
    """Part -> elements: physical groups, and what is in none; without groups the entities."""
    dimension = _dimension(elements)
    if not tags:
        return {
            f"{ENTITIES[dim][:-1]} {tag}": ids
            for dim, tag, ids in sorted(_entities(elements, dimension), key=lambda row: (-row[0], row[1]))
        }
    keys = [key for key in file.names if key in tags] + [key for key in tags if key not in file.names]
    plain = [file.names.get(key, str(key[1])) for key in keys]
    out: dict[str, Array] = {}
    groups: dict[str, list[str]] = {}
    for (dim, tag), name in zip(keys, plain, strict=True):
        full = name if plain.count(name) == 1 else f"{name} ({ENTITIES[dim]})"
        out[full] = tags[dim, tag]
        for other in {name, str(tag)} - {full}:
            groups.setdefault(other, []).append(full)
    notes.groups = {name: tuple(parts) for name, parts in groups.items() if name not in out}
    free = np.ones(same.size, dtype=bool)
    free[np.concatenate(list(tags.values()))] = False
    for dim in range(3, -1, -1):
        if (ids := np.flatnonzero(free & (dimension == dim))).size:
            out[f"ungrouped {ENTITIES[dim]}"] = ids
    empty = [name for key, name in file.names.items() if key not in tags]
    if empty:
        notes.remarks.append(f"the groups {listing(empty)} hold no elements")
    return out


def _first_group(file: Sections, elements: _Elements, tags: dict[tuple[int, int], Array]) -> Array:
    out = np.zeros(elements.numbers.size, dtype=np.int64)
    for (_, tag), ids in reversed(tags.items()):
        out[ids] = tag
    return out


def _data(
    file: Sections, elements: _Elements, cells: Cells, same: Array, kept: Array, time: Time,
    notes: ReadNotes, label: str,
) -> tuple[dict[str, Array], dict[str, Array]]:  # fmt: skip
    """Arrays at the points and in the cells, at the wished time."""
    point_data: dict[str, Array] = {}
    cell_data: dict[str, Array] = {}
    views = _views_at(file.views, time, notes, label)
    for (section, name), parts in views.items():
        if section == "ElementNodeData":
            name, values = _at_points(file, elements, cells, parts, name, label)
            if name in point_data:
                name = f"{name}_of_elements"
            notes.remarks.append(f"'{name}' has a value per element and node; each point got the mean of its elements")
            point_data[name] = values
            continue
        nodal = section == "NodeData"
        numbers = file.node_numbers if nodal else elements.numbers
        rows, values = np.concatenate([v.rows for v in parts]), np.concatenate([v.values for v in parts])
        place = _places(numbers, rows, f"{label}: '{name}'")
        full = np.full((numbers.size, values.shape[1]), np.nan)
        full[place if nodal else same[place]] = values
        there = ~np.isnan(full).all(axis=1)
        full = full if nodal else full[kept]
        missing = int((~(there if nodal else there[kept])).sum())
        if missing:
            notes.remarks.append(
                f"'{name}' has no value at {missing:,} {'points' if nodal else 'elements'} (NaN there)"
            )
        (point_data if nodal else cell_data)[name] = full[:, 0] if full.shape[1] == 1 else full
    return point_data, cell_data


def _views_at(views: list[View], time: Time, notes: ReadNotes, label: str) -> dict[tuple[str, str], list[View]]:
    """(section, array) -> its rows at one time; partitions of an array are several."""
    # Programs that count steps often leave the time at 0.
    stepped = len({view.time for view in views}) == 1 and len({view.step for view in views}) > 1
    when = {id(view): float(view.step) if stepped else view.time for view in views}
    notes.times = tuple(sorted(set(when.values())))
    if notes.times or time != "last":
        notes.time = notes.times[choose_time(notes.times, time, label)]
    out: dict[tuple[str, str], list[View]] = {}
    for view in views:
        out.setdefault((view.section, view.name), []).append(view)
    for key, parts in list(out.items()):
        own = sorted({when[id(view)] for view in parts})
        mine = notes.time if notes.time in own else own[-1] if time == "last" or len(own) == 1 else None
        if mine is None:
            notes.remarks.append(f"'{key[1]}' was left out: it has no time {notes.time:g}")
            del out[key]
            continue
        if mine != notes.time:
            notes.remarks.append(f"'{key[1]}' is of time {mine:g}")
        step = max(view.step for view in parts if when[id(view)] == mine)
        out[key] = [view for view in parts if when[id(view)] == mine and view.step == step]
    return out


def _at_points(
    file: Sections, elements: _Elements, cells: Cells, parts: list[View], name: str, label: str
) -> tuple[str, Array]:
    """Values of elements at their nodes, averaged at each point."""
    sums = np.zeros((len(file.points), parts[0].values.shape[1]))
    count = np.zeros(len(file.points))
    start = running_sum(elements.size)[:-1]
    order = np.argsort(file.node_numbers, kind="stable")
    for view in parts:
        place = _places(elements.numbers, view.rows, f"{label}: '{name}'")
        corners = np.zeros(0, np.int64) if view.corners is None else view.corners
        if (corners > elements.size[place]).any():
            raise InputError(f"{label}: '{name}' has more values than nodes in an element; export it again")
        entry = np.arange(int(corners.sum())) - np.repeat(running_sum(corners)[:-1], corners)
        numbers = elements.nodes[np.repeat(start[place], corners) + entry]
        nodes = order[np.searchsorted(file.node_numbers[order], numbers)]
        np.add.at(sums, nodes, view.values)
        np.add.at(count, nodes, 1.0)
    with np.errstate(invalid="ignore"):
        values = sums / count[:, None]
    return name, values[:, 0] if values.shape[1] == 1 else values


def _places(numbers: Array, wanted: Array, what: str) -> Array:
    order = np.argsort(numbers, kind="stable")
    found = np.minimum(np.searchsorted(numbers[order], wanted), numbers.size - 1)
    place: Array = order[found]
    if (numbers[place] != wanted).any():
        first = wanted[(numbers[place] != wanted).argmax()]
        raise InputError(f"{what} has a value for number {first}, which the file does not have; export it again")
    return place
