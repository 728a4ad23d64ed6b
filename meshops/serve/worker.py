"""The process that predicts: loads the surrogate once, then answers one request after the other.

Requests and answers are lines of JSON. Files lie in the folder of a job under random names; people see the names that
were given. Ending this process is always safe: the server removes what it leaves.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from meshops.errors import CheckpointError, InputError, MeshopsError
from meshops.io import json_text, plain
from meshops.serve.names import for_page

if TYPE_CHECKING:
    from meshops.surrogate import Surrogate

Progress = Callable[[float], None]
TOO_LARGE = (
    "there is not enough memory to predict this mesh; give a smaller one, or start the server with a larger --memory"
)
MEMORY_SIGNS = ("can't allocate memory", "not enough memory", "std::bad_alloc")


def main() -> None:
    """Load, tell, answer until the other side is gone."""
    made = json.loads(sys.argv[1])
    sink = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries talk to the terminal
    with contextlib.suppress(OSError):
        os.nice(5)  # the page stays alive while every core predicts
    try:
        surrogate = loaded(made)
        answer: dict[str, Any] = {"ready": told(surrogate, made["checkpoint"])}
    except MeshopsError as error:
        _write(sink, {"refused": str(error), "checkpoint": isinstance(error, CheckpointError)})
        return
    _write(sink, answer)
    for line in sys.stdin:
        request = json.loads(line)
        _write(sink, reply(surrogate, request, lambda share: _write(sink, {"progress": share})))


def loaded(made: Mapping[str, Any]) -> Surrogate:
    """The surrogate, warm, with its memory bounded from now on.

    Raises:
        InputError: It is not of a kind that predicts single meshes.
    """
    for module in made["modules"]:
        importlib.import_module(module)
    for plugin in entry_points(group="meshops" + ".plugins"):
        plugin.load()
    from meshops.serve.warm import warm
    from meshops.surrogate import load

    surrogate = load(made["checkpoint"], device=made["device"])
    if surrogate.kind not in ("fields", "numbers"):
        raise InputError(
            f"{made['checkpoint']}: the surrogate is of kind '{surrogate.kind}'; the page serves those of kind "
            "'fields' and 'numbers', which predict a file; for others see 'meshops evaluate' and 'meshops generate'"
        )
    warm(surrogate)
    bound_memory(made["memory"])
    return surrogate


def told(surrogate: Surrogate, checkpoint: str) -> dict[str, Any]:
    """What the page says of the model and asks for."""
    from meshops.serve.card import card

    return card(surrogate, Path(checkpoint))


def reply(surrogate: Surrogate, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Files that were made, or why there are none."""
    from meshops.serve.work import compare_files, predict_file

    shown = {place: name for place, name in request["files"]}
    try:
        os.chdir(request["folder"])
        done = (compare_files if request["do"] == "compare" else predict_file)(surrogate, request, progress)
        return {"done": done}
    except MeshopsError as error:
        return {"refused": for_page(str(error), shown)}
    except Exception as error:
        reason = str(error)
        if isinstance(error, MemoryError) or any(sign in reason for sign in MEMORY_SIGNS):
            return {"refused": TOO_LARGE}
        return {"failed": traceback.format_exc()}
    finally:
        os.chdir("/")


def bound_memory(memory: int) -> None:
    """Let the process take so many bytes more than it has now; nothing where the system cannot bound it."""
    try:
        import resource

        lines = Path("/proc/self/status").read_text().splitlines()
        used = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, (used + memory, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    except (ImportError, OSError, ValueError, StopIteration):
        return


def _write(sink: TextIO, answer: Mapping[str, Any]) -> None:
    try:
        sink.write(" ".join(json_text(plain(dict(answer))).split("\n")) + "\n")
        sink.flush()
    except BrokenPipeError:  # the server is gone
        os._exit(0)


if __name__ == "__main__":
    main()
