"""gmsh files in all dialects give the mesh they were written from."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshops.data.cells import cells_of
from meshops.data.gmsh import is_fluent, read_gmsh, what_else
from meshops.data.gmsh_sections import TYPES
from meshops.data.readers import read, read_mesh
from meshops.data.surface import cell_geometry, volume_geometry
from meshops.errors import InputError

_spec = importlib.util.spec_from_file_location("gmsh_files", Path(__file__).with_name("gmsh_files.py"))
assert _spec is not None and _spec.loader is not None
gmsh_files = importlib.util.module_from_spec(_spec)
sys.modules["gmsh_files"] = gmsh_files
_spec.loader.exec_module(gmsh_files)
Entity, Msh, write_msh = gmsh_files.Entity, gmsh_files.Msh, gmsh_files.write_msh

DIALECTS = [
    (version, binary, order)
    for version in ("2.2", "4.0", "4.1")
    for binary, order in ((False, "<"), (True, "<"), (True, ">"))
]


def random_mesh(seed: int, *, names: bool = True, groups: bool = True) -> Msh:
    """Triangles and quads of a square with lines around, numbers with gaps, in any order; one cell in two groups."""
    r = np.random.default_rng(seed)
    n = int(r.integers(3, 6))
    x = np.linspace(0, 1, n)
    points = np.stack([*np.meshgrid(x, x, indexing="ij"), np.zeros((n, n))], -1).reshape(-1, 3)
    points += r.normal(scale=1e-3, size=points.shape) * [1, 1, 0]
    numbers = r.permutation(np.sort(r.choice(10 * n * n, n * n, replace=False)) + 1)
    grid = numbers.reshape(n, n)
    quads = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], -1).reshape(-1, 4)
    cut = r.random(len(quads)) < 0.5
    cut[:2] = [True, False]
    triangles = np.concatenate([quads[cut][:, [0, 1, 2]], quads[cut][:, [0, 2, 3]]])
    sides = {11: np.stack([grid[:-1, 0], grid[1:, 0]], 1), 12: np.stack([grid[-1, :-1], grid[-1, 1:]], 1)}
    counts = [len(sides[11]), len(sides[12]), len(triangles), len(quads[~cut])]
    ids = np.split(r.permutation(np.sort(r.choice(9000, sum(counts), replace=False)) + 1), np.cumsum(counts)[:-1])
    of = [[7], [7], [6], [6, 9]] if groups else [[]] * 4
    entities = [
        Entity(1, 11, of[0], 1, ids[0], sides[11]),
        Entity(1, 12, of[1], 1, ids[1], sides[12]),
        Entity(2, 1, of[2], 2, ids[2], triangles),
        Entity(2, 2, of[3], 3, ids[3], quads[~cut]),
    ]
    return Msh(numbers, points, entities, {(1, 7): "wall", (2, 6): "do main", (2, 9): "quads"} if names else {})


def expected(mesh: Msh, entities: list[int]) -> list[list[tuple[float, ...]]]:
    """Corner coordinates of each cell of some entities."""
    place = {int(number): i for i, number in enumerate(mesh.numbers)}
    return [[tuple(mesh.points[place[int(node)]]) for node in row] for e in entities for row in mesh.entities[e].nodes]


def corners(mesh: pv.UnstructuredGrid) -> list[list[tuple[float, ...]]]:
    cells = cells_of(mesh)
    points = np.asarray(mesh.points)
    return [[tuple(points[i]) for i in part] for part in np.split(cells.nodes, cells.start[1:])]


@pytest.mark.parametrize(("version", "binary", "order"), DIALECTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), names=st.booleans(), groups=st.booleans(), extra=st.booleans())
def test_all_dialects_give_the_source(
    version: str, binary: bool, order: str, seed: int, names: bool, groups: bool, extra: bool, tmp_path: Path
) -> None:
    mesh = random_mesh(seed, names=names, groups=groups)
    path = tmp_path / "a.msh"
    newline = "\r\n" if seed % 2 and not binary else "\n"
    path.write_bytes(write_msh(mesh, version, binary=binary, order=order, extra=extra, newline=newline))
    out = read_gmsh(path)
    assert sorted(corners(out.mesh)) == sorted(expected(mesh, [2, 3]))
    assert np.array_equal(out.mesh.points, mesh.points)
    assert np.array_equal(out.mesh.point_data["gmsh:node"], mesh.numbers)
    assert sorted(out.mesh.cell_data["gmsh:element"]) == sorted([*mesh.entities[2].numbers, *mesh.entities[3].numbers])
    assert any("cells of lower dimension" in line for line in out.notes.lines())
    assert any("'Parametrizations', 'Periodic'" in line for line in out.notes.lines()) == extra
    wall = ("wall" if names else "7") if groups else "curve 1[12]"
    lines = read_gmsh(path, region=wall)
    assert sorted(corners(lines.mesh)) == sorted(expected(mesh, [0, 1])) and set(lines.mesh.celltypes) == {3}
    quads = read_gmsh(path, region="9" if groups else "surface 2")
    assert sorted(corners(quads.mesh)) == sorted(expected(mesh, [3]))
    assert quads.mesh.n_points == len(np.unique(mesh.entities[3].nodes))
    both = read_gmsh(path, region=["6", "7"] if groups else ["surface.*", "curve.*"])
    assert sorted(corners(both.mesh)) == sorted(expected(mesh, [0, 1, 2, 3]))
    assert both.cell_part is not None and set(both.cell_part) == set(range(len(both.notes.chosen)))
    if groups:
        assert set(out.mesh.cell_data["gmsh:physical"]) == {6}


@pytest.mark.parametrize(("version", "binary", "order"), DIALECTS)
def test_data_follow_their_numbers_and_times(version: str, binary: bool, order: str, tmp_path: Path) -> None:
    mesh = random_mesh(3)
    r = np.random.default_rng(0)
    nodes = r.permutation(mesh.numbers)
    ids = r.permutation(np.concatenate([mesh.entities[2].numbers, mesh.entities[3].numbers]))
    tables = {t: r.random((len(nodes), 3)) for t in (0.5, 1.5)}
    heat = r.random((len(ids), 1))
    for step, (time, table) in enumerate(tables.items()):
        mesh.views.append(("NodeData", "U", time, step, nodes, table))
    mesh.views.append(("ElementData", "q", 0.0, 0, ids, heat))
    stress = [np.full((4, 1), float(number)) for number in mesh.entities[3].numbers]
    mesh.views.append(("ElementNodeData", "s", 1.5, 1, mesh.entities[3].numbers, stress))
    path = tmp_path / "a.msh"
    path.write_bytes(write_msh(mesh, version, binary=binary, order=order))
    out = read_gmsh(path)
    assert out.notes.times == (0.0, 0.5, 1.5) and out.notes.time == 1.5
    for time in tables:
        found = read_gmsh(path, time=time).mesh
        by_number = dict(zip(found.point_data["gmsh:node"].tolist(), found.point_data["U"].tolist(), strict=True))
        assert [by_number[int(n)] for n in nodes] == tables[time].tolist()
    by_id = dict(zip(out.mesh.cell_data["gmsh:element"].tolist(), out.mesh.cell_data["q"].tolist(), strict=True))
    assert [by_id[int(n)] for n in ids] == heat[:, 0].tolist()
    assert any("'q' is of time 0" in line for line in out.notes.lines())
    # The mean over the elements around each point, by hand.
    around: dict[int, list[float]] = {}
    for number, row in zip(mesh.entities[3].numbers, mesh.entities[3].nodes, strict=True):
        for node in row:
            around.setdefault(int(node), []).append(float(number))
    s = dict(zip(out.mesh.point_data["gmsh:node"].tolist(), out.mesh.point_data["s"].tolist(), strict=True))
    for node, value in s.items():
        assert np.isnan(value) if node not in around else value == pytest.approx(np.mean(around[node]))
    with pytest.raises(InputError, match=r"there is no time 9; times: '0', '0.5', '1.5'"):
        read_gmsh(path, time=9)


def test_steps_without_times_are_told_apart(tmp_path: Path) -> None:
    mesh = random_mesh(1)
    for step in range(3):
        mesh.views.append(("NodeData", "T", 0.0, step, mesh.numbers, np.full((len(mesh.numbers), 1), float(step))))
    path = tmp_path / "a.msh"
    path.write_bytes(write_msh(mesh))
    assert set(read_gmsh(path).mesh.point_data["T"]) == {2.0}
    assert set(read_gmsh(path, time=1).mesh.point_data["T"]) == {1.0}


# Reference cells of gmsh: corners, then the middles of edges in the order of its manual.
EDGES = {
    9: [(0, 1), (1, 2), (2, 0)],
    16: [(0, 1), (1, 2), (2, 3), (3, 0)],
    11: [(0, 1), (1, 2), (2, 0), (3, 0), (3, 2), (3, 1)],
    17: [(0, 1), (0, 3), (0, 4), (1, 2), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 7), (5, 6), (6, 7)],
    18: [(0, 1), (0, 2), (0, 3), (1, 2), (1, 4), (2, 5), (3, 4), (3, 5), (4, 5)],
    19: [(0, 1), (0, 3), (0, 4), (1, 2), (1, 4), (2, 3), (2, 4), (3, 4)],
}
FACES = {12: [(0, 3, 2, 1), (0, 1, 5, 4), (0, 4, 7, 3), (1, 2, 6, 5), (2, 3, 7, 6), (4, 5, 6, 7)],
         13: [(0, 1, 4, 3), (0, 3, 5, 2), (1, 2, 5, 4)], 10: [], 14: []}  # fmt: skip
BASE = {10: 16, 12: 17, 13: 18, 14: 19}
CORNERS = {9: 3, 16: 4, 11: 4, 17: 8, 18: 6, 19: 5}
SHAPES = {
    3: [(0, 0, 0), (1, 0, 0), (0, 1, 0)],
    4: [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)],
    5: [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 0.5, 1)],
    6: [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1)],
    8: [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
}


@pytest.mark.parametrize("kind", [9, 10, 11, 12, 13, 14, 16, 17, 18, 19])
def test_second_order_nodes_stand_where_vtk_wants_them(kind: int, tmp_path: Path) -> None:
    base = BASE.get(kind, kind)
    count = CORNERS[base]
    flat = {16: [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]}
    shape = np.array(flat.get(base, SHAPES[count]), dtype=float)
    nodes = [*shape, *(shape[list(pair)].mean(0) for pair in EDGES[base])]
    nodes += [shape[list(face)].mean(0) for face in FACES.get(kind, [])]
    if kind in (10, 12):
        nodes.append(shape.mean(0))
    if kind == 14:
        nodes.append(shape[:4].mean(0))
    points = np.array(nodes)
    assert len(points) == TYPES[kind][1]
    ids = np.arange(1, len(points) + 1)
    mesh = Msh(ids, points, [Entity(2 if base in (9, 16) else 3, 1, [], kind, np.array([1]), ids[None])])
    path = tmp_path / "a.msh"
    path.write_bytes(write_msh(mesh))
    grid = read_gmsh(path).mesh
    cell = grid.GetCell(0)
    straight = {9: 0.5, 16: 1.0, 11: 1 / 6, 17: 1.0, 18: 0.5, 19: 1 / 3}[base]
    measure = cell_geometry(grid)[2] if base in (9, 16) else volume_geometry(grid)[1]
    assert measure.sum() == pytest.approx(straight)
    # A node between two corners lies in the middle of them.
    middle = _middles(cell)
    for node, (a, b) in middle.items():
        assert np.allclose(grid.points[node], (grid.points[a] + grid.points[b]) / 2)
    for face in (cell.GetFace(i) for i in range(cell.GetNumberOfFaces())):
        if face.GetNumberOfPoints() == 9:  # with a node in its middle
            ids = [face.GetPointId(i) for i in range(9)]
            assert np.allclose(grid.points[ids[8]], grid.points[ids[:4]].mean(axis=0))


def _middles(cell: object) -> dict[int, tuple[int, int]]:
    out = {}
    for i in range(cell.GetNumberOfEdges()):  # type: ignore[attr-defined]
        edge = cell.GetEdge(i)  # type: ignore[attr-defined]
        assert edge.GetNumberOfPoints() == 3
        out[edge.GetPointId(2)] = (edge.GetPointId(0), edge.GetPointId(1))
    return out


@pytest.mark.parametrize(("kind", "count", "order"), [(21, 10, 3), (29, 20, 3), (92, 64, 3), (36, 16, 3), (23, 15, 4)])
@pytest.mark.parametrize("version", ["2.2", "4.1"])
def test_order_three_is_refused_by_name(kind: int, count: int, order: int, version: str, tmp_path: Path) -> None:
    ids = np.arange(1, count + 1)
    mesh = Msh(ids, np.random.default_rng(0).random((count, 3)), [Entity(3, 1, [], kind, np.array([1]), ids[None])])
    path = tmp_path / "a.msh"
    path.write_bytes(write_msh(mesh, version))
    with pytest.raises(InputError, match=f"order {order} elements are not supported") as error:
        read_mesh(path)
    assert "damaged" not in str(error.value)


def test_partitions_are_put_together(tmp_path: Path) -> None:
    mesh = random_mesh(5)
    for i, e in enumerate(mesh.entities):
        e.partition = 1 + i % 2
    path = tmp_path / "a.msh"
    path.write_bytes(write_msh(mesh, "2.2"))
    out = read_gmsh(path)
    assert set(out.mesh.cell_data["gmsh:partition"]) == {1, 2}
    assert any("2 partitions" in line for line in out.notes.lines())


def test_partitioned_entities_of_version_four(tmp_path: Path) -> None:
    text = (
        '$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$PhysicalNames\n1\n2 6 "domain"\n$EndPhysicalNames\n'
        "$Entities\n0 0 1 0\n1 0 0 0 1 1 0 1 6 0\n$EndEntities\n"
        "$PartitionedEntities\n2\n1\n77 1\n0 0 2 0\n"
        "21 2 1 1 1 0 0 0 1 1 0 1 6 0\n22 2 1 1 2 0 0 0 1 1 0 1 6 0\n$EndPartitionedEntities\n"
        "$Nodes\n1 4 1 4\n2 21 0 4\n1\n2\n3\n4\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n$EndNodes\n"
        "$Elements\n2 2 1 2\n2 21 2 1\n1 1 2 3\n2 22 2 1\n2 1 3 4\n$EndElements\n"
        "$GhostElements\n0\n$EndGhostElements\n"
    )
    path = tmp_path / "a.msh"
    path.write_text(text)
    out = read_gmsh(path, region="domain")
    assert out.mesh.n_cells == 2 and out.mesh.cell_data["gmsh:partition"].tolist() == [1, 2]
    path.write_text(text.replace("1 6 0\n22 2", "0 0\n22 2"))  # the group of the entity that was cut
    assert read_gmsh(path, region="domain").mesh.n_cells == 2
    path.write_text(text.replace("0 0 2 0\n21", "0 0 9 0\n21"))
    odd = read_gmsh(path)
    assert odd.mesh.n_cells == 2 and "'PartitionedEntities', 'GhostElements'" in odd.notes.remarks[0]
    path.write_text(text)
    assert any("'GhostElements' were not read" in line for line in out.notes.lines())


def test_version_one(tmp_path: Path) -> None:
    path = tmp_path / "a.msh"
    path.write_text(
        "$NOD\n4\n1 0 0 0\n2 1 0 0\n5 1 1 0\n7 0 1 0\n$ENDNOD\n"
        "$ELM\n3\n1 1 3 1 2 1 2\n2 2 4 1 3 1 2 5\n3 2 4 1 3 1 5 7\n$ENDELM\n"
    )
    out = read_gmsh(path)
    assert out.mesh.n_cells == 2 and cell_geometry(out.mesh)[2].sum() == 1.0
    assert out.mesh.cell_data["gmsh:physical"].tolist() == [4, 4] and read_gmsh(path, region="3").mesh.n_cells == 1


@pytest.mark.parametrize(("version", "binary", "order"), DIALECTS)
def test_cut_files_are_refused(version: str, binary: bool, order: str, tmp_path: Path) -> None:
    raw = write_msh(random_mesh(2), version, binary=binary, order=order)
    path = tmp_path / "a.msh"
    for length in range(0, len(raw) - 20, max(1, len(raw) // 60)):
        path.write_bytes(raw[:length])
        with pytest.raises(InputError, match=r"cut off|damaged|empty|ends too early"):
            read_mesh(path)


def test_groups_of_one_name_in_two_dimensions(tmp_path: Path) -> None:
    mesh = random_mesh(4)
    mesh.names = {(1, 7): "part", (2, 6): "part", (2, 9): "quads"}
    path = tmp_path / "a.msh"
    path.write_bytes(write_msh(mesh))
    out = read_gmsh(path, region="part")
    assert out.notes.chosen == ("part (curves)", "part (surfaces)")
    assert set(out.mesh.celltypes) == {3, 5, 9}


def test_unknown_regions_list_groups(shared_data: Path) -> None:
    folder = shared_data / "field" / "gmsh-physical" / "input"
    for name in ("all_named.msh", "some_named.msh"):
        graph = read(folder / name)
        assert graph.num_cells == 4 and len(graph.points) == 5 and float(graph.area.sum()) == pytest.approx(1.0)
        with pytest.raises(InputError, match=r"there is no part 'walls'; did you mean 'wall'.*'domain'"):
            read_mesh(folder / name, region="walls")
        assert read_mesh(folder / name, region="wall").n_cells == (4 if name == "all_named.msh" else 2)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b'(0 "Fluent")\n(2 3)\n', "a Fluent mesh"),
        (b"  (2 2)\r\n", "a Fluent mesh"),
        (b"4 2 4\n0 0 1\n", "a FreeFEM mesh"),
        (b"MESH dimension 3 ElemType Tetrahedra\n", "a GiD mesh"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ],
)
def test_other_meshes_under_this_ending_are_named(head: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.msh"
    path.write_bytes(head + b"1 2 3\n")
    assert (what_else(head) or "").startswith(what) and is_fluent(head) == (what == "a Fluent mesh")
    with pytest.raises(InputError, match=f"is {what}") as error:
        read_gmsh(path)
    assert "damaged" not in str(error.value)
