"""Canonical frame and features: exact mirror symmetry, potential flow, independence of axes and triangulation."""

import numpy as np
import pytest
import pyvista as pv
import torch
from torch.testing import assert_close

from meshops.aero.conditions import FlowConditions
from meshops.aero.features import Body, FeatureSpec, changes_along, frame_of, node_features, potential_velocity
from meshops.aero.frame import GRID, Frame
from meshops.data.convert import from_pyvista
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError

FREE = FlowConditions(ground=None)


def ellipsoid(nsub: int = 4) -> pv.PolyData:
    mesh = pv.Icosphere(radius=1.0, nsub=nsub)
    mesh.points = np.asarray(mesh.points) * [0.5, 0.2, 0.15] + [0.5, 0.0, 0.25]
    return mesh


def features(mesh: pv.PolyData, conditions: FlowConditions, **spec) -> torch.Tensor:
    graph = from_pyvista(mesh, location="cell")
    return node_features(graph, frame_of(graph, conditions, "surface"), FeatureSpec(**spec), "surface")


def test_frame_restores_what_it_turned():
    conditions = FlowConditions(flow=(0, 0, 1), up=(0, 1, 0), ground=-0.3)
    pos = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    frame = Frame.of(pos, conditions)
    vectors = torch.randn(20, 3)
    assert_close(frame.restore(frame.vectors(vectors)), vectors)
    canonical = frame.points(pos)
    low, high = pos.amin(0), pos.amax(0)
    middle, length = (low + high) / 2, float(high[2] - low[2])
    on_grid = {"atol": GRID, "rtol": 0}
    assert_close(canonical[:, 0], (pos[:, 2] - middle[2]) / length, **on_grid)
    assert_close(canonical[:, 1], (pos[:, 0] - middle[0]).abs() / length, **on_grid)
    assert_close(canonical[:, 2], (pos[:, 1] + 0.3) / length, **on_grid)
    assert float(canonical[:, 0].max()) == 0.5 and float(canonical[:, 0].min()) == -0.5


def test_mirror_images_have_the_same_features():
    mesh = ellipsoid()
    mirrored = mesh.copy()
    mirrored.points = np.asarray(mesh.points) * [1, -1, 1]
    mirrored.flip_faces(inplace=True)
    whole = {"max_sources": 8192}
    first, second = (features(m, FlowConditions(), **whole) for m in (mesh, mirrored))
    assert_close(first, second, atol=2e-4, rtol=1e-3)


def test_merging_panels_changes_little():
    mesh = ellipsoid()
    names = FeatureSpec().names("surface")
    few, all_ = features(mesh, FlowConditions(), max_sources=2048), features(mesh, FlowConditions(), max_sources=8192)
    columns = [i for i, name in enumerate(names) if name.startswith("potential")]
    assert float((few - all_)[:, columns].norm() / all_[:, columns].norm()) < 0.03


def test_features_do_not_depend_on_the_axes_of_the_file():
    mesh = ellipsoid(3)
    turned = mesh.copy()
    turned.points = np.asarray(mesh.points)[:, [1, 2, 0]]
    other = FlowConditions(flow=(0, 0, 1), up=(0, 1, 0))
    assert_close(features(mesh, FlowConditions()), features(turned, other), atol=2e-4, rtol=1e-3)


def test_names_match_the_columns():
    spec = FeatureSpec(radii=(0.1, 0.2))
    assert features(ellipsoid(3), FREE, radii=(0.1, 0.2)).shape[1] == len(spec.names("surface"))


