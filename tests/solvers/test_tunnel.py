"""The half ellipsoid on the ground: a sound mesh, a flow without sources, values known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from meshops.errors import InputError
from meshops.solvers.tunnel import BOX, PATCHES, FaceMesh, solve_tunnel, tunnel_flow


def summed(mesh: FaceMesh, values: np.ndarray) -> np.ndarray:
    """What leaves each cell through its faces."""
    out = np.zeros((len(mesh.centres), *values.shape[1:]))
    np.add.at(out, mesh.owner, values)
    np.subtract.at(out, mesh.neighbour, values[: len(mesh.neighbour)])
    return out


def test_the_mesh_is_closed_ordered_and_fills_the_tunnel() -> None:
    flow = solve_tunnel((1.0, 0.4, 0.25), 30.0, resolution=16, layers=12)
    mesh = flow.mesh
    inner = len(mesh.neighbour)
    np.testing.assert_allclose(summed(mesh, mesh.face_areas), 0, atol=1e-12)
    volume = summed(mesh, (mesh.face_centres * mesh.face_areas).sum(1) / 3)
    assert volume.min() > 0
    box = np.prod([high - low for low, high in BOX])
    assert volume.sum() == pytest.approx(box - 2 / 3 * np.pi * 0.5 * 0.2 * 0.25, rel=1e-5)
    assert (mesh.owner[:inner] < mesh.neighbour).all()
    order = list(zip(mesh.owner[:inner].tolist(), mesh.neighbour.tolist(), strict=True))
    assert order == sorted(order)  # as OpenFOAM wants it
    assert list(mesh.patches) == list(PATCHES)
    assert next(part.start for part in mesh.patches.values()) == inner
    assert list(mesh.patches.values())[-1].stop == len(mesh.faces)
    ground = mesh.face_centres[mesh.patches["ground"]]
    assert (ground[:, 2] == 0).all() and (mesh.face_centres[mesh.patches["inlet"], 0] == -3.0).all()


def test_nothing_comes_from_nowhere_or_goes_through_the_ground() -> None:
    errors = []
    for resolution, layers in ((8, 8), (16, 16)):
        flow = solve_tunnel((1.0, 0.5, 0.3), 20.0, resolution=resolution, layers=layers)
        mesh = flow.mesh
        for patch in ("ground", "body"):
            through = (flow.patch_velocity[patch] * mesh.face_areas[mesh.patches[patch]]).sum(1)
            assert abs(through).sum() < 0.05 * 20 * 0.5 * np.pi * 0.25 * 0.3
        total = sum((flow.patch_velocity[name] * mesh.face_areas[part]).sum() for name, part in mesh.patches.items())
        errors.append(abs(total))
    assert errors[1] < errors[0]


def test_pressure_is_that_of_bernoulli_and_highest_at_the_nose() -> None:
    flow = solve_tunnel((1.0, 1.0, 0.5), 10.0, resolution=16)  # half a sphere
    centre = flow.mesh.face_centres[flow.mesh.patches["body"]]
    cosine = centre[:, 0] / np.linalg.norm(centre, axis=1)
    np.testing.assert_allclose(flow.patch_pressure["body"], 50 * (1 - 9 / 4 * (1 - cosine**2)), atol=1e-6)
    # upward force on the half sphere: (9/4 sin^2 - 1) n_z integrates to 11/16 pi R^2
    assert flow.lift == pytest.approx(2 * 11 / 16, rel=0.02)


def test_the_seed_decides_all_and_bad_numbers_are_refused() -> None:
    one, again, other = tunnel_flow(1, resolution=4), tunnel_flow(1, resolution=4), tunnel_flow(2, resolution=4)
    np.testing.assert_array_equal(one.velocity, again.velocity)
    assert one.size != other.size and one.speed != other.speed
    with pytest.raises(InputError, match="resolution even"):
        tunnel_flow(0, resolution=5)
