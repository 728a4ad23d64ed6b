"""``meshops generate NAME --cases N --out DIR``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshops.cli.options import console, key_values, parser
from meshops.errors import InputError, did_you_mean, listing
from meshops.io import replacing_folder
from meshops.progress import followed

EXAMPLES = """examples:
  meshops generate riemann_2d --num 10 --train 8 --test 2 --out data/shock
  meshops generate blast_3d --num 6 --resolution 32 --frames 20 --out data/blast
  meshops generate rayleigh_benard --num 10 --option rayleigh=1e5 --out data/convection
  meshops generate shallow_water --layout pdebench --num 20 --out data/2D_rdb_NA_NA.h5
  meshops generate vorticity --num 50 --vary viscosity=1e-4:1e-2 --out data/viscosities
  meshops generate cavity --layout cfdbench --num 20 --out data/cfdbench
  meshops generate darcy --num 100 --points 900 --out data/darcy          irregular meshes, .vtu files
  meshops generate wake --num 12 --points 900 --frames 60 --out data/wake    moving meshes, layout of EAGLE
  meshops generate front --cases 100 --out data/front        a study as a plain folder: one mesh, arrays, a table
  meshops generate foam --cases 8 --out data/foam            a tree of OpenFOAM cases and a table
  meshops generate ahmed --num 20 --jobs 4 --out data/bodies     Ahmed bodies by OpenFOAM, layout of AhmedML; see
                                                                 meshops generate ahmed --help

