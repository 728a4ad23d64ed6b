"""What every dataset of meshops offers: lazy cases, parameters, reference forces, and a check of the files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from meshops.aero.conditions import FlowConditions
from meshops.data.mesh_graph import MeshGraph, check_graph
from meshops.data.shape import mesh_digest, topology
from meshops.errors import InputError, MeshopsError, MissingDataError, listing

Transform = Callable[[MeshGraph], MeshGraph]
Case = TypeVar("Case")

CACHE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class CaseProblem:
    """One thing that is wrong with one case.

    Attributes:
        case: Name of the case.
        file: The file concerned, None when it is the case as a whole.
        message: What is wrong and what to do.
    """

    case: str
    file: Path | None
    message: str

    def __str__(self) -> str:
        """One line for the terminal."""
        where = f" ({self.file.name})" if self.file is not None else ""
        return f"{self.case}{where}: {self.message}"


class CaseDataset(Dataset[MeshGraph], ABC):
    """A set of simulation cases on disk, read when they are asked for.

    Subclasses set the attributes in their ``__init__`` and implement :meth:`read` and :meth:`files`.

    Attributes:
        cases: Name of each case, in the order of the indices.
        flow: Free stream, reference values and sign conventions of the set.
        flow_stated: They are known. False: axes at best, so that no force follows from fields.
        fields: Names of the target fields in ``graph.y``.
        units: Unit of each target field.
        roles: Role (``pressure``, ``shear``, ``velocity``) -> field that has it, where names do not tell.
        quantity_units: Unit of each named condition and number, where known.
        transform: Applied to every graph that is handed out; None: nothing.
        cache: Keeps read cases in memory.
        keeps: Folder where what is computed of the cases may be kept, under :meth:`number_of`; None: nowhere.
    """

    cases: tuple[str, ...]
    flow: FlowConditions
    flow_stated: bool = True
    quantity_units: Mapping[str, str] = {}
    roles: Mapping[str, str] = {}
    fields: tuple[str, ...]
    units: tuple[str, ...]
    transform: Transform | None
    cache: GraphCache
    keeps: Path | None = None

    def __len__(self) -> int:
        """Count the cases of the split."""
        return len(self.cases)

    def __getitem__(self, index: int) -> MeshGraph:
        """Case ``index`` (negative counts from the end) as a graph of its own; tensors may be shared."""
        index = self.position(index)
        graph = self.cache.get(index, self.read).clone_shallow()
        return graph if self.transform is None else self.transform(graph)

    def __iter__(self) -> Iterator[MeshGraph]:
        """All cases in order."""
        return (self[index] for index in range(len(self)))

    def position(self, index: int) -> int:
        """``index`` counted from 0.

        Raises:
            IndexError: There is no such case.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__} has {len(self)} cases, got index {index}")
        return index % len(self)

    @abstractmethod
    def read(self, index: int) -> MeshGraph:
        """Read case ``index`` from disk, past the cache and the transform."""

    @abstractmethod
    def files(self, index: int) -> dict[str, Path]:
        """Role of each file of case ``index`` -> path, whether or not it exists."""

    @classmethod
    @abstractmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Write ``num`` small cases in the published layout, so that nothing needs a download; return ``root``."""

    def required_files(self, index: int) -> dict[str, Path]:
        """Name the files :meth:`read` cannot do without."""
        return self.files(index)

    def number_of(self, index: int) -> int:
        """Number of a case under which :attr:`keeps` holds what was computed of it."""
        return self.position(index)

    def measured(self, graph: MeshGraph, fields: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
        """Numbers the literature of this set computes from the fields at the nodes of a case, by name; mostly none.

        Reports hold their relative error and rank correlation, of predicted against true fields.
        """
        del graph, fields
        return {}

    def flow_of(self, index: int) -> FlowConditions:
        """Conditions of case ``index``; by default all cases share those of the set."""
        self.position(index)
        return self.flow

    def parameters(self, index: int) -> dict[str, float]:
        """Geometry parameters of case ``index`` by name; empty when the set has none."""
        self.position(index)
        return {}

    def conditions_of(self, index: int) -> dict[str, float]:
        """Named conditions of case ``index`` that a model may be told (speed, angle, load, ...); empty: none known."""
        self.position(index)
        return {}

    def numbers_of(self, index: int) -> dict[str, float]:
        """Named results of case ``index``, of its solver or a table (``cd``, ``cl``, ...); empty: none known."""
        self.position(index)
        return {}

    def topology_of(self, index: int) -> str:
        """How the nodes of case ``index`` are connected, see :func:`meshops.data.shape.topology`."""
        return topology(self[index])

    def mesh_of(self, index: int) -> str:
        """Nodes and cells of case ``index``, see :func:`meshops.data.shape.mesh_digest`."""
        return mesh_digest(self[index])

    def nodes_of(self, index: int) -> int:
        """Number of nodes of case ``index``."""
        return len(self[index].pos)

    def notes_of(self, index: int) -> tuple[str, ...]:
        """What was read of case ``index`` and what was changed or assumed, a sentence each; empty: nothing is known."""
        return tuple(self[index].get("notes") or ())

    def check(self) -> Iterator[CaseProblem]:
        """Read every case and report what is wrong, one problem at a time; nothing is raised."""
        for index, case in enumerate(self.cases):
            missing = [
                CaseProblem(case, path, f"the {role} file is missing")
                for role, path in self.required_files(index).items()
                if not path.is_file()
            ]
            yield from missing
            if not missing:
                yield from self._check_case(index)

    def _check_case(self, index: int) -> Iterator[CaseProblem]:
        case = self.cases[index]
        main = next(iter(self.required_files(index).values()), None)
        try:
            graph = self.read(index)
        except MeshopsError as error:
            yield CaseProblem(case, main, str(error))
        except Exception as error:  # damaged files fail in any way
            yield CaseProblem(case, main, unreadable(error))
        else:
            yield from (CaseProblem(case, main, message) for message in check_graph(graph))
            try:
                extra = list(self.extra_problems(index, graph))
            except Exception as error:
                extra = [(None, unreadable(error))]
            yield from (CaseProblem(case, file, message) for file, message in extra)

    def extra_problems(self, index: int, graph: MeshGraph) -> Iterator[tuple[Path | None, str]]:
        """Problems only this kind of dataset knows of, as (file, message)."""
        self.position(index)
        for name in graph.fields:
            if not bool(graph.field(name).any()):
                yield None, f"field '{name}' is zero everywhere; check the export"

    def __repr__(self) -> str:
        """Class, number of cases and fields."""
        return f"{type(self).__name__}(cases={len(self)}, fields={list(self.fields)})"


def unreadable(error: BaseException) -> str:
    """What failed while a file was read, in one line."""
    if isinstance(error, MeshopsError):
        return str(error)
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"cannot be read ({reason}); a file is damaged, download or export it again"


class GraphCache:
    """Least-recently-used cases in memory, bounded by bytes; each worker process has its own.

    Args:
        enabled: False keeps nothing.
        max_bytes: Oldest cases are dropped beyond this.
    """

    def __init__(self, enabled: bool = True, *, max_bytes: int = CACHE_BYTES) -> None:
        self.enabled = enabled
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._graphs: OrderedDict[int, MeshGraph] = OrderedDict()

    def __len__(self) -> int:
        """Count the cases held."""
        return len(self._graphs)

    def held(self, index: int) -> MeshGraph | None:
        """Case ``index`` if it is in memory."""
        return self._graphs.get(index)

    def get(self, index: int, read: Callable[[int], MeshGraph]) -> MeshGraph:
        """Case ``index`` from memory, else by ``read``."""
        if index in self._graphs:
            self._graphs.move_to_end(index)
            return self._graphs[index]
        graph = read(index)
        self.put(index, graph)
        return graph

    def put(self, index: int, graph: MeshGraph) -> None:
        """Hold case ``index``."""
        if not self.enabled:
            return
        self._graphs[index] = graph
        self.num_bytes += num_bytes(graph)
        while self.num_bytes > self.max_bytes:
            self.num_bytes -= num_bytes(self._graphs.popitem(last=False)[1])


def num_bytes(graph: MeshGraph) -> int:
    """Memory of the tensors of a graph, bytes."""
    tensors = (value for value in graph.to_dict().values() if isinstance(value, Tensor))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def existing_root(root: str | Path, name: str, advice: str) -> Path:
    """``root`` as a path.

    Args:
        root: Folder the user gave.
        name: Name of the dataset for the message.
        advice: What to download and where from.

    Raises:
        MissingDataError: It is not a folder.
    """
    path = Path(root).expanduser()
    if not path.is_dir():
        raise MissingDataError(f"{name}: no folder {path}; {advice}")
    return path


def existing_file(path: Path, name: str, advice: str) -> Path:
    """``path``, or a :class:`MissingDataError` that says where to get it."""
    if not path.is_file():
        raise MissingDataError(f"{name}: no file {path}; {advice}")
    return path


def one_of(what: str, value: str, allowed: tuple[str, ...]) -> str:
    """``value`` if it is allowed.

    Raises:
        InputError: It is not; the message lists what is.
    """
    if value not in allowed:
        raise InputError(f"{what} must be one of {listing(allowed)}, got {value!r}")
    return value


def read_number_table(path: Path) -> list[dict[str, float]]:
    """Rows of a small CSV file with one header line; blanks around names and values are ignored.

    Raises:
        InputError: The file is empty, a row has another length than the header, or a value is no number.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is no text in UTF-8 ({error.reason} at byte {error.start}); export it again"
        ) from None
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if len(lines) < 2:
        raise InputError(f"{path}: expected a header and at least one row, got {len(lines)} lines")
    names = [name.strip().strip('"') for name in lines[0].split(",")]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(names):
            raise InputError(f"{path}, line {number}: {len(cells)} values for {len(names)} columns")
        rows.append({name: _number(cell, path, number) for name, cell in zip(names, cells, strict=True)})
    return rows


def _number(text: str, path: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{path}, line {line}: {text!r} is not a number") from None


def select(splits: Mapping[str, tuple[Case, ...]], split: str, what: str) -> tuple[Case, ...]:
    """Return the cases of one split, or with ``"all"`` of every split in turn; refuse empty ones.

    Raises:
        InputError: The split does not exist or has no case.
    """
    one_of(f"{what}: split", split, (*splits, "all"))
    cases = tuple(case for part in splits.values() for case in part) if split == "all" else splits[split]
    if not cases:
        sizes = ", ".join(f"{name} {len(part)}" for name, part in splits.items())
        raise InputError(f"{what}: the split '{split}' has no case ({sizes}); choose another split or other lists")
    return cases
