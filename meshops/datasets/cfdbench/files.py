"""Simulations written in the layout of CFDBench."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from meshops.errors import InputError
from meshops.io import write_bytes
from meshops.solvers.simulation import Simulation


def write_case(run: Simulation, folder: Path) -> Path:
    """``u.npy``, ``v.npy`` (``[t, rows, columns]``, row 0 at the lowest y) and ``case.json``.

    Raises:
        InputError: The folder exists, or the simulation has no velocity in the plane.
    """
    if folder.exists():
        raise InputError(f"{folder}: exists; choose another folder or remove it")
    if run.velocity is None or run.dim != 2:
        raise InputError("CFDBench holds velocities in the plane; this simulation has none")
    folder.mkdir(parents=True)
    velocity = run.fields[run.velocity].transpose(1, 2).contiguous().numpy()
    for axis, name in enumerate(("u", "v")):
        buffer = io.BytesIO()
        np.save(buffer, velocity[..., axis], allow_pickle=False)
        write_bytes(folder / f"{name}.npy", buffer.getvalue())
    write_bytes(folder / "case.json", (json.dumps(dict(run.parameters), indent=2) + "\n").encode())
    return folder
