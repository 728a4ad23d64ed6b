from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from scipy.integrate import quad
from scipy.spatial import cKDTree

from meshops.datasets import AhmedMini
from meshops.errors import DataWarning, InputError
from meshops.solvers import ahmed_body, ahmed_body_from

ORIGINAL = {
    "length": 1.044,
    "width": 0.389,
    "height": 0.288,
    "front_radius": 0.1,
    "slant_length": 0.222,
    "slant_angle": 25.0,
    "ground_clearance": 0.05,
}


def exact_volume(length, width, height, front_radius, slant_length, slant_angle, ground_clearance) -> float:
    """Integral of the rectangular cross-sections."""

    def section(x: float) -> float:
        cut = front_radius - np.sqrt(front_radius**2 - (front_radius - x) ** 2)
        return (width - 2 * cut) * (height - 2 * cut)

    nose = quad(section, 0, front_radius)[0]
    angle = np.radians(slant_angle)
    wedge = 0.5 * slant_length**2 * np.sin(angle) * np.cos(angle) * width
    return nose + (length - front_radius) * width * height - wedge


@pytest.mark.parametrize("change", [{}, {"slant_angle": 0.0}, {"slant_angle": 55.0}, {"front_radius": 0.03}])
def test_closed_outward_and_of_the_right_volume(change):
    values = ORIGINAL | change
    body = ahmed_body(**values)
    assert body.n_open_edges == 0 and body.is_manifold and body.is_all_triangles
    triangles = np.asarray(body.points)[body.regular_faces]
    signed = np.einsum("ij,ij->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6
    assert signed == pytest.approx(exact_volume(**values), rel=2e-3)
    vertices, faces = body.n_points, body.n_cells
    assert vertices - faces * 3 // 2 + faces == 2


def test_volume_converges_with_the_edge():
    errors = [abs(ahmed_body(**ORIGINAL, edge=edge).volume - exact_volume(**ORIGINAL)) for edge in (0.08, 0.04, 0.02)]
    assert errors[0] > 2.5 * errors[1] > 6 * errors[2]


def test_frame_and_symmetry():
    points = np.asarray(ahmed_body(**ORIGINAL).points)
    assert points.min(axis=0) == pytest.approx([0.0, -0.1945, 0.05])
    assert points.max(axis=0) == pytest.approx([1.044, 0.1945, 0.338])
    distance, _ = cKDTree(points).query(points * [1, -1, 1])
    assert distance.max() == 0  # mirror images to the last bit


@pytest.mark.parametrize("edge", [0.01, 0.02, 0.04])
def test_triangles_have_the_wanted_size_and_a_good_shape(edge):
    body = ahmed_body(**ORIGINAL, edge=edge)
    corners = np.asarray(body.points)[body.regular_faces]
    lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    area = body.compute_cell_sizes(length=False, volume=False)["Area"]
    quality = 4 * np.sqrt(3) * area / np.square(lengths).sum(axis=1)
    assert np.median(lengths) == pytest.approx(edge, rel=0.1)
    assert lengths.max() < 2 * edge and lengths.min() > 0.4 * edge
    assert quality.mean() > 0.95 and quality.min() > 0.5


def test_agrees_with_the_shipped_surfaces():
    """The surfaces of the flow meshes have cells of about 1 cm, whose corners the mesher moved a little."""
    data = AhmedMini("test")
    for i in (0, 5):
        with pytest.warns(DataWarning) if limited(data.parameters(i)) else nullcontext():
            body = ahmed_body_from(data.parameters(i))
        mesh = data.mesh(i)
        distance = np.abs(mesh.compute_implicit_distance(body)["implicit_distance"])
        assert distance.mean() < 5e-4 and distance.max() < 6e-3
        assert body.volume == pytest.approx(mesh.volume, rel=2e-3)


def test_agrees_with_the_stl_files(shared_data: Path):
    """Largest distance 1.3 mm, which is the sag of the STL's own 28 mm facets; mean below 0.1 mm."""
    data = AhmedMini("all")
    for i in (0, 6, 9, 29):
        with pytest.warns(DataWarning) if limited(data.parameters(i)) else nullcontext():
            body = ahmed_body_from(data.parameters(i))
        run = data.runs[i]
        stl = pv.read(shared_data / "ahmed_rans" / f"run_{run}" / f"ahmed_{run}.stl")
        for one, other in ((body, stl), (stl, body)):
            distance = np.abs(one.compute_implicit_distance(other)["implicit_distance"])
            assert distance.max() < 1.5e-3 and distance.mean() < 1e-4
        assert body.volume == pytest.approx(stl.volume, rel=6e-4)


def limited(parameters: dict[str, float]) -> bool:
    return parameters["front-radius"] > 0.35 * min(parameters["body-width"], parameters["body-height"])


def test_front_radius_is_limited_and_said_so():
    with pytest.warns(DataWarning, match="front_radius 0.2 m is more than 0.35 times.*0.1008 m is used"):
        body = ahmed_body(**ORIGINAL | {"front_radius": 0.2})
    assert body.volume == pytest.approx(exact_volume(**ORIGINAL | {"front_radius": 0.1008}), rel=2e-3)


def test_millimetres_are_recognized():
    row = {"body-length": 1044, "body-width": 389, "body-height": 288, "front-radius": 100, "slant-length": 222}
    row |= {"slant-angle-degrees": 25, "ground-clearance": 50}
    with pytest.warns(DataWarning, match="body-length 1044 is taken to be millimetres"):
        body = ahmed_body_from(row)
    assert np.array_equal(body.points, ahmed_body(**ORIGINAL).points)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0.0}, "width must be positive"),
        ({"slant_angle": 90.0}, "slant_angle must be 0 to below 90"),
        ({"ground_clearance": -0.01}, "ground_clearance must not be negative"),
        ({"slant_length": 1.1}, "inside the front radius"),
        ({"slant_angle": 80.0, "slant_length": 0.4}, "below the underside"),
        ({"edge": 0.2}, "edge must be positive and at most 0.144 m"),
    ],
)
def test_bad_dimensions(change, message):
    with pytest.raises(InputError, match=message):
        ahmed_body(**ORIGINAL | change)


def test_missing_column():
    with pytest.raises(InputError, match="no column 'slant-length' among"):
        ahmed_body_from(
            {name: 1.0 for name in ("body-length", "body-width", "body-height", "front-radius")}
            | {"slant-angle-degrees": 25.0, "ground-clearance": 0.05}
        )
