"""The process that reads files for another: one request after the other on its standard input, until that closes.

Run as a script, so that ``meshops.data`` is not loaded whole: torch takes seconds and reading does not need it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import signal
import sys
import types
import warnings
from pathlib import Path
from typing import Any, BinaryIO

# What is asked -> the module that does it; loaded when it is needed, or from the start where an argument says so.
LIBRARIES = {"mesh": "meshops.data.formats", "hdf5": "meshops.data.hdf5_files"}


def main() -> None:
    """Answer requests."""
    source, sink = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # libraries talk to the terminal, and must not read from it
        os.dup2(nowhere, number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides what Ctrl-C means
    data = types.ModuleType("meshops.data")
    data.__path__ = [str(Path(__file__).parent)]
    sys.modules["meshops.data"] = data
    for what in sys.argv[1:]:
        load(what)
    wire: Any = importlib.import_module("meshops.data.wire")
    with contextlib.suppress(EOFError, OSError):
        serve(source, sink, wire)


def load(what: str) -> Any:
    """The module for what is asked."""
    name = LIBRARIES[what]
    if name not in sys.modules:
        gc.disable()  # looking for garbage while libraries load finds none and takes a tenth of the time
        importlib.import_module(name)
        if what == "mesh":
            importlib.import_module("meshops.data.mesh_bytes")
        gc.freeze()
        gc.enable()
    return sys.modules[name]


def serve(source: BinaryIO, sink: BinaryIO, wire: Any) -> None:
    """Read requests and write answers until the other side is gone."""
    with open(os.devnull, "w") as silence:
        while True:
            request = wire.receive(source)
            limit = request["limits"]
            # A thread of C ends the process even where a library holds the interpreter in an endless loop.
            faulthandler.dump_traceback_later(limit["seconds"] + 5, exit=True, file=silence)
            library = load(request["what"])
            restore = set_limits(limit["memory"], limit["cpu_seconds"])
            answer = reply(request, library)
            restore()
            wire.send(sink, answer)
            faulthandler.cancel_dump_traceback_later()


def reply(request: dict[str, Any], library: Any) -> dict[str, Any]:
    """The read as arrays, or that a file is sound, or the error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            path = Path(request["path"])
            if request["what"] == "hdf5":
                library.inspect_hdf5(path)
                answer: dict[str, Any] = {"sound": True}
            else:
                read = library.read_here(path, region=request["region"], time=request["time"])
                answer = {"read": importlib.import_module("meshops.data.mesh_bytes").pack(read)}
        except MemoryError:
            answer = {"error": "memory"}
        except Exception as error:  # whatever a library raises on a damaged file is an answer, not the end
            answer = {"error": type(error).__name__, "message": str(error)}
    notes = [str(w.message) for w in caught if w.category.__name__ == "DataWarning"]
    return {**answer, "warnings": notes}


def set_limits(memory: int, cpu_seconds: int) -> Any:
    """Bound memory (above what is in use) and processor time; returns a function that lifts the bounds."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return lambda: None
    old = [(kind, resource.getrlimit(kind)) for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU)]
    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted = (address_space() + memory, int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds)
    for (kind, (_, hard)), soft in zip(old, wanted, strict=True):
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some
            resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))

    def restore() -> None:
        for kind, limits in old:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, limits)

    return restore


def address_space() -> int:
    """Bytes of virtual memory in use; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 4 << 30


if __name__ == "__main__":
    main()
