"""Mirror planes of shapes and fields."""

import numpy as np
import pytest
import pyvista as pv
import torch

from meshops.aero.conditions import FlowConditions
from meshops.aero.features import body_of, frame_of
from meshops.aero.symmetry import LOPSIDED, lopsided_fields, lopsided_share
from meshops.data.convert import from_pyvista
from meshops.data.mesh_graph import MeshGraph


def share(mesh: pv.PolyData, conditions: FlowConditions | None = None) -> float:
    graph = from_pyvista(mesh, location="cell")
    frame = frame_of(graph, conditions or FlowConditions(), "surface")
    return lopsided_share(body_of(graph, frame, "surface"))


def test_bodies_with_a_mirror_plane():
    assert share(pv.Box((0, 1, 3.0, 3.4, 0.05, 0.35)).triangulate()) == 0  # twelve large triangles, far from y = 0
    assert share(pv.Icosphere(radius=1.0, nsub=3)) < LOPSIDED


def test_bodies_without():
    box = pv.Box((0, 1, -0.2, 0.2, 0.05, 0.35)).triangulate().subdivide(3)
    assert share(box.rotate_z(10)) > 0.2  # yawed
    fin = pv.Box((0.3, 0.5, 0.2, 0.4, 0.1, 0.2)).triangulate().subdivide(3)
    assert share(box.merge(fin)) > LOPSIDED
    wedge = box.copy()
    points = np.asarray(box.points).copy()
    points[:, 2] += 0.3 * points[:, 1]
    wedge.points = points
    assert share(wedge) > LOPSIDED


def test_the_plane_turns_with_the_axes():
    box = pv.Box((0, 1, -0.2, 0.2, 0.05, 0.35)).triangulate().subdivide(3)
    angle = np.deg2rad(10)
    turned = FlowConditions(flow=(float(np.cos(angle)), float(np.sin(angle)), 0.0))
    assert share(box.rotate_z(10), turned) == 0


@pytest.mark.parametrize("with_normal", [True, False])
def test_fields(with_normal):
    graph: MeshGraph = from_pyvista(pv.Icosphere(radius=1.0, nsub=4), location="cell")
    frame = frame_of(graph, FlowConditions(ground=None), "surface")
    x, y, z = graph.pos.T
    fields = {
        "even": 5 + x + y**2,
        "mixed": 5 + x + y,
        "odd": y,
        "mirrored": torch.stack([x, y, z], 1),
        "swirl": torch.stack([0 * x, z, -y], 1),
        "constant": 0 * x + 3,
    }
    found = lopsided_fields(graph.pos, graph.normal if with_normal else None, fields, frame)
    expected = {"even": 0, "mixed": 0.5**0.5, "odd": 1, "mirrored": 0, "swirl": 1, "constant": 0}
    assert found == pytest.approx(expected, abs=0.03)
