"""Fields at the cells of plane meshes are drawn on the cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvista as pv
import torch

from meshops.data.graph_files import graph_of_mesh
from meshops.viz.plane import canvas, graph_picture, owners_of, triangles_of


def test_values_of_cells_are_drawn_on_their_triangles(tmp_path: Path) -> None:
    mesh = pv.ImageData(dimensions=(5, 4, 1)).cast_to_unstructured_grid()
    mesh.points = np.asarray(mesh.points)[:, [0, 2, 1]]  # the plane of x and z
    mesh.cell_data["T"] = np.arange(12.0)
    graph = graph_of_mesh(mesh, (), ("T",), location="cell")
    drawn = canvas(graph)
    assert drawn["pos"].shape == (20, 2) and len(owners_of(graph)) == len(triangles_of(graph)) == 24
    centers = drawn["pos"][drawn["triangles"]].mean(1)
    means = torch.stack([centers[owners_of(graph) == i].mean(0) for i in range(12)])
    torch.testing.assert_close(means.float(), graph.pos)
    path = graph_picture(graph, {"T": graph.field("T") + 1}, tmp_path / "case.png")
    assert path.stat().st_size > 1000
