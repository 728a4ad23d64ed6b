"""Write a store of cases (:mod:`meshops.datasets.store`): restartable, in many processes, whatever single files do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from meshops.data.folder_lock import writing
from meshops.data.graph_store import opened, write_graph, zarr_module
from meshops.data.mesh_graph import check_graph
from meshops.data.shape import mesh_digest, topology
from meshops.datasets.base import CaseDataset, unreadable
from meshops.datasets.registry import options as options_of
from meshops.datasets.store_files import BEGUN, INDEX, VERSION, case_path, read_index
from meshops.errors import InputError, warn
from meshops.io import FULL, no_room, read_json, write_json

SPLITS = ("train", "val", "test")
GONE = "is not stored, and not among the cases of {} any more"


class Origin(NamedTuple):
    """Where the cases of a store come from: what opens them again.

    Attributes:
        root: Folder or study file; None: shipped.
        name: Of the data set.
        options: Of the data set, as JSON.
    """

    root: str | None
    name: str
    options: str = "{}"

    @classmethod
    def of(cls, root: str | None, name: str, options: Mapping[str, Any]) -> Origin:
        """With options as plain values."""
        return cls(root, name, json.dumps(dict(options), sort_keys=True))


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


def build(
    out: Path, origin: Origin, *, jobs: int = 1, limit: int | None = None, only: Sequence[str] | None = None,
    wait: bool = False,
) -> Iterator[Outcome]:  # fmt: skip
    """Write a store, the rest of one, or cases that came since; yields what came of each case, in the order they end.

    Cases that are there stay, but for those whose files changed in size or time. A case that cannot be read is told and
    left out. Work is spread by joblib: its back ends (``joblib.parallel_config("dask")``, Ray, ...) serve as they are.

    Args:
        out: Folder of the store.
        origin: Of the cases.
        jobs: Processes.
        limit: Only so many cases, the first.
        only: Names of the cases that are wanted now; None: all.
        wait: For another process that writes the store; else it is refused.

    Raises:
        InputError: The origin cannot be opened, the folder holds the store of other cases, another process writes it,
            or the disk is full.
    """
    zarr_module()
    opened_origin.cache_clear()  # cases may have come or gone since
    data = opened_origin(origin)
    place = {name: index for index, name in enumerate(data.cases)}
    wanted = list(data.cases[:limit]) if only is None else [name for name in only if name in place]
    yield from (Outcome(-1, n, "bad", f"no such case in {origin.root}") for n in only or () if n not in place)
    out.mkdir(parents=True, exist_ok=True)
    with writing(out, wait=wait):
        names, fresh = _begun(out, origin, wanted)
        state = {n: "lacks" if fresh else _state(out, n, data, place.get(name)) for n, name in enumerate(names)}
        bad = {n: GONE.format(origin.root) for n, known in state.items() if known == "gone"}
        yield from (Outcome(n, names[n], "kept") for n, known in state.items() if known == "kept")
        yield from (Outcome(n, names[n], "bad", reason) for n, reason in bad.items())
        todo = [n for n, known in state.items() if known in ("lacks", "changed")]
        for outcome in _written(out, origin, [(n, place[names[n]], names[n]) for n in todo], jobs):
            if outcome.state == "bad":
                bad[outcome.number] = outcome.reason
            yield outcome
        if len(bad) == len(names):
            first = next(iter(bad.values()))
            raise InputError(f"{out}: none of the {len(names)} cases can be read; the first: {first}")
        shared = {"fields": list(data.fields), "units": list(data.units), "roles": dict(data.roles),
                  "quantity_units": dict(data.quantity_units), "flow": data.flow.to_dict(),
                  "flow_stated": data.flow_stated}  # fmt: skip
        groups = dict(zip(data.cases, getattr(data, "groups", data.cases), strict=True))
        told = {"version": VERSION, "origin": plain(origin), "cases": names, "splits": splits_of(origin, names)}
        told["groups"] = [groups.get(name, name) for name in names]
        write_json(out / INDEX, {**told, **shared, "bad": {str(n): reason for n, reason in sorted(bad.items())}})


def _written(out: Path, origin: Origin, todo: Sequence[tuple[int, int, str]], jobs: int) -> Iterator[Outcome]:
    """Cases of the origin under their numbers, in any order."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    work = Parallel(n_jobs=min(jobs, max(1, len(todo))), return_as="generator_unordered")
    with no_room(out, "run the same 'meshops data prepare' again"):
        yield from work(delayed(write_case)(str(out), origin, *each) for each in todo)


