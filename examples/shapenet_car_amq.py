"""ShapeNet-Car with AMQ-style bits: train, compress, predict a car's file on integers.

python examples/shapenet_car_amq.py --root FOLDER_OF_MLCFD_DATA --steps 20000
python examples/shapenet_car_amq.py             # four stand-in cars, about a minute: shows the way, not a model
python examples/shapenet_car_amq.py --smoke     # seconds; size_over_float 0.47
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from meshops.datasets import ShapeNetCar
from meshops.surrogate.outputs import write_prediction
from meshops.tasks import FieldsSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, compress, predict; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    root = Path(args.root) if args.root else ShapeNetCar.standin(out / "standin")
    steps = 3 if args.smoke else args.steps
    sizes = {"channels": 64, "tokens": 128}
    if args.smoke:
        sizes = {"channels": 32, "tokens": 64, "depth": 2, "attention_depth": 1}
    config = RunConfig(
        out=str(out / "run"),
        model={
            "name": "amq", "backbone": "graphvit", "arguments": sizes,
            "bits": [4, 8], "budget": 5, "warmup": steps // 2, "explore": steps // 10,
        },
        data=DataConfig(name="shapenet_car", root=str(root), options={"domain": "surface"}),
        task=FieldsSettings(fields=("pressure",), nodes=512 if args.smoke else 3586, passes=1),
        train=TrainConfig(steps=steps, batch_size=1, lr=1e-3),
    )  # fmt: skip
    result = train(config, overwrite=True, console=Console())

    small_surrogate = result.surrogate.compress(budget=5)
    written = [source.save(out / f"{name}.ckpt").stat().st_size
             for name, source in (("large", result.surrogate), ("small", small_surrogate))]  # fmt: skip
    file = next(Path(root).rglob("quadpress_smpl.vtk"))
    exact, fast = result.surrogate.predict(file), small_surrogate.predict(file)
    write_prediction(fast, small_surrogate, out, "car")
    difference = torch.as_tensor(fast.fields["pressure"] - exact.fields["pressure"]).norm()
    return {
        "cells_of_the_file": fast.mesh.n_cells,
        "size_over_float": round(written[1] / written[0], 2),
        "integers_differ_by": round(float(difference / torch.as_tensor(exact.fields["pressure"]).norm()), 4),
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the script."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", help="folder of the published dataset; default: a stand-in is written")
    options.add_argument("--out", default="runs/shapenet_car_amq")
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--smoke", action="store_true")
    return options.parse_args(argv)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{key} {value}\n" for key, value in main().items()))
