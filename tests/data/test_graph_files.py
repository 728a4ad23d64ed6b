"""Graphs of mesh files: neighbours against a slow definition, places, planes and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import pyvista as pv
import torch

from meshops.data.cells import cell_faces, cells_of
from meshops.data.graph_files import array_of, channel_names, graph_of_mesh, plane_axis, shared_sides
from meshops.errors import InputError

MESHES: dict[str, Callable[[], pv.DataSet]] = {
    "quads": lambda: pv.ImageData(dimensions=(5, 4, 1)).cast_to_unstructured_grid(),
    "triangles": lambda: pv.Icosphere(nsub=1),
    "polygons": lambda: pv.PolyData(
        np.array([[0, 0, 0], [2, 0, 0], [3, 1, 0], [2, 2, 0], [0, 2, 0], [5, 0, 0], [5, 1, 0]], dtype=float),
        faces=[5, 0, 1, 2, 3, 4, 4, 1, 5, 6, 2],
    ),
    "hexahedra": lambda: pv.ImageData(dimensions=(4, 3, 3)).cast_to_unstructured_grid(),
    "tetrahedra": lambda: pv.ImageData(dimensions=(3, 3, 3)).cast_to_unstructured_grid().delaunay_3d(),
}


def slow_pairs(mesh: pv.DataSet) -> set[tuple[int, int]]:
    """Pairs of cells with a side of the same points, side by side."""
    cells = cells_of(mesh)
    sides: list[set[frozenset[int]]] = [set() for _ in range(mesh.n_cells)]
    if int(cells.dimension.max()) == 3:
        owner, size, nodes = cell_faces(cells)
        ends = np.cumsum(size)
        for o, s, e in zip(owner, size, ends, strict=True):
            sides[o].add(frozenset(nodes[e - s : e].tolist()))
    else:
        for i in range(mesh.n_cells):
            ids = list(mesh.get_cell(i).point_ids)
            ids = [ids[0], ids[1], ids[3], ids[2]] if int(mesh.get_cell(i).type) == 8 else ids  # pixel
            sides[i] = {frozenset((a, b)) for a, b in zip(ids, ids[1:] + ids[:1], strict=True)}
    return {(i, j) for i, j in combinations(range(mesh.n_cells), 2) if sides[i] & sides[j]}


@pytest.mark.parametrize("kind", MESHES)
def test_cells_that_share_a_side(kind: str) -> None:
    mesh = MESHES[kind]()
    edges = shared_sides(mesh)
    found = {(int(a), int(b)) for a, b in edges.T.tolist()}
    expected = slow_pairs(mesh)
    assert found == expected | {(b, a) for a, b in expected} and edges.shape[1] == 2 * len(expected)
    assert torch.equal(edges, edges[:, torch.argsort(edges[1] * mesh.n_cells + edges[0])])  # sorted by receiver


def test_blocks_that_were_written_apart_hang_together() -> None:
    left = pv.ImageData(dimensions=(3, 3, 1)).cast_to_unstructured_grid()
    right = left.translate((2, 0, 0))
    both = pv.merge([left, right], merge_points=False)
    assert both.n_points == 18
    whole = pv.ImageData(dimensions=(5, 3, 1)).cast_to_unstructured_grid()
    assert shared_sides(both).shape == shared_sides(whole).shape


@pytest.mark.parametrize("place", ["point", "cell"])
def test_values_are_those_of_the_place(place: str) -> None:
    mesh = MESHES["quads"]()
    data = mesh.point_data if place == "point" else mesh.cell_data
    n = mesh.n_points if place == "point" else mesh.n_cells
    data["v"], data["k"] = np.arange(3.0 * n).reshape(n, 3), np.arange(n)
    graph = graph_of_mesh(mesh, ("k", "v"), ("v",), location=place)  # type: ignore[arg-type]
    assert graph.location == place and graph.x_names == ("k", "v_0", "v_1", "v_2") and graph.y_sizes == (3,)
    assert torch.equal(graph.x[:, 0], torch.arange(n).float()) and torch.equal(graph.y, graph.x[:, 1:])
    other = "cell" if place == "point" else "point"
    with pytest.raises(InputError, match=rf"no array 'v' at the {other}s; it has 'v' at the {place}s"):
        graph_of_mesh(mesh, (), ("v",), location=other)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the array 'v' has 3 components, in the other cases 2"):
        graph_of_mesh(mesh, (), ("v",), location=place, sizes={"v": 2})  # type: ignore[arg-type]
    data["v"][n // 2] = np.nan
    with pytest.raises(InputError, match=rf"'v' holds 1 NaN or infinite values, the first at {place} {n // 2}"):
        graph_of_mesh(mesh, (), ("v",), location=place)  # type: ignore[arg-type]


def test_planes() -> None:
    flat = np.random.default_rng(0).normal(size=(20, 3))
    assert plane_axis(flat) is None
    for axis in range(3):
        points = flat.copy()
        points[:, axis] = 7.0 + 1e-9 * flat[:, axis]
        assert plane_axis(points) == axis
    assert plane_axis(np.zeros((4, 3))) is None


def test_channels_of_vectors_name_their_array() -> None:
    assert channel_names({"a": 1, "f": 3}) == ("a", "f_0", "f_1", "f_2")
    assert array_of("f_2", ["f", "a"]) == "f" and array_of("f_2", ["f", "f_2"]) == "f_2" and array_of("x", []) == "x"
