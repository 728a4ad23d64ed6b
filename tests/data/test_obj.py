"""Wavefront OBJ: indices of all kinds, groups as parts, and what does not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshops.data import readers
from meshops.data.cells import cells_of
from meshops.errors import InputError

POINTS = "".join(f"v {x} {y} 0\n" for y in (0, 1) for x in (0, 1, 2))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_indices_with_textures_normals_comments_and_counted_back(tmp_path: Path) -> None:
    text = (
        f"# made by hand\nmtllib a.mtl\n{POINTS}vt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 \\\n5/1/1 4/1/1 # a quad\n"
        "f -5//1 -4//1 -1//1\nf 2 6 5\nl 1 2\n"
    )
    read = readers.open_mesh(write(tmp_path / "a.obj", text))
    assert cells_of(read.mesh).nodes.tolist() == [0, 1, 4, 3, 1, 2, 5, 1, 5, 4]
    assert read.notes.cells == {"triangle": 2, "quad": 1} and read.notes.remarks == ["1 lines were left out"]
    assert read.mesh.points.tolist()[5] == [2.0, 1.0, 0.0] and read.notes.precision == "text"


@pytest.mark.parametrize("key", ["o", "g"])
def test_objects_and_groups_are_parts(key: str, tmp_path: Path) -> None:
    text = f"{POINTS}{key} body\nf 1 2 5 4\n{key} wheel 1\nf 2 3 6\n{key} body\nf 2 6 5\n"
    path = write(tmp_path / "a.obj", text)
    read = readers.open_mesh(path)
    assert read.notes.parts == ("body", "wheel 1") and read.cell_part is not None
    assert read.cell_part.tolist() == [0, 1, 0]
    assert readers.read_mesh(path, region="wheel.*").n_cells == 1


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ("f 1 2\n", "face 1 has fewer than three points"),
        ("f 1 2 0\n", "a cell names point -1 of 6"),
        ("f 1 2 -9\n", "a cell names point -3 of 6"),
        ("f 1 2 x\n", "a point or face holds no numbers"),
        ("vn 0 0 1\nf 1//1 2//1 3//2\n", "a face names normal 2 of 1"),
        ("vt 0 0\nf 1/7 2/1 3/1\n", "a face names texture point 7 of 1"),
        ("vn 0 0 1\nvn 0 0 1\nvn 0 0 1\nf 1//1 2//2 3//3\n", "has 6 points and 3 normals"),
        ("", r"the mesh is empty \(no cells\)"),
    ],
)
def test_faces_that_do_not_fit(faces: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"a.obj: {said}"):
        readers.read_mesh(write(tmp_path / "a.obj", POINTS + faces))
