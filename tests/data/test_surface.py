"""Normals, areas, orientation, refinement, bodies in volume meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.data import surface
from meshops.data.cells import Array, cells_of, make_cells, mesh_of, running_sum
from meshops.data.orientation import orient
from meshops.data.polygons import reverse_rims
from meshops.data.readers import read_mesh
from meshops.errors import DataWarning, InputError


def sphere(center: tuple[float, float, float] = (0.0, 0.0, 0.0), radius: float = 1.0) -> pv.PolyData:
    return pv.Sphere(radius=radius, center=center, theta_resolution=24, phi_resolution=16).clean()


def flip(mesh: pv.PolyData, which: Array) -> pv.PolyData:
    cells = cells_of(mesh)
    return mesh_of(
        np.asarray(mesh.points), make_cells(cells.size, reverse_rims(cells.size, cells.nodes, which), cells.kind)
    )


def volume(centers: Array, normals: Array, areas: Array) -> float:
    return float(np.einsum("ij,ij,i->", centers, normals, areas) / 3)


def box_with_hole(num: int = 12) -> pv.UnstructuredGrid:
    """A box of hexahedra from which the inner third is cut out."""
    grid = pv.ImageData(dimensions=(num + 1,) * 3, spacing=(3.0 / num,) * 3).cast_to_unstructured_grid()
    centers = grid.cell_centers().points
    return grid.extract_cells(~((centers > 1) & (centers < 2)).all(axis=1))


def test_geometry_against_a_slow_definition() -> None:
    points = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [1, 2, 0], [0, 1, 0], [0, 0, 3]], dtype=float)
    mesh = pv.PolyData(points, faces=[5, 0, 1, 2, 3, 4, 3, 0, 1, 5, 4, 0, 1, 2, 4])
    centers, normals, areas = surface.cell_geometry(mesh)
    assert np.allclose(areas, [3.0, 3.0, 2.0])
    assert np.allclose(normals, [[0, 0, 1], [0, -1, 0], [0, 0, 1]])
    # Pentagon = 2 x 1 rectangle (centroid 0.5) + triangle of height 1 on it (centroid 1 + 1/3).
    assert np.allclose(centers, [[1, (2 * 0.5 + 1 * 4 / 3) / 3, 0], [2 / 3, 0, 1], [1, 0.5, 0]])


def test_areas_agree_with_vtk_on_mixed_cells() -> None:
    mesh = pv.ParametricEllipsoid(1, 2, 3, u_res=12, v_res=12).clean()
    _, _, areas = surface.cell_geometry(mesh)
    assert np.allclose(areas, mesh.compute_cell_sizes()["Area"], rtol=1e-5)


def test_closed_surface_has_no_net_area_and_encloses_its_volume() -> None:
    centers, normals, areas = surface.outward_geometry(sphere())
    assert np.abs((normals * areas[:, None]).sum(axis=0)).max() < 1e-7
    assert volume(centers, normals, areas) == pytest.approx(sphere().volume, rel=1e-6)
    assert (np.einsum("ij,ij->i", centers, normals) > 0).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.0, 1.0))
def test_flipped_cells_are_turned_back(seed: int, share: float) -> None:
    mesh = pv.Box(level=3, quads=True).clean()
    which = np.random.default_rng(seed).random(mesh.n_cells) < share
    centers, normals, _ = surface.outward_geometry(flip(mesh, which))
    assert (np.einsum("ij,ij->i", centers - np.asarray(mesh.center), normals) > 0).all()


def test_each_of_several_bodies_is_oriented_by_itself() -> None:
    apart, turned = sphere(radius=0.5), flip(sphere((5, 0, 0)), np.ones(sphere().n_cells, dtype=bool))
    sign = surface.orient_outward(apart.append_polydata(turned))
    count = apart.n_cells
    assert (sign[:count] == 1).all() and (sign[count:] == -1).all()


@pytest.mark.parametrize("inside_out", [False, True])
def test_a_cavity_is_kept_and_turned_only_with_its_body(inside_out: bool) -> None:
    shell, cavity = sphere(radius=1.0), flip(sphere((0.2, 0.1, 0), radius=0.5), np.ones(sphere().n_cells, dtype=bool))
    body = shell.append_polydata(cavity)
    if inside_out:
        body = flip(body, np.ones(body.n_cells, dtype=bool))
    found = orient(body)
    assert (found.sign == (-1 if inside_out else 1)).all()
    assert volume(*surface.outward_geometry(body)) == pytest.approx(shell.volume - cavity.volume, rel=1e-6)
    said = " ".join(found.remarks)
    assert f"{cavity.n_cells} cells face into a body they lie in" in said
    assert (f"{body.n_cells} of {body.n_cells} normals were turned" in said) == inside_out


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), against=st.booleans(), inside_out=st.booleans())
def test_copies_of_faces_change_nothing(seed: int, against: bool, inside_out: bool) -> None:
    body = flip(sphere(), np.full(sphere().n_cells, inside_out))
    rng = np.random.default_rng(seed)
    copied = np.flatnonzero(rng.random(body.n_cells) < (1.0 if against else rng.random()))
    index = rng.permutation(np.r_[np.arange(body.n_cells), copied, copied[: copied.size // 2]])
    rims = cells_of(body).take(index)
    turned = np.isin(np.arange(index.size), rng.permutation(index.size)[: index.size // 3]) if against else None
    many = mesh_of(np.asarray(body.points), rims)
    many = many if turned is None else flip(many, turned)
    centers, normals, areas = surface.outward_geometry(many)
    assert areas.sum() == pytest.approx(sphere().area, rel=1e-6)
    assert volume(centers, normals, areas) == pytest.approx(sphere().volume, rel=1e-6)
    if copied.size:
        assert f"{copied.size} faces are there more than once" in " ".join(orient(many).remarks)


def test_the_two_sides_of_a_thin_plate_are_no_copies() -> None:
    plate = pv.Plane(i_resolution=3, j_resolution=3)
    sides = cells_of(plate).nodes.reshape(-1, 4)
    both = mesh_of(
        np.asarray(plate.points), make_cells(np.full(18, 4), np.r_[sides, sides[:, ::-1]].ravel(), np.full(18, 9))
    )
    _, normals, areas = surface.outward_geometry(both)
    assert areas.sum() == pytest.approx(2.0) and normals[:, 2].tolist() == [1.0] * 9 + [-1.0] * 9


def test_a_consistent_open_surface_is_trusted() -> None:
    sheet = pv.Plane(i_resolution=6, j_resolution=6)
    sheet.points[:, 2] = 0.05 * np.sin(7 * sheet.points[:, 0])  # no inside: hills as high as valleys
    for mesh in (sheet, flip(sheet, np.ones(36, bool))):
        with pytest.warns(DataWarning, match="the surface is open"):
            assert (surface.orient_outward(mesh) == 1).all()
    half = mesh_of(sphere().points, cells_of(sphere()).take(np.flatnonzero(sphere().cell_centers().points[:, 1] < 0)))
    with pytest.warns(DataWarning, match="the surface is open"):
        kept = surface.orient_outward(half)
    with pytest.warns(DataWarning, match="the surface is open"):
        turned = surface.orient_outward(flip(half, np.ones(half.n_cells, bool)))
    assert np.unique(kept).size == 1 and (turned == -kept).all()


def test_duplicate_points_do_not_open_a_surface() -> None:
    mesh = pv.Cube().triangulate()
    apart = mesh.separate_cells().extract_surface(algorithm=None) if hasattr(mesh, "separate_cells") else mesh
    assert apart.n_points == 36
    assert (surface.orient_outward(apart) == 1).all()


def test_cube_without_a_lid_warns_and_still_faces_outward() -> None:
    cube = pv.Cube(clean=True)
    cells = cells_of(cube)
    which = np.array([True, False, True, False, False])
    open_cube = flip(mesh_of(np.asarray(cube.points), cells.take(np.arange(5))), which)
    with pytest.warns(DataWarning, match=r"box: the surface is open \(4 free edges in 1 parts\)"):
        centers, normals, _ = surface.outward_geometry(open_cube, label="box")
    assert (np.einsum("ij,ij->i", centers, normals) > 0).all()


def test_loose_plates_face_away_from_the_whole() -> None:
    cube = pv.Cube(clean=True)
    points = np.asarray(cube.points)[cells_of(cube).nodes] * 0.9 + 0.05 * np.repeat(
        surface.cell_geometry(cube)[1], 4, axis=0
    )
    plates = mesh_of(points, make_cells(np.full(6, 4), np.arange(24), np.full(6, 9)))
    plates = flip(plates, np.array([True, True, False, False, True, False]))
    with pytest.warns(DataWarning, match="24 free edges in 6 parts"):
        centers, normals, _ = surface.outward_geometry(plates)
    assert (np.einsum("ij,ij->i", centers, normals) > 0).all()


def test_flat_mesh_is_not_called_open() -> None:
    plane = flip(pv.Plane(i_resolution=4, j_resolution=4), np.arange(16) == 5)
    _, normals, _ = surface.outward_geometry(plane)
    assert (normals[:, 2] == normals[0, 2]).all()


def test_edges_shared_by_three_cells_are_counted() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]], dtype=float)
    fins = pv.PolyData(points, faces=[3, 0, 1, 2, 3, 0, 1, 3, 3, 0, 1, 4])
    with pytest.warns(DataWarning, match="1 edges are shared by more than two cells"):
        surface.orient_outward(fins)


def test_moebius_strip_is_reported() -> None:
    angle = np.linspace(0, 2 * np.pi, 13)[:-1]
    rim = [
        np.stack([(1 + s * np.cos(angle / 2)) * np.cos(angle), (1 + s * np.cos(angle / 2)) * np.sin(angle),
                  s * np.sin(angle / 2)], axis=1)
        for s in (-0.3, 0.3)
    ]  # fmt: skip
    faces = [[4, i, i + 1, i + 13, i + 12] for i in range(11)] + [[4, 11, 12, 0, 23]]
    with pytest.warns(DataWarning, match="1 parts are one-sided"):
        surface.orient_outward(pv.PolyData(np.concatenate(rim), faces=np.concatenate(faces)))


def test_is_surface() -> None:
    assert surface.is_surface(sphere())
    assert surface.is_surface(sphere().cast_to_unstructured_grid())
    assert not surface.is_surface(box_with_hole(3))
    assert not surface.is_surface(pv.PolyData(np.zeros((3, 3))))


def test_volumes_of_every_linear_cell_agree_with_vtk() -> None:
    for name in (
        "Tetrahedron",
        "Hexahedron",
        "Voxel",
        "Wedge",
        "Pyramid",
        "PentagonalPrism",
        "HexagonalPrism",
        "Polyhedron",
    ):
        mesh = getattr(pv.examples.cells, name)()
        _, sizes = surface.volume_geometry(mesh)
        assert sizes == pytest.approx(np.abs(mesh.compute_cell_sizes()["Volume"]), rel=1e-5), name


def test_centroid_of_a_pyramid() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]])
    centers, sizes = surface.volume_geometry(pv.UnstructuredGrid([5, 0, 1, 2, 3, 4], [14], points))
    assert np.allclose(centers, [[0.5, 0.5, 0.25]]) and sizes == pytest.approx([1 / 3])


def test_body_is_cut_out_of_the_box() -> None:
    grid = box_with_hole()
    grid.cell_data["p"] = np.arange(grid.n_cells, dtype=float)
    grid.point_data["T"] = grid.points[:, 0].astype(float)
    body = surface.extract_body(grid)
    centers, normals, areas = surface.cell_geometry(body)
    assert body.n_cells == 6 * 16 and areas.sum() == pytest.approx(6.0)
    assert volume(centers, normals, areas) == pytest.approx(1.0)
    assert np.allclose(body["T"], body.points[:, 0])
    assert set(body.cell_data["p"]) <= set(range(grid.n_cells))


def test_box_without_a_body_is_refused() -> None:
    grid = pv.ImageData(dimensions=(3, 3, 3)).cast_to_unstructured_grid()
    with pytest.raises(InputError, match=r"room: all outer faces lie on the bounding box.*\n?.*surface mesh"):
        surface.extract_body(grid, label="room")
    with pytest.raises(InputError, match="holds no volume cells"):
        surface.extract_body(sphere().cast_to_unstructured_grid())


@pytest.mark.parametrize("max_edge", [0.05, 0.3, 10.0])
def test_refining_keeps_area_closedness_and_parents(max_edge: float) -> None:
    mesh = pv.Cylinder(resolution=9).clean()  # quads and two polygons of nine corners
    fine, parent = surface.refine(mesh, max_edge)
    _, normals, areas = surface.cell_geometry(fine)
    _, coarse_normals, coarse_areas = surface.cell_geometry(mesh)
    assert np.allclose(np.bincount(parent, weights=areas), coarse_areas)
    assert np.allclose(normals, coarse_normals[parent], atol=1e-6)
    assert fine.n_open_edges == 0
    ends = np.asarray(fine.points)[cells_of(fine).nodes.reshape(-1, 3)]
    assert np.linalg.norm(ends - np.roll(ends, 1, axis=1), axis=2).max() <= max(max_edge, 1.2)
    if max_edge < 1:
        assert np.linalg.norm(ends - np.roll(ends, 1, axis=1), axis=2).max() <= max_edge


def test_averaging_back_is_exact_for_constants_and_linear_fields() -> None:
    mesh = pv.Plane(i_resolution=2, j_resolution=3)
    fine, parent = surface.refine(mesh, 0.07)
    centers, _, areas = surface.cell_geometry(fine)
    means = surface.average_to_parents(centers, areas, parent, mesh.n_cells)
    assert np.allclose(means, surface.cell_geometry(mesh)[0])
    assert np.allclose(surface.average_to_parents(centers[:, 0], areas, parent, mesh.n_cells), means[:, 0])


def test_refine_and_average_messages() -> None:
    with pytest.raises(InputError, match="max_edge must be positive"):
        surface.refine(sphere(), 0.0)
    with pytest.raises(InputError, match=r"would give about .* triangles; memory and time allow .*--no-refine"):
        surface.refine(sphere(), 1e-6)
    with pytest.raises(InputError, match="cell 1 has no refined part"):
        surface.average_to_parents(np.ones(1), np.ones(1), np.zeros(1, dtype=int), 2)


def test_refining_stops_before_memory_does(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit follows the free memory, and growth beyond the estimate is stopped too."""
    plate = read_mesh(shared_data / "fuzz" / "mesh" / "plate_refine.vtp")
    length = np.ptp(np.asarray(plate.points), axis=0).min()
    with pytest.raises(InputError, match=r"--no-refine"):
        surface.refine(plate, 0.02 * length)
    monkeypatch.setattr(surface, "available_memory", lambda: 2 * 700 * 5000.0)
    assert surface.refine(sphere(), 0.2)[0].n_cells < 5000
    with pytest.raises(InputError, match=r"memory and time allow 5.0e.03"):
        surface.refine(sphere(), 0.02)
    # A sliver: its area says few triangles, halving its long edges needs many.
    points = np.array([[0, 0, 0], [1, 0, 0], [0.5, 1e-9, 0]])
    with pytest.raises(InputError, match="--no-refine"):
        surface.refine(pv.PolyData(points, [3, 0, 1, 2]), 1e-5)


