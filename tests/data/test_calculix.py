"""Results of CalculiX, laid out as ccx 2.15 to 2.22 write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from pyvista.examples import cells as kinds

from meshops.data import readers
from meshops.data.calculix import KINDS
from meshops.data.cells import cells_of
from meshops.data.surface import volume_geometry
from meshops.errors import InputError

COUNTS = {1: 8, 2: 6, 3: 4, 4: 20, 5: 15, 6: 10, 7: 3, 8: 6, 9: 4, 10: 8, 11: 2, 12: 3}
SHAPES = {
    1: kinds.Hexahedron, 2: kinds.Wedge, 3: kinds.Tetrahedron, 4: kinds.QuadraticHexahedron, 5: kinds.QuadraticWedge,
    6: kinds.QuadraticTetrahedron, 7: kinds.Triangle, 8: kinds.QuadraticTriangle, 9: kinds.Quadrilateral,
    10: kinds.QuadraticQuadrilateral, 11: kinds.Line, 12: kinds.QuadraticEdge,
}  # fmt: skip
ALL = " -5  ALL         1    2    0    0    1ALL"  # computed by the program that shows it: no values in the file


def number(x: float, digits: int = 2) -> str:
    mantissa, _, exponent = f"{x:12.5E}".partition("E")
    return f"{mantissa.strip()}E{exponent[0]}{int(exponent[1:]):0{digits}d}".rjust(12)


def frd(
    path: Path, kind: int, *, times: Sequence[float] = (0.5, 1.0), digits: int = 2, materials: Sequence[int] = (1, 1)
) -> np.ndarray:  # fmt: skip
    """Two cells of a kind; DISP = time x position, a stress with six components, a temperature. Gives the points."""
    shape = SHAPES[kind]()
    points = np.round(np.concatenate([shape.points, np.asarray(shape.points) + np.array([5.0, 0, 0])]), 4)
    count, order = COUNTS[kind], KINDS[kind][1]
    names = np.arange(len(points)) * 3 + 7  # numbers of nodes need not be 1, 2, 3
    out = ["    1C", "    1UPGM               CalculiX"]
    out += [f"    2C{'':18}{len(points):12d}{'':37}1"]
    out += [f" -1{name:10d}" + "".join(number(x, digits) for x in p) for name, p in zip(names, points, strict=True)]
    out += [" -3", f"    3C{'':18}{2:12d}{'':37}1"]
    for cell, material in enumerate(materials):
        mine = np.empty(count, dtype=int)
        mine[list(order)] = names[cell * count : (cell + 1) * count]
        out += [f" -1{cell + 1:10d}{kind:5d}{0:5d}{material:5d}"]
        out += [" -2" + "".join(f"{i:10d}" for i in mine[j : j + 10]) for j in range(0, count, 10)]
    out += [" -3"]
    for time in times:
        disp = (
            ("DISP", 4, [*(f" -5  D{i}          1    2    {i}    0" for i in (1, 2, 3)), ALL], time * points),
            ("STRESS", 6, [f" -5  {c}         1    4    1    1" for c in ("SXX", "SYY", "SZZ", "SXY", "SYZ", "SZX")],
             np.outer(points[:, 0], -np.arange(1.0, 7))),
            ("NDTEMP", 1, [" -5  T           1    1    0    0"], 300 + points[:, :1]),
        )  # fmt: skip
        for label, num, components, values in disp:
            out += ["    1PSTEP                         1           1           1"]
            out += [f"  100CL  101{number(time, digits):>12}{len(points):12d}{'':20} 0{1:5d}{'':10} 1"]
            out += [f" -4  {label:8s}{num:5d}    1", *components]
            out += [
                f" -1{n:10d}" + "".join(number(x, digits) for x in row) for n, row in zip(names, values, strict=True)
            ]
            out += [" -3"]
    path.write_text("\n".join([*out, " 9999"]) + "\n")
    return points


@pytest.mark.parametrize("digits", [2, 3])
@pytest.mark.parametrize("kind", SHAPES)
def test_every_kind_of_element(kind: int, digits: int, tmp_path: Path) -> None:
    points = frd(tmp_path / "a.frd", kind, digits=digits)
    read = readers.open_mesh(tmp_path / "a.frd")
    assert np.allclose(read.mesh.points, points) and read.notes.time == 1.0 and read.notes.times == (0.5, 1.0)
    assert cells_of(read.mesh).nodes.tolist() == list(range(2 * COUNTS[kind]))
    assert np.allclose(read.mesh.point_data["DISP"], points, rtol=1e-5)
    assert np.allclose(read.mesh.point_data["STRESS"], np.outer(points[:, 0], -np.arange(1.0, 7)), rtol=1e-5)
    assert read.mesh.point_data["NDTEMP"].shape == (len(points),) and not read.notes.remarks
    half = readers.read_mesh(tmp_path / "a.frd", time=0.5)
    assert np.allclose(half.point_data["DISP"], 0.5 * points, rtol=1e-5)
    if kind <= 6:
        assert np.allclose(*volume_geometry(read.mesh)[1])  # both cells are the same and not inside out
        assert volume_geometry(read.mesh)[1].min() > 0


def test_the_brick_of_ccx_keeps_its_middle_nodes(tmp_path: Path) -> None:
    """In the file the middles of the upright edges come before those of the top."""
    order = KINDS[4][1]
    brick = pv.UnstructuredGrid(np.r_[20, np.arange(20)], [25], kinds.QuadraticHexahedron().points)
    assert [order[i] for i in range(12, 20)] == [16, 17, 18, 19, 12, 13, 14, 15]
    middles = np.asarray(brick.points)
    assert np.allclose(middles[16], (middles[0] + middles[4]) / 2) and np.allclose(
        middles[12], (middles[4] + middles[5]) / 2
    )


def test_materials_are_parts(tmp_path: Path) -> None:
    frd(tmp_path / "a.frd", 3, materials=(1, 4))
    read = readers.open_mesh(tmp_path / "a.frd")
    assert read.notes.parts == ("material_1", "material_4") and read.cell_part is not None
    assert read.cell_part.tolist() == [0, 1]
    assert readers.read_mesh(tmp_path / "a.frd", region="material_4").n_points == 4


def test_files_that_end_early_or_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.frd"
    frd(path, 3)
    whole = path.read_text()
    path.write_text(whole.replace(" 9999\n", ""))
    assert "the last line (9999) is missing" in " ".join(readers.open_mesh(path).notes.remarks)
    path.write_text(whole[: int(0.9 * len(whole))])
    with pytest.raises(InputError, match=r"a.frd: the file is damaged or cut off"):
        readers.read_mesh(path)
    path.write_text(whole.replace(" -1        28", " -1        29"))
    with pytest.raises(InputError, match="an element names points that are not there"):
        readers.read_mesh(path)
    lines = [line for line in whole.splitlines() if not line.startswith(" -1         7 3.0")]
    path.write_text("\n".join(lines))
    assert "'NDTEMP' is missing at 1 of 8 points: NaN there" in readers.open_mesh(path).notes.remarks
    lines = whole.splitlines()
    lines[2] = lines[2][:73] + "2"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"a binary .frd file"):
        readers.read_mesh(path)
