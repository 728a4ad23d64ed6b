"""``meshops generate ahmed --num N --out ROOT``: Ahmed bodies by OpenFOAM, in the layout of AhmedML."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshops.cli.options import console, parser
from meshops.errors import InputError
from meshops.progress import Heartbeat

EXAMPLES = """examples:
  meshops generate ahmed --num 20 --out data/bodies --jobs 4
  meshops generate ahmed --num 40 --out data/bodies --jobs 4           (20 more: what is there is kept)
  meshops generate ahmed --num 8 --cells 100000 --layers 3 --volume --out data/fine
  meshops generate ahmed --num 10 --range slant_angle=20:35 --seed 3 --out data/slants
  meshops look data/bodies && meshops fit data/bodies --minutes 20

Written is ROOT/run_<i>/ with boundary_<i>.vtp (pMean, wallShearStressMean), ahmed_<i>.stl, geo_parameters_<i>.csv,
force_mom_<i>.csv (cd, cl by the frontal area of each body), and with --volume volume_<i>.vtu (pMean, UMean, kMean,
nutMean). Lengths are in m, the stream is 1 m/s and the density 1; --speed sets the viscosity, that is the Reynolds
number. Solved is half of the flow beside its plane of symmetry, and mirrored; --full solves all of it. A body whose
mesh fails or whose flow does not converge is named in ROOT/generate.json with the reason and left out; the same command
goes on where it stopped. Needs OpenFOAM of openfoam.com, from v1912 on, on the PATH: apt-get install openfoam.
"""


def run(argv: Sequence[str]) -> int:
    """Solve what is not there yet; 0 when there is a case at the end, 1 when every body was refused."""
    args = _parser().parse_args(argv)
    if args.out is None:
        raise InputError("where to write is missing; give --out FOLDER")

    from meshops.selection.search import interruptible
    from meshops.solvers.openfoam import AhmedSettings, generate_ahmed

    given = ("cells", "layers", "speed", "iterations", "residual", "upwind", "volume", "timeout")
    settings = AhmedSettings(
        half=not args.full, **{name: getattr(args, name) for name in given if getattr(args, name) is not None}
    )
    out, screen, ended = Path(args.out), console(), [0]

    def told(name: str, row: dict[str, Any]) -> None:
        ended[0] += 1
        if row["state"] == "done":
            spent = sum(row["seconds"].values())
            told = f"cd {row['cd']:.4f}, {row['cells']} cells, {row['iterations']} iterations, {spent:.0f} s"
        else:
            told = f"refused: {row['reason']}"
        screen.print(f"{name}: {told}")

    try:
        with interruptible(), Heartbeat(lambda: f"  solving: {ended[0]} of {args.num} bodies ended", screen):
            found = generate_ahmed(
                out, num=args.num, seed=args.seed, settings=settings, ranges=_ranges(args.range), jobs=args.jobs,
                keep=None if args.keep is None else Path(args.keep), retry=args.retry, told=told,
            )  # fmt: skip
    except KeyboardInterrupt:
        sys.stderr.write(f"\nmeshops generate: stopped; what is done is in {out}; the same command goes on\n")
        return 130
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}); choose another --out") from None
    done = [row for row in found.values() if row["state"] == "done"]
    refused = [name for name, row in found.items() if row["state"] != "done"]
    drag = f", cd {min(r['cd'] for r in done):.3f} to {max(r['cd'] for r in done):.3f}" if done else ""
    sys.stdout.write(f"{out}: {len(done)} of {args.num} bodies in the layout of AhmedML{drag}\n")
    if refused:
        why = f"{len(refused)} refused ({', '.join(refused[:8])}{', ...' if len(refused) > 8 else ''})"
        sys.stdout.write(f"{why}; the reasons are in {out / 'generate.json'}; --retry tries them again\n")
    return 0 if done else 1


def _ranges(pairs: Sequence[str]) -> dict[str, tuple[float, float]]:
    out = {}
    for pair in pairs:
        name, sign, ends = pair.partition("=")
        low, colon, high = ends.partition(":")
        try:
            out[name] = float(low), float(high)
        except ValueError:
            sign = ""
        if not (sign and colon) or not out[name][0] <= out[name][1]:
            raise InputError(f"--range is NAME=LOW:HIGH, such as slant_angle=20:35; got '{pair}'")
    return out


def _parser() -> Any:
    options = parser("generate ahmed", "Ahmed bodies, meshed and solved by OpenFOAM (RANS, k-omega SST).", EXAMPLES)
    options.add_argument("--num", type=int, default=10, help="bodies, numbered from 1 (default: %(default)s)")
    options.add_argument("--out", help="folder; one that this command made is gone on with")
    options.add_argument("--jobs", type=int, default=1, help="bodies at a time, a process each (default: %(default)s)")
    options.add_argument("--seed", type=int, default=0, help="of the dimensions (default: %(default)s)")
    text = "dimension of the bodies, m or degrees: length, width, height, front_radius, slant_length, ..."
    options.add_argument("--range", action="append", default=[], metavar="NAME=LOW:HIGH", help=text)
    text = "cells of the mesh that is solved, about (default: 25000, a minute or less on one core)"
    options.add_argument("--cells", type=int, help=text)
    options.add_argument("--layers", type=int, help="layers of flat cells on the body (default: 0)")
    options.add_argument("--full", action="store_true", help="solve both halves")
    options.add_argument("--volume", action="store_true", help="also write the flow around the body")
    text = "of the body in air, m/s: the viscosity is 1.5e-5 m2/s over it (default: 40)"
    options.add_argument("--speed", type=float, help=text)
    options.add_argument("--iterations", type=int, help="at most (default: 400)")
    options.add_argument("--residual", type=float, help="initial residual at which the solver stops (default: 1e-4)")
    text = "share of first-order upwind for the momentum: 0 is sharper and often does not settle (default: 0.3)"
    options.add_argument("--upwind", type=float, help=text)
    options.add_argument("--timeout", type=float, help="seconds a program may take (default: 1800)")
    options.add_argument("--keep", metavar="FOLDER", help="keep the OpenFOAM cases there, refused ones too")
    options.add_argument("--retry", action="store_true", help="try bodies again that were refused before")
    return options
