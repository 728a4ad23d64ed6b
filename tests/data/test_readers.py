"""Reading every format, and what is said about files that cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import meshio
import numpy as np
import pytest
import pyvista as pv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshops.data import readers, writers
from meshops.data.cells import Mesh, cell_faces, cells_of, running_sum
from meshops.errors import DataWarning, InputError

HEADER = "FoamFile\n{{\n version 2.0;\n format ascii;\n class {kind};\n object {name};\n}}\n"


def surface() -> pv.PolyData:
    mesh = pv.Sphere(theta_resolution=10, phi_resolution=8).clean()
    mesh.clear_data()
    mesh.cell_data["p"] = np.arange(mesh.n_cells, dtype=np.float32)
    mesh.point_data["T"] = np.arange(mesh.n_points, dtype=np.float64)
    return mesh


def volume() -> pv.UnstructuredGrid:
    mesh = pv.ImageData(dimensions=(4, 3, 3)).cast_to_unstructured_grid()
    mesh.points = mesh.points.astype(np.float32)
    mesh.cell_data["p"] = np.arange(mesh.n_cells, dtype=np.float32)
    mesh.point_data["T"] = np.arange(mesh.n_points, dtype=np.float64)
    return mesh


def hexahedra() -> pv.UnstructuredGrid:
    x, y, z = np.meshgrid(*(np.linspace(0, 1, 3),) * 3, indexing="ij")
    return pv.StructuredGrid(x, y, z).cast_to_unstructured_grid()


def write_case(folder: Path, *, times: tuple[str, ...] = ("0", "5", "10")) -> Path:
    """An OpenFOAM case of 2 x 2 x 2 cubes with a patch ``floor`` at z = 0 and ``walls``; p = time + cell number."""
    grid = hexahedra()
    owner, size, nodes = cell_faces(cells_of(grid))
    start = running_sum(size)
    seen: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
    for i, cell in enumerate(owner):
        rim = nodes[start[i] : start[i + 1]]
        seen.setdefault(tuple(sorted(rim)), []).append((int(cell), rim))
    twice = [sorted(faces, key=lambda face: face[0]) for faces in seen.values() if len(faces) == 2]
    inner = sorted(((f[0][0], f[1][0], f[0][1]) for f in twice), key=lambda face: face[:2])
    outer = [f[0] for f in seen.values() if len(f) == 1]
    on_floor = [f for f in outer if np.abs(grid.points[f[1], 2]).max() < 1e-9]
    walls = [f for f in outer if np.abs(grid.points[f[1], 2]).max() >= 1e-9]
    rims = [f[2] for f in inner] + [f[1] for f in on_floor + walls]
    owners = [f[0] for f in inner] + [f[0] for f in on_floor + walls]

    def put(path: Path, kind: str, body: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER.format(kind=kind, name=path.name) + body)

    def block(values: list[str]) -> str:
        return f"{len(values)}\n(\n" + "\n".join(values) + "\n)\n"

    def vector(values: np.ndarray) -> str:
        return "(" + " ".join(str(v) for v in values) + ")"

    mesh = folder / "constant" / "polyMesh"
    put(mesh / "points", "vectorField", block([vector(p) for p in grid.points]))
    put(mesh / "faces", "faceList", block([f"{len(rim)}{vector(rim)}" for rim in rims]))
    put(mesh / "owner", "labelList", block([str(i) for i in owners]))
    put(mesh / "neighbour", "labelList", block([str(f[1]) for f in inner]))
    sizes = {"floor": (len(on_floor), len(inner)), "walls": (len(walls), len(inner) + len(on_floor))}
    patches = [f"{n} {{ type wall; nFaces {k}; startFace {s}; }}" for n, (k, s) in sizes.items()]
    put(mesh / "boundary", "polyBoundaryMesh", block(patches))
    put(folder / "system" / "controlDict", "dictionary", "startTime 0;\nendTime 10;\ndeltaT 1;\nwriteInterval 5;\n")
    for t in times:
        values = block([str(float(t) + i) for i in range(8)])
        ends = f"floor {{ type fixedValue; value uniform {float(t) + 100}; }} walls {{ type zeroGradient; }}"
        body = f"dimensions [0 2 -2 0 0 0 0];\ninternalField nonuniform List<scalar> {values};\n"
        put(folder / t / "p", "volScalarField", body + f"boundaryField {{ {ends} }}\n")
        uniform = "dimensions [0 1 -1 0 0 0 0];\ninternalField uniform (1 2 3);\n"
        ends = "floor { type noSlip; } walls { type zeroGradient; }"
        put(folder / t / "U", "volVectorField", uniform + f"boundaryField {{ {ends} }}\n")
    return folder


def save(mesh: Mesh, path: Path, **options: bool) -> Path:
    mesh.save(path, **options)
    return path


def write_gmsh(path: Path, *, values: bool = False) -> Path:
    grid = volume()
    cells = cells_of(grid).nodes.reshape(-1, 8)[:, [0, 1, 3, 2, 4, 5, 7, 6]]
    blocks = [("hexahedron", cells), ("quad", cells[:1, :4])]
    tags = [np.ones(12, int), np.ones(1, int)]
    data = {"gmsh:physical": tags, "gmsh:geometrical": tags} | ({"p": [np.arange(12.0), np.zeros(1)]} if values else {})
    mesh = meshio.Mesh(grid.points.astype(float), blocks, cell_data=data, point_data={"T": np.arange(36.0)})
    mesh.write(path, file_format="gmsh22", binary=True)
    return path


def write_text_gmsh(path: Path) -> Path:
    nodes = "\n".join(f"{i + 1} {x} {y} 0" for i, (x, y) in enumerate([(0, 0), (1, 0), (1, 1), (0, 1)]))
    cells = "1 1 2 7 1 1 2\n2 2 2 8 1 1 2 3\n3 2 2 8 1 1 3 4"
    data = '1\n"p"\n1\n0.0\n3\n0\n1\n4\n1 0.5\n2 1.5\n3 2.5\n4 3.5'
    sections = {"MeshFormat": "2.2 0 8", "Nodes": f"4\n{nodes}", "Elements": f"3\n{cells}", "NodeData": data}
    path.write_text("".join(f"${name}\n{body}\n$End{name}\n" for name, body in sections.items()))
    return path


def write_su2(path: Path) -> Path:
    square = "NDIME= 2\nNELEM= 2\n5 0 1 2 0\n5 0 2 3 1\nNPOIN= 4\n0 0 0\n1 0 1\n1 1 2\n0 1 3\n"
    path.write_text(square + "NMARK= 1\nMARKER_TAG= wall\nMARKER_ELEMS= 1\n3 0 1\n")
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "binary.stl": lambda p: save(surface(), p),
    "text.stl": lambda p: save(surface(), p, binary=False),
    "a.obj": lambda p: save(surface(), p),
    "binary.ply": lambda p: save(surface(), p),
    "text.ply": lambda p: save(surface(), p, binary=False),
    "binary.vtk": lambda p: save(surface(), p),
    "text.vtk": lambda p: save(volume(), p, binary=False),
    "inline.vtp": lambda p: save(surface(), p, binary=False),
    "appended.vtp": lambda p: writers.write_mesh(surface(), p),
    "inline.vtu": lambda p: save(volume(), p, binary=False),
    "appended.vtu": lambda p: writers.write_mesh(volume(), p),
    "a.msh": write_gmsh,
    "text.msh": write_text_gmsh,
    "a.su2": write_su2,
}


@pytest.mark.parametrize("name", [name for name in MAKERS if not name.endswith(("msh", "su2"))])
def test_every_format_gives_the_mesh(name: str, tmp_path: Path) -> None:
    mesh = readers.read_mesh(MAKERS[name](tmp_path / name))
    original = volume() if "vtu" in name or name == "text.vtk" else surface()
    assert (mesh.n_points, mesh.n_cells) == (original.n_points, original.n_cells)
    assert np.allclose(sorted(mesh.points.tolist()), sorted(original.points.tolist()), atol=1e-5)
    if name.endswith(("vtk", "vtp", "vtu")):
        assert np.array_equal(mesh.cell_data["p"], original.cell_data["p"])
        assert np.array_equal(mesh.point_data["T"], original.point_data["T"])


def test_gmsh_with_faces_beside_volumes(tmp_path: Path) -> None:
    path = write_gmsh(tmp_path / "a.msh")
    graph = readers.read(path, fields=("T",))
    assert graph.num_cells == 12 and graph.field("T").tolist() == list(range(36))
    graph = readers.read(path, fields=())
    assert graph.area.tolist() == pytest.approx([1.0] * 12)


def test_gmsh_data_on_several_cell_types(tmp_path: Path) -> None:
    mesh = readers.read_mesh(write_gmsh(tmp_path / "a.msh", values=True))
    assert mesh.cell_data["p"].tolist() == list(range(12)) and mesh.n_cells == 12


def test_gmsh_text(tmp_path: Path) -> None:
    graph = readers.read(write_text_gmsh(tmp_path / "a.msh"), units=("Pa",))
    assert graph.num_cells == 2 and graph.location == "point"
    assert graph.field("p").tolist() == [0.5, 1.5, 2.5, 3.5] and float(graph.area.sum()) == 1.0


def test_flat_su2(tmp_path: Path) -> None:
    graph = readers.read(write_su2(tmp_path / "a.su2"))
    assert graph.num_cells == 2 and graph.pos.shape == (2, 3) and graph.area.tolist() == [0.5, 0.5]


def test_legacy_file_keeps_all_arrays(tmp_path: Path) -> None:
    mesh = surface()
    for name in ("a", "b", "c"):
        mesh.point_data[name] = np.arange(mesh.n_points, dtype=np.float32)
        mesh.point_data[f"{name}_vector"] = np.ones((mesh.n_points, 3), dtype=np.float32)
    back = readers.read_mesh(save(mesh, tmp_path / "a.vtk"))
    assert set(mesh.point_data.keys()) <= set(back.point_data.keys())


def test_structured_grids_become_unstructured(tmp_path: Path) -> None:
    path = save(pv.ImageData(dimensions=(3, 3, 3)), tmp_path / "a.vtk")
    mesh = readers.read_mesh(path)
    assert isinstance(mesh, pv.UnstructuredGrid) and mesh.n_cells == 8


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_with_mixed_faces_and_properties(tmp_path: Path, order: str) -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]], dtype=np.float32)
    faces = [([0, 1, 2, 3], 1.5), ([1, 4, 2], 2.5)]
    header = (
        f"ply\nformat {order} 1.0\ncomment made by hand\nelement vertex 5\nproperty float x\nproperty float y\n"
        "property float z\nproperty double T\nelement face 2\nproperty list uchar int vertex_indices\n"
        "property float p\nend_header\n"
    )
    if order == "ascii":
        rows = [f"{x} {y} {z} {10 * i}" for i, (x, y, z) in enumerate(points)]
        rows += [f"{len(rim)} {' '.join(map(str, rim))} {p}" for rim, p in faces]
        body = "\n".join(rows).encode()
    else:
        sign = "<" if "little" in order else ">"
        vertex = np.zeros(5, dtype=[("x", sign + "f4", 3), ("T", sign + "f8")])
        vertex["x"], vertex["T"] = points, 10.0 * np.arange(5)
        body = vertex.tobytes()
        for rim, p in faces:
            body += bytes([len(rim)]) + np.array(rim, sign + "i4").tobytes() + np.array(p, sign + "f4").tobytes()
    path = tmp_path / "a.ply"
    path.write_bytes(header.encode() + body)
    mesh = readers.read_mesh(path)
    assert cells_of(mesh).nodes.tolist() == [0, 1, 2, 3, 1, 4, 2] and mesh.n_cells == 2
    assert mesh.cell_data["p"].tolist() == [1.5, 2.5] and mesh.point_data["T"].tolist() == [0, 10, 20, 30, 40]
    path.write_bytes(header.encode() + body[:-9])
    with pytest.raises(InputError, match="the PLY data ends too early or is damaged"):
        readers.read_mesh(path)


def test_openfoam_case(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case")
    mesh = readers.read_mesh(case)
    assert isinstance(mesh, pv.UnstructuredGrid) and mesh.n_cells == 8
    assert mesh.cell_data["p"].tolist() == [10.0 + i for i in range(8)]
    assert mesh.cell_data["U"].tolist() == [[1, 2, 3]] * 8 and not mesh.point_data
    floor = readers.read_mesh(case, region="floor")
    assert isinstance(floor, pv.PolyData) and floor.n_cells == 4
    assert floor.cell_data["p"].tolist() == [110.0] * 4
    (case / "case.foam").write_text("")
    assert readers.read_mesh(case / "case.foam").n_cells == 8
    graph = readers.read(case, fields=("p", "U"), units=("m^2/s^2", "m/s"))
    assert graph.y_sizes == (1, 3) and graph.name == "case" and float(graph.area.sum()) == pytest.approx(1.0)


def test_openfoam_case_with_its_first_time_only(tmp_path: Path) -> None:
    mesh = readers.read_mesh(write_case(tmp_path, times=("0",)))
    assert mesh.cell_data["p"].tolist() == list(range(8))


def test_decomposed_openfoam_case(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case", times=("0", "5"))
    for name in ("constant", "0", "5"):
        (case / "processor0").mkdir(exist_ok=True)
        (case / name).rename(case / "processor0" / name)
    mesh = readers.read_mesh(case)
    assert mesh.n_cells == 8 and mesh.cell_data["p"].tolist() == [5.0 + i for i in range(8)]
    assert readers.read_mesh(case, region="walls").n_cells == 20


def test_damaged_openfoam_field_is_named(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case", times=("0",))
    path = case / "0" / "p"
    path.write_text(path.read_text()[:200])
    with pytest.warns(DataWarning, match="some files of the case could not be read, arrays may be missing"):
        mesh = readers.read_mesh(case)
    assert mesh.n_cells == 8 and "U" in mesh.cell_data


def test_obj_with_a_face_on_missing_points(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 2 9\n")
    with pytest.raises(InputError, match=r"a.obj: a cell names point 8 of 3; the file is damaged"):
        readers.read_mesh(path)


def test_openfoam_messages(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case")
    with pytest.raises(InputError, match="no part 'body'; parts: 'internal', 'floor', 'walls'"):
        readers.read_mesh(case, region="body")
    with pytest.raises(InputError, match="is a folder but no OpenFOAM case"):
        readers.read_mesh(tmp_path)
    (tmp_path / "a.foam").write_text("")
    with pytest.raises(InputError, match=r"a.foam: no OpenFOAM case \(system/controlDict is missing\)"):
        readers.read_mesh(tmp_path / "a.foam")
    (case / "constant" / "polyMesh" / "owner").unlink()
    with pytest.raises(InputError, match="case: "):
        readers.read_mesh(case)
    for file in (case / "constant" / "polyMesh").iterdir():
        file.unlink()
    (case / "constant" / "polyMesh").rmdir()
    with pytest.raises(InputError, match=r"the case has no mesh \(constant/polyMesh is missing\)"):
        readers.read_mesh(case)


@pytest.mark.parametrize("name", MAKERS)
def test_truncated_files(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = MAKERS[name](tmp_path / name)
    raw = path.read_bytes()
    capfd.readouterr()
    path.write_bytes(raw[: len(raw) // 2])
    try:
        mesh = readers.read_mesh(path)
    except InputError as error:
        message = str(error)
        assert message.startswith(str(path)) and message.count("\n") <= 2
        assert re.search("cut off|empty|damaged|ends too early", message)
    else:
        # Text formats without counts: what is there is a valid, smaller file.
        assert name == "a.obj" or mesh.n_cells == 0
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err == ""


@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(MAKERS)), share=st.floats(0, 1))
@pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning")
def test_truncation_raises_nothing_but_input_errors(name: str, share: float, tmp_path: Path) -> None:
    whole = tmp_path / f"whole-{name}"
    if not whole.exists():
        MAKERS[name](whole)
    raw = whole.read_bytes()
    path = tmp_path / f"part-{name}"
    path.write_bytes(raw[: int(share * len(raw))])
    try:
        graph = readers.read(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        graph.validate()


@settings(max_examples=600, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["binary.stl", "text.stl", "a.obj", "binary.ply", "text.ply", "a.msh", "text.msh", "a.su2"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), st.binary(max_size=6)), min_size=1, max_size=4),
)
@pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning", "ignore::RuntimeWarning")
def test_edits_raise_nothing_but_input_errors(name: str, edits: list[tuple[float, int, bytes]], tmp_path: Path) -> None:
    whole = tmp_path / f"whole-{name}"
    if not whole.exists():
        MAKERS[name](whole)
    raw = whole.read_bytes()
    for place, how, what in edits:
        i = int(place * len(raw))
        raw = raw[:i] + what + raw[i + (len(what) if how == 0 else 0 if how == 1 else 20 * len(what)) :]
    path = tmp_path / f"edited-{name}"
    path.write_bytes(raw)
    try:
        graph = readers.read(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        graph.validate()


@pytest.mark.parametrize(
    "header",
    ["element vertex 99999999999999\nelement face 0\n", "element vertex -3\nproperty float x\n",
     "element vertex 1\nproperty list char float x\n", "element vertex 9\nproperty list int int vertex_indices\n"],
)  # fmt: skip
@pytest.mark.parametrize("order", ["ascii", "binary_little_endian"])
def test_ply_headers_that_lie(header: str, order: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(f"ply\nformat {order} 1.0\n{header}end_header\n".encode() + b"\xff" * 64)
    with pytest.raises(InputError, match=r"a.ply: "):
        readers.read_mesh(path)


@pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["points", "faces", "owner", "neighbour", "boundary"]), share=st.floats(0, 0.99))
def test_truncated_case_raises_nothing_but_input_errors(name: str, share: float, tmp_path: Path) -> None:
    case = tmp_path / "case"
    if not case.exists():
        write_case(case, times=("0",))
    path = case / "constant" / "polyMesh" / name
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    try:
        graph = readers.read(case)
    except InputError as error:
        assert str(case) in str(error)
    else:
        assert name == "boundary" and graph.num_cells == 8
        assert float(graph.area.sum()) == pytest.approx(1.0)
    finally:
        path.write_bytes(raw)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"car.stl: no such file"):
        readers.read_mesh(tmp_path / "car.stl")
    (tmp_path / "a.step").write_text("ISO-10303-21;")
    with pytest.raises(InputError, match=r"cannot read files ending in '.step'; supported are '.stl', '.obj'.*'.ply'"):
        readers.read_mesh(tmp_path / "a.step")
    (tmp_path / "a.vtp").write_text("")
    with pytest.raises(InputError, match=r"a.vtp: the file is empty \(0 bytes\)"):
        readers.read_mesh(tmp_path / "a.vtp")
    (tmp_path / "b.stl").write_bytes(writers.write_mesh(surface(), tmp_path / "b.vtp").read_bytes())
    with pytest.raises(InputError, match=r"b.stl: the content is not '.stl' but '.vtp'; rename the file"):
        readers.read_mesh(tmp_path / "b.stl")
    (tmp_path / "c.vtu").write_bytes(save(surface(), tmp_path / "c.ply").read_bytes())
    with pytest.raises(InputError, match=r"the content is not '.vtu' but '.ply'"):
        readers.read_mesh(tmp_path / "c.vtu")
    with pytest.raises(InputError, match="region='body', but the file has no named parts; leave it out"):
        readers.read_mesh(tmp_path / "c.ply", region="body")
    for suffix in (".stl", ".obj", ".ply", ".vtk", ".vtp", ".vtu", ".msh", ".su2"):
        (tmp_path / f"noise{suffix}").write_bytes(np.random.default_rng(0).bytes(3000))
        with pytest.raises(InputError, match=f"noise{suffix}: "):
            readers.read_mesh(tmp_path / f"noise{suffix}")


@pytest.mark.parametrize("suffix", [".vtp", ".vtu", ".vtk"])
def test_empty_meshes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    save(pv.UnstructuredGrid() if suffix == ".vtu" else pv.PolyData(), path)
    with pytest.raises(InputError, match=r"the mesh is empty \(no points\)"):
        readers.read(path)


def test_bad_numbers_in_files(tmp_path: Path) -> None:
    mesh = surface()
    mesh.cell_data["p"][5] = np.nan
    path = writers.write_mesh(mesh, tmp_path / "a.vtp")
    with pytest.raises(InputError, match=r"a.vtp: cell array 'p' holds 1 NaN or infinite values, the first at cell 5"):
        readers.read(path, fields=("p",))
    assert readers.read(path, fields=()).fields == ()
    with pytest.raises(InputError, match=r"there is no array 'cp'; cell arrays: 'p'; point arrays: 'T'"):
        readers.read(path, fields=("cp",))
    mesh.points[2, 0] = np.inf
    with pytest.raises(InputError, match=r"b.vtp: 1 points have NaN or infinite coordinates, the first is point 2"):
        readers.read(writers.write_mesh(mesh, tmp_path / "b.vtp"))


def test_which_fields_are_read(tmp_path: Path) -> None:
    path = writers.write_mesh(surface(), tmp_path / "a.vtp")
    assert readers.read(path).fields == ("p",) and readers.read(path).location == "cell"
    assert readers.read(path, location="point").fields == ("T",)
    assert readers.read(path, fields=("T",)).location == "point"
    cloud = readers.read(path, location="free")
    assert cloud.fields == ("T",) and cloud.num_cells == 0 and cloud.num_nodes == surface().n_points
    assert cloud.name == "a" and cloud.source == str(path)


def test_real_files(shared_data: Path) -> None:
    folder = shared_data / "ahmed_rans" / "run_1"
    graph = readers.read(folder / "boundary_1.vtp", fields=("pMean", "wallShearStressMean")).validate()
    assert graph.num_nodes == 8274 and graph.y.shape == (8274, 4)
    drag = float((-2 * graph.field("pMean") * graph.normal[:, 0] * graph.area).sum())
    assert drag > 0  # the pressure pushes the body downstream when the normals point out of it
    stl = readers.read(folder / "ahmed_1.stl").validate()
    assert stl.fields == () and float((stl.pos * stl.normal).sum(dim=1) @ stl.area) > 0
