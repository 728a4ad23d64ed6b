"""MSPT on FNO's vorticity: ten frames of a stirred fluid, the next one at a time.

python examples/navier_stokes_mspt.py --root FOLDER --steps 250000
python examples/navier_stokes_mspt.py                                 # stand-in: the same equation, solved here
python examples/navier_stokes_mspt.py --smoke                         # seconds; kept_vrmse 0.0900

FOLDER: NavierStokes_V1e-5_N1200_T20.mat; the run file of the paper: models/mspt/navier_stokes.yaml.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import NavierStokes
from meshops.tasks import RolloutSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train

SMOKE = {"channels": 32, "depth": 1}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, roll out, judge beside a frame that is kept; returns what is printed."""
    args = arguments(argv)
    out, options = Path(args.out), {}
    root = Path(args.root) if args.root else out / f"standin_{args.cases}"
    if not args.root:
        options = {"num_train": args.cases - args.cases // 4, "num_test": args.cases // 4}
        if not root.exists():
            NavierStokes.standin(root, args.cases, resolution=16 if args.smoke else 32)
    config = RunConfig(
        kind="rollout",
        out=str(out / "run"),
        model={"name": "mspt", "channels": 64, "depth": 3, "num_heads": 4, "patch_size": 64}
        | (SMOKE if args.smoke else {}),
        data=DataConfig(name="navier_stokes", root=str(root), options=options),
        task=RolloutSettings(history=10, steps=10),
        train=TrainConfig(steps=args.steps, batch_size=4, lr=1e-3),
    )
    result = train(config, overwrite=True, console=Console(stderr=True))

    numbers = {name.replace("@", "_"): value for name, value in result.report.numbers().items() if "vrmse" in name}
    kept = result.report.baselines["keep last frame"]
    numbers |= {f"kept_{name.replace('@', '_')}": value for name, value in kept.items() if "vrmse" in name}
    sys.stdout.write("".join(f"{name:<34}{value:8.4f}\n" for name, value in numbers.items()))
    sys.stdout.write(f"pictures and curves: {result.folder}\n")
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of the published files; default: a stand-in is written")
    parser.add_argument("--out", default="runs/navier_stokes_mspt", help="folder of the results (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1000, help="training steps (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=24, help="of the stand-in (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.steps, args.cases = 3, 4
    return args


if __name__ == "__main__":
    main()
