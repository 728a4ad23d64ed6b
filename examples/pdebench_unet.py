"""A network of convolutions on a file of PDEBench: a dam breaks, two frames in, the next one out.

python examples/pdebench_unet.py --root FOLDER --steps 20000
python examples/pdebench_unet.py                                 # stand-in: shallow water, solved here
python examples/pdebench_unet.py --smoke                         # seconds; kept_vrmse 0.556

FOLDER: folder of 2D_rdb_NA_NA.h5 or another HDF5 file of PDEBench.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import PDEBench
from meshops.tasks import RolloutSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train

SMOKE = {"channels": 16}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, roll out, judge beside a frame that is kept; returns what is printed."""
    args = arguments(argv)
    out, options = Path(args.out), {}
    root = Path(args.root) if args.root else out / f"standin_{args.cases}"
    if not args.root:
        options = {}
        if not root.exists():
            PDEBench.standin(root, args.cases, resolution=32)
    config = RunConfig(
        kind="rollout",
        out=str(out / "run"),
        model={"name": "unet", "channels": 32} | (SMOKE if args.smoke else {}),
        data=DataConfig(name="pdebench", root=str(root), options=options),
        task=RolloutSettings(history=2, steps=8),
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
    parser.add_argument("--out", default="runs/pdebench_unet", help="folder of the results (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=500, help="training steps (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=20, help="of the stand-in (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.steps, args.cases = 3, 4
    return args


if __name__ == "__main__":
    main()