def write_case(out: str, origin: Origin, number: int, index: int, name: str) -> Outcome:
    """Read one case and write it; whatever a damaged file does is the outcome. Runs in any process.

    Args:
        out: The store.
        origin: Of the case.
        number: Of the case in the store.
        index: Of the case in its origin.
        name: Of it.
    """
    path = case_path(Path(out), number)
    try:
        data = opened_origin(origin)
        if data.cases[index] != name:
            return Outcome(number, name, "bad", f"the case at its place is now '{data.cases[index]}'")
        graph = data[index]
        if problems := check_graph(graph):
            return Outcome(number, name, "bad", problems[0])
        flow = data.flow_of(index)
        more = {
            "flow": None if flow == data.flow else flow.to_dict(), "parameters": data.parameters(index),
            "conditions": data.conditions_of(index), "numbers": data.numbers_of(index),
            "notes": list(graph.get("notes") or ()), "nodes": len(graph.pos), "topology": topology(graph),
            "mesh": mesh_digest(graph), "files": file_states(data, index),
        }  # fmt: skip
        for kept in Path(out).glob(f"prepared/*/{path.name}"):  # of what the case was before
            shutil.rmtree(kept)
        write_graph(path, graph, more)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:  # not the fault of the case
            raise
        return Outcome(number, name, "bad", unreadable(error))
    return Outcome(number, name, "written")


def file_states(data: CaseDataset, index: int) -> dict[str, list[int]]:
    """Size and time of change of each file of a case that is there."""
    out = {}
    for role, path in data.files(index).items():
        if path.exists():
            found = path.stat()
            out[role] = [found.st_size, found.st_mtime_ns]
    return out


def _state(out: Path, number: int, data: CaseDataset, index: int | None) -> str:
    """``"kept"``, ``"changed"`` (its files did), ``"lacks"``, or ``"gone"`` (lacks here and in the origin)."""
    path = case_path(out, number)
    if index is None:
        return "kept" if path.is_dir() else "gone"
    if not path.is_dir():
        return "lacks"
    try:
        known = opened(path)[1]["more"].get("files") or {}
    except InputError as error:
        warn(f"{error}; it is read again")
        return "lacks"
    now = file_states(data, index)
    return "changed" if any(known.get(role, state) != state for role, state in now.items()) else "kept"


def finished(root: Path, say: Callable[[str], None]) -> Path:
    """A store, what lacks of it written: one that was stopped half way, or of another version of meshops, goes on.

    Raises:
        InputError: It is none, or its origin is not there any more.
    """
    try:
        read_index(root)
        return root
    except InputError as error:
        origin = known_origin(root)
        if origin is None:
            raise
        say(f"{error}; going on with it from {origin.root or origin.name}")
    for outcome in build(root, origin, wait=True):
        if outcome.state == "bad":
            say(f"{outcome.name}: {outcome.reason}")
    return root


def known_origin(root: Path) -> Origin | None:
    """Where the cases of a store come from, as far as it says so."""
    for name in (BEGUN, INDEX):
        try:
            where, dataset, options = read_json(root / name)["origin"]
            return Origin.of(where, str(dataset), dict(options))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


@lru_cache(maxsize=4)
def opened_origin(origin: Origin, split: str = "all") -> CaseDataset:
    """The cases of an origin; opened once in each process.

    Raises:
        InputError: They are not finished cases, or cannot be opened.
    """
    from meshops.datasets.detection import open_data

    once = {key: False for key in ("check", "cache") if key in options_of(origin.name)}  # read but to be stored
    data = open_data(origin.name, root=origin.root, split=split, **(once | json.loads(origin.options)))
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


def _begun(out: Path, origin: Origin, wanted: Sequence[str]) -> tuple[list[str], bool]:
    """Names of all cases of a store, new ones last, and whether they must all be written; kept in ``begun.json``.

    Raises:
        InputError: The folder holds something else.
    """
    path, known, fresh = out / BEGUN, dict[str, Any](), False
    if path.is_file():
        try:
            known = read_json(path, "remove the store, or choose another --out")
            there, before = known["origin"], list(known["cases"])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: damaged; remove the store, or choose another --out") from None
        if there != plain(origin):
            raise InputError(
                f"{out}: the store of other cases ({len(before)} of {there}); choose another --out, or remove it"
            )
        if known.get("version") != VERSION:
            warn(f"{out}: of version {known.get('version')}, this meshops writes {VERSION}: all cases are read again")
            fresh, before = True, []
            (out / INDEX).unlink(missing_ok=True)
            for part in ("cases", "prepared"):
                shutil.rmtree(out / part, ignore_errors=True)
    elif (out / INDEX).exists() or (out / "cases").exists():
        raise InputError(f"{out}: holds another store; choose another --out")
    else:
        before = []
    names = [*before, *(name for name in wanted if name not in set(before))]
    write_json(path, {"version": VERSION, "origin": plain(origin), "cases": names})
    return names, fresh


def plain(origin: Origin) -> list[Any]:
    """An origin as JSON has it."""
    return [origin.root, origin.name, [list(pair) for pair in json.loads(origin.options).items()]]
