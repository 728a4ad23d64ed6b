"""MeshGraphNet on wakes of cylinders in the files of its paper: pushed forward step by step on triangles.

python examples/cylinder_meshgraphnet.py --root FOLDER --steps 1000000
python examples/cylinder_meshgraphnet.py                                 # stand-in: analytic wakes, no solver
python examples/cylinder_meshgraphnet.py --smoke                         # seconds; kept_n_rmse_5 0.129

FOLDER: cylinder_flow: train.tfrecord, valid.tfrecord, test.tfrecord, meta.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import MeshGraphNets
from meshops.tasks import RolloutSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train

SMOKE = {"channels": 32, "depth": 2}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, roll out, judge beside a frame that is kept; returns what is printed."""
    args = arguments(argv)
    out, options = Path(args.out), {}
    root = Path(args.root) if args.root else out / f"standin_{args.cases}"
    if not args.root:
        options = {}
        if not root.exists():
            MeshGraphNets.standin(root, args.cases)
    config = RunConfig(
        kind="rollout",
        out=str(out / "run"),
        model={"name": "meshgraphnet", "channels": 64, "depth": 5} | (SMOKE if args.smoke else {}),
        data=DataConfig(name="mesh_graph_nets", root=str(root), options=options),
        task=RolloutSettings(steps=5, horizon=1),
        train=TrainConfig(steps=args.steps, batch_size=1, lr=1e-3),
    )
    result = train(config, overwrite=True, console=Console(stderr=True))

    numbers = {name.replace("@", "_"): value for name, value in result.report.numbers().items() if "n_rmse" in name}
    kept = result.report.baselines["first frame kept"]
    numbers |= {f"kept_{name.replace('@', '_')}": value for name, value in kept.items() if "n_rmse" in name}
    sys.stdout.write("".join(f"{name:<34}{value:8.4f}\n" for name, value in numbers.items()))
    sys.stdout.write(f"pictures and curves: {result.folder}\n")
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of the published files; default: a stand-in is written")
    parser.add_argument(
        "--out", default="runs/cylinder_meshgraphnet", help="folder of the results (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=600, help="training steps (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=12, help="of the stand-in (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.steps, args.cases = 3, 4
    return args


if __name__ == "__main__":
    main()
