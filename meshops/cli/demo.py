"""``meshops demo``: the whole way, on data shipped with the package."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from meshops.cli.options import console, output_folder, parser

if TYPE_CHECKING:
    from meshops.surrogate import Surrogate

# An Ahmed body inside the range of the 24 training shapes that is none of the 30 of the data.
NEW_SHAPE = {
    "length": 1.044,
    "width": 0.36,
    "height": 0.29,
    "front_radius": 0.1,
    "slant_length": 0.2,
    "slant_angle": 20.0,
    "ground_clearance": 0.05,
}


MINUTES, FEW = 5.0, 8  # of the fit on two cores; cases of --smoke


def run(argv: Sequence[str]) -> int:
    """Fit 24 shapes, judge on 6 others, predict a new STL, write the reports."""
    options = parser(
        "demo",
        "Fit a surrogate to 24 RANS cases of Ahmed bodies (trees and folds of MSPT, chosen by cross-validation),\n"
        "judge it on 6 others, predict a new STL with intervals and report. Takes some minutes on two CPU cores;\n"
        "needs no data and no internet.",
    )
    options.add_argument("--out", default="runs/demo", help="folder of the run (default: %(default)s)")
    options.add_argument("--smoke", action="store_true", help="a few cases, no network: does everything run?")
    options.add_argument("--resume", action="store_true", help="continue the run that was stopped in --out")
    options.add_argument("--overwrite", action="store_true", help="remove the run that is in --out")
    args = options.parse_args(argv)
    start = time.perf_counter()
    folder = output_folder(args.out)
    screen = console()

    from meshops.datasets import AhmedMini
    from meshops.datasets.subset import CaseSubset
    from meshops.selection import FitConfig, fit

    test = AhmedMini("test").cases
    data = AhmedMini("all")
    if args.smoke:
        data = CaseSubset(data, [*range(FEW), len(data) - 1])  # type: ignore[assignment]
        test = data.cases[-1:]
    config = FitConfig(
        minutes=MINUTES, out=args.out, test=tuple(test), numbers=(), networks=() if args.smoke else ("mspt",)
    )
    result = fit(data, config, resume=args.resume, overwrite=args.overwrite, console=screen,
                 about={"name": "ahmed_mini"})  # fmt: skip
    page = (folder / "report.html").rename(folder / "surrogate.html")
    screen.print("predicting the held-out shapes and a new one, drawing pictures, writing the report")
    report = _predict(result.surrogate, folder, screen, smoke=args.smoke)
    sys.stdout.write(f"\n{result.report.table()}\n\n")
    sys.stdout.write(f"report of the new shape: {report}\nof the surrogate: {page}\n")
    sys.stdout.write(f"open in a browser: {report.resolve().as_uri()}\n")
    sys.stdout.write(f"checkpoint: {folder / 'model.ckpt'}\n")
    sys.stdout.write(f"next: meshops predict {folder / 'model.ckpt'} YOUR.stl --out out --report\n")
    screen.print(f"{time.perf_counter() - start:.0f} s in all")
    return 0


def _predict(surrogate: Surrogate, folder: Path, screen: Console, *, smoke: bool) -> Path:
    """Held-out shapes beside their truth, and a new STL with its report."""
    from meshops.data.convert import to_pyvista
    from meshops.data.writers import write_mesh
    from meshops.datasets import create
    from meshops.solvers.ahmed_body import ahmed_body
    from meshops.surrogate.outputs import write_case_report, write_prediction

    predicted = output_folder(str(folder / "predicted"))
    test = create("ahmed_mini", split="test")
    pictures = []
    for i, name in enumerate(test.cases[:1] if smoke else test.cases):
        prediction = surrogate.predict(to_pyvista(test[i]))  # type: ignore[arg-type]
        prediction.case.label = name
        written = write_prediction(prediction, surrogate, predicted, name)
        pictures.append((written.pictures[0][0], f"For comparison, a held-out shape: {name}, pressure."))
    shape = write_mesh(ahmed_body(**NEW_SHAPE), folder / "new_shape.stl")
    prediction = surrogate.predict(shape)
    written = write_prediction(prediction, surrogate, predicted, "new_shape")
    screen.print(f"new_shape.stl: {prediction.line()}")
    assert written.mesh is not None
    files = [Path("predicted") / written.mesh.name, Path("predicted") / written.numbers.name]
    drawn = [*written.pictures, *pictures[:2]]
    return write_case_report(prediction, surrogate, folder / "report.html", drawn, files)
