"""Studies of our solvers as plain folders, as an engineer has them: mesh files, arrays, tables, OpenFOAM cases.

front       one mesh (``mesh.vtu``), ``pressure.npy``, ``velocity.npy``, ``parameters.csv``: transonic aerofoil
plate       ``plate_0000.vtu``, ..., ``results.csv``: elastic plates with a hole, load, largest stress, mass
wake_files  ``wake_0000/frame_0000.vtu``, ..., ``wake_0000/wake_0000.pvd``, ``parameters.csv``: flow in time
foam        ``case_0000/{0,100,constant,system}``, ..., ``cases.csv``: OpenFOAM cases of a body on the ground
"""

from __future__ import annotations

import csv
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from meshops.data.cells import TRIANGLE, Mesh, make_cells, mesh_of
from meshops.data.writers import write_mesh
from meshops.datasets.formats.foam import write_field, write_mesh_files, write_settings
from meshops.errors import InputError, did_you_mean, listing
from meshops.solvers.plate import plate
from meshops.solvers.transonic import front_study
from meshops.solvers.tunnel import tunnel_flow
from meshops.solvers.wake import wake

Array = np.ndarray[Any, Any]
Follow: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]

VELOCITY, KINEMATIC_PRESSURE = (0, 1, -1, 0, 0, 0, 0), (0, 2, -2, 0, 0, 0, 0)


def write_study(
    name: str, out: Path, *, cases: int, seed: int = 0, follow: Follow = lambda each: each, **options: Any
) -> str:
    """Solve a study and write it.

    Args:
        name: One of :data:`STUDIES`.
        out: Folder; is made.
        cases: Number of cases.
        seed: Of the first case; the next ones follow (``front``: of the mesh and the parameters).
        follow: Wraps the loop over the cases, for progress.
        **options: Of the solver, such as ``num_points``.

    Returns:
        What was written, in words.

    Raises:
        InputError: No such study or option, or a number makes no sense.
    """
    if name not in STUDIES:
        raise InputError(f"no study '{name}'; {did_you_mean(name, STUDIES)}there are: {listing(sorted(STUDIES))}")
    write, solver = STUDIES[name]
    fixed = ("seed", "cases")
    allowed = [key for key in inspect.signature(solver).parameters if key not in fixed]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise InputError(f"{name}: unknown option {listing(unknown)}; allowed: {listing(allowed)}")
    if cases < 1:
        raise InputError(f"a study needs at least 1 case, got {cases}")
    out.mkdir(parents=True, exist_ok=True)
    return write(out, cases, seed, follow, options)


def _write_front(out: Path, cases: int, seed: int, follow: Follow, options: dict[str, Any]) -> str:
    mesh, parameters, flows = front_study(cases, seed, **options)
    count = len(mesh.points)
    pressure = np.zeros((cases, count), dtype=np.float32)
    velocity = np.zeros((cases, count, 2), dtype=np.float32)
    for case, p, u in follow(_counted(flows, cases)):
        pressure[case], velocity[case] = p, u
    write_mesh(_plane(mesh.points, mesh.triangles), out / "mesh.vtu")
    np.save(out / "pressure.npy", pressure)
    np.save(out / "velocity.npy", velocity)
    rows = [(f"{case:04d}", *values) for case, values in enumerate(parameters.tolist())]
    _table(out / "parameters.csv", ("case", "angle [deg]", "mach"), rows)
    return f"{cases} flows on one mesh of {count} nodes, pressure [Pa] and velocity [m/s], angle and Mach number"


def _write_plates(out: Path, cases: int, seed: int, follow: Follow, options: dict[str, Any]) -> str:
    rows, count = [], 0
    for case in follow(range(cases)):
        found = plate(seed + case, **options)
        mesh = _plane(found.points, found.triangles)
        mesh.point_data["displacement"] = np.pad(found.displacement, ((0, 0), (0, 1)))
        mesh.point_data["von_mises"] = found.von_mises
        name, count = f"plate_{case:04d}", len(found.points)
        write_mesh(mesh, out / f"{name}.vtu")
        rows.append((name, found.load, float(found.von_mises.max()), found.mass))
    _table(out / "results.csv", ("case", "load [N]", "largest_stress [Pa]", "mass [kg]"), rows)
    return f"{cases} plates of {count} nodes each, displacement [m] and von_mises [Pa], load, largest stress and mass"


