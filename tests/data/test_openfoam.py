"""OpenFOAM cases in every state they are left in: times, processors, patches, regions, forms of files."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial import Voronoi
from vtkmodules.vtkIOGeometry import vtkOpenFOAMReader

from meshops.data import foam_mesh as foam_mesh_module
from meshops.data.cells import as_polygons, cell_faces, cells_of
from meshops.data.openfoam import read_case
from meshops.data.polygons import polygon_geometry
from meshops.data.readers import read, read_mesh
from meshops.data.surface import cell_geometry, volume_geometry
from meshops.errors import DataWarning, InputError

_spec = importlib.util.spec_from_file_location("foam_cases", Path(__file__).with_name("foam_cases.py"))
assert _spec is not None and _spec.loader is not None
foam_cases = importlib.util.module_from_spec(_spec)
sys.modules["foam_cases"] = foam_cases
_spec.loader.exec_module(foam_cases)
Foam, Writer, box, decompose, foam_mesh = (
    foam_cases.Foam, foam_cases.Writer, foam_cases.box, foam_cases.decompose, foam_cases.foam_mesh
)  # fmt: skip

FORMS = [
    Writer(), Writer(packed=True), Writer(binary=True), Writer(binary=True, packed=True),
    Writer(binary=True, label=64), Writer(binary=True, scalar=32),
]  # fmt: skip
KINDS = {"inlet": "patch", "outlet": "patch", "sides": "symmetry", "ground": "wall", "nose": "wall", "tail": "wall"}
GROUPS = {"nose": ("car", "front"), "tail": ("car",)}


def tunnel(shift: float = 0.0) -> Foam:
    """A box with a smaller one cut out of it, standing on the ground."""
    points, cells = box((6, 4, 3), (-1, -0.6, 0), (2, 0.6, 1), ((2, 4), (1, 3), (0, 1)))

    def patch_of(c: np.ndarray, rim: tuple[int, ...]) -> str:
        if abs(c[0] + 1) < 1e-9 or abs(c[0] - 2) < 1e-9:
            return "inlet" if c[0] < 0 else "outlet"
        if abs(abs(c[1]) - 0.6) < 1e-9 or abs(c[2] - 1) < 1e-9:
            return "sides"
        return "ground" if abs(c[2]) < 1e-9 else "nose" if c[0] < 0.5 else "tail"

    mesh = foam_mesh(points, cells, patch_of, KINDS, GROUPS)
    used = np.unique(np.concatenate([list(rim) for rim in mesh.faces]))
    to = np.cumsum(np.isin(np.arange(len(points)), used)) - 1
    mesh.faces = [tuple(int(to[i]) for i in rim) for rim in mesh.faces]
    mesh.points = points[used] + shift
    return mesh


def pressure(scale: float = 1.0):  # type: ignore[no-untyped-def]
    return lambda c: scale * (1 - c[:, 0] + 0.1 * c[:, 2])


def velocity(c: np.ndarray) -> np.ndarray:
    return np.stack([1 + c[:, 1], c[:, 0] * c[:, 2], c[:, 1]], 1)


def fields(writer: Writer, folder: Path, mesh: Foam, scale: float = 1.0) -> None:
    writer.field(folder / "p", "scalar", mesh, pressure(scale))
    writer.field(folder / "U", "vector", mesh, velocity, nose="        type noSlip;\n")


def write_decomposed(
    writer: Writer, case: Path, mesh: Foam, times: dict[str, float], *, addressing: bool = True
) -> None:
    r = np.random.default_rng(0)
    part = np.clip((mesh.centers()[:, 0] + r.normal(scale=0.3, size=mesh.num_cells)) * 1.2, 0, 2).astype(int).tolist()
    for i, piece in enumerate(decompose(mesh, part)):
        writer.mesh(case / f"processor{i}" / "constant" / "polyMesh", piece, addressing=addressing)
        for name, scale in times.items():
            fields(writer, case / f"processor{i}" / name, piece, scale)


def check(case: Path, scale: float, tolerance: float = 1e-12) -> None:
    """Fields of the volume and of each patch are those functions of the place."""
    for region, count in ((None, 68), ("nose", 6), ("car", 12), ("sides", 60), ("inlet,outlet", 24)):
        mesh = read_case(case, region=region).mesh
        assert mesh.n_cells == count
        centers = np.array([mesh.points[p].mean(0) for p in np.split(cells_of(mesh).nodes, cells_of(mesh).start[1:])])
        assert np.abs(mesh.cell_data["p"] - pressure(scale)(centers)).max() < tolerance
        wanted = np.zeros_like(centers) if region == "nose" else velocity(centers)
        if region != "car":
            assert np.abs(mesh.cell_data["U"] - wanted).max() < tolerance
        assert len(np.unique(mesh.points, axis=0)) == mesh.n_points


@pytest.mark.parametrize("writer", FORMS, ids=str)
def test_every_form_of_files(writer: Writer, tmp_path: Path) -> None:
    case, mesh = writer.control(tmp_path / "case"), tunnel()
    writer.mesh(case / "constant" / "polyMesh", mesh)
    fields(writer, case / "0", mesh, 0.0)
    fields(writer, case / "10", mesh, 2.0)
    check(case, 2.0, 1e-6 if writer.scalar == 32 else 1e-12)
    out = read_case(case)
    assert out.notes.time == 10 and out.notes.times == (0.0, 10.0)
    assert volume_geometry(out.mesh)[1].sum() == pytest.approx(3.4)
    assert set(out.mesh.celltypes) == {12}
    assert np.array_equal(out.mesh.points, mesh.points.astype(f"f{writer.scalar // 8}"))
    assert any(
        line.startswith("patches: patch 'inlet', 'outlet'; symmetry 'sides'; wall") for line in out.notes.lines()
    )
    first = read_case(case, time=0)
    assert not first.mesh.cell_data["p"].any()
    assert any("'p' is zero everywhere (an initial state?)" in line for line in first.notes.lines())


@pytest.mark.parametrize("addressing", [True, False])
@pytest.mark.parametrize("writer", [Writer(), Writer(binary=True, packed=True)], ids=str)
@pytest.mark.parametrize("older", [None, "5", "20"])
def test_the_newest_time_wherever_it_lies(writer: Writer, older: str | None, addressing: bool, tmp_path: Path) -> None:
    case, mesh = writer.control(tmp_path / "case"), tunnel()
    writer.mesh(case / "constant" / "polyMesh", mesh)
    fields(writer, case / "0", mesh, 0.0)
    write_decomposed(writer, case, mesh, {"0": 0.0, "10": 1.0}, addressing=addressing)
    if older is not None:
        fields(writer, case / older, mesh, 0.5)
    check(case, 0.5 if older == "20" else 1.0)
    lines = read_case(case).notes.lines()
    if older == "20":
        assert "time 20 was read from the case; processor*/ has time 10 as its newest" in lines
        check_time(case, 10, 1.0)
    else:
        assert f"time 10 was read from processor*/; the case has time {older or 0} as its newest" in lines
        assert "read from processor*/ (3 pieces, put together)" in lines
    if older == "5":
        check_time(case, 5, 0.5)
    serial, joined = read_case(case, time=0).mesh, read_case(case, time=10).mesh
    assert joined.n_points == serial.n_points
    if addressing:  # the very numbering of the whole case
        assert np.array_equal(joined.points, serial.points)
        assert np.array_equal(
            cells_of(joined).nodes.reshape(-1, 8).min(1), cells_of(serial).nodes.reshape(-1, 8).min(1)
        )


def check_time(case: Path, time: float, scale: float) -> None:
    mesh = read_case(case, time=time).mesh
    assert np.abs(mesh.cell_data["p"] - pressure(scale)(mesh.cell_centers().points)).max() < 1e-9


def test_processors_without_a_mesh_of_the_case(tmp_path: Path) -> None:
    writer, mesh = Writer(), tunnel()
    case = writer.control(tmp_path / "case")
    write_decomposed(writer, case, mesh, {"3": 1.5})
    check(case, 1.5)


def test_a_later_time_without_fields_is_none(tmp_path: Path) -> None:
    writer, mesh = Writer(), tunnel()
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    fields(writer, case / "4", mesh, 1.0)
    writer.put(case / "7" / "uniform" / "time", "dictionary", b"value 7;\n")
    assert read_case(case).notes.times == (4.0,)


@pytest.mark.parametrize("name", ["processors4", "processors", "processors8_0-3"])
def test_collated_results_are_refused_with_the_cure(name: str, tmp_path: Path) -> None:
    writer, mesh = Writer(), tunnel()
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    fields(writer, case / "0", mesh, 0.0)
    (case / name / "10").mkdir(parents=True)
    with pytest.raises(InputError, match=rf"time 10 lies in collated files \({name}/\).*run reconstructPar.*times '0'"):
        read_case(case)
    assert read_case(case, time=0).notes.time == 0
    fields(writer, case / "10", mesh, 3.0)
    check(case, 3.0)
    shutil.rmtree(case / "constant")
    with pytest.raises(InputError, match="the mesh lies in collated files"):
        read_case(case)


@pytest.mark.parametrize("decomposed", [False, True])
def test_several_regions(decomposed: bool, tmp_path: Path) -> None:
    writer = Writer()
    case = writer.control(tmp_path / "case")
    kinds = {"wall": "wall", "to_other": "mappedWall"}
    for name, low in (("fluid", 0.0), ("solid", 1.0)):
        points, cells = box((2, 2, 2), (0, 0, low), (1, 1, low + 1))
        mesh = foam_mesh(points, cells, lambda c, rim: "to_other" if abs(c[2] - 1) < 1e-9 else "wall", kinds)
        pieces = decompose(mesh, [i % 2 for i in range(8)]) if decomposed else [mesh]
        for i, piece in enumerate(pieces):
            root = case / f"processor{i}" if decomposed else case
            writer.mesh(root / "constant" / name / "polyMesh", piece)
            writer.field(root / "7" / name / "T", "scalar", piece, lambda c: c[:, 2])
            if name == "fluid":
                writer.field(root / "7" / name / "U", "vector", piece, velocity)
    out = read_case(case)
    assert out.notes.parts == (
        "fluid/internal", "fluid/wall", "fluid/to_other", "solid/internal", "solid/wall", "solid/to_other"
    )  # fmt: skip
    assert out.mesh.n_cells == 16 and out.mesh.array_names == ["T"]
    assert np.allclose(out.mesh.cell_data["T"], out.mesh.cell_centers().points[:, 2])
    assert "'U' left out: not all of the chosen parts have them" in out.notes.lines()
    assert np.bincount(out.cell_part).tolist() == [8, 8]  # type: ignore[arg-type]
    fluid = read_case(case, region="fluid").mesh
    assert fluid.n_cells == 8 and set(fluid.array_names) == {"T", "U"}
    assert read_case(case, region="to_other").mesh.n_cells == 8
    assert read_case(case, region="solid/w.*").notes.chosen == ("solid/wall",)
    assert read_case(case, region="solid/wall").mesh.n_points == 25


def test_parts_by_name_group_type_and_pattern(tmp_path: Path) -> None:
    writer, mesh = Writer(), tunnel()
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    fields(writer, case / "1", mesh)
    for region in ("car", "nose,tail", ["nose", "tail"], "(nose|tail)", "front,tail"):
        body = read_mesh(case, region=region)
        assert (body.n_cells, body.n_points) == (12, 17) and cell_geometry(body)[2].sum() == pytest.approx(5 / 3)
        assert isinstance(body, pv.PolyData) and set(body.cell_data) == {"p", "U"}
    assert read_case(case, region="wall").notes.chosen == ("ground", "nose", "tail")
    assert read_mesh(case, region="internal").n_cells == 68
    with pytest.raises(InputError, match=r"no part 'body'; .*parts: 'internal', 'inlet'.*groups: .*'car'"):
        read_mesh(case, region="body")
    both = read_case(case, region="internal,car")
    assert both.mesh.n_cells == 80 and both.body is not None and both.body.n_cells == 12
    whole = read_case(case)
    assert whole.body is None and whole.walls is not None and whole.walls.n_cells == 20 + 12
    with pytest.warns(DataWarning, match="the surface is open"):  # it stands on the ground
        graph = read(case, region="car", fields=("p",))
    assert graph.num_cells == 12


def test_plane_cases_with_empty_sides(tmp_path: Path) -> None:
    points, cells = box((3, 3, 1), (0, 0, 0), (1, 1, 0.1))
    kinds = {"walls": "wall", "frontAndBack": "empty"}
    mesh = foam_mesh(points, cells, lambda c, rim: "walls" if 0.04 < c[2] < 0.06 else "frontAndBack", kinds)
    writer = Writer()
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    writer.field(case / "1" / "p", "scalar", mesh, pressure())
    out = read_case(case)
    assert out.mesh.n_cells == 9 and any("empty 'frontAndBack'" in line for line in out.notes.lines())
    plane = read_case(case, region="frontAndBack").mesh
    assert plane.n_cells == 18 and set(np.round(plane.cell_data["p"], 9)) == set(np.round(out.mesh.cell_data["p"], 9))


def test_the_mesh_of_a_time_folder(tmp_path: Path) -> None:
    """The mesh moved (points only), and was made anew (snappyHexMesh without -overwrite)."""
    writer, mesh = Writer(), tunnel()
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    for name, shift in (("1", 0.5), ("2", 1.0)):
        moved = tunnel(shift)
        writer.put(case / name / "polyMesh" / "points", "vectorField", writer.numbers(moved.points))
        fields(writer, case / name, mesh)
    assert np.array_equal(read_case(case).mesh.points, mesh.points + 1.0)
    assert np.array_equal(read_case(case, time=1).mesh.points, mesh.points + 0.5)
    assert any("points from 2 (the mesh was changed or moved)" in line for line in read_case(case).notes.lines())
    points, cells = box((2, 1, 1), (0, 0, 0), (1, 1, 1))
    new = foam_mesh(points, cells, lambda c, rim: "all", {"all": "wall"})
    writer.mesh(case / "3" / "polyMesh", new)
    writer.field(case / "3" / "cellLevel", "scalar", new, lambda c: np.ones(len(c)))
    assert read_case(case).mesh.n_cells == 2 and read_case(case, region="all").mesh.n_cells == 10


def test_it_agrees_with_the_reader_of_vtk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells in the same order on the same points, faces of patches wound alike; in single precision."""
    monkeypatch.setattr(foam_mesh_module, "CHUNK", 7)
    writer, mesh = Writer(), tunnel()
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    fields(writer, case / "1", mesh)
    reader = vtkOpenFOAMReader()
    reader.SetFileName(str(case / "system" / "controlDict"))
    reader.UpdateInformation()
    reader.EnableAllPatchArrays()
    reader.EnableAllCellArrays()
    reader.SetTimeValue(1.0)
    reader.Update()
    blocks = pv.wrap(reader.GetOutputDataObject(0))
    theirs = {
        "internal": blocks["internalMesh"],
        "nose": blocks["boundary"]["nose"],
        "sides": blocks["boundary"]["sides"],
    }
    for region, other in theirs.items():
        mine = read_case(case, region=region).mesh
        assert np.allclose(mine.cell_centers().points, other.cell_centers().points, atol=1e-6)
        assert np.allclose(mine.cell_data["p"], other.cell_data["p"], atol=1e-6)
        if region == "sides":
            assert np.allclose(cell_geometry(mine)[1], cell_geometry(other)[1], atol=1e-6)
        if region == "internal":
            assert np.allclose(mine.compute_cell_sizes()["Volume"], other.compute_cell_sizes()["Volume"], atol=1e-6)
            assert np.allclose(mine.cell_data["U"], other.cell_data["U"], atol=1e-6)


