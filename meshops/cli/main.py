"""``meshops VERB ...``: finds the verb, runs it, turns user errors into one message and exit code 2."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import entry_points

import meshops
from meshops.errors import DataWarning, InputError, MeshopsError, Stopped
from meshops.folders import check_temporary_folder, place_matplotlib

PLUGINS = "meshops" + ".plugins"  # entry points of packages that register models, data sets, tasks
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("meshops.cli.demo", "the whole way on shipped RANS cases: train, test, predict a new shape, report"),
    "look": ("meshops.cli.look", "what a folder of finished simulations holds, and what is wrong with it"),
    "fit": ("meshops.cli.fit", "the best surrogate of a folder of finished simulations, chosen by cross-validation"),
    "train": ("meshops.cli.train", "train a surrogate: meshops train RUN.yaml [--key value ...]"),
    "evaluate": ("meshops.cli.evaluate", "errors of a checkpoint of any kind on a dataset"),
    "predict": ("meshops.cli.predict", "fields, forces, pictures and report for new meshes"),
    "plan": ("meshops.cli.plan", "memory, chunks and time of a mesh of any size, here or on GPUs"),
    "compare": ("meshops.cli.compare", "which of two or more designs is better, how sure that is, and what differs"),
    "serve": ("meshops.cli.serve", "a page and a REST interface to use a surrogate from"),
    "export": ("meshops.cli.export", "the network for other runtimes: ONNX or torch.export"),
    "compress": ("meshops.cli.compress", "integer weights, bits where they are needed: smaller and faster"),
    "partition": ("meshops.cli.partition", "group the nodes of a mesh into patches and look at them"),
    "generate": ("meshops.cli.generate", "real simulation data from a solver, in a public layout"),
    "solve": ("meshops.cli.solve", "start OpenFOAM from a predicted flow, and see what that saves"),
    "data": ("meshops.cli.data", "data check: read every case of a dataset and list what is wrong"),
    "bench": ("meshops.cli.bench", "speed and memory of operations and partitioners beside installed peers"),
    "info": ("meshops.cli.info", "versions, devices, back ends"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code (0 fine, 1 findings, 2 bad input)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"meshops {meshops.__version__}\n")
        return 0
    verb = arguments[0]
    if verb not in VERBS:
        sys.stderr.write(f"meshops: unknown verb '{verb}'; verbs: {', '.join(VERBS)} (meshops --help)\n")
        return 2
    warnings.showwarning = _show_warning
    try:
        check_temporary_folder()
        place_matplotlib()
        rest = _import_modules(arguments[1:])
        code: int = importlib.import_module(VERBS[verb][0]).run(rest)
        return code
    except Stopped as stop:
        sys.stderr.write(f"meshops {verb}: {stop}\n")
        return 128 + stop.signal
    except MeshopsError as error:
        if os.environ.get("MESHOPS_TRACEBACK"):
            raise
        sys.stderr.write(f"meshops {verb}: {error}\n")
        return 2
    except SystemExit as leave:  # argument parsers leave this way
        return leave.code if isinstance(leave.code, int) else 2
    except KeyboardInterrupt:
        sys.stderr.write(f"\nmeshops {verb}: interrupted; start again with the same command\n")
        return 130


def _import_modules(arguments: Sequence[str]) -> list[str]:
    """Import what ``--import MODULE`` names and the entry points ``meshops.plugins``; the other arguments."""
    rest = list(arguments)
    while "--import" in rest:
        place = rest.index("--import")
        if place + 1 >= len(rest):
            raise InputError("--import needs the name of a module, e.g. --import my_models")
        name = rest[place + 1]
        sys.path.insert(0, os.getcwd())
        try:
            importlib.import_module(name.removesuffix(".py"))
        except ModuleNotFoundError as error:
            raise InputError(
                f"--import {name}: {error}; give a module that Python finds, or start where it is"
            ) from None
        finally:
            sys.path.remove(os.getcwd())
        del rest[place : place + 2]
    for plugin in entry_points(group=PLUGINS):
        plugin.load()
    return rest


def usage() -> str:
    """Text of ``meshops --help``."""
    width = max(map(len, VERBS))
    lines = [
        "meshops: neural surrogates of physics on irregular meshes",
        "",
        "usage: meshops VERB [options]        meshops VERB --help says more",
        "",
        *(f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items()),
        "",
        "start with:",
        "  meshops demo                                              a few minutes, no data needed",
        "  meshops predict runs/demo/model.ckpt SHAPE.stl --out out --report",
        "",
    ]
    return "\n".join(lines)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Notes about the user's data are shown; chatter of libraries is not."""
    if issubclass(category, DataWarning):
        sys.stderr.write(f"note: {message}\n")
    elif os.environ.get("MESHOPS_TRACEBACK"):
        sys.stderr.write(f"{category.__name__}: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
