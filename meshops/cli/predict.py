"""``meshops predict CKPT FILE... --out DIR [--report]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshops.cli.options import console, key_values, output_folder, parser, print_json
from meshops.errors import InputError, MeshopsError

if TYPE_CHECKING:
    from meshops.surrogate import Surrogate

EPILOG = """examples:
  meshops predict runs/demo/model.ckpt car.stl --out out --report
  meshops predict runs/demo/model.ckpt shapes/*.stl --out out --report      (adds out/index.html)
  meshops predict CKPT part.stl --scale 0.001 --out out                     (file in millimetres)
  meshops predict CKPT car.stl --set speed=30 --set yaw=5 --out out         (other conditions)
"""


def run(argv: Sequence[str]) -> int:
    """Predict."""
    args = _parser().parse_args(argv)

    from meshops.surrogate import load

    surrogate = load(args.checkpoint, device=args.device)
    if surrogate.kind != "fields":
        surrogate.predict(args.files[0])  # says what to use instead
    folder = output_folder(args.out)
    stems = _stems(args.files)
    screen = console()
    results: dict[str, Any] = {}
    pages = []
    failures: list[str] = []
    for file, stem in zip(args.files, stems, strict=True):
        try:
            prediction, written = _one(surrogate, file, stem, folder, args)
        except MeshopsError as error:
            if len(args.files) == 1:
                raise
            failures.append(f"{error}")
            continue
        numbers = prediction.to_dict()
        results[file] = numbers
        pages.append((stem, written, numbers))
        for note in prediction.case.notes:
            screen.print(f"note: {note}")
        screen.print(f"{file}: {prediction.line()}")
        screen.print(f"  -> {written.report or written.mesh}")
        if prediction.verdict is not None and prediction.verdict.level != "inside":
            screen.print(f"warning: {prediction.verdict.sentence}")
    if args.report and len(pages) > 1:
        screen.print(f"  -> {_index(pages, folder)}")
    if args.json:
        print_json(results)
    for failure in failures:
        sys.stderr.write(f"meshops predict: {failure}\n")
    return 2 if failures else 0


def _parser() -> Any:
    options = parser(
        "predict",
        "Predict the fields a surrogate was trained for on new meshes, on their original cells.",
        EPILOG,
    )
    options.add_argument("checkpoint", help="model.ckpt of a run")
    options.add_argument("files", nargs="+", metavar="FILE", help="STL, OBJ, PLY, VTK, VTP, VTU, MSH, SU2, OpenFOAM")
    options.add_argument("--out", default="predictions", help="folder for the results (default: %(default)s)")
    options.add_argument("--report", action="store_true", help="also write a self-contained HTML report")
    options.add_argument("--no-pictures", action="store_true", help="no PNG pictures (faster)")
    options.add_argument("--scale", type=float, help="factor that brings the coordinates to metres")
    options.add_argument("--region", help="boundary patch of an OpenFOAM case, e.g. body")
    options.add_argument("--truth", action="append", default=[], metavar="FIELD=ARRAY",
                         help="array of the file that holds the true field, when its name differs")  # fmt: skip
    options.add_argument("--no-refine", action="store_true", help="do not split triangles that are too coarse")
    text = "condition of the case: one the model was trained with, or speed, density, yaw, ..."
    options.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help=text)
    methods = ("interleaved", "anchored")
    text = "interleaved: most accurate; anchored: frozen supernodes (default: as trained)"
    options.add_argument("--method", choices=methods, help=text)
    options.add_argument("--passes", type=int, help="predictions averaged (default: as trained)")
    options.add_argument("--chunk-size", type=int, default=50_000, help="nodes at a time: memory, not result")
    options.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    options.add_argument("--json", action="store_true", help="print forces, errors and notes as JSON")
    return options


def _one(surrogate: Surrogate, file: str, stem: str, folder: Path, args: Any) -> tuple[Any, Any]:
    from meshops.surrogate.outputs import write_prediction

    prediction = surrogate.predict(
        file,
        scale=args.scale,
        region=args.region,
        method=args.method,
        passes=args.passes,
        chunk_size=args.chunk_size,
        refine=not args.no_refine,
        names={str(k): str(v) for k, v in key_values(args.truth).items()},
        conditions=_numbers(args.set),
    )
    written = write_prediction(prediction, surrogate, folder, stem, pictures=not args.no_pictures, report=args.report)
    return prediction, written


def _numbers(pairs: Sequence[str]) -> dict[str, float]:
    """``["speed=30"]`` as numbers; raises ``InputError`` for what is none."""
    out = {}
    for name, value in key_values(pairs).items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"--set {name}={value}: a condition is a number, e.g. --set speed=30")
        out[name] = float(value)
    return out


def _stems(files: Sequence[str]) -> list[str]:
    stems = [Path(file).resolve().stem for file in files]
    twice = {stem for stem in stems if stems.count(stem) > 1}
    if twice:
        stems = [f"{Path(f).resolve().parent.name}_{s}" if s in twice else s for f, s in zip(files, stems, strict=True)]
    if len(set(stems)) < len(stems):
        raise InputError("two of the files would be written under the same name; predict them into different folders")
    return stems


def _index(pages: Sequence[tuple[str, Any, Any]], folder: Path) -> Path:
    from meshops.viz.report import IndexCase, write_index

    cases = []
    for stem, written, numbers in pages:
        values = {"values": numbers["nodes"]}
        if numbers["forces"]:
            values |= {"Cd": numbers["forces"]["cd"], "Cl": numbers["forces"]["cl"]}
        level = numbers["training_set"]["level"] if numbers["training_set"] else None
        picture = written.pictures[0][0] if written.pictures else None
        cases.append(IndexCase(name=stem, report=written.report.name, values=values, level=level, picture=picture))
    return write_index(cases, folder / "index.html")
