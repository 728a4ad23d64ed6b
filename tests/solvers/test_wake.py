"""The flow solver on moving meshes against exact flows, and wakes against published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meshops.errors import InputError
from meshops.solvers.ale_flow import AleFlow
from meshops.solvers.mesh_registry import MESH_GENERATORS, generate_mesh
from meshops.solvers.unstructured import smallest_angle, square_mesh
from meshops.solvers.wake import MOTIONS, SHAPES, Motion, node_types, start, wake, wake_mesh

fem = pytest.importorskip("skfem")


def square(num_points: int) -> tuple[np.ndarray, np.ndarray]:
    return square_mesh(num_points, torch.Generator().manual_seed(0))


def shaken(rest: np.ndarray, time: float) -> np.ndarray:
    """A mesh whose inner points swing; the sides stay."""
    bump = np.prod(np.sin(np.pi * rest), axis=1)
    return rest + 0.08 * bump[:, None] * np.array([math.sin(9 * time), 1 - math.cos(7 * time)])


def vortex(points: np.ndarray, time: float, viscosity: float) -> np.ndarray:
    """Velocity of the decaying vortex of Taylor and Green."""
    x, y = np.pi * points.T
    fade = math.exp(-2 * np.pi**2 * viscosity * time)
    return fade * np.stack([-np.cos(x) * np.sin(y), np.sin(x) * np.cos(y)], 1)


def vortex_error(num_points: int, time_step: float, moving: bool) -> float:
    """Largest error of the velocity at time 0.4."""
    rest, triangles = square(num_points)
    nowhere = np.zeros(len(rest), dtype=bool)
    flow = AleFlow(rest, triangles, vortex(rest, 0, 0.05), outlet=nowhere, viscosity=0.05, time_step=time_step)
    for step in range(1, round(0.4 / time_step) + 1):
        time = step * time_step
        points = shaken(rest, time) if moving else rest
        flow.step(points, vortex(points, time, 0.05))
    return float(np.abs(flow.velocity - vortex(flow.points, 0.4, 0.05)).max())


def test_an_even_flow_stays_even_on_a_moving_mesh() -> None:
    rest, triangles = square(120)
    stream = np.tile([1.0, 0.4], (len(rest), 1))
    flow = AleFlow(rest, triangles, stream, outlet=rest[:, 0] == 1, viscosity=0.01, time_step=0.05)
    for step in range(1, 13):
        flow.step(shaken(rest, 0.05 * step), stream)
    assert np.abs(flow.points - rest).max() > 0.05
    np.testing.assert_allclose(flow.velocity, stream, atol=1e-12)
    np.testing.assert_allclose(flow.pressure, 0, atol=1e-11)


@pytest.mark.parametrize("moving", [False, True])
def test_the_error_falls_with_mesh_and_time_step(moving: bool) -> None:
    coarse, fine = vortex_error(80, 0.04, moving), vortex_error(320, 0.02, moving)
    assert fine < 0.015 and math.log2(coarse / fine) > 1.2, (coarse, fine)


def mass_lost(flow: AleFlow) -> float:
    """Divergence of the velocity averaged around each point, mean of its absolute value, 1/s."""
    mesh = fem.MeshTri(flow.points.T.copy(), flow.triangles)
    quadratic = fem.Basis(mesh, fem.ElementTriP2(), intorder=4)
    _, divergence = flow._correction(quadratic, quadratic.with_element(fem.ElementTriP1()), flow._u)
    return float(np.abs(divergence).mean())


def test_a_cylinder_has_drag_and_no_sources() -> None:
    rest, triangles = wake_mesh(350, torch.Generator().manual_seed(0), shape="cylinder")
    flow, advance = start(rest, triangles, Motion(), reynolds=40.0, time_step=0.1, side=0)
    for _ in range(45):
        advance()
    kinds = node_types(rest, triangles)
    assert mass_lost(flow) < 0.01
    body = np.flatnonzero(kinds == 6)
    assert np.abs(flow.velocity[body]).max() == 0
    front, back = body[rest[body, 0].argmin()], body[rest[body, 0].argmax()]
    # Published for an unbounded stream: pressure coefficients 1.14 and -0.51 (Dennis and Chang 1970); sides add to it
    assert 1.5 < 2 * (flow.pressure[front] - flow.pressure[back]) < 2.5
    behind = flow.velocity[(np.abs(rest[:, 1]) < 0.3) & (np.abs(rest[:, 0] - 1.0) < 0.3), 0]
    assert behind.min() < -0.02  # the flow returns


@pytest.mark.slow
def test_a_cylinder_sheds_vortices_at_the_published_rate() -> None:
    """Strouhal number at Re 100: 0.164 in an unbounded stream (Williamson 1989), more where sides are near."""
    rest, triangles = wake_mesh(900, torch.Generator().manual_seed(0), shape="cylinder")
    flow, advance = start(rest, triangles, Motion(), reynolds=100.0, time_step=0.1)
    probe, record = np.hypot(rest[:, 0] - 2, rest[:, 1]).argmin(), []
    for _ in range(400):
        advance()
        record.append(flow.velocity[probe, 1])
    late = np.array(record[200:])
    rising = np.flatnonzero((late[:-1] < 0) & (late[1:] >= 0))
    strouhal = 1 / (0.1 * np.diff(rising).mean())
    assert 0.14 < strouhal < 0.22 and late.max() > 0.4
    assert mass_lost(flow) < 0.02


@pytest.mark.parametrize(("shape", "motion"), [("cylinder", "heave"), ("aerofoil", "heave_pitch")])
def test_wakes_are_whole_and_repeat(shape: str, motion: str) -> None:
    options = {"num_points": 250, "frames": 4, "shape": shape, "motion": motion, "spin_up": 0.0, "interval": 0.4}
    run, again = (generate_mesh("wake", 2, **options) for _ in range(2))
    assert torch.equal(run.velocity, again.velocity) and torch.equal(run.pos, again.pos)
    assert run.pos.shape == run.velocity.shape == (4, 250, 2) and run.pressure.shape == run.node_type.shape == (4, 250)
    assert run.pos.dtype == run.velocity.dtype == run.pressure.dtype == torch.float32
    assert run.node_type.dtype == torch.int64 and run.node_type.unique().tolist() == [0, 4, 5, 6]
    assert len(run.triangles) == 4 and run.triangles[0] is run.triangles[3]
    for values in (run.pos, run.velocity, run.pressure):
        assert bool(torch.isfinite(values).all())
    body, stream = run.node_type[0] == 6, run.node_type[0] == 4
    assert torch.equal(run.velocity[:, stream], torch.tensor([1.0, 0.0]).expand(4, int(stream.sum()), 2))
    moved = (run.pos[1:] - run.pos[:-1])[:, body].norm(dim=-1)
    assert float(moved.max()) > 1e-3 and torch.equal(run.pos[0, ~body & stream], run.pos[3, ~body & stream])
    torch.testing.assert_close(run.time, torch.arange(4, dtype=torch.float64) * 0.4)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_body_moves_rigidly_and_the_mesh_keeps_its_quality(shape: str) -> None:
    rest, triangles = wake_mesh(300, torch.Generator().manual_seed(1), shape=shape)
    assert np.unique(triangles).size == 300 and smallest_angle(rest, triangles) > 12
    body = rest[node_types(rest, triangles) == 6]
    assert len(body) > 10 and np.hypot(*body.T).max() < 0.5 + 1e-9
    law = Motion(heave=0.25, pitch=math.radians(18), frequency=0.25, phase=0.5, mean=math.radians(10))
    for time in np.arange(0, 9, 0.5):
        moved = law.moved(rest, time)
        assert smallest_angle(moved, triangles) > 5
        after = law.moved(body, time)
        spread = np.linalg.norm(body[:, None] - body, axis=-1)
        np.testing.assert_allclose(np.linalg.norm(after[:, None] - after, axis=-1), spread, atol=1e-12)
    height, angle = law.place(7.0)
    nose = law.moved(np.array([[-0.5, 0.0]]), 7.0)[0]
    np.testing.assert_allclose(nose, [-0.5 * math.cos(angle), height + 0.5 * math.sin(angle)])


def test_settings_are_explained() -> None:
    assert "wake" in MESH_GENERATORS and "heave" in MOTIONS
    for options, message in (
        ({"shape": "cube"}, "no shape 'cube'; there are: 'aerofoil'"),
        ({"motion": "spin"}, "no motion 'spin'; there are: 'fixed'"),
        ({"frames": 0}, "frames must be a whole number"),
        ({"reynolds": -1.0}, "interval and reynolds must be positive"),
        ({"num_points": 20}, "leaves too few"),
    ):
        with pytest.raises(InputError, match=message):
            wake(**options)
    rest, triangles = square(80)
    flow = AleFlow(rest, triangles, 0 * rest + 1, outlet=rest[:, 0] == 1, viscosity=0.01, time_step=0.1)
    with pytest.raises(InputError, match="turned a triangle over"):
        flow.step(rest * [-1, 1], 0 * rest)
    with pytest.raises(InputError, match="blew up"):
        flow.step(rest, 0 * rest + 1e4)