def test_smoothed_normals_match_the_definition():
    mesh = ellipsoid(3)
    out = features(mesh, FREE, radii=(0.4, 0.2, 0.13), potential_flow=False)
    graph = from_pyvista(mesh, location="cell")
    names = FeatureSpec(radii=(0.4, 0.2, 0.13), potential_flow=False).names("surface")
    radius = 0.13 * 0.3  # m, of a body 1 m long
    weight = torch.exp(-(torch.cdist(graph.pos, graph.pos).double() ** 2) / (2 * radius**2)) * graph.area
    mean = (weight @ graph.normal.double()) / weight.sum(1, keepdim=True)
    place = (weight @ graph.pos.double()) / weight.sum(1, keepdim=True)
    curvature = ((graph.pos - place) * graph.normal).sum(1) / radius
    assert_close(out[:, names.index("normal_z@0.13")].double(), mean[:, 2], atol=1e-3, rtol=1e-3)
    assert_close(out[:, names.index("curvature@0.13")].double(), curvature, atol=2e-3, rtol=1e-2)


def sphere_body(nsub: int) -> Body:
    graph = from_pyvista(pv.Icosphere(radius=1.0, nsub=nsub), location="cell")
    return Body(graph.pos, graph.normal, graph.area, -torch.ones(3), torch.ones(3))


@pytest.mark.parametrize(("nsub", "tolerance"), [(3, 0.02), (4, 0.012)])
def test_potential_flow_past_a_sphere(nsub, tolerance):
    """Exact: tangential speed 1.5 sin(theta) on the surface."""
    body = sphere_body(nsub)
    velocity = potential_velocity(body.center, body, ground=False)
    tangential = velocity - (velocity * body.normal).sum(1, keepdim=True) * body.normal
    exact = 1.5 * (1 - body.normal[:, 0] ** 2).sqrt()
    assert float((tangential.norm(dim=1) - exact).norm() / exact.norm()) < tolerance


def test_potential_flow_off_the_sphere():
    """Exact: u_x = 1 + (1/2) r^-3 on the equator, 1 - r^-3 on the axis."""
    body = sphere_body(4)
    velocity = potential_velocity(torch.tensor([[0.0, 2, 0], [-2.0, 0, 0]]), body, ground=False)
    assert_close(velocity[:, 0], torch.tensor([1 + 0.5 / 8, 1 - 1 / 8]), atol=3e-3, rtol=0)


def test_ground_lets_no_flow_through():
    body = sphere_body(3)
    raised = Body(body.center + torch.tensor([0, 0, 1.3]), body.normal, body.area, body.low, body.high)
    ground = torch.tensor([[0.0, 0, 0], [0.7, 0.2, 0]])
    assert_close(potential_velocity(ground, raised, ground=True)[:, 2], torch.zeros(2), atol=1e-5, rtol=0)


def test_merged_panels_keep_the_area_vector():
    body = sphere_body(4)
    small = body.merged(256)
    assert small.area.numel() == 256
    total = (small.normal * small.area.unsqueeze(1)).sum(0)
    assert_close(total, torch.zeros(3), atol=1e-4, rtol=0)
    assert float(small.area.sum()) == pytest.approx(float(body.area.sum()), rel=0.03)


def test_points_without_a_face_change_nothing():
    """As the 96 of every ShapeNet car: alone in a panel they had no centre, and the features of all nodes were NaN."""
    graph = from_pyvista(ellipsoid(), location="point")
    loose = graph.clone()
    extra = 50
    loose.pos = torch.cat([graph.pos, graph.pos[:extra] * 0.5])
    loose.normal = torch.cat([graph.normal, torch.zeros(extra, 3)])
    loose.area = torch.cat([graph.area, torch.zeros(extra)])
    for most in (256, 8192):
        spec = FeatureSpec(max_sources=most)
        plain, more = (
            node_features(g, frame_of(g, FlowConditions(), "surface"), spec, "surface") for g in (graph, loose)
        )
        assert torch.isfinite(more).all()
        assert_close(more[: len(plain)], plain, atol=1e-5, rtol=1e-5)


def test_volume_needs_its_body():
    graph = MeshGraph(pos=torch.rand(5, 3))
    with pytest.raises(InputError, match="body_pos"):
        frame_of(graph, FREE, "volume")
    with pytest.raises(InputError, match="body_pos"):
        node_features(graph, Frame.of(graph.pos, FREE), FeatureSpec(), "volume")


