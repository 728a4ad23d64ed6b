"""What a folder of simulations holds, as plain values; :class:`meshops.datasets.Study` reads, writes and opens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal, Self

from meshops.aero.conditions import FlowConditions
from meshops.errors import InputError, listing

Place = Literal["cell", "point"]
LAYOUTS = ("files", "folders", "openfoam", "series", "snapshots", "plaid")
SPLITS = ("train", "test", "all")
FILE = "study.yaml"


@dataclass(frozen=True)
class FieldEntry:
    """A field that is learnt.

    Attributes:
        name: Of the array in the files.
        place: Where it lives: ``"cell"`` or ``"point"``.
        size: Number of components.
        unit: Its unit; empty: unknown.
        role: ``pressure``, ``shear``, ``velocity``, ``displacement``, ``stress``, ``temperature`` ...; empty: none.
    """

    name: str
    place: Place = "point"
    size: int = 1
    unit: str = ""
    role: str = ""


@dataclass(frozen=True)
class Quantity:
    """A number per case: a condition that was set, or a result.

    Attributes:
        name: Column of a table, without its unit, or a single value stored in the files.
        unit: Its unit; empty: unknown.
        role: ``speed``, ``angle``, ``drag``, ``lift`` ...; empty: none.
    """

    name: str
    unit: str = ""
    role: str = ""


@dataclass(frozen=True)
class Snapshot:
    """An array beside a mesh that all cases share.

    Attributes:
        name: Of the field.
        file: Relative to the root.
        key: Of the array within the file; empty: the only one.
        axes: What each axis counts: ``cases``, ``nodes``, ``channels``, in their order.
    """

    name: str
    file: str
    key: str = ""
    axes: tuple[str, ...] = ("cases", "nodes")


@dataclass(frozen=True)
class Match:
    """How a case found its row of a table.

    Attributes:
        case: Name of the case.
        row: What the row is called; empty: the case has none.
        how: ``name``, ``number``, ``file``, ``order``, ``own table``.
        table: File, relative to the root.
    """

    case: str
    row: str
    how: str
    table: str


@dataclass(frozen=True, kw_only=True)
class Description:
    """A folder and what it holds; see the module.

    Attributes:
        root: The folder.
        layout: Name of a registered dataset (a published layout), or how the cases lie: ``files`` (one file per case),
            ``folders`` (one folder per case), ``openfoam``, ``series`` (in time), ``snapshots`` (arrays on one mesh) or
            ``plaid``.
        files: Pattern of the mesh files of the cases, relative to the root; of case folders for OpenFOAM.
        region: Parts of each file that are read, by name, list, pattern or group; empty: all.
        time: ``"last"``, ``"all"`` (trajectories, for ``kind: rollout``) or a time of the files.
        scale: Factor that brings coordinates to metres.
        tables: Patterns of tables: with a row per case, or with one row beside each case.
        left_out: Names of cases that are not used.
        inputs: Arrays of the files given to the model.
        fields: Arrays that are learnt, all at the same place.
        conditions: What was set.
        numbers: What came out.
        flow: Free stream and reference values; None: not an external flow, or unknown.
        flow_stated: The flow is known. False: axes at best, so that no force follows from fields.
        groups: Column whose value cases that belong together share: they are never split; empty: each case alone.
        test: Share of the cases (or groups) drawn at random to be tested on, or their names or patterns.
        seed: Of the draw.
        snapshots: Arrays of the layout ``snapshots``.
        guesses: Entry (``files``, ``fields.p``, ``left_out.run_3`` ...) -> why it says so; a comment in the file.
    """

    root: Path
    layout: str = "files"
    files: str = ""
    region: str = ""
    time: Literal["last", "all"] | float = "last"
    scale: float = 1.0
    tables: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    fields: tuple[FieldEntry, ...] = ()
    conditions: tuple[Quantity, ...] = ()
    numbers: tuple[Quantity, ...] = ()
    flow: FlowConditions | None = None
    flow_stated: bool = False
    groups: str = ""
    test: float | tuple[str, ...] = 0.2
    seed: int = 0
    snapshots: tuple[Snapshot, ...] = ()
    guesses: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not isinstance(self.test, tuple) and not 0 <= self.test < 1:
            raise InputError(f"test must be a share of the cases in [0, 1) or names of cases, got {self.test}")
        if isinstance(self.time, str) and self.time not in ("last", "all"):
            raise InputError(f"time must be 'last', 'all' or a number, got {self.time!r}")
        if not 0 < self.scale < float("inf"):
            raise InputError(f"scale must be a positive factor, got {self.scale}")
        for named in (self.files, *self.tables, *(entry.file for entry in self.snapshots)):
            plain = PurePosixPath(named.replace("\\", "/"))
            if plain.is_absolute() or named.startswith("~") or ".." in plain.parts or PureWindowsPath(named).drive:
                raise InputError(f"'{named}' lies outside of the data; name files relative to the folder 'data:'")
        places = {entry.place for entry in self.fields}
        if places - {"cell", "point"} or len(places) > 1:
            raise InputError(
                f"all fields must be at the same place, 'cell' or 'point'; got {listing(sorted(places))} for "
                f"{listing(entry.name for entry in self.fields)}; keep those of one place"
            )
        for what, names in (
            ("fields", [entry.name for entry in self.fields]),
            ("conditions and numbers", [entry.name for entry in (*self.conditions, *self.numbers)]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise InputError(f"{what}: {listing(twice)} is there twice; name it once")

    @property
    def place(self) -> Place:
        """Where the fields live; without any, at cells: those of a surface have areas and normals."""
        return self.fields[0].place if self.fields else "cell"

    @property
    def published(self) -> bool:
        """The folder has the layout of a registered dataset."""
        return self.layout not in LAYOUTS

    def note(self, entry: str, why: str) -> Self:
        """The same with one more reason, added to what is said of the entry."""
        before = self.guesses.get(entry)
        return replace(self, guesses={**self.guesses, entry: f"{before}; {why}" if before else why})
