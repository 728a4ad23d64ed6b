"""Cases that would not fit into memory are kept in a store, without being asked; see docs/howto/store.md.

What models see of all cases is estimated from the first one and the sizes of the files. Above :data:`SHARE` of the free
memory the cases are read once into a store beside the runs, and streamed from it; the next start finds it, and reads
again only files that changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from meshops.data.graph_store import zarr_module
from meshops.datasets import detect, open_data
from meshops.datasets.base import CaseDataset
from meshops.datasets.registry import options as options_of
from meshops.datasets.store_build import SPLITS, Origin, build, finished
from meshops.datasets.store_files import INDEX
from meshops.datasets.subset import CaseSubset
from meshops.errors import InputError
from meshops.folders import available_memory
from meshops.io import write_json
from meshops.optional import available
from meshops.progress import followed
from meshops.tasks.fields_samples import make_spec
from meshops.tasks.fields_spec import FieldsSettings
from meshops.training.config import DataConfig, RunConfig

SHARE = 0.3  # of the free memory, above which cases are streamed: copies and the network need room too
POINTER = "store.json"  # in the folder of a run: which store it streams from
AUTO, OFF = "auto", "off"


@dataclass(frozen=True)
class Need:
    """What cases would take in memory.

    Attributes:
        bytes: As models see them.
        free: Memory that is free.
    """

    bytes: float
    free: float

    @property
    def large(self) -> bool:
        """More than is good to hold."""
        return self.bytes > SHARE * self.free

    def sentence(self, where: Path) -> str:
        """For the screen."""
        return (
            f"the cases would take about {self.bytes / 1e9:.1f} GB of the {self.free / 1e9:.1f} GB of memory that are "
            f"free: they are kept in {where} and streamed from there"
        )


def need_of(cases: CaseDataset, settings: FieldsSettings) -> Need:
    """Estimate from the first case that can be read, the others in proportion to the sizes of their files."""
    sizes = [_file_bytes(cases, i) for i in range(len(cases))]
    for index in range(len(cases)):
        try:
            first = CaseSubset(cases, [index])
            spec, nodes = make_spec(first, replace(settings, conditions=None, numbers=())), first.nodes_of(0)
        except Exception:  # a damaged case is told when it is its turn
            continue
        channels = spec.dim + len(spec.feature_names()) + spec.channels + 2 + (2 * spec.dim if spec.shape else 0)
        share = sum(sizes) / sizes[index] if sizes[index] else len(cases)
        return Need(4.0 * channels * nodes * share, available_memory())
    return Need(0.0, available_memory())


def stored(config: RunConfig, folder: Path, *, resume: bool, console: Console) -> DataConfig:
    """Where the cases of a run are read from: as the settings say, or a store of them.

    Args:
        config: Of the run.
        folder: Of the run; it remembers the store, so that a resumed run reads what it read.
        resume: The run goes on.
        console: Where is said what was decided.

    Raises:
        InputError: The store cannot be written.
    """
    data, pointer = config.data, folder / POINTER
    settings = config.task
    if not isinstance(settings, FieldsSettings) or data.root is None:
        return data
    name = data.name or detect(data.root)
    if name == "store":
        finished(Path(data.root), console.print)
        return data
    if resume:
        return _of(Path(json.loads(pointer.read_text())["store"]), data) if pointer.is_file() else data
    if data.store == OFF or not {data.train, data.test} <= {*SPLITS, "all", ""}:
        return data
    once: dict[str, object] = {key: False for key in ("check", "cache") if key in options_of(name)}
    cases = open_data(name, root=data.root, split=data.train, **{**once, **data.options})
    origin = Origin.of(data.root, name, data.options)
    root = place_of(data.store, folder, origin, Path(data.root).name)
    if not isinstance(cases, CaseDataset) or not wanted(cases, settings, data.store, root, console):
        return data
    write(root, origin, console)
    write_json(pointer, {"store": str(root.resolve())})
    return _of(root, data)


def wanted(cases: CaseDataset, settings: FieldsSettings, asked: str, root: Path, console: Console) -> bool:
    """Whether cases are to be kept in a store; said where nobody asked for one."""
    if asked == OFF:
        return False
    if asked == AUTO and (root / INDEX).is_file():
        console.print(
            f"note: the cases are streamed from {root}, which an earlier run made (data.store off prevents it)"
        )
    elif asked == AUTO:
        need = need_of(cases, settings)
        if not need.large:
            return False
        if not available("zarr"):
            console.print(f"note: {need.sentence(root)}, once 'meshops[store]' is installed; now they are held")
            return False
        console.print(f"note: {need.sentence(root)} (data.store off prevents it)")
    zarr_module()
    return True


def place_of(asked: str, folder: Path, origin: Origin, name: str) -> Path:
    """Folder of the store: as asked for, or beside the runs, one for each origin."""
    if asked not in (AUTO, OFF):
        return Path(asked)
    root = None if origin.root is None else str(Path(origin.root).resolve())
    told = json.dumps([root, origin.name, origin.options])
    return folder.parent / "stores" / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def write(root: Path, origin: Origin, console: Console) -> None:
    """Write a store, or what lacks of it.

    Raises:
        InputError: It cannot be written.
    """
    counts: dict[str, int] = {}
    bad: Sequence[str] = ()
    for outcome in followed(build(root, origin, wait=True), "reading the cases into the store", console):
        counts[outcome.state] = counts.get(outcome.state, 0) + 1
        if outcome.state == "bad":
            bad = [*bad, f"case '{outcome.name}' is left out: {outcome.reason}"]
    console.print(f"store {root}: {', '.join(f'{count} {state}' for state, count in counts.items())}")
    for line in bad:
        console.print(f"note: {line}")


def _of(root: Path, data: DataConfig) -> DataConfig:
    if not root.is_dir():
        raise InputError(f"{root}: the store this run streams from is gone; start the run anew")
    return replace(data, name="store", root=str(root), options={})


def _file_bytes(cases: CaseDataset, index: int) -> int:
    paths: dict[str, Any] = dict(cases.files(index))
    return sum(path.stat().st_size for path in paths.values() if path.is_file())