def test_entries_of_fields(tmp_path: Path) -> None:
    """Patterns, groups, macros, includes, uniform values, tensors, point and surface fields."""
    writer, mesh = Writer(), tunnel()
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    folder = case / "2"
    folder.mkdir()
    (folder / "initial").write_text("pressure 3; /* and\n more */\nspeed (1 2 3);\n")
    writer.put(folder / "p", "volScalarField", b"""
#include "initial"
dimensions [0 2 -2 0 0 0 0];
internalField uniform $pressure;   // of the file
boundaryField
{
    #includeIfPresent "nothing"
    car { type fixedValue; value uniform 7; }
    ".*" { type fixedValue; value uniform -1; }
    ground { type calculated; value $internalField; }
}
""")  # fmt: skip
    writer.put(folder / "U", "volVectorField", b"""
#include "initial"
internalField uniform $speed;
boundaryField { "(in|out)let" { type fixedValue; value uniform (9 9 9); } ".*" { type strange; a (1 (2 3)); b "x;{"; } }
""")  # fmt: skip
    writer.field(folder / "R", "symmTensor", mesh, lambda c: np.arange(6)[None] + c[:, :1])
    writer.put(folder / "phi", "surfaceScalarField", b"internalField uniform 0; boundaryField {}")
    writer.put(
        folder / "move",
        "pointVectorField",
        b"internalField nonuniform List<vector> " + writer.numbers(mesh.points) + b"; boundaryField {}",
    )
    writer.put(folder / "cellOnly", "volScalarField::Internal", b"dimensions []; value uniform 4;")
    (folder / "lagrangian").mkdir()
    out = read_case(case)
    assert set(out.mesh.cell_data["p"]) == {3.0} and set(out.mesh.cell_data["cellOnly"]) == {4.0}
    assert np.array_equal(np.unique(out.mesh.cell_data["U"], axis=0), [[1, 2, 3]])
    x = out.mesh.cell_centers().points[:, :1]
    assert np.allclose(out.mesh.cell_data["R"], np.array([[0, 3, 5, 1, 4, 2]]) + x, atol=1e-6)
    assert np.array_equal(out.mesh.point_data["move"], out.mesh.points)
    assert "'phi' left out: values on faces" in out.notes.lines()
    assert "particles (lagrangian) were left out" in out.notes.lines()
    wanted = {"nose": 7, "inlet": -1, "ground": 3}
    for patch, value in wanted.items():
        assert set(read_case(case, region=patch).mesh.cell_data["p"]) == {value}
    nose = read_case(case, region="nose")
    assert set(nose.mesh.cell_data["U"].ravel()) == {1, 2, 3} and "cellOnly" not in nose.mesh.cell_data
    assert any("'U' has no values on the patch 'nose' (type strange)" in line for line in nose.notes.lines())
    assert set(read_case(case, region="inlet").mesh.cell_data["U"].ravel()) == {9.0}
    (folder / "initial").unlink()
    with pytest.warns(DataWarning, match="arrays may be missing .U includes initial, which is not there"):
        assert set(read_case(case).mesh.cell_data) == {"R", "cellOnly"}


