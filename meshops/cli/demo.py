"""``meshops demo``: the whole way, on data shipped with the package."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meshops.cli.options import console, output_folder, parser
from meshops.cli.tables import forces_line, metrics_table
from meshops.cli.train import parse

# An Ahmed body that is none of the 30 shapes of the data (35 degree slants were not simulated at this clearance).
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
    args = options.parse_args(argv)
    start = time.perf_counter()
    folder = output_folder(args.out)
    config = replace(parse(["demo"]), out=args.out)
    if args.smoke:
        config = replace(config, train=replace(config.train, steps=20))
    screen = console()

    from meshops.training.run import train

    result = train(config, console=screen)
    screen.print("predicting the held-out shapes and a new one")
    report = _predict(result.surrogate, folder, screen)
    sys.stdout.write(f"\n{metrics_table(result.metrics)}\n\n")
    sys.stdout.write(f"report: {report}\ncheckpoint: {folder / 'model.ckpt'}\n")
    sys.stdout.write(f"next: meshops predict {folder / 'model.ckpt'} YOUR.stl --out out --report\n")
    screen.print(f"{time.perf_counter() - start:.0f} s in all")
    return 0


def _predict(surrogate: Any, folder: Path, screen: Any) -> Path:
    """Held-out shapes against their truth, and a new STL with its report."""
    from meshops.data.convert import to_pyvista
    from meshops.data.writers import write_mesh
    from meshops.datasets import create
    from meshops.datasets.generators.ahmed_body import ahmed_body
    from meshops.tasks.outputs import write_prediction
    from meshops.viz.report import IndexCase, write_index

    predicted = output_folder(str(folder / "predicted"))
    cases = []
    test = create("ahmed_mini", split="test")
    for i, name in enumerate(test.cases):
        prediction = surrogate.predict(to_pyvista(test[i]))
        prediction.case.label = name
        written = write_prediction(prediction, surrogate, predicted, name, report=True)
        cases.append(_index_case(IndexCase, name, prediction, written))
    shape = write_mesh(ahmed_body(**NEW_SHAPE), folder / "new_shape.stl")
    prediction = surrogate.predict(shape)
    written = write_prediction(prediction, surrogate, predicted, "new_shape", report=True)
    cases.insert(0, _index_case(IndexCase, "new_shape", prediction, written))
    screen.print(f"new_shape.stl: {forces_line(prediction.to_dict())}")
    write_index(cases, predicted / "index.html", title="meshops demo", subtitle="A new shape and the six held-out ones")
    report = folder / "report.html"
    report.write_bytes((predicted / "new_shape_report.html").read_bytes())
    return report


def _index_case(maker: Any, name: str, prediction: Any, written: Any) -> Any:
    values = {"cells": prediction.case.mesh.n_cells, "Cd": prediction.forces.cd, "Cl": prediction.forces.cl}
    if prediction.true_forces is not None:
        values |= {"Cd of the simulation": prediction.true_forces.cd, "Cl of the simulation": prediction.true_forces.cl}
    values |= {f"{field} error": errors["rel_l2"] for field, errors in prediction.errors.items()}
    level = prediction.judgement.level if prediction.judgement else None
    return maker(name=name, report=written.report.name, values=values, level=level, picture=written.pictures[0][0])
