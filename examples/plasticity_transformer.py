"""A plain transformer on Geo-FNO's forged block: all twenty steps of it at once, from the shape of the die.

python examples/plasticity_transformer.py --root FOLDER --steps 56500
python examples/plasticity_transformer.py                                 # stand-in: layout alone, no mechanics
python examples/plasticity_transformer.py --smoke                         # seconds; nearest_deformation_rel_l2 0.047

FOLDER: Geo-FNO's plas_N987_T20.mat.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import Plasticity, create
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
            Plasticity.standin(root, args.cases)
    config = RunConfig(
        out=str(out / "run"),
        model={"name": "transformer", "channels": 64, "depth": 4} | (SMOKE if args.smoke else {}),
        data=DataConfig(name="plasticity", root=str(root), options=options),
        train=TrainConfig(steps=args.steps, batch_size=2, lr=1e-3),
    )
    result = train(config, overwrite=True, console=Console(stderr=True))

    test = create("plasticity", root=root, split="test", **options)[0]
    graph_picture(test, result.surrogate.predict(test).fields, out / "plasticity_transformer.png", title="the block")
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
    parser.add_argument(
        "--out", default="runs/plasticity_transformer", help="folder of the results (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=300, help="training steps (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=16, help="of the stand-in (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.steps, args.cases = 3, 4
    return args


if __name__ == "__main__":
    main()
