"""Which arrays of a file are fields: names that formats reserve, and three scalars that are one vector."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from meshops.data.cells import Array, Mesh

# Arrays that formats and programs keep for themselves; obeyed where they say something, never a field.
RESERVED = re.compile(
    r"(vtk(Ghost(Type|Levels)|Original(Point|Cell)Ids|ValidPointMask|CompositeIndex|BlockColors|ProcessId|InsidednessArray)"
    r"|(Global|Pedigree)(Node|Element|Point|Cell)?Ids?|(Pedigree)?(Node|Element)Ids?|ObjectId|PartId"
    r"|SourceElement(Id|Side)|File(Node|Element)Id|avt\w+|ghost(s|_?cells?|_?levels?|_?type)?|cell_ids|cell_tags"
    r"|(gmsh|medit|nastran|su2|avsucd|flac3d|tetgen|ugrid|permas|abaqus):\w+|point_tags"
    r"|STLSolidLabeling|RegionId|ProcId|Rank|rank|process_?id|GroupIds|MaterialIds)"
)
# Ways to name the components of a vector: VelocityX, Velocity_x, Ux, U:0, U[0], U.x.
COMPONENT = re.compile(r"(?P<stem>.+?)(?P<sep>[_:. -]?)(?P<open>[\[(]?)(?P<axis>[XYZxyz]|[0-2]|[1-3])(?P<close>[\])]?)")
AXES = ("XYZ", "xyz", "012", "123")


def is_reserved(name: str) -> bool:
    """Whether a format or a program keeps this name for itself."""
    return RESERVED.fullmatch(name) is not None


def vectors_in(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Sets of scalars that are the components of one vector: its name -> their names, in the order of the axes.

    Two components make a vector in the plane. The names are those programs write: ``VelocityX``, ``Ux``, ``U_x``,
    ``U:0``, ``U[0]``, ``U.x``; digits count only behind a sign (``T1``, ``T2`` are two temperatures).

    Example:
        >>> vectors_in(("p", "VelocityX", "VelocityY", "VelocityZ"))
        {'Velocity': ('VelocityX', 'VelocityY', 'VelocityZ')}
    """
    groups: dict[tuple[str, str, str, str], dict[str, str]] = {}
    names = tuple(names)
    for name in names:
        match = COMPONENT.fullmatch(name)
        if match is None:
            continue
        stem, sign, axis = match["stem"], match["sep"] + match["open"], match["axis"]
        if (match["open"] == "") != (match["close"] == ""):
            continue
        if axis.isdigit() and sign not in (":", "[", "("):
            continue
        if not sign and stem[-1] in "xyzXYZ" and stem[-1].islower() == axis.islower() and not axis.isdigit():
            continue  # Sxx, Sxy, Sxz: a row of a tensor; not velocity_x
        for axes in AXES:
            if axis in axes:
                groups.setdefault((stem, sign, match["close"], axes), {})[axis] = name
    out: dict[str, tuple[str, ...]] = {}
    for (stem, _, _, axes), found in groups.items():
        count = 3 if all(axis in found for axis in axes) else 2
        parts = tuple(found[axis] for axis in axes[:count] if axis in found)
        pair_is_safe = bool(sign) or axes[0].isupper() or len(stem) == 1  # not "max" and "may"
        if len(parts) == count == len(found) and (count == 3 or pair_is_safe) and stem not in names:
            out.setdefault(stem, parts)
    return out


def join_components(mesh: Mesh) -> list[str]:
    """Make vectors of scalars that are components of one; returns a remark for each.

    The scalars are left out. In the plane the third component is zero.
    """
    remarks = []
    for data, place in ((mesh.point_data, "points"), (mesh.cell_data, "cells")):
        scalars = {name: np.asarray(data[name]) for name in data}
        scalars = {name: values for name, values in scalars.items() if values.ndim == 1 and values.dtype.kind == "f"}
        for name, parts in vectors_in(scalars).items():
            data[name] = stack(scalars, parts)
            for part in parts:
                del data[part]
            remarks.append(f"'{name}' at the {place} is made of the scalars {', '.join(parts)}")
    return remarks


def stack(scalars: Mapping[str, Any], parts: Iterable[str]) -> Array:
    """``[n, 3]`` of two or three scalars, the third zero where it is missing."""
    columns = [np.asarray(scalars[part]) for part in parts]
    if len(columns) == 2:
        columns.append(np.zeros_like(columns[0]))
    return np.stack(columns, axis=1)
