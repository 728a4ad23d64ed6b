"""``meshops generate NAME --num N --out DIR``."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from meshops.cli.options import console, key_values, parser
from meshops.errors import InputError

EXAMPLES = """examples:
  meshops generate riemann_2d --num 10 --train 8 --test 2 --out data/shock
  meshops generate blast_3d --num 6 --resolution 32 --frames 20 --out data/blast
  meshops generate rayleigh_benard --num 10 --option rayleigh=1e5 --out data/convection
  meshops generate shallow_water --layout pdebench --num 20 --out data/2D_rdb_NA_NA.h5
  meshops generate vorticity --num 50 --vary viscosity=1e-4:1e-2 --out data/viscosities
  meshops generate cavity --layout cfdbench --num 20 --out data/cfdbench
  meshops generate darcy --num 100 --points 900 --out data/darcy          irregular meshes, .vtu files
  meshops generate wake --num 12 --points 900 --frames 60 --out data/wake    moving meshes, layout of EAGLE

names: {names};
on irregular meshes (need scikit-fem): {meshes}
"""


def run(argv: Sequence[str]) -> int:
    """Solve and write."""
    from meshops.solvers.mesh_registry import MESH_GENERATORS
    from meshops.solvers.registry import GENERATORS, generate

    options = parser(
        "generate",
        "Real simulation data from a solver, in a public layout, so that nothing needs a download.",
        EXAMPLES.format(names=", ".join(sorted(GENERATORS)), meshes=", ".join(sorted(MESH_GENERATORS))),
    )
    options.add_argument("name", help="what to solve, see below")
    options.add_argument(
        "--num", type=int, default=10, help="simulations, with seeds SEED, SEED + 1, ... (%(default)s)"
    )
    options.add_argument("--out", help="folder, or file for pdebench; must not exist")
    options.add_argument("--layout", choices=("well", "pdebench", "pdebench-flat", "cfdbench"), default="well")
    options.add_argument("--train", type=int, help="well: simulations to train on; default 80 %%")
    options.add_argument(
        "--test", type=int, help="well: to test on; default 10 %%, at least 1; the rest is for validation"
    )
    options.add_argument("--resolution", type=int, help="cells along each axis (rayleigh_benard: across the layer)")
    options.add_argument("--points", type=int, help="on irregular meshes: nodes of a mesh")
    options.add_argument("--frames", type=int, help="frames of each simulation")
    options.add_argument(
        "--t-end",
        type=float,
        help="last time, s (cavity: in units of height over lid velocity; rayleigh_benard: free-fall times)",
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="more for the solver")
    text = "draw an option anew for every simulation; positive ranges of more than tenfold evenly in the logarithm"
    options.add_argument("--vary", action="append", default=[], metavar="KEY=LOW:HIGH", help=text)
    args = options.parse_args(argv)
    if args.out is None:
        raise InputError("where to write is missing; give --out FOLDER (for the layouts pdebench: --out FILE.h5)")
    if args.num < 1:
        raise InputError(f"--num must be at least 1, got {args.num}")
    if args.layout == "cfdbench" and args.name != "cavity":
        raise InputError("the layout cfdbench is for cavity; use --layout well")
    out = Path(args.out)
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; choose another --out or remove it")
    sizes = _sizes(args) if args.layout == "well" else (0, 0, 0)
    if args.name in MESH_GENERATORS:
        return _on_meshes(args, out, sizes)
    given = {key: value for key in ("resolution", "frames", "t_end") if (value := getattr(args, key)) is not None}
    given |= key_values(args.option)
    terminal = console(quiet=False)
    seeds = range(args.seed, args.seed + args.num)
    shown = track(seeds, f"solving {args.name}", console=terminal, transient=True, disable=not terminal.is_terminal)
    ranges = {key: _range(key, value) for key, value in key_values(args.vary).items()}
    runs = [generate(args.name, seed, **given | drawn(ranges, seed)) for seed in shown]
    written = _write(runs, out, args, sizes)
    first = runs[0]
    grid = " x ".join(map(str, first.grid_shape))
    sys.stdout.write(
        f"{written}: {len(runs)} simulations of {args.name}, {len(first.time)} frames of {grid} cells, "
        f"fields {', '.join(first.fields)}\n"
    )
    return 0


def _on_meshes(args: Any, out: Path, sizes: tuple[int, int, int]) -> int:
    """Solve on irregular meshes: ``.vtu`` files of steady fields, EAGLE's layout for wakes."""
    from meshops.data.mesh_graph import MeshGraph
    from meshops.datasets.eagle.files import write_eagle_case
    from meshops.datasets.mesh_files import write_graphs
    from meshops.solvers.mesh_registry import generate_mesh

    for name in ("resolution", "t_end"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} is for grids; {args.name} takes --points and --option")
    if args.vary:
        raise InputError(f"--vary is for grids; {args.name} varies with its seed")
    if args.frames is not None and args.name != "wake":
        raise InputError(f"--frames is for trajectories; {args.name} is steady")
    given = {"num_points": args.points, "frames": args.frames}
    options = {key: value for key, value in given.items() if value is not None} | key_values(args.option)
    terminal = console(quiet=False)
    seeds = range(args.seed, args.seed + args.num)
    shown = track(seeds, f"solving {args.name}", console=terminal, transient=True, disable=not terminal.is_terminal)
    train, valid, test = sizes
    graphs: list[MeshGraph] = []
    for number, seed in enumerate(shown):
        case = generate_mesh(args.name, seed, **options)
        if isinstance(case, MeshGraph):
            graphs.append(case)
            continue
        folder = out / "Cre" / str(number + 1) / "1"
        write_eagle_case(folder, case.pos, case.velocity, case.pressure, case.node_type, case.triangles)
    if graphs:
        write_graphs(graphs, out, test=test)
        sys.stdout.write(f"{out}: {len(graphs)} cases of {args.name}, {len(graphs[0].pos)} nodes, ")
        sys.stdout.write(f"fields {', '.join(graphs[0].fields)}; {len(graphs) - test} to train on, {test} to test on\n")
        return 0
    cases = [f"Cre/{number + 1}/1" for number in range(args.num)]
    bounds = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, len(cases))}
    (out / "splits").mkdir()
    for split, (first, last) in bounds.items():
        (out / "splits" / f"{split}.txt").write_text("".join(f"{case}\n" for case in cases[first:last]))
    sys.stdout.write(
        f"{out}: {len(cases)} trajectories of {args.name}, {len(case.time)} frames of {case.pos.shape[1]} "
    )
    sys.stdout.write(f"nodes, in the layout of EAGLE; {train} to train on, {test} to test on\n")
    return 0


