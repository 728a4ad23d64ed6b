"""Wakes of moving bodies on moving meshes, in the layout of EAGLE: compress, generate, fill the middle.

python examples/eagle_echo.py               # solver and three trainings on two cores
python examples/eagle_echo.py --smoke       # a minute, analytic stand-in, far too short to learn; latent_frames 3.0

The solver needs scikit-fem: pip install meshops[fem]. The run files: models/echo/wake.yaml.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import meshops
from meshops.cli.main import main as command
from meshops.datasets import Eagle
from meshops.datasets.point_trajectories import open_points
from meshops.viz import animate_points

RUN = Path(__file__).parents[1] / "models" / "echo" / "wake.yaml"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Solve, train three stages, generate; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    data = out / ("standin" if args.smoke else "data")
    if not data.exists() and args.smoke:
        Eagle.standin(data)
    elif not data.exists():
        wanted = "--num 10 --train 8 --test 2 --points 500 --frames 50 --option spin_up=12"
        assert command(["generate", "wake", *wanted.split(), "--out", str(data)]) == 0
    few = "--task.frames 5 --train.steps 2 --task.samples 2 --model.cells 16 --model.channels 16 --model.depth 1"
    run = ["train", str(RUN), "--stage", "all", "--data.root", str(data), "--out", str(out / "run")]
    assert command([*run, *(f"{few} --model.num_heads 2".split() if args.smoke else [])]) == 0

    surrogate = meshops.load(str(out / "run" / "3_wake_generator" / "model.ckpt"))
    spec, factor = surrogate.autoencoder.spec, surrogate.spec.time_factor
    test = open_points("eagle", root=data, split="test")
    whole = test.window(0, 0, spec.frames)
    samples = 2 if args.smoke else 8
    ahead, _ = surrogate.complete({0: whole.crop(0, 1 + factor)}, whole, samples=samples)
    last = spec.frames - 1
    between, _ = surrogate.complete({0: whole.crop(0, 1), last: whole.crop(last, 1)}, whole, samples=samples)
    truth = whole.values.view(spec.frames, -1, spec.channels)

    def error(fields: torch.Tensor) -> float:
        mean = fields.mean(0).view_as(truth)
        wrong = (mean - truth)[1:-1] / surrogate.autoencoder.task.norm.scale
        return float(wrong.norm() / (truth[1:-1] / surrogate.autoencoder.task.norm.scale).norm())

    speed = ahead[..., :2].norm(dim=-1).view(samples, spec.frames, -1)
    panels = {"truth": truth[..., :2].norm(dim=2), "mean": speed.mean(0), "spread": speed.std(0)}
    pos = whole.pos.view(spec.frames, -1, 2) if whole.moving else whole.pos
    animate_points(pos, panels, out / "wake.gif", label="speed (m/s)", title="wake from its first frames")
    return {
        "latent_frames": float(surrogate.spec.latent_frames),
        "compression": round(surrogate.autoencoder.info["compression"]["rate"], 1),
        "error_from_the_first_frames": round(error(ahead), 3),
        "error_between_first_and_last": round(error(between), 3),
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the script."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", default="runs/eagle_echo")
    options.add_argument("--smoke", action="store_true")
    return options.parse_args(argv)


if __name__ == "__main__":
    torch.manual_seed(0)
    for key, value in main().items():
        sys.stdout.write(f"{key} {value}\n")