def voronoi(seed: int, n: int = 60) -> tuple[np.ndarray, list[list[tuple[int, ...]]]]:
    """A box of polyhedra: the Voronoi cells of random points and of their mirror images."""
    r = np.random.default_rng(seed)
    seeds = r.random((n, 3))
    everything = np.concatenate([seeds, *(seeds * (1 - 2 * e) + 2 * e * side for e in np.eye(3) for side in (0, 1))])
    cells = Voronoi(everything)
    rims: list[list[tuple[int, ...]]] = [[] for _ in range(n)]
    for (a, b), ring in zip(cells.ridge_points, cells.ridge_vertices, strict=True):
        for mine, other in ((a, b), (b, a)):
            if mine < n:
                points = cells.vertices[ring]
                normal = np.cross(points[1] - points[0], points[2] - points[1])
                out = normal @ (everything[other] - everything[mine]) > 0
                rims[mine].append(tuple(ring if out else ring[::-1]))
    used = np.unique([i for of in rims for rim in of for i in rim])
    to = {int(i): k for k, i in enumerate(used)}
    return cells.vertices[used], [[tuple(to[i] for i in rim) for rim in of] for of in rims]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), binary=st.booleans(), pieces=st.integers(1, 3))
def test_polyhedra_keep_volume_and_faces(seed: int, binary: bool, pieces: int, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "case", ignore_errors=True)
    points, cells = voronoi(seed)
    mesh = foam_mesh(points, cells, lambda c, rim: "all", {"all": "wall"})
    writer = Writer(binary=binary)
    case = writer.control(tmp_path / "case")
    parts = decompose(mesh, [i % pieces for i in range(len(cells))]) if pieces > 1 else [mesh]
    for i, piece in enumerate(parts):
        root = case / f"processor{i}" if pieces > 1 else case
        writer.mesh(root / "constant" / "polyMesh", piece)
        writer.field(root / "1" / "p", "scalar", piece, lambda c: c[:, 0])
    grid = read_case(case).mesh
    assert (grid.n_cells, grid.n_points) == (len(cells), len(points))
    volumes = volume_geometry(grid)[1]
    # Each cell by the divergence theorem over the faces it was written from.
    wanted = []
    for rims in cells:
        size = np.array([len(rim) for rim in rims])
        centers, vectors = polygon_geometry(points, size, np.concatenate(rims))
        wanted.append((centers * vectors).sum() / 3)
    assert np.allclose(volumes, wanted, rtol=1e-9) and volumes.sum() == pytest.approx(1.0)
    owner, size, nodes = cell_faces(cells_of(grid))
    assert size.size == sum(map(len, cells)) and np.array_equal(np.bincount(owner), [len(rims) for rims in cells])
    surface = read_case(case, region="all").mesh
    size, nodes = as_polygons(cells_of(surface))
    _, vectors = polygon_geometry(np.asarray(surface.points), size, nodes)
    assert np.linalg.norm(vectors, axis=1).sum() == pytest.approx(6.0) and np.abs(vectors.sum(0)).max() < 1e-9


