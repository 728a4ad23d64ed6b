"""What a predicted flow saves a solver: iterations of simpleFoam from four starts, over bodies not trained on.

    meshops generate ahmed --num 24 --cells 16000 --volume --jobs 2 --out data/bodies
    meshops train models/mspt/ahmed_air_cpu.yaml --data.root data/bodies --out runs/air
    python benchmarks/solve_start.py runs/air/model.ckpt data/bodies --out runs/solve_start

Starts: the uniform stream; the potential flow of potentialFoam, with its fluxes; the solution of the training body of
the nearest dimensions, cell by cell the nearest of its cells; the network. Every body is meshed once, and solved from
each start until all initial residuals are below 1e-4. Counted are those iterations, and the iteration from which on the
drag stays within 1 % of the one that the uniform stream leads to. Bodies whose flow does not settle from the uniform
stream are named and left out. A row is kept as soon as it is there; the same command goes on.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from meshops.data.readers import read_mesh
from meshops.datasets import AhmedML
from meshops.io import read_json, write_json
from meshops.solvers.ahmed_body import ahmed_body_from
from meshops.solvers.openfoam import (
    AhmedSettings,
    FoamError,
    Programs,
    StartRun,
    draw_shape,
    find_programs,
    prepare_shape,
    run_starts,
)
from meshops.solvers.openfoam.ahmed_case import parameters_of

STARTS = ("stream", "potential", "neighbour", "network")
TOLERANCES = (0.01, 0.003)


class Neighbour:
    """The flow past the training body whose dimensions are nearest, in units of their spread."""

    def __init__(self, root: Path) -> None:
        self.data = AhmedML(root, "all", domain="volume", fields=["pMean"])
        rows = [self.data.parameters(i) for i in range(len(self.data))]
        self.names = list(rows[0])
        self.table = np.array([[row[name] for name in self.names] for row in rows])

    def flow(self, parameters: Mapping[str, float], mesh: Any) -> dict[str, Any]:
        """Its fields at the cells of a mesh."""
        own = np.array([parameters[name] for name in self.names])
        nearest = int((((self.table - own) / self.table.std(axis=0)) ** 2).sum(axis=1).argmin())
        other = read_mesh(self.data.files(nearest)["volume"])
        _, at = cKDTree(np.asarray(other.cell_centers().points)).query(np.asarray(mesh.cell_centers().points))
        names = {"U": "UMean", "p": "pMean", "k": "kMean", "nut": "nutMean"}
        return {what: np.asarray(other.cell_data[name])[at] for what, name in names.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Solve what is missing and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("checkpoint", type=Path)
    options.add_argument("root", type=Path, help="the bodies it was trained on")
    options.add_argument("--out", type=Path, default=Path("runs/solve_start"))
    options.add_argument("--num", type=int, default=10, help="bodies that settle")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--cells", type=int, default=16_000)
    options.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    options.add_argument("--share", type=int, nargs=2, default=(0, 1), help="I N: bodies of process I of N")
    args = options.parse_args(argv)
    programs = find_programs(("blockMesh", "snappyHexMesh", "simpleFoam", "potentialFoam"))
    good = 0
    for number in range(1, 2 * args.num + 1):
        if good == args.num:
            break
        if number % args.share[1] != args.share[0]:
            continue
        if not _solved(number, args, programs):
            sys.stdout.write(f"body {number}: does not settle from the uniform stream, left out\n")
            continue
        good += 1
    _tell(args.out)


def _solved(number: int, args: argparse.Namespace, programs: Programs) -> bool:
    """Solve a body from the starts that are missing; whether it settles."""
    path, folder = args.out / f"body_{number}.json", args.out / f"body_{number}"
    rows: dict[str, Any] = read_json(path) if path.is_file() else {}
    if rows.get("stream", {}).get("converged") is False:
        return False
    missing = [name for name in args.starts if name not in rows]
    if not missing:
        return True
    settings = AhmedSettings(cells=args.cells, iterations=300)
    parameters = parameters_of(draw_shape(args.seed, number))
    shutil.rmtree(folder, ignore_errors=True)
    made = prepare_shape(folder / "mesh", ahmed_body_from(parameters), settings, programs)
    flows: dict[str, Any] = {}
    if "neighbour" in missing:
        flows["neighbour"] = lambda mesh: Neighbour(args.root).flow(parameters, mesh)
    if "network" in missing:
        flows["network"] = _network(args.checkpoint)
    for name in missing:
        try:
            run = run_starts(made, [name], programs, flows)[0]
            rows[name] = _row(run, parameters["frontal-area"])
        except FoamError as error:
            rows[name] = {"converged": False, "reason": str(error)}
        write_json(path, rows)
        sys.stdout.write(f"body {number} {name}: {rows[name].get('iterations')} iterations\n")
        sys.stdout.flush()
        if name == "stream" and not rows[name]["converged"]:
            break
    shutil.rmtree(folder)
    return bool(rows["stream"]["converged"])


def _network(checkpoint: Path) -> Any:
    from meshops.surrogate import load
    from meshops.surrogate.air import air_at_cells, air_fields

    surrogate = load(checkpoint)
    fields = air_fields(surrogate)
    return lambda mesh: air_at_cells(surrogate, mesh, fields=fields)


def _row(run: StartRun, area: float) -> dict[str, Any]:
    return {
        "iterations": run.iterations, "converged": run.converged, "residual": run.residual, "seconds": run.seconds,
        "seconds_of_start": run.before, "cells_of": "half", "cd": (4 * run.drag / area).tolist(),
    }  # fmt: skip


def _tell(out: Path) -> None:
    """Means over the bodies that have every start."""
    bodies = [read_json(path) for path in sorted(out.glob("body_*.json"))]
    bodies = [rows for rows in bodies if rows.get("stream", {}).get("converged")]
    names = [name for name in STARTS if any(name in rows for rows in bodies)]
    bodies = [rows for rows in bodies if all(name in rows for name in names)]
    print(f"{len(bodies)} bodies that settle; iterations until")
    print(f"{'start':<10} residual < 1e-4 (min..max)  " + "".join(f"drag within {100 * t:g} %  " for t in TOLERANCES)
          + "seconds  of the start  cd differs by")  # fmt: skip
    for name in names:
        rows = [body[name] for body in bodies]
        counts = [row["iterations"] for row in rows if row["converged"]]
        finals = [body["stream"]["cd"][-1] for body in bodies]
        drags = [np.mean([_settled(r["cd"], f, t) for r, f in zip(rows, finals, strict=True)]) for t in TOLERANCES]
        differ = max(abs(r["cd"][-1] / f - 1) for r, f in zip(rows, finals, strict=True))
        spent = np.mean([row["seconds"] for row in rows]), np.mean([row["seconds_of_start"] for row in rows])
        span = f"{np.mean(counts):6.1f} ({min(counts)}..{max(counts)})"
        failed = "" if len(counts) == len(rows) else f"  {len(rows) - len(counts)} not in 300"
        print(f"{name:<10} {span:<27}  " + "".join(f"{d:>17.1f}" for d in drags)
              + f"  {spent[0]:7.1f}  {spent[1]:7.1f}  {100 * differ:.2f} %{failed}")  # fmt: skip


def _settled(drag: Sequence[float], final: float, tolerance: float) -> int:
    """Iteration from which on a drag stays near its end; the last one where it does not."""
    wrong = np.flatnonzero(np.abs(np.array(drag) - final) > tolerance * abs(final))
    return int(wrong[-1]) + 2 if len(wrong) else 1


if __name__ == "__main__":
    main()
