"""Force integrals on surfaces whose answer is known."""

import numpy as np
import pytest
import pyvista as pv

from meshops.aero.body_surface import BodySurface
from meshops.aero.conditions import FlowConditions
from meshops.aero.forces import integrate_forces
from meshops.aero.silhouette import projected_area
from meshops.errors import InputError


@pytest.fixture(scope="module")
def sphere() -> BodySurface:
    mesh = pv.Icosphere(radius=0.5, center=(1, 2, 3), nsub=5)
    return BodySurface.of(mesh)


def test_constant_pressure_gives_no_force_on_a_closed_surface(sphere):
    forces = integrate_forces(sphere.normal, sphere.area, np.full(len(sphere.area), 7.0), FlowConditions(),
                              frontal_area=1.0)  # fmt: skip
    assert np.abs(forces.pressure).max() < 1e-10
    assert forces.closure < 1e-10


def test_pressure_linear_in_x_pushes_like_archimedes(sphere):
    """F = -integral of grad p = -volume for p = x."""
    forces = integrate_forces(sphere.normal, sphere.area, sphere.center[:, 0], FlowConditions(), frontal_area=1.0)
    volume = 4 / 3 * np.pi * 0.5**3
    assert forces.pressure[0] == pytest.approx(-volume, rel=3e-3)
    assert forces.cd == pytest.approx(-2 * volume, rel=3e-3)


def test_potential_flow_around_a_sphere_has_no_drag(sphere):
    """Cp = 1 - 9/4 sin^2: d'Alembert's paradox."""
    cos = (sphere.center[:, 0] - 1) / 0.5
    pressure = 0.5 * (1 - 2.25 * (1 - cos**2))
    forces = integrate_forces(sphere.normal, sphere.area, pressure, FlowConditions(), frontal_area=np.pi / 4)
    assert abs(forces.cd) < 1e-6
    front = sphere.normal[:, 0] < 0
    half = integrate_forces(
        sphere.normal[front], sphere.area[front], pressure[front], FlowConditions(), frontal_area=np.pi / 4
    )
    assert half.cd == pytest.approx(-1 / 8, rel=0.05)  # integral of Cp cos dA over the front half is -pi/4 / 8


def test_uniform_shear_is_area_times_stress_with_the_files_sign(sphere):
    shear = np.broadcast_to([0.01, 0, 0], sphere.normal.shape)
    total = sphere.area.sum()
    for sign in (1, -1):
        forces = integrate_forces(
            sphere.normal, sphere.area, np.zeros(len(sphere.area)), FlowConditions(shear_sign=sign),
            frontal_area=1.0, shear=shear,
        )  # fmt: skip
        assert forces.cd_friction == pytest.approx(sign * 2 * 0.01 * total)
        assert forces.cd == pytest.approx(forces.cd_pressure + forces.cd_friction)


def test_axes_follow_the_conditions(sphere):
    """Flow along z, y up: the same body and a pressure that falls along z."""
    conditions = FlowConditions(flow=(0, 0, 1), up=(0, 1, 0), speed=20, density=1.2)
    forces = integrate_forces(sphere.normal, sphere.area, -100 * sphere.center[:, 2], conditions, frontal_area=0.785)
    volume = 4 / 3 * np.pi * 0.5**3
    assert forces.cd == pytest.approx(100 * volume / (0.5 * 1.2 * 400 * 0.785), rel=3e-3)
    assert abs(forces.cl) < 1e-9 and abs(forces.cs) < 1e-9
    assert np.allclose(conditions.lateral, (1, 0, 0))


def test_silhouette_of_a_sphere_and_of_a_ring(sphere):
    assert sphere.frontal_area(FlowConditions()) == pytest.approx(np.pi / 4, rel=2e-3)
    ring = pv.Disc(inner=0.5, outer=1, normal=(1, 0, 0), r_res=1, c_res=400).triangulate()
    points, triangles = np.asarray(ring.points, dtype=float), ring.regular_faces
    assert projected_area(points, triangles, FlowConditions()) == pytest.approx(np.pi * 0.75, rel=2e-3)
    assert projected_area(points, triangles, FlowConditions(area_rule="hull")) == pytest.approx(np.pi, rel=2e-3)
    assert sphere.frontal_area(FlowConditions(frontal_area=0.3)) == 0.3


def test_silhouette_does_not_count_overlap_twice():
    boxes = pv.Box((0, 1, 0, 1, 0, 1)) + pv.Box((5, 6, 0.5, 1.5, 0, 1))
    body = BodySurface.of(boxes.extract_surface(algorithm="dataset_surface").triangulate())
    assert body.frontal_area(FlowConditions()) == pytest.approx(1.5, rel=1e-3)


def test_errors(sphere):
    with pytest.raises(InputError, match=r"area must be positive"):
        integrate_forces(sphere.normal, sphere.area, sphere.area, FlowConditions(), frontal_area=0.0)
    with pytest.raises(InputError, match="normal"):
        integrate_forces(sphere.normal[:5], sphere.area, sphere.area, FlowConditions(), frontal_area=1.0)
    flat = np.zeros((3, 3))
    with pytest.raises(InputError, match="no extent"):
        projected_area(flat, np.array([[0, 1, 2]]), FlowConditions())


def test_kinematic_fields_give_the_same_force(sphere):
    """Values divided by the density: the same coefficients, and the force in N."""
    pressure, shear = -3.0 * sphere.center[:, 0], np.tile([2.0, 0, 0], (len(sphere.area), 1))
    pascal = FlowConditions(speed=20, density=1.2, reference_pressure=101325.0)
    kinematic = FlowConditions(speed=20, density=1.2, kinematic=True)
    one = integrate_forces(sphere.normal, sphere.area, pressure + 101325.0, pascal, frontal_area=0.8, shear=shear)
    two = integrate_forces(sphere.normal, sphere.area, pressure / 1.2, kinematic, frontal_area=0.8, shear=shear / 1.2)
    assert one.cd == pytest.approx(two.cd) and one.cd_friction == pytest.approx(two.cd_friction)
    assert one.pressure == pytest.approx(two.pressure) and one.friction == pytest.approx(two.friction)


def test_drag_of_a_real_case_agrees_with_the_solver(shared_data):
    """Pressure and friction of run 1 give the cd the solver wrote, to 1.5 %."""
    run = shared_data / "ahmed_rans" / "run_1"
    mesh = pv.read(run / "boundary_1.vtp")
    body = BodySurface.of(mesh)
    conditions = FlowConditions(shear_sign=-1)
    area = body.frontal_area(conditions)
    assert area == pytest.approx(0.080821878, rel=5e-3)
    forces = integrate_forces(body.normal, body.area, mesh["pMean"], conditions, frontal_area=area,
                              shear=mesh["wallShearStressMean"])  # fmt: skip
    assert forces.cd == pytest.approx(0.27753067, rel=0.015)
