"""Train a surrogate of surface pressure and shear, and judge it on shapes it has not seen.

python examples/ahmed_surface.py                                  # shipped cases
python examples/ahmed_surface.py --root FOLDER_OF_AHMEDML         # your cases, in the layout of AhmedML
python examples/ahmed_surface.py --smoke                          # 4 shapes, 120 steps: pressure_error 0.35

Errors are relative L2: norm of the error over norm of the truth, over the cells of a shape.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.cli.train import parse
from meshops.data.convert import to_pyvista
from meshops.datasets import AhmedMini, create
from meshops.training import train


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test, predict one held-out shape; returns the errors that are printed."""
    args = arguments(argv)
    settings = ["demo", "--out", args.out, "--train.threads", "1" if args.smoke else "0"]
    options: dict[str, object] = {}
    if args.smoke:
        # A real sample in the layout of AhmedML: what --root expects, small and without the costly features.
        args.root = str(AhmedMini("all").to_case_folder(Path(args.out) / "cases", range(5)))
        options = {"split_method": {"train": "1-4", "test": [5]}}
        settings += ["--train.steps", "120", "--task.nodes", "512"]
        settings += ["--task.potential_flow", "false", "--task.radii", "[0.1]"]
    elif args.steps is not None:
        settings += ["--train.steps", str(args.steps)]
    if args.root is not None:
        settings += ["--data.name", "ahmed_ml", "--data.root", args.root]
        if options:
            settings += ["--data.options", str(options).replace("'", '"')]
    config = parse(settings)

    result = train(config, overwrite=True, console=Console(stderr=True))
    sys.stdout.write(result.report.table() + "\n")

    # One held-out shape: the mesh as it is in the file, with its true fields, so errors and both forces are known.
    test = create(config.data.name, root=config.data.root, split="test", **config.data.options)
    prediction = result.surrogate.predict(to_pyvista(test[0]))
    prediction.mesh.save(str(result.folder / f"{test.cases[0]}_predicted.vtp"))
    assert prediction.forces is not None and prediction.true_forces is not None
    numbers = {
        "pressure_error": prediction.errors["pMean"]["rel_l2"],
        "shear_error": prediction.errors["wallShearStressMean"]["rel_l2"],
        "cd": prediction.forces.cd,
        "true_cd": prediction.true_forces.cd,
        "mean_pressure_error_of_yardstick": result.report.baselines["mean"]["pressure_rel_l2"],
    }
    sys.stdout.write(f"{test.cases[0]}:\n" + "".join(f"  {name:<34}{value:8.4f}\n" for name, value in numbers.items()))
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder in the layout of AhmedML; default: the shipped cases")
    parser.add_argument("--out", default="runs/ahmed_surface", help="folder of the run (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="training steps (default: 2000)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
