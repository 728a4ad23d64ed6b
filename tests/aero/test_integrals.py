"""Integrals over surfaces against closed forms, and what half a body looks like."""

from __future__ import annotations

import numpy as np
import pytest
import pyvista as pv
import torch

from meshops.aero.integrals import SurfaceIntegrals
from meshops.data.convert import from_pyvista
from meshops.datasets import AhmedMini


def ball(radius: float = 0.5, *, location: str = "cell", cut: str = ""):
    mesh = pv.Icosphere(nsub=4, radius=radius, center=(3.0, -2.0, 1.0))
    if cut:
        mesh = mesh.clip(cut, origin=mesh.center).extract_surface()
    data = mesh.cell_data if location == "cell" else mesh.point_data
    places = mesh.cell_centers().points if location == "cell" else mesh.points
    data["one"], data["x"] = np.ones(len(places)), places[:, 0].astype(np.float64)
    data["v"] = np.tile([1.0, 2.0, 3.0], (len(places), 1))
    return from_pyvista(mesh, fields=("one", "x", "v"), location=location)


@pytest.mark.parametrize("location", ["cell", "point"])
def test_a_ball(location):
    made = SurfaceIntegrals.of(ball(location=location))
    assert made.area == pytest.approx(np.pi, rel=0.005) and made.volume == pytest.approx(np.pi / 6, rel=0.01)
    np.testing.assert_allclose(made.shadow, np.pi / 4, rtol=0.005)
    np.testing.assert_allclose(made.hull, made.shadow, rtol=0.005)
    assert made.closed and made.half_of is None
    np.testing.assert_allclose(made.of_normal["one"], 0, atol=1e-6)
    # Gauss: the integral of x n is the volume along x, whatever the origin.
    np.testing.assert_allclose(made.of_normal["x"], [made.volume, 0, 0], atol=2e-3)
    np.testing.assert_allclose(made.of_vector["v"], made.area * np.array([1, 2, 3]), rtol=1e-5)
    assert made.odd.max() < 1e-4


@pytest.mark.filterwarnings("ignore:.*the surface is open")
@pytest.mark.parametrize(("axis", "name"), enumerate("xyz"))
def test_half_a_ball_is_half_across_its_cut(axis, name):
    made = SurfaceIntegrals.of(ball(cut=name))
    assert made.half_of == axis and not made.closed


def test_no_surface_has_none():
    graph = AhmedMini("test")[0].clone_shallow()
    assert SurfaceIntegrals.of(graph) is not None
    graph.pos = graph.pos[:, :2]
    assert SurfaceIntegrals.of(graph) is None
    cube = pv.ImageData(dimensions=(3, 3, 3)).cast_to_unstructured_grid()
    assert SurfaceIntegrals.of(from_pyvista(cube, location="cell")) is None


def test_stagnation_faces_the_flow():
    data = AhmedMini("test")
    fronts = torch.tensor(np.array([SurfaceIntegrals.of(graph).front["pMean"] for graph in data]))
    assert (fronts[:, 0] < -0.9).all()
