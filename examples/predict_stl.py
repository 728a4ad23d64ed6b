"""Make a new shape, predict the flow on it, write fields, forces, pictures and a report.

python examples/predict_stl.py --checkpoint runs/demo/model.ckpt --slant 20
python examples/predict_stl.py --slant 20         # trains a small surrogate first, some minutes
python examples/predict_stl.py --smoke            # barely trained: frontal_area 0.1044

The body is 1.044 m long and 0.36 m wide; the slant angle is that of its rear, in degrees.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import meshops
from meshops.cli.train import parse
from meshops.data.writers import write_mesh
from meshops.solvers.ahmed_body import ahmed_body
from meshops.surrogate.outputs import write_prediction
from meshops.training import train


def main(argv: Sequence[str] | None = None) -> dict[str, float | str]:
    """Predict an Ahmed body that is in no data set; returns its coefficients and what the report says of it."""
    args = arguments(argv)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    shape = ahmed_body(
        length=1.044, width=0.36, height=0.29, front_radius=0.1, slant_length=0.2, slant_angle=args.slant,
        ground_clearance=0.05, edge=0.04 if args.smoke else 0.02,
    )  # fmt: skip
    path = write_mesh(shape, folder / "shape.stl")

    surrogate = trained(folder, args.smoke) if args.checkpoint is None else meshops.load(args.checkpoint)
    prediction = surrogate.predict(path)
    files = write_prediction(prediction, surrogate, folder, "shape", report=True)
    forces, place = prediction.forces, prediction.verdict
    assert forces is not None and place is not None and files.report is not None
    sys.stdout.write(f"Cd {forces.cd:.4f}  Cl {forces.cl:.4f}  frontal area {forces.frontal_area:.4f} m^2\n")
    sys.stdout.write(f"{place.sentence}\nreport: {files.report}\n")
    return {
        "cells": float(prediction.case.mesh.n_cells),
        "cd": forces.cd,
        "cl": forces.cl,
        "frontal_area": forces.frontal_area,
        "closure": forces.closure,
        "level": place.level,
        "report": str(files.report),
    }


def trained(folder: Path, smoke: bool) -> meshops.Surrogate:
    """Surrogate of the shipped cases, trained here; without a test, which ``meshops demo`` makes."""
    settings = ["demo", "--out", str(folder / "run"), "--data.test", ""]
    if smoke:
        settings += ["--train.steps", "10", "--train.threads", "1"]
        settings += ["--task.potential_flow", "false", "--task.radii", "[0.1]", "--task.passes", "1"]
    return train(parse(settings), overwrite=True, console=Console(stderr=True)).surrogate


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="model.ckpt of a run; default: train a small one")
    parser.add_argument("--slant", type=float, default=20.0, help="slant angle, degrees (default: %(default)s)")
    parser.add_argument("--out", default="runs/predict_stl", help="folder of the results (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
