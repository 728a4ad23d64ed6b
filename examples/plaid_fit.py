"""A data set of PLAID as it lies: the best surrogate some minutes allow, judged on the samples its problem holds out.

python examples/plaid_fit.py --root FOLDER --minutes 20
python examples/plaid_fit.py                       # stand-in: 20 shipped Ahmed bodies as CGNS samples, five minutes
python examples/plaid_fit.py --smoke               # seconds; average_pressure_rel_l2 0.225

FOLDER: data/train/sample_*/meshes/*.cgns or dataset/samples/..., with problem_definitions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import guess_study
from meshops.datasets.folder.plaid_files import write_plaid_bodies
from meshops.selection import FitConfig, fit_study


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Look, fit, predict a sample that was held out; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    root = Path(args.root) if args.root else out / f"standin_{args.cases}"
    if not root.exists():
        write_plaid_bodies(root, args.cases)
    study = guess_study(root)
    sys.stdout.write("".join(f"{entry}: {why}\n" for entry, why in study.guesses.items()))
    networks = () if args.smoke else None
    result = fit_study(
        study, FitConfig(minutes=args.minutes, out=str(out / "fit"), networks=networks),
        overwrite=True, console=Console(stderr=True),
    )  # fmt: skip

    test = study.open("test")
    prediction = result.surrogate.predict(next(iter(test.files(0).values())), conditions=test.conditions_of(0))
    numbers = {f"{name}_rel_l2": errors["rel_l2"] for name, errors in prediction.errors.items()}
    numbers["average_pressure_rel_l2"] = result.report.baselines["average"][f"{study.fields[0].name}_rel_l2"]
    for name, number in (prediction.numbers or {}).items():
        sys.stdout.write(f"{name} {number}, solver {test.numbers_of(0)[name]:.4f}\n")
    sys.stdout.write(f"chosen: {', '.join(result.found.blend)}\n")
    sys.stdout.write("".join(f"{name:<34}{value:8.4f}\n" for name, value in numbers.items()))
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of a data set of PLAID; default: a stand-in is written")
    parser.add_argument("--out", default="runs/plaid_fit", help="folder of the results (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=5, help="time of the fit (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=20, help="of the stand-in (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args(argv)
    if args.smoke:
        args.minutes, args.cases = 0.1, 6
    return args


if __name__ == "__main__":
    main()
