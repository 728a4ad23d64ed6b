from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops.datasets.shapenet_car.standin import box_surface, topology


def folders(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.rglob("quadpress_smpl.vtk"))


def test_files_counts_and_types_are_the_published_ones(car_root: Path):
    assert [path.parent.name for path in folders(car_root)] == ["param0", "param1", "param2"]
    for folder in folders(car_root):
        names = {"quadpress_smpl.vtk", "hexvelo_smpl.vtk", "press.npy", "velo.npy", "cd.txt"}
        assert {path.name for path in folder.iterdir()} == names
        assert len(folder.name) == 32
        surface, volume = pv.read(folder / "quadpress_smpl.vtk"), pv.read(folder / "hexvelo_smpl.vtk")
        press, velo = np.load(folder / "press.npy"), np.load(folder / "velo.npy")
        assert surface.n_points == 3682 and list(surface.cells_dict) == [9] and surface.n_cells == 3584
        assert volume.n_points == 29_498 and list(volume.cells_dict) == [12]
        assert press.shape == (3682,) and press.dtype == np.float32
        assert velo.shape == (88_494,) and velo.dtype == np.float64
        assert np.array_equal(press, surface.active_scalars)
        assert np.array_equal(velo.reshape(-1, 3), volume["point_vectors"])
        unused = set(range(3682)) - set(np.unique(surface.cells_dict[9]).tolist())
        assert unused == set(range(16, 112))
        both = {tuple(point) for point in surface.points} & {tuple(point) for point in volume.points}
        assert len(both) == 994


def test_meshes_are_sound(car_root: Path):
    folder = folders(car_root)[0]
    surface = pv.read(folder / "quadpress_smpl.vtk").extract_surface(algorithm=None)
    assert surface.n_open_edges == 0 and surface.is_manifold
    quads = topology().quads
    corners = pv.read(folder / "quadpress_smpl.vtk").points.astype(float)[quads]
    assert np.array_equal(np.sort(quads, axis=1)[0], np.sort(pv.read(folder / "quadpress_smpl.vtk").cells_dict[9][0]))
    outward = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    assert ((corners.mean(axis=1) - corners.mean(axis=(0, 1))) * outward).sum(axis=1).min() > 0
    volume = pv.read(folder / "hexvelo_smpl.vtk")
    sizes = volume.compute_cell_sizes(length=False, area=False)["Volume"]
    assert sizes.min() > 0
    # The shell begins at the body and fills the outermost layer up to the block.
    low, high = np.array([-1.798, -0.719, -4.276]), np.array([1.817, 4.301, 5.876])
    assert (volume.points >= low).all() and (volume.points <= high).all()


def test_fields_are_those_of_a_real_flow(car_root: Path):
    folder = folders(car_root)[0]
    surface, volume = pv.read(folder / "quadpress_smpl.vtk"), pv.read(folder / "hexvelo_smpl.vtk")
    # Bernoulli: the highest pressure is the stagnation pressure, and far away the flow is the free stream.
    assert surface.active_scalars.max() == pytest.approx(0.5 * 1.2 * 20**2, rel=1e-5)
    assert surface.active_scalars.min() < 0
    far = np.linalg.norm(volume.points - [0, 0.7, 0], axis=1) > 3.5
    assert volume["point_vectors"][far].mean(axis=0) == pytest.approx([0, 0, 20], abs=0.3)
    assert abs(float((folder / "cd.txt").read_text())) < 1e-3  # no friction, no wake: no drag


def test_cars_differ_but_share_the_topology(car_root: Path):
    first, second = (pv.read(folder / "quadpress_smpl.vtk") for folder in folders(car_root)[:2])
    assert np.array_equal(first.cells_dict[9], second.cells_dict[9])
    assert np.abs(first.points - second.points).max() > 0.01


def test_coarse_points_come_first_as_in_the_real_files(car_root: Path, shared_data: Path):
    real = pv.read(shared_data / "shapenet_car/training_data/param0/neuralop_car_1/quadpress_smpl.vtk").cells_dict[9]
    made = pv.read(folders(car_root)[0] / "quadpress_smpl.vtk").cells_dict[9]
    for quads in (real, made):
        assert ((quads < 994).sum(axis=1) == 1).all()
        assert len(np.unique(quads[quads < 994])) == 898


def test_box_surface():
    nodes, quads = box_surface((2, 3, 4))
    assert len(quads) == 2 * (6 + 8 + 12) and len(nodes) == len(quads) + 2
    corners = nodes[quads].astype(float)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1])
    assert ((corners.mean(axis=1) - [1, 1.5, 2]) * normal).sum(axis=1).min() > 0
    assert np.abs(normal).sum(axis=1).tolist() == [1.0] * len(quads)
