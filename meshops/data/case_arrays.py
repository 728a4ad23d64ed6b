"""A case in a file of named arrays: NumPy ``.npz``, HDF5, MATLAB ``.mat``.

There is no standard for these, but habits: coordinates of points under a telling name (or a column each), values with
a row per point, cells as rows of point numbers, single numbers that were set or came out. What fits none of them is
named in a remark and left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshops.data import vtk_formats
from meshops.data.hdf5_files import is_hdf5
from meshops.data.reading import MeshRead, ReadNotes, Region, Time
from meshops.errors import InputError, listing

Array = NDArray[Any]
SUFFIXES = (".npz", ".h5", ".hdf5", ".mat")
MOST_ARRAYS, MOST_COMPONENTS = 500, 9
POINTS = re.compile(
    r"(mesh|node|nodal|grid|point|vertex|cell|sample)?[_ ]?"
    r"(points?|pos|positions?|coords?|coordinates?|nodes|vertices|xyz?|locations?|cent(?:er|re|roid)s?)(_?\d?d)?",
    re.IGNORECASE,
)
AXIS = re.compile(
    r"(?:coord(?:inate)?s?|pos(?:ition)?|points?|grid|mesh|nodes?)?[_\-]?([xyz])(?:[_\-]?(?:coords?|coordinates?))?",
    re.IGNORECASE,
)
CELLS = re.compile(
    r"(mesh_?)?(cells?|elements?|elems?|triangles?|tris?|faces|connectivity|conn|simplices|quads?|tets?|tetrahedra|"
    r"hexa?|hexahedra|topology|node_connectivity)",
    re.IGNORECASE,
)
KINDS = {"tri": 5, "quad": 9, "tet": 10, "hex": 12, "wedge": 13, "pyramid": 14}  # VTK's numbers


def read_case_arrays(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Points with the arrays of a file at them, and its cells where it has some.

    Raises:
        InputError: No coordinates, no values at them, or no arrays at all; says what the file holds.
    """
    if path.suffix.lower() in (".h5", ".hdf5") and _is_vtkhdf(path):
        return vtk_formats.read_vtkhdf(path, region=region, time=time)
    if time != "last":
        raise InputError(f"{path}: time={time!r}, but a file of arrays says no times; leave it out")
    arrays = dict(_arrays(path))
    if not arrays:
        raise InputError(f"{path}: holds no arrays of numbers")
    points, used, shape = _points(arrays, path)
    mesh, told = _with_cells(arrays, used, points)
    title = "HDF5 arrays" if is_hdf5(path) else "NumPy arrays" if path.suffix.lower() == ".npz" else "MATLAB arrays"
    notes = ReadNotes(title, precision=str(points.dtype))
    notes.remarks += told
    left = []
    for name, values in arrays.items():
        if name in used:
            continue
        if values.size == 1:
            mesh.field_data[_last(name, arrays)] = values.reshape(1).astype(np.float64)
            continue
        rows = _rows(values, len(points), shape)
        if rows is not None:
            mesh.point_data[_last(name, arrays)] = rows
        elif mesh.n_cells and len(points) != mesh.n_cells == len(values) and values.ndim <= 2:
            mesh.cell_data[_last(name, arrays)] = values
        else:
            left.append(f"{name} {list(values.shape)}")
    if left:
        notes.remarks.append(f"arrays left out, which have no row per point: {listing(left, 8)}")
    return MeshRead(mesh, notes)


def _points(arrays: Mapping[str, Array], path: Path) -> tuple[Array, set[str], tuple[int, ...]]:
    """``[n, 3]`` coordinates, the arrays they are made of, and the shape of the grid where they lie on one."""
    for name, values in arrays.items():
        if POINTS.fullmatch(_tail(name)) and values.dtype.kind == "f" and values.ndim >= 2:
            if values.shape[-1] in (2, 3) and values.shape[0] > 3:
                return _padded(values.reshape(-1, values.shape[-1])), {name}, values.shape[:-1]
            if values.ndim == 2 and values.shape[0] in (2, 3):
                return _padded(values.T), {name}, values.shape[1:]
    axes: dict[str, str] = {}
    for name, values in arrays.items():
        match = AXIS.fullmatch(_tail(name))
        if match and values.dtype.kind in "fiu" and values.size > 3:
            axes.setdefault(match[1].lower(), name)
    found = [arrays[axes[axis]] for axis in "xyz" if axis in axes]
    if len(found) >= 2 and len({values.shape for values in found}) == 1:
        return (
            _padded(np.stack([v.reshape(-1) for v in found], 1).astype(np.float64)),
            set(axes.values()),
            found[0].shape,
        )
    shown = listing((f"{name} {list(values.shape)}" for name, values in arrays.items()), 10)
    raise InputError(
        f"{path}: no coordinates of points; call them 'points' [n, 2 or 3], or x, y, z [n]. The file holds {shown}"
    )


