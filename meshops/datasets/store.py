"""A store of cases: read once from whatever a solver wrote, then streamed in bounded memory, by many processes.

store.json             what the cases share, their names and splits; written last
cases/000012.zarr      a case, see meshops.data.graph_store
prepared/KEY/...       what models see of each, for one set of features, see meshops.tasks.prepared
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from meshops.aero.conditions import FlowConditions
from meshops.data.graph_store import read_graph, write_graph, zarr_module
from meshops.data.mesh_graph import MeshGraph, check_graph
from meshops.datasets.base import CaseDataset, GraphCache, Transform, unreadable
from meshops.datasets.registry import register_dataset
from meshops.errors import InputError, MissingDataError, listing
from meshops.io import FULL, no_room, read_json, write_json

NAME = "Store"
VERSION = 1
INDEX = "store.json"
SPLITS = ("train", "val", "test")
ADVICE = "make one with 'meshops data prepare ROOT --out STORE'"


class Origin(NamedTuple):
    """Where the cases of a store come from: what opens them again.

    Attributes:
        root: Folder or study file; None: shipped.
        name: Of the data set.
        options: Of the data set, as pairs.
    """

    root: str | None
    name: str
    options: tuple[tuple[str, Any], ...] = ()


class Outcome(NamedTuple):
    """What came of one case.

    Attributes:
        number: Of the case.
        name: Of it.
        state: ``"written"``, ``"kept"`` (it was there) or ``"bad"``.
        reason: Why it is bad.
    """

    number: int
    name: str
    state: str
    reason: str = ""


@register_dataset("store", layout=(INDEX,))
class StoredCases(CaseDataset):
    """Cases of a folder that ``meshops data prepare`` wrote.

    Args:
        root: The store.
        split: ``"train"``, ``"val"``, ``"test"`` as the data set had them, or ``"all"``.
        transform: Applied to each graph that is handed out.
        cache: Keep read cases in memory.

    Raises:
        MissingDataError: There is no store, or it is not finished.
        InputError: It is of another version, damaged, or has no such split.
    """

    def __init__(
        self, root: str | Path, split: str = "train", *, transform: Transform | None = None, cache: bool = False
    ) -> None:
        self.root = Path(root)
        known = _index(self.root)
        self.names: list[str] = known["cases"]
        splits: dict[str, list[int]] = known["splits"]
        if split != "all" and split not in splits:
            raise InputError(f"{self.root}: no split '{split}'; it has {listing([*splits, 'all'])}")
        self.index = list(range(len(self.names))) if split == "all" else list(splits[split])
        self.index = [i for i in self.index if str(i) not in known["bad"]]
        if not self.index:
            raise InputError(f"{self.root}: no sound case in split '{split}'; see 'bad' in {INDEX}")
        self.cases = tuple(self.names[i] for i in self.index)
        self.fields, self.units = tuple(known["fields"]), tuple(known["units"])
        self.roles, self.quantity_units = known["roles"], known["quantity_units"]
        self.flow, self.flow_stated = FlowConditions.from_dict(known["flow"]), bool(known["flow_stated"])
        self.transform, self.cache = transform, GraphCache(cache)
        self.keeps = self.root / "prepared"
        self._told: dict[int, dict[str, Any]] = {}

    def path(self, index: int) -> Path:
        """Group of a case."""
        return case_path(self.root, self.index[self.position(index)])

    def number_of(self, index: int) -> int:
        """Number of a case in the store, whatever the split."""
        return self.index[self.position(index)]

    def read(self, index: int) -> MeshGraph:
        """One case as it was read from its files."""
        graph, self._told[index] = read_graph(self.path(index))
        return graph

    def files(self, index: int) -> dict[str, Path]:
        """The group."""
        return {"case": self.path(index) / "zarr.json"}

    def flow_of(self, index: int) -> FlowConditions:
        """Of the case."""
        flow = self.told(index)["flow"]
        return self.flow if flow is None else FlowConditions.from_dict(flow)

    def parameters(self, index: int) -> dict[str, float]:
        """Of the case."""
        return dict(self.told(index)["parameters"])

    def conditions_of(self, index: int) -> dict[str, float]:
        """Of the case."""
        return dict(self.told(index)["conditions"])

    def numbers_of(self, index: int) -> dict[str, float]:
        """Of the case."""
        return dict(self.told(index)["numbers"])

    def notes_of(self, index: int) -> tuple[str, ...]:
        """Of the case, without reading it."""
        return tuple(self.told(index)["notes"])

    def extra_problems(self, index: int, graph: MeshGraph) -> Iterator[tuple[Path | None, str]]:
        """Also compares what is there with what was written."""
        yield from super().extra_problems(index, graph)
        try:
            read_graph(self.path(index), check=True)
        except InputError as error:
            yield self.path(index), str(error)

    def told(self, index: int) -> dict[str, Any]:
        """What is kept beside the arrays of a case."""
        index = self.position(index)
        if index not in self._told:
            from meshops.data.graph_store import opened

            self._told[index] = dict(opened(self.path(index))[1]["more"])
        return self._told[index]

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """A store of the first cases of AhmedMini."""
        from meshops.datasets.ahmed.mini import AhmedMini

        if not 1 <= num <= len(AhmedMini("all")):
            raise InputError(f"{NAME}.standin: num must be 1..{len(AhmedMini('all'))}, got {num}")
        list(build(Path(root), Origin(None, "ahmed_mini"), limit=num))
        return Path(root)


def case_path(root: Path, index: int) -> Path:
    """Group of a case: by its number, so that names never become paths."""
    return root / "cases" / f"{index:06d}.zarr"


def build(out: Path, origin: Origin, *, jobs: int = 1, limit: int | None = None) -> Iterator[Outcome]:
    """Write a store, or the rest of one; yields what came of each case, in the order they end.

    Cases that are there stay. A case that cannot be read is told and left out. Work is spread by joblib: its back ends
    (``joblib.parallel_config("dask")``, Ray, ...) serve as they are.

    Args:
        out: Folder of the store.
        origin: Of the cases.
        jobs: Processes.
        limit: Only so many cases, the first.

    Raises:
        InputError: The origin cannot be opened, the folder holds the store of other cases, or the disk is full.
    """
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    zarr_module()
    data = opened_origin(origin)
    names = list(data.cases[:limit])
    told = {"version": VERSION, "origin": [origin.root, origin.name, [list(pair) for pair in origin.options]],
            "cases": names}  # fmt: skip
    begun = out / "begun.json"
    out.mkdir(parents=True, exist_ok=True)
    _same_store(begun, told)
    write_json(begun, told)
    bad: dict[str, str] = {}
    there = [index for index in range(len(names)) if case_path(out, index).is_dir()]
    lacking = [index for index in range(len(names)) if index not in set(there)]
    yield from (Outcome(index, names[index], "kept") for index in there)
    work = Parallel(n_jobs=min(jobs, max(1, len(lacking))), return_as="generator_unordered")
    with no_room(out, "run the same 'meshops data prepare' again"):
        for outcome in work(delayed(write_case)(str(out), origin, index, names[index]) for index in lacking):
            if outcome.state == "bad":
                bad[str(outcome.number)] = outcome.reason
            yield outcome
    if len(bad) == len(names):
        first = next(iter(bad.values()))
        raise InputError(f"{out}: none of the {len(names)} cases can be read; the first: {first}")
    shared = {"fields": list(data.fields), "units": list(data.units), "roles": dict(data.roles),
              "quantity_units": dict(data.quantity_units), "flow": data.flow.to_dict(),
              "flow_stated": data.flow_stated}  # fmt: skip
    write_json(out / INDEX, {**told, **shared, "splits": splits_of(origin, names), "bad": bad})


def write_case(out: str, origin: Origin, index: int, name: str) -> Outcome:
    """Read one case and write it; whatever a damaged file does is the outcome. Runs in any process."""
    path = case_path(Path(out), index)
    if path.is_dir():
        return Outcome(index, name, "kept")
    try:
        data = opened_origin(origin)
        if data.cases[index] != name:
            return Outcome(index, name, "bad", f"the case at its place is now '{data.cases[index]}'")
        graph = data[index]
        if problems := check_graph(graph):
            return Outcome(index, name, "bad", problems[0])
        flow = data.flow_of(index)
        more = {
            "flow": None if flow == data.flow else flow.to_dict(), "parameters": data.parameters(index),
            "conditions": data.conditions_of(index), "numbers": data.numbers_of(index),
            "notes": list(graph.get("notes") or ()),
        }  # fmt: skip
        write_graph(path, graph, more)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:  # not the fault of the case
            raise
        return Outcome(index, name, "bad", unreadable(error))
    return Outcome(index, name, "written")


@lru_cache(maxsize=4)
def opened_origin(origin: Origin, split: str = "all") -> CaseDataset:
    """The cases of an origin; opened once in each process.

    Raises:
        InputError: They are not finished cases, or cannot be opened.
    """
    from meshops.datasets.detection import open_data

    data = open_data(origin.name, root=origin.root, split=split, **dict(origin.options))
    if not isinstance(data, CaseDataset):
        raise InputError(f"{origin.root}: a store holds finished cases, and {type(data).__name__} are trajectories")
    return data


def splits_of(origin: Origin, names: Sequence[str]) -> dict[str, list[int]]:
    """Cases of each split that the data set has."""
    out, place = {}, {name: i for i, name in enumerate(names)}
    for split in SPLITS:
        try:
            found = [place[name] for name in opened_origin(origin, split).cases if name in place]
        except InputError:
            continue
        if found:
            out[split] = found
    return out


def _index(root: Path) -> Mapping[str, Any]:
    path = root / INDEX
    if not path.is_file():
        begun = (root / "begun.json").is_file()
        state = "the store is not finished; run the same 'meshops data prepare' again" if begun else ADVICE
        raise MissingDataError(f"{NAME}: no {path}: {state}")
    try:
        known: dict[str, Any] = read_json(path)
        version = known["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); run the same 'meshops data prepare' again") from None
    if version != VERSION:
        raise InputError(f"{path}: version {version} of a store, this meshops reads {VERSION}; prepare it again")
    return known


def _same_store(begun: Path, told: Mapping[str, Any]) -> None:
    """See that the folder is free, or holds the beginning of this very store."""
    if not begun.is_file():
        if (begun.parent / INDEX).exists() or (begun.parent / "cases").exists():
            raise InputError(f"{begun.parent}: holds another store; choose another --out")
        return
    known = read_json(begun, "choose another --out")
    if known.get("version") != told["version"]:
        raise InputError(
            f"{begun}: of version {known.get('version')}, this meshops writes {VERSION}; choose another --out"
        )
    if known != json.loads(json.dumps(told)):
        raise InputError(
            f"{begun.parent}: the store of other cases ({len(known.get('cases', ()))} of {known.get('origin')}); "
            "choose another --out, or remove it"
        )
