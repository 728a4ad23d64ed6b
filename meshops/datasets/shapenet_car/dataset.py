"""ShapeNet-Car (Umetani and Bickel 2018, "mlcfd_data"): 889 cars, time-averaged flow at 20 m/s.

Three protocols of the literature read the same files: A (Transolver, MSPT), B (UPT, Erwin), C (AB-UPT). They differ in
split, points and features; which is which is on the dataset's card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
import torch

from meshops.aero.conditions import FlowConditions
from meshops.data import convert
from meshops.data.mesh_graph import JUDGED, LEARNT, UNKNOWN, MeshGraph
from meshops.datasets.base import CaseDataset, GraphCache, Transform, existing_file, existing_root, one_of, select
from meshops.datasets.registry import register_dataset
from meshops.datasets.shapenet_car.drag import DENSITY, SPEED, VISCOSITY, car_drag, quads_of
from meshops.datasets.shapenet_car.files import (
    NUM_COMMON,
    NUM_VOLUME_POINTS,
    CarSurface,
    CarVolume,
    copy_problems,
    count_problems,
    points_and_vectors,
    read_surface,
    read_volume,
)
from meshops.datasets.shapenet_car.standin import write_standin
from meshops.errors import InputError, MissingDataError, warn

Array = np.ndarray[Any, Any]

NAME = "ShapeNetCar"
NUM_CARS = 889
NUM_TEST_B = 189
NUM_FOLDS = 9
PROTOCOLS = ("A", "B", "C")
DOMAINS = ("all", "surface")
# Folders that hold no files in the published archive.
EMPTY = (
    "854bb96a96a4d1b338acbabdc1252e2f",
    "85bb9748c3836e566f81b21e2305c824",
    "9ec13da6190ab1a3dd141480e2c154d3",
    "c5079a5b8d59220bc3fb0d224baae2a",
)
# Values of ``node_type``; 0 and 1 are those of meshops.data.convert.
SURFACE, LOOSE, VOLUME = 0, 1, 2
FEATURES = {
    "A": ("x", "y", "z", "sdf", "normal_x", "normal_y", "normal_z"),
    "B": (),
    "C": ("sdf", "normal_x", "normal_y", "normal_z"),
}
CONDITIONS = FlowConditions(
    flow=(0.0, 0.0, 1.0),
    up=(0.0, 1.0, 0.0),
    speed=SPEED,
    density=DENSITY,
    viscosity=VISCOSITY,
    ground=None,
    area_rule="hull",
    symmetric=True,
)
ADVICE = (
    "download mlcfd_data.zip (2.03 GB) from www.nobuyuki-umetani.com/publication/mlcfd_data.zip and unpack "
    "param0.tar.gz to param8.tar.gz inside its folder training_data"
)


@register_dataset("shapenet_car", layout=("training_data/param*/*/quadpress_smpl.vtk", "param*/*/quadpress_smpl.vtk"))
class ShapeNetCar(CaseDataset):
    """Cars of a folder in the published layout (``training_data/param<k>/<hash>/quadpress_smpl.vtk`` and so on).

    ======== ============================== ============================================ ==================
    protocol split (train / test)           rows                                         x, y
    ======== ============================== ============================================ ==================
    A        folder ``param<test_fold>`` is 28,504 exterior volume points, then all      position, sdf,
             the test set (789 / 100)       3,682 surface points                         normal; velocity,
                                                                                         pressure
    B        permutation with seed 0        3,586 surface points that belong to a quad   none; pressure
             (700 / 189)
    C        as A                           28,504 volume, then 3,586 surface points     sdf, normal;
                                                                                         velocity, pressure
    ======== ============================== ============================================ ==================

    ``node_type`` is 0 on the surface, 1 for the 96 surface points without a quad (only A keeps them), 2 in the volume:
    ``surf`` of the literature is ``node_type != 2``. Pressure (Pa) is 0 in the volume; velocity (m/s) on the surface
    is that of the coincident volume point and 0 where there is none (73 % of the surface). ``y_use`` says what counts:
    velocity in the volume (in A learnt on the surface too, as published), pressure on the surface.
    ``sdf`` is the distance to the nearest surface *point*, unused ones included; ``normal`` in the volume points away
    from it. The quads of the surface travel with the graph, so predictions can be written back; ``area`` is 0 in the
    volume. Nothing is normalized.

    Args:
        root: Folder that holds ``training_data``, or that folder itself.
        split: ``"train"``, ``"test"`` or ``"all"``.
        protocol: ``"A"``, ``"B"`` or ``"C"``.
        test_fold: Test folder 0..8 of protocols A and C.
        domain: ``"surface"`` keeps the surface rows of A and C and the pressure only. ``"all"`` does so too, with a
            warning, when no car has ``hexvelo_smpl.vtk``.
        transform: Applied to each graph that is handed out.
        cache: Keep read cases in memory (about 3 MB each).

    Raises:
        MissingDataError: Folder or cars are missing; says what to download.
        InputError: Unknown split, protocol or fold.

    Example:
        >>> ShapeNetCar("data/shapenet_car", "test", protocol="B")[0].pos.shape  # doctest: +SKIP
        torch.Size([3586, 3])
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        protocol: str = "A",
        test_fold: int = 0,
        domain: str = "all",
        transform: Transform | None = None,
        cache: bool = False,
    ) -> None:
        self.protocol = one_of(f"{NAME}: protocol", protocol, PROTOCOLS)
        one_of(f"{NAME}: domain", domain, DOMAINS)
        self.root = training_folder(root)
        self.split = split
        found = find_cars(self.root)
        self.cases = found if split == "all" else select(split_cars(found, protocol, test_fold), split, NAME)
        self.domain = self._domain(domain)
        self.fields = ("velocity", "pressure") if self.domain == "all" else ("pressure",)
        self.units = ("m/s", "Pa") if self.domain == "all" else ("Pa",)
        self.x_names = FEATURES[protocol]
        self.flow = CONDITIONS
        self.transform = transform
        self.cache = GraphCache(cache)

    def read(self, index: int) -> MeshGraph:
        """One car with the rows and features of the protocol."""
        files = self.required_files(index)
        surface = read_surface(existing_file(files["pressure"], NAME, ADVICE))
        volume = read_volume(existing_file(files["velocity"], NAME, ADVICE), surface) if self.domain == "all" else None
        rows = np.arange(len(surface.points)) if self.protocol == "A" else np.unique(surface.quads)
        wall = LEARNT if self.protocol == "A" else UNKNOWN  # velocity on the surface
        graph = _graph(surface, volume, rows, self.units, str(files["pressure"]), wall)
        features = {name: column for name, column in zip(FEATURES["A"], graph.x.T, strict=True)}
        graph.x = torch.stack([features[name] for name in self.x_names], 1) if self.x_names else None
        graph.x_names = self.x_names
        graph.name = self.cases[index]
        graph.source = str(files["pressure"])
        return graph

    def files(self, index: int) -> dict[str, Path]:
        """Paths by role: pressure, velocity, press, velo, cd."""
        folder = self.root / self.cases[self.position(index)]
        return {
            "pressure": folder / "quadpress_smpl.vtk",
            "velocity": folder / "hexvelo_smpl.vtk",
            "press": folder / "press.npy",
            "velo": folder / "velo.npy",
            "cd": folder / "cd.txt",
        }

    def required_files(self, index: int) -> dict[str, Path]:
        """Name the surface file, and the volume file unless only surface rows are read."""
        wanted = ("pressure", "velocity") if self.domain == "all" else ("pressure",)
        return {role: path for role, path in self.files(index).items() if role in wanted}

    def numbers_of(self, index: int) -> dict[str, float]:
        """``cd`` from ``cd.txt``; {} if the file is absent.

        Raises:
            InputError: The file does not start with a number.
        """
        path = self.files(index)["cd"]
        if not path.is_file():
            return {}
        words = path.read_text(encoding="utf-8").split()
        try:
            return {"cd": float(words[0])}
        except (IndexError, ValueError):
            raise InputError(f"{path}: expected a number, got {' '.join(words)[:40]!r}; download it again") from None

    def measured(self, graph: MeshGraph, fields: Mapping[str, Array]) -> dict[str, float]:
        """C_D by the formula the literature of this set uses, see :func:`.drag.car_drag`; {} without a pressure.

        Its second term takes the velocity on the surface, which only protocol A has.
        """
        if "pressure" not in fields:
            return {}
        velocity = fields.get("velocity") if self.protocol == "A" else None
        return {"car_cd": car_drag(graph.pos, quads_of(graph), fields["pressure"], velocity).coefficient}

    def extra_problems(self, index: int, graph: MeshGraph) -> Iterator[tuple[Path | None, str]]:
        """Also compares counts and the two copies of each field."""
        yield from super().extra_problems(index, graph)
        files = self.files(index)
        surface = read_surface(files["pressure"])
        yield from count_problems(files["pressure"], surface)
        yield from copy_problems(files["press"], surface.pressure)
        if self.domain == "all":
            points, velocity = points_and_vectors(files["velocity"])
            common = len(points) - int((graph.node_type == VOLUME).sum())
            if (len(points), common) != (NUM_VOLUME_POINTS, NUM_COMMON):
                found = f"{len(points)} points, {common} of them on the surface"
                yield files["velocity"], f"{found}, instead of {NUM_VOLUME_POINTS} and {NUM_COMMON}"
            yield from copy_problems(files["velo"], velocity)
        try:
            self.numbers_of(index)
        except InputError as error:
            yield files["cd"], str(error)

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Write ``num`` cars with exact file names, counts and types: potential flow past ellipsoids, not CFD.

        See :mod:`meshops.datasets.shapenet_car.standin`. Car i goes to ``param<i mod 9>``. Returns ``root``.
        """
        if num < 1:
            raise InputError(f"{NAME}.standin: num must be at least 1, got {num}")
        return write_standin(Path(root), num)

    def _domain(self, domain: str) -> str:
        if self.protocol == "B" or domain == "surface":
            return "surface"
        if any(self.files(index)["velocity"].is_file() for index in range(len(self))):
            return "all"
        warn(
            f"{NAME}: no hexvelo_smpl.vtk under {self.root}, so protocol {self.protocol} holds the surface rows and "
            "the pressure only; give domain='surface' to confirm, or download the volume files"
        )
        return "surface"


def training_folder(root: str | Path) -> Path:
    """Find the folder with ``param0`` ... inside ``root``.

    Raises:
        MissingDataError: Neither ``root`` nor ``root/training_data`` has one.
    """
    path = existing_root(root, NAME, ADVICE)
    for folder in (path / "training_data", path):
        if any((folder / f"param{fold}").is_dir() for fold in range(NUM_FOLDS)):
            return folder
    raise MissingDataError(f"{NAME}: no folder param0 to param8 in {path} or its training_data; {ADVICE}")


def find_cars(folder: Path) -> tuple[str, ...]:
    """Cars as ``param<k>/<hash>``, sorted by folder and name.

    Loose files, names with a dot and the four folders that are empty in the archive are passed over.

    Raises:
        MissingDataError: There is no car.
    """
    cars = [
        f"param{fold}/{path.name}"
        for fold in range(NUM_FOLDS)
        for path in sorted((folder / f"param{fold}").glob("*"))
        if path.is_dir() and "." not in path.name and path.name not in EMPTY
    ]
    if not cars:
        raise MissingDataError(f"{NAME}: no car in {folder}/param0 to param8; {ADVICE}")
    return tuple(cars)


def split_cars(cars: tuple[str, ...], protocol: str, test_fold: int = 0) -> dict[str, tuple[str, ...]]:
    """Train and test cars of a protocol, each in sorted order.

    Args:
        cars: From :func:`find_cars`.
        protocol: ``"A"``, ``"B"`` or ``"C"``.
        test_fold: Test folder of A and C.

    Raises:
        InputError: The fold is not 0..8.
    """
    if protocol == "B":
        order = torch.randperm(len(cars), generator=torch.Generator().manual_seed(0)).tolist()
        num_test = round(len(cars) * NUM_TEST_B / NUM_CARS)
        if len(cars) != NUM_CARS:
            num_test = min(max(1, num_test), len(cars))
            warn(
                f"{NAME}: {len(cars)} of {NUM_CARS} cars on disk, so protocol B's split is not the published one; the "
                f"same permutation over these cars leaves {len(cars) - num_test} train and {num_test} test"
            )
        test = set(order[:num_test])
        return {
            "train": tuple(car for index, car in enumerate(cars) if index not in test),
            "test": tuple(car for index, car in enumerate(cars) if index in test),
        }
    if test_fold not in range(NUM_FOLDS):
        raise InputError(f"{NAME}: test_fold must be 0..{NUM_FOLDS - 1}, got {test_fold!r}")
    prefix = f"param{test_fold}/"
    return {
        "train": tuple(car for car in cars if not car.startswith(prefix)),
        "test": tuple(car for car in cars if car.startswith(prefix)),
    }


def _graph(
    surface: CarSurface, volume: CarVolume | None, rows: Array, units: tuple[str, ...], label: str, wall_velocity: int
) -> MeshGraph:
    """Volume rows, then the surface points ``rows``, with protocol A's features."""
    points, normals = surface.points[rows], surface.normals[rows]
    pressure, areas = surface.pressure[rows, None], surface.areas[rows]
    new_number = np.zeros(len(surface.points), dtype=np.int64)
    new_number[rows] = np.arange(len(rows))
    quads, sdf, count = new_number[surface.quads], np.zeros(len(rows)), 0
    fields = {"pressure": pressure}
    if volume is not None:
        count = len(volume.points)
        points, normals = np.vstack([volume.points, points]), np.vstack([volume.normals, normals])
        sdf, areas = np.concatenate([volume.sdf, sdf]), np.concatenate([np.zeros(count), areas])
        velocity = np.vstack([volume.velocity, volume.surface_velocity[rows]])
        fields = {"velocity": velocity, "pressure": np.vstack([np.zeros((count, 1)), pressure])}
    cells = np.hstack([np.full((len(quads), 1), 4), quads + count]).reshape(-1)
    mesh = pv.UnstructuredGrid(cells, np.full(len(quads), pv.CellType.QUAD), points)
    for name, values in fields.items():
        mesh.point_data[name] = values[:, 0] if values.shape[1] == 1 else values
    graph = convert.from_pyvista(mesh, fields=tuple(fields), location="point", label=label, units=units)
    if volume is not None:  # a surface alone keeps the normals any reader of the file would compute
        graph.normal, graph.area = _float(normals), _float(areas)
    graph.x = _float(np.hstack([points, sdf[:, None], normals]))
    graph.node_type[:count] = VOLUME
    if volume is not None:
        graph.y_use = torch.tensor([wall_velocity, JUDGED], dtype=torch.int8).repeat(len(points), 1)
        graph.y_use[:count] = torch.tensor([JUDGED, UNKNOWN])
    return graph


def _float(values: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
