"""PyVista mesh -> MeshGraph and back, with every cell type and the fields on either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyvista as pv
import torch
from torch import Tensor

from meshops.data.cells import Array, Cells, Mesh, cells_of, make_cells, mesh_of, segment_sum
from meshops.data.mesh_graph import MeshGraph, origin_of
from meshops.data.surface import Geometry, oriented_geometry, volume_geometry
from meshops.data.vectors import is_reserved
from meshops.errors import InputError, listing, warn

Association = Literal["cell", "point"]
Where = Literal["cell", "point", "free", "auto"]

# Distance from the origin, in sizes of the mesh, from which float32 would lose about 1e-6 of its size.
FAR = 8.0

# Arrays that programs add and nobody wants to learn.
HELPER_ARRAYS = ("Normals", "TCoords", "Texture Coordinates", "Area", "Volume", "Length")


class Fields(NamedTuple):
    """Fields side by side.

    Attributes:
        values: ``[n, sum(sizes)]`` float32, None without fields.
        names, sizes, units: One entry per field.
    """

    values: Tensor | None
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    units: tuple[str, ...]


def from_pyvista(
    mesh: Mesh,
    *,
    fields: Sequence[str] = (),
    location: Where = "auto",
    label: str = "",
    units: Sequence[str] = (),
    geometry: Geometry | None = None,
) -> MeshGraph:
    """Make a graph of a mesh: nodes at the cell centres, at the mesh points, or at free points.

    Surfaces get ``normal`` (out of the body) and ``area`` (m^2), volume meshes ``area`` = cell volumes (m^3). With
    ``location="point"`` these are shared out to the points (a point in no cell has a zero normal and area, and
    ``node_type`` 1; other points have 0). The mesh should have been through :func:`meshops.data.clean.clean_mesh`.

    A mesh that lies far from the origin is moved near it in float64 first: ``pos`` is relative to ``graph.origin``.
    ``graph.points`` always holds the coordinates of the mesh.

    Args:
        mesh: PolyData or UnstructuredGrid in metres.
        fields: Arrays that become ``y``, in this order.
        location: Where the nodes are; ``"auto"``: at the points if all fields are point arrays, else at the cells;
            ``"free"``: a point cloud, cells are left out.
        label: How messages call the mesh; becomes ``graph.name``.
        units: Unit of each field; empty: unknown.
        geometry: :func:`meshops.data.surface.oriented_geometry` of a surface, where it is known already.

    Raises:
        InputError: A field is missing or not numeric, or the mesh has no cells but ``location`` needs them.

    Warns:
        DataWarning: A field was averaged from points to cells or from cells to points; the mesh is far from the origin.
    """
    label = label or "mesh"
    if location not in ("cell", "point", "free", "auto"):
        raise InputError(f"location must be 'cell', 'point', 'free' or 'auto', got {location!r}")
    where: str = choose_location(mesh, fields) if location == "auto" else location
    cells = cells_of(mesh)
    if where != "free" and cells.size.size == 0:
        raise InputError(f"{label}: holds {mesh.n_points} points and no cells; read it with location='free'")
    association: Association = "cell" if where == "cell" else "point"
    y, names, sizes, y_units = _stack(mesh, cells, fields, association, label, units)
    origin = _far_origin(mesh, label)
    pos = np.asarray(mesh.points) if origin is None else np.asarray(mesh.points, dtype=np.float64) - origin
    graph = MeshGraph(pos=_float32(pos), y_names=names, y_sizes=sizes, y_units=y_units)
    graph.location, graph.name = where, label
    if origin is not None:
        graph.origin = torch.from_numpy(origin)[None]
        graph.points = torch.from_numpy(np.array(mesh.points))
    if y is not None:
        graph.y = y
    if where != "free":
        _add_geometry(graph, mesh, cells, label, geometry)
        _add_cells(graph, mesh, cells)
    return graph


def to_pyvista(graph: MeshGraph, *, values: Mapping[str, Any] | None = None, near: bool = False) -> Mesh:
    """Rebuild the original mesh of a graph, with its fields.

    Args:
        graph: One graph, not a batch.
        values: More arrays to attach, ``[n]`` or ``[n, k]``, tensors or NumPy arrays, one row per node.
        near: Coordinates relative to ``graph.origin``, as ``pos``, instead of those of the file.

    Returns:
        PolyData when all cells are triangles, quads or polygons, or when there are no cells (a cloud of vertices);
        else an UnstructuredGrid.

    Raises:
        InputError: The graph lost its cells (:meth:`MeshGraph.subset`), or an array has the wrong number of rows.
    """
    location = graph.get("location") or "free"
    n = int(graph.num_nodes or 0)
    points = _numpy(graph.pos if graph.get("points") is None else graph.points)
    if near and graph.get("origin") is not None:
        points = points - _numpy(graph.origin)
    if points.shape[1] < 3:
        points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
    if graph.num_cells:
        mesh = mesh_of(points, _cells_of_graph(graph))
    elif location == "free":
        mesh = pv.PolyData(points)
    else:
        raise InputError(f"{graph.label}: the graph no longer holds its cells; convert it before without_cells()")
    data = mesh.cell_data if location == "cell" else mesh.point_data
    for name, array in {**_fields_of(graph), **(values or {})}.items():
        rows = _numpy(array)
        if rows.shape[0] != n:
            raise InputError(f"{graph.label}: '{name}' has {rows.shape[0]} rows for {n} nodes; give one row per node")
        data[name] = rows
    return mesh


def choose_location(mesh: Mesh, fields: Sequence[str]) -> Association:
    """``"point"`` if every field is a point array and at least one is no cell array, else ``"cell"``."""
    on_points = all(name in mesh.point_data for name in fields)
    return "point" if fields and on_points and not all(name in mesh.cell_data for name in fields) else "cell"


def float_arrays(mesh: Mesh, association: Association) -> tuple[str, ...]:
    """Names of the floating-point arrays of up to 9 components that could be fields."""
    data = mesh.cell_data if association == "cell" else mesh.point_data
    return tuple(
        name
        for name in data
        if name not in HELPER_ARRAYS
        and not is_reserved(name)
        and np.asarray(data[name]).dtype.kind == "f"
        and np.asarray(data[name]).size <= 9 * len(data[name])
    )


def arrays_present(mesh: Mesh) -> str:
    """Say in a message which arrays a mesh has."""
    return f"cell arrays: {listing(mesh.cell_data)}; point arrays: {listing(mesh.point_data)}"


def field_array(mesh: Mesh, name: str, association: Association, label: str) -> tuple[Array, Association]:
    """Array ``name`` and where it lives, ``association`` preferred.

    Raises:
        InputError: No such array (the message lists those present) or it is not numeric.
    """
    other: Association = "point" if association == "cell" else "cell"
    for where in (association, other):
        data = mesh.cell_data if where == "cell" else mesh.point_data
        if name in data:
            array = np.asarray(data[name])
            if array.dtype.kind not in "fiub":
                raise InputError(f"{label}: array '{name}' holds {array.dtype}, not numbers; choose another field")
            return array, where
    raise InputError(
        f"{label}: there is no array '{name}'; {arrays_present(mesh)}.\n"
        "Name the fields as the file does, or export it with them."
    )


def cell_means(values: Array, cells: Cells) -> Array:
    """Mean of the point values of each cell: ``[m, k] -> [c, k]``."""
    sums = segment_sum(values[cells.nodes].astype(np.float64), cells.owner, cells.size.size)
    return sums / np.maximum(cells.size, 1)[:, None]


def point_means(values: Array, cells: Cells, num_points: int) -> Array:
    """Mean of the values of the cells around each point, 0 for a point in no cell: ``[c, k] -> [m, k]``."""
    sums = segment_sum(values[cells.owner].astype(np.float64), cells.nodes, num_points)
    return sums / np.maximum(np.bincount(cells.nodes, minlength=num_points), 1)[:, None]


def _stack(
    mesh: Mesh, cells: Cells, fields: Sequence[str], association: Association, label: str, units: Sequence[str]
) -> Fields:
    if isinstance(fields, str):
        raise InputError(f"fields must be a sequence of names, got the string {fields!r}; write ({fields!r},)")
    if units and len(units) != len(fields):
        raise InputError(f"{label}: {len(units)} units for {len(fields)} fields {tuple(fields)}; give one per field")
    columns = []
    for name in fields:
        array, where = field_array(mesh, name, association, label)
        rows = array.reshape(array.shape[0], -1)
        if where != association and association == "cell":
            warn(f"{label}: field '{name}' is on the points; each cell got the mean of its points")
            rows = cell_means(rows, cells)
        elif where != association:
            if cells.size.size == 0:
                raise InputError(f"{label}: field '{name}' is on the cells; a point cloud needs point arrays")
            warn(f"{label}: field '{name}' is on the cells; each point got the mean of the cells around it")
            rows = point_means(rows, cells, mesh.n_points)
        columns.append(_single(rows, name, label))
    y_units = tuple(units) or ("",) * len(columns)
    values = torch.cat(columns, dim=1) if columns else None
    return Fields(values, tuple(fields), tuple(c.shape[1] for c in columns), y_units)


def _add_geometry(graph: MeshGraph, mesh: Mesh, cells: Cells, label: str, geometry: Geometry | None) -> None:
    dimension = int(cells.dimension.max())
    normals = None
    if dimension == 2:
        centers, normals, sizes, found = geometry or oriented_geometry(mesh, label=label)
        graph.notes = found.remarks
    else:
        centers, sizes = volume_geometry(mesh, label=label)
    if graph.location == "cell":
        graph.pos = _float32(centers - origin_of(graph).numpy())
        graph.area = _float32(sizes)
        if normals is not None:
            graph.normal = _float32(normals)
        return
    num_points = mesh.n_points
    shares = (sizes / np.maximum(cells.size, 1))[cells.owner]
    graph.area = _float32(np.bincount(cells.nodes, weights=shares, minlength=num_points))
    if normals is not None:
        sums = segment_sum(normals[cells.owner] * shares[:, None], cells.nodes, num_points)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        graph.normal = _float32(sums / np.where(length > 0, length, np.inf))
    unused = np.bincount(cells.nodes, minlength=num_points) == 0
    graph.node_type = torch.from_numpy(unused.astype(np.int64))


def _add_cells(graph: MeshGraph, mesh: Mesh, cells: Cells) -> None:
    points = np.array(mesh.points)
    if graph.location == "cell" or points.dtype != np.float32:
        graph.points = torch.from_numpy(points)
    graph.cell_size, graph.cell_nodes = torch.from_numpy(cells.size), torch.from_numpy(cells.nodes)
    graph.cell_type = torch.from_numpy(cells.kind.copy())
    if cells.face_size.size:
        graph.cell_num_faces = torch.from_numpy(cells.num_faces)
        graph.face_size, graph.face_nodes = torch.from_numpy(cells.face_size), torch.from_numpy(cells.face_nodes)


def _cells_of_graph(graph: MeshGraph) -> Cells:
    size, nodes, kind = (_numpy(graph[key]) for key in ("cell_size", "cell_nodes", "cell_type"))
    if graph.get("face_size") is None:
        return make_cells(size, nodes, kind)
    faces = (_numpy(graph[key]) for key in ("cell_num_faces", "face_size", "face_nodes"))
    return Cells(size, nodes, kind, *faces)


def _fields_of(graph: MeshGraph) -> dict[str, Tensor]:
    return {name: graph.field(name) for name in graph.fields} if graph.get("y") is not None else {}


def _far_origin(mesh: Mesh, label: str) -> Array | None:
    """``[3]`` a round place near a mesh that is far from the origin; 0 along axes on which it is not far.

    Round, so that meshes of about one size and place get the same.
    """
    points = np.asarray(mesh.points, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max())
    if not 0 < size < np.inf:
        return None
    step = 2.0 ** np.ceil(np.log2(4 * size))
    origin = np.where(np.abs(low + high) / 2 > FAR * size, np.round((low + high) / 2 / step) * step, 0.0)
    if not origin.any():
        return None
    place = ", ".join(f"{x:g}" for x in origin)
    warn(
        f"{label}: the mesh of {size:.3g} m lies far from the origin; positions are counted from ({place}), so that "
        "single precision keeps its shape (files keep their coordinates)"
    )
    return origin


def _single(rows: Array, name: str, label: str) -> Tensor:
    """Values in single precision; refused where only that makes them infinite."""
    out = _float32(rows)
    if not bool(out.isfinite().all()) and bool((np.isfinite(rows) & ~np.isfinite(out.numpy())).any()):
        raise InputError(f"{label}: array '{name}' holds values beyond single precision (3.4e38); repair the export")
    return out


def _float32(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))


def _numpy(array: Any) -> Array:
    return array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
