"""Transolver on Geo-FNO's bent pipes: the velocity along a pipe, from its shape alone.

python examples/pipe_transolver.py --root FOLDER --steps 50000
python examples/pipe_transolver.py                                 # stand-in: closed-form profiles in bent pipes
python examples/pipe_transolver.py --smoke                         # seconds; mean_velocity_x_rel_l2 0.416

FOLDER: Geo-FNO's pipe.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import Pipe, create
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
            Pipe.standin(root, args.cases)
    config = RunConfig(
        out=str(out / "run"),
        model={"name": "transolver", "channels": 64, "depth": 4} | (SMOKE if args.smoke else {}),
        data=DataConfig(name="pipe", root=str(root), options=options),
        train=TrainConfig(steps=args.steps, batch_size=2, lr=1e-3),
    )
    result = train(config, overwrite=True, console=Console(stderr=True))

    test = create("pipe", root=root, split="test", **options)[0]
    graph_picture(test, result.surrogate.predict(test).fields, out / "pipe_transolver.png", title="velocity")
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
    parser.add_argument("--out", default="runs/pipe_transolver", help="folder of the results (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=400, help="training steps (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=24, help="of the stand-in (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.steps, args.cases = 3, 4
    return args


if __name__ == "__main__":
    main()