@pytest.mark.parametrize("ground", [None, 0.0])
def test_features_do_not_depend_on_place_and_unit(ground):
    """Bit for bit but for a few nodes: the file is in double precision and positions lie on a grid."""
    mesh, moved = ellipsoid(3), ellipsoid(3)
    for one in (mesh, moved):
        one.points = np.asarray(one.points, dtype=np.float64)
    moved.points = (np.asarray(mesh.points) + np.array([-1.0, 0.5, 0.0])) * 1000
    conditions = FlowConditions(ground=ground)
    assert_close(features(mesh, conditions), features(moved, conditions), atol=2e-4, rtol=1e-3)


def test_the_frame_of_a_volume_is_that_of_its_body():
    graph = MeshGraph(pos=torch.rand(50, 3) * 10)
    graph.body_pos = torch.tensor([[4.0, 1, 0.5], [6.0, 2, 1.0]])
    frame = frame_of(graph, FlowConditions(symmetric=False), "volume")
    assert frame.length == 2.0 and frame.origin.tolist() == [5.0, 1.5, 0.0]
    assert_close(frame.points(graph.pos), (graph.pos - torch.tensor([5.0, 1.5, 0.0])) / 2, atol=GRID, rtol=0)


def test_the_reynolds_number_is_a_feature():
    graph = from_pyvista(ellipsoid(3), location="cell")
    spec = FeatureSpec(radii=(), potential_flow=False, reynolds=True)
    out = node_features(graph, frame_of(graph, FREE, "surface"), spec, "surface", reynolds=1e6)
    assert_close(out[:, spec.names("surface").index("log_reynolds")], torch.full((len(out),), float(np.log(1e6))))


def test_the_rise_of_the_potential_pressure_is_its_slope_along_the_flow():
    """On a long cylinder of panels with a pressure that is linear in x: slope times radius, whatever the radius."""
    angle, x = torch.meshgrid(torch.arange(40) * (2 * np.pi / 40), torch.linspace(-2, 2, 161), indexing="ij")
    normal = torch.stack([torch.zeros_like(x), angle.cos(), angle.sin()], -1).reshape(-1, 3).float()
    center = torch.stack([x, 0.3 * angle.cos(), 0.3 * angle.sin()], -1).reshape(-1, 3).float()
    panels = Body(center, normal, torch.full((len(center),), 1e-3), center.amin(0), center.amax(0))
    at = center[:, 0].abs() < 0.3
    along = torch.tensor([[1.0, 0.0, 0.0]]).expand(int(at.sum()), -1)
    pressure = 0.5 - 0.4 * center[:, 0]
    columns = changes_along(center[at], normal[at], along, panels, pressure, [0.1, 0.2])
    for radius, mean, rise in ((0.1, *columns[:2]), (0.2, *columns[2:])):
        assert_close(mean[:, 0], pressure[at], atol=2e-3, rtol=0)
        assert_close(rise[:, 0], torch.full_like(rise[:, 0], -0.4 * radius), atol=2e-3, rtol=0)
    back = changes_along(center[at], normal[at], -along, panels, pressure, [0.1])[1]
    assert_close(back, -columns[1], atol=1e-4, rtol=0)


def test_changes_of_the_potential_flow_do_not_depend_on_the_axes():
    mesh = ellipsoid(3)
    turned = mesh.copy()
    turned.points = np.asarray(mesh.points)[:, [1, 2, 0]]
    first = features(mesh, FlowConditions(ground=None), potential_change=True, radii=(0.1, 0.3))
    second = features(turned, FlowConditions(flow=(0, 0, 1), up=(0, 1, 0), ground=None), potential_change=True,
                      radii=(0.1, 0.3))  # fmt: skip
    names = FeatureSpec(potential_change=True, radii=(0.1, 0.3)).names("surface")
    assert len(names) == first.shape[1] and [n for n in names if "rise" in n] == [
        "potential_rise@0.1", "potential_rise@0.3",
    ]  # fmt: skip
    assert_close(first, second, atol=2e-3, rtol=1e-3)
    assert FeatureSpec(potential_change=True).names("volume") == FeatureSpec().names("volume")
