"""Write samples in the layout of PLAID: a CGNS file each with its scalars, and a problem definition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from meshops.data.cgns_files import write_cgns
from meshops.datasets.ahmed.mini import FIELDS, AhmedMini, outward_triangles
from meshops.errors import InputError
from meshops.io import write_bytes

FOLDER = "data/train/sample_{0:09d}/meshes/mesh_000000000.cgns"


def write_plaid_bodies(root: str | Path, num: int = 10, *, test: int | None = None) -> Path:
    """Write ``num`` (3..30) shipped Ahmed bodies as samples of PLAID: triangles, values at vertices, scalars.

    Args:
        root: Folder to write.
        num: Samples.
        test: How many of them, the last ones, the problem tests on; None: a fifth.

    Returns:
        ``root``.

    Raises:
        InputError: Another number.
    """
    mini = AhmedMini("all")
    if not 3 <= num <= len(mini):
        raise InputError(f"write_plaid_bodies: num must be 3..{len(mini)}, got {num}")
    test = max(1, num // 5) if test is None else test
    names: list[str] = []
    for index in range(num):
        mesh = mini.mesh(index).cell_data_to_point_data()
        triangles = np.asarray(outward_triangles(mesh).regular_faces)
        told = {name.replace("-", "_"): value for name, value in mini.parameters(index).items()}
        names = list(told)
        found = {name: value for name, value in mini.numbers_of(index).items() if name in ("cd", "cl")}
        arrays = {name: np.asarray(mesh.point_data[name]) for name in FIELDS}
        write_cgns(
            Path(root) / FOLDER.format(index), np.asarray(mesh.points), {5: triangles}, arrays, scalars=told | found
        )
    _write_problem(Path(root), names, num, test)
    return Path(root)


def _write_problem(root: Path, told: Sequence[str], num: int, test: int) -> None:
    fields = [f"Base/Zone/VertexFields/{name}" for name in FIELDS]
    problem = {
        "input_features": [f"Global/{name}" for name in told],
        "output_features": ["Global/cd", "Global/cl", *fields],
        "train_split": {"train": list(range(num - test))},
        "test_split": {"test": list(range(num - test, num))},
    }
    write_bytes(root / "problem_definitions" / "regression.yaml", yaml.safe_dump(problem, sort_keys=False).encode())
