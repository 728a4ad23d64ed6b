"""CFDBench: cavity, tube, dam and cylinder flow on 64 x 64 grids (Luo et al., 2310.05963).

Layout: ``<root>/<problem>/{bc,geo,prop}/case####/{u.npy, v.npy, case.json}``, u and v ``[t, rows, columns]`` with row 0
at the lowest y. Departures from the published loader: the rows and columns it adds for the boundaries are not added
(and cut off where a file has them), boundary values and properties are channels, and the mask of the obstacle is
right: the published dam mask slices the time axis, the published cylinder is off by the origin of the grid.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.datasets.base import existing_file, existing_root, one_of
from meshops.datasets.cfdbench.files import write_case
from meshops.datasets.registry import register_dataset
from meshops.datasets.trajectory import GridSpec, TrajectoryDataset
from meshops.errors import InputError, listing
from meshops.io import read_json
from meshops.solvers.cavity import lid_driven_cavity

ADVICE = (
    "download it from huggingface.co/datasets/chen-yingfa/CFDBench, unpack it and give the folder that holds cavity/"
)
PROBLEMS = ("cavity", "tube", "dam", "cylinder")
SPEED = {"cavity": "vel_top", "tube": "vel_in", "dam": "velocity", "cylinder": "vel_in"}
SIZE = 64
BARRIER = 0.5  # m from the inlet, as the published loader has it; not in case.json
CONSTANTS = ("density", "viscosity", "boundary_velocity", "fluid")


@register_dataset(
    "cfdbench", layout=("cavity/*/case*/u.npy", "tube/*/case*/u.npy", "dam/*/case*/u.npy", "cylinder/*/case*/u.npy")
)
class CFDBench(TrajectoryDataset):
    """One problem of CFDBench; channels u (along the first axis, x) and v.

    Args:
        root: Folder that holds ``cavity/``, ``tube/``, ``dam/`` and ``cylinder/``.
        split: ``"train"``, ``"val"``, ``"test"`` (80 / 10 / 10 % of the cases, shuffled with seed 0 as published) or
            ``"all"``.
        problem: Which flow.
        subsets: What varies: ``"bc"``, ``"geo"``, ``"prop"``; all by default.
        converged: Drop the frames after the flow has stopped changing (mean change of u below 1e-3), as published.

    Raises:
        MissingDataError: Folders or files are not there.
        InputError: A file is damaged or has another shape.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        problem: str = "cavity",
        subsets: list[str] | None = None,
        converged: bool = True,
    ) -> None:
        one_of("problem", problem, PROBLEMS)
        one_of("split", split, ("train", "val", "test", "all"))
        folder = existing_root(Path(existing_root(root, "CFDBench", ADVICE)) / problem, "CFDBench", ADVICE)
        self.problem = problem
        cases: list[Path] = []
        for subset in ("prop", "bc", "geo"):  # the published order
            if subsets is None or subset in subsets:
                found = [path for path in (folder / subset).glob("case*") if path.is_dir()]
                cases += sorted(found, key=_number)
        if not cases:
            existing_file(folder / "bc" / "case0000" / "u.npy", "CFDBench", ADVICE)
        chosen = _split(cases, problem)
        self.folders = cases if split == "all" else chosen[split]
        if not self.folders:
            raise InputError(f"{folder}: {len(cases)} cases leave none for split '{split}'; use split 'all'")
        self.cases = tuple(f"{path.parent.name}/{path.name}" for path in self.folders)
        self._settings = [_settings(path) for path in self.folders]
        self.lengths = tuple(self._length(path, converged) for path in self.folders)
        self.shapes = ((SIZE, SIZE),) * len(self.cases)
        first = self._settings[0]
        spacing = (_extent(first, "x") / SIZE, _extent(first, "y") / SIZE)
        step = 0.001 if problem == "cylinder" else 0.1
        self.spec = GridSpec(
            channels=("u", "v"), constants=CONSTANTS, velocity=(0, 1), spacing=spacing, periodic=(False, False),
            time_step=step, units=("m/s", "m/s"),
        )  # fmt: skip

    def window(self, index: int, start: int, length: int) -> Tensor:
        """See the base class."""
        index = self.position(index)
        self.check_window(index, start, length)
        parts = [
            torch.from_numpy(_load(self.folders[index] / f"{name}.npy")[start : start + length].astype(np.float32))
            for name in ("u", "v")
        ]
        return torch.stack([_cropped(part).transpose(1, 2) for part in parts], 1).contiguous()

    def constants(self, index: int) -> Tensor:
        """Density, viscosity and boundary velocity, normalised as published, and 1 where there is fluid."""
        index = self.position(index)
        given = self._settings[index]
        path = self.folders[index] / "case.json"
        numbers = [
            (_value(given, "density", path) - 5) / 4,
            (_value(given, "viscosity", path) - 0.00238) / 0.005,
            _value(given, SPEED[self.problem], path) / 50 - 0.5,
        ]
        uniform = torch.tensor(numbers, dtype=torch.float32).view(3, 1, 1).expand(3, SIZE, SIZE)
        return torch.cat([uniform, self.fluid(index).float().unsqueeze(0)])

    def parameters(self, index: int) -> dict[str, float]:
        """Content of ``case.json``."""
        values = self._settings[self.position(index)]
        return {key: float(value) for key, value in values.items() if isinstance(value, (int, float))}

    def fluid(self, index: int) -> Tensor:
        """``[64, 64]`` False inside of the barrier of a dam or of the cylinder."""
        given, path = self._settings[self.position(index)], self.folders[self.position(index)] / "case.json"
        x, y = ((torch.arange(SIZE) + 0.5) / SIZE for _ in range(2))
        if self.problem == "cylinder":
            low = [_value(given, key, path) for key in ("x_min", "y_min")]
            high = [_value(given, key, path) for key in ("x_max", "y_max")]
            px, py = (a + (b - a) * part for a, b, part in zip(low, high, (x, y), strict=True))
            distance: Tensor = px.view(-1, 1).square() + py.view(1, -1).square()
            return distance > _value(given, "radius", path) ** 2
        if self.problem == "dam":
            width, height = _extent(given, "x"), _extent(given, "y")
            place = x * width
            inside_x = (place >= BARRIER) & (place < BARRIER + _value(given, "barrier_width", path))
            inside_y = y * height < _value(given, "barrier_height", path)
            return ~(inside_x.view(-1, 1) & inside_y.view(1, -1))
        return torch.ones(SIZE, SIZE, dtype=torch.bool)

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Lid-driven cavities in the published layout, at least ten so that each split has one."""
        for number in range(max(num, 10)):
            run = lid_driven_cavity(number, resolution=SIZE, frames=8, t_end=0.5)
            write_case(run, Path(root) / "cavity" / "bc" / f"case{number:04d}")
        return Path(root)

    def _length(self, folder: Path, converged: bool) -> int:
        shapes = {name: _load(folder / f"{name}.npy").shape for name in ("u", "v")}
        if shapes["u"] != shapes["v"] or len(shapes["u"]) != 3 or min(shapes["u"][1:]) < SIZE:
            raise InputError(f"{folder}: u and v must be [t, 64, 64], got {shapes['u']} and {shapes['v']}")
        if not converged or shapes["u"][0] < 2:
            return int(shapes["u"][0])
        u = np.asarray(_load(folder / "u.npy"), dtype=np.float32)
        still = np.abs(np.diff(u, axis=0)).mean((1, 2)) < 1e-3
        return int(still.argmax()) + 1 if still.any() and still.argmax() > 0 else int(shapes["u"][0])


def _load(path: Path) -> Any:
    existing_file(path, "CFDBench", ADVICE)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged heads raise ValueError, OverflowError, TokenError, SyntaxError, ...
        raise InputError(f"{path}: not a readable array ({error}); download it again") from None


def _cropped(values: Tensor) -> Tensor:
    """The 64 x 64 cells of ``[t, rows, columns]``; files of the released loader have a column and two rows more."""
    rows, columns = values.shape[1] - SIZE, values.shape[2] - SIZE
    return values[:, rows // 2 : rows // 2 + SIZE, columns : columns + SIZE]


def _settings(folder: Path) -> dict[str, Any]:
    path = existing_file(folder / "case.json", "CFDBench", ADVICE)
    content: dict[str, Any] = read_json(path, "download it again")
    return content


def _value(given: dict[str, Any], key: str, path: Path) -> float:
    if key not in given:
        raise InputError(f"{path}: no '{key}'; it holds {listing(given)}")
    return float(given[key])


def _extent(given: dict[str, Any], axis: str) -> float:
    if f"{axis}_max" in given:
        return float(given[f"{axis}_max"]) - float(given[f"{axis}_min"])
    return float(given.get("width" if axis == "x" else "height", 1.0))


def _number(path: Path) -> int:
    digits = path.name.removeprefix("case")
    return int(digits) if digits.isdigit() else -1


def _split(cases: list[Path], problem: str) -> dict[str, list[Path]]:
    """80 / 10 / 10 %, shuffled with seed 0 as published (cavity rounds, the others cut off)."""
    shuffled = list(cases)
    random.Random(0).shuffle(shuffled)
    cut = round if problem == "cavity" else int
    train, val = cut(len(shuffled) * 0.8), cut(len(shuffled) * 0.1)
    return {"train": shuffled[:train], "val": shuffled[train : train + val], "test": shuffled[train + val :]}
