"""The dictionaries of a case, read back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from meshops.data.readers import read_mesh
from meshops.errors import InputError
from meshops.solvers.ahmed_body import ahmed_body
from meshops.solvers.openfoam.ahmed_case import (
    RANGES,
    AhmedSettings,
    draw_shape,
    is_symmetric,
    parameters_of,
    write_body_case,
    write_case,
)


def balanced(text: str) -> bool:
    """Every bracket closes."""
    depth, pairs = [], {")": "(", "}": "{", "]": "["}
    for sign in re.sub(r"\"[^\"]*\"", "", text):
        if sign in pairs.values():
            depth.append(sign)
        elif sign in pairs and (not depth or depth.pop() != pairs[sign]):
            return False
    return not depth


@pytest.mark.parametrize("half", [True, False])
def test_every_file_of_a_case_is_whole_and_names_the_patches(tmp_path: Path, half: bool) -> None:
    shape = draw_shape(0, 1)
    write_case(tmp_path, shape, AhmedSettings(half=half, speed=20.0, upwind=0.25), edge=0.05)
    files = {
        str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.suffix != ".stl" and p.is_file()
    }
    assert {"0/U", "0/p", "0/k", "0/omega", "0/nut", "constant/transportProperties", "constant/turbulenceProperties",
            "system/blockMeshDict", "system/controlDict", "system/fvSchemes", "system/fvSolution",
            "system/snappyHexMeshDict"} == set(files)  # fmt: skip
    assert all(balanced(text) for text in files.values())
    patches = {"inlet", "outlet", "sides", "ground", "body"} | ({"symmetry"} if half else set())
    for name in ("U", "p", "k", "omega", "nut"):
        blocks = files[f"0/{name}"].partition("boundaryField")[2]
        assert set(re.findall(r"^    (\w+)\n    \{", blocks, re.MULTILINE)) == patches
    for patch in patches - {"body"}:
        assert re.search(rf"\b{patch}\b", files["system/blockMeshDict"])
    assert "nu 7.5e-07;" in files["constant/transportProperties"]
    assert "fixedBlended 0.75 linearUpwind grad(U) upwind" in files["system/fvSchemes"]
    body = read_mesh(tmp_path / "constant" / "triSurface" / "body.stl")
    assert np.ptp(np.asarray(body.points), axis=0) == pytest.approx([shape.length, shape.width, shape.height], rel=1e-5)


def test_a_body_depends_on_seed_and_number_alone_and_lies_in_the_ranges() -> None:
    bodies = [draw_shape(3, i) for i in range(1, 30)]
    assert draw_shape(3, 7) == bodies[6] != draw_shape(4, 7)
    for name, (low, high) in RANGES.items():
        values = [getattr(body, name) for body in bodies]
        assert low <= min(values)
        assert max(values) <= high
        assert np.ptp(values) > 0.5 * (high - low)
    slant = draw_shape(3, 7, {"slant_angle": (25.0, 25.0)})
    assert slant.slant_angle == 25.0
    assert slant.length == bodies[6].length
    assert parameters_of(slant)["frontal-area"] == slant.width * slant.height


def test_what_makes_no_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'slant_angle'"):
        draw_shape(0, 1, {"slant_angel": (1.0, 2.0)})
    with pytest.raises(InputError, match="cells must be at least 2000, got 10"):
        AhmedSettings(cells=10)
    with pytest.raises(InputError, match="upwind must be 0 to 1"):
        AhmedSettings(upwind=1.5)
    body = ahmed_body(1.044, 0.389, 0.288, 0.1, 0.222, 25.0, 0.05, edge=0.08)
    assert is_symmetric(body)
    aside = body.copy()
    aside.points = np.asarray(body.points) + np.array([0, 0.02, 0])
    with pytest.raises(InputError, match="not its own mirror image"):
        write_body_case(tmp_path, aside, AhmedSettings())
    aside.points = np.asarray(body.points) - np.array([0, 0, 0.1])
    with pytest.raises(InputError, match="below the ground"):
        write_body_case(tmp_path, aside, AhmedSettings())
