"""Simulations written in the layout of The Well, so that its own package opens them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from meshops.errors import InputError
from meshops.solvers.simulation import Simulation

SPLITS = ("train", "valid", "test")
AXES = ("x", "y", "z")


def write_well(splits: Mapping[str, Sequence[Simulation]], root: Path, *, name: str) -> Path:
    """Write ``<root>/data/<split>/<name>.hdf5`` and ``<root>/stats.yaml``; nothing is left behind on failure.

    Args:
        splits: Simulations of ``train``, ``valid`` and ``test``; all on one grid at the same times.
        root: Folder to make; must not exist or be empty.
        name: Of the dataset.

    Raises:
        InputError: The folder is not empty, or the simulations differ in grid, box, times or fields.
    """
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root}: is not empty; choose another folder or remove it")
    every = [run for runs in splits.values() for run in runs]
    if not every:
        raise InputError("nothing to write: no simulation in any split")
    for run in every[1:]:
        _check_alike(every[0], run)
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for split in SPLITS:
            if splits.get(split):
                folder = partial / "data" / split
                folder.mkdir(parents=True)
                _write_file(folder / f"{name}.hdf5", splits[split], name)
        statistics = _statistics(splits.get("train") or every)
        (partial / "stats.yaml").write_text(yaml.safe_dump(statistics, sort_keys=False))
        if root.exists():
            root.rmdir()
        partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def _check_alike(first: Simulation, run: Simulation) -> None:
    same = (
        first.grid_shape == run.grid_shape
        and first.boundary == run.boundary
        and (first.origin, first.extent) == (run.origin, run.extent)
        and list(first.fields) == list(run.fields)
        and torch.equal(first.time, run.time)
    )
    if not same:
        raise InputError("the simulations of one dataset must agree in grid, box, times, boundaries and fields")


def _write_file(path: Path, runs: Sequence[Simulation], name: str) -> None:
    import h5py  # takes a tenth of a second

    first = runs[0]
    axes = list(AXES[: first.dim])
    with h5py.File(path, "w") as file:
        file.attrs["dataset_name"] = name
        file.attrs["grid_type"] = "cartesian"
        file.attrs["n_spatial_dims"] = first.dim
        file.attrs["n_trajectories"] = len(runs)
        file.attrs["simulation_parameters"] = list(first.parameters)
        for key in first.parameters:
            file.attrs[key] = first.parameters[key]
        _write_dimensions(file.create_group("dimensions"), first, axes)
        _write_boundaries(file.create_group("boundary_conditions"), first, axes)
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = list(first.parameters)
        for key in first.parameters:
            values = scalars.create_dataset(key, data=np.array([run.parameters[key] for run in runs], dtype=np.float32))
            values.attrs["time_varying"], values.attrs["sample_varying"] = False, True
        for rank in range(3):
            group = file.create_group(f"t{rank}_fields")
            names = [key for key, value in first.fields.items() if value.dim() == 1 + first.dim + rank]
            group.attrs["field_names"] = names
            for key in names:
                data = group.create_dataset(key, data=torch.stack([run.fields[key] for run in runs]).float().numpy())
                data.attrs["dim_varying"] = [True] * first.dim
                data.attrs["sample_varying"] = data.attrs["time_varying"] = True


def _write_dimensions(group: Any, run: Simulation, axes: Sequence[str]) -> None:
    group.attrs["spatial_dims"] = list(axes)
    for key, values in zip(["time", *axes], [run.time, *run.coordinates()], strict=True):
        data = group.create_dataset(key, data=values.float().numpy())
        data.attrs["sample_varying"] = False
        if key != "time":
            data.attrs["time_varying"] = False


def _write_boundaries(group: Any, run: Simulation, axes: Sequence[str]) -> None:
    for axis, kind, n in zip(axes, run.boundary, run.grid_shape, strict=True):
        condition = group.create_group(f"{axis}_{kind}")
        condition.attrs["associated_dims"] = [axis]
        condition.attrs["associated_fields"] = []
        condition.attrs["bc_type"] = kind.upper()
        condition.attrs["sample_varying"] = condition.attrs["time_varying"] = False
        mask = np.zeros(n, dtype=bool)
        mask[[0, -1]] = True
        condition.create_dataset("mask", data=mask)


def _statistics(runs: Sequence[Simulation]) -> dict[str, dict[str, Any]]:
    """Mean, std and rms of each field and of its change from frame to frame; per component for vectors."""
    out: dict[str, dict[str, Any]] = {key: {} for key in ("mean", "std", "rms", "mean_delta", "std_delta", "rms_delta")}
    dim = runs[0].dim
    for name in runs[0].fields:
        values = torch.stack([run.fields[name] for run in runs]).double()
        for ending, part in (("", values), ("_delta", values.diff(dim=1))):
            axes = tuple(range(2 + dim))
            out["mean" + ending][name] = _plain(part.mean(axes))
            out["std" + ending][name] = _plain(part.std(axes) if part.numel() else part.mean(axes))
            out["rms" + ending][name] = _plain(part.square().mean(axes).sqrt())
    return out


def _plain(value: Tensor) -> Any:
    return value.tolist()
