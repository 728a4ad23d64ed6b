"""AirfRANS (Bonnet et al. 2022, arXiv:2212.07564): 1000 RANS solutions past NACA airfoils, in PyG's form.

Files ``AirfRANS.pt`` (a list of dictionaries of tensors) and ``manifest.json`` (names of the cases of each task), which
``torch_geometric.datasets.AirfRANS`` keeps in its folder ``raw``. Nothing is normalized, there are no edges.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from meshops.aero.conditions import FlowConditions
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.airfrans.standin import write_airfrans
from meshops.datasets.base import CaseDataset, GraphCache, Transform, existing_file, one_of, select
from meshops.datasets.geo_fno.files import SPLITS, find_folder
from meshops.datasets.registry import register_dataset
from meshops.errors import InputError, listing
from meshops.io import read_json
from meshops.tensor_files import UnsoundError, load_tensors

NAME = "AirfRANS"
FILE, MANIFEST = "AirfRANS.pt", "manifest.json"
TASKS = ("full", "scarce", "reynolds", "aoa")
COLUMNS = {"pos": 2, "x": 5, "y": 4}
FIELDS = ("velocity", "pressure", "turbulent_viscosity")
UNITS = ("m/s", "m^2/s^2", "m^2/s")
X_NAMES = ("inlet_velocity_x", "inlet_velocity_y", "distance", "normal_x", "normal_y")
SURFACE = 1
ADVICE = (
    "download data.isir.upmc.fr/extrality/pytorch_geometric/AirfRANS.zip, or let torch_geometric.datasets.AirfRANS do "
    f"so, and give the folder of {FILE} and {MANIFEST}"
)


@register_dataset("airfrans", layout=("AirfRANS.pt", "raw/AirfRANS.pt"))
class AirfRANS(CaseDataset):
    """Points around an airfoil of chord 1 m, some 180,000 a case: inlet velocity and geometry -> mean flow.

    ``x`` is the inlet velocity (2, m/s), the distance to the airfoil (m) and the normal on it (2, zero elsewhere);
    ``y`` is the velocity (2, m/s), the pressure over the density (m^2/s^2, 0 in the free stream) and the turbulent
    viscosity (m^2/s). ``node_type`` is 1 on the airfoil, else 0.

    The file is mapped into memory and read case by case. It is opened for tensors only: a file that holds code is
    refused.

    Args:
        root: Folder of the two files, or the one above its ``raw``.
        split: ``"train"``, ``"test"`` or ``"all"`` (both, of the task).
        task: ``"full"`` (800 / 200), ``"scarce"`` (200 train, the same test), ``"reynolds"`` or ``"aoa"`` (unseen
            Reynolds numbers or angles of attack).
        num_train: Use the first so many training cases; None: all.
        num_test: Likewise for the test.
        cache: Keep read cases in memory (8 MB each).
        transform: Applied to each graph that is handed out.

    Raises:
        MissingDataError: A file is missing; says what to download.
        InputError: Unknown task or split, a damaged file, or fewer cases than asked for.

    Example:
        >>> AirfRANS("data/airfrans", "test", task="aoa")[0].y_names  # doctest: +SKIP
        ('velocity', 'pressure', 'turbulent_viscosity')
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        task: str = "full",
        num_train: int | None = None,
        num_test: int | None = None,
        cache: bool = True,
        transform: Transform | None = None,
    ) -> None:
        self.split = one_of(f"{NAME}: split", split, SPLITS)
        self.task = one_of(f"{NAME}: task", task, TASKS)
        self.root = find_folder(root, ("raw", NAME), (FILE, MANIFEST), NAME, ADVICE)
        self._places, parts = _read_manifest(existing_file(self.root / MANIFEST, NAME, ADVICE), task)
        for part, number in (("train", num_train), ("test", num_test)):
            parts[part] = _first(parts[part], number, f"{NAME}: num_{part}")
        self.cases = select(parts, split, NAME)
        existing_file(self.root / FILE, NAME, ADVICE)
        self.fields, self.units = FIELDS, UNITS
        self.flow = FlowConditions(up=(0.0, 1.0, 0.0), ground=None, symmetric=False)
        self.flow_stated = False  # each case has a speed of its own
        self.cache = GraphCache(cache)
        self.transform = transform
        self._entries: list[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped file: another process opens it itself."""
        return self.__dict__ | {"_entries": None}

    def read(self, index: int) -> MeshGraph:
        """One case: ``pos``, ``x``, ``y`` and ``node_type``."""
        name = self.cases[self.position(index)]
        path = self.root / FILE
        if self._entries is None:
            self._entries = load_entries(path, len(self._places))
        where = f"{path}, case {self._places[name]} ({name})"
        tensors = _tensors(self._entries[self._places[name]], where)
        graph = MeshGraph(pos=tensors["pos"], x=tensors["x"], y=tensors["y"], node_type=tensors["surf"])
        graph.x_names = X_NAMES
        graph.y_names, graph.y_sizes, graph.y_units = FIELDS, (2, 1, 1), UNITS
        graph.location = "point"
        graph.name, graph.source = name, where
        return graph

    def files(self, index: int) -> dict[str, Path]:
        """The two files; all cases share them."""
        self.position(index)
        return {"cases": self.root / FILE, "manifest": self.root / MANIFEST}

    def parameters(self, index: int) -> dict[str, float]:
        """Inlet speed (m/s) and angle of attack (degrees), from the name of the case."""
        words = self.cases[self.position(index)].split("_")
        try:
            return {"speed": float(words[2]), "angle_of_attack": float(words[3])}
        except (IndexError, ValueError):
            return {}

    @classmethod
    def standin(cls, root: str | Path, num: int = 4, *, points: int = 2000) -> Path:
        """Potential flow past Joukowski airfoils: no boundary layer, no wake, made-up turbulent viscosity.

        Args:
            root: Folder to write.
            num: Number of cases, at least 2; the last quarter tests.
            points: Points of a case.
        """
        return write_airfrans(Path(root), num, points)


def load_entries(path: Path, count: int) -> list[Any]:
    """Cases of ``AirfRANS.pt``, mapped into memory; nothing but tensors and PyG's containers is built.

    Args:
        path: The file.
        count: Number of cases the manifest names.

    Raises:
        InputError: The file is damaged, holds code, or another number of cases.
    """
    try:
        with torch.serialization.safe_globals([Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]):
            zipped = _is_zip(path)
            entries = load_tensors(path, mapped=True) if zipped else torch.load(path, weights_only=True)
    except UnsoundError as error:
        raise InputError(f"{path}: cannot be read, it {error}; the file is damaged, download it again") from None
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: holds more than tensors and was not loaded ({reason}); download it again") from None
    except (RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}); the file is damaged, download it again") from None
    if not isinstance(entries, list) or len(entries) != count:
        found = f"{len(entries)} cases" if isinstance(entries, list) else f"a {type(entries).__name__}"
        raise InputError(f"{path}: expected a list of the {count} cases of {MANIFEST}, got {found}; download both")
    return entries


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _tensors(entry: Any, where: str) -> dict[str, Tensor]:
    """Float32 ``pos``, ``x``, ``y`` and int64 ``surf`` of one entry, shapes checked; copies of the mapped file."""
    values = entry.to_dict() if isinstance(entry, Data) else entry
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a dictionary, got a {type(entry).__name__}; download {FILE} again")
    missing = [key for key in (*COLUMNS, "surf") if not isinstance(values.get(key), Tensor)]
    if missing:
        raise InputError(f"{where}: no tensor {listing(missing)}; it holds {listing(values)}; download {FILE} again")
    rows = len(values["pos"])
    for key, columns in COLUMNS.items():
        if tuple(values[key].shape) != (rows, columns):
            found = tuple(values[key].shape)
            raise InputError(f"{where}: '{key}' must be [{rows}, {columns}], got {found}; download {FILE} again")
    if values["surf"].numel() != rows:
        raise InputError(f"{where}: 'surf' must have {rows} entries, got {tuple(values['surf'].shape)}")
    out = {key: values[key].to(torch.float32, copy=True).contiguous() for key in COLUMNS}
    return out | {"surf": values["surf"].reshape(-1).bool().long() * SURFACE}


def _read_manifest(path: Path, task: str) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Place of each case in the file, and the cases of each split of a task, in the order of the file."""
    listed = read_json(path, "download it again")
    keys = {"train": f"{task}_train", "test": "full_test" if task == "scarce" else f"{task}_test"}
    wanted = ("full_train", "full_test", *keys.values())
    missing = [key for key in wanted if not isinstance(listed, dict) or not isinstance(listed.get(key), list)]
    if missing:
        held = listing(listed) if isinstance(listed, dict) else f"a {type(listed).__name__}"
        raise InputError(f"{path}: no list {listing(dict.fromkeys(missing))}; it holds {held}; download it again")
    # Reference code: cases are stored in this order (torch_geometric.datasets.AirfRANS).
    places = {name: place for place, name in enumerate(listed["full_train"] + listed["full_test"])}
    parts = {part: {name for name in listed[key]} for part, key in keys.items()}
    strangers = sorted(set().union(*parts.values()) - set(places))
    if strangers:
        raise InputError(
            f"{path}: task '{task}' names {listing(strangers, 3)}, which are not in full_train or full_test"
        )
    return places, {part: tuple(name for name in places if name in chosen) for part, chosen in parts.items()}


def _first(cases: tuple[str, ...], number: int | None, what: str) -> tuple[str, ...]:
    if number is None:
        return cases
    if not 1 <= number <= len(cases):
        raise InputError(f"{what} must be 1 to {len(cases)}, the cases of the task, got {number}")
    return cases[:number]