@pytest.mark.parametrize("kind", ["tetra", "wedge", "pyramid"])
def test_simple_shapes_are_found(kind: str, tmp_path: Path) -> None:
    points, cells = box((2, 2, 2), (0, 0, 0), (1, 1, 1))
    shapes: list[list[tuple[int, ...]]] = []
    for rims in cells:
        (a, d, c, b), (e, f, g, h) = rims[0], rims[1]
        if kind == "wedge":
            shapes += [
                [(a, c, b), (e, f, g), (a, b, f, e), (b, c, g, f), (c, a, e, g)],
                [(a, d, c), (e, g, h), (a, c, g, e), (c, d, h, g), (d, a, e, h)],
            ]
        else:
            points = np.concatenate([points, [points[[a, b, c, d, e, f, g, h]].mean(0)]])
            top = len(points) - 1
            for w, x, y, z in rims:
                if kind == "pyramid":
                    shapes.append([(w, x, y, z), (x, w, top), (y, x, top), (z, y, top), (w, z, top)])
                else:
                    low = min(w, x, y, z)
                    ring = [w, x, y, z][[w, x, y, z].index(low) :] + [w, x, y, z][: [w, x, y, z].index(low)]
                    for u, v in ((ring[1], ring[2]), (ring[2], ring[3])):
                        shapes.append([(low, u, v), (u, low, top), (v, u, top), (low, v, top)])
    mesh = foam_mesh(points, shapes, lambda c, rim: "all", {"all": "wall"})
    writer = Writer()
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    grid = read_case(case).mesh
    assert set(grid.celltypes) == {{"tetra": 10, "wedge": 13, "pyramid": 14}[kind]}
    assert grid.n_cells == len(shapes) and grid.volume == pytest.approx(1.0)
    _, volumes = volume_geometry(grid)
    assert volumes.sum() == pytest.approx(1.0) and volumes.min() > 0


