"""``meshops predict CKPT [FILE...] --out DIR [--report]``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshops.cli.options import (
    console,
    existing_checkpoint,
    key_values,
    memory,
    numbers_of,
    output_folder,
    parser,
    print_json,
    speaks,
    stems,
)
from meshops.errors import InputError, MeshopsError, first_line
from meshops.folders import check_limit, limit_memory
from meshops.io import read_json
from meshops.progress import followed
from meshops.reader_process import start_for

if TYPE_CHECKING:
    from rich.console import Console

    from meshops.surrogate import Surrogate, Written
    from meshops.tasks.prediction import Prediction

EPILOG = """examples:
  meshops predict runs/demo/model.ckpt car.stl --out out --report
  meshops predict runs/demo/model.ckpt shapes/*.stl --out out --report      (adds out/index.html)
  meshops predict CKPT part.stl --scale 0.001 --out out                     (file in millimetres)
  meshops predict CKPT car.stl --set speed=30 --set yaw=5 --out out         (other conditions)
  meshops predict CKPT --set aoa=3.5 --out out                              (on the mesh all training cases share)
  meshops predict CKPT start.vtu --steps 50 --set load=3 --out out          (a network in time: what follows a state)
"""


FIELDS_ONLY = {
    "report": "--report", "no_refine": "--no-refine", "method": "--method", "passes": "--passes",
    "chunk_size": "--chunk-size", "level": "--level",
}  # fmt: skip


def run(argv: Sequence[str]) -> int:
    """Predict."""
    args = _parser().parse_intermixed_args(argv)
    conditions, names = numbers_of(args.set), {str(k): str(v) for k, v in key_values(args.truth).items()}
    existing_checkpoint(args.checkpoint)
    _check_files(args)
    limit_memory(memory(args.memory) if args.memory else None)
    folder = Path(args.out)
    files: list[str | None] = args.files or [None]
    names_of = stems(args.files) if args.files else ["prediction"]
    if not args.overwrite:
        for file, stem in zip(files, names_of, strict=True):
            _keep_others(folder / f"{stem}.json", file)

    start_for(args.files)
    from meshops import ranks

    with ranks.joined():  # the files are shared out where torchrun started several processes
        return _predict(args, list(zip(files, names_of, strict=True)), names, conditions)


def _predict(
    args: Any, files: Sequence[tuple[str | None, str]], names: dict[str, str], conditions: dict[str, float]
) -> int:
    from meshops import ranks
    from meshops.surrogate import load
    from meshops.trust import behind

    folder, surrogate = Path(args.out), load(args.checkpoint, device=args.device)
    check_limit()
    if surrogate.kind == "rollout":
        return _futures(surrogate, files, folder, args, names, conditions)
    if surrogate.kind not in ("fields", "numbers"):
        surrogate.predict(args.files[0] if args.files else None)  # says what to use instead
    _check_options(surrogate, args)
    output_folder(args.out)
    screen = console()
    for sentence in behind(surrogate.info.get("held_out")):
        screen.print(f"warning: {sentence}")
    done: dict[str, tuple[str, Any, Any]] = {}
    failures: list[str] = []
    own = files[ranks.rank() :: ranks.count()]
    try:
        for file, stem in followed(own, "predicting", screen):
            try:
                prediction, written = _one(surrogate, file, stem, folder, args, names, conditions)
            except MeshopsError as error:
                if len(files) == 1:
                    raise
                failures.append(f"{error}")
                continue
            except Exception as error:  # one file never ends the others
                if len(files) == 1 or os.environ.get("MESHOPS_TRACEBACK"):
                    raise
                failures.append(f"{file}: cannot be predicted ({type(error).__name__}: {first_line(error)})")
                continue
            done[file or "the mesh of the training"] = stem, written, prediction.to_dict()
            _tell(screen, file, prediction, written)
    except KeyboardInterrupt:
        left = len(own) - len(done) - len(failures)
        sys.stderr.write(
            f"\nmeshops predict: stopped; {len(done)} predicted in {folder}, {left} left: give those files again\n"
        )
        return 130
    told = ranks.gathered((done, failures))
    found = {file: made for there, _ in told for file, made in there.items()}
    failures = [failure for _, there in told for failure in there]
    if speaks():
        pages = {
            file: found[file] for file in (name or "the mesh of the training" for name, _ in files) if file in found
        }
        if args.report and len(pages) > 1:
            screen.print(f"  -> {_index(list(pages.values()), folder)}")
        if args.json:
            print_json({file: numbers for file, (_, _, numbers) in pages.items()})
        for failure in failures:
            sys.stderr.write(f"meshops predict: {failure}\n")
    return 2 if failures else 0


def _futures(
    surrogate: Surrogate, files: Sequence[tuple[str | None, str]], folder: Path, args: Any, names: dict[str, str],
    conditions: dict[str, float],
) -> int:  # fmt: skip
    """What follows the state in each file."""
    from meshops import ranks
    from meshops.surrogate.in_time import predict_future, write_future

    for name, says in FIELDS_ONLY.items():
        if getattr(args, name):
            raise InputError(f"{says} is for surrogates of finished cases; this one steps in time, leave it out")
    if not args.files:
        raise InputError("give the file to start from: a mesh with the fields of one state, e.g. start.vtu")
    output_folder(args.out)
    screen, numbers, failures = console(), {}, []
    own = files[ranks.rank() :: ranks.count()]
    for file, stem in followed(own, "predicting", screen):
        assert file is not None
        try:
            future = predict_future(
                surrogate, file, steps=args.steps, conditions=conditions, names=names, scale=args.scale,
                region=",".join(args.region) if args.region else None,
            )  # fmt: skip
            written = write_future(future, folder, stem, pictures=not args.no_pictures)
        except MeshopsError as error:
            if len(files) == 1:
                raise
            failures.append(f"{error}")
            continue
        numbers[file] = future.to_dict()
        screen.print(f"{file}: {future.line()}")
        for note in future.notes:
            screen.print(note if note.startswith("warning: ") else f"note: {note}")
        screen.print(f"  -> {', '.join(map(str, written))}")
    if args.json:
        print_json(numbers)
    for failure in failures:
        sys.stderr.write(f"meshops predict: {failure}\n")
    return 2 if failures else 0


def _tell(screen: Console, file: str | None, prediction: Prediction, written: Written) -> None:
    for note in prediction.case.notes:
        screen.print(f"note: {note}")
    screen.print(f"{file or 'on the mesh of the training'}: {prediction.line()}")
    screen.print(f"  -> {written.report or written.mesh or written.numbers}")
    if prediction.verdict is not None and prediction.verdict.level != "inside":
        screen.print(f"warning: {prediction.verdict.sentence}")


def _check_files(args: Any) -> None:
    """What can be said before anything heavy is loaded."""
    if len(args.files) == 1 and not Path(args.files[0]).exists():
        raise InputError(f"{args.files[0]}: no such file; check the path")
    if args.passes is not None and args.passes < 1:
        raise InputError(f"--passes must be at least 1, got {args.passes}")
    if args.chunk_size is not None and args.chunk_size < 1:
        raise InputError(f"--chunk-size must be at least 1, got {args.chunk_size}")
    if args.steps is not None and args.steps < 1:
        raise InputError(f"--steps must be at least 1, got {args.steps}")
    if args.scale is not None and not 0 < args.scale < float("inf"):
        raise InputError(f"--scale must be a positive number, got {args.scale}")


def _check_options(surrogate: Surrogate, args: Any) -> None:
    """Refuse options that would have no effect."""
    if args.steps is not None:
        raise InputError("--steps is for surrogates that step in time; this one predicts finished cases, leave it out")
    spec: Any = surrogate.spec
    if not spec.fields:
        for name, says in FIELDS_ONLY.items():
            if name not in ("report", "level") and getattr(args, name):
                raise InputError(f"{says} is for surrogates of fields; this one predicts numbers, leave it out")
        return
    if args.no_refine and spec.domain != "surface":
        raise InputError("--no-refine is for surfaces of bodies; other meshes are never refined, leave it out")
    for name in ("method", "passes"):
        if getattr(args, name) is not None and not spec.nodes:
            raise InputError(
                f"--{name} is for surrogates that learnt from subsets of nodes (task.nodes); this one sees whole "
                "meshes, leave it out"
            )


def _keep_others(path: Path, file: str | None) -> None:
    """The same file predicted again replaces its own results; those of another file are kept.

    Raises:
        InputError: There are some under the same name.
    """
    if not path.is_file():
        return
    try:
        before = read_json(path).get("file")
    except (OSError, ValueError, AttributeError):
        before = None
    same = file is None or (isinstance(before, str) and Path(before).resolve() == Path(file).resolve())
    if before is None or not same:
        whose = f"results of {before}" if before else "a file of yours"
        raise InputError(f"{path}: {whose} would be overwritten; choose another --out, or say --overwrite")


def _parser() -> Any:
    options = parser(
        "predict",
        "Predict the fields a surrogate was trained for on new meshes, on their original cells.",
        EPILOG,
    )
    options.add_argument("checkpoint", help="model.ckpt of a run")
    text = "mesh file or OpenFOAM case; none: the mesh that all training cases share"
    options.add_argument("files", nargs="*", metavar="FILE", help=text)
    options.add_argument("--out", default="predictions", help="folder for the results (default: %(default)s)")
    options.add_argument("--report", action="store_true", help="also write a self-contained HTML report")
    options.add_argument("--no-pictures", action="store_true", help="no PNG pictures (faster)")
    options.add_argument("--scale", type=float, help="factor that brings the coordinates to metres")
    text = "parts of the file: name, group or pattern, several with commas, e.g. body or 'wheel.*,body'"
    options.add_argument("--region", action="append", help=text)
    options.add_argument("--truth", action="append", default=[], metavar="FIELD=ARRAY",
                         help="array of the file that holds the true field, when its name differs")  # fmt: skip
    text = "steps of a network in time (default: as many as it was judged on)"
    options.add_argument("--steps", type=int, help=text)
    options.add_argument("--no-refine", action="store_true", help="do not split triangles that are too coarse")
    text = "condition of the case: one the model was trained with, or speed, density, yaw, ..."
    options.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help=text)
    methods = ("interleaved", "anchored")
    text = "interleaved: most accurate; anchored: frozen supernodes (default: as trained)"
    options.add_argument("--method", choices=methods, help=text)
    options.add_argument("--passes", type=int, help="predictions averaged (default: as trained)")
    text = "nodes at a time: memory, not result (default: as many as fit)"
    options.add_argument("--chunk-size", type=int, help=text)
    text = "memory the process may take, such as 12GB (default: what is free)"
    options.add_argument("--memory", metavar="SIZE", help=text)
    text = "replace results of another file that has the same name"
    options.add_argument("--overwrite", action="store_true", help=text)
    text = "share of true values that lie in an interval (default: 0.9, or what the held-out cases support)"
    options.add_argument("--level", type=float, help=text)
    options.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    options.add_argument("--json", action="store_true", help="print forces, errors and notes as JSON")
    return options


def _one(
    surrogate: Surrogate, file: str | None, stem: str, folder: Path, args: Any, names: dict[str, str],
    conditions: dict[str, float],
) -> tuple[Prediction, Written]:  # fmt: skip
    from meshops.surrogate.outputs import write_prediction

    prediction = surrogate.predict(
        file,
        scale=args.scale,
        region=",".join(args.region) if args.region else None,
        method=args.method,
        passes=args.passes,
        chunk_size=args.chunk_size,
        refine=not args.no_refine,
        names=names,
        conditions=conditions,
        level=args.level,
    )
    written = write_prediction(prediction, surrogate, folder, stem, pictures=not args.no_pictures, report=args.report)
    return prediction, written


def _index(pages: Sequence[tuple[str, Any, Any]], folder: Path) -> Path:
    from meshops.viz.report import IndexCase, write_index

    cases = []
    for stem, written, numbers in pages:
        values = {"values": numbers["nodes"], **{k: v["value"] for k, v in numbers["numbers"].items()}}
        level = numbers["training_set"]["level"] if numbers["training_set"] else None
        picture = written.pictures[0][0] if written.pictures else None
        cases.append(IndexCase(name=stem, report=written.report.name, values=values, level=level, picture=picture))
    return write_index(cases, folder / "index.html")
