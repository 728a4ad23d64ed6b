"""The Well: trajectories of many physics on regular grids in HDF5 files (Ohana et al. 2024, Polymathic AI).

Layout: ``<root>/data/{train,valid,test}/*.hdf5`` and ``<root>/stats.yaml``; groups ``t0_fields`` (scalars),
``t1_fields`` (vectors, last axis d) and ``t2_fields`` (tensors), each ``[trajectory, time, *grid, ...]``, without the
axes along which they do not vary.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshops.datasets.base import existing_file, existing_root, one_of
from meshops.datasets.formats.hdf5 import attribute, entry, opened, read, text
from meshops.datasets.registry import register_dataset
from meshops.datasets.the_well.files import SPLITS, write_well
from meshops.datasets.trajectory import GridSpec, TrajectoryDataset
from meshops.errors import InputError, listing, warn
from meshops.plain_yaml import load_yaml
from meshops.solvers.riemann import blast, riemann_2d

ADVICE = (
    "download a subset with 'the-well-download --base-path FOLDER --dataset NAME' (package the_well) or from "
    "huggingface.co/polymathic-ai and give the folder NAME, which holds data/train, data/valid and data/test"
)


@dataclass(frozen=True)
class _Field:
    """A dataset of a file: its group, name, rank and along which axes it varies."""

    group: str
    name: str
    rank: int
    sample: bool
    time: bool
    axes: tuple[bool, ...]


@register_dataset("the_well", layout=("data/*/*.hdf5", "data/*/*.h5"))
class TheWell(TrajectoryDataset):
    """One subset of The Well.

    Args:
        root: Folder of the subset, or the folder above with ``name``.
        split: ``"train"``, ``"valid"`` (or ``"val"``), ``"test"`` or ``"all"``.
        name: Subset below ``root``.
        fields: Names of the fields to use, as in the files; None: all.

    Raises:
        MissingDataError: The folder or its files are not there.
        InputError: A file is damaged or has another layout.
    """

    def __init__(
        self, root: str | Path, split: str = "train", *, name: str | None = None, fields: list[str] | None = None
    ) -> None:
        split = "valid" if split == "val" else one_of("split", split, (*SPLITS, "val", "all"))
        folder = existing_root(root, "The Well", ADVICE)
        self.root = existing_root(folder / name, "The Well", ADVICE) if name else folder
        parts = SPLITS if split == "all" else (split,)
        found = [path for ending in ("hdf5", "h5") for path in sorted(self.root.glob(f"data/*/*.{ending}"))]
        self.files = [path for part in parts for path in found if path.parent.name == part]
        if not self.files:
            existing_file(self.root / "data" / parts[0] / "*.hdf5", "The Well", ADVICE)
        self.wanted = None if fields is None else tuple(fields)
        self._place: list[tuple[Path, int]] = []
        lengths, shapes, self._fields = [], [], {}
        for path in self.files:
            with opened(path, "The Well", ADVICE) as file:
                spec, described, shape = self._describe(file, path)
                count = int(attribute(file, "n_trajectories", path))
                steps = int(entry(entry(file, "dimensions", path), "time", path).shape[-1])
            if self._place and (spec.channels, spec.constants) != (self.spec.channels, self.spec.constants):
                raise InputError(f"{path}: its channels {spec.channels} differ from {self.spec.channels} of the others")
            self.spec = spec
            self._fields[path] = described
            self._place += [(path, i) for i in range(count)]
            lengths += [steps] * count
            shapes += [shape] * count
        self.lengths, self.shapes = tuple(lengths), tuple(shapes)
        self.cases = tuple(f"{path.parent.name}/{path.stem}/{number}" for path, number in self._place)

    def window(self, index: int, start: int, length: int) -> Tensor:
        """See the base class."""
        index = self.position(index)
        self.check_window(index, start, length)
        path, number = self._place[index]
        with opened(path, "The Well", ADVICE) as file:
            parts = [
                self._read(file, field, path, number, slice(start, start + length), self.shapes[index])
                for field in self._fields[path]
                if field.time
            ]
        return torch.cat(parts, 1)

    def constants(self, index: int) -> Tensor:
        """See the base class."""
        index = self.position(index)
        path, number = self._place[index]
        with opened(path, "The Well", ADVICE) as file:
            parts = [
                self._read(file, field, path, number, slice(0, 1), self.shapes[index])[0]
                for field in self._fields[path]
                if not field.time
            ]
        return torch.cat(parts) if parts else torch.zeros(0, *self.shapes[index])

    def parameters(self, index: int) -> dict[str, float]:
        """Scalars that do not change in time."""
        path, number = self._place[self.position(index)]
        out = {}
        with opened(path, "The Well", ADVICE) as file:
            scalars = file.get("scalars", {})
            for name in scalars:
                flags = scalars[name].attrs
                if not bool(flags.get("time_varying", False)):
                    values = scalars[name][()]
                    out[name] = float(values[number] if bool(flags.get("sample_varying", False)) else values)
        return out

    def statistics(self) -> dict[str, Any]:
        """Content of ``stats.yaml``: mean, std, rms and those of the differences per field; empty when missing."""
        path = self.root / "stats.yaml"
        content = load_yaml(path, aliases=True, advice=ADVICE) if path.is_file() else {}
        if not isinstance(content, dict):
            raise InputError(f"{path}: must hold statistics by name, got {content!r:.80}; {ADVICE}")
        return content

    @classmethod
    def standin(cls, root: str | Path, num: int = 4, *, dim: int = 2, resolution: int = 32, frames: int = 12) -> Path:
        """Euler solutions, 2-D Riemann problems or 3-D blasts: half to train on, at least one to test on."""
        if dim not in (2, 3):
            raise InputError(f"dim must be 2 or 3, got {dim}")
        runs = [
            riemann_2d(seed, resolution=resolution, frames=frames)
            if dim == 2
            else blast(seed, dim=3, resolution=resolution, frames=frames)
            for seed in range(max(num, 3))
        ]
        test = valid = max(1, len(runs) // 4)
        splits = {"train": runs[: -test - valid], "valid": runs[-test - valid : -test], "test": runs[-test:]}
        return write_well(splits, Path(root), name="riemann_2d" if dim == 2 else "blast_3d")

    def _describe(self, file: Any, path: Path) -> tuple[GridSpec, list[_Field], tuple[int, ...]]:
        dimensions = entry(file, "dimensions", path)
        axes = attribute(dimensions, "spatial_dims", path)
        coordinates = [entry(dimensions, axis, path)[()].reshape(-1, entry(dimensions, axis, path).shape[-1])[0]
                       for axis in axes]  # fmt: skip
        shape = tuple(len(c) for c in coordinates)
        spacing = tuple(float(abs(c[-1] - c[0])) / max(len(c) - 1, 1) or 1.0 for c in coordinates)
        time = entry(dimensions, "time", path)[()].reshape(-1)
        step = float(time[1] - time[0]) if len(time) > 1 else 0.0
        even = len(time) < 3 or abs(time[1:] - time[:-1] - step).max() <= 1e-3 * abs(step)
        found: list[_Field] = []
        channels: list[str] = []
        constants: list[str] = []
        velocity: tuple[int, ...] = ()
        for rank in range(3):
            group = file.get(f"t{rank}_fields", {})
            for name in sorted(group) if rank or group else []:
                if self.wanted is not None and name not in self.wanted:
                    continue
                flags = group[name].attrs
                field = _Field(
                    f"t{rank}_fields", name, rank, bool(flags.get("sample_varying", True)),
                    bool(flags.get("time_varying", True)), tuple(bool(v) for v in text(flags.get("dim_varying"))),
                )  # fmt: skip
                found.append(field)
                names = [name + "_" + "".join(part) if rank else name for part in product(axes, repeat=rank)]
                if field.time and rank == 1 and name.lower() == "velocity":
                    velocity = tuple(range(len(channels), len(channels) + len(names)))
                (channels if field.time else constants).extend(names)
        if not channels:
            wanted = f" among {', '.join(self.wanted)}" if self.wanted else ""
            held = listing(name for rank in range(3) for name in file.get(f"t{rank}_fields", {}))
            raise InputError(f"{path}: no field that changes in time{wanted}; t0_, t1_ and t2_fields hold {held}")
        spec = GridSpec(
            channels=tuple(channels), constants=tuple(constants), velocity=velocity, spacing=spacing,
            periodic=_periodic(file, axes), time_step=step if even else 0.0,
        )  # fmt: skip
        return spec, found, shape

    def _read(self, file: Any, field: _Field, path: Path, number: int, times: slice, shape: tuple[int, ...]) -> Tensor:
        """``[t, channels, *grid]`` of one field; missing axes are repeated."""
        dataset = entry(entry(file, field.group, path), field.name, path)
        place: list[Any] = []
        if field.sample:
            place.append(number)
        if field.time:
            place.append(times)
        values = read(dataset, tuple(place), path)
        if not field.time:
            values = values.unsqueeze(0)
        for axis, varies in enumerate(field.axes):
            if not varies:
                values = values.unsqueeze(1 + axis)
        dim = len(shape)
        if values.dim() != 1 + dim + field.rank:
            raise InputError(
                f"{path}: '{field.group}/{field.name}' has shape {dataset.shape}, expected trajectories, times and a "
                f"grid {shape} with {field.rank} component axes"
            )
        values = values.flatten(1 + dim) if field.rank else values.unsqueeze(-1)
        values = values.movedim(-1, 1)
        return values.expand(len(values), values.shape[1], *shape).contiguous()


def _periodic(file: Any, axes: list[str]) -> tuple[bool, ...]:
    """Axes named by a periodic boundary condition."""
    wrap: set[str] = set()
    for condition in file.get("boundary_conditions", {}).values():
        if str(text(condition.attrs.get("bc_type", ""))).upper() == "PERIODIC":
            names = text(condition.attrs.get("associated_dims", ""))
            wrap.update([names] if isinstance(names, str) else names)
    unknown = wrap - set(axes)
    if unknown:
        warn(f"periodic boundaries of unknown axes {sorted(unknown)} are left out; axes: {', '.join(axes)}")
    return tuple(axis in wrap for axis in axes)
