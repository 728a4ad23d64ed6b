"""STL as programs write it: what leaves no doubt is read and said, what ends too early is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshops.data import readers, surface
from meshops.data.cells import cells_of
from meshops.errors import InputError

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def triangles(count: int = 0, seed: int = 0) -> np.ndarray:
    """Corners ``[t, 3, 3]`` float32 of a ball, or of so many triangles anywhere."""
    if count:
        return np.random.default_rng(seed).random((count, 3, 3)).astype(np.float32)
    ball = pv.Sphere(theta_resolution=8, phi_resolution=6)
    return np.asarray(ball.points[cells_of(ball).nodes.reshape(-1, 3)], dtype=np.float32)


def text(corners: np.ndarray, *, name: str = "part", number: str = "{:.9g}") -> str:
    lines = [f"solid {name}"]
    for triangle in corners:
        lines += ["facet normal 0 0 0", "outer loop"]
        lines += ["vertex " + " ".join(number.format(float(x)) for x in point) for point in triangle]
        lines += ["endloop", "endfacet"]
    return "\n".join([*lines, f"endsolid {name}"]) + "\n"


def binary(corners: np.ndarray, *, header: bytes = b"", count: int | None = None) -> bytes:
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *map(float, triangle.ravel()), 0) for triangle in corners)
    return header.ljust(80, b"\0") + struct.pack("<I", (len(corners) if count is None else count) % 2**32) + body


def corners_of(path: Path) -> np.ndarray:
    mesh = readers.read_mesh(path)
    points = np.asarray(mesh.points)
    assert np.unique(points, axis=0).shape == points.shape  # no point twice
    return points[cells_of(mesh).nodes.reshape(-1, 3)].astype(np.float32)


@QUIET
@given(
    count=st.integers(1, 12), seed=st.integers(0, 99), end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.sampled_from(["", "\ufeff"]), case=st.sampled_from(["upper", "lower", "capitalize"]),
    loop=st.sampled_from(["endloop", "end loop", "endloop "]), solid=st.sampled_from(["endsolid", "end solid"]),
    indent=st.sampled_from(["", "  ", "\t"]), name=st.text(st.characters(codec="utf-8"), max_size=300),
    after=st.sampled_from(["", "\n\n", "\nmade by a program\n" + "-" * 700]),
)  # fmt: skip
def test_any_dialect_of_text(
    count: int, seed: int, end: str, mark: str, case: str, loop: str, solid: str, indent: str, name: str, after: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    corners = triangles(count, seed)
    clean = "".join(c if c.isprintable() else "_" for c in name)
    body = text(corners, name="").replace("endloop", loop).replace("endsolid", solid)
    lines = [indent + getattr(line, case)() for line in body.splitlines()]
    lines[0] += f" {clean}"
    path = tmp_path / "a.stl"
    path.write_bytes((mark + end.join(lines) + end + after.replace("\n", end)).encode())
    assert np.array_equal(corners_of(path), corners)
    remarks = " ".join(readers.open_mesh(path).notes.remarks)
    assert ("byte order mark" in remarks) == bool(mark)
    assert ("stands apart" in remarks) == ("end " in loop + solid and (" loop" in loop or " solid" in solid))
    assert ("behind the last 'endsolid'" in remarks) == bool(after.strip())


@QUIET
@given(
    count=st.integers(1, 12), seed=st.integers(0, 99), header=st.sampled_from([b"", b"solid x", b"solid facet vertex"]),
    stated=st.sampled_from(["right", 0, -1, -2]), trailing=st.integers(0, 49),
)  # fmt: skip
def test_any_dialect_of_binary(
    count: int, seed: int, header: bytes, stated: str | int, trailing: int, tmp_path: Path
) -> None:
    corners = triangles(count, seed)
    raw = binary(corners, header=header, count=None if stated == "right" else int(stated))
    path = tmp_path / "a.stl"
    path.write_bytes(raw + (bytes(trailing) if stated == "right" else b""))
    assert np.array_equal(corners_of(path), corners)
    remarks = readers.open_mesh(path).notes.remarks
    assert any("is not set" in remark for remark in remarks) == (stated != "right")
    assert any("bytes behind" in remark for remark in remarks) == (stated == "right" and trailing > 0)


@QUIET
@given(count=st.integers(2, 9), share=st.floats(0.05, 0.99), form=st.sampled_from(["text", "binary"]))
def test_a_file_that_is_cut_off_is_refused(count: int, share: float, form: str, tmp_path: Path) -> None:
    corners = triangles(count)
    raw = text(corners).rstrip().encode() if form == "text" else binary(corners)
    path = tmp_path / "a.stl"
    cut = int(share * len(raw)) if form == "binary" else min(int(share * len(raw)), raw.index(b"endsolid"))
    path.write_bytes(raw[: max(cut, 6)])
    with pytest.raises(InputError, match=r"a.stl: .*(cut off|empty|no STL)"):
        readers.read_mesh(path)


def test_decimal_commas_and_fortran_exponents(tmp_path: Path) -> None:
    corners = triangles(3)
    for i, change in enumerate((lambda s: s.replace(".", ","), lambda s: s.replace("e", "D"))):
        path = tmp_path / f"{i}.stl"
        path.write_text(
            "\n".join(change(line) if line.startswith("vertex") else line
                      for line in text(corners, number="{:.9e}").splitlines())
            .replace("vDrtDx", "vertex")
        )  # fmt: skip
        assert np.array_equal(corners_of(path), corners)
        assert any("decimal comma" in remark for remark in readers.open_mesh(path).notes.remarks)


def test_solids_are_parts(tmp_path: Path) -> None:
    corners = triangles(7)
    path = tmp_path / "a.stl"
    path.write_text(
        text(corners[:3], name="body") + text(corners[3:5], name="wheel_1") + text(corners[5:], name="wheel_2")
    )
    whole = readers.open_mesh(path)
    assert whole.notes.parts == ("body", "wheel_1", "wheel_2") and whole.cell_part is not None
    assert whole.cell_part.tolist() == [0, 0, 0, 1, 1, 2, 2]
    wheels = readers.open_mesh(path, region="wheel.*")
    assert wheels.mesh.n_cells == 4 and wheels.notes.chosen == ("wheel_1", "wheel_2")
    assert np.array_equal(np.float32(wheels.mesh.points)[cells_of(wheels.mesh).nodes].reshape(-1, 3, 3), corners[3:])
    with pytest.raises(InputError, match="there is no part 'wing'; parts: 'body', 'wheel_1', 'wheel_2'"):
        readers.open_mesh(path, region="wing")


def test_names_that_are_words_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "a.stl"
    path.write_text(text(triangles(2), name="vertex 1 2 3 endsolid"))
    assert readers.read_mesh(path).n_cells == 2


def test_a_solid_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.stl"
    first, *rest, last = text(triangles(4)).splitlines()
    path.write_text("\n".join([first, " ".join(rest), last]))
    assert np.array_equal(corners_of(path), triangles(4))


def test_wrong_facets_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.stl"
    lines = text(triangles(3)).splitlines()
    path.write_text("\n".join(line for i, line in enumerate(lines) if i != 11))
    with pytest.raises(InputError, match="facet 2 has fewer than three vertices"):
        readers.read_mesh(path)
    path.write_text(text(triangles(3)).replace("vertex 0", "vertex x", 1))
    with pytest.raises(InputError, match="a vertex is no number"):
        readers.read_mesh(path)


def test_dialects_seen_in_the_field(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "field" / "stl-dialects" / "input"
    for path in sorted(folder.glob("*.stl")):
        read = readers.open_mesh(path)
        centers, normals, areas = surface.outward_geometry(read.mesh)
        assert (read.mesh.n_cells, read.mesh.n_points) == (96, 50), path.name
        assert areas.sum() == pytest.approx(0.465411, rel=1e-5)
        assert np.einsum("ij,ij,i", centers, normals, areas) / 3 == pytest.approx(0.028676, rel=1e-4)
        assert bool(read.notes.remarks) == (path.stem != "plain"), path.name
    plain = (folder / "plain.stl").read_bytes()
    cut = tmp_path / "cut.stl"
    cut.write_bytes(plain[: int(0.6 * len(plain))])
    with pytest.raises(InputError, match="cut off"):
        readers.read_mesh(cut)
