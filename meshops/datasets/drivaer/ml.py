"""DrivAerML: 500 morphed DrivAer notchbacks, hybrid RANS-LES time averages (arXiv 2408.11969).

Layout, units, splits and traps are on the dataset's card. The folder is read as published, nothing is converted.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from meshops.aero.conditions import FlowConditions
from meshops.data import readers
from meshops.data.mesh_graph import MeshGraph
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
from meshops.datasets.drivaer.standin import write_runs
from meshops.datasets.registry import register_dataset
from meshops.datasets.runs import SplitMethod, Splits, find_runs, row_of_run, split_runs
from meshops.errors import InputError, listing
from meshops.io import replacing

NAME = "DrivAerML"
NUM_RUNS = 500
HIDDEN = (167, 211, 218, 221, 248, 282, 291, 295, 316, 325, 329, 364, 370, 376, 403, 473)
DOMAINS = ("surface", "volume")
FIELDS = {"surface": ("pMeanTrim", "wallShearStressMeanTrim"), "volume": ("pMeanTrim", "UMeanTrim")}
UNITS = {
    "pMeanTrim": "m^2/s^2",
    "wallShearStressMeanTrim": "m^2/s^2",
    "UMeanTrim": "m/s",
    "CpMeanTrim": "1",
    "CptMeanTrim": "1",
}
# Kinematic, Cp = pMeanTrim / (0.5 U^2). The published mean of the shear along the flow is negative: OpenFOAM's sign.
CONDITIONS = FlowConditions(
    flow=(1.0, 0.0, 0.0), up=(0.0, 0.0, 1.0), speed=38.889, kinematic=True, ground=None, shear_sign=-1
)


@register_dataset(
    "drivaer_ml",
    layout=(
        "run_*/drivaer_*.stl",
        "run_*/geo_ref_*.csv",
        "run_*/force_mom_constref_*.csv",
        "run_*/volume_*.vtu.00.part",
    ),
)
class DrivAerML(CaseDataset):
    """Cases of a folder in the DrivAerML layout (``run_<i>/boundary_<i>.vtp`` and so on).

    Args:
        root: Folder that holds ``run_1``, ``run_2`` ...
        split: ``"train"``, ``"val"``, ``"test"`` or ``"all"``.
        domain: ``"surface"`` reads the polygons of ``boundary_<i>.vtp``, ``"volume"`` the cells of ``volume_<i>.vtu``.
        split_method: ``"ab-upt"``: the 400 / 50 / 34 runs of the AB-UPT protocol, needs all 484 public ones.
            ``"hash"``, a mapping and ``"auto"``: see :func:`meshops.datasets.runs.split_runs`.
        fields: Cell arrays to predict; None: pressure and shear on the surface, pressure and velocity in the volume.
        join_parts: Join the two parts in which a volume is published into ``volume_<i>.vtu`` beside them, once (about
            50 GB each); False: ask for it.
        transform: Applied to each graph that is handed out.
        cache: Keep read cases in memory (up to 2 GiB per process).

    Raises:
        MissingDataError: Folder or runs are missing; says what to download.
        InputError: Unknown split, domain or method.

    Example:
        >>> DrivAerML("data/drivaerml", "train", split_method={"train": "1-24", "test": "25-30"})  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        domain: str = "surface",
        split_method: SplitMethod = "auto",
        fields: Sequence[str] | None = None,
        join_parts: bool = False,
        transform: Transform | None = None,
        cache: bool = False,
    ) -> None:
        self.domain = one_of(f"{NAME}: domain", domain, DOMAINS)
        self.root = existing_root(root, NAME, download_advice("1"))
        present = find_runs(self.root, NAME, download_advice("1"))
        self.split = split
        if split == "all" and isinstance(split_method, str):
            self.runs = present
        else:
            splits = split_runs(
                present, split_method, name=NAME, key="drivaer_ml", published=ab_upt_split, advice=download_advice
            )
            self.runs = select(splits, split, NAME)
        self.cases = tuple(f"run_{run}" for run in self.runs)
        self.fields = tuple(fields if fields is not None else FIELDS[domain])
        self.units = tuple(UNITS.get(name, "") for name in self.fields)
        self.join_parts = join_parts
        self.flow = CONDITIONS
        self.transform = transform
        self.cache = GraphCache(cache)

    def read(self, index: int) -> MeshGraph:
        """Surface polygons or volume cells of one run, fields as published (kinematic, 38.889 m/s)."""
        run = self.runs[self.position(index)]
        path = self.files(index)["boundary" if self.domain == "surface" else "volume"]
        if self.domain == "volume" and not path.is_file():
            join(path, self.join_parts)
        path = existing_file(path, NAME, download_advice(str(run), self.domain))
        graph = readers.read(path, fields=self.fields, location="cell", units=self.units)
        graph.name = self.cases[index]
        return graph

    def files(self, index: int) -> dict[str, Path]:
        """Paths by role: boundary, volume, stl, forces, forces_constref, parameters, reference."""
        run = self.runs[self.position(index)]
        folder = self.root / f"run_{run}"
        return {
            "boundary": folder / f"boundary_{run}.vtp",
            "volume": folder / f"volume_{run}.vtu",
            "stl": folder / f"drivaer_{run}.stl",
            "forces": folder / f"force_mom_{run}.csv",
            "forces_constref": folder / f"force_mom_constref_{run}.csv",
            "parameters": folder / f"geo_parameters_{run}.csv",
            "reference": folder / f"geo_ref_{run}.csv",
        }

    def required_files(self, index: int) -> dict[str, Path]:
        """Name the boundary file, or with ``domain="volume"`` the volume file (its first part where it is in parts)."""
        role = {"surface": "boundary", "volume": "volume"}[self.domain]
        path = self.files(index)[role]
        first = path.with_name(f"{path.name}.00.part")
        return {role: first if self.domain == "volume" and first.is_file() and not path.is_file() else path}

    def parameters(self, index: int) -> dict[str, float]:
        """Return the 16 morphing parameters of ``geo_parameters_<i>.csv`` or of the table of all runs; {} if absent."""
        return self._row(index, "parameters", "geo_parameters_all.csv")

    def numbers_of(self, index: int) -> dict[str, float]:
        """``cd`` and ``cl`` with each car's own reference area (``force_mom``); {} if absent."""
        row = self._row(index, "forces", "force_mom_all.csv")
        return {name.lower(): value for name, value in row.items() if name.lower() in ("cd", "cl")}

    def flow_of(self, index: int) -> FlowConditions:
        """The flow of the set with the car's own reference area, where ``geo_ref_<i>.csv`` says it."""
        row = self._row(index, "reference", "geo_ref_all.csv")
        area = next((value for name, value in row.items() if name.lower().replace("_", "") in ("aref", "area")), None)
        return self.flow if area is None else replace(self.flow, frontal_area=area)

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Write ``num`` (1..30) shipped Ahmed bodies in this layout, at its speed; surfaces only. Returns ``root``.

        RANS of other bodies at another Reynolds number: the layout, not the set.
        """
        return write_runs(root, num, name=NAME, flow=CONDITIONS, fields=FIELDS["surface"])

    def _row(self, index: int, role: str, table: str) -> dict[str, float]:
        path = self.files(index)[role]
        if path.is_file():
            return read_number_table(path)[0]
        return row_of_run(self.root / table, self.runs[self.position(index)]) if (self.root / table).is_file() else {}


def ab_upt_split() -> Splits:
    """400 train, 50 test, 34 val runs of the AB-UPT protocol: a permutation of 1..500 with seed 42, public runs."""
    order = (torch.randperm(NUM_RUNS, generator=torch.Generator().manual_seed(42)) + 1).tolist()
    public = [run for run in order if run not in HIDDEN]
    parts = {"train": public[:400], "val": public[450:], "test": public[400:450]}
    return {name: tuple(sorted(runs)) for name, runs in parts.items()}


def join(whole: Path, allowed: bool) -> None:
    """Join ``<whole>.00.part``, ``.01.part`` ... into ``whole``; nothing where there are none.

    Raises:
        InputError: Not allowed, or a part is missing.
    """
    parts = sorted(whole.parent.glob(f"{whole.name}.[0-9][0-9].part"))
    if not parts:
        return
    numbers = [int(part.name.split(".")[-2]) for part in parts]
    if numbers != list(range(len(parts))) or len(parts) < 2:
        raise InputError(f"{whole}: found only {listing([part.name for part in parts])}; download the missing parts")
    if not allowed:
        size = sum(part.stat().st_size for part in parts) / 1e9
        raise InputError(
            f"{whole}: published in {len(parts)} parts; give join_parts=True to join them once beside the parts "
            f"({size:.1f} GB), or: cat {whole.name}.*.part > {whole.name}"
        )
    with replacing(whole) as aside, open(aside, "wb") as out:
        for part in parts:
            with open(part, "rb") as file:
                shutil.copyfileobj(file, out, 2**24)


def download_advice(run: str, domain: str = "surface") -> str:
    """Say what to download for one run, and how."""
    size, pattern = ("about 650 MB", "*.vtp") if domain == "surface" else ("about 50 GB", "*.part")
    return (
        f"download it from the Hugging Face dataset neashton/drivaerml ({size} for this run): huggingface-cli download "
        f'neashton/drivaerml --repo-type dataset --include "run_{run}/{pattern}" "run_{run}/*.stl" "run_{run}/*.csv" '
        "--local-dir drivaerml"
    )
