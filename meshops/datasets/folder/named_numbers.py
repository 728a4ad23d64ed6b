"""Numbers that stand with their names in the paths of cases: ``a=0.5``, ``aoa_2.5_mach_0.8``, ``wing_a-2p5_U30mps``.

A name may also count or label cases (``run_7``, ``naca2412``, ``geo_3``); what is no quantity is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from meshops.datasets.folder import roles
from meshops.datasets.folder.patterns import stem
from meshops.datasets.folder.tables import ID_NAMES

UNITS = {**roles.UNITS, "m": "m", "C": "degC", "s": "s", "ms": "ms", "V": "V", "A": "A", "ps": "m/s"}
LABELS = ID_NAMES | set(
    "job jobid task proc rank rev revision version ver v version_no part mesh level lev naca date iter setup config"
    " body wing car variant var"
    .split()
)  # fmt: skip
NAMED_VALUE = re.compile(
    r"(?<![^\W_])(?P<name>[^\W\d_](?:[^\W\d]|_)*?)(?P<mark>=|_|)(?P<value>[-+]?\d+(?:[.p]\d+)?(?:e[-+]?\d+)?)"
    rf"(?P<unit>{'|'.join(sorted(UNITS, key=len, reverse=True))})?(?![^\W_]|\.\d)"
)


@dataclass(frozen=True)
class NamedNumber:
    """A quantity of the names.

    Attributes:
        values: Case -> number.
        unit: Behind the numbers; empty: none.
    """

    values: Mapping[str, float]
    unit: str = ""


@dataclass(frozen=True)
class _Found:
    """One number of one path."""

    value: float
    text: str
    mark: str
    unit: str

    @property
    def sure(self) -> bool:
        """Whether it is written as no label is: with ``=``, a fraction or a unit."""
        return self.mark == "=" or "." in self.text or "p" in self.text or bool(self.unit)

    @property
    def padded(self) -> bool:
        """Whether it is a label, ``007``."""
        return re.match(r"[-+]?0\d", self.text) is not None


def named_numbers(paths: Mapping[str, PurePosixPath]) -> dict[str, NamedNumber]:
    """Numbers that stand with their names in the path of every case and differ.

    Whole numbers without ``=`` or a unit (``run_7``, ``U30``) count where the name is that of a quantity, or where
    other numbers of the names are quantities, unless they count the cases or are padded with zeros.

    Args:
        paths: Of the cases, by their names.

    Returns:
        Name -> its numbers; nothing where a path lacks one.

    Example:
        >>> names = ("a2.5_U30", "a5_U20")
        >>> {n: list(found.values.values()) for n, found in named_numbers({n: PurePosixPath(n) for n in names}).items()}
        {'a': [2.5, 5.0], 'U': [30.0, 20.0]}
    """
    found = {case: _numbers_of(path) for case, path in paths.items()}
    shared = [name for name in next(iter(found.values()), {}) if all(name in row for row in found.values())]
    columns = {name: [row[name] for row in found.values()] for name in shared}
    columns = {name: column for name, column in columns.items() if len({each.value for each in column}) > 1}
    columns = {name: column for name, column in columns.items() if len({e.unit for e in column if e.unit}) <= 1}
    sure = [name for name, column in columns.items() if any(each.sure for each in column)]
    likely = [name for name, column in columns.items() if name not in sure and _may_be_quantity(name, column)]
    glued = [name for name in likely if all(each.mark == "" for each in columns[name])]
    if not sure and len(glued) < 2:
        likely = [name for name in likely if len(name) > 1 and roles.quantity_role(name)]
    cases = list(found)
    return {
        name: NamedNumber(
            dict(zip(cases, _signed(name, column), strict=True)), next((e.unit for e in column if e.unit), "")
        )
        for name, column in columns.items()
        if name in sure or name in likely
    }


def _numbers_of(path: PurePosixPath) -> dict[str, _Found]:
    out: dict[str, _Found] = {}
    for match in NAMED_VALUE.finditer((path.parent / stem(path.name)).as_posix()):
        whole, text = match["name"].strip("_-"), match["value"]
        # naca_a2.5 is a of a naca; aoa_2.5 and sol_a=2.5 may well be of several words.
        name = whole if match["mark"] else whole.rpartition("_")[2]
        number = _Found(float(text.replace("p", ".")), text, match["mark"], UNITS.get(match["unit"] or "", ""))
        if name in out and out[name].value != number.value:
            name = whole
        out[name] = number
    return out


def _may_be_quantity(name: str, column: list[_Found]) -> bool:
    """Whether whole numbers may be of a quantity: no labels, and they do not count."""
    if name.casefold() in LABELS or roles.is_group(name) or roles.is_step(name) or roles.is_housekeeping(name):
        return False
    if any(each.padded for each in column):
        return False
    values = sorted(abs(each.value) for each in column)
    counts = len(values) > 2 and values == [values[0] + k for k in range(len(values))] and values[0] in (0, 1)
    return not counts or bool(roles.quantity_role(name) and len(name) > 1)


def _signed(name: str, column: list[_Found]) -> list[float]:
    """The numbers; a dash before all of them joins rather than being a sign: ``speed-20``, ``speed-30``."""
    dashed = all(each.mark == "" and each.text.startswith("-") for each in column)
    if dashed and name != "a" and roles.quantity_role(name) != "angle":
        return [-each.value for each in column]
    return [each.value for each in column]
