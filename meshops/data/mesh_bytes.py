"""A read as plain arrays, to hand it from one process to another: VTK objects do not travel."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pyvista as pv

from meshops.data.cells import Array, Cells, Mesh, cell_array, cells_of, mesh_of
from meshops.data.reading import MeshRead

DATA = ("point_data", "cell_data", "field_data")


def pack(read: MeshRead) -> dict[str, Any]:
    """A read with its meshes as arrays."""
    values = {item.name: getattr(read, item.name) for item in fields(read)}
    meshes = {name: _pack(value) for name, value in values.items() if isinstance(value, pv.DataSet)}
    return {"meshes": meshes, "rest": {name: value for name, value in values.items() if name not in meshes}}


def unpack(packed: dict[str, Any]) -> MeshRead:
    """The read again."""
    return MeshRead(**{name: _unpack(mesh) for name, mesh in packed["meshes"].items()}, **packed["rest"])


def _pack(mesh: Mesh) -> dict[str, Any]:
    cells = cells_of(mesh)
    return {
        "poly": isinstance(mesh, pv.PolyData),
        "points": np.ascontiguousarray(mesh.points),
        "cells": [cells.size, cells.nodes, cells.kind, cells.num_faces, cells.face_size, cells.face_nodes],
        **{name: _arrays(getattr(mesh, name)) for name in DATA},
    }


def _unpack(packed: dict[str, Any]) -> Mesh:
    cells = Cells(*packed["cells"])
    mesh = (_poly if packed["poly"] else _grid)(packed["points"], cells)
    for name in DATA:
        for key, values in packed[name].items():
            getattr(mesh, name)[key] = values
    return mesh


def _arrays(data: Any) -> dict[str, Any]:
    out = {}
    for name in data.keys():
        values = np.asarray(data[name])
        out[str(name)] = np.ascontiguousarray(values) if values.dtype.kind in "fiub" else values
    return out


def _grid(points: Array, cells: Cells) -> Mesh:
    return mesh_of(points, cells, as_grid=True)


def _poly(points: Array, cells: Cells) -> Mesh:
    """PolyData with its four lists; ``cells`` are in their order."""
    out = pv.PolyData()
    out.points = points
    groups = (("verts", (1, 2)), ("lines", (3, 4)), ("polys", (5, 7, 9)), ("strips", (6,)))
    for name, kinds in groups:
        index = np.flatnonzero(np.isin(cells.kind, kinds))
        if index.size:
            some = cells.take(index)
            getattr(out, f"Set{name.capitalize()}")(cell_array(some.size, some.nodes))
    return out
