"""GINO on AirfRANS: velocity and pressure around an airfoil at its speed and angle of attack.

python examples/airfrans_gino.py --root FOLDER --steps 80000
python examples/airfrans_gino.py                                 # stand-in: potential flow past Joukowski profiles
python examples/airfrans_gino.py --smoke                         # seconds; mean_velocity_rel_l2 0.707

FOLDER: AirfRANS in PyG's form; 1000 cases.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import AirfRANS, create
from meshops.training import DataConfig, RunConfig, TrainConfig, train
from meshops.viz.plane import graph_picture

SMOKE = {"channels": 16}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, judge beside yardsticks, draw a held-out case; returns what is printed."""
    args = arguments(argv)
    out, options = Path(args.out), {}
    root = Path(args.root) if args.root else out / f"standin_{args.cases}"
    if not args.root:
        options = {}
        if not root.exists():
            AirfRANS.standin(root, args.cases)
    config = RunConfig(
        out=str(out / "run"),
        model={"name": "gino", "channels": 32} | (SMOKE if args.smoke else {}),
        data=DataConfig(name="airfrans", root=str(root), options=options),
        train=TrainConfig(steps=args.steps, batch_size=2, lr=1e-3),
    )
    result = train(config, overwrite=True, console=Console(stderr=True))

    test = create("airfrans", root=root, split="test", **options)[0]
    graph_picture(test, result.surrogate.predict(test).fields, out / "airfrans_gino.png", title="velocity")
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
    parser.add_argument("--out", default="runs/airfrans_gino", help="folder of the results (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="training steps (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=40, help="of the stand-in (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.steps, args.cases = 3, 4
    return args


if __name__ == "__main__":
    main()