def _write_wakes(out: Path, cases: int, seed: int, follow: Follow, options: dict[str, Any]) -> str:
    rows, told = [], ""
    given = {"motion": "fixed"} | options
    for case in follow(range(cases)):
        found, name = wake(seed + case, **given), f"wake_{case:04d}"
        files = []
        for frame, time in enumerate(found.time.tolist()):
            mesh = _plane(found.pos[frame].numpy(), found.triangles[frame].numpy())
            mesh.point_data["velocity"] = np.pad(found.velocity[frame].numpy(), ((0, 0), (0, 1)))
            mesh.point_data["pressure"] = found.pressure[frame].numpy()
            files.append((time, write_mesh(mesh, out / name / f"frame_{frame:04d}.vtu").name))
        _series(out / name / f"{name}.pvd", files)
        rows.append((name, found.parameters["reynolds"]))
        told = f"{len(files)} frames of {found.pos.shape[1]} nodes"
    _table(out / "parameters.csv", ("case", "reynolds"), rows)
    return f"{cases} wakes, {told}, velocity [m/s] and pressure [Pa], a series (.pvd) each"


def _write_foam(out: Path, cases: int, seed: int, follow: Follow, options: dict[str, Any]) -> str:
    rows, count = [], 0
    for case in follow(range(cases)):
        flow, folder = tunnel_flow(seed + case, **options), out / f"case_{case:04d}"
        write_mesh_files(folder, flow.mesh)
        write_settings(folder, time=100)
        stream, rest = np.array([[flow.speed, 0.0, 0.0]]), np.zeros(1)
        write_field(folder, "0", "U", VELOCITY, stream, dict.fromkeys(flow.mesh.patches, stream))
        write_field(folder, "0", "p", KINEMATIC_PRESSURE, rest, dict.fromkeys(flow.mesh.patches, rest))
        write_field(folder, "100", "U", VELOCITY, flow.velocity, flow.patch_velocity)
        write_field(folder, "100", "p", KINEMATIC_PRESSURE, flow.pressure, flow.patch_pressure)
        rows.append((folder.name, flow.speed, *flow.size, flow.lift))
        count = len(flow.pressure)
    head = ("case", "speed [m/s]", "length [m]", "width [m]", "height [m]", "cl")
    _table(out / "cases.csv", head, rows)
    return f"{cases} OpenFOAM cases of {count} cells, p and U, patches {', '.join(flow.mesh.patches)}"


STUDIES: dict[str, tuple[Callable[[Path, int, int, Follow, dict[str, Any]], str], Callable[..., Any]]] = {
    "foam": (_write_foam, tunnel_flow),
    "front": (_write_front, front_study),
    "plate": (_write_plates, plate),
    "wake_files": (_write_wakes, wake),
}


class _counted:
    """An iterator that knows how many there will be."""

    def __init__(self, each: Iterable[Any], count: int) -> None:
        self.each, self.count = each, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        return iter(self.each)


def _plane(points: Array, triangles: Array) -> Mesh:
    flat = np.zeros((len(points), 3))
    flat[:, :2] = points
    size, kind = np.full(len(triangles), 3), np.full(len(triangles), TRIANGLE, dtype=np.uint8)
    return mesh_of(flat, make_cells(size, triangles.ravel(), kind), as_grid=True)


def _table(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


def _series(path: Path, files: Sequence[tuple[float, str]]) -> None:
    lines = [f'    <DataSet timestep="{time:.6g}" part="0" file="{name}"/>' for time, name in files]
    text = "\n".join(['<?xml version="1.0"?>', '<VTKFile type="Collection" version="0.1" byte_order="LittleEndian">',
                      "  <Collection>", *lines, "  </Collection>", "</VTKFile>", ""])  # fmt: skip
    path.write_text(text, encoding="utf-8")
