"""SU2 meshes in all dialects give the mesh they were written from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshops.data.cells import cells_of
from meshops.data.readers import read, read_mesh
from meshops.data.su2 import read_su2
from meshops.data.surface import volume_geometry
from meshops.errors import InputError


@dataclass
class Zone:
    points: list[tuple[float, ...]]
    cells: list[tuple[int, ...]]  # type, nodes
    markers: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)


def random_zone(seed: int, dim: int) -> Zone:
    """Triangles and quads, or all four shapes of volume cells, with markers."""
    r = np.random.default_rng(seed)
    n = int(r.integers(6, 20))
    points = [tuple(row) for row in (r.normal(size=(n, dim)) * 10.0 ** r.integers(-8, 8, (n, dim))).tolist()]
    kinds = {2: {5: 3, 9: 4}, 3: {10: 4, 12: 8, 13: 6, 14: 5}}[dim]
    flat = {2: {3: 2}, 3: {5: 3, 9: 4}}[dim]

    def some(of: dict[int, int], count: int) -> list[tuple[int, ...]]:
        kind = r.choice(list(of), count).tolist()
        return [(k, *(int(i) for i in r.choice(n, of[k], replace=n < of[k]))) for k in kind]

    count = int(r.integers(1, 12))
    return Zone(points, some(kinds, count), {"air foil": some(flat, 3), "far": some(flat, 2), "empty": []})


def write_su2(
    zones: list[Zone],
    seed: int,
    *,
    newline: str = "\n",
    comments: bool = False,
    index: str = "all",
    scatter: bool = False,
) -> bytes:
    """``index``: trailing numbers on all, no or some lines; ``scatter``: keywords in any order."""
    r = np.random.default_rng(seed)

    def say(line: str) -> list[str]:
        if not comments:
            return [line]
        return [
            *(["% NPOIN= 7 a comment that looks like more"] if r.random() < 0.2 else []),
            *([""] if r.random() < 0.2 else []),
            line + ("   % inline 1 2 3" if r.random() < 0.3 else ""),
        ]

    def number(value: float) -> str:
        text = [repr(value), f"{value:.17e}", f"{value:.17E}".replace("E", "D")][int(r.integers(3))]
        return text + (" " if r.random() < 0.5 else "\t")

    def tail(i: int) -> str:
        return f" {i}" if index == "all" or (index == "some" and r.random() < 0.5) else ""

    lines = say(f"NZONE= {len(zones)}") if len(zones) > 1 else []
    for z, zone in enumerate(zones, start=1):
        dim = len(zone.points[0])
        lines += say(f"IZONE = {z}") if len(zones) > 1 else []
        blocks = [
            say(f"NDIME= {dim}"),
            say(f"NELEM={len(zone.cells)}")
            + [x for i, c in enumerate(zone.cells) for x in say("  " + " ".join(map(str, c)) + tail(i))],
            say(f"NPOIN= {len(zone.points)}" + (f" {len(zone.points)}" if r.random() < 0.5 else ""))
            + [x for i, p in enumerate(zone.points) for x in say("".join(map(number, p)) + tail(i))],
        ]
        marker = say(f"NMARK= {len(zone.markers)}")
        for tag, cells in zone.markers.items():
            marker += say(f"MARKER_TAG= {tag}") + say(f"MARKER_ELEMS= {len(cells)}")
            marker += [x for i, c in enumerate(cells) for x in say(" ".join(map(str, c)) + tail(i))]
        blocks += [marker, [*say("MARKER_TAG= SEND_RECEIVE"), "MARKER_ELEMS= 1", "SEND_RECV= 1", "1 0 0"]]
        order = r.permutation(len(blocks)) if scatter else range(len(blocks))
        lines += [line for i in order for line in blocks[i]]
    return newline.join(lines).encode() + newline.encode()


def cells_as_written(mesh: object) -> list[tuple[int, ...]]:
    cells = cells_of(mesh)  # type: ignore[arg-type]
    return [(int(k), *p.tolist()) for k, p in zip(cells.kind, np.split(cells.nodes, cells.start[1:]), strict=True)]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    dim=st.sampled_from([2, 3]),
    count=st.integers(1, 3),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    comments=st.booleans(),
    index=st.sampled_from(["all", "none", "some"]),
    scatter=st.booleans(),
)
def test_all_dialects_give_the_source(
    seed: int, dim: int, count: int, newline: str, comments: bool, index: str, scatter: bool, tmp_path: Path
) -> None:
    zones = [random_zone(seed + i, dim) for i in range(count)]
    path = tmp_path / "a.su2"
    path.write_bytes(
        write_su2(zones, seed, newline=newline, comments=comments, index=index, scatter=scatter and count == 1)
    )
    out = read_su2(path)
    points = [p for zone in zones for p in zone.points]
    assert np.array_equal(out.mesh.points[:, :dim], np.array(points)) and out.mesh.points.dtype == np.float64
    shift = np.cumsum([0, *(len(zone.points) for zone in zones)])
    wanted = [(c[0], *(i + s for i in c[1:])) for zone, s in zip(zones, shift, strict=False) for c in zone.cells]
    assert cells_as_written(out.mesh) == wanted
    assert any("SEND_RECEIVE" in line for line in out.notes.lines())
    # A marker of the last zone, by its points.
    name = "air foil" if count == 1 else f"zone_{count}/air foil"
    lines = read_su2(path, region=name)
    ids = lines.mesh.point_data["su2:point"]
    found = [(c[0], *(int(ids[i]) - shift[count - 1] for i in c[1:])) for c in cells_as_written(lines.mesh)]
    assert found == zones[-1].markers["air foil"]
    every = read_su2(path, region="air foil")
    assert every.mesh.n_cells == 3 * count and every.cell_part.tolist() == np.repeat(np.arange(count), 3).tolist()  # type: ignore[union-attr]
    if count > 1:
        assert read_su2(path, region="zone_2").mesh.n_cells == len(zones[1].cells)
        assert read_su2(path, region="zone_.").mesh.n_cells == len(wanted)
    with pytest.raises(InputError, match=r"there is no part 'airfoil'; did you mean .*'empty'"):
        read_su2(path, region="airfoil")


def test_files_of_the_field_are_one_mesh(shared_data: Path) -> None:
    folder = shared_data / "field" / "su2-line-ends" / "input"
    meshes = [read_mesh(path) for path in sorted(folder.glob("*.su2"))]
    assert len(meshes) == 4
    for mesh in meshes:
        assert mesh.n_cells == 576 and mesh.n_points == 625 and mesh.area == pytest.approx(0.25, rel=1e-12)
        assert np.array_equal(mesh.points, meshes[0].points)
    assert read_mesh(folder / "commented_windows.su2", region="lower").n_cells == 24
    assert read(folder / "commented_windows.su2").num_cells == 576


@pytest.mark.parametrize(
    ("kind", "name", "order"),
    [
        (205, "triangle", 3), (209, "quad", 3), (212, "hexahedron", 3), (305, "triangle", 4), (105, "triangle", 2),
        (22, "triangle", 2),
    ],
)  # fmt: skip
def test_high_order_is_refused_by_name(kind: int, name: str, order: int, tmp_path: Path) -> None:
    path = tmp_path / "a.su2"
    nodes = " ".join(map(str, range(30)))
    points = "\n".join(f"{i} {i * i}" for i in range(30))
    path.write_text(f"NDIME= 2\nNELEM= 1\n{kind} {nodes}\nNPOIN= 30\n{points}\n")
    with pytest.raises(InputError, match=rf"order {order} elements are not supported \({name}") as error:
        read_mesh(path)
    assert "damaged" not in str(error.value)


def test_halo_points_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.su2"
    path.write_text("NDIME= 2\nNELEM= 1\n5 0 1 2\nNPOIN= 5 3\n0 0\n1 0\n0 1\n5 5\n6 6\n")
    assert any("2 of the 5 points are halo points" in line for line in read_su2(path).notes.lines())


def test_byte_order_mark_and_lower_case(tmp_path: Path) -> None:
    path = tmp_path / "a.su2"
    path.write_bytes(
        b"\xef\xbb\xbfndime = 3\r\nnelem = 1\r\n10 0 1 2 3\r\nnpoin=4\r\n0 0 0\r\n1 0 0\r\n0 1 0\r\n0 0 1\r\n"
    )
    assert volume_geometry(read_mesh(path))[1].tolist() == pytest.approx([1 / 6])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("NDIME= 2\nNELEM= 3\n5 0 1 2\n", "3 elements are announced and 1 follow"),
        ("NDIME= 2\nNELEM= 1\n5 0 1 2\n", "there is no NPOIN"),
        ("NELEM= 1\n5 0 1 2\nNPOIN= 3\n0 0\n1 0\n0 1\n", "there is no NDIME"),
        ("NDIME= 2\nNELEM= 1\n5 0 1 9\nNPOIN= 3\n0 0\n1 0\n0 1\n", "a cell names point 9 of 3"),
        ("NDIME= 2\nNELEM= 1\n5 0 1\nNPOIN= 3\n0 0\n1 0\n0 1\n", "element 0 of type 5 has 2 numbers and 3 nodes"),
        ("NDIME= 2\nNELEM= 1\n77 0 1 2\nNPOIN= 3\n0 0\n1 0\n0 1\n", "element type 77 is not known"),
        ("NDIME= 2\nNELEM= 1\n5 0 x 2\nNPOIN= 3\n0 0\n1 0\n0 1\n", "holds text where numbers belong"),
        ("NDIME= 4\nNELEM= 1\n5 0 1 2\nNPOIN= 3\n0 0\n1 0\n0 1\n", "NDIME= 4, allowed are 2 and 3"),
        ("NZONE= 3\nIZONE= 1\nNDIME= 2\nNELEM= 1\n5 0 1 2\nNPOIN= 3\n0 0\n1 0\n0 1\n", "says NZONE= 3 but holds 1"),
        ("solid thing\n", "is no SU2 mesh"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.su2"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_mesh(path)
