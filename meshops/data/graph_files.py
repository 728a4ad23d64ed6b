"""Mesh files as graphs of their points or of their cells: inputs, fields, and the edges between neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError, listing

if TYPE_CHECKING:
    from meshops.data.cells import Mesh

Place = Literal["cell", "point"]
FLAT = 1e-6  # a mesh is plane where its extent along an axis is below this share of the longest


def read_graph(
    path: str | Path, inputs: Sequence[str], fields: Sequence[str] = (), *, location: Place = "point"
) -> MeshGraph:
    """One mesh file as a graph; see :func:`graph_of_mesh`.

    Raises:
        InputError: The file cannot be read, or has not these arrays at its points (or cells).
    """
    from meshops.data.clean import clean_mesh  # VTK
    from meshops.data.readers import read_mesh

    mesh = clean_mesh(read_mesh(path), label=str(path)).mesh
    graph = graph_of_mesh(mesh, inputs, fields, label=str(path), location=location)
    graph.name = Path(path).stem
    return graph


def graph_of_mesh(
    mesh: Mesh,
    inputs: Sequence[str],
    fields: Sequence[str] = (),
    *,
    label: str = "mesh",
    location: Place = "point",
    sizes: Mapping[str, int] | None = None,
) -> MeshGraph:
    """A mesh as a graph with nodes at its points or its cells.

    A mesh without extent along one axis becomes 2-D, whichever axis it is; vectors keep their three components.

    Args:
        mesh: Cleaned; without cells a cloud of points.
        inputs: Arrays at the nodes that become ``x``; whole numbers count as numbers.
        fields: Arrays at the nodes that become ``y``.
        label: How messages call it.
        location: ``"point"``: edges are those of the cells, a cloud has none; ``"cell"``: edges join cells that share
            a side.
        sizes: Number of components that arrays must have.

    Raises:
        InputError: It has not these arrays there, with other components, or values that are not finite.
    """
    from meshops.data.convert import from_pyvista  # VTK

    values = {name: _values(mesh, name, location, label, (sizes or {}).get(name)) for name in (*inputs, *fields)}
    if location == "point" and is_cloud(mesh):
        graph = from_pyvista(mesh, location="free", label=label)
    else:
        graph = from_pyvista(mesh, location=location, label=label)
        graph.edge_index = cell_edges(graph) if location == "point" else shared_sides(mesh, label)
    axis = plane_axis(np.asarray(mesh.points))
    if axis is not None:
        kept = [i for i in range(3) if i != axis]
        graph.pos = graph.pos[:, kept].contiguous()
        if graph.get("origin") is not None:
            graph.origin = graph.origin[:, kept]
        if location == "point" and graph.get("points") is None and axis != 2:
            graph.points = torch.from_numpy(np.array(mesh.points))
        for key in ("normal", "area", "node_type") if location == "point" else ("normal",):
            if key in graph:
                del graph[key]
    for key in ("y", "y_names", "y_sizes", "y_units"):
        if key in graph:
            del graph[key]
    if inputs:
        graph.x = torch.cat([values[name] for name in inputs], 1)
        graph.x_names = channel_names({name: values[name].shape[1] for name in inputs})
    if fields:
        graph.y = torch.cat([values[name] for name in fields], 1)
        graph.y_names, graph.y_sizes = tuple(fields), tuple(values[name].shape[1] for name in fields)
        graph.y_units = ("",) * len(fields)
    return graph


def is_cloud(mesh: Mesh) -> bool:
    """Whether a mesh is points alone, or points with a vertex each."""
    from meshops.data.cells import cells_of

    return mesh.n_cells == 0 or int(cells_of(mesh).dimension.max()) == 0


def channel_names(sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Name of each channel of arrays side by side: ``force`` of three components gives ``force_0`` to ``force_2``."""
    return tuple(name if size == 1 else f"{name}_{i}" for name, size in sizes.items() for i in range(size))


def array_of(channel: str, there: Sequence[str]) -> str:
    """The array that holds an input channel: its own, or a vector whose component it is."""
    vector = channel.rpartition("_")[0]
    return vector if channel not in there and vector in there else channel


def numeric_arrays(mesh: Mesh, location: Place) -> dict[str, tuple[int, str]]:
    """Arrays at the points or cells that may be inputs or fields: name -> (components, kind of number)."""
    data = mesh.cell_data if location == "cell" else mesh.point_data
    out: dict[str, tuple[int, str]] = {}
    for name in data:
        array = np.asarray(data[name])
        size = array.size // max(len(array), 1)
        if array.dtype.kind in "fiub" and 0 < size <= 9:
            out[str(name)] = (int(size), array.dtype.kind)
    return out


