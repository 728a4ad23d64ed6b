"""AMR-Transformer on CFDBench: the published data, or lid-driven cavities solved here in the same layout.

python examples/cfdbench_amr.py --root CFDBENCH_FOLDER --problem dam --steps 20000
python examples/cfdbench_amr.py                 # cavities made here, minutes
python examples/cfdbench_amr.py --smoke         # seconds; nmse_keep_last_frame 0.158

Thresholds are calibrated on training frames to a wanted number of tokens, instead of being tuned by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from meshops.datasets import CFDBench
from meshops.partition import RefineByCriteria
from meshops.tasks import RolloutSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train
from meshops.viz import patches_picture


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Calibrate, train, draw; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    root = Path(args.root) if args.root else out / "standin"
    if not root.exists():
        CFDBench.standin(root, 10)
    data = CFDBench(root, "train", problem=args.problem)

    some = torch.cat([data.window(i, data.lengths[i] // 2, 1) for i in range(min(len(data), 16))])
    tokenizer = RefineByCriteria(velocity=data.spec.velocity, max_size=16).calibrated(some, args.tokens)
    limits = tokenizer.thresholds
    config = RunConfig(
        kind="rollout",
        out=str(out / "run"),
        model={
            "name": "amrtransformer", "max_size": 16, "channels": 64, "depth": 2 if args.smoke else 4, "hidden": 128,
            "thresholds": [float(v) for v in (limits.gradient, limits.vorticity, limits.momentum, limits.shear)],
            "mask_channel": 2 + data.spec.constants.index("fluid"),
        },
        data=DataConfig(name="cfdbench", root=str(root), options={"problem": args.problem}),
        task=RolloutSettings(loss="nmse", steps=4, residual=True),
        train=TrainConfig(steps=4 if args.smoke else args.steps, batch_size=4, lr=1e-3),
    )  # fmt: skip
    result = train(config, overwrite=True, console=Console())
    test = CFDBench(root, "test", problem=args.problem)
    task, report = result.surrogate.task, result.report
    frame = test.window(0, test.lengths[0] - 2, 1)
    regions = task.model.patches(task.encode(frame[None], test.constants(0)[None]))  # type: ignore[operator]
    patches_picture(frame[0].norm(dim=0), regions, out / "regions.png", label="speed, m/s")
    numbers = {
        "tokens": float(regions.count[0]),
        "nmse": report.mean["nmse"],
        "nmse_keep_last_frame": report.baselines["keep last frame"]["nmse"],
        "nmse_floor": report.baselines["token floor"]["nmse"],
    }
    sys.stdout.write("".join(f"{name:<24}{value:10.4g}\n" for name, value in numbers.items()))
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of CFDBench; default: cavities solved here")
    parser.add_argument("--problem", default="cavity", choices=("cavity", "tube", "dam", "cylinder"))
    parser.add_argument("--tokens", type=int, default=350, help="mean number of tokens (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=400, help="training steps (default: %(default)s)")
    parser.add_argument("--out", default="runs/cfdbench_amr", help="folder of the results (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