def drawn(ranges: dict[str, tuple[float, float]], seed: int) -> dict[str, float]:
    """A value from every range, a function of the seed; ranges of more than tenfold evenly in the logarithm."""
    draw = random.Random(f"vary {seed}")
    out = {}
    for key, (low, high) in sorted(ranges.items()):
        part = draw.random()
        out[key] = low * (high / low) ** part if low > 0 and high > 10 * low else low + (high - low) * part
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


def _sizes(args: Any) -> tuple[int, int, int]:
    """Simulations to train on, to validate and to test on."""
    test = args.test if args.test is not None else (max(1, args.num // 10) if args.num > 1 else 0)
    train = args.train if args.train is not None else min(args.num - test, max(1, round(0.8 * args.num)))
    if min(train, test) < 0 or train + test > args.num:
        raise InputError(f"--train {train} and --test {test} are more than --num {args.num}")
    return train, args.num - train - test, test


def _write(runs: list[Any], out: Path, args: Any, sizes: tuple[int, int, int]) -> Path:
    from meshops.datasets.cfdbench.files import write_case
    from meshops.datasets.pdebench.files import write_flat, write_grouped
    from meshops.datasets.the_well.files import write_well

    if args.layout == "well":
        train, valid, _ = sizes
        splits = {"train": runs[:train], "valid": runs[train : train + valid], "test": runs[train + valid :]}
        return write_well(splits, out, name=args.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    if args.layout == "pdebench":
        return write_grouped(runs, out)
    if args.layout == "pdebench-flat":
        return write_flat(runs, out)
    for number, simulation in enumerate(runs):
        write_case(simulation, out / "cavity" / "bc" / f"case{number:04d}")
    return out
