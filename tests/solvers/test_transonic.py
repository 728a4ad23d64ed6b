"""Flow past an aerofoil: uniform streams, symmetry, what the steady Euler equations conserve, and the shock."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshops.errors import InputError
from meshops.solvers.transonic import GAMMA, DualMesh, aerofoil_mesh, free_stream, front_study, steady_flow
from meshops.solvers.transonic_kernels import gradients, hllc, residual
from meshops.solvers.unstructured import square_mesh


@pytest.fixture(scope="module")
def mesh() -> DualMesh:
    return aerofoil_mesh(1500, torch.Generator().manual_seed(0))


def lift(mesh: DualMesh, state: np.ndarray, mach: float) -> float:
    pressure = (state[mesh.rim, 3].sum(1) / 2 - 1 / GAMMA)[mesh.wall]
    return float((pressure * mesh.rim_normals[mesh.wall, 1]).sum() / (0.5 * mach**2))


def square() -> DualMesh:
    points, triangles = square_mesh(200, torch.Generator().manual_seed(2))
    return DualMesh.of(points, triangles, lambda middle: np.zeros(len(middle), dtype=bool))


def parts(mesh: DualMesh, stream: np.ndarray) -> tuple[np.ndarray, ...]:
    return mesh.points, mesh.edges, mesh.normals, mesh.rim, mesh.rim_normals, mesh.wall, stream, mesh.volume


def test_dual_cells_are_closed_and_fill_the_domain() -> None:
    mesh = square()
    assert mesh.volume.sum() == pytest.approx(1.0)
    out = np.zeros_like(mesh.points)
    np.add.at(out, mesh.edges[:, 0], mesh.normals)
    np.subtract.at(out, mesh.edges[:, 1], mesh.normals)
    for end in range(2):
        np.add.at(out, mesh.rim[:, end], mesh.rim_normals / 2)
    np.testing.assert_allclose(out, 0, atol=1e-14)


def test_a_uniform_stream_stays_and_linear_values_have_their_slopes() -> None:
    mesh, stream = square(), free_stream(0.8, 30.0)
    state = np.tile(stream, (len(mesh.points), 1))
    np.testing.assert_allclose(residual(state, *parts(mesh, stream), 2), 0, atol=1e-13)
    slopes = np.array([[1.0, 2.0], [-3.0, 0.5], [0.0, 1.0], [4.0, -1.0]])
    found = gradients(mesh.points @ slopes.T, *parts(mesh, stream)[1:5], mesh.volume)
    inner = np.setdiff1d(np.arange(len(mesh.points)), mesh.rim)
    np.testing.assert_allclose(found[inner], np.broadcast_to(slopes, (len(inner), 4, 2)), atol=1e-10)
    # on a side the ends of a straight rim hold too, but for the corners
    corners = np.isin(mesh.points, (0.0, 1.0)).all(1)
    np.testing.assert_allclose(found[~corners], np.broadcast_to(slopes, found[~corners].shape), atol=1e-10)


def test_what_leaves_one_cell_enters_others() -> None:
    mesh, stream = square(), free_stream(0.8, 10.0)
    state = np.tile(stream, (len(mesh.points), 1)) * (1 + 0.1 * np.random.default_rng(0).random((len(mesh.points), 4)))
    total = residual(state, *parts(mesh, stream), 2).sum(0)
    through = np.zeros(4)
    for (i, j), normal in zip(mesh.rim, mesh.rim_normals, strict=True):
        for end in (i, j):
            flux = np.empty(4)
            hllc(state[end], stream, *(normal / 2), flux)
            through += flux
    np.testing.assert_allclose(total, through, atol=1e-12)


def test_the_flux_of_equal_states_is_that_of_euler_and_a_supersonic_one_takes_the_upwind_side() -> None:
    left, right, out = np.array([1.2, 2.5, -0.3, 0.8]), np.array([0.7, 2.0, 0.4, 0.6]), np.empty(4)
    energy = 0.8 / 0.4 + 0.6 * (2.5**2 + 0.3**2)
    exact = np.array([1.2 * 2.5, 1.2 * 2.5**2 + 0.8, 1.2 * 2.5 * -0.3, (energy + 0.8) * 2.5])
    for other in (left, right):
        hllc(left, other, 2.0, 0.0, out)
        np.testing.assert_allclose(out, 2 * exact)


def test_lift_at_low_speed_is_that_of_thin_aerofoils(mesh: DualMesh) -> None:
    """2 pi sin(angle) (1 + 0.77 thickness) / sqrt(1 - Mach^2), some percent less in a box and on a coarse mesh."""
    state = steady_flow(mesh, 0.5, 2.0)
    exact = 2 * np.pi * np.radians(2.0) * (1 + 0.77 * 0.12) / np.sqrt(1 - 0.5**2)
    assert lift(mesh, state, 0.5) == pytest.approx(exact, rel=0.15)
    stagnation = state[mesh.points[:, 0] < 0.05, 3].max() * GAMMA
    assert stagnation == pytest.approx((1 + 0.2 * 0.5**2) ** 3.5, rel=0.03)


def test_a_mirrored_flow_has_the_opposite_lift(mesh: DualMesh) -> None:
    flipped = DualMesh.of(mesh.points * [1, -1], mesh.triangles[:, ::-1], lambda m: np.abs(m - [0.5, 0]).max(1) < 0.9)
    up, down = steady_flow(mesh, 0.72, 1.5), steady_flow(flipped, 0.72, -1.5)
    assert lift(mesh, up, 0.72) == pytest.approx(-lift(flipped, down, 0.72), rel=0.01)
    place = {tuple(point): i for i, point in enumerate(np.round(flipped.points * [1, -1], 12).tolist())}
    same = [place[tuple(point)] for point in np.round(mesh.points, 12).tolist()]
    np.testing.assert_allclose(up[:, 3], down[same, 3], atol=2e-3)


def test_the_start_does_not_matter_and_enthalpy_is_the_same_everywhere(mesh: DualMesh) -> None:
    fresh = steady_flow(mesh, 0.75, 2.0)
    warm = steady_flow(mesh, 0.75, 2.0, start=steady_flow(mesh, 0.73, 1.0))
    off = np.linalg.norm(fresh[:, 3] - warm[:, 3]) / np.linalg.norm(fresh[:, 3] - 1 / GAMMA)
    assert off < 5e-3
    enthalpy = GAMMA / (GAMMA - 1) * fresh[:, 3] / fresh[:, 0] + 0.5 * np.square(fresh[:, 1:3]).sum(1)
    assert np.median(np.abs(enthalpy / (2.5 + 0.5 * 0.75**2) - 1)) < 1e-3


def test_the_front_moves_with_both_parameters_and_the_seed_decides_all() -> None:
    options = {"num_points": 1200}
    mesh, parameters, flows = front_study(3, 4, **options)
    again = front_study(3, 4, **options)
    np.testing.assert_array_equal(parameters, again[1])
    assert ((parameters >= [0, 0.72]) & (parameters <= [3, 0.82])).all() and len(np.unique(parameters)) == 6
    for (case, pressure, velocity), (other, p, u) in zip(flows, again[2], strict=True):
        assert case == other
        np.testing.assert_array_equal(pressure, p)
        np.testing.assert_array_equal(velocity, u)
        assert pressure.shape == (len(mesh.points),) and 3e4 < pressure.min() < 9e4 < pressure.max() < 2e5
    places = []
    for mach, angle in ((0.74, 1.5), (0.80, 1.5), (0.74, 2.8)):
        state = steady_flow(mesh, mach, angle)
        sound = np.sqrt(GAMMA * state[:, 3] / state[:, 0])
        fast = (np.hypot(state[:, 1], state[:, 2]) > sound) & (mesh.points[:, 1] > 0)
        places.append(mesh.points[fast, 0].max())  # where the supersonic pocket ends
    assert places[1] > places[0] + 0.1 and places[2] > places[0] + 0.03


def test_numbers_without_sense_are_refused(mesh: DualMesh) -> None:
    with pytest.raises(InputError, match="mach must be in"):
        steady_flow(mesh, -1.0, 0.0)
    with pytest.raises(InputError, match="cases must be at least 1"):
        front_study(0)
