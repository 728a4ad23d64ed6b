"""MSPT on Geo-FNO's airfoils: the Mach number around a profile, from its shape alone.

python examples/airfoil_mspt.py --root FOLDER --steps 62500
python examples/airfoil_mspt.py                                 # stand-in: closed-form flows past Joukowski profiles
python examples/airfoil_mspt.py --smoke                         # seconds; nearest_mach_rel_l2 0.0153

FOLDER: Geo-FNO's airfoil/naca; the run file of the paper: models/mspt/airfoil.yaml.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import Airfoil, create
from meshops.training import DataConfig, RunConfig, TrainConfig, train
from meshops.viz.plane import graph_picture

SMOKE = {"channels": 32, "depth": 1}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, judge beside yardsticks, draw a held-out case; returns what is printed."""
    args = arguments(argv)
    out, options = Path(args.out), {}
    root = Path(args.root) if args.root else out / f"standin_{args.cases}"
    if not args.root:
        options = {"num_train": args.cases - args.cases // 4, "num_test": args.cases // 4}
        if not root.exists():
            Airfoil.standin(root, args.cases)
    config = RunConfig(
        out=str(out / "run"),
        model={"name": "mspt", "channels": 64, "depth": 4, "num_heads": 4, "patch_size": 106}
        | (SMOKE if args.smoke else {}),
        data=DataConfig(name="airfoil", root=str(root), options=options),
        train=TrainConfig(steps=args.steps, batch_size=2, lr=1e-3),
    )
    result = train(config, overwrite=True, console=Console(stderr=True))

    test = create("airfoil", root=root, split="test", **options)[0]
    graph_picture(test, result.surrogate.predict(test).fields, out / "airfoil_mspt.png", title="Mach number")
    numbers = {name: value for name, value in result.report.numbers().items() if name.endswith("rel_l2")}
    numbers |= {
        f"{yardstick}_{name}": value
        for yardstick, errors in result.report.baselines.items()
        for name, value in errors.items()
        if name.endswith("rel_l2")
    }
    sys.stdout.write("".join(f"{name:<34}{value:8.4f}\n" for name, value in numbers.items()))
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of the published files; default: a stand-in is written")
    parser.add_argument("--out", default="runs/airfoil_mspt", help="folder of the results (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="training steps (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=40, help="of the stand-in (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.steps, args.cases = 3, 4
    return args


if __name__ == "__main__":
    main()
