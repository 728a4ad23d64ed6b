"""A finished case in the layout of AhmedML, as :class:`meshops.datasets.AhmedML` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

from meshops.aero.conditions import FlowConditions
from meshops.aero.forces import Forces, integrate_forces
from meshops.data.cells import Mesh, as_polygons, cells_of
from meshops.data.openfoam import read_case
from meshops.data.polygons import polygon_geometry
from meshops.data.writers import write_mesh
from meshops.io import write_text
from meshops.solvers.openfoam.ahmed_case import BODY
from meshops.solvers.openfoam.history import Verdict
from meshops.solvers.openfoam.mirror import flat_walls, mirrored
from meshops.solvers.openfoam.programs import FoamError

Array = np.ndarray[Any, Any]
SURFACE = {"p": "pMean", "wallShearStress": "wallShearStressMean"}
VOLUME = {"p": "pMean", "U": "UMean", "k": "kMean", "nut": "nutMean"}
STREAM = FlowConditions(speed=1.0, density=1.0, kinematic=True, shear_sign=-1)
AGREE = 0.02  # the two ways to the drag may differ by this share of it


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of a body, by the frontal area it has itself.

    Attributes:
        cd, cl: Of the forces that the solver wrote.
        integrated: Integral of the surface fields that are written.
        cells: Of the mesh that was solved.
    """

    cd: float
    cl: float
    integrated: Forces
    cells: int


def write_run(
    folder: Path, number: int, case: Path, verdict: Verdict, *, stl: Path, parameters: dict[str, float],
    area: float, half: bool, volume: bool,
) -> Coefficients:  # fmt: skip
    """Write ``boundary_<i>.vtp``, ``ahmed_<i>.stl`` and the tables of a run, and ``volume_<i>.vtu`` where it is asked.

    The fields are those of the last iteration; ``Mean`` in their names is that of the layout. Forces are means over the
    window in which convergence was judged.

    Args:
        folder: Of the run; made.
        number: Of the run.
        case: Folder of the finished OpenFOAM case.
        verdict: Of its convergence.
        stl: Surface of the body.
        parameters: Columns of ``geo_parameters_<i>.csv``; none: the file is left out.
        area: Frontal area, m^2.
        half: Only half of the flow was solved.
        volume: Write the flow around the body.

    Raises:
        FoamError: Fields are missing, or the drag of the surface fields is not that of the solver.
    """
    surface = _fields(case, BODY, SURFACE)
    inside = flat_walls(_fields(case, None, VOLUME))
    cells = inside.n_cells
    share = 2.0 if half else 1.0
    if half:
        surface = mirrored(surface)
    integrated = surface_forces(surface, area)
    cd, cl = (2 * share * verdict.force[axis] / area for axis in (0, 2))
    if abs(integrated.cd - cd) > AGREE * abs(cd) + 1e-3:
        raise FoamError(
            f"the drag of the surface fields, {integrated.cd:.4f}, is not that of the solver, {cd:.4f}; the mesh of "
            "the body or its fields are not sound"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_mesh(_single(surface), folder / f"boundary_{number}.vtp")
    (folder / f"ahmed_{number}.stl").write_bytes(stl.read_bytes())
    if volume:
        write_mesh(_single(mirrored(inside) if half else inside), folder / f"volume_{number}.vtu")
    forces = _row({"cd": cd, "cl": cl})
    write_text(folder / f"force_mom_{number}.csv", forces)
    write_text(folder / f"force_mom_varref_{number}.csv", forces)
    if parameters:
        write_text(folder / f"geo_parameters_{number}.csv", _row(parameters))
    return Coefficients(cd, cl, integrated, cells)


def surface_forces(surface: Mesh, area: float) -> Forces:
    """Integral of ``pMean`` and ``wallShearStressMean`` over polygons that face into the body."""
    size, nodes = as_polygons(cells_of(surface))
    _, vector = polygon_geometry(np.asarray(surface.points, dtype=np.float64), size, nodes)
    each = np.linalg.norm(vector, axis=1)
    return integrate_forces(
        -vector / np.maximum(each, 1e-300)[:, None],
        each,
        np.asarray(surface.cell_data["pMean"]),
        STREAM,
        frontal_area=area,
        shear=np.asarray(surface.cell_data["wallShearStressMean"]),
    )


def _fields(case: Path, part: str | None, names: dict[str, str]) -> Mesh:
    """Cells of a part with its arrays under their names in the layout."""
    mesh = read_case(case, region=part).mesh
    missing = [name for name in names if name not in mesh.cell_data]
    if missing:
        raise FoamError(f"{case.name}: the solver wrote no {', '.join(missing)}")
    for name in list(mesh.cell_data):
        if name not in names:
            del mesh.cell_data[name]
    for name, new in names.items():
        values = np.asarray(mesh.cell_data[name])
        if not np.isfinite(values).all():
            raise FoamError(f"{case.name}: the field {name} is not finite")
        mesh.cell_data[new] = values
        del mesh.cell_data[name]
    return mesh


def _single(mesh: Mesh) -> Mesh:
    """In single precision, as the public set has it."""
    out: Mesh = mesh.copy()
    out.points = np.asarray(mesh.points, dtype=np.float32)
    for name in mesh.cell_data:
        out.cell_data[name] = np.asarray(mesh.cell_data[name], dtype=np.float32)
    if isinstance(out, pv.PolyData):
        out.set_active_scalars("pMean", preference="cell")
    return out


def _row(values: dict[str, float]) -> str:
    return ",".join(values) + "\n" + ",".join(f"{value:.9g}" for value in values.values()) + "\n"
