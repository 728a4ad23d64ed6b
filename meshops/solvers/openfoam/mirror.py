"""The other half of a flow that was solved beside the plane y = 0."""

from __future__ import annotations

import numpy as np

from meshops.data.cells import (
    HEXAHEDRON,
    POLYHEDRON,
    PYRAMID,
    TETRA,
    WEDGE,
    Array,
    Cells,
    Mesh,
    as_polygons,
    cells_of,
    make_cells,
    mesh_of,
    running_sum,
)
from meshops.data.polygons import reverse_rims
from meshops.errors import InputError, listing

# Corners of the mirror image of a cell in the order of VTK.
SWAPPED = {
    TETRA: (0, 2, 1, 3),
    PYRAMID: (0, 3, 2, 1, 4),
    WEDGE: (0, 2, 1, 3, 5, 4),
    HEXAHEDRON: (0, 3, 2, 1, 4, 7, 6, 5),
}
UNEVEN = 1e-4  # snappyHexMesh leaves outer walls uneven by this share of the extent and less
NEAR = 1e-9  # points so near to the plane, relative to the extent of the mesh, lie on it


def mirrored(mesh: Mesh) -> Mesh:
    """A mesh and its mirror image at y = 0 as one, first the cells as they were; vectors ``[c, 3]`` turn with it.

    Points on the plane are shared. Only cell arrays are kept.

    Raises:
        InputError: Cells of a kind that volume meshes of OpenFOAM do not have.
    """
    points = np.asarray(mesh.points, dtype=np.float64)
    count, on = len(points), np.abs(points[:, 1]) <= NEAR * float(np.ptp(points, axis=0).max())
    number = np.where(on, np.arange(count), count + np.cumsum(~on) - 1)
    points = np.concatenate([np.where(on[:, None], points * [1, 0, 1], points), points[~on] * [1, -1, 1]])
    cells = cells_of(mesh)
    flat = bool((cells.dimension == 2).all())
    image = _flat_image(cells, number) if flat else _volume_image(cells, number)
    both = Cells(*(np.concatenate([getattr(cells, k), getattr(image, k)]) for k in Cells.__dataclass_fields__))
    out = mesh_of(points, both, as_grid=not flat)
    for name in mesh.cell_data:
        values = np.asarray(mesh.cell_data[name])
        turned = values * np.array([1, -1, 1], values.dtype) if values.ndim == 2 and values.shape[1] == 3 else values
        out.cell_data[name] = np.concatenate([values, turned])
    return out


def flat_walls(mesh: Mesh) -> Mesh:
    """A volume mesh whose outermost points lie on the planes of its bounding box; it is changed in place."""
    points = np.array(mesh.points, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    near = UNEVEN * float((high - low).max())
    points = np.where(points < low + near, low, np.where(points > high - near, high, points))
    mesh.points = points
    return mesh


def _flat_image(cells: Cells, number: Array) -> Cells:
    size, nodes = as_polygons(cells)
    return make_cells(size, reverse_rims(size, number[nodes], np.ones(size.size, dtype=bool)), cells.kind)


def _volume_image(cells: Cells, number: Array) -> Cells:
    unknown = sorted(set(np.unique(cells.kind).tolist()) - {*SWAPPED, POLYHEDRON})
    if unknown:
        raise InputError(f"cells of the VTK types {listing(unknown)} cannot be mirrored")
    nodes, start = number[cells.nodes], running_sum(cells.size)[:-1]
    for kind, order in SWAPPED.items():
        rows = start[cells.kind == kind][:, None] + np.arange(len(order))
        nodes[rows] = number[cells.nodes[rows[:, list(order)]]]
    faces = cells.face_size
    face_nodes = reverse_rims(faces, number[cells.face_nodes], np.ones(faces.size, dtype=bool))
    return Cells(cells.size, nodes, cells.kind, cells.num_faces, faces, face_nodes)
