"""The process that predicts, as the server sees it: one request at a time, ended when it takes too long.

Messages are lines of JSON on its standard input and output. It leads a process group of its own: Ctrl-C on the terminal
reaches the server alone, and ending the group ends what the process started (the reader of foreign files).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from meshops.errors import CheckpointError, InputError, MeshopsError

LONGEST_LINE = 64 << 20
START_SECONDS = 600.0  # to load and warm a model on a busy machine


class Died(MeshopsError):
    """The process ended before it answered."""


class Child:
    """Handle of the process.

    Args:
        checkpoint: File it loads.
        device: Where it predicts.
        memory: Bytes beyond the loaded model.
        modules: Imported before the model is loaded, as ``--import`` asks.
    """

    def __init__(
        self, checkpoint: Path, *, device: str = "cpu", memory: int = 4_000_000_000, modules: Sequence[str] = ()
    ) -> None:
        made = {"checkpoint": str(checkpoint.resolve()), "device": device, "memory": memory, "modules": list(modules)}
        self._command = (sys.executable, "-m", "meshops.serve.worker", json.dumps(made))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None: none runs."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> dict[str, Any]:
        """Start it and wait until the model is warm; what the model is.

        Raises:
            InputError: It cannot serve this checkpoint; the message says why.
        """
        await self.end()
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True, limit=LONGEST_LINE, env=_environment(),
        )  # fmt: skip
        try:
            answer = await asyncio.wait_for(_line(self._process), START_SECONDS)
        except (Died, TimeoutError):
            await self.end()
            raise InputError("the process of the model did not start; see the messages above") from None
        except BaseException:
            await self.end()
            raise
        if "refused" in answer:
            await self.end()
            raise (CheckpointError if answer.get("checkpoint") else InputError)(answer["refused"])
        card: dict[str, Any] = answer["ready"]
        return card

    async def ask(self, request: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
        """Its answer: ``{"done": ...}``, ``{"refused": text}`` or ``{"failed": text}``.

        Raises:
            Died: It ended without one.
        """
        process = self._process
        if process is None or process.stdin is None:
            raise Died("there is no process of the model")
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
        while True:
            answer = await _line(process)
            if "progress" not in answer:
                return answer
            progress(float(answer["progress"]))

    async def end(self) -> None:
        """End it and all it started, at once."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        raise Died("the process of the model ended")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + others if others else "")}
