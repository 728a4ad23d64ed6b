"""The scene: triangles, the cells they stand for, and what the page may not do."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest
import pyvista as pv

from meshops.errors import InputError
from meshops.viz import scene_html
from meshops.viz.scene import decimated, triangles_of


def data_of(fragment: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" class="scene-data">(.*?)</script>', fragment, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def unpack(packed: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["bytes"]), dtype="<" + packed["dtype"])


def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, n]] for n in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


@pytest.fixture
def polygons() -> Any:
    """A triangle, a quad, an L-shaped hexagon and one point no cell uses."""
    points = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0], [3, 0, 0], [3, 1, 0], [2, 1, 0], [9, 9, 9]]
    points += [[4, 0, 0], [6, 0, 0], [6, 1, 0], [5, 1, 0], [5, 2, 0], [4, 2, 0]]
    faces = [3, 0, 1, 2, 4, 3, 4, 5, 6, 6, 8, 9, 10, 11, 12, 13]
    return pv.PolyData(np.array(points, dtype=float), faces)


def test_area_of_each_polygon_is_preserved(polygons: Any) -> None:
    cut = triangles_of(polygons)
    area = np.bincount(cut.cell, weights=areas(cut.points, cut.triangles))
    assert area == pytest.approx([0.5, 1.0, 3.0])
    assert len(cut.points) == 13 and 7 not in cut.point, "the unused point is left out"
    assert np.allclose(np.asarray(polygons.points)[cut.point], cut.points)


def test_values_in_the_page_belong_to_their_cells(polygons: Any) -> None:
    fields = {"p": np.array([10.0, 20.0, 30.0]), "u": np.array([[3.0, 4, 0], [0, 0, 1], [0, 0, 2]])}
    data = data_of(scene_html(polygons, fields, units={"p": "Pa"}, include_plotly=False))
    points = np.stack([unpack(data[axis]) for axis in "xyz"], axis=1)
    triangles = np.stack([unpack(data[axis]) for axis in "ijk"], axis=1)
    p, u = data["fields"]
    area = areas(points.astype(float), triangles)
    assert float((unpack(p["values"]) * area).sum()) == pytest.approx(10 * 0.5 + 20 * 1 + 30 * 3)
    assert (p["unit"], p["mode"], u["name"]) == ("Pa", "cell", "|u|")
    assert set(unpack(u["values"])) == {5.0, 1.0, 2.0}
    assert all(e["low"] < e["high"] and len(e["scale"]) == 33 for e in (p, u))


def test_volume_mesh_shows_its_outer_surface() -> None:
    grid = pv.ImageData(dimensions=(4, 4, 4)).cast_to_unstructured_grid()
    cut = triangles_of(grid)
    assert areas(cut.points, cut.triangles).sum() == pytest.approx(6 * 9)
    assert 13 not in cut.cell, "the cell in the middle has no face outside"


def test_decimation_is_said_and_keeps_the_shape() -> None:
    sphere = pv.Sphere(theta_resolution=100, phi_resolution=100)
    x = sphere.cell_centers().points[:, 0]
    assert "Simplified" not in scene_html(sphere, {"x": x}, include_plotly=False)
    fragment = scene_html(sphere, {"x": x}, max_triangles=4000, include_plotly=False)
    assert re.search(r"Simplified for display from 19,600 to [34],\d{3} triangles", fragment)
    cut = decimated(triangles_of(sphere), 4000)
    assert len(cut.triangles) <= 4100
    assert areas(cut.points, cut.triangles).sum() == pytest.approx(float(sphere.area), rel=0.01)
    centers = cut.points[cut.triangles].mean(axis=1)
    assert np.abs(x[cut.cell] - centers[:, 0]).max() < 0.05


def test_point_fields_color_vertices() -> None:
    sphere = pv.Sphere()
    data = data_of(scene_html(sphere, {"x": sphere.points[:, 0]}, include_plotly=False))
    assert data["fields"][0]["mode"] == "vertex"
    assert np.array_equal(unpack(data["fields"][0]["values"]), unpack(data["x"]))


def test_camera_follows_up_and_flow() -> None:
    car = pv.Cube(x_length=1, y_length=1, z_length=4)
    data = data_of(scene_html(car, {"n": np.arange(6.0)}, flow=(0, 0, 1), up=(0, 1, 0), include_plotly=False))
    camera = data["cameras"]["front three-quarter"]
    assert camera["up"] == {"x": 0.0, "y": 1.0, "z": 0.0}
    assert camera["eye"]["z"] < 0 < camera["eye"]["y"]
    assert (np.array(data["arrow"][1]) - data["arrow"][0]) @ [0, 0, 1] > 0


def test_page_is_offline_and_small() -> None:
    sphere = pv.Sphere(theta_resolution=75, phi_resolution=75)
    fragment = scene_html(sphere, {"p": np.arange(float(sphere.n_cells))}, units={"p": "</script><b>"})
    assert fragment.count("Plotly.react(") >= 1 and len(fragment) < 6.5e6
    own = scene_html(sphere, {"</script><i>": np.arange(float(sphere.n_cells))}, include_plotly=False)
    assert "http" not in own and "<i>" not in own
    assert own.count("</script>") == 2, "names and units cannot end a script"
    assert "showSendToCloud: false" in own and "modeBarButtons:" in own


def test_planar_mesh_is_seen_face_on() -> None:
    plane = pv.Plane(direction=(0, 0, 1))
    data = data_of(scene_html(plane, {"x": np.arange(float(plane.n_cells))}, include_plotly=False))
    assert next(iter(data["cameras"])) == "plane of the mesh"
    assert all(high - low > 0.01 for low, high in data["ranges"])


def test_messages() -> None:
    sphere = pv.Sphere()
    with pytest.raises(InputError, match="no field for the scene"):
        scene_html(sphere, {})
    with pytest.raises(InputError, match=r"shape \(4,\) for a mesh of"):
        scene_html(sphere, {"p": np.zeros(4)})
    with pytest.raises(InputError, match="has no faces to show"):
        scene_html(pv.PolyData(np.random.default_rng(0).random((9, 3))), {"p": np.zeros(9)})
    with pytest.raises(InputError, match="element_id"):
        scene_html(sphere, {"p": np.zeros(sphere.n_cells)}, element_id='a"b')
