"""Points in text: headers as solvers and viewers write them, units, text among numbers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.data.point_tables import holds_points, read_points
from meshops.data.readers import open_mesh
from meshops.errors import InputError

FILES = {
    "fluent": "nodenumber,  x-coordinate,   y-coordinate,  z-coordinate, pressure, x-velocity, y-velocity, z-velocity\n"
    "  1, 0.1, 0.2, 0.3, 5, 1, 2, 3\n  2, 0.2, 0.2, 0.3, 6, 1, 2, 4\n",
    "star": '"Pressure (Pa)","Velocity[i] (m/s)","Velocity[j] (m/s)","Velocity[k] (m/s)","X (mm)","Y (mm)","Z (mm)"\n'
    "5,1,2,3,100,200,300\n6,1,2,4,200,200,300\n",
    "cfx": "[Name]\nPlane 1\n\n[Data]\nX [ m ], Y [ m ], Z [ m ], Pressure [ Pa ], U_x, U_y, U_z\n"
    "0.1,0.2,0.3,5,1,2,3\n0.2,0.2,0.3,6,1,2,4\n\n[Faces]\n0,1,1\n",
    "paraview": '"p","U:0","U:1","U:2","Points:0","Points:1","Points:2"\n5,1,2,3,0.1,0.2,0.3\n6,1,2,4,0.2,0.2,0.3\n',
    "comsol": "% Model:  a.mph\n% Dimension: 3\n% x   y   z    p (Pa)    spf.x  U.x  U.y  U.z\n"
    "0.1 0.2 0.3 5 0 1 2 3\n0.2 0.2 0.3 6 0 1 2 4\n",
    "decimal commas": "x;y;z;p;Ux;Uy;Uz\n0,1;0,2;0,3;5;1;2;3\n0,2;0,2;0,3;6;1;2;4\n",
    "blanks": "# x y z p Ux Uy Uz\n0.1 0.2 0.3 5 1 2 3\n0.2 0.2 0.3 6 1 2 4\n",
    "text": "patch,x,y,z,p,Ux,Uy,Uz\nwall,0.1,0.2,0.3,5,1,2,3\ninlet,0.2,0.2,0.3,6,1,2,4\n",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("ending", [".csv", ".txt"])
def test_the_same_points_in_every_dialect(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"case{ending}"
    path.write_text(FILES[name])
    assert holds_points(path)
    mesh = open_mesh(path).mesh
    np.testing.assert_allclose(mesh.points, [[0.1, 0.2, 0.3], [0.2, 0.2, 0.3]], atol=1e-7)
    data = {key.lower(): np.asarray(mesh.point_data[key]) for key in mesh.point_data}
    pressure = next(values for key, values in data.items() if key in ("p", "pressure"))
    vector = next(values for key, values in data.items() if values.ndim == 2)
    assert pressure.tolist() == [5, 6] and vector.tolist() == [[1, 2, 3], [1, 2, 4]]


def test_two_coordinates_are_a_plane_and_millimetres_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("X (mm),Y (mm),T (K)\n0,1000,290\n1000,0,300\n")
    read = read_points(path)
    assert np.asarray(read.mesh.points).tolist() == [[0, 1, 0], [1, 0, 0]] and "T" in read.mesh.point_data
    assert "'X' is in mm, brought to metres" in read.notes.remarks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,drag,speed\n1,2,3\n2,3,4\n", "no columns of coordinates among 'case', 'drag', 'speed'"),
        ("0 1 2\n1 2 3\n", "no row of numbers below a header"),
        ("x,y,z\n0,1,2\n1,2,3\n", "holds places of points and no values"),
        ("x,y,p\n0,1,2\n1,2\n", "row 2 of numbers: 2 values for 3 columns"),
    ],
)
def test_what_is_no_table_of_points_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        open_mesh(path)
    assert not holds_points(path) or "row 2" in message


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 4), min_size=1, max_size=20), st.sampled_from(",;\t "))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]], mark: str
) -> None:
    path = tmp_path_factory.mktemp("points") / "a.csv"
    path.write_text("\n".join(mark.join(map(repr, row)) if row else "" for row in [*rows]) + "\n")
    path.write_text(mark.join(["x", "y", "z", "p"]) + "\n" + path.read_text())
    mesh = read_points(path).mesh
    np.testing.assert_allclose(np.asarray(mesh.points), np.array(rows)[:, :3], rtol=1e-6)
    np.testing.assert_array_equal(mesh.point_data["p"], np.array(rows)[:, 3])
