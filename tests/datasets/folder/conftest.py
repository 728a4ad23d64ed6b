"""Small studies written to disk, each in its own layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv


def plate(n: int = 5, *, axis: int = 2, stretch: float = 1.0) -> pv.UnstructuredGrid:
    """A plane of triangles in the plane without ``axis``."""
    grid = pv.ImageData(dimensions=(n, n, 1), spacing=(stretch / (n - 1), 1 / (n - 1), 1)).cast_to_unstructured_grid()
    mesh = grid.triangulate()
    points = np.asarray(mesh.points, dtype=np.float64)
    mesh.points = points[:, [[2, 0, 1], [0, 2, 1], [0, 1, 2]][axis]]
    mesh.clear_data()
    return mesh


def with_pressure(mesh: pv.DataSet, value: float) -> pv.DataSet:
    """A pressure that grows with a number."""
    mesh.point_data["pressure"] = 100 * value * (1 + mesh.points[:, 0] + mesh.points[:, 1] ** 2)
    return mesh


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """``run_<i>.vtu`` for i = 1, 2, 10, 11, 12, 20 and a table matched by number."""
    folder = tmp_path / "flat"
    folder.mkdir()
    rows = ["run;speed [m/s];density (kg/m^3);drag [N]"]
    for i in (1, 2, 10, 11, 12, 20):
        with_pressure(plate(stretch=1 + i / 20), i).save(folder / f"run_{i}.vtu")
        rows.append(f"{i};{10.0 + i};1.2;{3.5 * i}")
    (folder / "table.csv").write_text("\n".join([rows[0], *reversed(rows[1:])]), encoding="utf-8-sig")
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write meshes by relative path; returns the folder."""

    def made(meshes: dict[str, pv.DataSet], **texts: str) -> Path:
        folder = tmp_path / "study"
        for name, mesh in meshes.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            mesh.save(path)
        for name, text in texts.items():
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        return folder

    return made
