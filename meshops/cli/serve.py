"""``meshops serve CKPT``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise

from meshops.cli.options import console, existing_checkpoint, parser
from meshops.serve import Limits, serve
from meshops.serve.limits import bytes_of


def run(argv: Sequence[str]) -> int:
    """Serve until Ctrl-C."""
    options = parser(
        "serve",
        "A page to use a surrogate from: drop meshes, set conditions, see fields in 3-D, numbers with intervals and\n"
        "a verdict between designs, download results; and a REST interface (/openapi.json). One prediction at a time,\n"
        "in a process of its own; the others wait. There is no password: by default only this machine reaches it.",
        "examples:\n"
        "  meshops serve runs/demo/model.ckpt                      then open http://127.0.0.1:8000/\n"
        "  meshops serve CKPT --port 0 --max-size 1GB --time-limit 900\n"
        "  curl -F file=@car.stl -F condition=speed=30 http://127.0.0.1:8000/predictions\n",
    )
    default = Limits()
    options.add_argument("checkpoint", help="model.ckpt of a run of kind fields")
    options.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    options.add_argument("--port", type=int, default=8000, help="0: any free one (default: %(default)s)")
    options.add_argument("--max-size", default="200MB", help="largest file that is taken (default: %(default)s)")
    text = "seconds a prediction may take, then it is stopped (default: %(default)s)"
    options.add_argument("--time-limit", type=float, default=default.seconds, metavar="SECONDS", help=text)
    text = "requests that may wait; further ones are refused (default: %(default)s)"
    options.add_argument("--max-waiting", type=int, default=default.waiting, metavar="N", help=text)
    text = "minutes results are kept; all are removed when the server stops (default: %(default)s)"
    options.add_argument("--keep", type=float, default=default.keep_seconds / 60, metavar="MINUTES", help=text)
    text = "results kept at a time, the oldest goes first (default: %(default)s)"
    options.add_argument("--max-results", type=int, default=default.kept, metavar="N", help=text)
    text = "memory predicting may take beside the model, on Linux (default: %(default)s)"
    options.add_argument("--memory", default="4GB", help=text)
    text = "a further name of this machine that browsers may use, for --host other than the default"
    options.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=text)
    options.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    args = options.parse_args(argv)
    limits = Limits(
        upload=bytes_of(args.max_size), seconds=args.time_limit, waiting=args.max_waiting, kept=args.max_results,
        keep_seconds=60 * args.keep, memory=bytes_of(args.memory),
    )  # fmt: skip
    screen = console()
    try:
        serve(
            existing_checkpoint(args.checkpoint), host=args.host, port=args.port, limits=limits, device=args.device,
            names=args.allow_host, modules=imported(sys.argv), say=screen.print,
        )  # fmt: skip
    except KeyboardInterrupt:
        pass
    screen.print("stopped; uploads and results are removed")
    return 0


def imported(arguments: Sequence[str]) -> list[str]:
    """Modules named by ``--import``, which the worker imports too."""
    return [name.removesuffix(".py") for option, name in pairwise(arguments) if option == "--import"]
