"""Sheets: three modes on a rectangle, told by its width and an angle, and a mass with some noise."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyvista as pv

from meshops.data.graph_files import graph_of_mesh
from meshops.data.mesh_graph import MeshGraph

NOISE = 0.05


def sheet(width: float, angle: float = 0.0) -> pv.UnstructuredGrid:
    """Mesh with the field and the condition in it."""
    mesh = pv.Plane(i_size=width, j_size=1.0, i_resolution=10, j_resolution=8).triangulate().cast_to_unstructured_grid()
    x, y = mesh.points[:, 0] / width, mesh.points[:, 1]
    bump = np.exp(-(x**2 + y**2) / 0.1)
    mode = 0.2 * np.sin(3 * width * angle) * np.cos(2 * np.pi * x) * y
    mesh.point_data["p"] = (width * bump + 2 * angle * x * bump + mode).astype(np.float32)
    mesh.field_data["angle"] = [angle]
    return mesh


def mass(width: float, angle: float) -> float:
    return 2 * width + 0.5 * angle


def drawn(count: int, seed: int) -> list[tuple[float, float, float]]:
    """Width, angle and noisy mass of each case."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform([0.8, -1.0], [1.6, 1.0], (count, 2))
    return [(w, a, mass(w, a) + NOISE * float(rng.normal())) for w, a in rows.tolist()]


def graph(width: float, angle: float, weight: float | None = None, name: str = "") -> MeshGraph:
    out = graph_of_mesh(sheet(width, angle), (), ("p",), label=name, location="point")
    out.conditions = {"angle": angle}
    if name:
        out.name = name
    if weight is not None:
        out.numbers = {"mass": weight}
    return out


def sheets(count: int, *, seed: int = 0, name: str = "sheet") -> list[MeshGraph]:
    return [graph(*row, f"{name}_{i}") for i, row in enumerate(drawn(count, seed))]


def written(folder: Path, count: int, *, seed: int, name: str) -> Path:
    """A folder of such cases with a table."""
    folder.mkdir()
    with (folder / "parameters.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "angle", "mass"])
        for i, (width, angle, weight) in enumerate(drawn(count, seed)):
            mesh = sheet(width, angle)
            mesh.field_data.clear()
            mesh.save(folder / f"{name}_{i}.vtu")
            table.writerow([f"{name}_{i}", angle, weight])
    return folder