def _padded(points: Array) -> Array:
    return np.ascontiguousarray(np.pad(points, ((0, 0), (0, 3 - points.shape[1]))))


def _with_cells(arrays: Mapping[str, Array], used: set[str], points: Array) -> tuple[Any, list[str]]:
    """A mesh where an array names the points of cells, else a cloud; and what was assumed."""
    import pyvista as pv

    for name, values in arrays.items():
        if name in used or not CELLS.fullmatch(_tail(name)) or values.ndim != 2 or not len(values):
            continue
        whole = values.astype(np.int64)
        if values.dtype.kind == "f" and not np.array_equal(whole, values):
            continue
        kind = _kind(_tail(name).lower(), values.shape[1], points)
        first = int(whole.min())
        if kind is None or first not in (0, 1) or int(whole.max()) - first >= len(points):
            continue
        used.add(name)
        rows = np.column_stack([np.full(len(whole), whole.shape[1]), whole - first]).reshape(-1)
        told = [f"cells are those of '{name}'" + (", counted from 1" if first else "")]
        return pv.UnstructuredGrid(rows, np.full(len(whole), kind, dtype=np.uint8), points), told
    return pv.PolyData(points), []


def _kind(name: str, corners: int, points: Array) -> int | None:
    """VTK's number of a cell with so many corners; four are a tetrahedron where the points fill a space."""
    for word, kind in KINDS.items():
        if word in name and corners == {"tri": 3, "quad": 4, "tet": 4, "hex": 8, "wedge": 6, "pyramid": 5}[word]:
            return kind
    extent = np.ptp(points, axis=0)
    solid = bool((extent > 1e-6 * extent.max()).all()) and "face" not in name
    return {3: 5, 4: 10 if solid else 9, 5: 14, 6: 13, 8: 12}.get(corners)


def _rows(values: Array, count: int, shape: tuple[int, ...]) -> Array | None:
    """``[n]`` or ``[n, k]`` an array with a row per point, or on the grid of the points; None: it has not."""
    if values.ndim and len(values) == count and math.prod(values.shape[1:]) <= MOST_COMPONENTS:
        rows = values.reshape(count, -1)
    elif len(shape) > 1 and values.shape[: len(shape)] == shape and values.size <= MOST_COMPONENTS * count:
        rows = values.reshape(count, -1)
    elif values.ndim == 2 and values.shape[1] == count and values.shape[0] <= MOST_COMPONENTS:
        rows = values.T
    else:
        return None
    return np.ascontiguousarray(rows[:, 0] if rows.shape[1] == 1 else rows)


def _tail(name: str) -> str:
    return name.rpartition("/")[2]


def _last(name: str, arrays: Mapping[str, Array]) -> str:
    """The last part of the name of an array, the whole name where two have the same."""
    tail = _tail(name)
    return tail if sum(_tail(other) == tail for other in arrays) == 1 else name.replace("/", "_")


def _arrays(path: Path) -> Iterator[tuple[str, Array]]:
    """Arrays of numbers by name; text, objects and the like are passed over."""
    if is_hdf5(path):
        yield from _of_hdf5(path)
    elif path.suffix.lower() == ".mat":
        from scipy.io import loadmat

        for name, values in loadmat(path).items():
            if not name.startswith("__") and isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
                yield name, values.reshape(-1) if values.ndim == 2 and 1 in values.shape else values
    else:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files[:MOST_ARRAYS]:
                try:
                    values = file[name]
                except ValueError:  # objects, which would have to be run
                    continue
                if values.dtype.kind in "fiub":
                    yield name, values


def _of_hdf5(path: Path) -> Iterator[tuple[str, Array]]:
    import h5py

    names: list[str] = []
    with h5py.File(path, "r") as file:

        def visit(name: str, entry: Any) -> bool | None:
            if isinstance(entry, h5py.Dataset) and entry.dtype.kind in "fiub":
                names.append(name)
            return True if len(names) >= MOST_ARRAYS else None

        file.visititems(visit)
        matlab = path.suffix.lower() == ".mat"
        for name in names:
            if name.startswith("#"):
                continue
            values = np.asarray(file[name][()])
            yield name, values.T.squeeze() if matlab else values
        for name, value in file.attrs.items():
            if np.size(value) == 1 and np.asarray(value).dtype.kind in "fiu" and name not in names:
                yield name, np.asarray(value)


def _is_vtkhdf(path: Path) -> bool:
    import h5py

    with h5py.File(path, "r") as file:
        return "VTKHDF" in file
