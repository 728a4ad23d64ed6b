"""The process that reads files for this one, as this one sees it: started, asked, ended.

What is asked of it, and with which limits, is in :mod:`meshops.data.contained`; here stands what needs no library, so
that a command can start it first and load its own libraries meanwhile.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SWITCH = "MESHOPS_READ"
# Endings of files that our own readers read, in the calling process.
OWN = {
    ".stl", ".obj", ".ply", ".msh", ".su2", ".foam", ".openfoam", ".frd", ".csv", ".tsv", ".txt", ".asc", ".xyz",
}  # fmt: skip
SCRIPT = Path(__file__).with_name("data") / "read_worker.py"


class Worker:
    """The process that reads; it is started when it is asked, and started anew when a file has ended it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = os.getpid()

    def start(self) -> None:
        """Start the process with what reads meshes loaded; where it runs already nothing happens."""
        with self.lock:
            self._running("mesh")

    def ask(self, request: dict[str, Any], wire: Any) -> dict[str, Any]:
        """Answer of the process; ``{"died": code, "stuck": bool}`` if the request ended it.

        Args:
            request: What is asked; ``request["limits"]["seconds"]`` is waited for.
            wire: ``send(stream, message)`` and ``receive(stream)`` of both sides: :mod:`meshops.data.wire`.
        """
        with self.lock:
            process = self._running()
            timer = threading.Timer(request["limits"]["seconds"], process.kill)
            timer.daemon = True
            assert process.stdin is not None and process.stdout is not None
            try:
                timer.start()
                wire.send(process.stdin, request)
                answer: dict[str, Any] = wire.receive(process.stdout)
                return answer
            except (EOFError, OSError):
                stuck = timer.finished.is_set()
                return {"died": self._end(), "stuck": stuck}
            except BaseException:  # Ctrl-C: leave no process behind, and no half-read answer
                self._end()
                raise
            finally:
                timer.cancel()

    def close(self) -> None:
        """End the process."""
        if self.process is not None and self.owner == os.getpid():
            self._end()

    def _running(self, *loaded: str) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            self._end()
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", str(SCRIPT), *loaded],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(),
            )  # fmt: skip
        return self.process

    def _end(self) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.kill()
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return code


_worker = Worker()


def the_worker() -> Worker:
    """The worker of this process: a copy made by fork has pipes and a lock that are not its own."""
    global _worker
    if _worker.owner != os.getpid():
        _worker = Worker()
    return _worker


def here() -> bool:
    """Whether all is to be read in the calling process (``MESHOPS_READ=inprocess``)."""
    return os.environ.get(SWITCH) == "inprocess"


def start_for(files: Iterable[str]) -> None:
    """Start the process if one of the files will need it: it loads while the caller does something else.

    A guess by the endings; a wrong one costs time, no more.
    """
    endings = {Path(file).suffix.lower() for file in files}
    if endings - OWN - {""} and not here():
        the_worker().start()


def _environment() -> dict[str, str]:
    root = str(SCRIPT.parents[2])
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + others if others else ""), "OMP_NUM_THREADS": "1"}


@atexit.register
def _close() -> None:
    _worker.close()
