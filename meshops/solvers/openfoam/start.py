"""A given flow as the start of an OpenFOAM case, and what that is worth beside other starts.

Velocity and pressure come from outside, as from a surrogate. k, omega and nut come with them or are estimated from the
velocity by a mixing length (Prandtl): ``nut = l^2 S`` with ``l`` 0.41 times the distance to the nearest wall and at
most 0.005 body lengths, ``S = sqrt(2 |sym grad U|^2)``; ``k = nut S / 0.31`` (Bradshaw), ``omega = k / nut``; none of
them below the stream. The 0.005 is ours: with it the upper twentieth of k and nut is about that of a converged flow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from meshops.data.foam_mesh import PolyMesh, read_polymesh
from meshops.data.polygons import polygon_geometry
from meshops.errors import InputError
from meshops.io import write_text
from meshops.solvers.openfoam.history import largest_residual, read_drag, read_residuals
from meshops.solvers.openfoam.programs import FoamError, Programs
from meshops.solvers.openfoam.text import KINDS, value_of

Array = np.ndarray[Any, Any]
KARMAN, LARGEST_LENGTH, BRADSHAW = 0.41, 0.005, 0.31
INTERNAL = re.compile(r"internalField\s+(?:uniform\s+(?P<uniform>\([^)]*\)|[^;]+)|nonuniform\s[^;]*?);", re.DOTALL)


@dataclass(frozen=True)
class Geometry:
    """Cells of a case: centers ``[c, 3]``, volumes ``[c]``, and their faces."""

    mesh: PolyMesh
    center: Array
    volume: Array
    face_center: Array
    face_vector: Array

    def gradient(self, values: Array) -> Array:
        """``[c, k]`` -> ``[c, 3, k]`` by the theorem of Gauss; at the boundary the value is that of the cell."""
        owner, neighbour = self.mesh.owner, self.mesh.neighbour
        inner = len(neighbour)
        at_face = values[owner].astype(np.float64)
        at_face[:inner] = (at_face[:inner] + values[neighbour]) / 2
        flux = self.face_vector[:, :, None] * at_face[:, None, :]
        out = np.zeros((len(self.volume), 3, values.shape[1]))
        np.add.at(out, owner, flux)
        np.subtract.at(out, neighbour, flux[:inner])
        return np.asarray(out / self.volume[:, None, None])

    def wall_distance(self) -> Array:
        """``[c]`` to the nearest center of a face of a wall, m; infinite where there is none."""
        walls = [np.arange(p.start, p.start + p.count) for p in self.mesh.patches if p.kind == "wall"]
        if not walls:
            return np.full(len(self.center), np.inf)
        return np.asarray(cKDTree(self.face_center[np.concatenate(walls)]).query(self.center)[0])


def read_geometry(case: Path) -> Geometry:
    """Cells of the mesh in ``constant/polyMesh``.

    Raises:
        InputError: There is none.
    """
    folder = case / "constant" / "polyMesh"
    if not folder.is_dir():
        raise InputError(f"{case}: has no mesh (constant/polyMesh); mesh it first")
    mesh = read_polymesh(folder)
    points = np.asarray(mesh.points, dtype=np.float64)
    face_center, vector = polygon_geometry(points, mesh.face_size, mesh.face_nodes)
    count, inner = mesh.num_cells, len(mesh.neighbour)
    faces = np.bincount(mesh.owner, minlength=count) + np.bincount(mesh.neighbour, minlength=count)
    rough = np.zeros((count, 3))
    np.add.at(rough, mesh.owner, face_center)
    np.add.at(rough, mesh.neighbour, face_center[:inner])
    rough /= faces[:, None]
    volume, moment = np.zeros(count), np.zeros((count, 3))
    for cell, rows, sign in ((mesh.owner, slice(None), 1.0), (mesh.neighbour, slice(0, inner), -1.0)):
        third = sign * np.einsum("ij,ij->i", face_center[rows] - rough[cell], vector[rows]) / 3
        np.add.at(volume, cell, third)
        np.add.at(moment, cell, third[:, None] * (0.75 * face_center[rows] + 0.25 * rough[cell]))
    return Geometry(mesh, moment / volume[:, None], volume, face_center, vector)


def estimated_turbulence(
    geometry: Geometry, velocity: Array, length: float, stream: Mapping[str, float]
) -> dict[str, Array]:
    """``k``, ``omega`` and ``nut`` ``[c]`` of a velocity ``[c, 3]``; see the head of this file.

    Args:
        geometry: Of the case.
        velocity: m/s.
        length: Of the body, m.
        stream: ``k``, ``omega`` and ``nut`` of the stream: their least values.
    """
    gradient = geometry.gradient(velocity)
    strain = (gradient + gradient.transpose(0, 2, 1)) / 2
    rate = np.sqrt(2 * (strain**2).sum(axis=(1, 2)))
    mixing = np.minimum(KARMAN * geometry.wall_distance(), LARGEST_LENGTH * length)
    return consistent(mixing**2 * rate * rate / BRADSHAW, mixing**2 * rate, stream)


def consistent(k: Array, nut: Array, stream: Mapping[str, float]) -> dict[str, Array]:
    """``k``, ``nut`` and the ``omega`` that belongs to them, none below the stream."""
    k, nut = np.maximum(k, stream["k"]), np.maximum(nut, stream["nut"])
    return {"k": k, "nut": nut, "omega": k / nut}


def write_start(case: Path, fields: Mapping[str, Array]) -> None:
    """Put values at the cells into the fields of time 0 of a case; what holds at the patches stays.

    Args:
        case: Folder, with ``0/<field>`` as text.
        fields: ``U`` ``[c, 3]``, ``p``, ``k``, ``omega``, ``nut`` ``[c]``, some of them.

    Raises:
        InputError: A field has no file that can be changed, or its values are not finite.
    """
    for name, values in fields.items():
        path = case / "0" / name
        if name not in KINDS:
            raise InputError(f"{case}: no start is written for '{name}'; there are: {', '.join(KINDS)}")
        if not np.isfinite(values).all():
            raise InputError(f"{case}: the start of '{name}' is not finite; the surrogate does not hold for this case")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{path}: is missing, or not a text file; write it with writeFormat ascii") from None
        found = INTERNAL.search(text)
        if found is None:
            raise InputError(f"{path}: has no internalField that could be replaced; write it as 'uniform ...'")
        new = value_of(np.asarray(values, dtype=np.float64), KINDS[name])
        rest = text[found.end() :]
        if "$internalField" in rest:
            uniform = found.group("uniform")
            if uniform is None:
                raise InputError(
                    f"{path}: its patches say $internalField, which is not uniform; write their values out"
                )
            rest = rest.replace("$internalField", f"uniform {uniform.strip()}")
        write_text(path, f"{text[: found.start()]}internalField {new};{rest}")


def uniform_value(path: Path) -> float | None:
    """The one number of the cells of a scalar field; None where there is no such file, or more than one number."""
    try:
        found = INTERNAL.search(path.read_text(encoding="utf-8"))
        return None if found is None or found.group("uniform") is None else float(found.group("uniform"))
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class StartRun:
    """A run from one start.

    Attributes:
        name: Of the start.
        iterations: Until the solver stopped.
        converged: The residuals came below the limit.
        residual: Largest initial residual of the last iteration.
        seconds: Of simpleFoam; of what made the start before it.
        before: Seconds that the start itself took.
        time, drag: Every iteration and its force along x; empty where the case writes no forces.
        history: Largest initial residual of every iteration.
    """

    name: str
    iterations: int
    converged: bool
    residual: float
    seconds: float
    before: float
    time: Array
    drag: Array
    history: Array

    def settled(self, final: float, tolerance: float) -> int | None:
        """Iteration from which on the drag stays within ``tolerance`` of ``final`` (relative); None: never."""
        wrong = np.flatnonzero(np.abs(self.drag - final) > tolerance * abs(final))
        if len(self.drag) == 0 or (len(wrong) and wrong[-1] + 1 >= len(self.drag)):
            return None
        return int(self.time[wrong[-1] + 1]) if len(wrong) else int(self.time[0])

    def below(self, residual: float) -> int | None:
        """First iteration whose residuals all are below a limit; None: there is none."""
        rows = np.flatnonzero(self.history < residual)
        return int(rows[0]) + 1 if len(rows) else None


def run_start(
    name: str, case: Path, programs: Programs, *, residual: float, timeout: float, before: float = 0.0
) -> StartRun:
    """Run a case that is meshed and has its start.

    Args:
        name: Of the start.
        case: Folder.
        programs: With simpleFoam.
        residual: That counts as converged.
        timeout: Seconds.
        before: Seconds that the start itself took.

    Raises:
        FoamError: simpleFoam failed or left nothing behind.
    """
    seconds = programs.run("simpleFoam", case, timeout=timeout)
    history = read_residuals(case / "log.simpleFoam")
    if len(history["time"]) == 0:
        raise FoamError(f"{case.name}: simpleFoam wrote no residuals")
    largest = largest_residual(history)
    try:
        time, force = read_drag(case)
    except FoamError:
        time, force = np.zeros(0), np.zeros((0, 3))
    last = float(largest[-1])
    return StartRun(
        name, int(history["time"][-1]), last < residual, last, seconds, before, time, force[:, 0], largest
    )  # fmt: skip


def potential_start(case: Path, programs: Programs, timeout: float) -> float:
    """Start a case from the potential flow that ``potentialFoam`` computes in it; seconds it took.

    Its fluxes are kept, without which SIMPLE often diverges from it; its pressure is not, with which it did, too.
    """
    return programs.run("potentialFoam", case, "-writephi", timeout=timeout)
