"""Datasets by name: create one, list them, or recognize the layout of a folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshops.datasets.ahmed.mini import AhmedMini
from meshops.datasets.ahmed.ml import AhmedML
from meshops.datasets.airfrans.dataset import AirfRANS
from meshops.datasets.base import CaseDataset
from meshops.datasets.cfdbench.dataset import CFDBench
from meshops.datasets.eagle.dataset import Eagle
from meshops.datasets.geo_fno.dataset import Airfoil, Darcy, Elasticity, Pipe, Plasticity
from meshops.datasets.geo_fno.navier_stokes import NavierStokes
from meshops.datasets.mesh_files import MeshFiles
from meshops.datasets.mesh_graph_nets.dataset import MeshGraphNets
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.pdebench.dataset import PDEBench
from meshops.datasets.shapenet_car.dataset import ShapeNetCar
from meshops.datasets.the_well.dataset import TheWell
from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError, MissingDataError, listing

DATASETS: dict[str, Callable[..., CaseDataset]] = {
    "mesh_files": MeshFiles,
    "ahmed_mini": AhmedMini,
    "ahmed_ml": AhmedML,
    "airfoil": Airfoil,
    "airfrans": AirfRANS,
    "darcy": Darcy,
    "elasticity": Elasticity,
    "pipe": Pipe,
    "plasticity": Plasticity,
    "shapenet_car": ShapeNetCar,
}


def names() -> tuple[str, ...]:
    """Names :func:`create` knows, sorted."""
    return tuple(sorted(DATASETS))


def options(name: str) -> tuple[str, ...]:
    """Options that :func:`create` takes for a dataset beside ``root`` and ``split``.

    Raises:
        InputError: Unknown name.
    """
    key = name.lower().replace("-", "_")
    if key not in DATASETS:
        raise InputError(f"no dataset '{name}'; known: {listing(names())}")
    return tuple(option for option in inspect.signature(DATASETS[key]).parameters if option not in ("root", "split"))


def create(name: str, root: str | Path | None = None, split: str = "train", **options: Any) -> CaseDataset:
    """Dataset by name.

    Args:
        name: One of :func:`names`; ``-`` and ``_`` are the same.
        root: Folder of the data; left out for a set that is shipped with the package.
        split: ``"train"``, ``"test"``, ``"all"``, where the set has one also ``"val"``.
        **options: Keyword arguments of the dataset's class.

    Raises:
        InputError: Unknown name or option; lists those allowed.

    Example:
        >>> create("ahmed_mini", split="test").cases[-1]
        'run_30'
    """
    key = name.lower().replace("-", "_")
    if key not in DATASETS:
        raise InputError(f"no dataset '{name}'; known: {listing(names())}")
    maker = DATASETS[key]
    allowed = inspect.signature(maker).parameters
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        usable = [option for option in allowed if option not in ("root", "split")]
        raise InputError(f"{key}: unknown option {listing(unknown)}; allowed: {listing(usable)}")
    if "root" not in allowed:
        if root is not None:
            raise InputError(f"{key} is shipped with meshops and takes no folder, got root={str(root)!r}; leave it out")
        return maker(split=split, **options)
    if root is None:
        raise InputError(f"{key}: the folder of the data is needed; give root=...")
    return maker(root, split=split, **options)


TRAJECTORIES: dict[str, Callable[..., TrajectoryDataset]] = {
    "cfdbench": CFDBench,
    "navier_stokes": NavierStokes,
    "pdebench": PDEBench,
    "the_well": TheWell,
}

MESH_TRAJECTORIES: dict[str, Callable[..., MeshTrajectoryDataset]] = {
    "eagle": Eagle,
    "mesh_graph_nets": MeshGraphNets,
}


def create_trajectories(
    name: str, root: str | Path | None = None, split: str = "train", **options: Any
) -> TrajectoryDataset:
    """Dataset of trajectories on grids by name.

    Args:
        name: ``"the_well"``, ``"pdebench"``, ``"cfdbench"`` or ``"navier_stokes"``; ``-`` and ``_`` are the same.
        root: Folder or file of the data.
        split: ``"train"``, ``"test"``, ``"all"``, where the set has one also ``"val"``.
        **options: Keyword arguments of the dataset's class.

    Raises:
        InputError: Unknown name or option, or no folder; lists what is allowed.
    """
    key = name.lower().replace("-", "_")
    if key not in TRAJECTORIES:
        raise InputError(f"no dataset of trajectories '{name}'; known: {listing(TRAJECTORIES)}")
    if root is None:
        raise InputError(f"{key}: the folder of the data is needed; give root=... (--data.root FOLDER)")
    maker = TRAJECTORIES[key]
    usable = [option for option in inspect.signature(maker).parameters if option not in ("root", "split")]
    unknown = sorted(set(options) - set(usable))
    if unknown:
        raise InputError(f"{key}: unknown option {listing(unknown)}; allowed: {listing(usable)}")
    return maker(root, split=split, **options)


def create_mesh_trajectories(
    name: str, root: str | Path | None = None, split: str = "train", **options: Any
) -> MeshTrajectoryDataset:
    """Dataset of trajectories on meshes by name.

    Args:
        name: ``"eagle"`` or ``"mesh_graph_nets"``; ``-`` and ``_`` are the same.
        root: Folder of the data.
        split: ``"train"``, ``"valid"`` (or ``"val"``), ``"test"``, ``"all"``.
        **options: Keyword arguments of the dataset's class.

    Raises:
        InputError: Unknown name or option, or no folder; lists what is allowed.
    """
    key = name.lower().replace("-", "_")
    if key not in MESH_TRAJECTORIES:
        raise InputError(f"no dataset of trajectories on meshes '{name}'; known: {listing(MESH_TRAJECTORIES)}")
    if root is None:
        raise InputError(f"{key}: the folder of the data is needed; give root=... (--data.root FOLDER)")
    maker = MESH_TRAJECTORIES[key]
    usable = [option for option in inspect.signature(maker).parameters if option not in ("root", "split")]
    unknown = sorted(set(options) - set(usable))
    if unknown:
        raise InputError(f"{key}: unknown option {listing(unknown)}; allowed: {listing(usable)}")
    return maker(root, split=split, **options)


def detect(root: str | Path) -> str:
    """Name of the dataset whose published layout ``root`` has.

    Raises:
        MissingDataError: No such folder.
        InputError: The layout is not known; lists what was looked for.
    """
    path = Path(root).expanduser()
    if not path.is_dir():
        raise MissingDataError(f"no folder {path}; give the folder that holds the cases")
    for name, patterns in LAYOUTS.items():
        if any(next(path.glob(pattern), None) is not None for pattern in patterns):
            return name
    wanted = "; ".join(f"{name}: {' or '.join(patterns)}" for name, patterns in LAYOUTS.items())
    raise InputError(f"{path} has no known layout; looked for {wanted}")


LAYOUTS: dict[str, tuple[str, ...]] = {
    "ahmed_ml": ("run_*/boundary_*.vtp", "run_*/volume_*.vtu", "run_*/ahmed_*.stl"),
    "the_well": ("data/*/*.hdf5", "data/*/*.h5"),
    "cfdbench": ("cavity/*/case*/u.npy", "tube/*/case*/u.npy", "dam/*/case*/u.npy", "cylinder/*/case*/u.npy"),
    "eagle": ("Spl/*/*/sim.npz", "Cre/*/*/sim.npz", "Tri/*/*/sim.npz"),
    "mesh_graph_nets": ("train.tfrecord", "valid.tfrecord", "test.tfrecord"),
    "pdebench": ("*.h5", "*.hdf5"),
    "shapenet_car": ("training_data/param*/*/quadpress_smpl.vtk", "param*/*/quadpress_smpl.vtk"),
    "airfrans": ("AirfRANS.pt", "raw/AirfRANS.pt"),
    "darcy": ("piececonst_r421_N1024_smooth*.mat",),
    "elasticity": ("Random_UnitCell_XY_10.npy", "elasticity/Meshes/Random_UnitCell_XY_10.npy"),
    "plasticity": ("plas_N987_T20.mat",),
    "airfoil": ("NACA_Cylinder_X.npy", "airfoil/naca/NACA_Cylinder_X.npy"),
    "pipe": ("Pipe_X.npy", "pipe/Pipe_X.npy"),
    "navier_stokes": ("NavierStokes_V1e-5_N1200_T20.mat",),
    "mesh_files": ("train/*.vtu", "train/*.vtp"),
}
