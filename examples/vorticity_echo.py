"""Whole futures of a stirred fluid as an ensemble: solve, compress, refine, generate, look at it.

python examples/vorticity_echo.py --root FOLDER # vorticity in the layout of The Well
python examples/vorticity_echo.py               # solver and three trainings (not timed as a whole)
python examples/vorticity_echo.py --smoke       # seconds, far too small to learn anything; compression 3.6

Snapshots at a part of the points go in; truth, mean, spread and samples come out as forecast.html, forecast.gif and
errors.png. The run files with the same settings: models/echo/vorticity.yaml.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import meshops
from meshops.cli.main import main as command
from meshops.datasets import open_data
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.viz import animate_grid

RUN = Path(__file__).parents[1] / "models" / "echo" / "vorticity.yaml"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Solve, train three stages, forecast; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    data = Path(args.root) if args.root else out / ("small" if args.smoke else "data")
    if not data.exists():
        tiny = "--num 4 --train 3 --test 1 --frames 11 --resolution 32"
        sizes = tiny if args.smoke else "--num 110 --train 100 --test 10 --frames 41 --resolution 64"
        assert command(["generate", "vorticity", *sizes.split(), "--out", str(data)]) == 0
    few = "--task.frames 9 --train.steps 2 --model.channels 16 --model.depth 1 --model.num_heads 2 --task.samples 2"
    few += " --train.validation 1"
    run = ["train", str(RUN), "--overwrite", "--data.root", str(data), "--out", str(out / "run")]
    assert command([*run, *(few.split() if args.smoke else [])]) == 0

    generator = meshops.load(str(out / "run" / "3_vorticity_generator" / "model.ckpt")).task
    compressed = generator.autoencoder
    test = PointTrajectories(open_data("the_well", root=data, split="test"), ["vorticity"])
    whole = test.window(0, 0, test.lengths[0])
    given = whole.crop(0, 1 + generator.spec.time_factor)
    part = given.subsample(0.2, generator=torch.Generator().manual_seed(0))  # a fifth of the points, futures at all
    steps = whole.frames - given.frames
    samples = generator.forecast(part, steps, queries=given, samples=2 if args.smoke else 8)[..., 0]
    truth = whole.series()[given.frames :, :, 0]
    panels = {"truth": truth, "mean": samples.mean(0), "one sample": samples[0], "spread": samples.std(0)}
    animate_grid({name: v.unflatten(-1, test.spec.grid) for name, v in panels.items()}, out / "forecast.gif",
                 label="vorticity (1/s)", title=f"{steps} frames from 3 at a fifth of the points")  # fmt: skip
    segment = whole.crop(0, compressed.spec.frames)
    fifth = segment.subsample(0.2, generator=torch.Generator().manual_seed(1))
    errors = {
        name: float((compressed.reconstruct(source, segment) - segment.values).norm() / segment.values.norm())
        for name, source in (("all", segment), ("a_fifth", fifth))
    }
    wrong = (samples.mean(0) - truth).norm(dim=1) / truth.norm(dim=1)
    return {
        "compression": round(compressed.compression["rate"], 1),
        **{f"error_from_{name}_of_the_points": round(value, 3) for name, value in errors.items()},
        "forecast_error_first_frame": round(float(wrong[0]), 3),
        "forecast_error_last_frame": round(float(wrong[-1]), 3),
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the script."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", help="folder in the layout of The Well; default: solved here")
    options.add_argument("--out", default="runs/vorticity_echo")
    options.add_argument("--smoke", action="store_true")
    return options.parse_args(argv)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{key} {value}\n" for key, value in main().items()))
