"""GraphViT on wakes of moving bodies in the layout of EAGLE: solve, train, roll out, compress.

python examples/eagle_graphvit.py --root FOLDER # EAGLE as published; its network: models/graph_vit/eagle.yaml
python examples/eagle_graphvit.py               # some minutes of solver and training on two cores
python examples/eagle_graphvit.py --smoke       # seconds, analytic stand-in; first_frame_kept 0.642

The solver needs scikit-fem: pip install meshops[fem].
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.cli.main import main as meshops
from meshops.datasets import Eagle
from meshops.tasks import RolloutSettings
from meshops.tasks.mesh_states import Frames
from meshops.training import DataConfig, RunConfig, TrainConfig, train
from meshops.viz.plane import plane_picture


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Solve, train, draw; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    root = Path(args.root) if args.root else out / ("standin" if args.smoke else "data")
    if not root.exists() and args.smoke:
        Eagle.standin(root)
    elif not root.exists():
        wanted = "--num 10 --train 8 --test 2 --points 500 --frames 50 --option spin_up=12"
        assert meshops(["generate", "wake", *wanted.split(), "--out", str(root)]) == 0
    small = {"channels": 16, "tokens": 32, "depth": 2, "attention_depth": 1}
    config = RunConfig(
        kind="rollout",
        out=str(out / "run"),
        model={"name": "graphvit", "cluster_size": 20} | (small if args.smoke else {"channels": 64, "tokens": 128}),
        data=DataConfig(name="eagle", root=str(root)),
        task=RolloutSettings(horizon=2 if args.smoke else 3, steps=5 if args.smoke else 40),
        train=TrainConfig(steps=3 if args.smoke else args.steps, batch_size=1, lr=1e-3, weight_decay=0.0),
    )
    result = train(config, overwrite=True, console=Console())

    data = Eagle(root, "test")
    window = data.window(0, 0, config.task.steps + 1)
    task = result.surrogate.task
    predicted = task.rollout(window)
    integers = result.surrogate.compress().task.rollout(window)
    speed, wanted_speed = predicted[-1, :, :2].norm(dim=1), window.state[-1, :, :2].norm(dim=1)
    panels = {"speed": wanted_speed, "predicted": speed, "error": (speed - wanted_speed).abs()}
    plane_picture(window.pos[-1], window.triangles[-1], panels, out / "wake.png", alike=("speed", "predicted"))
    inputs = task.inputs(Frames.of(window), 0, task.norm(window.state[0]))
    return {
        "clusters_of_20_nodes": inputs.counts()["clusters"],
        **{name.replace("@", "_"): round(value, 3) for name, value in result.report.numbers().items()},
        "first_frame_kept": round(result.report.baselines["first frame kept"][f"n_rmse@{config.task.steps}"], 3),
        "integers_differ_by": round(float((integers - predicted).norm() / predicted.norm()), 4),
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the script."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", help="folder of EAGLE; default: solved here")
    options.add_argument("--out", default="runs/eagle_graphvit")
    options.add_argument("--steps", type=int, default=2000)
    options.add_argument("--smoke", action="store_true")
    return options.parse_args(argv)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{key} {value}\n" for key, value in main().items()))
