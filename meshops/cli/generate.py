"""``meshops generate NAME --num N --out DIR``."""

from __future__ import annotations

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
  meshops generate shallow_water --layout pdebench --num 20 --out data/2D_rdb_NA_NA.h5
  meshops generate cavity --layout cfdbench --num 20 --out data/cfdbench

names: {names}
"""


def run(argv: Sequence[str]) -> int:
    """Solve and write."""
    from meshops.datasets.generators.registry import GENERATORS, generate

    options = parser(
        "generate",
        "Real simulation data from a solver, in a public layout, so that nothing needs a download.",
        EXAMPLES.format(names=", ".join(sorted(GENERATORS))),
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
    options.add_argument("--resolution", type=int, help="cells along each axis")
    options.add_argument("--frames", type=int, help="frames of each simulation")
    options.add_argument("--t-end", type=float, help="last time, s (cavity: in units of height over lid velocity)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="more for the solver")
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
    given = {key: value for key in ("resolution", "frames", "t_end") if (value := getattr(args, key)) is not None}
    given |= key_values(args.option)
    terminal = console(quiet=False)
    seeds = range(args.seed, args.seed + args.num)
    shown = track(seeds, f"solving {args.name}", console=terminal, transient=True, disable=not terminal.is_terminal)
    runs = [generate(args.name, seed, **given) for seed in shown]
    written = _write(runs, out, args, sizes)
    first = runs[0]
    grid = " x ".join(map(str, first.grid_shape))
    sys.stdout.write(
        f"{written}: {len(runs)} simulations of {args.name}, {len(first.time)} frames of {grid} cells, "
        f"fields {', '.join(first.fields)}\n"
    )
    return 0


def _sizes(args: Any) -> tuple[int, int, int]:
    """Simulations to train on, to validate and to test on."""
    test = args.test if args.test is not None else (max(1, args.num // 10) if args.num > 1 else 0)
    train = args.train if args.train is not None else min(args.num - test, max(1, round(0.8 * args.num)))
    if min(train, test) < 0 or train + test > args.num:
        raise InputError(f"--train {train} and --test {test} are more than --num {args.num}")
    return train, args.num - train - test, test


def _write(runs: list[Any], out: Path, args: Any, sizes: tuple[int, int, int]) -> Path:
    from meshops.datasets.cfdbench_files import write_case
    from meshops.datasets.pdebench_files import write_flat, write_grouped
    from meshops.datasets.the_well_files import write_well

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
