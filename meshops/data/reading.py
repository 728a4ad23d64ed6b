"""What a reader hands over: a mesh, what was read and what was left out, and the parts that were chosen.

Readers guess nothing in silence: whatever they drop, turn, merge or assume is a remark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from meshops.errors import InputError, did_you_mean, listing

if TYPE_CHECKING:
    from meshops.data.cells import Mesh

Region = str | Sequence[str] | None
Time = float | Literal["last"]


@dataclass
class ReadNotes:
    """What a reader did.

    Attributes:
        format: Format and version, ``gmsh 4.1, text``.
        time: Time that was read, in the unit of the file; None: the file has none.
        times: All times there are.
        parts: Names of all parts (blocks, zones, patches, markers, solids), in the order of the file.
        groups: Name of each group of parts -> its parts.
        chosen: Parts that were read.
        cells: Number of cells of each kind: ``{"triangle": 96}``.
        precision: Of the coordinates in the file: ``float32``, ``float64`` or ``text``.
        remarks: What was dropped, turned, merged or assumed, a sentence each, for the user.
    """

    format: str = ""
    time: float | None = None
    times: tuple[float, ...] = ()
    parts: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    chosen: tuple[str, ...] = ()
    cells: dict[str, int] = field(default_factory=dict)
    precision: str = ""
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The same in sentences; the remarks last."""
        out = [self.format] if self.format else []
        if self.time is not None:
            out.append(f"time {self.time:g}" + (f" of {len(self.times)}" if len(self.times) > 1 else ""))
        if len(self.parts) > 1 or len(self.chosen) < len(self.parts):
            out.append(
                f"parts {listing(self.chosen)}" + (f" of {len(self.parts)}" if self.chosen != self.parts else "")
            )
        if self.cells:
            out.append(", ".join(f"{count:,} {kind}" for kind, count in self.cells.items()))
        if self.precision:
            out.append(f"coordinates {self.precision}")
        return [*out, *self.remarks]


@dataclass(eq=False)
class MeshRead:
    """A mesh as it was read.

    Attributes:
        mesh: PolyData or UnstructuredGrid with all arrays of the chosen parts.
        notes: What was read.
        cell_part: ``[c]`` place in ``notes.chosen`` of the part of each cell; None: the file has no parts.
        walls: Beside a volume: the faces that the file calls walls, with the place of their part among ``notes.parts``
            as cell array ``part``; None: it does not say.
        body: Beside a volume: the faces that were asked for by name; None: none were.
    """

    mesh: Mesh
    notes: ReadNotes = field(default_factory=ReadNotes)
    cell_part: NDArray[np.int64] | None = None
    walls: Mesh | None = None
    body: Mesh | None = None


def wanted_parts(region: Region) -> tuple[str, ...]:
    """Names and patterns of ``"wheel.*,body"`` or of a sequence of such; empty: no wish.

    A comma within brackets or braces belongs to a pattern.
    """
    texts = (region,) if isinstance(region, str) else tuple(region or ())
    names = [name.strip() for text in texts for name in re.split(r",(?![^(\[{]*[)\]}])", text)]
    return tuple(name for name in names if name)


def choose_parts(
    names: Sequence[str], region: Region, *, groups: Mapping[str, Sequence[str]] | None = None, label: str = "mesh"
) -> tuple[str, ...]:
    """Parts of a file that a region asks for, in the order of the file.

    A wish is the exact name of a part, else the name of a group, else a regular expression for the whole name.

    Args:
        names: Parts there are.
        region: ``"body"``, ``"wheel.*,body"``, a sequence of such; None: all parts.
        groups: Groups of parts by name.
        label: How messages call the file.

    Raises:
        InputError: A wish matches nothing; lists parts and groups.

    Example:
        >>> choose_parts(("body", "wheel_1", "wheel_2", "road"), "wheel.*,body")
        ('body', 'wheel_1', 'wheel_2')
    """
    wanted = wanted_parts(region)
    if not wanted:
        return tuple(names)
    known = dict(groups or {})
    chosen: set[str] = set()
    for wish in wanted:
        found = {wish} if wish in names else set(known.get(wish, ())) or _matching(wish, names)
        if not found:
            there = f"parts: {listing(names, 30)}" + (f"; groups: {listing(known, 10)}" if known else "")
            hint = did_you_mean(wish, [*names, *known])
            raise InputError(f"{label}: there is no part '{wish}'; {hint}{there}")
        chosen |= found
    return tuple(name for name in names if name in chosen)


def _matching(pattern: str, names: Sequence[str]) -> set[str]:
    try:
        wanted = re.compile(pattern)
    except re.error:
        return set()
    return {name for name in names if wanted.fullmatch(name)}


def choose_time(times: Sequence[float], time: Time, label: str) -> int:
    """Place in ``times`` of the last time, or of the one asked for (to six digits).

    Raises:
        InputError: There is no such time; lists those there are.
    """
    if time == "last":
        return int(np.argmax(times))
    gaps = np.abs(np.asarray(times, dtype=np.float64) - float(time))
    if gaps.size == 0 or not gaps.min() <= 1e-6 * max(abs(float(time)), 1e-30):
        shown = listing((f"{value:g}" for value in times), 20)
        raise InputError(f"{label}: there is no time {float(time):g}; times: {shown}; or time='last'")
    return int(gaps.argmin())
