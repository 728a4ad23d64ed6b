"""``meshops compare CKPT A B [C ...]``, and with run files instead ``meshops compare RUN.yaml RUN.yaml``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from meshops.cli.options import console, existing_checkpoint, numbers_of, output_folder, parser, print_json, stems
from meshops.errors import InputError
from meshops.reader_process import start_for


def run(argv: Sequence[str]) -> int:
    """Verdicts on designs, or on models where run files are given."""
    if any(not word.startswith("-") and word.endswith((".yaml", ".yml")) for word in argv[:2]):
        from meshops.cli.compare_models import run as compare_models

        return compare_models(argv)
    options = parser(
        "compare",
        "Which design is better: the difference of every number with its interval, the probability of its sign, a\n"
        "ranking, and pictures of what differs. Errors that designs share cancel, as far as held-out pairs show that\n"
        "they do. What cannot be told is called too close.",
        "examples:\n"
        "  meshops compare runs/demo/model.ckpt old.stl new.stl --out compared\n"
        "  meshops compare CKPT a.vtp b.vtp c.vtp --set speed=30 --level 0.8 --json\n"
        "\nmodels instead of designs, on the same data with the same budget (more: --help after the run files):\n"
        "  meshops compare RUN.yaml RUN.yaml [--seconds 600 | --steps N] [--seeds 0 1 2] [--data.root FOLDER ...]\n",
    )
    options.add_argument("checkpoint", help="model.ckpt of a run")
    options.add_argument("files", nargs="*", metavar="FILE", help="two or more designs")
    options.add_argument("--out", default="compared", help="folder for page and numbers (default: %(default)s)")
    options.add_argument("--level", type=float, help="of intervals and verdicts (default: 0.9, or what is supported)")
    options.add_argument("--scale", type=float, help="factor that brings the coordinates to metres")
    options.add_argument("--region", help="parts of the files: names, groups or patterns with commas")
    text = "condition of all designs: one the model was trained with, or speed, density, yaw, ..."
    options.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help=text)
    options.add_argument("--no-pictures", action="store_true", help="numbers only (faster)")
    options.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    options.add_argument("--json", action="store_true", help="print everything as JSON")
    args = options.parse_intermixed_args(argv)
    existing_checkpoint(args.checkpoint)
    conditions = numbers_of(args.set)
    if len(args.files) < 2:
        raise InputError(f"{len(args.files)} design: give two or more files to compare")
    if missing := [file for file in args.files if not Path(file).exists()]:
        raise InputError(f"{missing[0]}: no such file; check the path")

    start_for(args.files)

    from meshops.surrogate import load
    from meshops.surrogate.comparison import compare, write_comparison

    surrogate = load(args.checkpoint, device=args.device)
    folder = output_folder(args.out)
    designs = dict(zip(stems(args.files), args.files, strict=True))
    screen = console()
    found = compare(
        surrogate, designs, level=args.level, conditions=conditions, scale=args.scale, region=args.region
    )  # fmt: skip
    page, _ = write_comparison(found, surrogate, folder, pictures=not args.no_pictures)
    for note in found.notes:
        screen.print(f"note: {note}")
    if args.json:
        print_json(found.to_dict())
    else:
        sys.stdout.write("\n".join(found.lines()) + "\n")
    screen.print(f"  -> {page}")
    return 0