def _values(mesh: Mesh, name: str, location: Place, label: str, size: int | None) -> Tensor:
    there = numeric_arrays(mesh, location)
    if name not in there:
        other: Place = "cell" if location == "point" else "point"
        elsewhere = f"; it has '{name}' at the {other}s" if name in numeric_arrays(mesh, other) else ""
        raise InputError(
            f"{label}: no array {listing([name])} at the {location}s{elsewhere}; there are {listing(there)}"
        )
    if size is not None and there[name][0] != size:
        raise InputError(
            f"{label}: the array '{name}' has {there[name][0]} components, in the other cases {size}; export it alike, "
            "or leave it or the case out"
        )
    data = mesh.cell_data if location == "cell" else mesh.point_data
    rows = np.asarray(data[name]).reshape(len(data[name]), -1)
    single = rows.astype(np.float32)
    bad = ~np.isfinite(single).all(1)
    if bad.any():
        raise InputError(
            f"{label}: the array '{name}' holds {int(bad.sum())} NaN or infinite values, the first at {location} "
            f"{int(bad.argmax())}; repair the export, or leave the array or the case out"
        )
    return torch.from_numpy(single)


def plane_axis(points: np.ndarray) -> int | None:
    """The axis along which points have no extent; None: they have along all three, or lie on a line."""
    extent = np.ptp(points, axis=0).astype(np.float64) if len(points) else np.zeros(3)
    flat = np.flatnonzero(extent <= FLAT * extent.max())
    return int(flat[-1]) if flat.size and extent.max() > 0 else None


def cell_edges(graph: MeshGraph) -> Tensor:
    """``[2, e]`` neighbouring points of the polygons of a graph, or all pairs within other cells; both directions."""
    size, start = graph.cell_size, graph.cell_ptr[:-1]
    flat = (graph.cell_type == 5) | (graph.cell_type == 7) | (graph.cell_type == 8) | (graph.cell_type == 9)
    pairs = []
    for count in torch.unique(size).tolist():
        for polygons in (True, False):
            chosen = start[(size == count) & (flat == polygons)]
            nodes = graph.cell_nodes[chosen.unsqueeze(1) + torch.arange(count)]
            if polygons and count == 4:  # pixels are numbered row by row, not around
                pixel = (graph.cell_type[(size == count) & flat] == 8).unsqueeze(1)
                nodes = torch.where(pixel, nodes[:, [0, 1, 3, 2]], nodes)
            for i in range(count):
                others = [(i + 1) % count] if polygons else range(i + 1, count)
                pairs += [torch.stack([nodes[:, i], nodes[:, j]]) for j in others]
    if not pairs:
        return torch.empty(2, 0, dtype=torch.int64)
    return both_ways(torch.cat(pairs, 1), len(graph.pos))


def both_ways(pairs: Tensor, num_nodes: int) -> Tensor:
    """``[2, e]`` each pair in both directions, once, sorted by receiver."""
    both = torch.cat([pairs, pairs.flip(0)], 1)
    key = torch.unique(both[1] * num_nodes + both[0])
    return torch.stack([key % num_nodes, key // num_nodes])


def shared_sides(mesh: Mesh, label: str = "mesh") -> Tensor:
    """``[2, e]`` pairs of cells that share a side, both directions: an edge of faces, a face of volumes.

    Points that coincide count as one, so that blocks that were written apart hang together.
    """
    from meshops.data.cells import as_polygons, cell_faces, cells_of, running_sum

    cells = cells_of(mesh)
    if int(cells.dimension.max()) < 3:
        size, nodes = as_polygons(cells)
        owner = np.repeat(np.arange(len(size)), size)
        following = np.arange(nodes.size) + 1
        last = running_sum(size)[1:][size > 0] - 1
        following[last] = running_sum(size)[:-1][size > 0]
        sides = [(np.full(nodes.size, 2), np.stack([nodes, nodes[following]], 1).reshape(-1))]
        owners = [owner]
    else:
        face_owner, face_size, face_nodes = cell_faces(cells, label)
        sides, owners = [(face_size, face_nodes)], [face_owner]
    merged = _coinciding(np.asarray(mesh.points))
    pairs = [_pairs_of_sides(size, merged[nodes], owner) for (size, nodes), owner in zip(sides, owners, strict=True)]
    found = np.concatenate(pairs, 1)
    return both_ways(torch.from_numpy(found), mesh.n_cells) if found.size else torch.empty(2, 0, dtype=torch.int64)


def _coinciding(points: np.ndarray) -> np.ndarray:
    """``[m]`` the first point at the same place."""
    _, first, inverse = np.unique(points, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[inverse.reshape(-1)], dtype=np.int64)


def _pairs_of_sides(size: np.ndarray, nodes: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """``[2, e]`` owners of sides with the same points."""
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    out = []
    for count in np.unique(size[size > 0]):
        chosen = np.flatnonzero(size == count)
        rows = np.sort(nodes[start[chosen][:, None] + np.arange(count)], axis=1)
        order = np.lexsort(rows.T[::-1])
        same = (rows[order][1:] == rows[order][:-1]).all(1)
        owners = owner[chosen][order]
        out.append(np.stack([owners[:-1][same], owners[1:][same]]))
    found = np.concatenate(out, 1) if out else np.zeros((2, 0), dtype=np.int64)
    return np.asarray(found[:, found[0] != found[1]], dtype=np.int64)


def arrays_of(path: Path) -> tuple[str, ...]:
    """Names of the floating-point arrays at the points of a file."""
    from meshops.data.convert import float_arrays
    from meshops.data.readers import read_mesh

    return float_arrays(read_mesh(path), "point")
