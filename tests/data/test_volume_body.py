"""The body in domains of all shapes: found, or asked for; the far field is never taken for it unsaid."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import pyvista as pv

from meshops.aero.case_spec import CaseSpec
from meshops.aero.features import FeatureSpec
from meshops.aero.opening import open_case
from meshops.data.cells import cells_of
from meshops.data.openfoam import read_case
from meshops.data.readers import read_mesh
from meshops.data.surface import cell_geometry, extract_body
from meshops.errors import DataWarning, InputError

Index = tuple[int, int, int]
Map = Callable[[np.ndarray], np.ndarray]


def domain(n: Index, hole: Collection[Index], move: Map = lambda p: p) -> pv.UnstructuredGrid:
    """Hexahedra of the unit box without those of ``hole``, with moved points."""
    axes = [np.linspace(0, 1, k + 1) for k in n]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    grid = pv.StructuredGrid(x, y, z).cast_to_unstructured_grid()
    grid.cell_data["p"] = np.arange(grid.n_cells)
    at = np.array([[i, j, k] for k in range(n[2]) for j in range(n[1]) for i in range(n[0])])
    keep = np.array([tuple(row) not in hole for row in at.tolist()])
    out = grid.extract_cells(np.flatnonzero(keep))
    out.points = move(np.asarray(out.points, dtype=np.float64))
    return out


def block(i: range, j: range, k: range) -> set[Index]:
    return {(a, b, c) for a in i for b in j for c in k}


def turn(angle: float) -> Map:
    c, s = np.cos(angle), np.sin(angle)
    return lambda p: p @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]]) + [3, -7, 2]


def enclosed(body: pv.PolyData) -> float:
    center, normal, area = cell_geometry(body)
    return float(np.einsum("ij,ij,i->", center, normal, area) / 3)


def quiet(grid: pv.UnstructuredGrid) -> pv.PolyData:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return extract_body(grid)


STANDING = block(range(2, 4), range(2, 4), range(0, 2))
FLOATING = block(range(2, 4), range(2, 4), range(2, 4))
ROOF = 6 * 6


@pytest.mark.parametrize(
    ("hole", "faces"),
    [
        (STANDING, 20), (FLOATING, 24), (block(range(2, 4), range(0, 6), range(2, 4)), 48),  # spans the tunnel
        (block(range(2, 4), range(0, 3), range(0, 2)), 22),  # half a model, on the ground
        (block(range(1, 2), range(1, 2), range(1, 2)) | block(range(4, 5), range(4, 5), range(0, 1)), 11),  # two bodies
    ],
)  # fmt: skip
def test_bodies_in_a_box_along_the_axes_are_found_without_a_word(hole: set[Index], faces: int) -> None:
    grid = domain((6, 6, 6), hole)
    body = quiet(grid)
    assert body.n_cells == faces
    assert {int(p) for p in body.cell_data["p"]} <= {int(p) for p in grid.cell_data["p"]}
    if all(0 < i < 5 for row in hole for i in row):
        assert enclosed(body) == pytest.approx(len(hole) / 216)


@pytest.mark.parametrize("angle", [0.2, 0.7, -2.5])
def test_turned_tunnels(angle: float) -> None:
    with pytest.warns(DataWarning, match=r"no box along the axes; the 20 faces .* --region"):
        body = extract_body(domain((6, 6, 6), STANDING, turn(angle)))
    assert body.n_cells == 20 and body.area == pytest.approx(20 / 36)


@pytest.mark.parametrize("bulge", [-0.3, -0.05, 0.05, 0.3])
@pytest.mark.parametrize("hole", [STANDING, FLOATING])
def test_curved_roofs(bulge: float, hole: set[Index]) -> None:
    def roof(p: np.ndarray) -> np.ndarray:
        lift = bulge * np.sin(np.pi * p[:, 0]) * (p[:, 2] - 0.5).clip(0) * 2
        return p + lift[:, None] * [0, 0, 1]

    with pytest.warns(DataWarning, match="no box along the axes" if bulge > 0 else f"{ROOF} for outer walls"):
        body = extract_body(domain((6, 6, 6), hole, roof))
    assert body.n_cells == (20 if hole is STANDING else 24)


@pytest.mark.parametrize("roof", [lambda x: -0.2 * np.sin(2 * np.pi * x), lambda x: -0.2 * np.sin(np.pi * x)])
def test_a_wall_that_is_not_convex_alone_is_asked_about(roof: Callable[[np.ndarray], np.ndarray]) -> None:
    grid = domain((6, 6, 6), (), lambda p: p + (roof(p[:, 0]) * p[:, 2])[:, None] * [0, 0, 1])
    with pytest.raises(InputError, match=r"cannot be told from the outer walls.*--region.*internal,car"):
        extract_body(grid, label="duct")


def test_a_step_is_asked_about() -> None:
    with pytest.raises(InputError, match="cannot be told from the outer walls"):
        extract_body(domain((6, 4, 6), block(range(0, 3), range(0, 4), range(0, 2))))


def test_a_bump_between_side_walls_is_taken_and_said() -> None:
    grid = domain((6, 4, 6), block(range(2, 4), range(0, 4), range(0, 2)))
    with pytest.warns(DataWarning, match="were taken for the body"):
        body = extract_body(grid)
    assert body.n_cells == 2 * 4 + 2 * 2 * 4


def ogrid(shape: Callable[[np.ndarray], np.ndarray], far: float = 20.0, n: int = 48) -> pv.UnstructuredGrid:
    """One layer of cells around a section, with a round far field."""
    s, t, z = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 2 * np.pi, n + 1), [0, 0.1], indexing="ij")
    x, y = (shape(t)[i] * (1 - s) + far * (np.cos, np.sin)[i](t) * s for i in (0, 1))
    return pv.StructuredGrid(x, y, z).cast_to_unstructured_grid().clean(tolerance=1e-9)


@pytest.mark.parametrize(
    "shape",
    [
        lambda t: (np.cos(t), np.sin(t)),
        lambda t: (np.cos(t), 0.06 * np.sin(t)),
        lambda t: ((1 + 0.3 * np.cos(3 * t)) * np.cos(t), (1 + 0.3 * np.cos(3 * t)) * np.sin(t)),  # not convex itself
    ],
)
def test_o_grids(shape: Callable[[np.ndarray], np.ndarray]) -> None:
    with pytest.warns(DataWarning, match="the 48 faces"):
        body = extract_body(ogrid(shape))
    assert body.n_cells == 48 and np.linalg.norm(body.points[:, :2], axis=1).max() < 1.5


def test_c_grids() -> None:
    """A half circle in front, straight behind."""
    s, t, z = np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 1, 61), [0, 0.1], indexing="ij")
    angle = np.pi * (t - 0.25) / 0.5
    round_ = (t >= 0.25) & (t <= 0.75)
    side = np.where(t < 0.25, -1.0, 1.0)
    back = np.where(t < 0.25, (0.25 - t), (t - 0.75)) * 4
    far_x, far_y = np.where(round_, -10 * np.sin(angle), 20 * back), np.where(round_, -10 * np.cos(angle), 10 * side)
    near_x, near_y = np.where(round_, far_x * 0.05, back * 20), far_y * 0.05
    grid = pv.StructuredGrid(near_x * (1 - s) + far_x * s, near_y * (1 - s) + far_y * s, z).cast_to_unstructured_grid()
    with pytest.warns(DataWarning, match="were taken for the body"):
        body = extract_body(grid.clean(tolerance=1e-9))
    assert np.abs(body.points[:, 1]).max() == pytest.approx(0.5) and body.n_cells == 60


@pytest.mark.parametrize("far", ["round", "cube"])
def test_sphere_in_sphere(far: str) -> None:
    surface = pv.Sphere(radius=1, theta_resolution=16, phi_resolution=14).clean()
    inner = np.asarray(surface.points, dtype=np.float64) / np.linalg.norm(surface.points, axis=1)[:, None]
    outer = 10 * (inner if far == "round" else inner / np.abs(inner).max(axis=1)[:, None])
    shells = [inner * (1 - s) + outer * s for s in np.linspace(0, 1, 5)]
    rims, n = cells_of(surface).nodes.reshape(-1, 3), len(inner)
    wedges = np.concatenate([np.c_[rims + k * n, rims + (k + 1) * n] for k in range(4)])
    grid = pv.UnstructuredGrid({13: wedges}, np.concatenate(shells))
    with pytest.warns(DataWarning, match=f"the {surface.n_cells} faces" if far == "round" else "taken for the body"):
        body = extract_body(grid)
    assert body.n_cells == surface.n_cells and np.allclose(np.linalg.norm(body.points, axis=1), 1.0)
    assert enclosed(body) == pytest.approx(4.1, abs=0.2)


def test_files_of_the_field(shared_data: Path) -> None:
    folder = shared_data / "field" / "volume-body" / "input"
    with pytest.warns(DataWarning, match="no box along the axes"):
        body = extract_body(read_mesh(folder / "curved_roof.vtu"))
    assert body.n_cells == 12 and body.area == pytest.approx(1.66667, rel=1e-5)
    case = read_case(folder / "turned_tunnel")
    for walls in (None, case.walls):
        with pytest.warns(DataWarning, match="no box along the axes"):
            body = extract_body(case.mesh, walls=walls)
        assert body.n_cells == 12 and body.area == pytest.approx(1.66667, rel=1e-5)


def test_walls_of_the_file_and_chosen_faces_come_first() -> None:
    """With a step in the floor and a body: the walls exclude the step, a choice needs no guess."""
    hole = block(range(0, 2), range(0, 6), range(0, 1)) | FLOATING
    grid = domain((6, 6, 6), hole)
    every = domain((6, 6, 6), block(range(0, 2), range(0, 6), range(0, 1)))
    with pytest.warns(DataWarning, match="24 outer faces were taken for the body, 18 for outer walls"):
        assert extract_body(grid).n_cells == 24
    inner = quiet(domain((6, 6, 6), FLOATING))
    assert extract_body(grid, chosen=inner).n_cells == 24
    half = inner.extract_cells(range(12))
    assert extract_body(grid, chosen=half).n_cells == 12
    with pytest.raises(InputError, match="no outer faces of the volume"):
        extract_body(every, chosen=inner)
    with pytest.raises(InputError, match="no body inside"):
        extract_body(grid, walls=pv.Plane(center=(0.5, 0.5, 1), i_resolution=6, j_resolution=6))


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_far_from_the_origin(offset: float) -> None:
    with pytest.warns(DataWarning, match="the 20 faces"):
        body = extract_body(domain((6, 6, 6), STANDING, lambda p: turn(0.4)(p) + offset))
    assert body.n_cells == 20


def load_writers() -> ModuleType:
    """The writers of small OpenFOAM cases beside this file."""
    spec = importlib.util.spec_from_file_location("foam_cases", Path(__file__).with_name("foam_cases.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["foam_cases"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("scale", [None, 0.001])
def test_a_case_of_openfoam_tells_its_body(scale: float | None, tmp_path: Path) -> None:
    """A channel with a step that is no wall, one that is, and a body: types of patches and choices tell them apart."""
    foam = load_writers()
    points, cells = foam.box((6, 6, 6), (0, 0, 0), (1, 1, 1), ((2, 4), (2, 4), (2, 4)))
    kept = [i for i, rims in enumerate(cells) if points[[n for r in rims for n in r]].mean(0)[[0, 2]].max() > 1 / 3]
    cells = [cells[i] for i in kept]

    def patch_of(c: np.ndarray, rim: tuple[int, ...]) -> str:
        if 0.3 < c.min() and c.max() < 0.7:
            return "car"
        step = (c[0] < 0.35 and abs(c[2] - 1 / 3) < 1e-9) or (c[2] < 0.35 and abs(c[0] - 1 / 3) < 1e-9)
        return "step" if step else "outer"

    spec = CaseSpec(
        fields=("p",), sizes=(1,), units=("",), dim=3, domain="volume", location="cell", features=FeatureSpec()
    )  # fmt: skip
    writer, faces = foam.Writer(), {}
    for kind in ("patch", "wall"):
        mesh = foam.foam_mesh(points, cells, patch_of, {"outer": "patch", "step": kind, "car": "wall"})
        case = writer.control(tmp_path / kind)
        writer.mesh(case / "constant" / "polyMesh", mesh)
        writer.field(case / "1" / "p", "scalar", mesh, lambda c: c[:, 0])
        for region in (None, "internal,car", "internal,step"):
            opened = open_case(case, spec, region=region, scale=scale)
            graph = opened.graph
            faces[kind, region] = len(graph.body_area)
            assert opened.mesh is not None and opened.mesh.n_cells == len(cells)
            center = graph.pos.mean(0) - graph.body_pos.mean(0)
            assert float(center.abs().max()) < 1.0 * (scale or 1)
            said = " ".join(opened.notes)
            assert ("were taken for the body" in said) == (region is None and kind == "wall")
    car, step = 24, 2 * 6 + 2 * 6
    assert faces == {
        (kind, region): count
        for kind in ("patch", "wall")
        for region, count in ((None, car), ("internal,car", car), ("internal,step", step))
    }


def test_a_surface_surrogate_finds_the_patches_of_the_body(tmp_path: Path) -> None:
    """Walls that are no outer walls, said; one patch for body and ground is refused."""
    foam = load_writers()
    points, cells = foam.box((6, 6, 6), (0, 0, 0), (1, 1, 1), ((2, 4), (2, 4), (0, 2)))
    spec = CaseSpec(
        fields=("p",), sizes=(1,), units=("",), dim=3, domain="surface", location="cell", features=FeatureSpec()
    )  # fmt: skip

    def patch_of(c: np.ndarray, rim: tuple[int, ...]) -> str:
        if 0.3 < c[:2].min() and c.max() < 0.7 and c[2] > 1e-9:
            return "nose" if c[0] < 0.5 else "tail"
        return "ground" if c[2] < 1e-9 else "outer"

    writer = foam.Writer()
    kinds = {"outer": "patch", "ground": "wall", "nose": "wall", "tail": "wall"}
    mesh = foam.foam_mesh(points, cells, patch_of, kinds)
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    writer.field(case / "1" / "p", "scalar", mesh, lambda c: c[:, 0])
    opened = open_case(case, spec)
    assert opened.rows == 20 and np.allclose(
        opened.truth["p"], np.asarray(opened.original().cell_centers().points)[:, 0]
    )
    assert "the body is 'nose', 'tail', of type wall and no outer wall; choose others with --region" in opened.notes
    assert open_case(case, spec, region="nose").rows == 10
    one = foam.foam_mesh(points, cells, lambda c, r: patch_of(c, r).replace("ground", "tail"), kinds)
    writer.mesh(case / "constant" / "polyMesh", one)
    writer.field(case / "1" / "p", "scalar", one, lambda c: c[:, 0])
    with pytest.raises(InputError, match="one patch of type wall holds the body and outer walls"):
        open_case(case, spec)
