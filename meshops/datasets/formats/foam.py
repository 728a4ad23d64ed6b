"""OpenFOAM cases as text: mesh by faces, fields at cells and patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meshops.solvers.tunnel import FaceMesh

Array = np.ndarray[Any, Any]

CONTROL = """application potentialFoam;
startFrom latestTime;
startTime 0;
stopAt endTime;
endTime {time};
deltaT 1;
writeControl timeStep;
writeInterval {time};
writeFormat ascii;
"""
SCHEMES = """ddtSchemes { default steadyState; }
gradSchemes { default Gauss linear; }
divSchemes { default none; }
laplacianSchemes { default Gauss linear corrected; }
interpolationSchemes { default linear; }
snGradSchemes { default corrected; }
"""
WALLS = ("body", "ground")


def write_mesh_files(folder: Path, mesh: FaceMesh) -> None:
    """Write ``constant/polyMesh`` and what a case needs beside it."""
    poly = folder / "constant" / "polyMesh"
    cells, inner = len(mesh.centres), len(mesh.neighbour)
    sizes = f"nPoints:{len(mesh.points)} nCells:{cells} nFaces:{len(mesh.faces)} nInternalFaces:{inner}"
    place = "constant/polyMesh"
    _write(poly / "points", "vectorField", place, _rows(mesh.points))
    faces = "".join(f"4({a} {b} {c} {d})\n" for a, b, c, d in mesh.faces.tolist())
    _write(poly / "faces", "faceList", place, f"{len(mesh.faces)}\n(\n{faces})\n")
    _write(poly / "owner", "labelList", place, _rows(mesh.owner), note=sizes)
    _write(poly / "neighbour", "labelList", place, _rows(mesh.neighbour), note=sizes)
    patches = "".join(
        f"    {name}\n    {{\n        type {'wall' if name in WALLS else 'patch'};\n"
        f"        nFaces {part.stop - part.start};\n        startFace {part.start};\n    }}\n"
        for name, part in mesh.patches.items()
    )
    _write(poly / "boundary", "polyBoundaryMesh", place, f"{len(mesh.patches)}\n(\n{patches})\n")


def write_settings(folder: Path, *, time: int) -> None:
    """Write ``system`` of a case that ends at a time."""
    _write(folder / "system" / "controlDict", "dictionary", "system", CONTROL.format(time=time))
    _write(folder / "system" / "fvSchemes", "dictionary", "system", SCHEMES)
    _write(folder / "system" / "fvSolution", "dictionary", "system", "solvers {}\n")


def write_field(
    folder: Path, time: str, name: str, dimensions: Sequence[int], inside: Array, patches: Mapping[str, Array]
) -> None:
    """Write a field of one time: ``[c]`` or ``[c, 3]`` inside and the same at the faces of each patch.

    A single row stands for all cells or faces.
    """
    kind = "scalar" if inside.ndim == 1 else "vector"
    blocks = "".join(
        f"    {patch}\n    {{\n        type calculated;\n        value {_value(values, kind)};\n    }}\n"
        for patch, values in patches.items()
    )
    units = " ".join(map(str, dimensions))
    text = f"dimensions [{units}];\n\ninternalField {_value(inside, kind)};\n\nboundaryField\n{{\n{blocks}}}\n"
    _write(folder / time / name, f"vol{kind.capitalize()}Field", time, text)


def _value(values: Array, kind: str) -> str:
    if len(values) == 1:
        return f"uniform {_row(values[0])}"
    return f"nonuniform List<{kind}>\n{_rows(values)}"


def _rows(values: Array) -> str:
    return f"{len(values)}\n(\n" + "".join(f"{_row(row)}\n" for row in values) + ")\n"


def _row(row: Any) -> str:
    if np.ndim(row):
        return "(" + " ".join(f"{number:.9g}" for number in row) + ")"
    return str(int(row)) if isinstance(row, np.integer) else f"{row:.9g}"


def _write(path: Path, kind: str, place: str, text: str, *, note: str = "") -> None:
    told = f'    note "{note}";\n' if note else ""
    head = (
        f"FoamFile\n{{\n    version 2.0;\n    format ascii;\n    class {kind};\n{told}"
        f'    location "{place}";\n    object {path.name};\n}}\n'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + text, encoding="utf-8")
