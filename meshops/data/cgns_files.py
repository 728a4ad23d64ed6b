"""Surfaces and volumes as CGNS in HDF5 (SIDS 4.x), written node by node: one zone, arrays at its vertices.

Every node is a group with the attributes name, label, type and flags, and its array under `` data``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshops.errors import InputError, listing
from meshops.io import replacing

Array = np.ndarray[Any, Any]
TYPES = {"int32": "I4", "int64": "I8", "float32": "R4", "float64": "R8", "int8": "C1"}
# VTK cell type -> CGNS element type, nodes in the same order.
ELEMENTS = {5: ("Tri", 5), 9: ("Quad", 7), 10: ("Tetra", 10), 12: ("Hexa", 17), 13: ("Penta", 14), 14: ("Pyra", 12)}


def write_cgns(
    path: str | Path, points: Array, cells: Mapping[int, Array], arrays: Mapping[str, Array], *,
    scalars: Mapping[str, float] | None = None,
) -> Path:  # fmt: skip
    """Write one mesh with arrays at its points.

    Args:
        path: The file, ``.cgns``.
        points: ``[n, 3]``, m.
        cells: VTK cell type (5 triangle, 9 quadrilateral, 10, 12, 13, 14) -> ``[m, k]`` points of each cell.
        arrays: Name -> ``[n]`` or ``[n, 3]``; components of vectors get the endings X, Y, Z.
        scalars: Numbers of the case, into a base ``Global`` as PLAID has it.

    Returns:
        The path.

    Raises:
        InputError: A kind of cell CGNS does not have here, or an array of another length.
    """
    import h5py

    unknown = set(cells) - set(ELEMENTS)
    wrong = [name for name, values in arrays.items() if len(values) != len(points)]
    if unknown or wrong:
        raise InputError(
            f"{path}: takes cells of the VTK types {listing(map(str, ELEMENTS))}, arrays at all {len(points)} points; "
            f"got the types {listing(map(str, sorted(cells)))}, other lengths in {listing(wrong) or 'none'}"
        )
    surface = set(cells) <= {5, 9}
    with (
        replacing(path) as aside,
        h5py.File(aside, "w", libver=("earliest", "v110"), track_order=True) as file,
    ):
        _root(file)
        base = _node(file, "Base", "CGNSBase_t", np.array([2 if surface else 3, 3], dtype=np.int32))
        count = sum(len(nodes) for nodes in cells.values())
        zone = _node(base, "Zone", "Zone_t", np.array([[len(points)], [count], [0]], dtype=np.int32))
        _node(zone, "ZoneType", "ZoneType_t", "Unstructured")
        grid = _node(zone, "GridCoordinates", "GridCoordinates_t")
        for axis, values in zip("XYZ", np.asarray(points, dtype=np.float64).T, strict=True):
            _node(grid, f"Coordinate{axis}", "DataArray_t", np.ascontiguousarray(values))
        first = 1
        for kind, nodes in cells.items():
            name, number = ELEMENTS[kind]
            section = _node(zone, name, "Elements_t", np.array([number, 0], dtype=np.int32))
            _node(section, "ElementRange", "IndexRange_t", np.array([first, first + len(nodes) - 1], dtype=np.int32))
            _node(section, "ElementConnectivity", "DataArray_t", (np.asarray(nodes) + 1).ravel().astype(np.int32))
            first += len(nodes)
        solution = _node(zone, "VertexFields", "FlowSolution_t")
        _node(solution, "GridLocation", "GridLocation_t", "Vertex")
        for name, values in arrays.items():
            columns = np.asarray(values, dtype=np.float64).reshape(len(points), -1).T
            for ending, column in zip("XYZ" if len(columns) > 1 else ("",), columns, strict=True):
                _node(solution, f"{name}{ending}", "DataArray_t", np.ascontiguousarray(column))
        if scalars:
            globals_ = _node(file, "Global", "CGNSBase_t", np.array([1, 1], dtype=np.int32))
            for name, value in scalars.items():
                _node(globals_, name, "DataArray_t", np.array([value], dtype=np.float64))
    return Path(path)


def _root(file: Any) -> None:
    about = (("name", "HDF5 MotherNode", 33), ("label", "Root Node of HDF5 File", 33), ("type", "MT", 3))
    for key, value, size in about:
        file.attrs.create(key, value.encode(), dtype=f"S{size}")
    file.create_dataset(" format", data=np.frombuffer(b"IEEE_LITTLE_32\0", dtype=np.int8))
    version = b"HDF5 Version 1.10.0".ljust(33, b"\0")
    file.create_dataset(" hdf5version", data=np.frombuffer(version, dtype=np.int8))
    _node(file, "CGNSLibraryVersion", "CGNSLibraryVersion_t", np.array([4.0], dtype=np.float32))


def _node(parent: Any, name: str, label: str, data: Any = None) -> Any:
    """Add a node; text and arrays are its data."""
    group = parent.create_group(name, track_order=True)
    if isinstance(data, str):
        data = np.frombuffer(data.encode(), dtype=np.int8)
    kind = "MT" if data is None else TYPES[str(np.asarray(data).dtype)]
    for key, value, size in (("name", name, 33), ("label", label, 33), ("type", kind, 3)):
        group.attrs.create(key, value.encode(), dtype=f"S{size}")
    group.attrs["flags"] = np.array([1], dtype=np.int32)
    if data is not None:
        group.create_dataset(" data", data=np.asarray(data))
    return group