def test_large_surface() -> None:
    mesh = pv.Sphere(theta_resolution=300, phi_resolution=300).clean()
    assert (surface.orient_outward(mesh) == 1).all()


def test_running_sum_starts_at_zero() -> None:
    assert running_sum(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]


def test_real_ahmed_bodies_face_outward(shared_data: Path) -> None:
    folder = shared_data / "ahmed_rans" / "run_1"
    volumes = []
    for name in ("boundary_1.vtp", "ahmed_1.stl"):
        mesh = pv.read(folder / name)
        raw = volume(*surface.cell_geometry(mesh))
        centers, normals, areas = surface.outward_geometry(mesh)
        assert np.abs((normals * areas[:, None]).sum(axis=0)).max() < 1e-6
        volumes.append(volume(centers, normals, areas))
        assert abs(raw) == pytest.approx(volumes[-1])
    assert volume(*surface.cell_geometry(pv.read(folder / "boundary_1.vtp"))) < 0 < volumes[0]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.01)


def test_real_volume_mesh_gives_its_body(shared_data: Path) -> None:
    folder = shared_data / "ahmed_rans" / "run_1"
    grid = pv.read(folder / "volume_1.vtu")
    body, boundary = surface.extract_body(grid), pv.read(folder / "boundary_1.vtp")
    assert body.n_cells == boundary.n_cells
    centers, normals, areas = surface.cell_geometry(body)
    assert volume(centers, normals, areas) == pytest.approx(-volume(*surface.cell_geometry(boundary)), rel=1e-6)
    # What the body takes away from the box is not meshed.
    _, volumes = surface.volume_geometry(grid)
    box = np.prod(np.asarray(grid.bounds).reshape(3, 2) @ [-1, 1])
    assert volumes.sum() == pytest.approx(box - volume(centers, normals, areas), rel=1e-5)


def test_real_car(shared_data: Path) -> None:
    car = pv.read(next((shared_data / "shapenet_car").rglob("param0/*/quadpress_smpl.vtk")))
    centers, normals, areas = surface.outward_geometry(car)
    assert np.abs((normals * areas[:, None]).sum(axis=0)).max() < 1e-6
    assert volume(centers, normals, areas) > 1.0
