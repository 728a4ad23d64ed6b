"""EAGLE: air pushed by a flying source past walls, on triangle meshes that move (Janny et al. 2023, 2302.10803).

Layout: ``<root>/{Spl,Cre,Tri}/<geometry>/<1|2>/sim.npz`` with ``pointcloud`` [t, n, 2], ``VX``, ``VY``, ``PS``, ``PG``
[t, n] and ``mask`` [t, n] or [t, n, 1], and ``triangles.npy`` [t, f, 3]. A state is (VX, VY, PS, PG).
Departures from the reference loader: edges are those of each frame (there: without repetition over a whole window at
once); no ghost nodes; triangles [f, 3] of a mesh that stays are read too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshops.datasets.base import existing_file, existing_root, one_of
from meshops.datasets.eagle.files import FAMILIES, jet_case, split_of, write_eagle_case
from meshops.datasets.formats.npy_rows import NpzRows, npy_member, npy_rows
from meshops.datasets.mesh_trajectory import NODE_TYPES, MeshSpec, MeshTrajectoryDataset, MeshWindow
from meshops.datasets.registry import register_dataset
from meshops.errors import InputError, MissingDataError, listing, warn
from meshops.io import replacing
from meshops.partition.cluster import SameSizeKMeans

ADVICE = (
    "download the archives spline, step and triangular from datasets.liris.cnrs.fr/eagle-version1 and give the folder "
    "that holds Spl, Cre and Tri"
)
SPLITS = ("train", "valid", "test")
FIELDS = ("VX", "VY", "PS", "PG")
# Reference code: Dataloader/eagle.py, normalize. Per channel (x, y) and (PS, PG).
VELOCITY_MEAN = (-0.0015, 0.2211)
VELOCITY_STD = (1.7970, 2.0258)
PRESSURE_MEAN = (-0.8322, 4.6050)
PRESSURE_STD = (7.4013, 9.7232)
TEST_START = 100  # first frame of the windows of the reference code that are no training windows


@register_dataset("eagle", layout=("Spl/*/*/sim.npz", "Cre/*/*/sim.npz", "Tri/*/*/sim.npz"))
class Eagle(MeshTrajectoryDataset):
    """Trajectories of EAGLE.

    Only the frames asked for are read. Splits are the published lists where ``splits`` or the folder ``splits`` of the
    data has them, else ours: the geometries in the order of their numbers, the last tenth tests, the tenth before it
    validates, both flights of a geometry in one split (the published lists are cut the same way).

    Args:
        root: Folder that holds ``Spl``, ``Cre`` and ``Tri``.
        split: ``"train"``, ``"valid"`` (or ``"val"``), ``"test"`` or ``"all"``.
        splits: Folder of ``train.txt``, ``valid.txt``, ``test.txt`` with lines such as ``Spl/184/2``.
        cluster_cache: Keep computed clusters beside the data, where it can be written.
        cluster_root: Folder with the tree of the data that holds the published clusters; None: beside the data.

    Raises:
        MissingDataError: The folder, or trajectories of the split, are not there.
        InputError: A file is damaged.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        splits: str | Path | None = None,
        cluster_cache: bool = True,
        cluster_root: str | Path | None = None,
    ) -> None:
        split = "valid" if split == "val" else one_of("split", split, (*SPLITS, "val", "all"))
        self.root = existing_root(root, "EAGLE", ADVICE)
        self.cluster_cache = cluster_cache
        self.cluster_root = self.root if cluster_root is None else Path(cluster_root).expanduser()
        self.spec = MeshSpec(
            fields=("velocity", "pressure"), sizes=(2, 2), units=("m/s", ""), time_step=1 / 30,
            forced=(2, 4, 6),  # Reference code: disabled, inflow and wall nodes are set to the data at every step
            weights=(1.0, 0.1),
        )  # fmt: skip
        self.cases = self._cases(split, splits)
        lengths = []
        for case in self.cases:
            with NpzRows(self._file(case, "sim.npz")) as data:
                lengths.append(data.member("pointcloud").shape[0])
        self.lengths = tuple(lengths)

    def window(self, index: int, start: int, length: int) -> MeshWindow:
        """See the base class."""
        index = self.position(index)
        self.check_window(index, start, length)
        case = self.cases[index]
        path = self._file(case, "sim.npz")
        with NpzRows(path) as data:
            n = _check_shapes(data)
            pos = data.rows("pointcloud", start, length)
            state = np.stack([data.rows(name, start, length) for name in FIELDS], axis=-1)
            mask = data.rows("mask", start, length).reshape(length, n).astype(np.int64)
        if mask.min() < 0 or mask.max() >= NODE_TYPES:
            raise InputError(
                f"{path}: 'mask' holds node types from {mask.min()} to {mask.max()}, allowed are 0 to {NODE_TYPES - 1}"
            )
        return MeshWindow(
            pos=torch.from_numpy(pos).float(),
            state=torch.from_numpy(state).float(),
            node_type=torch.from_numpy(mask),
            triangles=self._triangles(case, start, length, self.lengths[index], n),
        )

    def clusters(self, index: int, frame: int, size: int) -> Tensor | None:
        """``[n]`` int64 cluster of each node of a frame, at most ``size`` nodes each.

        From ``constrained_kmeans_<size>.npy`` (published: ``[t, clusters, size]`` node numbers, -1 where a cluster is
        not full) where it exists; else of ``SameSizeKMeans``, kept in ``meshops_clusters_<size>.npz`` of the case.

        Raises:
            InputError: The frame does not exist, or the file does not hold every node once.
        """
        index = self.position(index)
        self.check_window(index, frame, 1)
        if size < 1:
            raise InputError(f"size must be at least 1 node per cluster, got {size}")
        case = self.cases[index]
        published = self.cluster_root / case / f"constrained_kmeans_{size}.npy"
        with NpzRows(self._file(case, "sim.npz")) as data:
            n = data.member("pointcloud").shape[1]
            if published.is_file():
                return _published_clusters(published, frame, self.lengths[index], n)
            cache = self.root / case / f"meshops_clusters_{size}.npz"
            label = _cached(cache, frame, n) if self.cluster_cache else None
            if label is None:
                pos = torch.from_numpy(data.rows("pointcloud", frame, 1)[0]).float()
                label = SameSizeKMeans(size).partition(pos).node_to_patch
                if self.cluster_cache:
                    _keep(cache, frame, label)
        return label

    @classmethod
    def standin(cls, root: str | Path, num: int = 4, *, frames: int = 12, nodes: int = 300) -> Path:
        """Analytic vortices below a flying source, not a solution: :func:`meshops.datasets.eagle.files.jet_case`.

        At least three trajectories; the last two are those of ``splits/valid.txt`` and ``splits/test.txt``.
        """
        root = Path(root)
        names = []
        for number in range(max(num, 3)):
            geometry, family = divmod(number, len(FAMILIES))
            names.append(f"{FAMILIES[family]}/{geometry + 1}/{1 + number % 2}")
            write_eagle_case(root / names[-1], **jet_case(number, frames=frames, nodes=nodes))
        (root / "splits").mkdir()
        for split, chosen in zip(SPLITS, (names[:-2], names[-2:-1], names[-1:]), strict=True):
            (root / "splits" / f"{split}.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
        return root

    def _file(self, case: str, name: str) -> Path:
        return existing_file(self.root / case / name, "EAGLE", ADVICE)

    def _cases(self, split: str, splits: str | Path | None) -> tuple[str, ...]:
        present = [path.parent.relative_to(self.root).as_posix() for path in self.root.glob("*/*/*/sim.npz")]
        present = [case for case in present if case.split("/")[0] in FAMILIES]
        if not present:
            raise MissingDataError(f"EAGLE: no {{{','.join(FAMILIES)}}}/*/*/sim.npz in {self.root}; {ADVICE}")
        parts = SPLITS if split == "all" else (split,)
        folder = next((path for path in (self.root / "splits", self.root / "Splits") if path.is_dir()), None)
        folder = Path(splits).expanduser() if splits is not None else folder
        if folder is None:
            ours = split_of(present)
            cases = tuple(case for part in parts for case in ours[part])
        else:
            cases = tuple(case for part in parts for case in self._listed(folder / f"{part}.txt", set(present)))
        if not cases:
            raise InputError(f"EAGLE: the split '{split}' of {self.root} has no trajectory; choose another split")
        return cases

    def _listed(self, path: Path, present: set[str]) -> list[str]:
        """Trajectories of a list, without those of families of which nothing is there."""
        listed = existing_file(path, "EAGLE", "the lists are in the folder splits of EagleMeshTransformer").read_text()
        cases = [line.strip().strip("/") for line in listed.splitlines() if line.strip()]
        families = {case.split("/")[0] for case in present}
        absent = sorted({case.split("/")[0] for case in cases} - families)
        if absent:
            warn(f"EAGLE: no trajectory of {listing(absent)} in {self.root}; they are left out of the split")
        cases = [case for case in cases if case.split("/")[0] in families]
        missing = [case for case in cases if case not in present]
        if missing:
            raise MissingDataError(
                f"EAGLE: {len(missing)} of {len(cases)} trajectories of {path.name} are not in {self.root}: "
                f"{listing(missing, 4)}; {ADVICE}"
            )
        return cases

    def _triangles(self, case: str, start: int, length: int, steps: int, n: int) -> tuple[Tensor, ...]:
        path = self._file(case, "triangles.npy")
        shape = npy_member(path).shape
        if len(shape) not in (2, 3) or shape[-1] != 3 or (len(shape) == 3 and shape[0] != steps):
            raise InputError(f"{path}: has shape {list(shape)}, expected [{steps}, triangles, 3] or [triangles, 3]")
        still = len(shape) == 2
        found = npy_rows(path, 0, shape[0])[None] if still else npy_rows(path, start, length)
        if found.size and (found.min() < 0 or found.max() >= n):
            raise InputError(
                f"{path}: triangles name nodes from {found.min()} to {found.max()}, the mesh has {n} (0 to {n - 1}); "
                "does it belong to this sim.npz?"
            )
        frames = tuple(_unpadded(torch.from_numpy(frame.astype(np.int64))) for frame in found)
        return frames * length if still else frames


def _check_shapes(data: NpzRows) -> int:
    """n, number of nodes; all arrays must have the same frames and nodes."""
    shape = data.member("pointcloud").shape
    if len(shape) != 3 or shape[2] != 2:
        raise InputError(f"{data.path}: 'pointcloud' has shape {list(shape)}, expected [frames, nodes, 2]")
    for name in (*FIELDS, "mask"):
        found = data.member(name).shape
        if len(found) not in ((2, 3) if name == "mask" else (2,)) or found[2:] not in ((), (1,)):
            raise InputError(f"{data.path}: '{name}' has shape {list(found)}, expected [frames, nodes]")
        for what, ours, theirs in (("steps", found[0], shape[0]), ("nodes", found[1], shape[1])):
            if ours != theirs:
                raise InputError(
                    f"{data.path}: {name} has {ours} {what}, pointcloud {theirs}; it is damaged, download it again"
                )
    return int(shape[1])


def _unpadded(triangles: Tensor) -> Tensor:
    """Without copies of the last triangle at the end, by which shorter lists of ``write_eagle_case`` are filled up."""
    other = (triangles != triangles[-1:]).any(1).nonzero()
    last = int(other[-1]) + 2 if len(other) else min(len(triangles), 1)
    return triangles[:last].contiguous()


def _published_clusters(path: Path, frame: int, steps: int, n: int) -> Tensor:
    shape = npy_member(path).shape
    if len(shape) != 3 or shape[0] != steps:
        raise InputError(f"{path}: has shape {list(shape)}, expected [{steps}, clusters, nodes of a cluster]")
    members = torch.from_numpy(npy_rows(path, frame, 1)[0].astype(np.int64))
    place = (members >= 0).nonzero()
    node = members[place[:, 0], place[:, 1]]
    if not torch.equal(node.sort().values, torch.arange(n)):
        raise InputError(
            f"{path}: frame {frame} does not hold each of the {n} nodes once; does it belong to this sim.npz?"
        )
    label = torch.empty(n, dtype=torch.long)
    label[node] = place[:, 0]
    return label


def _cached(path: Path, frame: int, n: int) -> Tensor | None:
    """Labels of a frame from our own file; None where it has none, is not readable or of another mesh."""
    if not path.is_file():
        return None
    try:
        with NpzRows(path) as data:
            count = data.member("frames").shape[0]
            if data.member("labels").shape != (count, n):
                return None
            place = np.flatnonzero(data.rows("frames", 0, count) == frame)
            return torch.from_numpy(data.rows("labels", int(place[0]), 1)[0]).long() if len(place) else None
    except InputError:
        return None


def _keep(path: Path, frame: int, label: Tensor) -> None:
    """Add the labels of a frame to our own file; of two processes at once one may lose its frame, nothing else."""
    frames, labels = np.array([frame]), label.numpy().astype(np.int32)[None]
    if path.is_file():
        try:
            with NpzRows(path) as data:
                count = data.member("frames").shape[0]
                if data.member("labels").shape == (count, len(label)):
                    frames = np.concatenate([data.rows("frames", 0, count), frames])
                    labels = np.concatenate([data.rows("labels", 0, count), labels])
        except InputError:
            pass  # it is written anew
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, frames=frames, labels=labels)
    except OSError:
        return  # a folder that cannot be written: the clusters are computed every time
