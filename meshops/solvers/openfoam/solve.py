"""One shape solved from several starts on one mesh: the stream, the potential flow, a given flow."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

from meshops.data.cells import Mesh
from meshops.data.openfoam import read_case
from meshops.errors import InputError, listing
from meshops.solvers.openfoam.ahmed_case import AhmedSettings, write_body_case
from meshops.solvers.openfoam.campaign import mesh_case
from meshops.solvers.openfoam.mirror import flat_walls, mirrored
from meshops.solvers.openfoam.programs import Programs
from meshops.solvers.openfoam.start import (
    StartRun,
    consistent,
    estimated_turbulence,
    potential_start,
    read_geometry,
    run_start,
    uniform_value,
    write_start,
)

Array = np.ndarray[Any, Any]
STARTS = ("stream", "potential")
Told = Callable[[Mesh], Mapping[str, Array]]


@dataclass(frozen=True)
class Prepared:
    """A case that is meshed and not yet started.

    Attributes:
        folder: Of the case.
        length: Of the body, m: what the estimate of the turbulence counts in.
        half: Half of the flow beside y = 0.
        stream: ``k``, ``omega``, ``nut`` of the stream.
        residual: At which the solver stops.
        timeout: Seconds a program may take.
        seconds: Of the mesh.
    """

    folder: Path
    length: float
    half: bool
    stream: dict[str, float]
    residual: float
    timeout: float
    seconds: float

    def with_length(self, length: float) -> Prepared:
        """The same with another length of the body, m."""
        return replace(self, length=length)

    def whole(self) -> Mesh:
        """The volume mesh without arrays, its mirror image with it where half of it is solved."""
        mesh = read_case(self.folder).mesh
        for data in (mesh.cell_data, mesh.point_data):
            data.clear()
        mesh = flat_walls(mesh)
        return mirrored(mesh) if self.half else mesh


def prepare_shape(folder: Path, body: pv.PolyData, settings: AhmedSettings, programs: Programs) -> Prepared:
    """Write and mesh the case of a closed surface: x downstream, z up, the ground at z = 0, the stream 1 m/s.

    Raises:
        InputError: The surface makes no case.
        FoamError: The mesh failed.
    """
    write_body_case(folder, body, settings)
    seconds = sum(mesh_case(folder, programs, settings).values())
    length = float(np.ptp(np.asarray(body.points)[:, 0]))
    return Prepared(
        folder, length, settings.half, settings.turbulence, settings.residual, settings.timeout, seconds
    )  # fmt: skip


def prepare_copy(
    folder: Path, case: Path, *, length: float, residual: float, timeout: float, stream: dict[str, float]
) -> Prepared:
    """Copy an existing, meshed case: its ``0``, ``constant`` and ``system``.

    Raises:
        InputError: Something of that is missing.
    """
    for name in ("0", "constant/polyMesh", "system"):
        if not (case / name).is_dir():
            raise InputError(
                f"{case}: has no folder {name}; give a meshed OpenFOAM case with its start in the folder 0"
            )
    for name in ("0", "constant", "system"):
        shutil.copytree(case / name, folder / name)
    return Prepared(folder, length, _beside_plane(folder), stream, residual, timeout, 0.0)


def run_starts(
    made: Prepared,
    names: Sequence[str],
    programs: Programs,
    flows: Mapping[str, Told] | None = None,
    told: Callable[[StartRun], None] = lambda run: None,
) -> list[StartRun]:
    """Run the case from every start, each in a folder beside it that is named after the start.

    Args:
        made: The meshed case.
        names: Of starts: ``"stream"``, ``"potential"``, and those of ``flows``.
        programs: With simpleFoam, and potentialFoam where that start is asked for.
        flows: Start -> volume mesh -> ``U`` (m/s), ``p`` (m^2/s^2), and ``k``, ``nut`` or not, at its cells.
        told: Called with every run that ends.

    Raises:
        InputError: No such start, or what a flow gives does not fit.
        FoamError: A program failed.
    """
    out = []
    for name in names:
        case, before = begin(made, name, programs, flows)
        out.append(run_start(name, case, programs, residual=made.residual, timeout=made.timeout, before=before))
        told(out[-1])
    return out


def begin(made: Prepared, name: str, programs: Programs, flows: Mapping[str, Told] | None = None) -> tuple[Path, float]:
    """A copy of the meshed case with its start in it, ready to run; its folder, and the seconds the start took.

    Raises:
        InputError: No such start, or what the flow gives does not fit.
        FoamError: potentialFoam failed.
    """
    known = (*STARTS, *(flows or {}))
    if name not in known:
        raise InputError(f"no start '{name}'; there are: {listing(known)}")
    case = made.folder.parent / name
    shutil.rmtree(case, ignore_errors=True)
    shutil.copytree(made.folder, case)
    if name == "potential":
        return case, potential_start(case, programs, made.timeout)
    began = time.monotonic()
    if flows and name in flows:
        fields = start_fields(made, flows[name](made.whole()))
        write_start(case, {name: values for name, values in fields.items() if (case / "0" / name).is_file()})
    return case, time.monotonic() - began


def start_fields(made: Prepared, fields: Mapping[str, Array]) -> dict[str, Array]:
    """Fields of time 0 of what was predicted on :meth:`Prepared.whole`: of its first half where half is solved.

    Raises:
        InputError: There are not as many values as cells.
    """
    geometry = read_geometry(made.folder)
    count = len(geometry.volume)
    whole = 2 * count if made.half else count
    wrong = {name: len(values) for name, values in fields.items() if len(values) != whole}
    if wrong:
        raise InputError(f"{made.folder.name}: {whole} cells, but the prediction has {wrong}")
    own = {name: np.asarray(values, dtype=np.float64)[:count] for name, values in fields.items()}
    out = {"U": own["U"], "p": own["p"].reshape(-1)}
    if {"k", "nut"} <= set(own):
        return out | consistent(own["k"].reshape(-1), own["nut"].reshape(-1), made.stream)
    return out | estimated_turbulence(geometry, own["U"], made.length, made.stream)


def stream_of(case: Path) -> dict[str, float]:
    """``k``, ``omega`` and ``nut`` of a case that starts from one value of ``k`` and ``omega``.

    Raises:
        InputError: It does not, so that nothing is known of its turbulence.
    """
    found = {}
    for name in ("k", "omega"):
        value = uniform_value(case / "0" / name)
        if value is None or not value > 0:
            raise InputError(
                f"{case}: 0/{name} must say 'internalField uniform NUMBER': a start is written for cases of the "
                "k-omega models"
            )
        found[name] = value
    return {**found, "nut": found["k"] / found["omega"]}


def _beside_plane(folder: Path) -> bool:
    """Whether there are symmetry patches, they lie at y = 0, and the mesh on the side of positive y."""
    geometry = read_geometry(folder)
    mesh = geometry.mesh
    planes = [p for p in mesh.patches if p.kind in ("symmetry", "symmetryPlane")]
    if not planes:
        return False
    near = 1e-6 * float(np.ptp(mesh.points, axis=0).max())
    rows = np.concatenate([np.arange(p.start, p.start + p.count) for p in planes])
    return bool(np.abs(geometry.face_center[rows, 1]).max() <= near and mesh.points[:, 1].min() >= -near)
