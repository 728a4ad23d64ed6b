"""``meshops solve CKPT SHAPE|CASE --out DIR``: a predicted flow as the start of a solver."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meshops.cli.options import console, existing_checkpoint, numbers_of, output_folder, parser, print_json
from meshops.errors import InputError
from meshops.io import write_json

if TYPE_CHECKING:
    from meshops.solvers.openfoam import AhmedSettings, Prepared, Programs, StartRun
    from meshops.surrogate import Surrogate

EXAMPLES = """examples:
  meshops solve CKPT car.stl --out out                       mesh it, start from the prediction, run to convergence
  meshops solve CKPT car.stl --out out --compare             and from the uniform stream and from potentialFoam
  meshops solve CKPT car.stl --out out --study data/bodies   put the converged case into a folder of runs
  meshops solve CKPT my_case --out out --prepare             write the start of a meshed OpenFOAM case of yours, no run

The surrogate must predict velocity and pressure in the air: one of volumes (data.options domain: volume, as of
meshops generate ahmed --volume), or of surface and air together (domain: all). Where it also predicts kMean and nutMean
they are used, else k, omega and nut are estimated from the velocity by a mixing length.
SHAPE is a closed surface in metres, x downstream, z up, the ground at z = 0; its flow is solved as by meshops generate
ahmed: stream 1 m/s, density 1, k-omega SST. CASE is a folder of OpenFOAM with 0, constant/polyMesh and system, solved
by simpleFoam as its own controlDict says; it is copied, never changed. DIR/network is the case that was run,
DIR/solve.json holds the numbers. Needs OpenFOAM (apt-get install openfoam).
"""


def run(argv: Sequence[str]) -> int:
    """Start, run, report; 1 where the run did not converge."""
    args = _parser().parse_args(argv)
    existing_checkpoint(args.checkpoint)
    source, conditions = Path(args.source), numbers_of(args.set)
    if not source.exists():
        raise InputError(f"{source}: no such shape or case; check the path")
    if args.study and source.is_dir():
        raise InputError("--study is for shapes: a case of yours has its own patches and units; leave it out")

    from meshops.selection.search import interruptible
    from meshops.solvers.openfoam import find_programs, run_starts
    from meshops.surrogate import load
    from meshops.surrogate.air import air_at_cells, air_fields

    names = ("network", "stream", "potential") if args.compare else ("network",)
    surrogate = load(args.checkpoint, device=args.device)
    fields = air_fields(surrogate, args.velocity, args.pressure)
    programs = find_programs(_needed(source, args))
    out, screen = output_folder(args.out), console()
    if any((out / name).exists() for name in ("mesh", *names)):
        raise InputError(f"{out}: holds a run of 'meshops solve' already; choose another --out or remove it")

    def predict(mesh: Any) -> Mapping[str, Any]:
        told = air_at_cells(surrogate, mesh, fields=fields, conditions=conditions)
        return told if source.is_dir() else _of_unit_stream(told, surrogate, conditions)

    def told(run: StartRun) -> None:
        screen.print(f"{run.name}: {run.iterations} iterations, residual {run.residual:.2g}, {run.seconds:.0f} s")

    try:
        with interruptible():
            made, settings = _prepared(source, out / "mesh", args, programs, surrogate)
            screen.print(f"{out / 'mesh'}: meshed in {made.seconds:.0f} s")
            if args.prepare:
                return _prepare_only(made, programs, predict)
            runs = run_starts(made, names, programs, {"network": predict}, told)
    except KeyboardInterrupt:
        programs.stop.set()
        sys.stderr.write(f"\nmeshops solve: stopped; what is there is in {out}; remove it and start again\n")
        return 130
    result = _result(runs, args.tolerance)
    if args.study and settings is not None:
        result["study"] = _into_study(Path(args.study), out / "network", source, settings)
    write_json(out / "solve.json", result)
    if args.json:
        print_json(result)
    else:
        _print(result, out)
    return 0 if runs[0].converged else 1


def _needed(source: Path, args: Any) -> tuple[str, ...]:
    mesh = () if source.is_dir() else ("blockMesh", "snappyHexMesh")
    solver = () if args.prepare else ("simpleFoam",)
    return (*mesh, *solver, *(("potentialFoam",) if args.compare else ()))


def _of_unit_stream(told: Mapping[str, Any], surrogate: Surrogate, conditions: Mapping[str, float]) -> dict[str, Any]:
    """Fields of a stream of 1 m/s from those at the speed the surrogate was asked for."""
    spec: Any = surrogate.spec
    speed = conditions.get("speed", spec.flow.speed) if spec.flow_stated else 1.0
    powers = {"U": 1, "p": 2, "k": 2, "nut": 1}
    return {name: values / speed ** powers[name] for name, values in told.items()}


def _prepared(
    source: Path, folder: Path, args: Any, programs: Programs, surrogate: Surrogate
) -> tuple[Prepared, AhmedSettings | None]:
    from meshops.data.volume_body import extract_body
    from meshops.solvers.openfoam import AhmedSettings, prepare_copy, prepare_shape
    from meshops.solvers.openfoam.ahmed_case import is_symmetric
    from meshops.solvers.openfoam.solve import stream_of

    asked = ("cells", "speed", "iterations", "residual", "upwind", "timeout", "layers")
    given = {name: getattr(args, name) for name in asked if getattr(args, name) is not None}
    if source.is_dir():
        odd = sorted(set(given) - {"residual", "timeout"})
        if odd:
            raise InputError(f"--{odd[0]} is for shapes; a case has its own mesh and settings")
        sizes: dict[str, float] = {"residual": 1e-4, "timeout": 1800.0} | given
        made = prepare_copy(folder, source, length=1.0, stream=stream_of(source), **sizes)
        body = extract_body(made.whole())
        return made.with_length(float(np.ptp(np.asarray(body.points)[:, 0]))), None
    body = _surface(source)
    settings = AhmedSettings(half=not args.full and is_symmetric(body), **given)
    return prepare_shape(folder, body, settings, programs), settings


def _surface(source: Path) -> Any:
    from meshops.data.readers import read_mesh

    mesh = read_mesh(source)
    if not hasattr(mesh, "is_all_triangles"):
        raise InputError(f"{source}: a volume mesh; give the closed surface of the body (STL, VTP, OBJ), or a case")
    body = mesh.triangulate().clean()
    if body.n_open_edges:
        raise InputError(f"{source}: the surface has {body.n_open_edges} open edges; close it, a mesh is cut around it")
    body.clear_data()
    return body


def _prepare_only(made: Prepared, programs: Programs, predict: Any) -> int:
    from meshops.solvers.openfoam import begin

    case, seconds = begin(made, "network", programs, {"network": predict})
    sys.stdout.write(f"{case}: the prediction is its time 0 ({seconds:.1f} s); run it with: simpleFoam -case {case}\n")
    return 0


def _result(runs: Sequence[StartRun], tolerance: float) -> dict[str, Any]:
    """Iterations of every start, beside a drag that all should reach: that of the stream, else of the only run."""
    final = next((r for r in runs if r.name == "stream"), runs[0])
    drag = float(final.drag[-1]) if len(final.drag) else None
    rows = {}
    for each in runs:
        rows[each.name] = {
            "iterations": each.iterations, "converged": each.converged, "residual": each.residual,
            "seconds": each.seconds, "seconds_of_start": each.before,
            "drag_force": float(each.drag[-1]) if len(each.drag) else None,
            "iterations_to_drag": None if drag is None else each.settled(drag, tolerance),
        }  # fmt: skip
    return {"tolerance": tolerance, "drag_of": final.name, "starts": rows}


def _into_study(root: Path, case: Path, source: Path, settings: AhmedSettings) -> str:
    from meshops.aero.body_surface import BodySurface
    from meshops.solvers.openfoam import add_to_study
    from meshops.solvers.openfoam.layout import STREAM

    area = BodySurface.of(_surface(source)).frontal_area(STREAM)
    return str(add_to_study(root, case, settings, area=area))


def _print(result: Mapping[str, Any], out: Path) -> None:
    lines = ["start      iterations  converged  drag force  drag settled at  seconds  of the start"]
    for name, row in result["starts"].items():
        drag = "-" if row["drag_force"] is None else f"{row['drag_force']:.6f}"
        settled = "-" if row["iterations_to_drag"] is None else str(row["iterations_to_drag"])
        lines.append(
            f"{name:<9}  {row['iterations']:>10}  {'yes' if row['converged'] else 'no':>9}  {drag:>10}  {settled:>15}  "
            f"{row['seconds']:>7.1f}  {row['seconds_of_start']:>12.1f}"
        )
    share = f"{100 * result['tolerance']:g} %"
    lines.append(f"drag settled: within {share} of the last of '{result['drag_of']}' from there on; force over density")
    if "study" in result:
        lines.append(f"{result['study']}: the converged case")
    sys.stdout.write("\n".join(lines) + f"\n{out / 'solve.json'}\n")


def _parser() -> Any:
    options = parser("solve", "Start OpenFOAM from a predicted flow, and see what that saves.", EXAMPLES)
    options.add_argument("checkpoint", help="model.ckpt that predicts velocity and pressure in the air")
    options.add_argument(
        "source", metavar="SHAPE|CASE", help="closed surface (STL, VTP, ...), or a meshed OpenFOAM case"
    )
    options.add_argument("--out", default="solved", help="folder for the cases (default: %(default)s)")
    options.add_argument("--compare", action="store_true", help="also run from the stream and from potentialFoam")
    options.add_argument("--prepare", action="store_true", help="write the start, do not run")
    text = "folder of runs in the layout of AhmedML that the converged case is put into"
    options.add_argument("--study", metavar="ROOT", help=text)
    text = "condition the surrogate was trained with, or of the flow: speed, density, ..."
    options.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help=text)
    options.add_argument("--velocity", metavar="FIELD", help="field that is the velocity (default: by its name)")
    options.add_argument("--pressure", metavar="FIELD", help="field that is the pressure (default: by its name)")
    options.add_argument("--cells", type=int, help="of the mesh of a shape, about (default: 25000)")
    options.add_argument("--layers", type=int, help="layers of flat cells on the body (default: 0)")
    options.add_argument("--full", action="store_true", help="solve both halves of a symmetric shape")
    options.add_argument("--speed", type=float, help="of the body in air, m/s: sets the viscosity (default: 40)")
    options.add_argument("--iterations", type=int, help="at most (default: 400)")
    options.add_argument("--residual", type=float, help="initial residual that counts as converged (default: 1e-4)")
    options.add_argument("--upwind", type=float, help="share of first-order upwind for the momentum (default: 0.3)")
    options.add_argument("--timeout", type=float, help="seconds a program may take (default: 1800)")
    options.add_argument("--tolerance", type=float, default=0.01, help="of the drag (default: %(default)s)")
    options.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    options.add_argument("--json", action="store_true", help="print solve.json")
    return options
