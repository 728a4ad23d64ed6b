"""DrivAerNet++: 8,000 parametric cars, steady RANS at 30 m/s (arXiv 2406.09624).

Layout, units, splits and traps are on the dataset's card. The folder is read as published, nothing is converted.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from meshops.aero.conditions import FlowConditions
from meshops.data import readers
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset, GraphCache, Transform, existing_file, existing_root, one_of, select
from meshops.datasets.drivaer.standin import write_designs
from meshops.datasets.registry import register_dataset
from meshops.errors import InputError, MissingDataError, listing, warn
from meshops.ops.neighbors import knn_search

NAME = "DrivAerNet"
DOMAINS = ("surface", "volume")
FIELDS = {"surface": ("p", "wallShearStress"), "volume": ("p", "U")}
UNITS = {"p": "m^2/s^2", "wallShearStress": "m^2/s^2", "U": "m/s"}
FOLDERS = {"surface": "PressureVTK", "shear": "WallShearStressVTK_Updated", "volume": "CFD"}
SAME_POINT = 1e-4  # of the length of a car: points of the two surface files within this are one
NUMBERS = {"cd": r"(average |drag |mean )?c_?d( value)?|drag coefficient", "cl": r"(average |mean )?c_?l"}
AREA = r"(projected )?(frontal )?(projected )?area.*|a_?ref"
# simpleFoam: kinematic, Cp = p / 450. The sign of the shear is OpenFOAM's by its solver, unverified on the files.
CONDITIONS = FlowConditions(
    flow=(1.0, 0.0, 0.0), up=(0.0, 0.0, 1.0), speed=30.0, density=1.184, kinematic=True, ground=None, shear_sign=-1
)
ADVICE = (
    "download PressureVTK and WallShearStressVTK_Updated of DrivAerNet++ (Harvard Dataverse, collection DrivAerNet) "
    "and unpack each group, as PressureVTK/N_S_WWS_WM/N_S_WWS_WM_172.vtk"
)


@register_dataset("drivaer_net", layout=("PressureVTK/*/*.vtk", "PressureVTK/*.vtk"))
class DrivAerNet(CaseDataset):
    """Designs of a folder in the layout of DrivAerNet++ (``PressureVTK/<group>/<id>.vtk`` and so on).

    Nodes are the points of the pressure file. The shear comes in a second file with its points in another order; it is
    brought to those of the first, and a design whose two files are of different meshes is refused by name.

    Args:
        root: Folder that holds ``PressureVTK``.
        split: ``"train"``, ``"val"``, ``"test"`` or ``"all"``.
        domain: ``"surface"``, or ``"volume"`` for the points of ``CFD/<group>_part<k>/<id>.vtk``.
        splits: Folder of ``<split>_design_ids.txt``, or a mapping of split to ids; None: ``train_val_test_splits``
            below the root. Ids that are not on disk are left out, with a warning that counts them.
        fields: Fields to predict; None: pressure and shear (pressure alone where no shear file lies there).
        transform: Applied to each graph that is handed out.
        cache: Keep read cases in memory (up to 2 GiB per process).

    Raises:
        MissingDataError: Folder, designs or lists of splits are missing; says what to download.
        InputError: Unknown split, domain or field.

    Example:
        >>> DrivAerNet("data/drivaernet", "test")[0].field("p").shape  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        domain: str = "surface",
        splits: str | Path | Mapping[str, Sequence[str]] | None = None,
        fields: Sequence[str] | None = None,
        transform: Transform | None = None,
        cache: bool = False,
    ) -> None:
        self.domain = one_of(f"{NAME}: domain", domain, DOMAINS)
        self.root = existing_root(root, NAME, ADVICE)
        self.split = split
        self._files = find_designs(self.root, FOLDERS[self.domain])
        present = tuple(self._files)
        self.cases = present if split == "all" else select(split_designs(self.root, present, splits), split, NAME)
        self._shears = find_designs(self.root, FOLDERS["shear"], needed=False) if domain == "surface" else {}
        known = FIELDS[domain] if self._shears or domain == "volume" else FIELDS[domain][:1]
        self.fields = tuple(one_of(f"{NAME}: field", name, known) for name in (known if fields is None else fields))
        self.units = tuple(UNITS[name] for name in self.fields)
        self.flow = CONDITIONS
        self.transform = transform
        self.cache = GraphCache(cache)

    def read(self, index: int) -> MeshGraph:
        """Surface or volume points of one design, fields as published (kinematic, 30 m/s)."""
        files, case = self.files(index), self.cases[self.position(index)]
        shear = "wallShearStress" in self.fields
        main = existing_file(files["surface" if self.domain == "surface" else "volume"], NAME, ADVICE)
        own = tuple(name for name in self.fields if name != "wallShearStress")
        graph = readers.read(main, fields=own, location="point", units=tuple(UNITS[name] for name in own))
        if shear:
            other = readers.read(
                existing_file(files["shear"], NAME, ADVICE), fields=("wallShearStress",), location="point"
            )
            values = dict(zip(own, (graph.field(name) for name in own), strict=True))
            values["wallShearStress"] = other.y[matched(graph.pos, other.pos, case)]
            columns = [values[name].view(len(graph.pos), -1) for name in self.fields]
            graph.y, graph.y_names = torch.cat(columns, 1), self.fields
            graph.y_sizes, graph.y_units = tuple(column.shape[1] for column in columns), self.units
        graph.name = case
        return graph

    def files(self, index: int) -> dict[str, Path]:
        """Paths by role: surface and shear, or volume."""
        case = self.cases[self.position(index)]
        main = self._files[case]
        if self.domain == "volume":
            return {"volume": main}
        default = self.root / FOLDERS["shear"] / main.parent.name / main.name
        return {"surface": main, "shear": self._shears.get(case, default)}

    def required_files(self, index: int) -> dict[str, Path]:
        """The file of the pressure, and that of the shear where it is predicted."""
        files = self.files(index)
        return {role: path for role, path in files.items() if role != "shear" or "wallShearStress" in self.fields}

    def parameters(self, index: int) -> dict[str, float]:
        """The morphing parameters of the table, for the designs that it holds (half of the set); else {}."""
        results = (r"(average|std|mean|drag)\b.*", *NUMBERS.values(), AREA)
        row = self._row(index).items()
        return {name: value for name, value in row if not any(re.fullmatch(p, name, re.I) for p in results)}

    def numbers_of(self, index: int) -> dict[str, float]:
        """``cd`` and ``cl`` of the tables beside the data: averages over the last iterations; {} if absent."""
        row = self._row(index)
        found = {key: [v for name, v in row.items() if re.fullmatch(p, name, re.I)] for key, p in NUMBERS.items()}
        return {key: values[0] for key, values in found.items() if values}

    def flow_of(self, index: int) -> FlowConditions:
        """The flow of the set, with the projected area of the design where a table says it."""
        areas = [value for name, value in self._row(index).items() if re.fullmatch(AREA, name, re.I)]
        return replace(self.flow, frontal_area=areas[0]) if areas else self.flow

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Write ``num`` (1..30) shipped Ahmed bodies in this layout, at its speed; surfaces only. Returns ``root``.

        RANS of other bodies at another Reynolds number: the layout, not the set.
        """
        return write_designs(root, num, name=NAME, flow=CONDITIONS)

    def _row(self, index: int) -> dict[str, float]:
        return self._table.get(self.cases[self.position(index)], {})

    @cached_property
    def _table(self) -> dict[str, dict[str, float]]:
        """Numbers of every design, from all CSV files of the root and of ParametricModels."""
        found: dict[str, dict[str, float]] = {}
        for path in sorted([*self.root.glob("*.csv"), *(self.root / "ParametricModels").glob("*.csv")]):
            for design, row in _rows(path):
                found.setdefault(design, {}).update(row)
        return found


def find_designs(root: Path, folder: str, *, needed: bool = True) -> dict[str, Path]:
    """Id -> file of all designs below ``root/folder``, sorted by id.

    Raises:
        MissingDataError: There is none, and it is needed.
    """
    paths = sorted((root / folder).rglob("*.vtk"), key=lambda path: path.stem)
    if needed and not paths:
        raise MissingDataError(f"{NAME}: no .vtk file in {root / folder} or its folders; {ADVICE}")
    return {path.stem: path for path in paths}


def split_designs(
    root: Path, present: Sequence[str], splits: str | Path | Mapping[str, Sequence[str]] | None = None
) -> dict[str, tuple[str, ...]]:
    """Ids of each split that are on disk, in the order of the published lists (5,818 / 1,147 / 1,153).

    Raises:
        MissingDataError: There are no lists.
        InputError: A design stands in two of them.
    """
    if isinstance(splits, Mapping):
        listed = {name: tuple(map(str, ids)) for name, ids in splits.items()}
    else:
        folder = Path(splits) if splits is not None else root / "train_val_test_splits"
        paths = {name: folder / f"{name}_design_ids.txt" for name in ("train", "val", "test")}
        absent = [str(path) for path in paths.values() if not path.is_file()]
        if absent:
            raise MissingDataError(
                f"{NAME}: no list of designs {listing(absent)}; take the folder train_val_test_splits of "
                "Mohamedelrefaie/DrivAerNet, or give splits={'train': [...], 'test': [...]}"
            )
        listed = {name: tuple(path.read_text(encoding="utf-8").split()) for name, path in paths.items()}
    seen: dict[str, str] = {}
    for name, ids in listed.items():
        for design in ids:
            if seen.setdefault(design, name) != name:
                raise InputError(f"{NAME}: design {design} is in both '{seen[design]}' and '{name}'; list each once")
    there = set(present)
    missing = sum(design not in there for design in seen)
    if missing:
        warn(f"{NAME}: {missing} of {len(seen)} listed designs are not on disk and left out of their splits")
    return {name: tuple(design for design in ids if design in there) for name, ids in listed.items()}


def matched(points: Tensor, others: Tensor, case: str) -> Tensor:
    """``[n]`` for every point the row of the same place among ``others``, both ``[n, 3]`` in m.

    Raises:
        InputError: The two are not the same points.
    """
    length = float((points.amax(0) - points.amin(0)).max())
    if len(points) == len(others):
        row = knn_search(others, 1, points).index.view(-1)
        apart = (others[row] - points).norm(dim=1)
        if float(apart.max()) <= SAME_POINT * length:
            return row
        problem = f"{int((apart > SAME_POINT * length).sum())} points of one are not in the other"
    else:
        problem = f"{len(points)} and {len(others)} points"
    raise InputError(
        f"{NAME}: the pressure and shear files of {case} are of different meshes ({problem}); a few published ones "
        "are: leave this design out, or give fields=['p']"
    )


def _rows(path: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """(id, numbers) of a table whose first column names designs; cells that are no numbers are passed over."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            cells = list(row.items())
            if not cells or not isinstance(cells[0][1], str):
                continue
            numbers = {}
            for name, text in cells[1:]:
                try:
                    numbers[str(name).strip()] = float(text)
                except (TypeError, ValueError):
                    continue
            yield cells[0][1].strip(), numbers
