"""What the readers of Geo-FNO's benchmarks share: options, splits, and how arrays become graphs."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from meshops.aero.conditions import FlowConditions
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset, GraphCache, Transform, one_of
from meshops.datasets.geo_fno.files import (
    SPLITS,
    Array,
    check_shape,
    choose,
    find_folder,
    open_npy,
    point_graph,
    read_mat,
)
from meshops.errors import InputError

DRIVE = "download it from the Google Drive folder that the readme of github.com/neuraloperator/Geo-FNO names"


class GeoFNODataset(CaseDataset):
    """A benchmark in few files: arrays with one entry per sample.

    Args:
        root: Folder of the files, or one above it in the published layout.
        split: ``"train"``, ``"test"`` or ``"all"`` (every sample of the files).
        num_train: Number of samples to train on, the first of the file; None: as published.
        num_test: Number of samples to test on; None: as published.
        cache: Keep read cases in memory.
        transform: Applied to each graph that is handed out.

    Raises:
        MissingDataError: Folder or file is missing; says what to download.
        InputError: Unknown split, an array of another shape, or fewer samples than the split wants.

    Attributes:
        title: Name of the set in messages.
        names: Role of each file -> its name.
        folders: Folders below ``root`` where the files may be.
        published: Published numbers of training and test samples.
        last: Whether the last samples are tested on, else those after the training samples.
        sizes: Channels of each field.
        x_names: Names of the input channels.
    """

    title: ClassVar[str]
    names: ClassVar[dict[str, str]]
    folders: ClassVar[tuple[str, ...]]
    published: ClassVar[tuple[int, int]] = (1000, 200)
    last: ClassVar[bool] = False
    sizes: tuple[int, ...] = (1,)
    units: tuple[str, ...] = ("",)
    x_names: tuple[str, ...] = ()

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        num_train: int | None = None,
        num_test: int | None = None,
        cache: bool = True,
        transform: Transform | None = None,
    ) -> None:
        self._begin(root, split, cache, transform)
        train, test = self.numbers(num_train, num_test)
        total = self._open()
        self.samples = choose(split, total, num_train=train, num_test=test, last=self.last, what=self._where)
        self.cases = tuple(f"{sample:04d}" for sample in self.samples)

    def read(self, index: int) -> MeshGraph:
        """One sample: ``pos``, ``y``, ``x`` where there is one; edges and quads where the points form a grid."""
        index = self.position(index)
        pos, y, x = self._sample(index)
        graph = point_graph(pos, y, x)
        graph.x_names = self.x_names
        graph.y_names, graph.y_sizes, graph.y_units = self.fields, self.sizes, self.units
        graph.name = self.cases[index]
        graph.source = f"{next(iter(self.files(index).values()))}, sample {self.cases[index]}"
        return graph

    def files(self, index: int) -> dict[str, Path]:
        """Paths by role; all cases share them."""
        self.position(index)
        return self.paths

    def numbers(self, num_train: int | None, num_test: int | None) -> tuple[int, int]:
        """Numbers of training and test samples, the published ones for None."""
        train, test = self.published
        return train if num_train is None else num_train, test if num_test is None else num_test

    def _begin(self, root: str | Path, split: str, cache: bool, transform: Transform | None) -> None:
        self.split = one_of(f"{self.title}: split", split, SPLITS)
        self.root = find_folder(root, self.folders, tuple(self.names.values()), self.title, self._advice)
        self.paths = {role: self.root / name for role, name in self.names.items()}
        self.flow, self.flow_stated = FlowConditions(ground=None), False
        self.cache = GraphCache(cache)
        self.transform = transform
        self._kept: dict[str, Array] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the arrays: another process opens the files itself."""
        return self.__dict__ | {"_kept": {}}

    def _npy(self, role: str) -> Array:
        """Array of a .npy file, opened at the first call and mapped into memory."""
        if role not in self._kept:
            self._kept[role] = open_npy(self.paths[role], self.title, self._advice)
        return self._kept[role]

    def _mat(self, path: Path, key: str, samples: range, step: int = 1) -> Array:
        """Samples of an array of a .mat file, read at the first call: such files cannot be read in parts."""
        name = f"{path.name}/{key}"
        if name not in self._kept:
            self._kept[name] = read_mat(path, key, samples, step)
        return self._kept[name]

    @property
    def _where(self) -> str:
        return f"{self.title} ({next(iter(self.paths.values()))})"

    @property
    def _advice(self) -> str:
        return DRIVE

    @abstractmethod
    def _open(self) -> int:
        """Check names and shapes of the arrays; return the number of samples in the files."""

    @abstractmethod
    def _sample(self, index: int) -> tuple[Array, Array, Array | None]:
        """``pos``, ``y`` and ``x`` of case ``index`` with a trailing channel axis each."""


class CurvedGrid(GeoFNODataset):
    """Sets of three files ``X``, ``Y [n, rows, columns]`` and ``Q [n, channels, rows, columns]``, one channel used."""

    channel: ClassVar[int]

    def _open(self) -> int:
        x, y, q = (self._npy(role) for role in ("x", "y", "fields"))
        check_shape(self.paths["x"], "X", x.shape, ("samples", "rows", "columns"))
        check_shape(self.paths["y"], "Y", y.shape, x.shape)
        check_shape(self.paths["fields"], "Q", q.shape, (len(x), "channels", *x.shape[1:]))
        if q.shape[1] <= self.channel:
            wanted = f"more than {self.channel} channels"
            raise InputError(f"{self.paths['fields']}: Q must have {wanted} on its second axis, got {q.shape}")
        return len(x)

    def _sample(self, index: int) -> tuple[Array, Array, Array | None]:
        sample = self.samples[index]
        x, y, q = (self._npy(role) for role in ("x", "y", "fields"))
        return np.stack([x[sample], y[sample]], -1), q[sample, self.channel][..., None], None


def unit_grid(points: tuple[int, ...], step: int = 1) -> Array:
    """``[rows, columns, 2]`` places in the unit square of every ``step``-th of ``points``; the second axis is x.

    Example:
        >>> unit_grid((2, 3))[0].tolist()
        [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]]
    """
    down, right = (np.arange(0, n, step) / (n - 1) for n in points)
    return np.stack(np.meshgrid(right, down, indexing="xy"), -1)
