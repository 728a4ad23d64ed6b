"""Wakes of moving bodies on moving meshes, in the layout of EAGLE: compress, generate, fill the middle.

python examples/eagle_echo.py --root FOLDER # EAGLE as published
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
from meshops.datasets import Eagle, open_data
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.viz import animate_points

RUN = Path(__file__).parents[1] / "models" / "echo" / "wake.yaml"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Solve, train three stages, generate; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    data = Path(args.root) if args.root else out / ("standin" if args.smoke else "data")
    if not data.exists() and args.smoke:
        Eagle.standin(data)
    elif not data.exists():
        wanted = "--num 10 --train 8 --test 2 --points 500 --frames 50 --option spin_up=12"
        assert command(["generate", "wake", *wanted.split(), "--out", str(data)]) == 0
    few = "--task.frames 5 --task.learn_frames 5 --train.steps 2 --task.samples 2 --model.cells 16 --model.depth 1"
    run = ["train", str(RUN), "--overwrite", "--data.root", str(data), "--out", str(out / "run")]
    assert command([*run, *(f"{few} --model.channels 16 --model.num_heads 2".split() if args.smoke else [])]) == 0

    generator = meshops.load(str(out / "run" / "3_wake_generator" / "model.ckpt")).task
    spec, factor = generator.autoencoder.spec, generator.spec.time_factor
    test = PointTrajectories(open_data("eagle", root=data, split="test"))
    whole = test.window(0, 0, test.lengths[0])
    first, steps = 1 + factor, whole.frames - 1 - factor
    samples = 2 if args.smoke else 8
    queries = whole.crop(first, steps)  # where the mesh will be is known; more frames than a segment: by windows
    ahead = generator.forecast(whole.crop(0, first), steps, queries=queries, samples=samples)
    segment, last = whole.crop(0, spec.frames), spec.frames - 1
    ends = {0: segment.crop(0, 1), last: segment.crop(last, 1)}
    between = torch.stack([segment.series(part) for part in generator.complete(ends, segment, samples=samples)[0]])
    scale = generator.autoencoder.norm.scale

    def error(fields: torch.Tensor, truth: torch.Tensor) -> float:
        return float(((fields.mean(0) - truth) / scale).norm() / (truth / scale).norm())

    truth, speed = whole.series()[first:], ahead[..., :2].norm(dim=3)
    panels = {"truth": truth[..., :2].norm(dim=2), "mean": speed.mean(0), "spread": speed.std(0)}
    animate_points(queries.places(), panels, out / "wake.gif", label="speed (m/s)", title="wake from its first frames")
    return {
        "latent_frames": float(generator.spec.latent_frames),
        "compression": round(generator.autoencoder.compression["rate"], 1),
        "error_of_the_trained_frames": round(error(ahead[:, : last + 1 - first], truth[: last + 1 - first]), 3),
        "error_of_all_frames": round(error(ahead, truth), 3),
        "error_between_first_and_last": round(error(between[:, 1:-1], segment.series()[1:-1]), 3),
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the script."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", help="folder of EAGLE; default: solved here")
    options.add_argument("--out", default="runs/eagle_echo")
    options.add_argument("--smoke", action="store_true")
    return options.parse_args(argv)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{key} {value}\n" for key, value in main().items()))
