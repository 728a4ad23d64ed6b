"""Arrays of all cases on one mesh that they share: fields, and numbers per case beside them.

``axes`` of an array say what each of its axes counts: ``cases``, ``nodes``, ``channels``, and for numbers per case
``columns``. Without ``cases`` the file is a pattern: one file per case.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from meshops.datasets.folder.array_files import Array, shapes_in, take
from meshops.datasets.folder.description import Description, Snapshot
from meshops.datasets.folder.patterns import select, stem
from meshops.datasets.folder.tables import ID_NAMES, SUFFIXES, is_number, read_table
from meshops.datasets.folder.walk import list_folder
from meshops.errors import InputError, MissingDataError, listing

AXES = ("cases", "nodes", "channels", "columns")


def snapshot_files(study: Description, entry: Snapshot) -> list[PurePosixPath]:
    """Files of an array: one, or one per case.

    Raises:
        MissingDataError: None is there.
    """
    if "cases" in entry.axes:
        return [PurePosixPath(entry.file)]
    found = select(list_folder(study.root).files, entry.file)
    if not found:
        raise MissingDataError(f"{study.root}: no file fits '{entry.file}' of the snapshots of '{entry.name}'")
    return found


def count_cases(study: Description) -> int:
    """Number of cases that the arrays hold.

    Raises:
        InputError: There are none, or they disagree.
    """
    counts = {}
    for entry in study.snapshots:
        unknown = [axis for axis in entry.axes if axis not in AXES]
        if unknown or len(set(entry.axes)) < len(entry.axes):
            raise InputError(
                f"snapshots: axes of '{entry.name}' must be of {listing(AXES)}, each once, got {entry.axes}"
            )
        files = snapshot_files(study, entry)
        if "cases" not in entry.axes:
            counts[entry.name] = len(files)
            continue
        shapes = shapes_in(study.root / entry.file)
        if entry.key not in shapes:
            raise InputError(f"{study.root / entry.file}: no array '{entry.key}'; there are {listing(shapes)}")
        shape = shapes[entry.key]
        if len(shape) != len(entry.axes):
            raise InputError(f"{study.root / entry.file}: '{entry.key}' has shape {shape}, the axes are {entry.axes}")
        counts[entry.name] = shape[entry.axes.index("cases")]
    if not counts:
        raise InputError(f"{study.root}: the layout 'snapshots' needs the entry snapshots: {{p: {{file: p.npy}}}}")
    if len(set(counts.values())) > 1:
        text = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"{study.root}: the snapshots hold different numbers of cases: {text}; correct their axes")
    return next(iter(counts.values()))


def row_names(study: Description, count: int) -> list[str]:
    """Names of the cases: of files per case, of the labels in a table with as many rows, else numbered from 1."""
    for entry in study.snapshots:
        if "cases" not in entry.axes:
            names = [stem(path.name) for path in snapshot_files(study, entry)]
            if len(set(names)) == len(names):
                return names
    for path in select(list_folder(study.root).with_suffix(SUFFIXES), study.tables):
        table = read_table(study.root / path)
        first = table.columns[0]
        labels = table.texts(first)
        if len(labels) == count and len(set(labels)) == count and all(labels):
            if not any(is_number(text) for text in labels):
                return labels
            if first.lower() in ID_NAMES and all(text.isdigit() for text in labels):
                return [f"case_{text}" for text in labels]
    width = len(str(count))
    return [f"case_{i + 1:0{width}d}" for i in range(count)]


def field_rows(study: Description, entry: Snapshot, row: int) -> Array:
    """``[nodes, channels]`` of one case."""
    files = snapshot_files(study, entry)
    if "cases" in entry.axes:
        axis = entry.axes.index("cases")
        values = take(study.root / files[0], entry.key, axis, row)
    else:
        values = take(study.root / files[row], entry.key, None, 0)
    axes = [axis for axis in entry.axes if axis != "cases"]
    values = np.asarray(values)
    if values.ndim > len(axes):  # [n, 1] of MATLAB
        values = values.squeeze()
    return values.T if axes == ["channels", "nodes"] else values.reshape(len(values), -1)


def parameter_columns(study: Description) -> dict[str, list[float]]:
    """Numbers per case that lie in arrays: name -> one for each case."""
    out: dict[str, list[float]] = {}
    for entry in study.snapshots:
        if "nodes" in entry.axes or "cases" not in entry.axes:
            continue
        values = np.asarray(take(study.root / entry.file, entry.key, None, 0), dtype=np.float64)
        if entry.axes.index("cases") == 1:
            values = values.T
        columns = values.reshape(len(values), -1)
        for i in range(columns.shape[1]):
            name = entry.name if columns.shape[1] == 1 else f"{entry.name}_{i}"
            out[name] = columns[:, i].tolist()
    return out


def orientations(shape: Sequence[int], points: int, cells: int, cases: int | None) -> list[tuple[tuple[str, ...], str]]:
    """What the axes of an array may count, and where its nodes are; the likeliest first.

    Args:
        shape: Of the array.
        points: Number of points of the mesh.
        cells: Number of its cells.
        cases: Rows of the table of parameters; None: there is none.

    Example:
        >>> orientations((100, 5000), 5000, 9800, 100)
        [(('cases', 'nodes'), 'point')]
    """
    out = []
    nodes = [
        (axis, place)
        for place, count in (("point", points), ("cell", cells))
        for axis, n in enumerate(shape)
        if n == count
    ]
    for axis, place in nodes:
        rest = [i for i in range(len(shape)) if i != axis]
        if len(rest) == 1 and (cases is None or shape[rest[0]] == cases):
            names = {axis: "nodes", rest[0]: "cases"}
            out.append((tuple(names[i] for i in range(2)), place))
        for cased, channel in ((rest[0], rest[1]), (rest[1], rest[0])) if len(rest) == 2 else ():
            if shape[channel] <= 9 and (shape[cased] == cases if cases is not None else shape[cased] > shape[channel]):
                names = {axis: "nodes", cased: "cases", channel: "channels"}
                out.append((tuple(names[i] for i in range(3)), place))
    return sorted(out, key=lambda item: (item[0].index("cases"), item[1] != "point"))
