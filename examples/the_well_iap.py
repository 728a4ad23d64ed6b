"""IAP on a subset of The Well: train with random budgets, then look at error against number of tokens.

python examples/the_well_iap.py --root turbulent_radiative_layer_2D --steps 20000   # folder of a downloaded subset
python examples/the_well_iap.py                                                 # a stand-in made here, minutes
python examples/the_well_iap.py --smoke                                         # seconds; keep_last_frame_vrmse 0.177

The published setting (four frames in, width 384, 7 + 1 blocks): models/iap/the_well.yaml.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import TheWell
from meshops.tasks import RolloutSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train
from meshops.viz import patches_picture, tradeoff_picture


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, evaluate at several budgets, draw; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    cells, frames = (16, 8) if args.smoke else (64, 24)
    root = Path(args.root) if args.root else out / f"standin_{cells}"
    if not root.exists():
        TheWell.standin(root, 4 if args.smoke else 10, resolution=cells, frames=frames)
    test = TheWell(root, "test")
    start = math.prod(-(-n // 8) for n in test.shapes[0])
    budgets = [start * factor for factor in (2, 4, 6, 8, 12)]

    config = RunConfig(
        kind="rollout",
        out=str(out / "run"),
        model={
            "name": "iap", "budget": budgets[2], "p_min": 2, "p_max": 8, "budget_range": [budgets[0], budgets[-1]],
            "decoder": args.decoder, "channels": 96, "depth": 4, "num_heads": 4,
        },
        data=DataConfig(name="the_well", root=str(root)),
        task=RolloutSettings(history=2, steps=4 if args.smoke else 15, residual=True),
        train=TrainConfig(steps=4 if args.smoke else args.steps, batch_size=2, lr=1e-3),
    )  # fmt: skip
    result = train(config, overwrite=True, console=Console())
    task, model, errors = result.surrogate.task, result.surrogate.task.model, {}
    for budget in budgets:
        model.tokenizer.budget = budget  # type: ignore[union-attr]
        errors[budget] = task.evaluate(test, steps=1, windows=8).mean["vrmse"]
    tradeoff_picture({"IAP": list(errors.items())}, out / "tokens.png", title="one network, several budgets")
    model.tokenizer.budget = budgets[2]  # type: ignore[union-attr]
    frames_seen = test.window(0, 0, task.spec.history)
    chosen = model.patches(task.encode(frames_seen[None], test.constants(0)[None]))  # type: ignore[operator]
    if len(test.shapes[0]) == 2:
        patches_picture(frames_seen[-1, 0], chosen, out / "patches.png", label=test.spec.channels[0])
    numbers = {f"vrmse_at_{budget}": error for budget, error in errors.items()}
    numbers["keep_last_frame_vrmse"] = result.report.baselines["keep last frame"]["vrmse"]
    numbers["rollout_vrmse_last"] = result.report.curves["vrmse"][-1]
    sys.stdout.write("".join(f"{name:<24}{value:10.4g}\n" for name, value in numbers.items()))
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of a subset of The Well; default: a stand-in made here")
    parser.add_argument("--steps", type=int, default=500, help="training steps (default: %(default)s)")
    parser.add_argument("--decoder", default="local", choices=("local", "cross"), help="cross: as published, slower")
    parser.add_argument("--out", default="runs/the_well_iap", help="folder of the results (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
