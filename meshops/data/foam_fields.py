"""Fields of an OpenFOAM case at one time: values of the cells and of the patches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meshops.data.cells import Array
from meshops.data.foam_files import Dictionary, Values, find_file, read_bytes, read_dictionary, read_foam
from meshops.data.foam_mesh import Patch, PolyMesh
from meshops.data.text_numbers import DamagedError

WIDTHS = {"Scalar": 1, "Vector": 3, "SphericalTensor": 1, "SymmTensor": 6, "Tensor": 9}
CLASS = re.compile(
    rb"class\s+(vol|surface|point)(Scalar|Vector|SphericalTensor|SymmTensor|Tensor)Field(::Internal)?\s*;"
)
SYMMETRIC = [0, 3, 5, 1, 4, 2]  # xx xy xz yy yz zz -> xx yy zz xy yz xz, the order of VTK
# Types of patches whose values are those of the cells beside them.
FROM_CELLS = ("zeroGradient", "empty", "kqRWallFunction", "symmetry", "symmetryPlane", "slip", "wedge", "cyclic")


@dataclass(frozen=True)
class FieldKind:
    """Where the values of a field live: ``vol``, ``surface`` or ``point``, and how many numbers one has."""

    place: str
    width: int
    patches: bool = True


@dataclass
class FoamField:
    """One field: a row for each cell (or point), and what the patches say."""

    kind: FieldKind
    inner: Array
    boundary: Dictionary

    def on_patch(self, patch: Patch, mesh: PolyMesh) -> tuple[Array, str | None]:
        """``[count, k]`` values of a patch; and its type in the field where they were taken from the cells.

        Raises:
            DamagedError: The values do not fit the patch.
        """
        entry = self._entry(patch)
        value = entry.entries.get("value") if entry is not None else None
        kind = str(entry.entries.get("type", "")) if entry is not None else "no entry"
        if isinstance(value, Values):
            rows = _rows(value, patch.count, self.kind.width)
            if len(rows) != patch.count:
                raise DamagedError(f"has {len(rows)} values for {patch.count} faces of the patch '{patch.name}'")
            return rows, None
        if kind == "noSlip":
            return np.zeros((patch.count, self.kind.width)), None
        rows = self.inner[mesh.owner[patch.start : patch.start + patch.count]]
        return rows, None if kind in FROM_CELLS else kind

    def _entry(self, patch: Patch) -> Dictionary | None:
        found = self.boundary.entries.get(patch.name)
        for group in patch.groups:
            found = found or self.boundary.entries.get(group)
        for pattern, entry in self.boundary.patterns.items():
            if found is None and re.fullmatch(pattern, patch.name):
                found = entry
        return found if isinstance(found, Dictionary) else None


def list_fields(folder: Path) -> dict[str, FieldKind]:
    """Name and kind of each field in a time folder, by what the headers say."""
    out = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.is_file() or path.name.startswith(".") or path.name.endswith(("~", ".orig", ".bak")):
            continue
        try:
            found = CLASS.search(read_bytes(path, 4000))
        except (OSError, DamagedError):
            continue
        if found is not None:
            kind = FieldKind(found[1].decode(), WIDTHS[found[2].decode()], found[3] is None)
            out[path.name.removesuffix(".gz")] = kind
    return out


def read_field(path: Path, kind: FieldKind, rows: int) -> FoamField:
    """Read a field.

    Args:
        path: File, without ``.gz``.
        kind: From :func:`list_fields`.
        rows: Number of cells (or points).

    Raises:
        DamagedError: It cannot be read, or has not that many values.
    """
    if find_file(path) is None:
        raise DamagedError("is missing")
    content = read_dictionary(read_foam(path))
    inner = content.entries.get("internalField" if kind.patches else "value")
    if inner is None:
        inner = content.entries.get("value", content.entries.get("internalField"))
    if not isinstance(inner, Values):
        raise DamagedError("has no values of its cells" if inner is None else f"has the values {str(inner)[:40]!r}")
    values = _rows(inner, rows, kind.width)
    if len(values) != rows:
        raise DamagedError(f"has {len(values)} values for {rows} {'points' if kind.place == 'point' else 'cells'}")
    boundary = content.entries.get("boundaryField")
    return FoamField(kind, values, boundary if isinstance(boundary, Dictionary) else Dictionary())


def _rows(value: Values, count: int, width: int) -> Array:
    """``[n, width]`` with one row repeated where there is one for all."""
    if value.uniform:
        if value.rows.size != width:
            raise DamagedError(f"has a value of {value.rows.size} numbers, its class says {width}")
        return np.tile(value.rows.reshape(1, width), (count, 1))
    if len(value.rows) and value.rows.shape[1] != width:
        raise DamagedError(f"has values of {value.rows.shape[1]} numbers, its class says {width}")
    return value.rows.reshape(-1, width)


def as_array(rows: Array) -> Array:
    """Rows as they are stored with a mesh: ``[n]`` for scalars; symmetric tensors in the order of VTK."""
    if rows.shape[1] == 1:
        return rows[:, 0]
    return rows[:, SYMMETRIC] if rows.shape[1] == 6 else rows
