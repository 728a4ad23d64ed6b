"""AMR-Transformer on the 2-D Riemann problem: solve, train, draw the regions over the density, roll out.

python examples/shock_amr.py --root FOLDER      # runs of density, energy, pressure, momentum in the layout of The Well
python examples/shock_amr.py                    # 10 runs of 64 x 64 cells, some minutes on two cores
python examples/shock_amr.py --smoke            # seconds; keep_last_frame_vrmse 0.198

The published setting (128 x 128, 200 frames, six blocks of width 256): models/amr_transformer/shock.yaml.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import TheWell
from meshops.datasets.the_well.files import write_well
from meshops.solvers.riemann import riemann_2d
from meshops.tasks import RolloutSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train
from meshops.viz import frames_picture, patches_picture


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Solve, train, draw; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    cells, frames, num = (16, 8, 3) if args.smoke else (64, 41, 10)
    root = Path(args.root) if args.root else out / f"data_{cells}"
    if not root.exists():
        runs = [riemann_2d(seed, resolution=cells, frames=frames) for seed in range(num)]
        write_well({"train": runs[:-2], "test": runs[-2:]}, root, name="riemann_2d")

    config = RunConfig(
        kind="rollout",
        out=str(out / "run"),
        model={"name": "amrtransformer", "max_size": cells // 4, "channels": 64, "depth": 4, "hidden": 128},
        data=DataConfig(name="the_well", root=str(root)),
        task=RolloutSettings(stride=1 if args.smoke else 2, steps=5 if args.smoke else 15, residual=True),
        train=TrainConfig(steps=4 if args.smoke else args.steps, batch_size=4, lr=1e-3),
    )
    result = train(config, overwrite=True, console=Console())
    task, report, test = result.surrogate.task, result.report, TheWell(root, "test")
    steps, stride = config.task.steps, config.task.stride
    truth = test.window(0, 0, steps * stride + 1)[::stride]
    predicted = task.rollout(truth[:1], steps)
    regions = task.model.patches(task.encode(truth[None, steps // 2][None], test.constants(0)[None]))
    patches_picture(truth[steps // 2, 0], regions, out / "regions.png", label="density, kg/m^3",
                    title=f"{int(regions.count[0]):,} tokens, a regular grid has {(cells // 2) ** 2:,}")  # fmt: skip
    shown = [0, steps // 2, steps - 1]
    frames_picture(
        {"truth": [truth[i + 1, 0] for i in shown], "predicted": [predicted[i, 0] for i in shown]},
        out / "rollout.png", columns=[f"step {i + 1}" for i in shown], label="density, kg/m^3",
    )  # fmt: skip
    numbers = {
        "tokens": float(regions.count[0]),
        "one_step_vrmse": report.mean["vrmse"],
        "keep_last_frame_vrmse": report.baselines["keep last frame"]["vrmse"],
        "floor_vrmse": report.baselines["token floor"]["vrmse"],
        "rollout_vrmse_last": report.curves["vrmse"][-1],
    }
    sys.stdout.write("".join(f"{name:<24}{value:10.4g}\n" for name, value in numbers.items()))
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder in the layout of The Well; default: solved here")
    parser.add_argument("--steps", type=int, default=600, help="training steps (default: %(default)s)")
    parser.add_argument("--out", default="runs/shock_amr", help="folder of the results (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