names: {names};
on irregular meshes (need scikit-fem): {meshes};
studies as plain folders, as an engineer has them: {studies}
"""


def run(argv: Sequence[str]) -> int:
    """Solve and write; what is not finished leaves nothing behind."""
    if argv and argv[0] == "ahmed":  # cases of minutes each: it has its own options, and goes on where it stopped
        from meshops.cli import generate_ahmed

        return generate_ahmed.run(argv[1:])
    from meshops.datasets.studies import STUDIES
    from meshops.solvers.mesh_registry import MESH_GENERATORS

    args = _parser().parse_args(argv)
    out = _checked(args, args.name in MESH_GENERATORS, args.name in STUDIES)
    console().print(f"solving {args.num} of {args.name}")
    try:
        with replacing_folder(out) as partial:
            told = _written(args, partial)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nmeshops generate: stopped, nothing was written to {out}; start again\n")
        return 130
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}); choose another --out") from None
    sys.stdout.write(f"{told.replace(str(partial), str(out))}\n")
    return 0


def _written(args: Any, out: Path) -> str:
    """What was written, in words."""
    from meshops.datasets.generated import Split, write_grids, write_meshes
    from meshops.datasets.studies import STUDIES, write_study
    from meshops.solvers.mesh_registry import MESH_GENERATORS, generate_mesh
    from meshops.solvers.registry import drawn, generate

    meshes = args.name in MESH_GENERATORS or (args.name in STUDIES and args.name != "foam")
    sizes = {"num_points" if meshes else "resolution": args.points if meshes else args.resolution,
             "frames": args.frames, "t_end": args.t_end}  # fmt: skip
    given = {key: value for key, value in sizes.items() if value is not None} | key_values(args.option)
    what, seeds, screen = f"solving {args.name}", range(args.seed, args.seed + args.num), console()
    if args.name in STUDIES:
        told = write_study(
            args.name, out, cases=args.num, seed=args.seed, follow=lambda each: followed(each, what, screen), **given
        )
        return f"{out}: {told}"
    split = Split.of(args.num, args.train, args.test) if args.layout == "well" else Split(0, 0, 0)
    if meshes:
        cases = (generate_mesh(args.name, seed, **given) for seed in followed(seeds, what, screen))
        return write_meshes(cases, out, args.name, split=split)
    ranges = {key: _range(key, value) for key, value in key_values(args.vary).items()}
    runs = [generate(args.name, seed, **given | drawn(ranges, seed)) for seed in followed(seeds, what, screen)]
    return write_grids(runs, out, args.name, layout=args.layout, split=split)


def _parser() -> Any:
    from meshops.datasets.generated import LAYOUTS
    from meshops.datasets.studies import STUDIES
    from meshops.solvers.mesh_registry import MESH_GENERATORS
    from meshops.solvers.registry import GENERATORS

    options = parser(
        "generate",
        "Real simulation data from a solver, in a public layout, so that nothing needs a download.",
        EXAMPLES.format(
            names=", ".join(sorted(GENERATORS)),
            meshes=", ".join(sorted(MESH_GENERATORS)),
            studies=", ".join(sorted(STUDIES)),
        ),
    )
    options.add_argument("name", help="what to solve, see below")
    text = "simulations, with seeds SEED, SEED + 1, ... (%(default)s)"
    options.add_argument("--num", "--cases", type=int, default=10, help=text)
    options.add_argument("--out", help="folder, or file for pdebench; must not exist")
    options.add_argument("--layout", choices=LAYOUTS, default="well")
    options.add_argument("--train", type=int, help="well: simulations to train on; default 80 %%")
    text = "well: to test on; default 10 %%, at least 1; the rest is for validation"
    options.add_argument("--test", type=int, help=text)
    options.add_argument("--resolution", type=int, help="cells along each axis (rayleigh_benard: across the layer)")
    options.add_argument("--points", type=int, help="on irregular meshes: nodes of a mesh")
    options.add_argument("--frames", type=int, help="frames of each simulation")
    text = "last time, s (cavity: in units of height over lid velocity; rayleigh_benard: free-fall times)"
    options.add_argument("--t-end", type=float, help=text)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="more for the solver")
    text = "draw an option anew for every simulation; positive ranges of more than tenfold evenly in the logarithm"
    options.add_argument("--vary", action="append", default=[], metavar="KEY=LOW:HIGH", help=text)
    return options


def _checked(args: Any, meshes: bool, study: bool) -> Path:
    """Where to write; refuses options that do not go together."""
    from meshops.datasets.studies import STUDIES
    from meshops.solvers.mesh_registry import MESH_GENERATORS
    from meshops.solvers.registry import GENERATORS

    known = sorted({*GENERATORS, *MESH_GENERATORS, *STUDIES, "ahmed"})
    if args.name == "ahmed":
        raise InputError("the name comes first: meshops generate ahmed --num N --out FOLDER")
    if args.name not in known:
        raise InputError(f"no generator '{args.name}'; {did_you_mean(args.name, known)}there are: {listing(known, 30)}")
    if args.out is None:
        raise InputError("where to write is missing; give --out FOLDER (for the layouts pdebench: --out FILE.h5)")
    if args.num < 1:
        raise InputError(f"--num must be at least 1, got {args.num}")
    if args.layout == "cfdbench" and args.name != "cavity":
        raise InputError("the layout cfdbench is for cavity; use --layout well")
    out = Path(args.out)
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; choose another --out or remove it")
    for name in ("resolution", "t_end") if meshes or study else ():
        if getattr(args, name) is not None and (name, args.name) != ("resolution", "foam"):
            raise InputError(f"--{name.replace('_', '-')} is for grids; {args.name} takes --points and --option")
    if (meshes or study) and args.vary:
        raise InputError(f"--vary is for grids; {args.name} varies with its seed")
    if (meshes or study) and args.frames is not None and args.name not in ("wake", "wake_files"):
        raise InputError(f"--frames is for trajectories; {args.name} is steady")
    if args.points is not None and (args.name == "foam" or not (meshes or study)):
        raise InputError(f"--points is for irregular meshes; {args.name} takes --resolution")
    split = next((name for name in ("train", "test") if getattr(args, name) is not None), None)
    if study and (split or args.layout != "well"):
        raise InputError(f"--{split or 'layout'} is not for {args.name}: it is written as a plain folder")
    return out


def _range(key: str, value: Any) -> tuple[float, float]:
    low, colon, high = str(value).partition(":")
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = 1.0, 0.0
    if not colon or not ends[0] <= ends[1]:
        raise InputError(f"--vary {key} must be LOW:HIGH with LOW at most HIGH, got '{value}'")
    return ends