@pytest.mark.parametrize("file", ["points", "faces", "owner", "neighbour", "boundary"])
@pytest.mark.parametrize("writer", [Writer(), Writer(binary=True), Writer(packed=True)], ids=str)
def test_damaged_meshes_are_refused(writer: Writer, file: str, tmp_path: Path) -> None:
    case = writer.control(tmp_path / "case")
    writer.mesh(case / "constant" / "polyMesh", tunnel())
    path = case / "constant" / "polyMesh" / (file + ".gz" * writer.packed)
    raw = path.read_bytes()
    for share in (0.0, 0.3, 0.6, 0.9):
        path.write_bytes(raw[: int(len(raw) * share)])
        with pytest.raises(InputError, match=rf"case: the mesh is damaged \({file} .*checkMesh"):
            read_mesh(case)
    if file != "neighbour":
        path.unlink()
        with pytest.raises(InputError, match=r"damaged|no mesh"):
            read_mesh(case)


@pytest.mark.parametrize("writer", [Writer(), Writer(binary=True)], ids=str)
def test_a_damaged_field_is_named_and_the_others_are_read(writer: Writer, tmp_path: Path) -> None:
    case, mesh = writer.control(tmp_path / "case"), tunnel()
    writer.mesh(case / "constant" / "polyMesh", mesh)
    fields(writer, case / "1", mesh)
    path = case / "1" / "p"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.warns(DataWarning, match=r"arrays may be missing \(p "):
        assert read_mesh(case).array_names == ["U"]


