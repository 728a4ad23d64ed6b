"""Transolver on DrivAerNet++: pressure and shear of designs that were not seen, at the points of their files.

python examples/drivaernet_transolver.py --root FOLDER --steps 200000
python examples/drivaernet_transolver.py                  # stand-in: the shipped Ahmed bodies in this layout, minutes
python examples/drivaernet_transolver.py --smoke          # seconds; mean_pressure_rel_l2 0.786, solver_cd 0.3097

FOLDER: PressureVTK, WallShearStressVTK_Updated, train_val_test_splits and the tables beside them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.data.convert import to_pyvista
from meshops.datasets import DrivAerNet
from meshops.tasks import FieldsSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train

SMOKE = {"channels": 32, "depth": 1}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, judge, predict a car that was held out; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    root = Path(args.root) if args.root else DrivAerNet.standin(out / f"standin_{args.cases}", args.cases)
    task = {"potential_flow": False, "radii": (0.1,)} if args.smoke else {}
    config = RunConfig(
        out=str(out / "run"),
        model={"name": "transolver", "channels": 96, "depth": 4} | (SMOKE if args.smoke else {}),
        data=DataConfig(name="drivaer_net", root=str(root)),
        task=FieldsSettings(nodes=512 if args.smoke else 2048, passes=1, **task),
        train=TrainConfig(steps=args.steps, batch_size=1, lr=1e-3),
    )
    result = train(config, overwrite=True, console=Console(stderr=True))

    test = DrivAerNet(root, "test")
    prediction = result.surrogate.predict(to_pyvista(test[0]))
    assert prediction.forces is not None
    numbers = {
        "pressure_rel_l2": prediction.errors["p"]["rel_l2"],
        "shear_rel_l2": prediction.errors["wallShearStress"]["rel_l2"],
        "mean_pressure_rel_l2": result.report.baselines["mean"]["pressure_rel_l2"],
        "cd": prediction.forces.cd,
        "solver_cd": test.numbers_of(0)["cd"],
    }
    sys.stdout.write("".join(f"{name:<34}{value:8.4f}\n" for name, value in numbers.items()))
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of the published files; default: a stand-in is written")
    parser.add_argument(
        "--out", default="runs/drivaernet_transolver", help="folder of the results (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=1500, help="training steps (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=12, help="of the stand-in, at most 30 (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.steps, args.cases = 3, 5
    return args


if __name__ == "__main__":
    main()
