"""``meshops demo``: the whole way, on data shipped with the package."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from meshops.cli.options import console, output_folder, parser
from meshops.cli.train import how_to_go_on, parse

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


def run(argv: Sequence[str]) -> int:
    """Train on 24 shapes, test on 6 others, predict a new STL, write the report."""
    options = parser(
        "demo",
        "Train MSPT on 24 RANS cases of Ahmed bodies, test it on 6 others, predict a new STL and report.\n"
        "Takes about five minutes on two CPU cores; needs no data and no network.",
    )
    options.add_argument("--out", default="runs/demo", help="folder of the run (default: %(default)s)")
    options.add_argument("--smoke", action="store_true", help="a few steps only: does everything run?")
    options.add_argument("--resume", action="store_true", help="continue the run that was stopped in --out")
    options.add_argument("--overwrite", action="store_true", help="remove the run that is in --out")
    args = options.parse_args(argv)
    start = time.perf_counter()
    folder = output_folder(args.out)
    config = replace(parse(["demo"]), out=args.out)
    if args.smoke:
        config = replace(config, train=replace(config.train, steps=20))
    screen = console()

    from meshops.training import train

    try:
        result = train(config, resume=args.resume, overwrite=args.overwrite, console=screen)
        screen.print("predicting the held-out shapes and a new one, drawing pictures, writing the report")
        report = _predict(result.surrogate, folder, screen, smoke=args.smoke)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nmeshops demo: interrupted; {how_to_go_on(args.out)}\n")
        return 130
    sys.stdout.write(f"\n{result.report.table()}\n\n")
    sys.stdout.write(f"report: {report}\ncheckpoint: {folder / 'model.ckpt'}\n")
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
    files = [Path("predicted") / written.mesh.name, Path("predicted") / written.numbers.name]
    drawn = [*written.pictures, *pictures[:2]]
    return write_case_report(prediction, surrogate, folder / "report.html", drawn, files)