def test_cases_of_the_field(shared_data: Path) -> None:
    folder = shared_data / "field"
    for name in ("not_reconstructed", "older_reconstructed"):
        case = folder / "openfoam-decomposed" / "input" / name
        for region, count in ((None, 68), ("body", 12), ("inlet", 12), ("outlet", 12)):
            out = read_case(case, region=region)
            centers = out.mesh.cell_centers().points
            assert out.mesh.n_cells == count and out.notes.time == 100
            assert np.abs(out.mesh.cell_data["pMean"] + centers[:, 0] - 0.1 * centers[:, 2]).max() < 1e-6
            assert np.abs(out.mesh.cell_data["wallShearStressMean"][:, 0] + 1e-3).max() < 1e-9
    for region in ("bodyGroup", "body_front,body_rear", ["body_front", "body_rear"], "body.*"):
        body = read_mesh(folder / "openfoam-patches" / "input" / "case", region=region)
        assert (body.n_cells, body.n_points) == (12, 17) and body.area == pytest.approx(1.66667, rel=1e-5)
    body = read_case(folder / "zero-truth" / "input" / "initial_fields_only", region="body")
    assert any("are zero everywhere (an initial state?)" in line for line in body.notes.lines())


def test_names_of_patches_as_snappy_makes_them(tmp_path: Path) -> None:
    """Dashes, colons and percent signs; a group and a pattern name them all; fields name the group."""
    names = ("motorBike_frt-fairing:001%1", "motorBike_fr-wh-rim%11", "motorBike_seat%(2)")
    points, cells = box((3, 1, 1), (0, 0, 0), (3, 1, 1))
    kinds = dict.fromkeys(names, "wall") | {"lowerWall": "wall"}
    mesh = foam_mesh(
        points, cells, lambda c, rim: names[int(c[0])] if c[2] == 1 else "lowerWall", kinds,
        dict.fromkeys(names, ("motorBikeGroup",)),
    )  # fmt: skip
    writer = Writer()
    case = writer.control(tmp_path / "motorBike_case")
    writer.mesh(case / "constant" / "polyMesh", mesh)
    folder = case / "1"
    folder.mkdir()
    writer.put(folder / "U", "volVectorField", b"""
internalField uniform (20 0 0);
boundaryField { motorBikeGroup { type noSlip; } lowerWall { type fixedValue; value $internalField; } }
""")  # fmt: skip
    for region in ("motorBikeGroup", "motorBike_.*", names[0] + "," + names[1] + "," + names[2]):
        out = read_case(case, region=region)
        assert out.notes.chosen == names and not out.mesh.cell_data["U"].any()
    assert set(read_case(case, region="lowerWall").mesh.cell_data["U"][:, 0]) == {20.0}
