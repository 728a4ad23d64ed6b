"""AhmedML: 500 parametric Ahmed bodies, hybrid RANS-LES time averages (arXiv 2407.20801, DOI 10.57967/hf/5002).

Layout, units, splits and traps are on the dataset's card. The folder is read as published, nothing is converted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from meshops.aero.around import points_around
from meshops.data import readers
from meshops.data.mesh_graph import JUDGED, MeshGraph
from meshops.datasets.ahmed.layout import CONDITIONS, DEFAULT_FIELDS, NAME, UNITS, download_advice
from meshops.datasets.ahmed.mini import AhmedMini
from meshops.datasets.base import (
    CaseDataset,
    GraphCache,
    Transform,
    existing_file,
    existing_root,
    one_of,
    read_number_table,
    select,
)
from meshops.datasets.formats.npy_rows import npy_member
from meshops.datasets.registry import register_dataset
from meshops.datasets.runs import SplitMethod, find_runs, row_of_run, split_runs
from meshops.errors import InputError

NUM_RUNS = 500
DOMAINS = ("surface", "volume", "all")
IN_VOLUME = "_volume"  # what the pressure around the body is called beside that on it


@register_dataset("ahmed_ml", layout=("run_*/boundary_*.vtp", "run_*/volume_*.vtu", "run_*/ahmed_*.stl"))
class AhmedML(CaseDataset):
    """Cases of a folder in the AhmedML layout (``run_<i>/boundary_<i>.vtp`` and so on).

    Args:
        root: Folder that holds ``run_1``, ``run_2`` ...
        split: ``"train"``, ``"val"``, ``"test"`` or ``"all"``.
        domain: ``"surface"`` reads the polygons of ``boundary_<i>.vtp``, ``"volume"`` the cells of
            ``volume_<i>.vtu``; the nodes are cell centres either way. ``"all"``: volume, then surface, in one graph of
            free points, see :meth:`read_all`.
        volume_nodes: With ``"all"``, random volume cells kept of each case; None: all of them.
        split_method: ``"ab-upt"``: the 400 / 50 / 50 runs of the AB-UPT protocol, needs all 500.
            ``"hash"``: by a hash of the run number, about 80 % train, 20 % test, no val; adding runs never
            moves one to another split. A mapping such as ``{"train": "1-24", "test": [25, 26]}``.
            ``"auto"``: ``"ab-upt"`` with all 500 runs, else ``"hash"`` with a warning.
        fields: Cell arrays to predict; None: pressure and shear on the surface, pressure and velocity in the volume.
        transform: Applied to each graph that is handed out.
        cache: Keep read cases in memory (up to 2 GiB per process).

    Raises:
        MissingDataError: Folder or runs are missing; says what to download.
        InputError: Unknown split, domain or method.

    Example:
        >>> train = AhmedML("data/ahmedml", "train", split_method={"train": "1-24", "test": "25-30"})  # doctest: +SKIP
        >>> train[0].field("pMean").shape  # doctest: +SKIP
        torch.Size([8274])
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        domain: str = "surface",
        split_method: SplitMethod = "auto",
        fields: Sequence[str] | None = None,
        volume_nodes: int | None = None,
        transform: Transform | None = None,
        cache: bool = False,
    ) -> None:
        self.domain = one_of(f"{NAME}: domain", domain, DOMAINS)
        self.root = existing_root(root, NAME, download_advice("1"))
        present = find_runs(self.root, NAME, download_advice("1"))
        self.split = split
        if split == "all" and not isinstance(split_method, Mapping):
            self.runs = present
        else:
            splits = split_runs(
                present, split_method, name=NAME, key="ahmed_ml", published=ab_upt_split, advice=download_advice
            )
            self.runs = select(splits, split, NAME)
        self.cases = tuple(f"run_{run}" for run in self.runs)
        self.volume_nodes = volume_nodes
        if volume_nodes is not None and (domain != "all" or volume_nodes < 1):
            raise InputError(
                f"{NAME}: volume_nodes keeps some of the volume cells with domain='all' and must be at least 1; got "
                f"{volume_nodes} with domain='{domain}'"
            )
        if domain == "all" and fields is not None:
            raise InputError(f"{NAME}: with domain='all' the fields are fixed; choose among them with task.fields")
        both = (*DEFAULT_FIELDS["surface"], *(_around(name) for name in DEFAULT_FIELDS["volume"]))
        chosen = both if domain == "all" else DEFAULT_FIELDS[domain]
        self.fields = tuple(fields if fields is not None else chosen)
        self.units = tuple(UNITS.get(name.removesuffix(IN_VOLUME), "") for name in self.fields)
        self.flow = CONDITIONS
        self.transform = transform
        self.cache = GraphCache(cache)

    def read(self, index: int) -> MeshGraph:
        """Surface polygons or volume cells of one run, fields as published (kinematic, U = 1 m/s)."""
        if self.domain == "all":
            return self.read_all(index)
        run = self.runs[index]
        path = existing_file(
            next(iter(self.required_files(index).values())), NAME, download_advice(str(run), self.domain)
        )
        graph = readers.read(path, fields=self.fields, location="cell", units=self.units)
        area = self.files(index)["area"]
        if self.domain == "surface" and area.is_file():
            graph.area = _published_areas(area, int(graph.num_nodes or 0))
        graph.name = self.cases[index]
        return graph

    def read_all(self, index: int) -> MeshGraph:
        """Volume and surface of one run as free points: the task that AB-UPT and MSPT publish.

        ``x``: distance to the nearest surface cell, and the direction away from it (on the surface 0 and the normal).
        ``y_use``: pressure and shear on the surface; pressure (``pMean_volume``) and velocity around it.
        """
        run, parts = self.runs[index], {}
        for domain, role in (("volume", "volume"), ("surface", "boundary")):
            path = existing_file(self.files(index)[role], NAME, download_advice(str(run), domain))
            fields = DEFAULT_FIELDS[domain]
            parts[domain] = readers.read(path, fields=fields, location="cell", units=tuple(UNITS[f] for f in fields))
        volume, surface = parts["volume"], parts["surface"]
        if self.volume_nodes is not None and self.volume_nodes < len(volume.pos):
            chosen = torch.randperm(len(volume.pos), generator=torch.Generator().manual_seed(run))
            volume = volume.subset(chosen[: self.volume_nodes].sort().values)
        graph = _joined(volume, surface)
        graph.name, graph.source = self.cases[index], str(self.files(index)["boundary"])
        return graph

    def files(self, index: int) -> dict[str, Path]:
        """Paths by role: boundary, volume, stl, forces, forces_varref, parameters, area."""
        run = self.runs[self.position(index)]
        folder = self.root / f"run_{run}"
        return {
            "boundary": folder / f"boundary_{run}.vtp",
            "volume": folder / f"volume_{run}.vtu",
            "stl": folder / f"ahmed_{run}.stl",
            "forces": folder / f"force_mom_{run}.csv",
            "forces_varref": folder / f"force_mom_varref_{run}.csv",
            "parameters": folder / f"geo_parameters_{run}.csv",
            "area": folder / f"boundary_cell_area_{run}.npy",
        }

    def required_files(self, index: int) -> dict[str, Path]:
        """Name the boundary file, or the volume file with ``domain="volume"``."""
        roles = {"surface": ("boundary",), "volume": ("volume",), "all": ("boundary", "volume")}[self.domain]
        return {role: self.files(index)[role] for role in roles}

    def parameters(self, index: int) -> dict[str, float]:
        """Return the columns of ``geo_parameters_<i>.csv`` or of the table of all runs, as they are; {} if absent."""
        return self._row(index, "parameters", "geo_parameters_all.csv")

    def numbers_of(self, index: int) -> dict[str, float]:
        """``cd`` and ``cl``, with each case's own reference area if the folder has them so; {} if absent.

        ``force_mom_varref`` (own area) comes before ``force_mom``, which in the published set has a constant area.
        """
        row = self._row(index, "forces_varref", "force_mom_varref_all.csv")
        row = row or self._row(index, "forces", "force_mom_all.csv")
        return {name.lower(): value for name, value in row.items() if name.lower() in ("cd", "cl")}

    def extra_problems(self, index: int, graph: MeshGraph) -> Iterator[tuple[Path | None, str]]:
        """Also reads the tables of the case where there are any; they and the STL are optional."""
        yield from super().extra_problems(index, graph)
        for role, read in (("parameters", self.parameters), ("forces", self.numbers_of)):
            try:
                read(index)
            except InputError as error:
                yield self.files(index)[role], str(error)
        beside = self.files(index)["forces"]  # read where there is no other
        if self.files(index)["forces_varref"].is_file() and beside.is_file():
            try:
                read_number_table(beside)
            except InputError as error:
                yield beside, str(error)

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Write ``num`` (1..30) real RANS cases of :class:`AhmedMini` in this layout; returns ``root``.

        Surfaces only, about 8,000 polygons instead of 1,000,000, steady k-omega SST instead of hybrid RANS-LES.
        """
        mini = AhmedMini("all")
        if not 1 <= num <= len(mini):
            raise InputError(f"{NAME}.standin: num must be 1..{len(mini)}, got {num}")
        return mini.to_case_folder(root, range(num))

    def _row(self, index: int, role: str, table: str) -> dict[str, float]:
        path = self.files(index)[role]
        if path.is_file():
            return read_number_table(path)[0]
        if not (self.root / table).is_file():
            return {}
        return row_of_run(self.root / table, self.runs[index])


def _around(name: str) -> str:
    """Name of a field of the volume beside those of the surface."""
    return f"{name}{IN_VOLUME}" if name in DEFAULT_FIELDS["surface"] else name


def _joined(volume: MeshGraph, surface: MeshGraph) -> MeshGraph:
    """Volume, then surface, as points with the fields of both."""
    n, m = len(volume.pos), len(surface.pos)
    out = points_around(volume.pos, surface.pos, surface.normal)
    values, names, sizes, units, use = [], [], [], [], []
    for part, kind in ((surface, 0), (volume, 1)):
        for name, channels in part.field_slices().items():
            own, other = part.y[:, channels], part.y.new_zeros(m if kind else n, channels.stop - channels.start)
            values.append(torch.cat([own, other] if kind else [other, own]))
            names.append(_around(name) if kind else name)
            sizes.append(channels.stop - channels.start)
            units.append(part.y_units[part.fields.index(name)])
            here = torch.arange(n + m) < n
            use.append((here == bool(kind)).to(torch.int8) * JUDGED)
    out.y, out.y_use = torch.cat(values, 1), torch.stack(use, 1)
    out.y_names, out.y_sizes, out.y_units = tuple(names), tuple(sizes), tuple(units)
    return out


def ab_upt_split() -> dict[str, tuple[int, ...]]:
    """400 train, 50 val, 50 test runs of the AB-UPT protocol: a permutation of 1..500 with seed 42."""
    order = (torch.randperm(NUM_RUNS, generator=torch.Generator().manual_seed(42)) + 1).tolist()
    parts = {"train": order[:400], "val": order[400:450], "test": order[450:]}
    return {name: tuple(sorted(runs)) for name, runs in parts.items()}


def _published_areas(path: Path, num_cells: int) -> torch.Tensor:
    npy_member(path)
    area = np.load(path, allow_pickle=False)
    if area.shape != (num_cells,):
        raise InputError(f"{path}: expected {num_cells} areas, one per polygon, got shape {area.shape}")
    return torch.from_numpy(area.astype(np.float32))
