"""Mesh files as graphs of their points: inputs, fields, and the edges of the cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError, listing

if TYPE_CHECKING:
    from meshops.data.cells import Mesh


def read_graph(path: str | Path, inputs: Sequence[str], fields: Sequence[str] = ()) -> MeshGraph:
    """One mesh file as a graph with nodes at its points; see :func:`graph_of_mesh`.

    Raises:
        InputError: The file cannot be read, or has not these arrays at its points.
    """
    from meshops.data.clean import clean_mesh  # VTK
    from meshops.data.readers import read_mesh

    mesh = clean_mesh(read_mesh(path), label=str(path), fields=(*inputs, *fields)).mesh
    graph = graph_of_mesh(mesh, inputs, fields, label=str(path))
    graph.name = Path(path).stem
    return graph


def graph_of_mesh(mesh: Mesh, inputs: Sequence[str], fields: Sequence[str] = (), *, label: str = "mesh") -> MeshGraph:
    """A mesh as a graph with nodes at its points.

    Args:
        mesh: With cells, cleaned.
        inputs: Arrays at the points that become ``x``.
        fields: Arrays at the points that become ``y``.
        label: How messages call it.

    Raises:
        InputError: It has not these arrays at its points.
    """
    from meshops.data.convert import float_arrays, from_pyvista  # VTK

    there = float_arrays(mesh, "point")
    missing = [name for name in (*inputs, *fields) if name not in there]
    if missing:
        raise InputError(f"{label}: no array {listing(missing)} at the points; there are {listing(there)}")
    graph = from_pyvista(mesh, fields=(*inputs, *fields), location="point", label=label)
    graph.edge_index = cell_edges(graph)
    if bool((graph.pos[:, 2] == graph.pos[0, 2]).all()):
        graph.pos = graph.pos[:, :2].contiguous()
        for key in ("normal", "area", "node_type"):
            if key in graph:
                del graph[key]
    values = {name: graph.field(name).reshape(len(graph.pos), -1) for name in (*inputs, *fields)}
    units = dict(zip(graph.fields, graph.get("y_units") or ("",) * len(graph.fields), strict=True))
    if inputs:
        graph.x = torch.cat([values[name] for name in inputs], 1)
        widths = [(name, values[name].shape[1]) for name in inputs]
        graph.x_names = tuple(n if k == 1 else f"{n}_{i}" for n, k in widths for i in range(k))
    for key in ("y", "y_names", "y_sizes", "y_units"):
        if key in graph:
            del graph[key]
    if fields:
        graph.y = torch.cat([values[name] for name in fields], 1)
        graph.y_names, graph.y_sizes = tuple(fields), tuple(values[name].shape[1] for name in fields)
        graph.y_units = tuple(units.get(name, "") for name in fields)
    return graph


def cell_edges(graph: MeshGraph) -> Tensor:
    """``[2, e]`` neighbouring points of the polygons of a graph, or all pairs within other cells; both directions."""
    size, start = graph.cell_size, graph.cell_ptr[:-1]
    flat = (graph.cell_type == 5) | (graph.cell_type == 7) | (graph.cell_type == 9)
    pairs = []
    for count in torch.unique(size).tolist():
        for polygons in (True, False):
            chosen = start[(size == count) & (flat == polygons)]
            nodes = graph.cell_nodes[chosen.unsqueeze(1) + torch.arange(count)]
            for i in range(count):
                others = [(i + 1) % count] if polygons else range(i + 1, count)
                pairs += [torch.stack([nodes[:, i], nodes[:, j]]) for j in others]
    if not pairs:
        return torch.empty(2, 0, dtype=torch.int64)
    n = len(graph.pos)
    sides = torch.cat(pairs, 1)
    both = torch.cat([sides, sides.flip(0)], 1)
    key = torch.unique(both[1] * n + both[0])
    return torch.stack([key % n, key // n])


def arrays_of(path: Path) -> tuple[str, ...]:
    """Names of the floating-point arrays at the points of a file."""
    from meshops.data.convert import float_arrays
    from meshops.data.readers import read_mesh

    return float_arrays(read_mesh(path), "point")
