"""MSPT on DrivAerML: pressure, shear and drag of morphed cars, beside the solver's own force table.

python examples/drivaerml_mspt.py --root FOLDER --steps 200000
python examples/drivaerml_mspt.py                  # stand-in: the shipped Ahmed bodies in this layout, minutes
python examples/drivaerml_mspt.py --smoke          # seconds; mean_pressure_rel_l2 0.789, solver_cd 0.3107

FOLDER: run_1, run_2 ... with boundary_<i>.vtp and the .csv files; fewer than all 484 are split by run number.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.data.convert import to_pyvista
from meshops.datasets import DrivAerML
from meshops.tasks import FieldsSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, train

SMOKE = {"channels": 32, "depth": 1, "num_patches": 8}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, judge, predict a car that was held out; returns what is printed."""
    args = arguments(argv)
    out, options = Path(args.out), {}
    root = Path(args.root) if args.root else out / f"standin_{args.cases}"
    if not args.root:
        options = {"split_method": {"train": f"1-{args.cases - 1}", "test": [args.cases]}}
        if not root.exists():
            DrivAerML.standin(root, args.cases)
    task = {"potential_flow": False, "radii": (0.1,)} if args.smoke else {}
    config = RunConfig(
        out=str(out / "run"),
        model={"name": "mspt", "channels": 96, "depth": 4, "num_heads": 4, "num_patches": 16}
        | (SMOKE if args.smoke else {}),
        data=DataConfig(name="drivaer_ml", root=str(root), options=options),
        task=FieldsSettings(nodes=512 if args.smoke else 2048, passes=1, **task),
        train=TrainConfig(steps=args.steps, batch_size=1, lr=1e-3),
    )
    result = train(config, overwrite=True, console=Console(stderr=True))

    test = DrivAerML(root, "test", **options)
    prediction = result.surrogate.predict(to_pyvista(test[0]))
    assert prediction.forces is not None
    numbers = {
        "pressure_rel_l2": prediction.errors["pMeanTrim"]["rel_l2"],
        "shear_rel_l2": prediction.errors["wallShearStressMeanTrim"]["rel_l2"],
        "mean_pressure_rel_l2": result.report.baselines["mean"]["pressure_rel_l2"],
        "cd": prediction.forces.cd,
        "solver_cd": test.numbers_of(0)["cd"],
    }
    sys.stdout.write("".join(f"{name:<34}{value:8.4f}\n" for name, value in numbers.items()))
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of the published runs; default: a stand-in is written")
    parser.add_argument("--out", default="runs/drivaerml_mspt", help="folder of the results (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1500, help="training steps (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=12, help="of the stand-in, at most 30 (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.steps, args.cases = 3, 4
    return args


if __name__ == "__main__":
    main()
