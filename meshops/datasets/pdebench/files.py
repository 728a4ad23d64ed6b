"""Simulations written in the two layouts of PDEBench."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from meshops.errors import InputError
from meshops.io import replacing
from meshops.solvers.simulation import Simulation

AXES = ("x", "y", "z")
NAMES = {"density": "density", "pressure": "pressure"}


def write_flat(runs: Sequence[Simulation], path: Path) -> Path:
    """One array ``[n, t, *grid]`` per channel; velocities are called Vx, Vy, Vz.

    Raises:
        InputError: The file exists, or there is nothing to write.
    """
    first = _first(runs, path)
    import h5py  # takes a tenth of a second

    with replacing(path) as partial, h5py.File(partial, "w") as file:
        for name, values in first.fields.items():
            stacked = torch.stack([run.fields[name] for run in runs]).float()
            if values.dim() == first.dim + 1:
                file.create_dataset(NAMES.get(name, name), data=stacked.numpy())
                continue
            for axis in range(first.dim):
                key = f"V{AXES[axis]}" if name == first.velocity else f"{name}_{AXES[axis]}"
                file.create_dataset(key, data=stacked[..., axis].numpy())
        for letter, values in zip(AXES, first.coordinates(), strict=False):
            file.create_dataset(f"{letter}-coordinate", data=values.float().numpy())
        file.create_dataset("t-coordinate", data=first.time.float().numpy())
        for key, value in first.parameters.items():
            file.attrs[key] = value
    return path


def write_grouped(runs: Sequence[Simulation], path: Path, *, fields: Sequence[str] | None = None) -> Path:
    """A group per trajectory with ``data [t, *grid, c]`` and ``grid/{x, y, t}``.

    Args:
        runs: Simulations.
        path: File to write.
        fields: Scalar fields that become channels; None: all scalars.

    Raises:
        InputError: The file exists, there is nothing to write, or a field is no scalar.
    """
    first = _first(runs, path)
    scalars = [name for name, values in first.fields.items() if values.dim() == first.dim + 1]
    wanted = list(fields or scalars)
    if not wanted or any(name not in scalars for name in wanted):
        raise InputError(f"the grouped layout holds scalar fields; got {wanted}, scalars are {scalars}")
    import h5py  # takes a tenth of a second

    with replacing(path) as partial, h5py.File(partial, "w") as file:
        for number, run in enumerate(runs):
            group = file.create_group(f"{number:04d}")
            data = torch.stack([run.fields[name] for name in wanted], -1).float().numpy()
            group.create_dataset("data", data=data)
            for axis, values in zip(AXES, run.coordinates(), strict=False):
                group.create_dataset(f"grid/{axis}", data=values.float().numpy())
            group.create_dataset("grid/t", data=run.time.float().numpy())
            group.attrs["config"] = yaml.safe_dump({key: float(value) for key, value in run.parameters.items()})
    return path


def _first(runs: Sequence[Simulation], path: Path) -> Simulation:
    if not runs:
        raise InputError("nothing to write: no simulation")
    if path.exists():
        raise InputError(f"{path}: exists; choose another name or remove it")
    for run in runs[1:]:
        if run.grid_shape != runs[0].grid_shape or not np.allclose(run.time, runs[0].time):
            raise InputError("the simulations of one file must agree in grid and times")
    return runs[0]
