"""Stand-ins of the DrivAer sets: shipped Ahmed bodies under their file names, arrays and speed. Layout, not data."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

from meshops.aero.conditions import FlowConditions
from meshops.data.writers import write_mesh
from meshops.datasets.ahmed.mini import FIELDS, AhmedMini, outward_triangles
from meshops.errors import InputError
from meshops.io import write_bytes

Array = np.ndarray[Any, Any]


def write_runs(root: str | Path, num: int, *, name: str, flow: FlowConditions, fields: Sequence[str]) -> Path:
    """Write ``num`` cases in the layout of DrivAerML: pressure and shear per polygon, grown by speed squared.

    Raises:
        InputError: There are 1 to 30 bodies.
    """
    mini = _bodies(num, name)
    for index in range(num):
        run = mini.runs[index]
        folder = Path(root) / f"run_{run}"
        mesh = mini.mesh(index)
        for old, new in zip(FIELDS, fields, strict=True):
            values = np.asarray(mesh.cell_data[old]) * flow.speed**2
            del mesh.cell_data[old]
            mesh.cell_data[new] = values.astype(np.float32)
        write_mesh(mesh, folder / f"boundary_{run}.vtp")
        write_mesh(outward_triangles(mesh), folder / f"drivaer_{run}.stl")
        parameters = dict(mini.parameters(index))
        area = parameters.pop("frontal-area")
        forces = {name.capitalize(): value for name, value in mini.numbers_of(index).items()}
        _write_table(folder / f"force_mom_{run}.csv", [forces])
        _write_table(folder / f"geo_parameters_{run}.csv", [parameters])
        _write_table(folder / f"geo_ref_{run}.csv", [{"aRef": area}])
    return Path(root)


def write_designs(root: str | Path, num: int, *, name: str, flow: FlowConditions) -> Path:
    """Write ``num`` designs in the layout of DrivAerNet++: two files of values at points, in different orders.

    Raises:
        InputError: There are 1 to 30 bodies.
    """
    mini, root = _bodies(num, name), Path(root)
    rows: list[dict[str, Any]] = []
    ids = [f"N_S_WWS_WM_{run:03d}" for run in mini.runs[:num]]
    for index, design in enumerate(ids):
        mesh = mini.mesh(index).cell_data_to_point_data()
        points, triangles = np.asarray(mesh.points), np.asarray(outward_triangles(mesh).regular_faces)
        pressure, shear = (np.asarray(mesh.point_data[name]) * np.float32(flow.speed**2) for name in FIELDS)
        order = np.random.default_rng(index).permutation(len(points))
        for folder, field, values, place in (
            ("PressureVTK", "p", pressure, np.arange(len(points))),
            ("WallShearStressVTK_Updated", "wallShearStress", shear, order),
        ):
            surface = pv.PolyData.from_regular_faces(points[place], np.argsort(place)[triangles])
            surface.point_data[field] = values[place]
            write_mesh(surface, root / folder / "N_S_WWS_WM" / f"{design}.vtk")
        forces, parameters = mini.numbers_of(index), dict(mini.parameters(index))
        del parameters["frontal-area"]
        averages = {"Average Cd": forces["cd"], "Average Cl": forces["cl"]}
        rows.append({"Experiment": design} | parameters | averages)
    _write_table(root / "ParametricModels" / "DrivAerNet_ParametricData.csv", rows)
    test = max(1, num // 5)
    parts = {"train": ids[: num - 2 * test], "val": ids[num - 2 * test : num - test], "test": ids[num - test :]}
    for split, members in parts.items():
        text = "".join(f"{design}\n" for design in members)
        write_bytes(root / "train_val_test_splits" / f"{split}_design_ids.txt", text.encode())
    return root


def _bodies(num: int, name: str) -> AhmedMini:
    mini = AhmedMini("all")
    if not 1 <= num <= len(mini):
        raise InputError(f"{name}.standin: num must be 1..{len(mini)}, got {num}")
    return mini


def _write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    write_bytes(path, text.getvalue().encode())
