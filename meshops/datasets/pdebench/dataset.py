"""PDEBench: trajectories on regular grids in HDF5 files (Takamoto et al. 2022, doi:10.18419/darus-2986).

Two layouts: *flat* files with one array ``[n, t, *grid]`` per quantity (2-D and 3-D compressible flow, ...), and
*grouped* files with a group per trajectory, ``0000/data [t, *grid, c]`` (shallow water, diffusion-reaction). The test
split is the first tenth of a flat file and the last tenth of a grouped one, as in the published loaders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.datasets.base import existing_file, one_of
from meshops.datasets.formats.hdf5 import entry, opened, read
from meshops.datasets.pdebench.files import write_flat, write_grouped
from meshops.datasets.registry import register_dataset
from meshops.datasets.trajectory import GridSpec, TrajectoryDataset
from meshops.errors import InputError, listing
from meshops.solvers.riemann import riemann_2d
from meshops.solvers.shallow_water import radial_dam_break

ADVICE = (
    "download one from doi.org/10.18419/darus-2986 (addresses and checksums: pdebench_data_urls.csv of PDEBench) and "
    "give its path"
)
FLAT = ("density", "pressure", "Vx", "Vy", "Vz")
VELOCITY = ("Vx", "Vy", "Vz")
GROUPED = {1: ("h",), 2: ("u", "v")}  # shallow water; activator and inhibitor of diffusion-reaction


@register_dataset("pdebench", layout=("*.h5", "*.hdf5"), last=True)
class PDEBench(TrajectoryDataset):
    """One file of PDEBench.

    Args:
        root: The HDF5 file, or a folder that holds exactly one.
        split: ``"train"``, ``"test"`` or ``"all"``.
        periodic: Whether the ends of each axis meet; the files do not say. None: from the name of the file
            (``periodic`` in it), else not.
        velocity: Names of the velocity channels; None: ``Vx, Vy, Vz`` where there are.

    Raises:
        MissingDataError: No such file.
        InputError: The file is damaged or has another layout.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        periodic: list[bool] | None = None,
        velocity: list[str] | None = None,
    ) -> None:
        one_of("split", split, ("train", "test", "all"))
        self.path = _single_file(Path(root).expanduser())
        with opened(self.path, "PDEBench", ADVICE) as file:
            self.grouped = "0000" in file or any(hasattr(file[key], "keys") for key in file)
            described = self._describe_grouped(file) if self.grouped else self._describe_flat(file)
        count, steps, shape, channels, spacing, step = described
        tenth = max(1, count // 10) if count > 1 else 0
        test = range(count - tenth, count) if self.grouped else range(tenth)
        train = range(count - tenth) if self.grouped else range(tenth, count)
        chosen = {"train": train, "test": test, "all": range(count)}[split]
        if not chosen:
            raise InputError(f"{self.path}: {count} trajectories leave none for split '{split}'; use split 'all'")
        self._numbers = list(chosen)
        self.cases = tuple(f"{number:04d}" for number in self._numbers)
        self.lengths, self.shapes = (steps,) * len(self.cases), (shape,) * len(self.cases)
        wrap = tuple(periodic) if periodic else ("periodic" in self.path.name,) * len(shape)
        names = tuple(velocity) if velocity is not None else tuple(n for n in VELOCITY if n in channels)
        missing = [name for name in names if name not in channels]
        if missing or len(wrap) != len(shape):
            raise InputError(
                f"{self.path}: velocity must be among the channels {listing(channels)} and periodic have {len(shape)} "
                f"entries; got velocity={names} and periodic={wrap}"
            )
        place = tuple(channels.index(name) for name in names)
        self.spec = GridSpec(channels=channels, spacing=spacing, periodic=wrap, velocity=place, time_step=step)

    def window(self, index: int, start: int, length: int) -> Tensor:
        """See the base class."""
        index = self.position(index)
        self.check_window(index, start, length)
        number, times = self._numbers[index], slice(start, start + length)
        with opened(self.path, "PDEBench", ADVICE) as file:
            if self.grouped:
                data = entry(entry(file, f"{number:04d}", self.path), "data", self.path)
                return read(data, (times,), self.path).movedim(-1, 1).contiguous()
            parts = [read(entry(file, name, self.path), (number, times), self.path) for name in self.spec.channels]
        return torch.stack(parts, 1)

    def constants(self, index: int) -> Tensor:
        """See the base class: there are none."""
        return torch.zeros(0, *self.shapes[self.position(index)])

    @classmethod
    def standin(cls, root: str | Path, num: int = 4, *, layout: str = "grouped", resolution: int = 32) -> Path:
        """Dam breaks in a grouped file, or Riemann problems in a flat one; returns the file."""
        one_of("layout", layout, ("grouped", "flat"))
        folder = Path(root)
        folder.mkdir(parents=True, exist_ok=True)
        if layout == "grouped":
            runs = [radial_dam_break(seed, resolution=resolution, frames=11) for seed in range(num)]
            return write_grouped(runs, folder / "2D_rdb_NA_NA.h5", fields=("h",))
        runs = [riemann_2d(seed, resolution=resolution, frames=11) for seed in range(num)]
        return write_flat(runs, folder / "2D_CFD_Riemann_Train.hdf5")

    def _describe_grouped(self, file: Any) -> tuple[Any, ...]:
        names = sorted(file)
        first = entry(file, names[0], self.path)
        data, grid = entry(first, "data", self.path), entry(first, "grid", self.path)
        axes = [key for key in ("x", "y", "z") if key in grid]
        if len(data.shape) != len(axes) + 2:
            raise InputError(
                f"{self.path}: '{data.name}' must be [t, {', '.join(axes)}, channels], got shape {data.shape}"
            )
        spacing = tuple(_spacing(np.asarray(grid[key])) for key in axes)
        time = np.asarray(grid["t"]) if "t" in grid else np.zeros(1)
        count = data.shape[-1]
        channels = GROUPED.get(count, tuple(f"channel_{i}" for i in range(count)))
        return len(names), data.shape[0], tuple(data.shape[1:-1]), channels, spacing, _spacing(time, 0.0)

    def _describe_flat(self, file: Any) -> tuple[Any, ...]:
        channels = tuple(name for name in FLAT if name in file)
        axes = [key for key in ("x-coordinate", "y-coordinate", "z-coordinate") if key in file]
        shapes = {tuple(file[name].shape) for name in channels}
        if not channels or len(shapes) != 1 or len(next(iter(shapes))) != len(axes) + 2:
            held = ", ".join(f"{key} {tuple(getattr(file[key], 'shape', ()))}" for key in sorted(file)) or "nothing"
            raise InputError(
                f"{self.path}: expected arrays [n, t, *grid] named {listing(FLAT)} and x-coordinate, ...; the file "
                f"holds {held}"
            )
        shape = next(iter(shapes))
        spacing = tuple(_spacing(np.asarray(file[key])) for key in axes)
        time = np.asarray(file["t-coordinate"]) if "t-coordinate" in file else np.zeros(1)
        return shape[0], shape[1], tuple(shape[2:]), channels, spacing, _spacing(time, 0.0)


def _single_file(path: Path) -> Path:
    if path.is_dir():
        found = sorted(p for ending in ("*.h5", "*.hdf5") for p in path.glob(ending))
        if len(found) > 1:
            raise InputError(
                f"{path}: holds {len(found)} HDF5 files ({listing(p.name for p in found)}); give one of them"
            )
        path = found[0] if found else path / "*.hdf5"
    return existing_file(path, "PDEBench", ADVICE)


def _spacing(values: Any, default: float = 1.0) -> float:
    return float(values[1] - values[0]) if len(values) > 1 else default
