"""CGNS: files written with h5py, node by node, as the CGNS library lays them out in HDF5."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pyvista as pv

from meshops.data import readers
from meshops.data.blocks import as_mesh
from meshops.data.cgns_files import ELEMENTS
from meshops.data.cgns_files import write_cgns as write_mesh_cgns
from meshops.errors import InputError

TYPES = {"int32": "I4", "int64": "I8", "float32": "R4", "float64": "R8", "int8": "C1"}


def node(parent: Any, name: str, label: str, data: Any = None) -> Any:
    """Add a node; text and arrays (indices reversed, as in Fortran) are its data."""
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


def write_cgns(
    path: Path, zones: Mapping[str, tuple[np.ndarray, np.ndarray, Mapping[str, Any], Mapping[str, Any]]]
) -> Path:
    """Zones ``name -> (points, hexahedra, arrays at the vertices, arrays at the cells)`` of one base."""
    with h5py.File(path, "w", libver=("earliest", "v110"), track_order=True) as file:
        for key, value, size in (
            ("name", "HDF5 MotherNode", 33),
            ("label", "Root Node of HDF5 File", 33),
            ("type", "MT", 3),
        ):
            file.attrs.create(key, value.encode(), dtype=f"S{size}")
        file.create_dataset(" format", data=np.frombuffer(b"IEEE_LITTLE_32\0", dtype=np.int8))
        version = b"HDF5 Version 1.10.0".ljust(33, b"\0")
        file.create_dataset(" hdf5version", data=np.frombuffer(version, dtype=np.int8))
        node(file, "CGNSLibraryVersion", "CGNSLibraryVersion_t", np.array([3.2], dtype=np.float32))
        base = node(file, "Base", "CGNSBase_t", np.array([3, 3], dtype=np.int32))
        for name, (points, cells, at_points, at_cells) in zones.items():
            size = np.array([[len(points)], [len(cells)], [0]], dtype=np.int32)
            zone = node(base, name, "Zone_t", size)
            node(zone, "ZoneType", "ZoneType_t", "Unstructured")
            grid = node(zone, "GridCoordinates", "GridCoordinates_t")
            for axis, values in zip("XYZ", points.T, strict=True):
                node(grid, f"Coordinate{axis}", "DataArray_t", np.ascontiguousarray(values))
            elements = node(zone, "Hexa", "Elements_t", np.array([17, 0], dtype=np.int32))
            node(elements, "ElementRange", "IndexRange_t", np.array([1, len(cells)], dtype=np.int32))
            node(elements, "ElementConnectivity", "DataArray_t", (cells + 1).ravel().astype(np.int32))
            for place, arrays in (("Vertex", at_points), ("CellCenter", at_cells)):
                solution = node(zone, f"At{place}", "FlowSolution_t")
                node(solution, "GridLocation", "GridLocation_t", place)
                for field, values in arrays.items():
                    node(solution, field, "DataArray_t", np.asarray(values, dtype=np.float64))
    return path


def test_cgns_zones_with_vectors_at_vertices_and_cells(tmp_path: Path) -> None:
    grid = as_mesh(pv.ImageData(dimensions=(3, 4, 5)), "grid")
    points, cells = np.asarray(grid.points, dtype=float), grid.cell_connectivity.reshape(-1, 8)
    vector = np.random.default_rng(0).random((60, 3))
    at_points = {"Pressure": np.arange(60.0), **{f"Velocity{axis}": x for axis, x in zip("XYZ", vector.T, strict=True)}}
    zones = {
        "fluid": (points, cells, at_points, {"Mach": np.arange(24.0)}),
        "solid": (points + np.array([2.0, 0, 0]), cells, at_points, {}),
    }
    read = readers.open_mesh(write_cgns(tmp_path / "a.cgns", zones))
    assert read.notes.parts == ("fluid", "solid") and read.notes.times == () and read.notes.cells == {"hexahedron": 48}
    assert read.notes.remarks == ["'Mach' at the cells is missing in 1 of 2 parts: NaN there"]
    fluid = readers.open_mesh(tmp_path / "a.cgns", region="fluid").mesh
    assert np.array_equal(fluid.point_data["Velocity"], vector) and set(fluid.point_data) == {"Pressure", "Velocity"}
    assert np.array_equal(fluid.cell_data["Mach"], np.arange(24.0)) and np.array_equal(fluid.points, points)


def test_cgns_of_cars(shared_data: Path) -> None:
    read = readers.open_mesh(next((shared_data / "plaid_cars").rglob("*.cgns")))
    assert read.notes.parts == ("Zone",) and read.notes.cells == {"triangle": 7168}
    assert read.mesh.point_data["pressure"].shape == (3586,) and read.notes.precision == "float64"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """A quad beside a triangle, and every kind of solid cell, with arrays, vectors and the scalars of the case."""
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0.5, 0]], dtype=float)
    arrays = {"p": np.arange(5.0), "U": np.arange(15.0).reshape(5, 3)}
    cells = {9: np.array([[0, 1, 2, 3]]), 5: np.array([[1, 4, 2]])}
    path = write_mesh_cgns(tmp_path / "flat.cgns", points, cells, arrays, scalars={"angle": 3.5})
    read = readers.open_mesh(path)
    assert read.notes.cells == {"quad": 1, "triangle": 1}
    assert np.array_equal(read.mesh.points, points) and np.array_equal(read.mesh.point_data["U"], arrays["U"])
    with h5py.File(path) as file:
        assert file["Global/angle/ data"][()] == [3.5]
    solid = as_mesh(pv.ImageData(dimensions=(3, 3, 3)), "grid")
    for kind, count in ((10, 4), (12, 8), (13, 6), (14, 5)):
        nodes = np.asarray(solid.cell_connectivity.reshape(-1, 8)[:2, :count])
        again = readers.open_mesh(
            write_mesh_cgns(tmp_path / f"{kind}.cgns", np.asarray(solid.points), {kind: nodes}, {})
        )
        assert np.array_equal(np.asarray(again.mesh.cell_connectivity).reshape(2, count), nodes) and kind in ELEMENTS
    with pytest.raises(InputError, match="other lengths in 'p'"):
        write_mesh_cgns(tmp_path / "flat.cgns", points, cells, {"p": np.arange(4.0)})
    assert np.array_equal(readers.open_mesh(tmp_path / "flat.cgns").mesh.points, points)  # the file of before stays
